/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/act.h"
#include <errno.h>
#include <libvirt/virterror.h>
#include <semaphore.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/time-util.h"

/* How long an agent may take to answer. Those that live do in some ms. */
#define ANSWER_SECONDS 1
/* guest-set-time runs hwclock before it answers. */
#define SET_SECONDS 3
/* How long a guest may take to suspend itself after it was asked; the core gives it up before. */
#define SUSPEND_SECONDS 10

/* vCPUs */

static int act_look(ActCall *a, virDomainPtr dom) {
        int64_t boottime_ns = clock_now_ns(CLOCK_BOOTTIME);
        int r = look_at_state(dom, &a->reading);

        a->reading.boottime_ns = boottime_ns;
        a->has_read |= r >= 0;
        return r;
}

static enum suspendd_run_state act_state(const ActCall *a) {
        const char *detail;

        return run_state_of(a->reading.state, a->reading.reason, &detail);
}

static void act_refuse(ActCall *a, int error) {
        const char *detail;

        (void) run_state_of(a->reading.state, a->reading.reason, &detail);
        a->call.error = error;
        (void) snprintf(a->call.why, sizeof(a->call.why), "%s", detail ?: "it does not run");
}

/* What was read last, and of which there has been no news, need not be asked for once more. */
static int act_look_first(ActCall *a, virDomainPtr dom) {
        return a->is_fresh ? 0 : act_look(a, dom);
}

static int act_strike(ActCall *a, virDomainPtr dom) {
        a->has_struck = true;
        a->struck_ns = clock_now_ns(CLOCK_MONOTONIC);
        a->told_boottime_ns = clock_now_ns(CLOCK_BOOTTIME);
        if (virDomainSuspend(dom) < 0)
                return -1;
        a->acted_boottime_ns = clock_now_ns(CLOCK_BOOTTIME);
        a->is_unseen = true;
        return 0;
}

static int act_pause(ActCall *a, virDomainPtr dom) {
        if (act_look_first(a, dom) < 0)
                return -1;
        switch (act_state(a)) {
        case SUSPENDD_STATE_RUNNING:
                return act_strike(a, dom);
        case SUSPENDD_STATE_PAUSED:
                a->was_foreign = !a->is_again;
                return 0;
        case SUSPENDD_STATE_SUSPENDED:
                return 0;
        default:
                act_refuse(a, -EUCLEAN);
                return 0;
        }
}

/* libvirt was away when it suspended itself, and says of it that it stands for an unknown reason. */
static bool act_is_lost_suspend(const ActCall *a) {
        return a->is_suspend_out && a->reading.state == VIR_DOMAIN_PAUSED &&
               a->reading.reason == VIR_DOMAIN_PAUSED_UNKNOWN;
}

/* libvirt goes on saying so afterwards; that QEMU has woken it is all that can be known. */
static int act_wake_lost(ActCall *a, virDomainPtr dom) {
        if (virDomainResume(dom) < 0 || virDomainPMWakeup(dom, 0) < 0)
                return -1;
        a->is_woken_unseen = true;
        return act_look(a, dom);
}

/* A stop may lie on top of a suspend, so the vCPUs come first. */
static int act_run(ActCall *a, virDomainPtr dom) {
        if (act_look_first(a, dom) < 0)
                return -1;
        if (act_is_lost_suspend(a))
                return act_wake_lost(a, dom);
        if (act_state(a) == SUSPENDD_STATE_OTHER) {
                act_refuse(a, -EUCLEAN);
                return 0;
        }
        if (act_state(a) == SUSPENDD_STATE_PAUSED) {
                a->told_boottime_ns = clock_now_ns(CLOCK_BOOTTIME);
                if (virDomainResume(dom) < 0)
                        return -1;
                a->acted_boottime_ns = clock_now_ns(CLOCK_BOOTTIME);
                if (a->act == SUSPENDD_ACT_RESUME) {
                        a->is_unseen = true;
                        return 0;
                }
                if (act_look(a, dom) < 0)
                        return -1;
        }
        /* After a suspend that a pause overtook, QEMU may be suspended while libvirt says that it runs. */
        if (act_state(a) == SUSPENDD_STATE_SUSPENDED || a->act == SUSPENDD_ACT_WAKE) {
                if (virDomainPMWakeup(dom, 0) < 0 && act_state(a) == SUSPENDD_STATE_SUSPENDED)
                        return -1;
                return act_look(a, dom);
        }
        return 0;
}

static int act_on_vcpus(ActCall *a, virDomainPtr dom) {
        int (*fn)(ActCall *, virDomainPtr) = a->act == SUSPENDD_ACT_PAUSE ? act_pause : act_run;
        int r = fn(a, dom);

        /* It may be another than it was last seen to be: libvirt has refused, so once more, by what it is now. */
        if (r < 0 && a->is_fresh && virConnectIsAlive(virDomainGetConnect(dom)) == 1) {
                a->is_fresh = a->has_struck = false;
                r = fn(a, dom);
        }
        return r;
}

/* the agent */

/* On the stack of a worker, which waits until it is answered. */
typedef struct Taken {
        Letter letter;
        ActCall *act;
        bool goes_on;
        sem_t answered;
} Taken;

static void taken_deliver(Letter *l) {
        Taken *t = LIST_ENTRY(l, Taken, letter);

        t->goes_on = t->act->step != 0;
        if (t->goes_on)
                t->act->host->done(t->act->host, t->act->step, 0, NULL);
        (void) sem_post(&t->answered);
}

