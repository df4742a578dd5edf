/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/retry.h"
#include <time.h>
#include "common/time-util.h"

#define SOON_USEC (50 * USEC_PER_MSEC)
#define SOON_MAX 6
#define SLOW_USEC USEC_PER_SEC
#define SLOW_MAX_USEC (60 * USEC_PER_SEC)

static int retry_on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Retry *r = userdata;

        (void) s;
        (void) usec;
        r->timer = sd_event_source_disable_unref(r->timer);
        r->fn(r->userdata);
        return 0;
}

static bool retry_in(Retry *r, sd_event *event, uint64_t usec) {
        r->timer = sd_event_source_disable_unref(r->timer);
        if (sd_event_add_time_relative(
                            event, &r->timer, CLOCK_MONOTONIC, usec, 1, retry_on_timer, r) < 0)
                return false;
        (void) sd_event_source_set_description(r->timer, "qmp-retry");
        (void) sd_event_source_set_priority(r->timer, SD_EVENT_PRIORITY_IDLE);
        return true;
}

bool retry_soon(Retry *r, sd_event *event) {
        if (r->n_soon >= SOON_MAX)
                return false;
        return retry_in(r, event, SOON_USEC << r->n_soon++);
}

void retry_slowly(Retry *r, sd_event *event) {
        (void) retry_in(r, event, MIN(SLOW_USEC << r->n_slow, SLOW_MAX_USEC));
        r->n_slow = MIN(r->n_slow + 1, 6U);
}

void retry_reset(Retry *r) {
        r->timer = sd_event_source_disable_unref(r->timer);
        r->n_soon = r->n_slow = 0;
}
