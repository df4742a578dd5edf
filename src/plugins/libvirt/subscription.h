/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Subscription
 *
 * What a connection tells by itself: that something about a domain has changed, and that the connection
 * is over. libvirt calls back on its own thread; what it says is copied, stamped and posted, and comes
 * out on the loop.
 *
 * A Subscription belongs to a Server, and lives on as long as libvirt may call back.
 */

#include <libvirt/libvirt.h>
#include "plugins/libvirt/mailbox.h"

typedef struct Subscription Subscription;

typedef enum NewsKind {
        NEWS_STATE,      /* it may run or stand otherwise than before */
        NEWS_PAUSED,     /* the same, for its vCPUs have been stopped */
        NEWS_RESUMED,    /* the same, for they have been run again, or the guest was woken */
        NEWS_RUN,        /* it may be there, or be gone */
        NEWS_DEFINITION, /* its agent, its devices or its metadata may be others */
        NEWS_STAMP,      /* its vCPUs were stopped or run, by QEMU's own clock */
        NEWS_CLOSED,     /* the connection is over; of no domain */
} NewsKind;

/* @at_ns is of CLOCK_MONOTONIC; of a stamp, of CLOCK_BOOTTIME. */
typedef void (*SubscriptionFn)(
                void *userdata, NewsKind kind, const unsigned char *uuid, int64_t at_ns);

/* lifetime */

int subscription_new(Mailbox *mailbox, SubscriptionFn fn, void *userdata, Subscription **ret);
Subscription *subscription_ref(Subscription *s);
Subscription *subscription_unref(Subscription *s);

/* Nothing more is told; on the loop. */
void subscription_end(Subscription *s);

/* Subscribes to what @conn tells; on a worker. Returns: what subscription_close() takes; NULL with libvirt's error. */
void *subscription_open(Subscription *s, virConnectPtr conn);

/* Undoes it, without which @conn would never be let go of: what is subscribed holds it. */
void subscription_close(virConnectPtr conn, void *opened);
