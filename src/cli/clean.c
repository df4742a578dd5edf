/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/clean.h"
#include <errno.h>
#include "common/text-escape.h"

/* A record of some thousand machines; the daemon's own limit is far below. */
static const JsonLimits record_limits = {
        .size_max = 16U << 20,
        .values_max = 1U << 20,
        .depth_max = 8,
};

JsonObject *json_clean_string(const char *s) {
        _cleanup_free_ char *escaped = s ? text_escape(s) : NULL;

        return escaped ? json_object_new_string(escaped) : NULL;
}

JsonObject *json_clean(JsonObject *o) {
        JsonObject *copy;

        switch (json_object_get_type(o)) {
        case json_type_string:
                return json_clean_string(json_object_get_string(o));
        case json_type_array:
                copy = json_object_new_array();
                for (size_t i = 0; i < json_object_array_length(o); i++)
                        (void) json_object_array_add(
                                        copy, json_clean(json_object_array_get_idx(o, i)));
                return copy;
        case json_type_object:
                copy = json_object_new_object();
                json_object_object_foreach(o, key, value) {
                        _cleanup_free_ char *escaped = text_escape(key);

                        if (escaped)
                                (void) json_object_object_add(copy, escaped, json_clean(value));
                }
                return copy;
        default:
                return json_object_get(o);
        }
}

int json_clean_record(const char *text, JsonObject **ret) {
        _cleanup_json_ JsonObject *o = NULL;
        int r;

        r = json_bounded_parse(text, strlen(text), &record_limits, &o);
        if (r < 0)
                return r;
        if (!json_object_is_type(o, json_type_object))
                return -EBADMSG;

        *ret = json_clean(o);
        return 0;
}

static JsonObject *from_unsigned(uint64_t v) {
        return v == UINT64_MAX ? NULL : json_object_new_uint64(v);
}

static int read_basic(sd_bus_message *m, char type, JsonObject **ret) {
        union {
                const char *s;
                uint64_t t;
                int64_t x;
                uint32_t u;
                int i;
        } v;
        int r;

        r = sd_bus_message_read_basic(m, type, &v);
        if (r < 0)
                return r;

        switch (type) {
        case 's':
        case 'o':
                *ret = json_clean_string(v.s);
                return 0;
        case 't':
                *ret = from_unsigned(v.t);
                return 0;
        case 'x':
                *ret = json_object_new_int64(v.x);
                return 0;
        case 'u':
                *ret = json_object_new_uint64(v.u);
                return 0;
        case 'i':
                *ret = json_object_new_int(v.i);
                return 0;
        case 'b':
                *ret = json_object_new_boolean(v.i);
                return 0;
        default:
                return -EOPNOTSUPP;
        }
}

/* The members of the dictionary at hand; @contents is "sv" or "ss". */
static int read_members(sd_bus_message *m, const char *contents, JsonObject *o) {
        int r;

        while ((r = sd_bus_message_enter_container(m, 'e', contents)) > 0) {
                _cleanup_json_ JsonObject *key = NULL;
                JsonObject *value = NULL;

                r = json_from_message(m, "s", &key);
                if (r < 0)
                        return r;
                r = json_from_message(m, contents + 1, &value);
                if (r < 0)
                        return r;
                (void) json_object_object_add(o, json_object_get_string(key), value);
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r;
}

static int read_elements(sd_bus_message *m, const char *type, JsonObject *o) {
        int r;

        while ((r = sd_bus_message_at_end(m, false)) == 0) {
                JsonObject *value = NULL;

                r = json_from_message(m, type, &value);
                if (r < 0)
                        return r;
                (void) json_object_array_add(o, value);
        }
        return r < 0 ? r : 0;
}

static int read_array(sd_bus_message *m, const char *contents, JsonObject **ret) {
        bool is_dictionary = *contents == '{';
        _cleanup_json_ JsonObject *o =
                        is_dictionary ? json_object_new_object() : json_object_new_array();
        int r;

        r = sd_bus_message_enter_container(m, 'a', contents);
        if (r < 0)
                return r;

        if (is_dictionary)
                r = read_members(m, str_equal(contents, "{sv}") ? "sv" : "ss", o);
        else
                r = read_elements(m, contents, o);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(o);
        return sd_bus_message_exit_container(m);
}

int json_from_message(sd_bus_message *m, const char *type, JsonObject **ret) {
        const char *contents;
        int r;

        if (*type == 'a')
                return read_array(m, type + 1, ret);
        if (*type != 'v')
                return read_basic(m, *type, ret);

        r = sd_bus_message_peek_type(m, NULL, &contents);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(m, 'v', contents);
        if (r < 0)
                return r;
        r = json_from_message(m, contents, ret);
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(m);
}

const char *json_text(JsonObject *o, const char *key) {
        JsonObject *value;

        if (!json_object_is_type(o, json_type_object) ||
            !json_object_object_get_ex(o, key, &value) ||
            !json_object_is_type(value, json_type_string))
                return "";
        return json_object_get_string(value);
}
