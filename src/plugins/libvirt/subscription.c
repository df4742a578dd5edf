/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/subscription.h"
#include <errno.h>
#include <libvirt/libvirt-qemu.h>
#include <stdatomic.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/time-util.h"

/* QEMU's own events, which libvirt passes on with their stamps; its own have none. */
#define STAMPED "^(STOP|RESUME)$"
/* Of one that is older, a step of the clock may be to blame. */
#define STAMP_TRUSTED_NS (INT64_C(1000) * NSEC_PER_MSEC)

struct Subscription {
        atomic_uint n_refs;
        Mailbox *mailbox;
        SubscriptionFn fn; /* the loop's alone, as the next; NULL once ended */
        void *userdata;
};

typedef struct News {
        Letter letter;
        Subscription *subscription;
        NewsKind kind;
        unsigned char uuid[VIR_UUID_BUFLEN];
        int64_t at_ns;
} News;

/* what comes out on the loop */

static void news_drop(Letter *l) {
        News *n = LIST_ENTRY(l, News, letter);

        (void) subscription_unref(n->subscription);
        free(n);
}

static void news_deliver(Letter *l) {
        News *n = LIST_ENTRY(l, News, letter);
        Subscription *s = n->subscription;

        if (s->fn)
                s->fn(s->userdata, n->kind, n->uuid, n->at_ns);
        news_drop(l);
}

/* what libvirt calls, on its own thread */

static void subscription_post(Subscription *s, NewsKind kind, virDomainPtr dom, int64_t at_ns) {
        News *n = calloc(1, sizeof(*n));

        /* Without memory one more look would not do either. */
        if (!n)
                return;
        *n = (News){
                .letter = { .deliver = news_deliver, .drop = news_drop },
                .subscription = subscription_ref(s),
                .kind = kind,
                .at_ns = at_ns,
        };
        list_init(&n->letter.letters);
        if (dom)
                (void) virDomainGetUUID(dom, n->uuid);
        mailbox_post(s->mailbox, &n->letter);
}

static void subscription_tell(Subscription *s, NewsKind kind, virDomainPtr dom) {
        subscription_post(s, kind, dom, clock_now_ns(CLOCK_MONOTONIC));
}

static void on_stamped(
                virConnectPtr conn _unused_,
                virDomainPtr dom,
                const char *event _unused_,
                long long seconds,
                unsigned int microseconds,
                const char *details _unused_,
                void *userdata) {
        ClockSample now;
        int64_t age_ns;

        if (seconds < 0 || seconds > INT64_MAX / NSEC_PER_SEC - 1 || microseconds >= USEC_PER_SEC)
                return;
        clock_sample_take(&now);
        age_ns = now.realtime_ns - seconds * NSEC_PER_SEC - microseconds * NSEC_PER_USEC;
        if (age_ns < 0 || age_ns > STAMP_TRUSTED_NS)
                return;
        subscription_post(userdata, NEWS_STAMP, dom, now.boottime_ns - age_ns);
}

static NewsKind news_of_lifecycle(int event, int detail) {
        switch (event) {
        case VIR_DOMAIN_EVENT_STARTED:
                return detail == VIR_DOMAIN_EVENT_STARTED_WAKEUP ? NEWS_RESUMED : NEWS_RUN;
        case VIR_DOMAIN_EVENT_STOPPED:
                return NEWS_RUN;
        case VIR_DOMAIN_EVENT_SUSPENDED:
                return NEWS_PAUSED;
        case VIR_DOMAIN_EVENT_RESUMED:
                return NEWS_RESUMED;
        default:
                return NEWS_STATE;
        }
}

static int on_lifecycle(
                virConnectPtr conn _unused_,
                virDomainPtr dom,
                int event,
                int detail,
                void *userdata) {
        subscription_tell(userdata, news_of_lifecycle(event, detail), dom);
        return 0;
}

static void on_agent(
                virConnectPtr conn _unused_,
                virDomainPtr dom,
                int state _unused_,
                int reason _unused_,
                void *userdata) {
        subscription_tell(userdata, NEWS_DEFINITION, dom);
}

