/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "record.h"
#include <inttypes.h>
#include <time.h>

#define RECORD_MAX_BYTES (1024 * 1024)

int64_t monotonic_ns(void) {
        struct timespec t = {};

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

void json_print_string(FILE *f, const char *s) {
        fputc('"', f);
        for (; *s; s++) {
                unsigned char c = (unsigned char) *s;

                if (c < 0x20)
                        fprintf(f, "\\u%04x", c);
                else if (c == '"' || c == '\\')
                        fprintf(f, "\\%c", c);
                else
                        fputc(c, f);
        }
        fputc('"', f);
}

static void record_append(Record *r, const char *s, size_t n) {
        if (r->n_bytes + n > RECORD_MAX_BYTES)
                return;

        if (r->n_bytes + n + 1 > r->n_allocated) {
                size_t want = MAX(r->n_allocated * 2, r->n_bytes + n + 1);
                char *text = realloc(r->text, want);

                if (!text)
                        return;
                r->text = text;
                r->n_allocated = want;
        }
        memcpy(r->text + r->n_bytes, s, n);
        r->n_bytes += n;
}

void record_add(Record *r, const char *event, const char *text) {
        _cleanup_free_ char *line = NULL;
        size_t n = 0;
        FILE *f = open_memstream(&line, &n);

        if (!f)
                return;
        fprintf(f, "%s{\"t_ns\":%" PRIi64 ",\"event\":", r->n_bytes > 0 ? "," : "", monotonic_ns());
        json_print_string(f, event);
        if (text) {
                fputs(",\"text\":", f);
                json_print_string(f, text);
        }
        fputc('}', f);
        if (fclose(f) == 0)
                record_append(r, line, n);
}

void record_clear(Record *r) {
        free(r->text);
        *r = (Record){};
}

void record_print(const Record *r, FILE *f) {
        fprintf(f, "[%.*s]", (int) r->n_bytes, r->n_bytes > 0 ? r->text : "");
}
