/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/budget.h"
#include "common/time-util.h"

/* logind's clock starts before its signal reaches us. */
#define RESERVE_MAX_USEC (100 * USEC_PER_MSEC)
#define RESERVE_PERCENT 10
#define DEADLINE_PERCENT 90

static uint64_t percent(uint64_t usec, unsigned share) {
        return usec / 100 * share + usec % 100 * share / 100;
}

void budget_compute(
                Budget *ret, uint64_t delay_max_usec, uint64_t cap_usec, unsigned suspend_share) {
        uint64_t allowed = delay_max_usec;

        *ret = (Budget){ .is_protected = delay_max_usec > 0 };
        if (ret->is_protected)
                allowed -= MIN(percent(allowed, RESERVE_PERCENT), RESERVE_MAX_USEC);
        else
                allowed = cap_usec;

        ret->total_usec = MIN(allowed, cap_usec);
        ret->deadline_usec = percent(ret->total_usec, DEADLINE_PERCENT);
        if (ret->is_protected)
                ret->overtake_usec =
                                MIN(percent(ret->total_usec, suspend_share), ret->deadline_usec);
}
