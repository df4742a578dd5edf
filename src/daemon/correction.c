/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/correction.h"
#include "common/time-util.h"

#define FAILURE_PAUSE_USEC (20 * USEC_PER_MSEC)
#define FAILURE_PAUSE_MAX_USEC (250 * USEC_PER_MSEC)
#define SET_PAUSE_USEC (20 * USEC_PER_MSEC)
/* How long the guest's reader is waited for before the clock is read, and after it was set without it. */
#define READER_LIMIT_USEC (300 * USEC_PER_MSEC)
#define READER_LATE_LIMIT_USEC (3 * USEC_PER_SEC)
#define READER_LOOK_USEC (5 * USEC_PER_MSEC)
#define READER_LATE_LOOK_USEC (50 * USEC_PER_MSEC)
/* A clock that is off by far more than it is uncertain is not read for longer to know it better. */
#define SAMPLING_LIMIT_USEC (40 * USEC_PER_MSEC)
#define FAR_OFF 10
/* Once it is set, a quarter of the threshold is worth one more try. */
#define REFINE_SHARE 4
/* What a set can be off by for the way that it takes. */
#define WAY_MAX_NS (100 * NSEC_PER_MSEC)
/* 73 years: more tells no more, and no sum of a time and one of these overflows. */
#define OFFSET_MAX_NS (INT64_MAX / 4)

static int64_t magnitude(int64_t ns) {
        return ns < 0 ? -ns : ns;
}

static int64_t bounded_difference(int64_t a, int64_t b) {
        int64_t d;

        if (__builtin_sub_overflow(a, b, &d))
                d = a < b ? -OFFSET_MAX_NS : OFFSET_MAX_NS;
        return MAX(MIN(d, OFFSET_MAX_NS), -OFFSET_MAX_NS);
}

void correction_begin(Correction *c, uint64_t now_usec, uint64_t give_up_usec) {
        *c = (Correction){
                .is_active = true,
                .is_ahead_known = c->is_ahead_known,
                .ahead_ns = c->ahead_ns,
                .began_usec = now_usec,
                .give_up_usec = give_up_usec,
        };
}

void correction_offset(
                const struct suspendd_time *t,
                int64_t *ret_offset_ns,
                int64_t *ret_uncertainty_ns) {
        int64_t half = bounded_difference(t->host_after_ns, t->host_before_ns) / 2;

        *ret_offset_ns = bounded_difference(t->guest_ns, t->host_before_ns + half);
        *ret_uncertainty_ns = MAX(half, INT64_C(0));
}

static CorrectionNext finish(Correction *c, CorrectionVerdict verdict) {
        c->report.verdict = verdict;
        c->is_active = c->is_looking = false;
        return CORRECTION_NEXT_DONE;
}

/* the guest's own reader */

/*
 * One that comes after us applies what it was told to a clock that is right. It ought to see that; but it is
 * waited for once more, and the clock read then.
 */
static CorrectionNext settle(Correction *c, CorrectionVerdict verdict, uint64_t now_usec) {
        c->report.verdict = verdict;
        if (!c->is_reader_late || now_usec >= c->began_usec + READER_LATE_LIMIT_USEC)
                return finish(c, verdict);
        c->is_looking = true;
        return CORRECTION_NEXT_LOOK;
}

CorrectionNext correction_on_reader(
                Correction *c, const struct suspendd_answer *answer, uint64_t now_usec) {
        bool is_awaited = answer && answer->corrects_realtime && !answer->is_current;
        uint64_t limit_usec = c->is_reader_late ? READER_LATE_LIMIT_USEC : READER_LIMIT_USEC;

        c->is_looking = is_awaited && now_usec < c->began_usec + limit_usec;
        if (c->is_looking)
                return CORRECTION_NEXT_LOOK;
        if (c->is_reader_late && is_awaited)
                return finish(c, c->report.verdict);
        c->is_reader_late = is_awaited;
        return CORRECTION_NEXT_READ;
}

