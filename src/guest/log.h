/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Log
 *
 * Lines on standard error: with the level that journald understands in front, "<5>", where it reads
 * them, as they are on a terminal.
 */

#include <stdbool.h>
#include "guest/util.h"

typedef enum LogLevel {
        LOG_LEVEL_ERROR = 3, /* a person must act */
        LOG_LEVEL_WARNING = 4,
        LOG_LEVEL_NOTICE = 5, /* the clock was set, or would have been */
        LOG_LEVEL_INFO = 6,
        LOG_LEVEL_DEBUG = 7,
} LogLevel;

/* Lines of a higher level than that are left out. */
void log_set_max_level(LogLevel level);

void log_line(LogLevel level, const char *format, ...) _printf_(2, 3);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Nanoseconds as seconds, "20.001350 s", in one of four buffers taken in turn. */
const char *log_ns(int64_t ns);
