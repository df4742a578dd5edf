/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Bounded JSON, Fuzzed
 *
 * Any bytes: either an error out of the contract and nothing else, or a value that is within the
 * limits, and that the parser takes again when it is written out.
 */

#include <errno.h>
#include "common/json-bounded.h"
#include "fuzz.h"

static const JsonLimits limits = { .size_max = 65536, .values_max = 2000, .depth_max = 32 };

/* Written out, a character can take six. */
static const JsonLimits limits_written = { .size_max = 6 * 65536,
                                           .values_max = 2000,
                                           .depth_max = 32 };

static void measure(JsonObject *o, unsigned depth, size_t *n_values);

static void measure_members(JsonObject *o, unsigned depth, size_t *n_values) {
        json_object_object_foreach(o, key, member) {
                (void) key;
                measure(member, depth, n_values);
        }
}

/* Counts what is in @o, and how deep it goes. */
static void measure(JsonObject *o, unsigned depth, size_t *n_values) {
        HOLDS(++*n_values <= limits.values_max);

        if (json_object_is_type(o, json_type_object)) {
                HOLDS(depth < limits.depth_max);
                measure_members(o, depth + 1, n_values);
        } else if (json_object_is_type(o, json_type_array)) {
                HOLDS(depth < limits.depth_max);
                for (size_t i = 0; i < json_object_array_length(o); i++)
                        measure(json_object_array_get_idx(o, i), depth + 1, n_values);
        }
}

static void use_members(JsonObject *o) {
        static const char *const keys[] = { "return", "event", "id", "a", "" };
        JsonObject *member = NULL;

        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
                const char *s = NULL;
                int64_t number = 0;
                bool flag = false;
                int r;

                r = json_get_string(o, keys[i], &s);
                HOLDS(r == 0 ? s != NULL : s == NULL && (r == -ENOENT || r == -EBADMSG));
                r = json_get_int64(o, keys[i], &number);
                HOLDS(r == 0 || r == -ENOENT || r == -EBADMSG || r == -ERANGE);
                (void) json_get_bool(o, keys[i], &flag);
                (void) json_get_object(o, keys[i], &member);
                (void) json_get_array(o, keys[i], &member);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_json_ JsonObject *o = NULL, *again = NULL;
        size_t n_values = 0, length;
        const char *text;
        int r;

        r = json_bounded_parse((const char *) data, size, &limits, &o);
        if (r < 0) {
                HOLDS(r == -E2BIG || r == -ELOOP || r == -EILSEQ || r == -EBADMSG);
                HOLDS(!o);
                return 0;
        }

        HOLDS(size <= limits.size_max);
        measure(o, 0, &n_values);
        use_members(o);

        text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &length);
        r = json_bounded_parse(text, length, &limits_written, &again);
        HOLDS(r == 0);
        HOLDS(json_object_equal(o, again));
        return 0;
}
