/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/guest-time.h"
#include <errno.h>
#include "common/process.h"
#include "common/time-util.h"
#include "plugins/page/host-counter.h"
#include "plugins/page/vmclock-time.h"

#define REFRESH_MIN_USEC (2 * USEC_PER_SEC)
#define REFRESH_MAX_USEC (1024 * USEC_PER_SEC)
/* A guest shall agree with its host to 50 µs. */
#define FORETOLD_WELL_NS INT64_C(10000)
#define FORETOLD_BADLY_NS INT64_C(30000)

struct HostTime {
        char *kvm, *sys, *proc;
        HostCounter counter;
        CounterSample now;
        HostSync sync;
        const char *why_not; /* static; NULL if time can be claimed at all */
        bool is_measuring;   /* and that will be over in a moment */
        uint64_t refresh_usec;
};

/* lifetime */

int host_time_new(const char *kvm, const char *sys, const char *proc, HostTime **ret) {
        HostTime *h = calloc(1, sizeof(*h));

        if (!h)
                return -ENOMEM;
        h->kvm = strdup(kvm);
        h->sys = strdup(sys);
        h->proc = strdup(proc);
        if (!h->kvm || !h->sys || !h->proc) {
                host_time_free(h);
                return -ENOMEM;
        }
        h->refresh_usec = REFRESH_MIN_USEC;
        h->why_not = "the host's clocks have not been looked at";
        *ret = h;
        return 0;
}

HostTime *host_time_free(HostTime *h) {
        if (!h)
                return NULL;
        free(h->kvm);
        free(h->sys);
        free(h->proc);
        free(h);
        return NULL;
}

/* the host */

/* What a page that was filled at the last look says now is off by this. */
static int64_t foretold_badly_by_ns(const HostCounter *h, const CounterSample *now) {
        uint64_t ticks = now->counter - h->last.counter;
        int64_t foretold_ns = h->last.realtime_ns + (int64_t) counter_rate_ns(&h->rate, ticks);

        return llabs(now->realtime_ns - foretold_ns);
}

/* Only spans that are as long as the refresh tell whether it may be longer. */
static void adapt_refresh(HostTime *h) {
        const HostCounter *c = &h->counter;
        int64_t off_ns, span_ns = h->now.monotonic_ns - c->last.monotonic_ns;

        if (c->rate.ticks == 0 || h->now.counter < c->last.counter)
                return;
        off_ns = foretold_badly_by_ns(c, &h->now);
        if (off_ns > FORETOLD_BADLY_NS)
                h->refresh_usec = MAX(h->refresh_usec / 4, REFRESH_MIN_USEC);
        else if (off_ns < FORETOLD_WELL_NS &&
                 span_ns / NSEC_PER_USEC >= (int64_t) h->refresh_usec / 2)
                h->refresh_usec = MIN(h->refresh_usec * 2, REFRESH_MAX_USEC);
}

void host_time_look(HostTime *h) {
        CounterSample now;

        if (counter_sample_take(&now) < 0)
                h->why_not = "this architecture's counter is not known";
        else
                host_time_note(h, &now);
}

void host_time_note(HostTime *h, const CounterSample *now) {
        h->why_not = NULL;
        h->is_measuring = false;
        h->now = *now;
        if (!host_counter_is_clocksource(h->sys)) {
                h->why_not = "the host's clock is not made from its TSC";
                return;
        }
        adapt_refresh(h);
        host_counter_note(&h->counter, &h->now);
        host_sync_read(&h->sync);
        if (!kvm_clock_knows_our_pids(h->proc)) {
                h->why_not = "KVM's PIDs are not those of this PID namespace";
        } else if (h->counter.rate.ticks == 0) {
                h->why_not = "the rate of the host's TSC has not been measured yet";
                h->is_measuring = true;
        }
}

uint64_t host_time_refresh_usec(const HostTime *h) {
        return h->refresh_usec;
}

/* one guest */

/*
 * When the host's counter has begun anew (S3), KVM moves the guest's by as much, but only when the vCPU
 * is run the next time; until then debugfs shows what was right before. It cannot stay the same: what
 * is made up for is not nothing.
 */
static bool is_outdated(const HostTime *h, const GuestTime *g, const KvmClock *seen) {
        return g->is_known && g->resets != h->counter.resets && kvm_clock_equal(&g->clock, seen);
}

static bool learn(HostTime *h, GuestTime *g, const char *run, const char **ret_why) {
        KvmClock seen;
        pid_t pid;
        int r;

        if (process_find(run, &pid) < 0) {
                *ret_why = "its VMM is not known";
                return false;
        }
        r = kvm_clock_read(h->kvm, pid, &seen, ret_why);
        if (r < 0) {
                g->is_pending = r == -EBUSY;
                return false;
        }
        /* Another process that got the number meanwhile would have another start. */
        if (process_find(run, &pid) < 0) {
                *ret_why = "its VMM has ended";
                return false;
        }
        if (is_outdated(h, g, &seen)) {
                g->is_pending = true;
                *ret_why = "its vCPUs have not run since the host's TSC began anew";
                return false;
        }
        g->clock = seen;
        g->resets = h->counter.resets;
        g->is_known = true;
        return true;
}

/* The vCPUs stand: nobody but the host's own sleep can have moved their counter since it was read. */
static bool recall(const HostTime *h, GuestTime *g, const char **ret_why) {
        if (g->is_known && g->resets == h->counter.resets)
                return true;
        g->is_pending = true;
        *ret_why = g->is_known ? "its vCPUs have not run since the host's TSC began anew"
                               : "its counter has not been seen while it ran";
        return false;
}

static void begin_run(GuestTime *g, const char *run) {
        *g = (GuestTime){ 0 };
        (void) snprintf(g->run, sizeof(g->run), "%s", run);
}

static bool can_claim(
                HostTime *h,
                GuestTime *g,
                const char *run,
                enum suspendd_drift_phase phase,
                const char **ret_why) {
        if (str_empty(run) || strlen(run) >= sizeof(g->run)) {
                *ret_why = "its VMM is not known";
                return false;
        }
        if (!str_equal(g->run, run))
                begin_run(g, run);
        if (h->why_not) {
                g->is_pending = h->is_measuring;
                *ret_why = h->why_not;
                return false;
        }
        return phase == SUSPENDD_DRIFT_RUNNING ? recall(h, g, ret_why) : learn(h, g, run, ret_why);
}

int guest_time_fill(
                HostTime *h,
                GuestTime *g,
                const char *run,
                enum suspendd_drift_phase phase,
                VmclockPage *page,
                const char **ret_why) {
        g->is_pending = false;
        g->is_claimed = can_claim(h, g, run, phase, ret_why);
        if (!g->is_claimed) {
                if (g->has_claimed)
                        vmclock_time_withdraw(page);
                return 0;
        }
        vmclock_time_fill(page, &h->now, &h->counter.rate, &g->clock, &h->sync);
        g->has_claimed = true;
        return 1;
}

bool guest_time_wants_refresh(const GuestTime *g) {
        return g->is_claimed || g->is_pending;
}
