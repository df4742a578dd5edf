/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Lacking Timers
 *
 * Stands between a plugin and sd-event, for a test that is linked with --wrap=sd_event_add_time_relative.
 */

#include <errno.h>
#include <systemd/sd-event.h>

static unsigned n_timers_lacking; /* the next so many are not to be had */

__typeof__(sd_event_add_time_relative) __real_sd_event_add_time_relative,
                __wrap_sd_event_add_time_relative;

int __wrap_sd_event_add_time_relative(
                sd_event *event,
                sd_event_source **ret,
                clockid_t clock,
                uint64_t usec,
                uint64_t accuracy,
                sd_event_time_handler_t fn,
                void *userdata) {
        if (n_timers_lacking > 0) {
                n_timers_lacking--;
                return -ENOMEM;
        }
        return __real_sd_event_add_time_relative(event, ret, clock, usec, accuracy, fn, userdata);
}
