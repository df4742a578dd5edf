/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Screen
 *
 * Takes what is printed, and finds fault with it: each line is clean, but for the few sequences by which
 * suspendctl itself sets colours, where it may. So nothing that a guest has made up steers a terminal.
 */

#include "common/text-escape.h"
#include "fuzz.h"

typedef struct Screen {
        FILE **stream, *real; /* stdout or stderr, and what it was */
        char *text;
        size_t size;
} Screen;

static inline Screen *screen_begin(Screen *s, FILE **stream) {
        *s = (Screen){ .stream = stream, .real = *stream };
        *stream = open_memstream(&s->text, &s->size);
        HOLDS(*stream);
        return s;
}

/* Takes the colours out of @text, in place. */
static inline void screen_drop_colours(char *text) {
        char *to = text;

        while (*text) {
                const char *end = text + 1;

                while (*text == '\x1b' && *end && strchr("[0123456789;", *end))
                        end++;
                if (*text == '\x1b' && text[1] == '[' && *end == 'm')
                        text += end + 1 - text;
                else
                        *to++ = *text++;
        }
        *to = '\0';
}

static inline void screen_end(Screen *s, bool is_colourful) {
        char *rest, *line;

        HOLDS(fclose(*s->stream) == 0);
        *s->stream = s->real;
        HOLDS(strlen(s->text) == s->size);
        rest = s->text;
        if (is_colourful)
                screen_drop_colours(rest);
        while ((line = strsep(&rest, "\n")))
                HOLDS(text_is_clean(line));
        free(s->text);
}
