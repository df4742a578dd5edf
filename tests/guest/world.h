/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * World
 *
 * A host, its page and a guest, all by clocks of their own: time passes when a test says so, and the
 * guest's clocks lose it, keep it or are set. What a reader shall achieve is read off as the error of
 * the guest's wall clock against the host's.
 */

#include <check.h>
#include <string.h>
#include "guest/ledger.h"
#include "guest/util.h"

#define SEC NSEC_PER_SEC
#define MSEC NSEC_PER_MSEC

typedef struct World {
        int64_t host_realtime_ns;
        int64_t host_boottime_ns;
        DriftRecord record;

        GuestClocks guest;
        Ledger ledger;
        LedgerNews news;
        int64_t stepped_ns; /* by the reader, in all */
} World;

static inline void world_make(World *w) {
        *w = (World){
                .host_realtime_ns = 1700000000 * SEC,
                .host_boottime_ns = 5000 * SEC,
                .record = {
                        .magic = DRIFT_MAGIC,
                        .revision = DRIFT_REVISION,
                        .size = sizeof(DriftRecord),
                        .epoch = 77,
                },
                .guest = { .boottime_ns = 100 * SEC },
        };
        w->guest.wall_ns = w->host_realtime_ns - w->guest.boottime_ns;
}

/* time */

static inline void host_passes(World *w, int64_t ns) {
        w->host_realtime_ns += ns;
        w->host_boottime_ns += ns;
}

static inline void both_run(World *w, int64_t ns) {
        host_passes(w, ns);
        w->guest.boottime_ns += ns;
}

/* How far the guest's wall clock is ahead of the host's. */
static inline int64_t world_error(const World *w) {
        return w->guest.boottime_ns + w->guest.wall_ns - w->host_realtime_ns;
}

/* What an agent does: sets the wall clock to the host's time. */
static inline void agent_sets(World *w) {
        w->guest.wall_ns -= world_error(w);
}

/* the host */

static inline void publish(World *w, uint32_t flags) {
        w->record.flags = flags;
        w->record.publishings++;
        w->record.host_realtime_ns = w->host_realtime_ns;
        w->record.host_boottime_ns = w->host_boottime_ns;
}

static inline void count_unseen(World *w, int64_t ns, bool is_new_cycle) {
        if (is_new_cycle) {
                w->record.cycles++;
                w->record.last_unseen_ns = w->record.last_seen_ns = 0;
        }
        w->record.unseen_ns += (uint64_t) ns;
        w->record.last_unseen_ns += (uint64_t) ns;
}

static inline void count_seen(World *w, int64_t ns) {
        w->record.cycles++;
        w->record.last_unseen_ns = 0;
        w->record.last_seen_ns = (uint64_t) ns;
        w->record.seen_ns += (uint64_t) ns;
}

/* Stops the guest for that long and publishes what it lost, before it runs. */
static inline void pause_guest(World *w, int64_t ns) {
        host_passes(w, ns);
        count_unseen(w, ns, true);
        publish(w, DRIFT_FLAG_LOWER_BOUND);
}

/* The guest runs now; that took @ns more. */
static inline void guest_ran(World *w, int64_t ns) {
        count_unseen(w, ns, false);
        publish(w, 0);
}

/* the reader, as reader.c does it */

static inline void step_wall(World *w, int64_t ns) {
        w->guest.wall_ns += ns;
        w->stepped_ns += ns;
}

static inline LedgerVerdict look(World *w) {
        ledger_look(&w->ledger, &w->record, &w->guest, &w->news);
        while (w->ledger.pending_ns != 0) {
                step_wall(w, w->ledger.pending_ns);
                (void) ledger_stepped(&w->ledger, w->guest.wall_ns);
        }
        return w->news.verdict;
}
