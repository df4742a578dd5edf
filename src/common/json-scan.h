/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * JSON Scan
 *
 * What both ways to read JSON know of its characters. Each json_skip_…() passes what it looks at, from
 * *@p on and no further than @end.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* The length of the character at @p, by the table of well-formed UTF-8 in Unicode 3.9; 0 if broken. */
static inline size_t json_utf8_length(const unsigned char *p, const unsigned char *end) {
        unsigned char low = 0x80, high = 0xbf;
        size_t n;

        if (*p < 0x80)
                return 1;
        if (*p < 0xc2 || *p > 0xf4)
                return 0;

        n = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
        if ((size_t) (end - p) < n)
                return 0;

        /* No second way to write a shorter character, no surrogates, nothing above U+10FFFF. */
        if (*p == 0xe0)
                low = 0xa0;
        else if (*p == 0xed)
                high = 0x9f;
        else if (*p == 0xf0)
                low = 0x90;
        else if (*p == 0xf4)
                high = 0x8f;

        if (p[1] < low || p[1] > high)
                return 0;
        for (size_t i = 2; i < n; i++)
                if (p[i] < 0x80 || p[i] > 0xbf)
                        return 0;
        return n;
}

static inline bool json_is_space(unsigned char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline size_t json_skip_digits(const unsigned char **p, const unsigned char *end) {
        const unsigned char *start = *p;

        while (*p < end && **p >= '0' && **p <= '9')
                (*p)++;
        return (size_t) (*p - start);
}

static inline bool json_skip_one_of(
                const unsigned char **p, const unsigned char *end, const char *set) {
        if (*p == end || !**p || !strchr(set, **p))
                return false;
        (*p)++;
        return true;
}

/* Passes a number, by the grammar of RFC 8259: json-c takes -012 and 1E as well. */
static inline int json_skip_number(const unsigned char **p, const unsigned char *end) {
        (void) json_skip_one_of(p, end, "-");
        if (!json_skip_one_of(p, end, "0") && json_skip_digits(p, end) == 0)
                return -EBADMSG;
        if (json_skip_one_of(p, end, ".") && json_skip_digits(p, end) == 0)
                return -EBADMSG;
        if (json_skip_one_of(p, end, "eE")) {
                (void) json_skip_one_of(p, end, "+-");
                if (json_skip_digits(p, end) == 0)
                        return -EBADMSG;
        }
        return 0;
}

/* Returns: whether @word stands there; if not, nothing is passed. */
static inline bool json_skip_word(
                const unsigned char **p, const unsigned char *end, const char *word) {
        size_t n = strlen(word);

        if ((size_t) (end - *p) < n || memcmp(*p, word, n) != 0)
                return false;
        *p += n;
        return true;
}

/* Passes what is no string and has nothing in it. NaN, Infinity and TRUE, all json-c's, are none. */
static inline int json_skip_scalar(const unsigned char **p, const unsigned char *end) {
        if (json_skip_word(p, end, "true") || json_skip_word(p, end, "false") ||
            json_skip_word(p, end, "null"))
                return 0;
        return json_utf8_length(*p, end) == 0 ? -EILSEQ : json_skip_number(p, end);
}
