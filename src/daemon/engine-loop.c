/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/engine-loop.h"
#include "common/time-util.h"

void engine_now(void *userdata _unused_, ClockSample *ret) {
        clock_sample_take(ret);
}

int64_t engine_clock(void *userdata _unused_, int clock) {
        return clock_now_ns(clock);
}

void engine_stats(void *userdata _unused_, SuspendStats *ret) {
        suspend_stats_read(ret);
}

static int on_timer(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        cycle_on_timer(userdata);
        return 0;
}

int engine_timer_new(sd_event *event, Cycle *c, sd_event_source **ret) {
        int r;

        r = sd_event_add_time(event, ret, CLOCK_MONOTONIC, 0, 1, on_timer, c);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(*ret, "engine");
        return sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

void engine_timer_arm(sd_event_source *timer, uint64_t usec) {
        int enabled = usec == USEC_INFINITY ? SD_EVENT_OFF : SD_EVENT_ONESHOT;

        (void) sd_event_source_set_time(timer, usec);
        (void) sd_event_source_set_enabled(timer, enabled);
}
