/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Host Counter
 *
 * The host's TSC against its clocks: what the counter was at a time, and how fast the clock runs in
 * it. The rate is measured, from two samples of CLOCK_MONOTONIC some time apart, for it runs at the
 * speed of CLOCK_REALTIME, slewing by NTP included, and is never set. No error is guessed: a sample is
 * a sandwich, whose width is what it can be wrong by.
 */

#include <stdbool.h>
#include <stdint.h>

/* All clocks were read between two readings of the counter. */
typedef struct CounterSample {
        uint64_t counter; /* in the middle of the two */
        uint64_t width;   /* between them: what is read here is right to half of it */
        int64_t realtime_ns;
        int64_t monotonic_ns;
        int64_t raw_ns; /* CLOCK_MONOTONIC_RAW: no slewing moves it */
        int64_t boottime_ns;
} CounterSample;

/* So many ticks were so many nanoseconds of CLOCK_REALTIME; both 0 while that is not known. */
typedef struct CounterRate {
        uint64_t ticks;
        uint64_t ns;
        uint64_t error_ppt; /* how far the measurement can be off, in 10^-12 */
} CounterRate;

/* What is kept of the samples. All zero to begin with. */
typedef struct HostCounter {
        CounterSample last;
        CounterSample from; /* the rate is measured from here to the last one; */
        CounterSample next; /* from here when that is old enough */
        CounterRate rate;
        unsigned resets; /* how often the counter was seen to have begun anew */
} HostCounter;

/* Reads counter and clocks; of several readings the tightest. Returns: 0; -EOPNOTSUPP: no such counter. */
int counter_sample_take(CounterSample *ret);

/*
 * Whether the host's clocks are made from that counter, so that one is as good as the other: no longer
 * when the kernel has found it unstable. @sys: where sysfs is.
 */
bool host_counter_is_clocksource(const char *sys);

/*
 * Takes note of one more sample, and measures the rate anew where the span allows. A sleep in between
 * begins the measurement again; the rate is kept until there is a better one.
 */
void host_counter_note(HostCounter *h, const CounterSample *s);

/* Ticks as nanoseconds at that rate, which is known; less than 2^63 of them. */
uint64_t counter_rate_ns(const CounterRate *rate, uint64_t ticks);
