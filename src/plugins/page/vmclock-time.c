/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/vmclock-time.h"
#include <sys/timex.h>
#include "common/time-util.h"

/*
 * How far the host's rate can move from what was measured before it is measured again: what the kernel
 * lets NTP correct a clock's frequency by (MAXFREQ). A daemon that slews faster, as some do after a
 * large offset, is seen at the next publishing.
 */
#define RATE_MOVES_PPT UINT64_C(500000000)
#define PPT UINT64_C(1000000000000)
/* Ticks are counted in so much smaller a unit that rounding the scaled ones does not matter. */
#define FINER 16

__extension__ typedef unsigned __int128 Wide;

void host_sync_read(HostSync *ret) {
        struct timex t = { .modes = 0 };
        int state = adjtimex(&t);

        *ret = (HostSync){ 0 };
        if (state < 0)
                return;
        ret->is_known = true;
        ret->is_synchronized = state != TIME_ERROR && !(t.status & STA_UNSYNC);
        ret->maxerror_ns = (uint64_t) t.maxerror * (uint64_t) NSEC_PER_USEC;
        ret->esterror_ns = (uint64_t) t.esterror * (uint64_t) NSEC_PER_USEC;
}

/* @n / @d, which is less than 1, as a fraction of 2^(64 + *@ret_shift) with all its 64 bits in use. */
static uint64_t fraction(Wide n, Wide d, uint8_t *ret_shift) {
        uint64_t q = 0;
        uint8_t shift = 0;

        for (; n * 2 < d && shift < 63; shift++)
                n *= 2;
        for (unsigned i = 0; i < 64; i++) {
                n *= 2;
                q = q << 1 | (n >= d);
                if (n >= d)
                        n -= d;
        }
        *ret_shift = shift;
        return q;
}

/* The guest counts ratio / 2^frac_bits ticks where the host counts one. */
static uint64_t period(const CounterRate *rate, const KvmClock *kvm, uint8_t *ret_shift) {
        Wide ticks = ((Wide) rate->ticks << FINER) * kvm->ratio >> kvm->frac_bits;

        return fraction((Wide) rate->ns << FINER, ticks * (Wide) NSEC_PER_SEC, ret_shift);
}

static uint64_t part(uint64_t value, uint64_t ppt) {
        /* Rounded up: a bound that is too small is none. */
        return (uint64_t) (((Wide) value * ppt + PPT - 1) / PPT);
}

static void fill_errors(
                VmclockPage *page,
                const CounterSample *now,
                const CounterRate *rate,
                const HostSync *sync) {
        uint64_t own_ns = counter_rate_ns(rate, now->width / 2 + 1) + 1;

        page->flags |= VMCLOCK_FLAG_PERIOD_ESTERROR_VALID | VMCLOCK_FLAG_PERIOD_MAXERROR_VALID |
                       VMCLOCK_FLAG_TIME_ESTERROR_VALID;
        page->counter_period_esterror_rate_frac_sec =
                        part(page->counter_period_frac_sec, rate->error_ppt);
        page->counter_period_maxerror_rate_frac_sec =
                        part(page->counter_period_frac_sec, rate->error_ppt + RATE_MOVES_PPT);
        page->time_esterror_nanosec = own_ns + (sync->is_known ? sync->esterror_ns : 0);
        /* A bound against true time is one only where the host has one itself. */
        if (sync->is_known) {
                page->flags |= VMCLOCK_FLAG_TIME_MAXERROR_VALID;
                page->time_maxerror_nanosec = own_ns + sync->maxerror_ns;
        }
}

void vmclock_time_fill(
                VmclockPage *page,
                const CounterSample *now,
                const CounterRate *rate,
                const KvmClock *kvm,
                const HostSync *sync) {
        uint64_t ns = (uint64_t) now->realtime_ns;

        page->counter_id = VMCLOCK_COUNTER_TSC;
        page->time_type = VMCLOCK_TIME_UTC;
        /* Linux' driver wants this flag before it takes UTC for a clock, and then gives UTC plus the offset. */
        page->flags |= VMCLOCK_FLAG_TAI_OFFSET_VALID;
        page->tai_offset_sec = 0;
        page->clock_status = sync->is_synchronized ? VMCLOCK_STATUS_SYNCHRONIZED
                                                   : VMCLOCK_STATUS_FREERUNNING;
        page->counter_value = kvm_clock_guest(kvm, now->counter);
        page->counter_period_frac_sec = period(rate, kvm, &page->counter_period_shift);
        page->time_sec = ns / (uint64_t) NSEC_PER_SEC;
        page->time_frac_sec =
                        (uint64_t) (((Wide) (ns % (uint64_t) NSEC_PER_SEC) << 64) /
                                    (uint64_t) NSEC_PER_SEC);
        fill_errors(page, now, rate, sync);
}

void vmclock_time_withdraw(VmclockPage *page) {
        page->counter_id = VMCLOCK_COUNTER_TSC;
        page->clock_status = VMCLOCK_STATUS_UNRELIABLE;
        page->flags |= VMCLOCK_FLAG_TAI_OFFSET_VALID;
}
