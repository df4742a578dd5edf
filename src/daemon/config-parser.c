/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config-parser.h"
#include <ini.h>

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

typedef enum SectionKind {
        SECTION_NONE, /* before the first header */
        SECTION_KNOWN,
        SECTION_UNKNOWN, /* reported by its header; its lines are left out with it */
} SectionKind;

typedef struct Parser {
        const char *text, *end;
        const ConfigParserOps *ops;
        void *userdata;
        unsigned line;
        SectionKind section;
        bool is_unanswered; /* inih has been given a line and has not yet called the handler for it */
} Parser;

static void parser_error(Parser *p, const char *why) {
        p->ops->on_error(p->userdata, p->line, why);
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* The line was given to inih and is none that it understands. */
static void parser_settle(Parser *p) {
        if (p->is_unanswered)
                parser_error(p, "neither a section nor a setting (Key=value)");
        p->is_unanswered = false;
}

/* Where a comment begins that stands behind something else: at a ';' after a blank. */
static size_t without_comment(const char *s, size_t n) {
        for (size_t i = 1; i < n; i++)
                if (s[i] == ';' && is_blank(s[i - 1]))
                        return i;
        return n;
}

static void parse_header(Parser *p, const char *s, size_t n) {
        char name[256];

        n = without_comment(s, n);
        while (n > 0 && is_blank(s[n - 1]))
                n--;

        p->section = SECTION_UNKNOWN;
        if (n < 3 || s[n - 1] != ']') {
                parser_error(p, "a section's header ends with ']'");
                return;
        }

        s++;
        n -= 2;
        while (n > 0 && is_blank(*s)) {
                s++;
                n--;
        }
        while (n > 0 && is_blank(s[n - 1]))
                n--;
        if (n >= sizeof(name)) {
                parser_error(p, "the section's name is too long");
                return;
        }

        memcpy(name, s, n);
        name[n] = 0;
        if (p->ops->on_section(p->userdata, name, p->line))
                p->section = SECTION_KNOWN;
}

/* Whether the line is for inih; all else is dealt with here. */
static bool parser_take(Parser *p, const char *s, size_t n, size_t max) {
        if (n == 0 || *s == '#' || *s == ';')
                return false;

        if (memchr(s, 0, n)) {
                parser_error(p, "has a NUL byte");
                return false;
        }
        if (*s == '[') {
                parse_header(p, s, n);
                return false;
        }
        if (p->section == SECTION_UNKNOWN)
                return false;
        if (n > max) {
                parser_error(p, "the line is too long");
                return false;
        }
        if (p->section == SECTION_NONE) {
                parser_error(p, "stands before the first section");
                return false;
        }
        return true;
}

/* inih's fgets(): hands out the next line, an empty one for what inih is not to see. */
static char *parser_read(char *buf, int size, void *stream) {
        const char *s, *newline;
        Parser *p = stream;
        size_t n;

        parser_settle(p);
        if (p->text >= p->end)
                return NULL;

        s = p->text;
        newline = memchr(s, '\n', (size_t) (p->end - s));
        n = (size_t) ((newline ? newline : p->end) - s);
        p->text = newline ? newline + 1 : p->end;
        p->line++;

        if (p->line == 1 && n >= 3 && memcmp(s, BYTE_ORDER_MARK, 3) == 0) {
                s += 3;
                n -= 3;
        }
        /* An indented line would be joined to the one before. */
        while (n > 0 && is_blank(*s)) {
                s++;
                n--;
        }

        p->is_unanswered = parser_take(p, s, n, (size_t) size - 3);
        if (!p->is_unanswered)
                n = 0;
        memcpy(buf, s, n);
        buf[n] = '\n';
        buf[n + 1] = 0;
        return buf;
}

static int parser_on_setting(
                void *userdata, const char *section, const char *name, const char *value) {
        Parser *p = userdata;

        (void) section;
        if (!p->is_unanswered)
                return 1;

        p->is_unanswered = false;
        if (str_empty(name))
                parser_error(p, "a setting has a name before its '='");
        else
                p->ops->on_setting(p->userdata, name, value ? value : "", p->line);
        return 1;
}

void config_parse(const char *text, size_t size, const ConfigParserOps *ops, void *userdata) {
        Parser p = {
                .text = text,
                .end = text + size,
                .ops = ops,
                .userdata = userdata,
        };

        /* It reads on to the end whatever it meets, and what it thinks of a line is known by then. */
        (void) ini_parse_stream(parser_read, &p, parser_on_setting, &p);
}
