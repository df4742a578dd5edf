/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Doorbell
 *
 * A page's ivshmem server: VMMs of the page's owner connect to its socket, are given the page as their
 * device's memory, and their guests are interrupted by doorbell_ring(). Clients are hostile: they are let
 * in by the kernel's word, limited in number and in how often they come, and never read nor waited for.
 *
 * What it holds is kept for the daemon's next life, so that a VM which runs is rung by that as well. A
 * Doorbell belongs to its page.
 */

#include <sys/types.h>
#include "plugins/page/doorbells.h"
#include "plugins/page/peer.h"

/* Connections of one page at once: of its VM, of where it migrates to, and some to look. */
#define DOORBELL_PEERS_MAX 8

typedef struct Doorbell Doorbell;

/* lifetime */

/*
 * Listens at DIRECTORY/@name.sock, and takes up what an earlier life kept of this page. @page_fd is the
 * memory that VMMs are given, by an opening of its own, and borrowed for the call; @owner may connect, and
 * root; @n_vectors (1 to PEER_VECTORS_MAX) is how many their device is given. @all is borrowed.
 *
 * Returns: 0; -EINVAL; -ENAMETOOLONG if nobody could connect to such a path; others as bind(2), setxattr(2)
 * and open(2) have them.
 */
int doorbell_new(
                Doorbells *all,
                const char *name,
                int page_fd,
                uid_t owner,
                unsigned n_vectors,
                Doorbell **ret);

/* The daemon's end: all that is kept stays kept, and the socket in the file system. */
Doorbell *doorbell_free(Doorbell *d);

/* The page's end: nothing stays. */
Doorbell *doorbell_remove(Doorbell *d);

DEFINE_CLEANUP(Doorbell *, doorbell_free);

/* use */

/* Interrupts all guests: vector 0. Where one stands it stays latched until its vCPUs run. */
void doorbell_ring(Doorbell *d);

size_t doorbell_n_peers(const Doorbell *d);