/* its agent */

/*
 * How long a set is under way is what it has in each case; whatever comes on top of that is chance, on a busy
 * machine tens of milliseconds. So the shortest way counts, once two are known. Nothing arrives before it was sent:
 * somebody else has moved that clock.
 */
static void learn_way(Correction *c, int64_t off_ns) {
        int64_t ahead_ns = c->is_ahead_known ? c->ahead_ns : 0;
        int64_t way_ns = c->lead_ns - off_ns;

        if (!c->is_set || magnitude(off_ns) > WAY_MAX_NS ||
            way_ns < ahead_ns - c->best_uncertainty_ns)
                return;
        c->way_ns = c->ways == 0 ? way_ns : MIN(c->way_ns, way_ns);
        c->ways++;
}

static int64_t next_lead_ns(const Correction *c) {
        int64_t lead_ns = c->best_uncertainty_ns + (c->is_ahead_known ? c->ahead_ns : 0);

        if (c->ways < 2)
                return lead_ns;
        return MAX(MIN(c->way_ns, lead_ns + WAY_MAX_NS), lead_ns - WAY_MAX_NS);
}

/* Whether a clock that was set and is under the threshold is worth one more try. */
static bool is_worth_refining(
                Correction *c, const Policy *policy, int64_t off_ns, uint64_t now_usec) {
        int64_t goal_ns = MAX(policy->time_threshold_ns / REFINE_SHARE, c->best_uncertainty_ns);

        if (!c->is_set || c->is_refined || magnitude(off_ns) <= goal_ns ||
            off_ns > policy->backward_max_ns || c->report.tries >= CORRECTION_TRIES_MAX ||
            now_usec >= c->give_up_usec)
                return false;
        c->is_refined = true;
        return true;
}

static CorrectionNext set(Correction *c, int64_t off_ns) {
        learn_way(c, off_ns);
        c->lead_ns = next_lead_ns(c);
        c->is_set = false;
        c->report.tries++;
        c->is_set_pending = true;
        return CORRECTION_NEXT_SET;
}

static void keep_reading(Correction *c, int64_t off_ns) {
        CorrectionReport *r = &c->report;

        if (!r->is_before_known) {
                r->is_before_known = true;
                r->before_ns = off_ns;
                r->before_uncertainty_ns = c->best_uncertainty_ns;
        }
        r->is_after_known = true;
        r->after_ns = off_ns;
        r->after_uncertainty_ns = c->best_uncertainty_ns;
}

/* Enough has been read: the tightest of the readings decides. */
static CorrectionNext judge(Correction *c, const Policy *policy, uint64_t now_usec) {
        bool is_relative = policy->time_sync == TIME_SYNC_RELATIVE;
        int64_t off = bounded_difference(
                        c->best_ns, is_relative && c->is_ahead_known ? c->ahead_ns : 0);

        keep_reading(c, off);
        c->samples = 0;

        /* What a guest shall be ahead of us can not be told from one reading after the fact. */
        if (policy->time_sync == TIME_SYNC_OFF || (is_relative && !c->is_ahead_known))
                return finish(c, CORRECTION_NONE);
        /* A reading that is coarser than the threshold must not move a clock that may be right. */
        if (magnitude(off) <= MAX(policy->time_threshold_ns, c->best_uncertainty_ns)) {
                if (is_worth_refining(c, policy, off, now_usec))
                        return set(c, off);
                return settle(c, c->report.tries > 0 ? CORRECTION_SET : CORRECTION_RIGHT, now_usec);
        }
        if (off > policy->backward_max_ns)
                return finish(c, CORRECTION_REFUSED);
        if (c->report.tries >= CORRECTION_TRIES_MAX ||
            (c->report.tries > 0 && now_usec >= c->give_up_usec))
                return finish(c, CORRECTION_GAVE_UP);
        c->report.set_after_usec = now_usec - c->began_usec;
        return set(c, off);
}

