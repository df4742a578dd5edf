/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/json-view.h"
#include <errno.h>
#include "common/json-scan.h"

/*
 * A view is the place in the text where its value begins. What the walk along it relies on: a string is its
 * opening quote, what it says, and a NUL; what is left of its place are blanks.
 */

typedef struct Parser {
        unsigned char *p, *end; /* there is a NUL at the end */
        const JsonLimits *limits;
        size_t n_values;
} Parser;

static const char *text_of(const JsonView *v) {
        return (const char *) v;
}

static const JsonView *view_of(const char *text) {
        return (const JsonView *) text;
}

static const char *skip_space(const char *s) {
        while (json_is_space((unsigned char) *s))
                s++;
        return s;
}

/* strings */

/* Reads the four hexadecimal digits at @p. Returns: -1 if they are none. */
static int32_t read_hex(const unsigned char *p) {
        char text[5] = { 0 };

        for (unsigned i = 0; i < 4 && p[i]; i++)
                text[i] = (char) p[i];
        if (strspn(text, "0123456789abcdefABCDEF") != 4)
                return -1;
        return (int32_t) strtol(text, NULL, 16);
}

/* Writes @c as UTF-8. Returns: what is behind it. */
static unsigned char *put_character(unsigned char *to, uint32_t c) {
        static const unsigned char marks[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
        unsigned n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

        for (unsigned i = n - 1; i > 0; i--) {
                to[i] = (unsigned char) (0x80 | (c & 0x3f));
                c >>= 6;
        }
        to[0] = (unsigned char) (n == 1 ? c : marks[n] | c);
        return to + n;
}

/* Decodes what is behind \u at @*from. A surrogate without its other one is no character: U+FFFD. */
static int put_unicode(const unsigned char **from, unsigned char **to) {
        int32_t c = read_hex(*from), low;

        if (c < 0)
                return -EBADMSG;
        if (c == 0)
                return -EILSEQ;
        *from += 4;
        if (c >= 0xd800 && c <= 0xdfff) {
                low = c <= 0xdbff && (*from)[0] == '\\' && (*from)[1] == 'u' ? read_hex(*from + 2)
                                                                             : -1;
                if (low >= 0xdc00 && low <= 0xdfff) {
                        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                        *from += 6;
                } else
                        c = 0xfffd;
        }
        *to = put_character(*to, (uint32_t) c);
        return 0;
}

/* Decodes what is behind the backslash at @*from; it never takes more room than it had. */
static int put_escape(const unsigned char **from, unsigned char **to) {
        static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        unsigned char c = *(*from)++;
        const char *letter = c ? strchr(letters, c) : NULL;

        if (c == 'u')
                return put_unicode(from, to);
        if (!letter)
                return -EBADMSG;
        *(*to)++ = (unsigned char) meant[letter - letters];
        return 0;
}

/* Passes the string whose opening quote is at hand, and leaves what it says in its place. */
static int parse_string(Parser *p) {
        const unsigned char *from = p->p + 1;
        unsigned char *to = p->p + 1;

        while (*from != '"') {
                size_t n;
                int r = 0;

                if (*from < 0x20)
                        return -EBADMSG; /* the end as well */
                if (*from == '\\') {
                        from++;
                        r = put_escape(&from, &to);
                        if (r < 0)
                                return r;
                        continue;
                }
                n = json_utf8_length(from, p->end);
                if (n == 0)
                        return -EILSEQ;
                memmove(to, from, n);
                to += n;
                from += n;
        }

        *to = '\0';
        memset(to + 1, ' ', (size_t) (from - to));
        p->p += from + 1 - p->p;
        return 0;
}

/* values */

static void parse_space(Parser *p) {
        while (json_is_space(*p->p))
                p->p++;
}

static bool parse_one(Parser *p, unsigned char c) {
        parse_space(p);
        if (*p->p != c)
                return false;
        p->p++;
        return true;
}

static int parse_value(Parser *p, unsigned depth);

/* Passes what is between the brackets of which the first is at hand. */
static int parse_container(Parser *p, unsigned depth) {
        bool is_object = *p->p++ == '{';
        unsigned char closing = is_object ? '}' : ']';
        int r;

        if (depth >= p->limits->depth_max)
                return -ELOOP;
        if (parse_one(p, closing))
                return 0;
        do {
                parse_space(p);
                if (is_object) {
                        if (*p->p != '"')
                                return -EBADMSG;
                        r = parse_string(p);
                        if (r < 0)
                                return r;
                        if (!parse_one(p, ':'))
                                return -EBADMSG;
                }
                r = parse_value(p, depth + 1);
                if (r < 0)
                        return r;
        } while (parse_one(p, ','));
        return parse_one(p, closing) ? 0 : -EBADMSG;
}

static int parse_scalar(Parser *p) {
        const unsigned char *at = p->p;
        int r = json_skip_scalar(&at, p->end);

        p->p += at - p->p;
        return r;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as the limits allow */
static int parse_value(Parser *p, unsigned depth) {
        if (++p->n_values > p->limits->values_max)
                return -E2BIG;
        parse_space(p);
        switch (*p->p) {
        case '{':
        case '[':
                return parse_container(p, depth);
        case '"':
                return parse_string(p);
        default:
                return parse_scalar(p);
        }
}

int json_view_parse(const char *text, size_t size, const JsonLimits *limits, JsonView **ret) {
        _cleanup_free_ char *copy = NULL;
        Parser p = { .limits = limits };
        int r;

        if (size > limits->size_max)
                return -E2BIG;
        if (size > 0 && memchr(text, 0, size))
                return -EILSEQ;
        for (; size > 0 && json_is_space((unsigned char) *text); size--)
                text++;

        copy = malloc(size + 1);
        if (!copy)
                return -ENOMEM;
        memcpy(copy, text, size);
        copy[size] = '\0';
        p.p = (unsigned char *) copy;
        p.end = p.p + size;
        r = parse_value(&p, 0);
        if (r < 0)
                return r;
        parse_space(&p);
        if (p.p != p.end)
                return -EBADMSG;
        *ret = (JsonView *) TAKE_PTR(copy);
        return 0;
}

JsonView *json_view_free(JsonView *root) {
        free(root);
        return NULL;
}

/* walking */

/* What is behind the value at @s, all that is in it passed. */
static const char *skip_value(const char *s) {
        unsigned depth = 0;

        do {
                if (depth == 0 && !strchr("\"{[", *s))
                        return s + strcspn(s, ",]} \t\n\r");
                if (*s == '{' || *s == '[')
                        depth++;
                else if (*s == '}' || *s == ']')
                        depth--;
                s += *s == '"' ? strlen(s) + 1 : 1;
        } while (depth > 0);
        return s;
}

/* The value behind a comma, or a first one; NULL where the container ends. */
static const char *next_value(const char *s) {
        s = skip_space(s);
        if (*s == ',')
                s = skip_space(s + 1);
        return *s == ']' || *s == '}' ? NULL : s;
}

JsonKind json_view_kind(const JsonView *v) {
        const char *s = text_of(v);

        if (!s)
                return JSON_KIND_NONE;
        switch (*s) {
        case '{':
                return JSON_KIND_OBJECT;
        case '[':
                return JSON_KIND_ARRAY;
        case '"':
                return JSON_KIND_STRING;
        case 't':
        case 'f':
                return JSON_KIND_BOOL;
        case 'n':
                return JSON_KIND_NULL;
        default:
                s += strspn(s, "-0123456789");
                return *s == '.' || *s == 'e' || *s == 'E' ? JSON_KIND_REAL : JSON_KIND_INTEGER;
        }
}

int json_view_int64(const JsonView *v, int64_t *ret) {
        long long n;

        if (json_view_kind(v) != JSON_KIND_INTEGER)
                return -EBADMSG;
        errno = 0;
        n = strtoll(text_of(v), NULL, 10);
        if (errno != 0 || n == INT64_MIN)
                return -ERANGE;
        *ret = n;
        return 0;
}

const JsonView *json_view_next(const JsonView *array, const JsonView *last) {
        if (json_view_kind(array) != JSON_KIND_ARRAY)
                return NULL;
        return view_of(next_value(last ? skip_value(text_of(last)) : text_of(array) + 1));
}

/* members */

int json_view_member(const JsonView *o, const char *key, const JsonView **ret) {
        const char *name, *value, *found = NULL;

        if (json_view_kind(o) != JSON_KIND_OBJECT)
                return -ENOENT;
        for (name = next_value(text_of(o) + 1); name; name = next_value(skip_value(value))) {
                /* behind the name are blanks, a colon and blanks */
                value = skip_space(skip_space(skip_value(name)) + 1);
                if (!str_equal(name + 1, key))
                        continue;
                if (found)
                        return -ENOENT;
                found = value;
        }
        if (!found)
                return -ENOENT;
        *ret = view_of(found);
        return 0;
}

static int get_member(const JsonView *o, const char *key, JsonKind kind, const JsonView **ret) {
        const JsonView *member;
        int r;

        r = json_view_member(o, key, &member);
        if (r < 0)
                return r;
        if (json_view_kind(member) != kind)
                return -EBADMSG;
        *ret = member;
        return 0;
}

int json_view_get_string(const JsonView *o, const char *key, const char **ret) {
        const JsonView *member;
        int r;

        r = get_member(o, key, JSON_KIND_STRING, &member);
        if (r < 0)
                return r;
        *ret = text_of(member) + 1;
        return 0;
}

int json_view_get_int64(const JsonView *o, const char *key, int64_t *ret) {
        const JsonView *member;
        int r;

        r = get_member(o, key, JSON_KIND_INTEGER, &member);
        return r < 0 ? r : json_view_int64(member, ret);
}

int json_view_get_bool(const JsonView *o, const char *key, bool *ret) {
        const JsonView *member;
        int r;

        r = get_member(o, key, JSON_KIND_BOOL, &member);
        if (r < 0)
                return r;
        *ret = *text_of(member) == 't';
        return 0;
}

int json_view_get_object(const JsonView *o, const char *key, const JsonView **ret) {
        return get_member(o, key, JSON_KIND_OBJECT, ret);
}

int json_view_get_array(const JsonView *o, const char *key, const JsonView **ret) {
        return get_member(o, key, JSON_KIND_ARRAY, ret);
}
