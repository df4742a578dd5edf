/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Guest Utilities
 *
 * The few helpers that the guest's side wants. They are not those of common/: what runs in a guest
 * is built from this folder and the page's layout alone, so that it can be taken elsewhere.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#define NSEC_PER_SEC INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)

#define ARRAY_LEN(_a) (sizeof(_a) / sizeof((_a)[0]))
#define _cleanup_close_ __attribute__((cleanup(closep)))
#define _printf_(_fmt, _first) __attribute__((format(printf, _fmt, _first)))

/* Closes it once, however often it is called: by the next time its number may be another's. */
static inline void closep(int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
        *fd = -1;
}

/* @a − @b, as far as it goes: what comes from a page or a file may be anything. */
static inline int64_t ns_between(int64_t a, int64_t b) {
        int64_t d;

        if (__builtin_sub_overflow(a, b, &d))
                return a < b ? INT64_MIN + 1 : INT64_MAX;
        return d;
}

static inline int64_t ns_abs(int64_t a) {
        return a == INT64_MIN ? INT64_MAX : a < 0 ? -a : a;
}
