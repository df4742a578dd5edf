/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/host-counter.h"
#include <errno.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/macro.h"
#include "common/time-util.h"

#define READINGS 8
/* 100 ns of error at both ends are 0.2 ppm of a second, and 3 ppb of half a minute. */
#define SPAN_MIN_NS NSEC_PER_SEC
#define SPAN_GOOD_NS (32 * NSEC_PER_SEC)
/* What the order of reading cannot do, and the shortest sleep does. */
#define SLEPT_NS NSEC_PER_MSEC
#define PPT UINT64_C(1000000000000)

__extension__ typedef unsigned __int128 Wide;

#if defined(__x86_64__)

/* Neither what is before it nor what is behind it is done on its other side. */
static uint64_t counter_read(void) {
        uint64_t counter;

        __builtin_ia32_lfence();
        counter = __builtin_ia32_rdtsc();
        __builtin_ia32_lfence();
        return counter;
}

static void sample_once(CounterSample *ret) {
        uint64_t before = counter_read();

        *ret = (CounterSample){
                .boottime_ns = clock_now_ns(CLOCK_BOOTTIME),
                .raw_ns = clock_now_ns(CLOCK_MONOTONIC_RAW),
                .monotonic_ns = clock_now_ns(CLOCK_MONOTONIC),
                .realtime_ns = clock_now_ns(CLOCK_REALTIME),
        };
        ret->width = counter_read() - before;
        ret->counter = before + ret->width / 2;
}

int counter_sample_take(CounterSample *ret) {
        CounterSample best = { .width = UINT64_MAX };

        for (unsigned i = 0; i < READINGS; i++) {
                CounterSample sample;

                sample_once(&sample);
                if (sample.width < best.width)
                        best = sample;
        }
        *ret = best;
        return 0;
}

#else

int counter_sample_take(_unused_ CounterSample *ret) {
        return -EOPNOTSUPP;
}

#endif

bool host_counter_is_clocksource(const char *sys) {
        char path[256], name[32];
        _cleanup_fclose_ FILE *f = NULL;

        (void) snprintf(path,
                        sizeof(path),
                        "%s/devices/system/clocksource/clocksource0/current_clocksource",
                        sys);
        f = fopen(path, "re");
        return f && fgets(name, sizeof(name), f) && str_equal(name, "tsc\n");
}

uint64_t counter_rate_ns(const CounterRate *rate, uint64_t ticks) {
        return (uint64_t) ((Wide) ticks * rate->ns / rate->ticks);
}

static bool has_slept(const CounterSample *a, const CounterSample *b) {
        return (b->boottime_ns - b->monotonic_ns) - (a->boottime_ns - a->monotonic_ns) >= SLEPT_NS;
}

/*
 * A counter that goes on advances at least as CLOCK_MONOTONIC_RAW does, which is made from it and stands
 * still in a sleep. One that has begun anew lacks all that it had counted before. The tolerance is for
 * the rate, which has NTP's part in it.
 */
static bool has_begun_anew(const HostCounter *h, const CounterSample *s) {
        int64_t awake_ns = s->raw_ns - h->last.raw_ns, least_ns;

        if (s->counter < h->last.counter)
                return true;
        if (h->rate.ticks == 0)
                return false;
        least_ns = awake_ns - awake_ns / 4 - NSEC_PER_MSEC;
        return least_ns > 0 &&
               counter_rate_ns(&h->rate, s->counter - h->last.counter) < (uint64_t) least_ns;
}

static void measure(HostCounter *h) {
        uint64_t ns = (uint64_t) (h->last.monotonic_ns - h->from.monotonic_ns);
        CounterRate rate = { .ticks = h->last.counter - h->from.counter, .ns = ns };
        uint64_t error_ns;

        /* Half of either sandwich, and the nanosecond that each reading is rounded by. */
        error_ns = counter_rate_ns(&rate, (h->last.width + h->from.width) / 2 + 1) + 2;
        rate.error_ppt = (uint64_t) ((Wide) error_ns * PPT / ns);
        h->rate = rate;
}

static void begin(HostCounter *h, const CounterSample *s) {
        h->last = h->from = h->next = *s;
}

void host_counter_note(HostCounter *h, const CounterSample *s) {
        bool is_first = h->last.monotonic_ns == 0, is_anew = !is_first && has_begun_anew(h, s);

        if (is_anew)
                h->resets++;
        if (is_first || is_anew || has_slept(&h->last, s)) {
                begin(h, s);
                return;
        }
        h->last = *s;
        if (s->monotonic_ns - h->from.monotonic_ns >= SPAN_MIN_NS)
                measure(h);
        /* Old enough to begin with, recent enough to see how NTP slews the clock now. */
        if (s->monotonic_ns - h->next.monotonic_ns >= SPAN_GOOD_NS) {
                h->from = h->next;
                h->next = *s;
        }
}
