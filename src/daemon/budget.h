/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Time Budget
 *
 * Who gets how long while the host waits for us: the whole is what logind allows, less a reserve
 * for the way of the signal to us, and never above a cap of our own. All of it in microseconds from
 * the announcement.
 */

#include "common/macro.h"

typedef struct Budget {
        uint64_t total_usec;
        uint64_t overtake_usec; /* a suspend that has not stood by then is overtaken by a pause */
        uint64_t deadline_usec; /* the lock goes, whatever is missing */
        bool is_protected;      /* false: logind waits for nobody; act at once, hope for the best */
} Budget;

/*
 * @delay_max_usec is InhibitDelayMaxUSec: 0 none, USEC_INFINITY without limit. @suspend_share is the
 * percentage of the whole that suspends may take.
 */
void budget_compute(
                Budget *ret, uint64_t delay_max_usec, uint64_t cap_usec, unsigned suspend_share);
