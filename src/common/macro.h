/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Common Macros
 *
 * Scoped cleanup, moving ownership, and the few helpers that every file wants. Nothing here
 * allocates or logs.
 */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* attributes */

#define _cleanup_(_fn) __attribute__((cleanup(_fn)))
#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)
#define _printf_(_fmt, _first) __attribute__((format(printf, _fmt, _first)))
#define _unused_ __attribute__((unused))
#define _public_ __attribute__((visibility("default")))

/* Defines @_fn with a p appended, for _cleanup_(): releases what the variable points to. */
#define DEFINE_CLEANUP(_type, _fn)            \
        static inline void _fn##p(_type *p) { \
                if (*p)                       \
                        _fn(*p);              \
        }                                     \
        struct swallow_semicolon

/* moving ownership: evaluates to the variable's value and leaves NULL, or -1, in it */

#define TAKE_PTR(_p) TAKE(_p, NULL)
#define TAKE_FD(_fd) TAKE(_fd, -1)
#define TAKE(_x, _none)                                             \
        __extension__({                                             \
                __typeof__(_x) *_take_x = &(_x), _taken = *_take_x; \
                *_take_x = (_none);                                 \
                _taken;                                             \
        })

/* arithmetic and strings */

#define ARRAY_LEN(_a) (sizeof(_a) / sizeof((_a)[0]))
#define MIN(_a, _b)                                \
        __extension__({                            \
                __typeof__(_a) _min_a = (_a);      \
                __typeof__(_b) _min_b = (_b);      \
                _min_a < _min_b ? _min_a : _min_b; \
        })
#define MAX(_a, _b)                                \
        __extension__({                            \
                __typeof__(_a) _max_a = (_a);      \
                __typeof__(_b) _max_b = (_b);      \
                _max_a > _max_b ? _max_a : _max_b; \
        })

static inline bool str_equal(const char *a, const char *b) {
        return a == b || (a && b && strcmp(a, b) == 0);
}

static inline bool str_empty(const char *s) {
        return !s || !*s;
}

/* Replaces the string in *@p by a copy of @s, which may be NULL. Returns: 0; -ENOMEM, *@p kept. */
int str_replace(char **p, const char *s);

/* what _cleanup_ calls */

static inline void freep(void *p) {
        free(*(void **) p);
}

/* Closes it once, however often it is called: by the next time its number may be another's. */
static inline void closep(int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
        *fd = -1;
}

static inline void fclosep(FILE **f) {
        if (*f)
                (void) fclose(*f);
}
