/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Process Identity
 *
 * One start of a process, as a text that no other one has until the next boot: its PID, and when it
 * was started. A VMM that was started anew is another one, whatever PID it got.
 */

#include <stdbool.h>
#include <sys/types.h>

/*
 * "PID.STARTTIME" of the process @pid, in clock ticks since boot (field 22 of proc(5)'s stat); "PID"
 * where /proc does not show it. Freed by the caller.
 *
 * Returns: 0; -ENOMEM, -EMFILE …: it may be seen later.
 */
int process_run_string(pid_t pid, char **ret);

/* Below, a text may have more in front, as "ID.PID.STARTTIME": the last two count. */

/*
 * The process of such a text.
 *
 * Returns: 0; -ESRCH if it is gone; -EINVAL if it is no such text, or /proc does not tell; -ENOMEM, -EMFILE …:
 * it may tell later.
 */
int process_find(const char *run, pid_t *ret);

/* Whether the process of such a text is gone for certain; false if /proc does not tell. */
bool process_has_ended(const char *run);

/* Whether /proc tells of other people's processes at all: one that hides them would hide the first one. */
bool process_are_told(void);

/* The user as whom the process of such a text acts. Returns: as process_find(). */
int process_user(const char *run, uid_t *ret);
