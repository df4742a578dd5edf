/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/text-escape.h"
#include <stdint.h>
#include "common/macro.h"

/* Whether UTF-8 has the character, and D-Bus takes it: sd-bus refuses those that are none at all. */
static bool is_valid(uint32_t c) {
        if ((c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe)
                return false;
        return (c < 0xd800 || c > 0xdfff) && c <= 0x10ffff;
}

/* Whether a terminal shows it; it does not show ends of lines and directions of writing. */
static bool is_plain(uint32_t c) {
        if (c < 0x20 || (c >= 0x7f && c <= 0x9f))
                return false;
        return c != 0x200e && c != 0x200f && !(c >= 0x2028 && c <= 0x202e) &&
               !(c >= 0x2066 && c <= 0x2069);
}

/* How many bytes the first byte of a character says that it has; 0 if it is no first byte. */
static size_t announced_size(unsigned char first) {
        if (first < 0x80)
                return 1;
        if ((first & 0xe0) == 0xc0)
                return 2;
        if ((first & 0xf0) == 0xe0)
                return 3;
        return (first & 0xf8) == 0xf0 ? 4 : 0;
}

/* How many bytes the valid character at @s takes; 0 if there is none. */
static size_t read_char(const char *s, uint32_t *ret) {
        static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
        const unsigned char *u = (const unsigned char *) s;
        size_t size = announced_size(u[0]);
        uint32_t c;

        if (size == 0)
                return 0;

        c = size == 1 ? u[0] : u[0] & (0xffU >> (size + 1));
        for (size_t i = 1; i < size; i++) {
                if ((u[i] & 0xc0) != 0x80) /* a NUL ends here as well */
                        return 0;
                c = c << 6 | (u[i] & 0x3f);
        }

        if (c < smallest[size] || !is_valid(c))
                return 0;

        *ret = c;
        return size;
}

static size_t plain_size(const char *s) {
        uint32_t c;
        size_t n = read_char(s, &c);

        return n > 0 && is_plain(c) ? n : 0;
}

bool text_is_clean(const char *s) {
        while (*s) {
                size_t n = plain_size(s);

                if (n == 0)
                        return false;
                s += n;
        }
        return true;
}

/* Writes the next character of @*s as it can be shown, and passes it. Returns: how many bytes, 4 at most. */
static size_t escape_char(char out[static 4], const char **s) {
        static const char digits[] = "0123456789abcdef";
        size_t n = plain_size(*s);
        unsigned char byte;

        if (n > 0) {
                memcpy(out, *s, n);
                *s += n;
                return n;
        }
        byte = (unsigned char) *(*s)++;
        out[0] = '\\';
        out[1] = 'x';
        out[2] = digits[byte >> 4];
        out[3] = digits[byte & 0xf];
        return 4;
}

char *text_escape(const char *s) {
        char *escaped, *p, shown[4];
        size_t size = 1;

        for (const char *c = s; *c;)
                size += escape_char(shown, &c);
        escaped = p = malloc(size);
        if (!escaped)
                return NULL;
        while (*s) {
                size_t n = escape_char(shown, &s);

                memcpy(p, shown, n);
                p += n;
        }
        *p = '\0';
        return escaped;
}

char *text_escape_to(char *buf, size_t size, const char *s) {
        size_t n = 0;

        while (*s) {
                char shown[4];
                size_t k = escape_char(shown, &s);

                if (n + k >= size)
                        break;
                memcpy(buf + n, shown, k);
                n += k;
        }
        buf[n] = '\0';
        return buf;
}

char *text_cut(char *buf, size_t size, const char *s) {
        static const char ellipsis[] = "…";
        size_t n = strlen(s);

        assert(size > sizeof(ellipsis));
        if (n < size)
                return memcpy(buf, s, n + 1);

        n = size - sizeof(ellipsis);
        for (int i = 0; i < 3 && n > 0 && ((unsigned char) s[n] & 0xc0) == 0x80; i++)
                n--;
        memcpy(buf, s, n);
        memcpy(buf + n, ellipsis, sizeof(ellipsis));
        return buf;
}

void text_make_valid(char *s) {
        uint32_t c;

        while (*s) {
                size_t n = read_char(s, &c);

                if (n == 0)
                        *s = '?';
                s += MAX(n, (size_t) 1);
        }
}
