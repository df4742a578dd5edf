/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/text-escape.h"
#include <stdint.h>
#include "common/macro.h"

/* Whether the character is one that D-Bus takes and a terminal shows. */
static bool is_plain(uint32_t c) {
        if (c < 0x20 || (c >= 0x7f && c <= 0x9f))
                return false;
        if (c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
            (c >= 0x2066 && c <= 0x2069))
                return false; /* ends of lines, and directions of writing */
        if ((c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe)
                return false; /* no characters at all; sd-bus refuses them */
        return (c < 0xd800 || c > 0xdfff) && c <= 0x10ffff;
}

/* How many bytes the plain character at @s takes; 0 if there is none. */
static size_t plain_size(const char *s) {
        static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
        const unsigned char *u = (const unsigned char *) s;
        size_t size = u[0] < 0x80             ? 1
                      : (u[0] & 0xe0) == 0xc0 ? 2
                      : (u[0] & 0xf0) == 0xe0 ? 3
                      : (u[0] & 0xf8) == 0xf0 ? 4
                                              : 0;
        uint32_t c;

        if (size == 0)
                return 0;

        c = size == 1 ? u[0] : u[0] & (0xffU >> (size + 1));
        for (size_t i = 1; i < size; i++) {
                if ((u[i] & 0xc0) != 0x80) /* a NUL ends here as well */
                        return 0;
                c = c << 6 | (u[i] & 0x3f);
        }

        return c >= smallest[size] && is_plain(c) ? size : 0;
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

char *text_escape(const char *s) {
        static const char digits[] = "0123456789abcdef";
        char *escaped, *p;

        escaped = p = malloc(strlen(s) * 4 + 1);
        if (!escaped)
                return NULL;

        while (*s) {
                size_t n = plain_size(s);

                if (n > 0) {
                        memcpy(p, s, n);
                        p += n;
                        s += n;
                        continue;
                }

                *p++ = '\\';
                *p++ = 'x';
                *p++ = digits[(unsigned char) *s >> 4];
                *p++ = digits[(unsigned char) *s++ & 0xf];
        }

        *p = '\0';
        return escaped;
}