static void on_metadata(
                virConnectPtr conn _unused_,
                virDomainPtr dom,
                int type _unused_,
                const char *uri _unused_,
                void *userdata) {
        subscription_tell(userdata, NEWS_DEFINITION, dom);
}

/* DEVICE_ADDED and DEVICE_REMOVED look the same. */
static void on_device(
                virConnectPtr conn _unused_,
                virDomainPtr dom,
                const char *alias _unused_,
                void *userdata) {
        subscription_tell(userdata, NEWS_DEFINITION, dom);
}

static void on_close(virConnectPtr conn _unused_, int reason, void *userdata) {
        if (reason != VIR_CONNECT_CLOSE_REASON_CLIENT)
                subscription_tell(userdata, NEWS_CLOSED, NULL);
}

static void on_free(void *userdata) {
        (void) subscription_unref(userdata);
}

static const struct {
        int event;
        virConnectDomainEventGenericCallback fn;
} subscribed[] = {
        { VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle) },
        { VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_agent) },
        { VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata) },
        { VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device) },
        { VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device) },
};

/* What libvirt calls them; -1: a driver that does not have an event has nothing to tell of it. */
typedef struct Opened {
        int ids[ARRAY_LEN(subscribed)];
        int stamps;            /* the same of on_stamped() */
        Subscription *closing; /* is on_close()'s; a driver that never calls it would not give it back */
} Opened;

void *subscription_open(Subscription *s, virConnectPtr conn) {
        Opened *o = calloc(1, sizeof(*o));

        if (!o)
                return NULL;
        for (size_t i = 0; i < ARRAY_LEN(subscribed); i++) {
                o->ids[i] = virConnectDomainEventRegisterAny(
                                conn,
                                NULL,
                                subscribed[i].event,
                                subscribed[i].fn,
                                subscription_ref(s),
                                on_free);
                if (o->ids[i] < 0)
                        (void) subscription_unref(s);
                if (i == 0 && o->ids[i] < 0) {
                        free(o);
                        return NULL;
                }
        }
        o->stamps = virConnectDomainQemuMonitorEventRegister(
                        conn,
                        NULL,
                        STAMPED,
                        on_stamped,
                        subscription_ref(s),
                        on_free,
                        VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX);
        if (o->stamps < 0)
                (void) subscription_unref(s);
        o->closing = subscription_ref(s);
        (void) virConnectRegisterCloseCallback(conn, on_close, o->closing, NULL);
        return o;
}

void subscription_close(virConnectPtr conn, void *opened) {
        Opened *o = opened;

        for (size_t i = 0; i < ARRAY_LEN(subscribed); i++)
                if (o->ids[i] >= 0)
                        (void) virConnectDomainEventDeregisterAny(conn, o->ids[i]);
        if (o->stamps >= 0)
                (void) virConnectDomainQemuMonitorEventDeregister(conn, o->stamps);
        (void) virConnectUnregisterCloseCallback(conn, on_close);
        (void) subscription_unref(o->closing);
        free(o);
}

/* lifetime */

int subscription_new(Mailbox *mailbox, SubscriptionFn fn, void *userdata, Subscription **ret) {
        Subscription *s = calloc(1, sizeof(*s));

        if (!s)
                return -ENOMEM;
        *s = (Subscription){ .n_refs = 1, .fn = fn, .userdata = userdata };
        s->mailbox = mailbox_ref(mailbox);
        *ret = s;
        return 0;
}

Subscription *subscription_ref(Subscription *s) {
        (void) atomic_fetch_add(&s->n_refs, 1);
        return s;
}

Subscription *subscription_unref(Subscription *s) {
        if (!s || atomic_fetch_sub(&s->n_refs, 1) > 1)
                return NULL;
        (void) mailbox_unref(s->mailbox);
        free(s);
        return NULL;
}

void subscription_end(Subscription *s) {
        s->fn = NULL;
}
