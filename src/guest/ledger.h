/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Ledger
 *
 * What a page says that this guest's clocks lack, against what has been made good: the wall clock is
 * stepped by the difference, once. Somebody else may set it as well, at any moment; a clock that ran
 * on through the stop lacks nothing. A pure function of the ledger, a record and the clocks: it reads
 * no clock and steps none, so that tests can run it through any order of events.
 *
 * The ledger is kept over restarts (state.h), and written before each step: see ledger_recover().
 */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/page-layout.h"

/* This guest's clocks at one moment. */
typedef struct GuestClocks {
        int64_t boottime_ns;
        int64_t wall_ns; /* CLOCK_REALTIME − CLOCK_BOOTTIME: moves when the wall clock is set, and only then */
        int64_t slept_ns; /* CLOCK_BOOTTIME − CLOCK_MONOTONIC: moves when the kernel suspends */
        int64_t late_ns; /* how much later than a publishing a look may come: 0 with an interrupt, INT64_MAX if nothing is known */
} GuestClocks;

/* How the rest of a cycle's loss is dealt with, once its greater part has been judged. */
typedef enum LedgerRest {
        LEDGER_REST_APPLY,
        LEDGER_REST_NOTE, /* the wall clock was set by somebody after the machine had run again */
        LEDGER_REST_REFUSE,
        LEDGER_REST_MAX,
        LEDGER_REST_INVALID = -EINVAL,
} LedgerRest;

typedef struct Ledger {
        uint64_t epoch; /* 0: there was no record yet */
        uint64_t publishings;
        uint64_t cycles;
        uint64_t applied_ns; /* of the record's unseen_ns: taken note of */
        uint64_t refused_ns; /* of applied_ns: not given, for it was not lost */
        uint64_t seen_ns;
        int64_t wall_ns;    /* as it was after the last look, or step */
        int64_t pending_ns; /* a step that has been begun from wall_ns */
        int64_t looked_boottime_ns;
        int64_t rest;    /* LedgerRest, of the cycle numbered cycles */
        int64_t is_open; /* the record was a lower bound: a rest is still to come */

        /* a publishing and when it was seen, to check a loss by; 0: none */
        int64_t base_host_boottime_ns;
        int64_t base_boottime_ns;
        int64_t base_slept_ns;
} Ledger;

typedef enum LedgerVerdict {
        LEDGER_NOTHING,     /* nothing is owed */
        LEDGER_BEGUN,       /* a new epoch: the totals as they are count as made good */
        LEDGER_APPLY,       /* the wall clock is to be stepped: pending_ns */
        LEDGER_NOTED,       /* somebody has set the wall clock already */
        LEDGER_REFUSED,     /* the clocks have kept it */
        LEDGER_IMPLAUSIBLE, /* more than a year: refused */
        LEDGER_FELL_BACK,   /* less than was made good: waits until it has grown again */
        LEDGER_VERDICT_MAX,
        LEDGER_VERDICT_INVALID = -EINVAL,
} LedgerVerdict;

typedef struct LedgerNews {
        LedgerVerdict verdict;
        uint64_t owed_ns; /* what the verdict is about */
        uint64_t seen_ns; /* what has been slept through since the last look */
        bool has_lost;
        int64_t lost_ns; /* what the clocks themselves say that they have lost since the base */
} LedgerNews;

/* "applied", "refused", …; as hooks and JSON have it. */
const char *ledger_verdict_to_string(LedgerVerdict verdict);

/*
 * Judges a record. With LEDGER_APPLY the caller writes the ledger down, steps the wall clock by
 * pending_ns and calls ledger_stepped().
 */
void ledger_look(Ledger *l, const DriftRecord *record, const GuestClocks *now, LedgerNews *ret);

/*
 * The wall clock has been stepped by pending_ns, and now reads @wall_ns. Where somebody else has set
 * it in the same moment, before that step, it is to be taken back.
 *
 * Returns: 0; what it is to be stepped by now, which is pending: the caller writes it down and so on.
 */
int64_t ledger_stepped(Ledger *l, int64_t wall_ns);

/*
 * After a start, with a ledger that an earlier life has left: finds out whether the step that it had
 * begun was made.
 *
 * Returns: 0; the step that is still to be made, as from ledger_stepped().
 */
int64_t ledger_recover(Ledger *l, int64_t wall_ns);

/* What the host is told. */
void ledger_answer(const Ledger *l, DriftAnswer *ret);
