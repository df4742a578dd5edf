/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/json-bounded.h"
#include <errno.h>
#include <json-c/json_visit.h>
#include <limits.h>
#include "common/json-scan.h"

/* What one pass over the text finds out about it, without memory of its own. */
typedef struct Scan {
        const unsigned char *p;
        const unsigned char *end;
        const JsonLimits *limits;
        size_t n_values;
        unsigned depth;
        unsigned depth_seen;
        unsigned char last; /* the last byte that was not white space */
} Scan;

/* text */

/* Passes the string whose opening quote was just read. */
static int scan_string(Scan *s) {
        while (s->p < s->end) {
                size_t n;

                switch (*s->p) {
                case '"':
                        s->p++;
                        return 0;
                case '\\':
                        s->p++;
                        break;
                case 0:
                        return -EILSEQ;
                default:
                        /* json-c takes raw control characters, RFC 8259 does not. */
                        if (*s->p < 0x20)
                                return -EBADMSG;
                }

                if (s->p == s->end)
                        break;
                n = json_utf8_length(s->p, s->end);
                if (n == 0)
                        return -EILSEQ;
                s->p += n;
        }

        return -EBADMSG;
}

static bool is_opening(unsigned char c) {
        return c == '{' || c == '[';
}

static bool is_closing(unsigned char c) {
        return c == '}' || c == ']';
}

static bool is_scalar(unsigned char c) {
        return c && !strchr("{}[],:", c);
}

/* Counts what @c, the first byte of a token, means for the values and the depth. */
static int scan_structure(Scan *s, unsigned char c) {
        /* json-c takes [1,], and 01 for the number 1. */
        if ((s->last == ',' && is_closing(c)) || (is_scalar(s->last) && is_scalar(c)))
                return -EBADMSG;

        /* Each comma and the first thing in a container announce one value. */
        if (c == ',' || (is_opening(s->last) && !is_closing(c)))
                s->n_values++;
        if (s->n_values > s->limits->values_max)
                return -E2BIG;

        if (is_opening(c)) {
                if (++s->depth > s->limits->depth_max)
                        return -ELOOP;
                s->depth_seen = MAX(s->depth_seen, s->depth);
        } else if (is_closing(c)) {
                if (s->depth == 0)
                        return -EBADMSG;
                s->depth--;
        }

        s->last = c;
        return 0;
}

/* Passes one token. Comments and single quotes, both json-c's, are none. */
static int scan_token(Scan *s) {
        switch (*s->p) {
        case '{':
        case '}':
        case '[':
        case ']':
        case ',':
        case ':':
                s->p++;
                return 0;
        case '"':
                s->p++;
                return scan_string(s);
        case 0:
                return -EILSEQ;
        default:
                return json_skip_scalar(&s->p, s->end);
        }
}

static int scan_text(Scan *s) {
        while (s->p < s->end) {
                int r;

                if (json_is_space(*s->p)) {
                        s->p++;
                        continue;
                }

                r = scan_structure(s, *s->p);
                if (r < 0)
                        return r;
                r = scan_token(s);
                if (r < 0)
                        return r;
        }

        /* Nothing at all, or a container left open. */
        return s->last == 0 || s->depth > 0 ? -EBADMSG : 0;
}

/* parsing */

DEFINE_CLEANUP(struct json_tokener *, json_tokener_free);

/*
 * Without JSON_TOKENER_STRICT, under which json-c 0.18 takes each byte above 0x7f for a control
 * character. What strictness would refuse, the scan has refused.
 */
