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
        r->fn(r->userdata);
        return 0;
}

int retry_init(Retry *r, sd_event *event, RetryFn fn, void *userdata) {
        int n;

        *r = (Retry){ .fn = fn, .userdata = userdata };
        n = sd_event_add_time(event, &r->timer, CLOCK_MONOTONIC, 0, 1, retry_on_timer, r);
        if (n < 0)
                return n;
        (void) sd_event_source_set_description(r->timer, "qmp-retry");
        (void) sd_event_source_set_priority(r->timer, SD_EVENT_PRIORITY_IDLE);
        return sd_event_source_set_enabled(r->timer, SD_EVENT_OFF);
}

void retry_done(Retry *r) {
        r->timer = sd_event_source_disable_unref(r->timer);
}

void retry_in(Retry *r, uint64_t usec) {
        (void) sd_event_source_set_time_relative(r->timer, usec);
        (void) sd_event_source_set_enabled(r->timer, SD_EVENT_ONESHOT);
}

bool retry_soon(Retry *r) {
        if (r->n_soon >= SOON_MAX)
                return false;
        retry_in(r, SOON_USEC << r->n_soon++);
        return true;
}

void retry_slowly(Retry *r) {
        retry_in(r, MIN(SLOW_USEC << r->n_slow, SLOW_MAX_USEC));
        r->n_slow = MIN(r->n_slow + 1, 6U);
}

void retry_for_ever(Retry *r) {
        if (!retry_soon(r))
                retry_slowly(r);
}

bool retry_is_due(const Retry *r) {
        return sd_event_source_get_enabled(r->timer, NULL) > 0;
}

void retry_reset(Retry *r) {
        (void) sd_event_source_set_enabled(r->timer, SD_EVENT_OFF);
        r->n_soon = r->n_slow = 0;
}
