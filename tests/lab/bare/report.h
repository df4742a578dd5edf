/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Report
 *
 * What the bare-metal guest tells of its samples, in a second shared memory: nothing of it is a part
 * of the drift page. The guest alone writes; whoever reads looks at the numbers before and after.
 * tests/lab/bareguest.py knows the same layout.
 */

#include <stdint.h>

#define REPORT_READY 0x59444552 /* "REDY" */

typedef struct Report {
        uint32_t ready;
        uint32_t begun; /* the number of the sample that is being taken */
        uint32_t done;  /* of the last that is here as a whole */
        uint32_t pm_timer;
        uint64_t unseen_ns; /* the record's, as this sample found them */
        uint64_t publishings;
        uint64_t tsc; /* for which the clock was computed; read just before stamped was written */
        uint64_t tsc_after; /* and just after that */
        uint64_t utc_sec;   /* by page and TSC; 0 where no time is claimed */
        uint64_t utc_frac_sec;
        uint64_t kvm_clock_ns;      /* 0 without */
        uint64_t changed_unseen_ns; /* the totals that the last change brought, */
        uint32_t changed_at;        /* the sample that found them, */
        uint32_t changed_pm_timer;  /* its timer */
        uint32_t before_pm_timer;   /* and that of the sample before */
        uint32_t n_bad;             /* records that could not be read */
        uint32_t stamped;           /* the number of the sample whose TSC is being read */
} Report;
