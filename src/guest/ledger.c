/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/ledger.h"
#include "guest/util.h"

/* More than that in one step is not a sleep, but a broken page. */
#define OWED_MAX_NS (UINT64_C(366) * 86400 * 1000000000)

/* Two readings of the wall clock's offset differ by so much though nobody has set it. */
#define WALL_NOISE_NS INT64_C(20000)

/* A look that comes later than this after what it sees says nothing about time. */
#define LATE_MAX_NS (3600 * NSEC_PER_SEC)

/* No host has been up for a century. */
#define BOOTTIME_MAX_NS (INT64_C(100) * 366 * 86400 * NSEC_PER_SEC)

/* Somebody who sets the clock by less says nothing about a loss. */
#define SET_MIN_NS NSEC_PER_MSEC

/* A loss that is smaller than this cannot be told from the delays of looking. */
#define CHECK_MIN_NS NSEC_PER_SEC

/* The same after a suspend of the guest's own: its RTC is good to 1.5 s. */
#define CHECK_MIN_SLEPT_NS (8 * NSEC_PER_SEC)

/* A base is too old, for clocks of different speeds, when the machine ran for so long since. */
#define BASE_AGE_MAX_NS (600 * NSEC_PER_SEC)

const char *ledger_verdict_to_string(LedgerVerdict verdict) {
        static const char *const names[LEDGER_VERDICT_MAX] = {
                [LEDGER_NOTHING] = "nothing",     [LEDGER_BEGUN] = "begun",
                [LEDGER_APPLY] = "applied",       [LEDGER_NOTED] = "noted",
                [LEDGER_REFUSED] = "refused",     [LEDGER_IMPLAUSIBLE] = "implausible",
                [LEDGER_FELL_BACK] = "fell-back",
        };

        return verdict >= 0 && verdict < LEDGER_VERDICT_MAX ? names[verdict] : NULL;
}

/* An unsigned number of a record, for sums that stay within what is signed. */
static int64_t bounded(uint64_t ns) {
        return ns > INT64_MAX ? INT64_MAX : (int64_t) ns;
}

static void begin(Ledger *l, const DriftRecord *record) {
        *l = (Ledger){
                .epoch = record->epoch,
                .cycles = record->cycles,
                .applied_ns = record->unseen_ns,
                .seen_ns = record->seen_ns,
                /* what is still to come of this cycle's loss began before we did */
                .rest = LEDGER_REST_NOTE,
        };
}

/*
 * Whether the clocks have kept what they are said to have lost. A frozen VMM, or a KVM guest on the
 * TSC, runs on: then CLOCK_BOOTTIME has advanced about as far as the host's since the base.
 */
static bool is_kept(
                const Ledger *l,
                const DriftRecord *record,
                const GuestClocks *now,
                LedgerNews *news) {
        int64_t host = ns_between(record->host_boottime_ns, l->base_host_boottime_ns);
        int64_t guest = ns_between(now->boottime_ns, l->base_boottime_ns);
        int64_t owed = bounded(news->owed_ns);
        int64_t least = CHECK_MIN_NS;

        if (l->base_host_boottime_ns <= 0 || host < 0 || now->late_ns > LATE_MAX_NS)
                return false;
        if (least < 4 * now->late_ns)
                least = 4 * now->late_ns;
        news->has_lost = true;
        news->lost_ns = ns_between(host, guest);
        if (least < CHECK_MIN_SLEPT_NS &&
            ns_between(now->slept_ns, l->base_slept_ns) > NSEC_PER_MSEC)
                least = CHECK_MIN_SLEPT_NS;
        /* The age is that of the base when the machine was stopped, not now: a clock that was not stopped has gone on. */
        if (owed < least || ns_between(host, owed) > BASE_AGE_MAX_NS)
                return false;
        return news->lost_ns < owed / 4;
}

/*
 * Whether somebody has set the wall clock since the loss. That the clock was set by about as much says so;
 * by less, it must also not be behind the host's: what was set before the loss leaves it behind.
 */
static bool is_set(
                const DriftRecord *record,
                const GuestClocks *now,
                int64_t moved_ns,
                uint64_t owed_ns) {
        int64_t half = bounded(owed_ns) / 2, behind;

        if (ns_abs(moved_ns) > WALL_NOISE_NS && moved_ns > half)
                return true;
        if (ns_abs(moved_ns) <= SET_MIN_NS || record->host_realtime_ns <= 0)
                return false;
        behind = ns_between(record->host_realtime_ns, now->boottime_ns + now->wall_ns);
        return behind < half;
}

static void take_note(Ledger *l, uint64_t ns, LedgerRest rest) {
        l->applied_ns += ns;
        if (rest == LEDGER_REST_REFUSE)
                l->refused_ns += ns;
        l->rest = rest;
}

/* What is owed of the cycle before, when that was not for us to give, goes with that cycle. */
static void close_cycle(Ledger *l, const DriftRecord *record) {
        uint64_t before = record->unseen_ns - record->last_unseen_ns;

        if (l->is_open && l->rest != LEDGER_REST_APPLY && record->cycles == l->cycles + 1 &&
            record->last_unseen_ns <= record->unseen_ns && before > l->applied_ns)
                take_note(l, before - l->applied_ns, (LedgerRest) l->rest);
        l->cycles = record->cycles;
        l->rest = LEDGER_REST_APPLY;
}

