/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Kept Descriptors
 *
 * What doorbells have kept open over the daemon's lives, by the host's store, and what an earlier life
 * kept and nobody has asked for yet. A descriptor's name is all that comes back with it, so it says all:
 * "PAGE.s" is the socket that is listened on, "PAGE.c5" the connection of peer 5, "PAGE.e5" its eventfd.
 * A page's name may have dots and digits of its own; it ends at the last dot.
 */

#include <stdbool.h>
#include <stdint.h>
#include "common/macro.h"
#include "plugins/plugin-api.h"

typedef enum KeptKind {
        KEPT_SOCKET = 's',
        KEPT_CONNECTION = 'c',
        KEPT_EVENTFD = 'e',
} KeptKind;

typedef struct Kept Kept;

/* lifetime */

/* @host is borrowed for its life. Returns: 0; -ENOMEM. */
int kept_new(const struct suspendd_host *host, Kept **ret);

/* Closes what nobody has taken; all that is kept stays so. */
Kept *kept_free(Kept *k);

DEFINE_CLEANUP(Kept *, kept_free);

/* for the next life */

/* @id is a peer's number, and 0 for the socket. Returns: what the host's keep_fd() does; -ENAMETOOLONG. */
int kept_add(Kept *k, const char *page, KeptKind kind, uint16_t id, int fd);
void kept_drop(Kept *k, const char *page, KeptKind kind, uint16_t id);

/* from the last life */

/*
 * Takes in what the host gives back. Returns: whether that is one of ours, and @fd in our hands; if not,
 * both are untouched.
 */
bool kept_restore(Kept *k, const char *fd_name, int fd);

/* Hands it out, kept as it is, to the caller. Returns: the descriptor; -ENOENT. */
int kept_take(Kept *k, const char *page, KeptKind kind, uint16_t id);

/* The number of a peer of the page whose connection has not been taken. Returns: it; -ENOENT. */
int kept_next_peer(const Kept *k, const char *page);

/* Closes and drops what nobody has taken, of one page or, if NULL, of all. Returns: how many. */
size_t kept_settle(Kept *k, const char *page);
