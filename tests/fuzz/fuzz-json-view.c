/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * JSON View, Fuzzed
 *
 * Any bytes, read in place and, for comparison, into a tree: both take the same texts, but for what only a tree
 * refuses (two members of a name) or only a view (a NUL within a string), and both say the same.
 */

#include <errno.h>
#include "common/json-view.h"
#include "fuzz.h"

static const JsonLimits limits = { .size_max = 65536, .values_max = 2000, .depth_max = 16 };

static void expect_same(const JsonView *v, JsonObject *o);

static void expect_same_number(const JsonView *v, JsonObject *o) {
        _cleanup_json_ JsonObject *holder = json_object_new_object();
        int64_t a = 0, b = 0;
        int r = json_view_int64(v, &a);

        (void) json_object_object_add(holder, "n", json_object_get(o));
        HOLDS(json_get_int64(holder, "n", &b) == r && a == b);
}

static void expect_same_members(const JsonView *v, JsonObject *o) {
        json_object_object_foreach(o, key, value) {
                const JsonView *member = NULL;

                HOLDS(json_view_member(v, key, &member) == 0);
                expect_same(member, value);
        }
}

static void expect_same_elements(const JsonView *v, JsonObject *o) {
        size_t n = 0;

        JSON_VIEW_FOREACH(element, v) {
                HOLDS(n < json_object_array_length(o));
                expect_same(element, json_object_array_get_idx(o, n++));
        }
        HOLDS(n == json_object_array_length(o));
}

static void expect_same(const JsonView *v, JsonObject *o) {
        switch (json_view_kind(v)) {
        case JSON_KIND_OBJECT:
                HOLDS(json_object_is_type(o, json_type_object));
                expect_same_members(v, o);
                break;
        case JSON_KIND_ARRAY:
                HOLDS(json_object_is_type(o, json_type_array));
                expect_same_elements(v, o);
                break;
        case JSON_KIND_STRING:
                HOLDS(json_object_is_type(o, json_type_string));
                break;
        case JSON_KIND_INTEGER:
                HOLDS(json_object_is_type(o, json_type_int));
                expect_same_number(v, o);
                break;
        case JSON_KIND_REAL:
                HOLDS(json_object_is_type(o, json_type_double));
                break;
        case JSON_KIND_BOOL:
                HOLDS(json_object_is_type(o, json_type_boolean));
                break;
        default:
                HOLDS(v && json_object_is_type(o, json_type_null));
        }
}

static void expect_same_strings(const JsonView *v, JsonObject *o) {
        const char *a, *b;

        if (!json_object_is_type(o, json_type_object))
                return;
        json_object_object_foreach(o, key, value) {
                (void) value;
                if (json_get_string(o, key, &b) >= 0)
                        HOLDS(json_view_get_string(v, key, &a) == 0 && str_equal(a, b));
        }
}

/*
 * Whether there may be a character that json-c (0.16) takes for half a one, and makes U+FFFD of: one beyond U+FFFF of
 * which the last 16 bits are those of a surrogate.
 */
static bool has_what_json_c_loses(const uint8_t *data, size_t size) {
        char digits[5] = { 0 };

        for (size_t i = 0; i + 6 <= size; i++) {
                if (data[i] != '\\' || data[i + 1] != 'u')
                        continue;
                memcpy(digits, data + i + 2, 4);
                if ((strtoul(digits, NULL, 16) & 0xfc3e) == 0xd836)
                        return true;
        }
        return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_json_ JsonObject *o = NULL;
        _cleanup_view_ JsonView *v = NULL;
        int r, k;

        r = json_view_parse((const char *) data, size, &limits, &v);
        HOLDS(r == 0 || r == -E2BIG || r == -ELOOP || r == -EILSEQ || r == -EBADMSG);
        HOLDS(!v == (r < 0));

        k = json_bounded_parse((const char *) data, size, &limits, &o);
        if (r == 0 && k == 0) {
                if (!has_what_json_c_loses(data, size)) {
                        expect_same(v, o);
                        expect_same_strings(v, o);
                }
        } else if (k == 0)
                HOLDS(r == -EILSEQ && memmem(data, size, "\\u0000", 6));
        else if (r == 0)
                HOLDS(k == -EBADMSG && memchr(data, '{', size));
        return 0;
}