static void taken_drop(Letter *l) {
        Taken *t = LIST_ENTRY(l, Taken, letter);

        (void) sem_post(&t->answered);
}

/*
 * Tells the core that from now on the guest may suspend itself at any time. Both the core's giving up and
 * this are of the loop, so that there is no moment in which it strikes unknown. Returns: whether it is to.
 */
static bool act_tell_taken(ActCall *a) {
        Taken t = {
                .letter = { .deliver = taken_deliver, .drop = taken_drop },
                .act = a,
        };

        list_init(&t.letter.letters);
        if (sem_init(&t.answered, 0, 0) < 0)
                return false;
        mailbox_post(a->mailbox, &t.letter);
        while (sem_wait(&t.answered) < 0)
                ;
        (void) sem_destroy(&t.answered);
        return t.goes_on;
}

static int act_suspend(ActCall *a, virDomainPtr dom) {
        long long seconds;
        unsigned nanoseconds;

        /* A suspend that is sent to an agent that hangs strikes later; so first a harmless question. */
        if (virDomainGetTime(dom, &seconds, &nanoseconds, 0) < 0)
                return -1;
        (void) virDomainAgentSetResponseTimeout(dom, SUSPEND_SECONDS, 0);
        if (!act_tell_taken(a)) {
                a->call.error = -ECANCELED;
                return 0;
        }
        a->has_struck = true;
        if (virDomainPMSuspendForDuration(dom, VIR_NODE_SUSPEND_TARGET_MEM, 0, 0) < 0)
                return -1;
        return act_look(a, dom);
}

static int act_get_time(ActCall *a, virDomainPtr dom) {
        unsigned nanoseconds = 0;
        long long seconds = 0;

        a->time.host_before_ns = clock_now_ns(CLOCK_REALTIME);
        if (virDomainGetTime(dom, &seconds, &nanoseconds, 0) < 0)
                return -1;
        a->time.host_after_ns = clock_now_ns(CLOCK_REALTIME);
        a->time.guest_ns = seconds * NSEC_PER_SEC + nanoseconds;
        return 0;
}

/* libvirt clears the RTC's reinjection backlog after it, where there is one. */
static int act_set_time(ActCall *a, virDomainPtr dom) {
        int64_t to_ns;

        (void) virDomainAgentSetResponseTimeout(dom, SET_SECONDS, 0);
        to_ns = clock_now_ns(CLOCK_REALTIME) + a->lead_ns;
        return virDomainSetTime(dom, to_ns / NSEC_PER_SEC, (unsigned) (to_ns % NSEC_PER_SEC), 0);
}

static int act_by_agent(ActCall *a, virDomainPtr dom) {
        int r;

        if (virDomainAgentSetResponseTimeout(dom, ANSWER_SECONDS, 0) < 0)
                return -1;
        switch (a->act) {
        case SUSPENDD_ACT_SUSPEND:
                r = act_suspend(a, dom);
                break;
        case SUSPENDD_ACT_GET_TIME:
                r = act_get_time(a, dom);
                break;
        default:
                r = act_set_time(a, dom);
        }
        return r;
}

/* the call */

static void act_run_call(Call *c, virConnectPtr conn) {
        ActCall *a = LIST_ENTRY(c, ActCall, call);
        int64_t began_ns = clock_now_ns(CLOCK_MONOTONIC);
        virDomainPtr dom;
        int r;

        if (!conn)
                return;
        dom = call_domain(c, a->uuid);
        if (!dom)
                r = -1;
        else if (act_is_agents(a->act))
                r = act_by_agent(a, dom);
        else
                r = act_on_vcpus(a, dom);
        if (r < 0) {
                call_fail(c, conn);
                /* libvirt says the same of an agent that is not there and of one that does not answer. */
                if (c->error == -ENOTCONN && clock_now_ns(CLOCK_MONOTONIC) - began_ns >=
                                                             ANSWER_SECONDS * NSEC_PER_SEC * 9 / 10)
                        c->error = -ETIMEDOUT;
        }
        if (dom && act_is_agents(a->act))
                (void) virDomainAgentSetResponseTimeout(
                                dom, VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK, 0);
}

static void act_on_done(Call *c) {
        ActCall *a = LIST_ENTRY(c, ActCall, call);

        if (a->domain)
                domain_on_act(a->domain, a);
}

static void act_free(Call *c) {
        ActCall *a = LIST_ENTRY(c, ActCall, call);

        (void) mailbox_unref(a->mailbox);
        free(a);
}

static const CallOps act_ops = { .run = act_run_call, .done = act_on_done, .free = act_free };

bool act_is_agents(enum suspendd_act act) {
        return act == SUSPENDD_ACT_SUSPEND || act == SUSPENDD_ACT_GET_TIME ||
               act == SUSPENDD_ACT_SET_TIME;
}

ActCall *act_new(
                const struct suspendd_host *host,
                Mailbox *mailbox,
                enum suspendd_act act,
                uint64_t step) {
        ActCall *a = calloc(1, sizeof(*a));

        if (!a)
                return NULL;
        call_init(&a->call, &act_ops, act_is_agents(act) ? CALL_AGENT : CALL_VCPU);
        a->act = act;
        a->step = step;
        a->host = host;
        a->mailbox = mailbox_ref(mailbox);
        return a;
}
