/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "timers.h"
#include <systemd/sd-event.h>

#define TIMERS_MAX 8

static sd_event_source *timers[TIMERS_MAX];

/* Those that are held and cannot fire any more make room. */
static void timer_hold(sd_event_source *timer) {
        sd_event_source **room = NULL;

        for (size_t i = 0; i < TIMERS_MAX; i++) {
                if (timers[i] == timer)
                        return;
                if (timers[i] && sd_event_source_get_enabled(timers[i], NULL) == 0)
                        timers[i] = sd_event_source_unref(timers[i]);
                if (!timers[i])
                        room = &timers[i];
        }
        HOLDS(room);
        *room = sd_event_source_ref(timer);
}

/* NOLINTBEGIN(bugprone-reserved-identifier,readability-function-size): the linker's, and sd-event's */
__typeof__(sd_event_add_time_relative) __wrap_sd_event_add_time_relative;
__typeof__(sd_event_source_set_time_relative) __wrap_sd_event_source_set_time_relative;

int __wrap_sd_event_add_time_relative(
                sd_event *event,
                sd_event_source **ret,
                clockid_t clock,
                uint64_t usec,
                uint64_t accuracy,
                sd_event_time_handler_t fn,
                void *userdata) {
        (void) usec;
        HOLDS(sd_event_add_time(event, ret, clock, UINT64_MAX, accuracy, fn, userdata) >= 0);
        timer_hold(*ret);
        return 0;
}

int __wrap_sd_event_source_set_time_relative(sd_event_source *timer, uint64_t usec) {
        (void) usec;
        timer_hold(timer);
        return sd_event_source_set_time(timer, UINT64_MAX);
}
/* NOLINTEND(bugprone-reserved-identifier,readability-function-size) */

void timers_fire(Input *in) {
        unsigned chosen = input_choice(in, TIMERS_MAX);

        for (size_t i = 0; i < TIMERS_MAX; i++) {
                sd_event_source *timer = timers[(chosen + i) % TIMERS_MAX];

                if (!timer || sd_event_source_get_enabled(timer, NULL) == 0)
                        continue;
                HOLDS(sd_event_source_set_time(timer, 0) >= 0);
                return;
        }
}

void timers_done(void) {
        for (size_t i = 0; i < TIMERS_MAX; i++)
                timers[i] = sd_event_source_unref(timers[i]);
}
