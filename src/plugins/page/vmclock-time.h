/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * VMClock Time
 *
 * The time fields of a page's VMClock part: what the guest's counter was at a time, how long a tick is,
 * and how far either can be off. Arithmetic alone: what is known comes in as arguments, and goes into a
 * VmclockPage in the caller's own memory, on top of vmclock_compose().
 */

#include <stdbool.h>
#include <stdint.h>
#include "common/page-layout.h"
#include "plugins/page/host-counter.h"
#include "plugins/page/kvm-clock.h"

/* How good the host's own clock is, by the kernel's word (adjtimex(2)). */
typedef struct HostSync {
        bool is_known; /* we may ask */
        bool is_synchronized;
        uint64_t maxerror_ns, esterror_ns;
} HostSync;

/* Asks the kernel; where that is forbidden, nothing is known. */
void host_sync_read(HostSync *ret);

/*
 * Claims time: @now is what the host's counter and clock are, @rate how fast the one runs in the other, and
 * is known; @kvm what the guest reads instead of the host's counter. The sequence and the marker stay.
 */
void vmclock_time_fill(
                VmclockPage *page,
                const CounterSample *now,
                const CounterRate *rate,
                const KvmClock *kvm,
                const HostSync *sync);

/*
 * Claims none, on a page that has before: the counter stays what it was, for by the rules it does not
 * change while the device lives, but the clock is said to be unreliable.
 */
void vmclock_time_withdraw(VmclockPage *page);
