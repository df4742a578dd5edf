/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Call Pool
 *
 * libvirt's blocking calls to one server, made on threads. A Call is a piece of work with a connection
 * of its kind; it is carried out by a worker and comes back to the loop through the mailbox. Workers
 * end when there is nothing left to do: an idle host has none.
 *
 * A connection has one call under way at most. libvirt allows more, but before its version 10.0 a call
 * can be forgotten while another one of the same connection waits for its answer, and one that hangs
 * would hold up those beside it. A server carries out twenty calls at a time by default: of those that
 * guests may keep busy there are fifteen at most, so that machines can be stopped beside them, unless it
 * is known to carry out more.
 *
 * A Pool is owned by a Server on the loop; workers hold references and outlive it where a call hangs.
 */

#include <libvirt/libvirt.h>
#include <stdatomic.h>
#include "plugins/libvirt/mailbox.h"

typedef enum CallKind {
        CALL_LOOK,  /* asks for states and definitions; its first connection brings the events */
        CALL_VCPU,  /* stops vCPUs and lets them run */
        CALL_AGENT, /* speaks to a guest, which may never answer */
        CALL_KIND_MAX,
} CallKind;

typedef struct Call Call;
typedef struct Link Link;
typedef struct Pool Pool;

typedef struct CallOps {
        /* On a worker. @conn is borrowed; NULL if there is none, then call_fail() has been called. */
        void (*run)(Call *c, virConnectPtr conn);
        void (*done)(Call *c); /* on the loop; may set is_kept */
        void (*free)(Call *c); /* after done(), or instead of it when the pool has ended; any thread */
} CallOps;

/* To be embedded at the head of what the call works on. */
struct Call {
        Letter letter;
        const CallOps *ops;
        Pool *pool;
        Link *link; /* while it is under way */
        CallKind kind;
        bool is_last; /* behind all others of its kind: nobody waits for it, or for long in vain */
        atomic_bool is_given_up; /* nobody waits for it any more */
        atomic_bool has_begun;
        unsigned epoch;  /* of the connections that it was handed over to */
        bool is_back;    /* it has returned; the loop's, as the next two */
        bool is_kept;    /* not to be freed after done(), but by call_end() */
        bool is_counted; /* among the orphans */
        int error;       /* 0; a negative errno of call_fail() */
        char why[160];   /* the error in libvirt's words */
};

/* All on a worker, the last one when nothing more comes from any. */
typedef struct PoolOps {
        /* The first connection of CALL_LOOK has been opened: subscribes to its events. NULL: it is no use. */
        void *(*on_open)(virConnectPtr conn, void *userdata);
        void (*on_close)(virConnectPtr conn, void *opened); /* undoes that */
        void (*release)(void *userdata);
} PoolOps;

/* lifetime */

/* Takes over @userdata, also where it fails. Returns: 0; -ENOMEM. */
int pool_new(const char *uri, Mailbox *mailbox, const PoolOps *ops, void *userdata, Pool **ret);

/* Ends it: calls that wait are freed, those under way when they return. NULL is taken. */
Pool *pool_free(Pool *p);

DEFINE_CLEANUP(Pool *, pool_free);

/* connections */

/*
 * Has connections open for the calls of @kind of @n machines, so that a sleep costs no connecting; they know
 * the domains that are there when they are opened, so that a sleep does not look those up.
 */
void pool_prepare(Pool *p, CallKind kind, size_t n);

/*
 * So many calls of @kind may be under way at a time; never fewer than a server with libvirt's defaults bears, nor
 * more than 64. Until pool_hang_up().
 */
void pool_allow(Pool *p, CallKind kind, size_t n);

/* The server has gone: what was opened is closed, and opened anew for the next call. */
void pool_hang_up(Pool *p);

/* How often that was: a call of an earlier epoch that comes back without its connection is no news. */
unsigned pool_epoch(const Pool *p);

/* Whether the connection that brings the events stands, as far as is known here. */
bool pool_is_alive(Pool *p);

/* calls */

void call_init(Call *c, const CallOps *ops, CallKind kind);

/* Hands over @c. Returns: 0; -EAGAIN if no thread can be had, @c stays the caller's. */
int pool_submit(Pool *p, Call *c);

/* Nobody waits for @c any more; one under way counts as an orphan until it returns. Loop only. */
void call_give_up(Call *c);

/* Frees a call that was kept. Loop only. */
void call_end(Call *c);

/* How many calls are under way for which nobody waits. */
size_t pool_n_orphans(const Pool *p);

/* The domain, as this call's connection knows it; borrowed, on a worker. Returns: NULL with libvirt's error. */
virDomainPtr call_domain(Call *c, const unsigned char *uuid);

/* The same, looked up anew: what is kept of a domain does not see it be renamed or started again. */
virDomainPtr call_domain_anew(Call *c, const unsigned char *uuid);

/* Notes libvirt's last error of this thread, and whether the connection is why; on a worker. */
void call_fail(Call *c, virConnectPtr conn);
