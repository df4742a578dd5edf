/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/host-wake.h"
#include <errno.h>
#include <stdlib.h>
#include "common/time-util.h"

/* Plugins read what VMMs say with SD_EVENT_PRIORITY_NORMAL, which goes before. */
#define QUIET_PRIORITY (SD_EVENT_PRIORITY_NORMAL + 1)
/* As long as VMMs that never fall silent may put it off. */
#define LIMIT_USEC (100 * USEC_PER_MSEC)
/* Turns of the loop, one for each that is read. In fewer it had no CPU to read with, and the time does not count. */
#define TURNS_MIN 64

struct HostWake {
        sd_event_source *quiet; /* nothing is left to be read */
        sd_event_source *limit;
        HostWakeFn due; /* NULL: nothing */
        uint64_t since_turn;
        void *userdata;
};

static uint64_t host_wake_turn(const HostWake *w) {
        uint64_t turn = 0;

        (void) sd_event_get_iteration(sd_event_source_get_event(w->limit), &turn);
        return turn;
}

static void host_wake_enable(HostWake *w, int enabled) {
        (void) sd_event_source_set_enabled(w->quiet, enabled);
        (void) sd_event_source_set_enabled(w->limit, enabled);
}

void host_wake_now(HostWake *w) {
        HostWakeFn act = w->due;

        if (!act)
                return;
        w->due = NULL;
        host_wake_enable(w, SD_EVENT_OFF);
        act(w->userdata);
}

void host_wake_soon(HostWake *w, HostWakeFn act) {
        bool is_first = !w->due;

        w->due = act;
        if (!is_first)
                return;
        w->since_turn = host_wake_turn(w);
        (void) sd_event_source_set_time_relative(w->limit, LIMIT_USEC);
        host_wake_enable(w, SD_EVENT_ONESHOT);
}

bool host_wake_is_due(const HostWake *w) {
        return w->due;
}

static int on_quiet(sd_event_source *s _unused_, void *userdata) {
        host_wake_now(userdata);
        return 0;
}

static int on_limit(sd_event_source *s, uint64_t usec _unused_, void *userdata) {
        HostWake *w = userdata;

        if (host_wake_turn(w) - w->since_turn >= TURNS_MIN) {
                host_wake_now(w);
                return 0;
        }
        (void) sd_event_source_set_time_relative(s, LIMIT_USEC);
        return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static int host_wake_prepare(sd_event_source *s, const char *description, int64_t priority) {
        int r;

        (void) sd_event_source_set_description(s, description);
        r = sd_event_source_set_enabled(s, SD_EVENT_OFF);
        return r < 0 ? r : sd_event_source_set_priority(s, priority);
}

int host_wake_new(sd_event *event, int64_t urgent, void *userdata, HostWake **ret) {
        _cleanup_(host_wake_freep) HostWake *w = calloc(1, sizeof(*w));
        int r;

        if (!w)
                return -ENOMEM;
        w->userdata = userdata;
        r = sd_event_add_defer(event, &w->quiet, on_quiet, w);
        if (r >= 0)
                r = host_wake_prepare(w->quiet, "wake", QUIET_PRIORITY);
        if (r >= 0)
                r = sd_event_add_time(event, &w->limit, CLOCK_MONOTONIC, 0, 1, on_limit, w);
        if (r >= 0)
                r = host_wake_prepare(w->limit, "wake-limit", urgent);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(w);
        return 0;
}

HostWake *host_wake_free(HostWake *w) {
        if (!w)
                return NULL;
        sd_event_source_disable_unref(w->quiet);
        sd_event_source_disable_unref(w->limit);
        free(w);
        return NULL;
}
