/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Hooks
 *
 * The admin's programs, run after a loss: those of /etc/suspend-guest/hooks.d and
 * /usr/lib/suspend-guest/hooks.d, in the order of their names; one in /etc stands for one of the same
 * name in /usr/lib. A process of its own runs them one after another, so that the clock never waits for
 * them; each has its time, and so have all together.
 */

#include <sys/types.h>
#include "guest/ledger.h"

#define HOOKS_MAX 64
#define HOOK_TIMEOUT_SEC 10
#define HOOKS_TIMEOUT_SEC 60

/* What happened since the hooks were run last. */
typedef struct HookEvent {
        bool is_set; /* there is something to tell */
        uint64_t applied_ns, noted_ns, refused_ns, seen_ns;
        uint64_t epoch, cycles;
        uint64_t total_unseen_ns, total_seen_ns;
        int64_t host_realtime_ns, host_stepped_ns;
} HookEvent;

/* Adds what a look has brought. */
void hook_event_add(HookEvent *event, const DriftRecord *record, const LedgerNews *news);

/* Folders, the weightier first; NULL ends them. */
extern const char *const hook_folders[];

/* Finds hooks, by name. Returns: how many, HOOKS_MAX at most; each path is to be freed. */
size_t hooks_find(const char *const *folders, char *ret_paths[HOOKS_MAX]);

/*
 * Starts the process that runs them. Returns: its PID; 0 if there are none; a negative errno.
 */
pid_t hooks_start(const char *const *folders, const HookEvent *event);