static LedgerVerdict judge(
                Ledger *l, const DriftRecord *record, const GuestClocks *now, LedgerNews *news) {
        bool is_rest = l->is_open && record->cycles == l->cycles;
        int64_t moved = ns_between(now->wall_ns, l->wall_ns);

        if (!is_rest)
                close_cycle(l, record);
        else if (ns_abs(moved) > WALL_NOISE_NS && l->rest == LEDGER_REST_APPLY)
                /* The clock was set, by what is right, after the machine had run again. */
                l->rest = LEDGER_REST_NOTE;

        if (record->unseen_ns <= l->applied_ns)
                return record->unseen_ns == l->applied_ns ? LEDGER_NOTHING : LEDGER_FELL_BACK;
        news->owed_ns = record->unseen_ns - l->applied_ns;

        if (news->owed_ns > OWED_MAX_NS) {
                take_note(l, news->owed_ns, LEDGER_REST_REFUSE);
                return LEDGER_IMPLAUSIBLE;
        }
        if (is_kept(l, record, now, news) || l->rest == LEDGER_REST_REFUSE) {
                take_note(l, news->owed_ns, LEDGER_REST_REFUSE);
                return LEDGER_REFUSED;
        }
        if (l->rest == LEDGER_REST_NOTE || is_set(record, now, moved, news->owed_ns)) {
                take_note(l, news->owed_ns, LEDGER_REST_NOTE);
                return LEDGER_NOTED;
        }
        take_note(l, news->owed_ns, LEDGER_REST_APPLY);
        l->pending_ns = (int64_t) news->owed_ns;
        return LEDGER_APPLY;
}

/* Without an interrupt the publishing may have been there since just after the look before. */
static void take_base(Ledger *l, const DriftRecord *record, const GuestClocks *now) {
        int64_t earliest;

        l->publishings = record->publishings;
        if (now->late_ns > LATE_MAX_NS || record->host_boottime_ns > BOOTTIME_MAX_NS) {
                l->base_host_boottime_ns = 0;
                return;
        }
        earliest = now->boottime_ns - now->late_ns;
        if (now->late_ns > 0 && l->looked_boottime_ns > earliest)
                earliest = l->looked_boottime_ns;
        l->base_host_boottime_ns = record->host_boottime_ns > 0 ? record->host_boottime_ns : 0;
        l->base_boottime_ns = earliest;
        l->base_slept_ns = now->slept_ns;
}

void ledger_look(Ledger *l, const DriftRecord *record, const GuestClocks *now, LedgerNews *ret) {
        LedgerNews news = { 0 };

        if (l->epoch != record->epoch) {
                begin(l, record);
                news.verdict = LEDGER_BEGUN;
        } else {
                if (record->seen_ns > l->seen_ns)
                        news.seen_ns = record->seen_ns - l->seen_ns;
                l->seen_ns = record->seen_ns;
                news.verdict = judge(l, record, now, &news);
        }
        if (news.verdict == LEDGER_BEGUN || record->publishings != l->publishings)
                take_base(l, record, now);
        l->is_open = (record->flags & DRIFT_FLAG_LOWER_BOUND) != 0;
        l->looked_boottime_ns = now->boottime_ns;
        l->wall_ns = now->wall_ns;
        *ret = news;
}

/* Whether a clock that has moved by @moved_ns has made, besides anything else, the step @step_ns. */
static bool has_moved_by(int64_t moved_ns, int64_t step_ns) {
        return step_ns > 0 ? moved_ns > step_ns / 2 : moved_ns < step_ns / 2;
}

int64_t ledger_stepped(Ledger *l, int64_t wall_ns) {
        int64_t step = l->pending_ns;
        int64_t others = ns_between(ns_between(wall_ns, l->wall_ns), step);

        l->wall_ns = wall_ns;
        l->pending_ns = 0;
        if (ns_abs(others) <= WALL_NOISE_NS)
                return 0;
        l->rest = LEDGER_REST_NOTE;
        /* Set before our step, the clock has moved by both; set after it, by what is right. */
        if (has_moved_by(others, step))
                l->pending_ns = -step;
        return l->pending_ns;
}

int64_t ledger_recover(Ledger *l, int64_t wall_ns) {
        if (l->pending_ns == 0)
                return 0;
        /* Whoever has moved the clock, it is as after the step. */
        if (has_moved_by(ns_between(wall_ns, l->wall_ns), l->pending_ns))
                return ledger_stepped(l, wall_ns);
        l->wall_ns = wall_ns;
        return l->pending_ns;
}

void ledger_answer(const Ledger *l, DriftAnswer *ret) {
        *ret = (DriftAnswer){
                .magic = ANSWER_MAGIC,
                .epoch = l->epoch,
                .applied_ns = l->applied_ns,
                .corrects = ANSWER_CORRECTS_REALTIME,
                .refused_ns = l->refused_ns,
                .publishings = l->publishings,
        };
}
