/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Clock Sample
 *
 * The host's clocks, read at one instant: MONOTONIC stands still while the host sleeps, BOOTTIME
 * counts it, REALTIME may be stepped by anyone. What two samples tell is derived here and nowhere
 * else. All values are nanoseconds.
 */

#include <stdint.h>

typedef struct ClockSample {
        int64_t monotonic_ns;
        int64_t boottime_ns;
        int64_t realtime_ns;
} ClockSample;

/*
 * Reads the clocks, BOOTTIME and REALTIME between two readings of MONOTONIC; of five such readings
 * the one with the least time in between is kept, for a reader that loses the CPU in the middle
 * would see a sleep where there was none.
 */
void clock_sample_take(ClockSample *ret);

/* How long the host slept between @a and @b: growth of BOOTTIME - MONOTONIC; never negative. */
int64_t clock_sample_slept_ns(const ClockSample *a, const ClockSample *b);

/* How far the host's wall clock was stepped between @a and @b: growth of REALTIME - BOOTTIME. */
int64_t clock_sample_stepped_ns(const ClockSample *a, const ClockSample *b);

/* One clock (CLOCK_…), in nanoseconds or whole microseconds. */
int64_t clock_now_ns(int clock);
uint64_t clock_now_usec(int clock);
