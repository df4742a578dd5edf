/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/drift-count.h"
#include "common/macro.h"

void drift_count_stopping(DriftCount *c) {
        c->stood_boottime_ns = 0;
}

void drift_count_stood(DriftCount *c, int64_t from_boottime_ns) {
        if (from_boottime_ns > 0)
                c->stood_boottime_ns = from_boottime_ns;
}

static void begin_cycle(DriftCount *c) {
        c->cycles++;
        c->last_unseen_ns = 0;
        c->last_seen_ns = 0;
}

uint64_t drift_count_span(
                DriftCount *c,
                uint64_t cycle,
                bool is_seen,
                int64_t from_boottime_ns,
                int64_t to_boottime_ns) {
        int64_t from = MAX(from_boottime_ns, c->stood_boottime_ns);
        int64_t begin = MAX(from, c->counted_until_boottime_ns);
        uint64_t added;

        if (from_boottime_ns <= 0 || to_boottime_ns <= begin)
                return 0;
        added = (uint64_t) to_boottime_ns - (uint64_t) begin;

        /* What overlaps is the rest of a standing, by whatever number a later life knows it. */
        if (c->cycles == 0 || (from >= c->counted_until_boottime_ns && cycle != c->last_cycle))
                begin_cycle(c);
        c->last_cycle = cycle;
        c->counted_until_boottime_ns = to_boottime_ns;
        if (is_seen) {
                c->seen_ns += added;
                c->last_seen_ns += added;
        } else {
                c->unseen_ns += added;
                c->last_unseen_ns += added;
        }
        return added;
}

void drift_count_ran(DriftCount *c) {
        c->stood_boottime_ns = 0;
}