static bool is_enough(const Correction *c, const Policy *policy, uint64_t now_usec) {
        bool is_far_off = magnitude(c->best_ns) / FAR_OFF > c->best_uncertainty_ns;

        return c->samples >= CORRECTION_SAMPLES_MAX ||
               c->best_uncertainty_ns <= policy->time_threshold_ns / 4 ||
               (is_far_off && now_usec >= c->sampling_usec + SAMPLING_LIMIT_USEC);
}

CorrectionNext correction_on_time(
                Correction *c,
                const Policy *policy,
                const struct suspendd_time *t,
                uint64_t now_usec) {
        int64_t off, uncertainty;

        c->failures = 0;
        correction_offset(t, &off, &uncertainty);
        if (c->samples == 0)
                c->sampling_usec = now_usec;
        if (c->samples == 0 || uncertainty < c->best_uncertainty_ns) {
                c->best_ns = off;
                c->best_uncertainty_ns = uncertainty;
        }

        c->samples++;
        return is_enough(c, policy, now_usec) ? judge(c, policy, now_usec) : CORRECTION_NEXT_READ;
}

CorrectionNext correction_on_failure(Correction *c, uint64_t now_usec) {
        c->failures++;
        c->is_set_pending = false;
        if (now_usec >= c->give_up_usec)
                return finish(c, c->report.tries > 0 ? CORRECTION_GAVE_UP : CORRECTION_UNREACHABLE);

        return CORRECTION_NEXT_PAUSE;
}

CorrectionNext correction_on_set(Correction *c, int result, uint64_t now_usec) {
        c->is_set_pending = false;
        c->is_set = result >= 0;
        if (result < 0)
                return correction_on_failure(c, now_usec);

        return CORRECTION_NEXT_PAUSE;
}

/* 20 ms, 40, 80, … to the first of what it does not reach; 20 ms, 80, 320, then 1.28 s after a set. */
uint64_t correction_pause_usec(const Correction *c) {
        unsigned tries = MAX(MIN(c->report.tries, 4U), 1U);

        if (c->is_looking)
                return c->is_reader_late ? READER_LATE_LOOK_USEC : READER_LOOK_USEC;
        if (c->failures > 0) {
                unsigned doublings = MIN(c->failures - 1, 10U);

                return MIN(FAILURE_PAUSE_USEC << doublings, FAILURE_PAUSE_MAX_USEC);
        }
        return SET_PAUSE_USEC << (2 * (tries - 1));
}

int64_t correction_lead_ns(const Correction *c) {
        return c->lead_ns;
}

static const char *const correction_verdict_table[] = {
        [CORRECTION_NONE] = "none",       [CORRECTION_RIGHT] = "right",
        [CORRECTION_SET] = "set",         [CORRECTION_REFUSED] = "refused",
        [CORRECTION_GAVE_UP] = "gave-up", [CORRECTION_UNREACHABLE] = "unreachable",
};

DEFINE_STRING_TABLE(correction_verdict, CorrectionVerdict, CORRECTION_VERDICT);

static const char *const correction_repairer_table[] = {
        [CORRECTION_BY_NONE] = "none",
        [CORRECTION_BY_KERNEL] = "kernel",
        [CORRECTION_BY_PAGE] = "page",
        [CORRECTION_BY_AGENT] = "agent",
};

DEFINE_STRING_TABLE(correction_repairer, CorrectionRepairer, CORRECTION_REPAIRER);

static const char *const correction_cause_table[] = {
        [CORRECTION_CAUSE_WAKE] = "wake",
        [CORRECTION_CAUSE_HOST_CLOCK] = "host-clock",
        [CORRECTION_CAUSE_AGENT] = "agent",
        [CORRECTION_CAUSE_COMMAND] = "command",
};

DEFINE_STRING_TABLE(correction_cause, CorrectionCause, CORRECTION_CAUSE);
