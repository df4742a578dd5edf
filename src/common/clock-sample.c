/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/clock-sample.h"
#include <time.h>
#include "common/macro.h"
#include "common/time-util.h"

#define READINGS 5

/* Returns how long the reading took: the error that it can have. */
static int64_t sample_once(ClockSample *ret) {
        int64_t before_ns, after_ns;

        before_ns = clock_now_ns(CLOCK_MONOTONIC);
        *ret = (ClockSample){
                .boottime_ns = clock_now_ns(CLOCK_BOOTTIME),
                .realtime_ns = clock_now_ns(CLOCK_REALTIME),
        };
        after_ns = clock_now_ns(CLOCK_MONOTONIC);
        ret->monotonic_ns = before_ns + (after_ns - before_ns) / 2;
        return after_ns - before_ns;
}

void clock_sample_take(ClockSample *ret) {
        int64_t best_ns = INT64_MAX;

        for (int i = 0; i < READINGS; i++) {
                ClockSample sample;
                int64_t took_ns = sample_once(&sample);

                if (took_ns < best_ns) {
                        best_ns = took_ns;
                        *ret = sample;
                }
        }
}

int64_t clock_sample_slept_ns(const ClockSample *a, const ClockSample *b) {
        int64_t before_ns = a->boottime_ns - a->monotonic_ns;
        int64_t after_ns = b->boottime_ns - b->monotonic_ns;

        /* The order of reading alone makes two samples differ by less than a microsecond. */
        return MAX(after_ns - before_ns, INT64_C(0));
}

int64_t clock_sample_stepped_ns(const ClockSample *a, const ClockSample *b) {
        return (b->realtime_ns - b->boottime_ns) - (a->realtime_ns - a->boottime_ns);
}

int64_t clock_now_ns(int clock) {
        struct timespec t;
        int r = clock_gettime(clock, &t);

        /* It fails only for a clock that does not exist. */
        assert(r == 0);
        (void) r;
        return (int64_t) t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

uint64_t clock_now_usec(int clock) {
        return (uint64_t) (clock_now_ns(clock) / NSEC_PER_USEC);
}
