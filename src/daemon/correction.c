/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/correction.h"
#include "common/time-util.h"

#define UNREACHABLE_PAUSE_USEC (250 * USEC_PER_MSEC)
#define SET_PAUSE_USEC (20 * USEC_PER_MSEC)

static int64_t magnitude(int64_t ns) {
        return ns < 0 ? -ns : ns;
}

void correction_begin(Correction *c, uint64_t give_up_usec) {
        *c = (Correction){
                .is_active = true,
                .is_ahead_known = c->is_ahead_known,
                .ahead_ns = c->ahead_ns,
                .give_up_usec = give_up_usec,
        };
}

void correction_offset(
                const struct suspendd_time *t,
                int64_t *ret_offset_ns,
                int64_t *ret_uncertainty_ns) {
        int64_t half = (t->host_after_ns - t->host_before_ns) / 2;

        *ret_offset_ns = t->guest_ns - (t->host_before_ns + half);
        *ret_uncertainty_ns = MAX(half, INT64_C(0));
}

static CorrectionNext finish(Correction *c, CorrectionVerdict verdict) {
        c->report.verdict = verdict;
        c->is_active = false;
        return CORRECTION_NEXT_DONE;
}

/* Enough has been read: the tightest of the readings decides. */
static CorrectionNext judge(Correction *c, const Policy *policy) {
        bool is_relative = policy->time_sync == TIME_SYNC_RELATIVE;
        int64_t off = c->best_ns - (is_relative && c->is_ahead_known ? c->ahead_ns : 0);

        if (!c->report.is_before_known) {
                c->report.is_before_known = true;
                c->report.before_ns = off;
                c->report.before_uncertainty_ns = c->best_uncertainty_ns;
        }
        c->report.is_after_known = true;
        c->report.after_ns = off;
        c->report.after_uncertainty_ns = c->best_uncertainty_ns;
        c->samples = 0;

        /* What a guest shall be ahead of us can not be told from one reading after the fact. */
        if (policy->time_sync == TIME_SYNC_OFF || (is_relative && !c->is_ahead_known))
                return finish(c, CORRECTION_NONE);
        /* A reading that is coarser than the threshold must not move a clock that may be right. */
        if (magnitude(off) <= MAX(policy->time_threshold_ns, c->best_uncertainty_ns))
                return finish(c, c->report.tries > 0 ? CORRECTION_SET : CORRECTION_RIGHT);
        if (off > policy->backward_max_ns)
                return finish(c, CORRECTION_REFUSED);
        if (c->report.tries >= CORRECTION_TRIES_MAX)
                return finish(c, CORRECTION_GAVE_UP);

        c->report.tries++;
        c->is_set_pending = true;
        return CORRECTION_NEXT_SET;
}

CorrectionNext correction_on_time(
                Correction *c, const Policy *policy, const struct suspendd_time *t) {
        int64_t off, uncertainty;

        correction_offset(t, &off, &uncertainty);
        if (c->samples == 0 || uncertainty < c->best_uncertainty_ns) {
                c->best_ns = off;
                c->best_uncertainty_ns = uncertainty;
        }

        c->samples++;
        if (c->samples < CORRECTION_SAMPLES_MAX &&
            c->best_uncertainty_ns > policy->time_threshold_ns / 4)
                return CORRECTION_NEXT_READ;

        return judge(c, policy);
}

CorrectionNext correction_on_failure(Correction *c, uint64_t now_usec) {
        if (now_usec >= c->give_up_usec)
                return finish(c, c->report.tries > 0 ? CORRECTION_GAVE_UP : CORRECTION_UNREACHABLE);

        return CORRECTION_NEXT_PAUSE;
}

CorrectionNext correction_on_set(Correction *c, int result, uint64_t now_usec) {
        c->is_set_pending = false;
        if (result < 0)
                return correction_on_failure(c, now_usec);

        return CORRECTION_NEXT_PAUSE;
}

uint64_t correction_pause_usec(const Correction *c) {
        if (c->report.tries == 0)
                return UNREACHABLE_PAUSE_USEC;

        return SET_PAUSE_USEC << (2 * (MIN(c->report.tries, 4U) - 1)); /* 20 ms, 80, 320, 1.28 s */
}

int64_t correction_lead_ns(const Correction *c) {
        return c->best_uncertainty_ns + (c->is_ahead_known ? c->ahead_ns : 0);
}

static const char *const correction_verdict_table[] = {
        [CORRECTION_NONE] = "none",       [CORRECTION_RIGHT] = "right",
        [CORRECTION_SET] = "set",         [CORRECTION_REFUSED] = "refused",
        [CORRECTION_GAVE_UP] = "gave-up", [CORRECTION_UNREACHABLE] = "unreachable",
};

DEFINE_STRING_TABLE(correction_verdict, CorrectionVerdict, CORRECTION_VERDICT);
