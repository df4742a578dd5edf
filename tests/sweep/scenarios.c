/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scenarios.h"
#include <poll.h>
#include <signal.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/time-util.h"

#define REST_USEC (3 * USEC_PER_MSEC)
#define REST_LIMIT_USEC (2 * USEC_PER_SEC)
#define STOP_LIMIT_USEC (10 * USEC_PER_SEC) /* TimeoutStopSec= */

void scenario_rest(const Tracer *t, uint64_t usec) {
        uint64_t now = clock_now_usec(CLOCK_MONOTONIC), since = now, end = now + REST_LIMIT_USEC;
        unsigned n = tracer_report(t).n_calls;

        while (now - since < usec && now < end) {
                unsigned n_now = tracer_report(t).n_calls;

                if (n_now != n)
                        since = now;
                n = n_now;
                (void) poll(NULL, 0, 1);
                now = clock_now_usec(CLOCK_MONOTONIC);
        }
}

/* Where the blow has fallen, its end is certain, and not yet seen maybe. */
static void see_the_end(World *w, const Tracer *t) {
        if (w->is_kill_due && tracer_report(t).is_struck)
                world_wait_end(w);
}

/* a sleep */

static int begin_sleep(World *w, const Tracer *t) {
        int r;

        r = world_fall_asleep(w);
        if (r < 0)
                return r;
        scenario_rest(t, REST_USEC);
        see_the_end(w, t);
        return 0;
}

static int act_sleep(World *w, const Tracer *t) {
        int r;

        r = begin_sleep(w, t);
        if (r >= 0)
                r = world_wait_ready(w);
        return r < 0 ? r : world_wake(w);
}

static int act_sleep_late(World *w, const Tracer *t) {
        int r;

        r = begin_sleep(w, t);
        return r < 0 ? r : world_wake(w);
}

/* a start */

static int prepare_held(World *w) {
        int r;

        r = world_fall_asleep(w);
        if (r < 0)
                return r;
        return world_stands(w) ? 0 : -EIO;
}

static int prepare_start_asleep(World *w) {
        int r;

        r = prepare_held(w);
        if (r < 0)
                return r;
        world_kill(w);
        return world_start(w, true);
}

static int prepare_start_awake(World *w) {
        int r;

        r = prepare_held(w);
        if (r < 0)
                return r;
        world_kill(w);
        r = world_wake(w);
        return r < 0 ? r : world_start(w, true);
}

static int act_start_asleep(World *w, const Tracer *t) {
        int r;

        world_let_start(w);
        r = world_wait_ready(w);
        if (r < 0)
                return r;
        scenario_rest(t, REST_USEC);
        return world_wake(w);
}

static int act_start_awake(World *w, const Tracer *t) {
        (void) t;
        world_let_start(w);
        return world_wait_ready(w);
}

/* a stop */

static int act_stop(World *w, const Tracer *t) {
        int r;

        r = world_stop(w, STOP_LIMIT_USEC);
        see_the_end(w, t);
        return r < 0 ? r : world_wake(w);
}

const Scenario scenarios[] = {
        { .name = "sleep", .what = "a sleep; restarted at once", .act = act_sleep },
        {
                        .name = "sleep-late",
                        .what = "a sleep; restarted when the host is awake",
                        .death_only = true,
                        .act = act_sleep_late,
        },
        {
                        .name = "start-asleep",
                        .what = "a start with machines held, the host asleep, and its wake",
                        .from_start = true,
                        .prepare = prepare_start_asleep,
                        .act = act_start_asleep,
        },
        {
                        .name = "start-awake",
                        .what = "a start with machines held, the host awake",
                        .from_start = true,
                        .prepare = prepare_start_awake,
                        .act = act_start_awake,
        },
        {
                        .name = "stop",
                        .what = "a stop with machines held",
                        .prepare = prepare_held,
                        .act = act_stop,
        },
};

const size_t n_scenarios = ARRAY_LEN(scenarios);
