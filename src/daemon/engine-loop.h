/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Engine on a Loop
 *
 * What an engine that runs for real has of its CycleOps from this host, whoever runs it: the clocks, the
 * kernel's count of sleeps, and its one deadline, a timer on an sd-event loop that belongs to the caller.
 */

#include <systemd/sd-event.h>
#include "daemon/cycle.h"

/* The CycleOps of these names; @userdata is not looked at. */
void engine_now(void *userdata, ClockSample *ret);
int64_t engine_clock(void *userdata, int clock);
void engine_stats(void *userdata, SuspendStats *ret);

/* The engine's deadline, off as yet: calls cycle_on_timer(). @c is there for as long as the loop runs. */
int engine_timer_new(sd_event *event, Cycle *c, sd_event_source **ret);

/* What CycleOps.arm() is to do. */
void engine_timer_arm(sd_event_source *timer, uint64_t usec);
