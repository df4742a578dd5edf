/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Structured Log
 *
 * One line per event, to the journal with our fields where stderr is the journal's, else to stderr
 * as text. Control characters in a text are escaped, for names come from VMs. Never blocks on a
 * journal that does not read: what cannot be sent at once is counted and told later.
 */

#include <stdint.h>
#include <syslog.h>
#include "common/macro.h"

/* What goes with a line, each NULL or 0 when it does not apply; all borrowed. */
typedef struct LogFields {
        const char *message_id; /* SUSPENDD_MESSAGE_… of daemon/messages.h */
        const char *cycle_id;
        const char *machine;
        const char *plugin;
        const char *state;
        uint64_t elapsed_usec;
} LogFields;

/* Lines above @level (syslog(3)) are not logged; from SUSPENDD_LOG_LEVEL in the environment at first. */
void log_set_max_level(int level);
int log_max_level(void);

/*
 * Sends all further lines to the journal's socket at @socket_path, or to stderr if NULL. Without it
 * the place is found out at the first line.
 *
 * Returns: 0; a negative errno if there is no such socket, and nothing has changed.
 */
int log_set_journal(const char *socket_path);

/* @error is a negative errno whose text is appended, or 0. Returns: @error. */
int log_full(const LogFields *fields, int level, int error, const char *format, ...) _printf_(4, 5);

#define log_with(_fields, _level, ...)                                                            \
        __extension__({                                                                           \
                int _log_level = (_level);                                                        \
                _log_level <= log_max_level() ? log_full((_fields), _log_level, __VA_ARGS__) : 0; \
        })

#define log_error(...) log_full(NULL, LOG_ERR, 0, __VA_ARGS__)
#define log_warning(...) log_full(NULL, LOG_WARNING, 0, __VA_ARGS__)
#define log_notice(...) log_full(NULL, LOG_NOTICE, 0, __VA_ARGS__)
#define log_info(...) log_full(NULL, LOG_INFO, 0, __VA_ARGS__)
#define log_debug(...) log_with(NULL, LOG_DEBUG, 0, __VA_ARGS__)
#define log_error_errno(_r, ...) log_full(NULL, LOG_ERR, (_r), __VA_ARGS__)
#define log_warning_errno(_r, ...) log_full(NULL, LOG_WARNING, (_r), __VA_ARGS__)
#define log_oom() log_error_errno(-ENOMEM, "Cannot go on")
