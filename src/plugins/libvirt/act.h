/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Act
 *
 * One act on one domain, as a call of the pool. What it does, it does to the domain as it is found then:
 * only one that runs is paused, only one that is paused by nobody's fault is resumed. libvirt's answer
 * says that a command was taken, no more; so a look follows, of the act itself or, where many are under
 * way, of all together (server_see()).
 *
 * An act on the agent begins with a limit on its answers and puts libvirt's own default, none, back;
 * what was set before cannot be asked for.
 */

#include "plugins/libvirt/look.h"
#include "plugins/libvirt/pool.h"

typedef struct ActCall ActCall;
typedef struct Domain Domain;

struct ActCall {
        Call call;
        enum suspendd_act act;
        uint64_t step; /* 0: given up, or ours alone */
        int64_t lead_ns;
        unsigned char uuid[VIR_UUID_BUFLEN];
        const struct suspendd_host *host;
        Mailbox *mailbox;

        Domain *domain; /* of the loop; NULL once that is gone */

        /* what is known before */
        bool is_suspend_out; /* a suspend of ours may have struck while libvirt was away */
        bool is_again;       /* the same was begun before the connection broke */
        bool is_fresh;       /* the reading is the last one, and nothing has been heard since */

        /* what became of it */
        bool has_struck;           /* libvirt was told to do it */
        int64_t struck_ns;         /* CLOCK_MONOTONIC, just before */
        bool is_woken_unseen;      /* QEMU has woken it, and libvirt does not see it */
        bool was_foreign;          /* it was paused already, by somebody else */
        bool is_unseen;            /* it is done, and how the domain is now was not read yet */
        bool is_asked;             /* it is being read */
        int64_t told_boottime_ns;  /* CLOCK_BOOTTIME when libvirt was told to */
        int64_t acted_boottime_ns; /* the same when it was done */
        bool has_read;             /* the reading is its own */
        Reading reading;
        struct suspendd_time time;
};

/* What an act of the pool does for a domain, on the loop: domain.c. */
void domain_on_act(Domain *d, ActCall *a);

/* Returns: NULL without memory. */
ActCall *act_new(
                const struct suspendd_host *host,
                Mailbox *mailbox,
                enum suspendd_act act,
                uint64_t step);

/* Whether it goes by the guest's agent. */
bool act_is_agents(enum suspendd_act act);
