/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * JSON View
 *
 * JSON of somebody who may want our memory, read where it stands: one copy of the text is all that it costs,
 * while a tree takes up to 258 bytes for a byte. The parser checks all of it, and turns each string into what
 * it says within its own quotes; what is asked for is then looked for along the text. A view of a value is
 * borrowed from the root, which its owner frees.
 */

#include "common/json-bounded.h"

typedef enum JsonKind {
        JSON_KIND_NONE, /* a NULL view */
        JSON_KIND_OBJECT,
        JSON_KIND_ARRAY,
        JSON_KIND_STRING,
        JSON_KIND_INTEGER,
        JSON_KIND_REAL,
        JSON_KIND_BOOL,
        JSON_KIND_NULL,
} JsonKind;

typedef struct JsonView JsonView;

/* lifetime */

/*
 * Parses exactly one JSON value out of the @size bytes at @text, white space around it allowed.
 *
 * Returns: 0 and the root; -E2BIG over a limit of size or values; -ELOOP nested too deep; -EILSEQ not UTF-8, or
 * a NUL byte, written as \u0000 as well; -EBADMSG not JSON; -ENOMEM. json_bounded_error() has words for them.
 */
int json_view_parse(const char *text, size_t size, const JsonLimits *limits, JsonView **ret);
JsonView *json_view_free(JsonView *root);

DEFINE_CLEANUP(JsonView *, json_view_free);

#define _cleanup_view_ _cleanup_(json_view_freep)

/* values; a view may be NULL */

JsonKind json_view_kind(const JsonView *v);

/* Returns: 0; -EBADMSG if it is none; -ERANGE if it does not fit. */
int json_view_int64(const JsonView *v, int64_t *ret);

/* The element of the array @array behind @last, the first if that is NULL. Returns: NULL behind the last one. */
const JsonView *json_view_next(const JsonView *array, const JsonView *last);

#define JSON_VIEW_FOREACH(_v, _array)                                   \
        for (const JsonView *_v = json_view_next((_array), NULL); (_v); \
             _v = json_view_next((_array), (_v)))

/*
 * The member @key of @o, if it is there and, but for json_view_member(), of the type. Of two that are called so
 * nobody sees either.
 *
 * Returns: 0; -ENOENT if @o is no object or lacks @key, or has it twice; -EBADMSG if it is of another type;
 * -ERANGE if a number does not fit.
 */
int json_view_member(const JsonView *o, const char *key, const JsonView **ret);
int json_view_get_string(const JsonView *o, const char *key, const char **ret);
int json_view_get_int64(const JsonView *o, const char *key, int64_t *ret);
int json_view_get_bool(const JsonView *o, const char *key, bool *ret);
int json_view_get_object(const JsonView *o, const char *key, const JsonView **ret);
int json_view_get_array(const JsonView *o, const char *key, const JsonView **ret);
