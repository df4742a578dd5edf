/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Clock Correction
 *
 * Puts one guest's wall clock right: read it, set it if it is off by more than the threshold, read
 * it back, again until it holds or is given up. A guest that is told by a page and puts its clock
 * right by itself is given time for that first: what it applies is relative, what we set is absolute,
 * and in this order nothing is applied twice. What to do next is a pure function of what was read and
 * answered; the Machine carries it out.
 */

#include "daemon/policy.h"
#include "plugins/plugin-api.h"

#define CORRECTION_SAMPLES_MAX 4
/* More than half of them lie 1.28 s apart: a machine that is busy with the wake is not so for seconds. */
#define CORRECTION_TRIES_MAX 8

typedef enum CorrectionVerdict {
        CORRECTION_NONE,        /* not tried: nothing to read it by, or switched off */
        CORRECTION_RIGHT,       /* read, and right without us */
        CORRECTION_SET,         /* set, read back, holds */
        CORRECTION_REFUSED,     /* it is ahead by more than may be set back */
        CORRECTION_GAVE_UP,     /* set, and still off */
        CORRECTION_UNREACHABLE, /* no answer in time */
        CORRECTION_VERDICT_MAX,
        CORRECTION_VERDICT_INVALID = -EINVAL,
} CorrectionVerdict;

/* Why a clock was looked at. */
typedef enum CorrectionCause {
        CORRECTION_CAUSE_WAKE,
        CORRECTION_CAUSE_HOST_CLOCK, /* it was set to a host clock that has been set since */
        CORRECTION_CAUSE_AGENT,      /* its agent was away, and is back */
        CORRECTION_CAUSE_COMMAND,
        CORRECTION_CAUSE_MAX,
        CORRECTION_CAUSE_INVALID = -EINVAL,
} CorrectionCause;

/* By whom a clock that is right was put right. */
typedef enum CorrectionRepairer {
        CORRECTION_BY_NONE,   /* it is not, or it never was wrong */
        CORRECTION_BY_KERNEL, /* the guest's own, after its own suspend */
        CORRECTION_BY_PAGE,   /* a reader in the guest, of what it was told by the page */
        CORRECTION_BY_AGENT,  /* by us */
        CORRECTION_REPAIRER_MAX,
        CORRECTION_REPAIRER_INVALID = -EINVAL,
} CorrectionRepairer;

/* What is told of it. Offsets are guest clock - host clock (- what it shall be ahead, if relative). */
typedef struct CorrectionReport {
        CorrectionVerdict verdict;
        bool is_before_known, is_after_known;
        int64_t before_ns, before_uncertainty_ns; /* first reading after the wake */
        int64_t after_ns, after_uncertainty_ns;   /* residual: last reading */
        unsigned tries;                           /* how often it was set */
        uint64_t set_after_usec; /* when it was last set that far off; from the beginning, when it ran again */
        CorrectionRepairer repaired_by;
} CorrectionReport;

typedef struct Correction {
        bool is_active;
        bool is_ahead_known; /* of a relative policy: what it was ahead before */
        int64_t ahead_ns;
        bool is_set_pending; /* a set is under way or due, else a reading */
        bool is_set;         /* the last set was taken, and what is read next is what it did */
        bool is_refined;     /* it was under the threshold, and is tried to be better */
        bool is_looking;     /* the guest's reader is waited for, else an answer of its agent */
        bool is_reader_late; /* we have not waited for it any longer */
        unsigned samples;    /* of this reading */
        unsigned failures;   /* in a row */
        int64_t best_ns, best_uncertainty_ns;
        int64_t lead_ns;
        unsigned ways;  /* how many sets have told theirs */
        int64_t way_ns; /* the shortest: what a set must lead by to be right */
        /* CLOCK_MONOTONIC */
        uint64_t began_usec, sampling_usec, give_up_usec;
        CorrectionReport report;
} Correction;

typedef enum CorrectionNext {
        CORRECTION_NEXT_LOOK, /* what the guest's reader says, after correction_pause_usec() */
        CORRECTION_NEXT_READ,
        CORRECTION_NEXT_SET,
        CORRECTION_NEXT_PAUSE, /* read again after correction_pause_usec() */
        CORRECTION_NEXT_DONE,
} CorrectionNext;

/* Starts anew; keeps what a relative policy has sampled. */
void correction_begin(Correction *c, uint64_t now_usec, uint64_t give_up_usec);

/*
 * What the guest's reader has answered (NULL: there is none), asked at the beginning and whenever it is to be
 * looked at. Returns: LOOK; READ; DONE, only after a reading.
 */
CorrectionNext correction_on_reader(
                Correction *c, const struct suspendd_answer *answer, uint64_t now_usec);

/* A reading has come. Returns: what to do next. */
CorrectionNext correction_on_time(
                Correction *c,
                const Policy *policy,
                const struct suspendd_time *t,
                uint64_t now_usec);

/* No answer, or a set has ended with @result. Returns: what to do next. */
CorrectionNext correction_on_failure(Correction *c, uint64_t now_usec);
CorrectionNext correction_on_set(Correction *c, int result, uint64_t now_usec);

/* How long to wait before the next reading, or look. */
uint64_t correction_pause_usec(const Correction *c);

/*
 * What to set the clock ahead of now by, for it to be as far ahead as it shall be when that arrives: half the best
 * round trip; once two sets have told how long they were under way, the shortest of those.
 */
int64_t correction_lead_ns(const Correction *c);

/* Offset of a reading and half its round trip; as far as they go, where a guest answers with nonsense. */
void correction_offset(
                const struct suspendd_time *t, int64_t *ret_offset_ns, int64_t *ret_uncertainty_ns);

DECLARE_STRING_TABLE(correction_verdict, CorrectionVerdict);
DECLARE_STRING_TABLE(correction_repairer, CorrectionRepairer);
DECLARE_STRING_TABLE(correction_cause, CorrectionCause);
