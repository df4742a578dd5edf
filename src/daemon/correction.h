/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Clock Correction
 *
 * Puts one guest's wall clock right: read it, set it if it is off by more than the threshold, read
 * it back, again until it holds or is given up. What to do next is a pure function of what was
 * read; the Machine carries it out.
 */

#include "daemon/policy.h"
#include "plugins/plugin-api.h"

#define CORRECTION_SAMPLES_MAX 4
#define CORRECTION_TRIES_MAX 4

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

/* What is told of it. Offsets are guest clock - host clock (- what it shall be ahead, if relative). */
typedef struct CorrectionReport {
        CorrectionVerdict verdict;
        bool is_before_known, is_after_known;
        int64_t before_ns, before_uncertainty_ns; /* first reading after the wake */
        int64_t after_ns, after_uncertainty_ns;   /* residual: last reading */
        unsigned tries;                           /* how often it was set */
} CorrectionReport;

typedef struct Correction {
        bool is_active;
        bool is_ahead_known; /* of a relative policy: what it was ahead before */
        int64_t ahead_ns;
        bool is_set_pending; /* a set is under way or due, else a reading */
        unsigned samples;    /* of this reading */
        int64_t best_ns, best_uncertainty_ns;
        uint64_t give_up_usec; /* CLOCK_MONOTONIC */
        CorrectionReport report;
} Correction;

typedef enum CorrectionNext {
        CORRECTION_NEXT_READ,
        CORRECTION_NEXT_SET,
        CORRECTION_NEXT_PAUSE, /* read again after correction_pause_usec() */
        CORRECTION_NEXT_DONE,
} CorrectionNext;

/* Starts anew; keeps what a relative policy has sampled. */
void correction_begin(Correction *c, uint64_t give_up_usec);

/* A reading has come. Returns: what to do next. */
CorrectionNext correction_on_time(
                Correction *c, const Policy *policy, const struct suspendd_time *t);

/* No answer, or a set has ended with @result. Returns: what to do next. */
CorrectionNext correction_on_failure(Correction *c, uint64_t now_usec);
CorrectionNext correction_on_set(Correction *c, int result, uint64_t now_usec);

/* How long to wait before the next reading. */
uint64_t correction_pause_usec(const Correction *c);

/* What to set the clock ahead of now by: half the best round trip, and what it shall be ahead. */
int64_t correction_lead_ns(const Correction *c);

/* Offset of a reading and half its round trip. */
void correction_offset(
                const struct suspendd_time *t, int64_t *ret_offset_ns, int64_t *ret_uncertainty_ns);

DECLARE_STRING_TABLE(correction_verdict, CorrectionVerdict);
