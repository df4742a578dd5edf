/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Guest Time
 *
 * Whether a page may claim time, and which. It may where the guest's counter is one that we can see in
 * terms of the host's (KVM on x86), and the host's clocks are made from that; else, or while in doubt,
 * it claims none. One HostTime serves all pages; each has a GuestTime of its own, to be zeroed when it is made.
 */

#include <stdbool.h>
#include <stdint.h>
#include "common/macro.h"
#include "common/page-layout.h"
#include "plugins/page/host-counter.h"
#include "plugins/page/kvm-clock.h"
#include "plugins/plugin-api.h"

#define GUEST_TIME_RUN_MAX 40

typedef struct HostTime HostTime;

/* What was seen of one machine's counter. */
typedef struct GuestTime {
        char run[GUEST_TIME_RUN_MAX]; /* of which start of its VMM */
        KvmClock clock;
        unsigned resets;  /* of the host's counter when that was read */
        bool is_known;    /* clock and resets are */
        bool has_claimed; /* a page of this run has claimed time */
        bool is_claimed;  /* the last one did */
        bool is_pending;  /* it did not, but may do so soon */
} GuestTime;

/* lifetime */

/* @kvm, @sys, @proc: KVM_CLOCK_ROOT, "/sys" and "/proc" but for tests. Returns: 0; -ENOMEM. */
int host_time_new(const char *kvm, const char *sys, const char *proc, HostTime **ret);
HostTime *host_time_free(HostTime *h);

DEFINE_CLEANUP(HostTime *, host_time_free);

/* the host */

/*
 * Looks at the host's clocks: what all pages until the next call are filled by. A first call long before
 * the first page, and any in between, are what the rate is measured from: two, a second or more apart.
 */
void host_time_look(HostTime *h);

/* The same with a sample that was taken elsewhere. */
void host_time_note(HostTime *h, const CounterSample *now);

/*
 * After how many microseconds it is worth looking again, and filling the pages that want it: 2 s at first,
 * up to 1024 s where the host's clock was found to run as it had been foretold, to 10 µs. A timer for that
 * need not be exact, and is needed only while a page wants it.
 */
uint64_t host_time_refresh_usec(const HostTime *h);

/* one guest */

/*
 * Fills the time into @page, which vmclock_compose() made, for the machine whose VMM is @run ("PID.STARTTIME",
 * or NULL). At RUNNING the vCPUs have not run since: what was seen before the stop is used, no file is read.
 * A refresh is a MET.
 *
 * Returns: 1 if the page claims time now; 0 if not, with the reason in *@ret_why (static).
 */
int guest_time_fill(
                HostTime *h,
                GuestTime *g,
                const char *run,
                enum suspendd_drift_phase phase,
                VmclockPage *page,
                const char **ret_why);

/* Whether it is to be filled again after host_time_refresh_usec(). */
bool guest_time_wants_refresh(const GuestTime *g);
