/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/log.h"
#include <inttypes.h>
#include <stdarg.h>

#define LINE_MAX_BYTES 1024

static LogLevel max_level = LOG_LEVEL_INFO;

void log_set_max_level(LogLevel level) {
        max_level = level;
}

void log_line(LogLevel level, const char *format, ...) {
        char text[LINE_MAX_BYTES];
        va_list list;

        if (level > max_level)
                return;
        va_start(list, format);
        (void) vsnprintf(text, sizeof(text), format, list);
        va_end(list);
        if (isatty(STDERR_FILENO))
                (void) dprintf(STDERR_FILENO, "%s\n", text);
        else
                (void) dprintf(STDERR_FILENO, "<%d>%s\n", (int) level, text);
}

const char *log_ns(int64_t ns) {
        static char texts[4][32];
        static unsigned next;
        char *text = texts[next++ % ARRAY_LEN(texts)];
        int64_t usec = ns_abs(ns) / 1000;

        (void) snprintf(text,
                        sizeof(texts[0]),
                        "%s%" PRId64 ".%06" PRId64 " s",
                        ns < 0 ? "-" : "",
                        usec / 1000000,
                        usec % 1000000);
        return text;
}