static int tokenize(const char *text, size_t size, unsigned depth, JsonObject **ret) {
        _cleanup_(json_tokener_freep) struct json_tokener *tokener = NULL;
        _cleanup_json_ JsonObject *o = NULL;
        enum json_tokener_error error;
        size_t end;

        tokener = json_tokener_new_ex((int) depth + 2);
        if (!tokener)
                return -ENOMEM;

        o = json_tokener_parse_ex(tokener, text, (int) size);
        error = json_tokener_get_error(tokener);
        end = json_tokener_get_parse_end(tokener);

        /* A bare number ends where something else begins. */
        if (error == json_tokener_continue) {
                o = json_tokener_parse_ex(tokener, " ", 1);
                error = json_tokener_get_error(tokener);
                end = size;
        }

        if (error != json_tokener_success)
                return -EBADMSG;
        for (; end < size; end++)
                if (!json_is_space((unsigned char) text[end]))
                        return -EBADMSG;

        *ret = TAKE_PTR(o);
        return 0;
}

static int count_value(
                JsonObject *o,
                int flags,
                JsonObject *parent,
                const char *key,
                size_t *index,
                void *count) {
        (void) o, (void) parent, (void) key, (void) index;

        /* Containers are visited twice, before and after what is in them. */
        if (!(flags & JSON_C_VISIT_SECOND))
                (*(size_t *) count)++;
        return JSON_C_VISIT_RETURN_CONTINUE;
}

int json_bounded_parse(const char *text, size_t size, const JsonLimits *limits, JsonObject **ret) {
        _cleanup_json_ JsonObject *o = NULL;
        size_t n_values = 0;
        Scan scan = {
                .p = (const unsigned char *) text,
                .end = (const unsigned char *) text + size,
                .limits = limits,
                .n_values = 1,
        };
        int r;

        if (size > limits->size_max || size > INT_MAX)
                return -E2BIG;

        r = scan_text(&scan);
        if (r < 0)
                return r;

        r = tokenize(text, size, scan.depth_seen, &o);
        if (r < 0)
                return r;

        /* Of two equal keys json-c keeps the last, and other readers the first: so nobody sees either. */
        (void) json_c_visit(o, 0, count_value, &n_values);
        if (n_values != scan.n_values)
                return -EBADMSG;

        *ret = TAKE_PTR(o);
        return 0;
}

const char *json_bounded_error(int r) {
        switch (r) {
        case -E2BIG:
                return "too long or too many values";
        case -ELOOP:
                return "nested too deep";
        case -EILSEQ:
                return "not UTF-8 text";
        case -EBADMSG:
                return "not valid JSON";
        case -ENOMEM:
                return "out of memory";
        default:
                return strerrordesc_np(-r);
        }
}

/* members */

static int get_member(JsonObject *o, const char *key, json_type type, JsonObject **ret) {
        JsonObject *member;

        if (!json_object_is_type(o, json_type_object) ||
            !json_object_object_get_ex(o, key, &member))
                return -ENOENT;
        if (!json_object_is_type(member, type))
                return -EBADMSG;

        *ret = member;
        return 0;
}

int json_get_string(JsonObject *o, const char *key, const char **ret) {
        JsonObject *member;
        const char *s;
        int r;

        r = get_member(o, key, json_type_string, &member);
        if (r < 0)
                return r;

        s = json_object_get_string(member);
        if (strlen(s) != (size_t) json_object_get_string_len(member))
                return -EBADMSG;

        *ret = s;
        return 0;
}

int json_get_int64(JsonObject *o, const char *key, int64_t *ret) {
        JsonObject *member;
        int64_t v;
        int r;

        r = get_member(o, key, json_type_int, &member);
        if (r < 0)
                return r;

        /* json-c gives the nearest number that it has for one that does not fit, on both sides. */
        v = json_object_get_int64(member);
        if (v == INT64_MIN || json_object_get_uint64(member) > INT64_MAX)
                return -ERANGE;

        *ret = v;
        return 0;
}

int json_get_bool(JsonObject *o, const char *key, bool *ret) {
        JsonObject *member;
        int r;

        r = get_member(o, key, json_type_boolean, &member);
        if (r < 0)
                return r;

        *ret = json_object_get_boolean(member);
        return 0;
}

int json_get_object(JsonObject *o, const char *key, JsonObject **ret) {
        return get_member(o, key, json_type_object, ret);
}

int json_get_array(JsonObject *o, const char *key, JsonObject **ret) {
        return get_member(o, key, json_type_array, ret);
}
