/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Clock Watch
 *
 * The clocks' and the kernel's own testimony of a sleep. A CLOCK_REALTIME timer with
 * TFD_TIMER_CANCEL_ON_SET is cancelled when the wall clock is set and when the host wakes; which
 * of the two it was, two clock samples tell. It costs no wake-ups.
 *
 * Source: timerfd_create(2), kernel/time/timekeeping.c (timekeeping_resume).
 */

#include <systemd/sd-event.h>
#include "common/clock-sample.h"
#include "common/macro.h"

typedef struct ClockWatch ClockWatch;

/* @slept_ns and @stepped_ns since the call before, either of them 0. */
typedef void (*ClockWatchFn)(void *userdata, int64_t slept_ns, int64_t stepped_ns);

int clock_watch_new(sd_event *event, ClockWatchFn on_jump, void *userdata, ClockWatch **ret);
ClockWatch *clock_watch_free(ClockWatch *w);

DEFINE_CLEANUP(ClockWatch *, clock_watch_free);

/* What the kernel counted of sleeps: /sys/power/suspend_stats, or -1 where it does not tell. */
typedef struct SuspendStats {
        int64_t success;
        int64_t fail;
        char last_failed_step[40]; /* empty when none */
} SuspendStats;

void suspend_stats_read(SuspendStats *ret);

/* The same from another directory. */
void suspend_stats_read_from(const char *directory, SuspendStats *ret);
