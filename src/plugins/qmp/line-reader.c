/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/line-reader.h"

#define ALLOCATE_MIN 256

void line_reader_done(LineReader *r) {
        free(r->kept);
        *r = LINE_READER_INIT(r->size_max, r->mark);
}

static void line_reader_drop(LineReader *r) {
        free(TAKE_PTR(r->kept));
        r->kept_size = r->allocated = 0;
}

/* Appends to what is kept. False, and nothing kept, if that is too long, or memory is short. */
static bool line_reader_keep(LineReader *r, const char *data, size_t size) {
        size_t allocate = MAX(r->allocated, (size_t) ALLOCATE_MIN);
        char *kept;

        if (size == 0)
                return true;
        if (size > r->size_max - r->kept_size) {
                line_reader_drop(r);
                return false;
        }
        while (allocate < r->kept_size + size)
                allocate *= 2;
        if (allocate > r->allocated) {
                kept = realloc(r->kept, allocate);
                if (!kept) {
                        line_reader_drop(r);
                        return false;
                }
                r->kept = kept;
                r->allocated = allocate;
        }
        assert(r->kept);
        memcpy(r->kept + r->kept_size, data, size);
        r->kept_size += size;
        return true;
}

static bool line_reader_overflow(LineReader *r, LineFn fn, void *userdata) {
        r->skipping = true;
        return fn(&(const Line){ .marked = r->marked }, userdata);
}

/* The line ends with @data. The reader is ready for the next one before @fn may free it. */
static bool line_reader_end(
                LineReader *r, const char *data, size_t size, LineFn fn, void *userdata) {
        _cleanup_free_ char *whole = NULL;
        Line line = { .text = data, .size = size, .marked = r->marked };

        if (r->kept_size > 0) {
                if (!line_reader_keep(r, data, size)) {
                        r->marked = false;
                        return fn(&(const Line){ .marked = line.marked }, userdata);
                }
                line.size = r->kept_size;
                line.text = whole = TAKE_PTR(r->kept);
                r->kept_size = r->allocated = 0;
        }
        r->marked = false;
        if (line.size > 0 && line.text[line.size - 1] == '\r')
                line.size--;
        if (line.size == 0)
                return true;
        if (line.size > r->size_max)
                line = (Line){ .marked = line.marked };
        return fn(&line, userdata);
}

/* Skips to behind the last mark in the @size bytes at @data. Returns: how many bytes that are. */
static size_t line_reader_find_mark(LineReader *r, const char *data, size_t size) {
        const char *mark = r->mark >= 0 ? memrchr(data, r->mark, size) : NULL;

        if (!mark)
                return 0;
        line_reader_drop(r);
        r->skipping = false;
        r->marked = true;
        return (size_t) (mark - data) + 1;
}

void line_reader_feed(LineReader *r, const char *data, size_t size, LineFn fn, void *userdata) {
        while (size > 0) {
                const char *end = memchr(data, '\n', size);
                size_t length = end ? (size_t) (end - data) : size, past = length + (end ? 1 : 0);
                size_t junk = line_reader_find_mark(r, data, length);

                if (r->skipping) {
                        if (end)
                                r->skipping = r->marked = false;
                } else if (end) {
                        if (!line_reader_end(r, data + junk, length - junk, fn, userdata))
                                return;
                } else if (!line_reader_keep(r, data + junk, length - junk)) {
                        if (!line_reader_overflow(r, fn, userdata))
                                return;
                }
                data += past;
                size -= past;
        }
}
