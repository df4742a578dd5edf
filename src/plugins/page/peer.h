/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Peer
 *
 * One VMM that has connected to a page's doorbell: its connection, and the eventfd that its device turns
 * into an interrupt. It says nothing, and is never read: what it sends all the same stays in its own
 * socket's buffer. All that is waited for is room for the rest of its greeting, and its end.
 *
 * A Peer belongs to a Doorbell, which may free it from within its callbacks.
 */

#include <sys/types.h>
#include <systemd/sd-event.h>
#include "common/list.h"
#include "common/macro.h"

#define PEER_VECTORS_MAX 16

typedef struct Peer Peer;

struct Peer {
        List peers; /* in the Doorbell's list */
        uint16_t id;
        int connection;
        int eventfd; /* vector 0's; the others are the VMM's alone, for nothing rings them */
        const struct PeerGreeting *greeting;
        unsigned n_told; /* messages of the greeting that are out */
        sd_event_source *io;
        const struct PeerOps *ops;
        void *userdata;
};

/* What all peers of a page are told. */
typedef struct PeerGreeting {
        int memory_fd;
        unsigned n_vectors; /* 1 to PEER_VECTORS_MAX */
} PeerGreeting;

typedef struct PeerOps {
        void (*on_greeted)(void *userdata, Peer *p); /* it has been told all */
        void (*on_end)(void *userdata, Peer *p);     /* it has gone, or cannot be told */
} PeerOps;

/* lifetime */

/* Both descriptors are its own on success. @ops is borrowed for its life. */
int peer_new(sd_event *event,
             uint16_t id,
             int connection,
             int eventfd,
             const PeerOps *ops,
             void *userdata,
             Peer **ret);

/* Unlinks it and hangs up. */
Peer *peer_free(Peer *p);

DEFINE_CLEANUP(Peer *, peer_free);

/*
 * Tells it as much as its socket takes, and the rest later. @greeting is borrowed for its life.
 * on_greeted() may come from within.
 *
 * Returns: 1 if it has been told all; 0 if not yet; a negative errno, and on_end() does not come.
 */
int peer_greet(Peer *p, const PeerGreeting *greeting);
