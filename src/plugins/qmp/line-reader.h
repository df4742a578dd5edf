/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Line Reader
 *
 * Bytes in, lines out, split wherever they may be. A line that came in one piece is handed on where
 * it lies; only what has no end yet is kept, so an idle reader owns no memory. A line over the limit
 * is told once and skipped. Where a mark is set (0xFF, which no UTF-8 text contains), it throws away
 * all that stands before it in its line.
 *
 * A LineReader is embedded in its owner, which may free it from within the callback.
 */

#include <stdbool.h>
#include <stddef.h>
#include "common/macro.h"

typedef struct LineReader {
        char *kept; /* the beginning of a line whose end has not come */
        size_t kept_size, allocated;
        size_t size_max;
        int mark; /* or -1 */
        bool marked, skipping;
} LineReader;

typedef struct Line {
        const char *text; /* without its end, not NUL-terminated; NULL if over the limit */
        size_t size;
        bool marked; /* the mark stood right before it */
} Line;

/* Takes one line, borrowed for the call. Returns: false if the reader may be gone: stop. */
typedef bool (*LineFn)(const Line *line, void *userdata);

/* lifetime */

#define LINE_READER_INIT(_size_max, _mark) \
        ((LineReader){ .size_max = (_size_max), .mark = (_mark) })

void line_reader_done(LineReader *r);

/* Calls @fn for each line that @data ends; empty ones are left out. */
void line_reader_feed(LineReader *r, const char *data, size_t size, LineFn fn, void *userdata);
