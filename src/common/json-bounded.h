/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Bounded JSON
 *
 * What is read into a tree: our own files, and what the daemon tells suspendctl. It is measured before
 * json-c sees a byte of it: json-c spends up to 258 bytes of memory on a byte of text and takes NaN,
 * broken UTF-8 and comments. A text passes only if it is short, shallow and has few values; the
 * accessors check the type, for json-c itself turns "12abc" into 12. What guests, VMMs and users send
 * is not worth a tree: see json-view.h.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/macro.h"

typedef struct JsonLimits {
        size_t size_max;   /* bytes of text */
        size_t values_max; /* objects, arrays, members, elements */
        unsigned depth_max;
} JsonLimits;

typedef struct json_object JsonObject;

static inline void json_object_putp(JsonObject **o) {
        if (*o)
                (void) json_object_put(*o);
}

#define _cleanup_json_ _cleanup_(json_object_putp)

/*
 * Parses exactly one JSON value out of the @size bytes at @text, white space around it allowed.
 *
 * Returns: 0 and a new reference in *@ret; -E2BIG over a limit of size or values; -ELOOP nested too
 * deep; -EILSEQ not UTF-8, or a NUL byte; -EBADMSG not JSON; -ENOMEM.
 */
int json_bounded_parse(const char *text, size_t size, const JsonLimits *limits, JsonObject **ret);

/* What a negative answer of json_bounded_parse() means, in words. */
const char *json_bounded_error(int r);

/*
 * The member @key of @o, if it is there and of the type. The returned string or object is borrowed
 * from @o. json_get_string() refuses strings with NUL bytes in them.
 *
 * Returns: 0; -ENOENT if @o is not an object or lacks @key; -EBADMSG if it is of another type;
 * -ERANGE if a number does not fit.
 */
int json_get_string(JsonObject *o, const char *key, const char **ret);
int json_get_int64(JsonObject *o, const char *key, int64_t *ret);
int json_get_bool(JsonObject *o, const char *key, bool *ret);
int json_get_object(JsonObject *o, const char *key, JsonObject **ret);
int json_get_array(JsonObject *o, const char *key, JsonObject **ret);
