/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Drift Count
 *
 * What a guest's clocks lack, counted from spans of the host's CLOCK_BOOTTIME in which it stood. Each
 * nanosecond is counted once at most, whatever is told twice, refined, or told by another life of the
 * daemon: only what lies behind all that was counted before is added. No total ever falls. Pure data.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct DriftCount {
        uint64_t cycles; /* in which anything was counted */
        uint64_t unseen_ns, seen_ns;
        uint64_t last_cycle;                   /* the number of the one that was counted last */
        uint64_t last_unseen_ns, last_seen_ns; /* of it alone */
        int64_t counted_until_boottime_ns;
        int64_t stood_boottime_ns; /* when the standing at hand began; 0: not known */
} DriftCount;

/* It is about to be brought to a stand: whatever was known of an earlier standing is over. */
void drift_count_stopping(DriftCount *c);

/* It stands, since @from_boottime_ns. Nothing is counted. */
void drift_count_stood(DriftCount *c, int64_t from_boottime_ns);

/*
 * It stood from @from_boottime_ns, or since it was seen to stand if that is later, to @to_boottime_ns,
 * in the cycle @cycle; @is_seen if its own kernel makes up for that. A span in another cycle that begins
 * behind all that was counted begins a new count of the last cycle; any other adds to it.
 *
 * Returns: what was added, in ns; 0 for no span, or one that was counted before.
 */
uint64_t drift_count_span(
                DriftCount *c,
                uint64_t cycle,
                bool is_seen,
                int64_t from_boottime_ns,
                int64_t to_boottime_ns);

/* It runs: the standing is over. */
void drift_count_ran(DriftCount *c);
