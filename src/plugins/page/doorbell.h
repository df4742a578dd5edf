/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Doorbell
 *
 * What raises an interrupt in the guests that have a page. It belongs to its page.
 */

#include <sys/types.h>
#include "plugins/page/doorbells.h"

typedef struct Doorbell Doorbell;

/* lifetime */

/* @all and @page_fd are borrowed. Returns: 0; -EINVAL; another errno. */
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

/* Interrupts all guests. */
void doorbell_ring(Doorbell *d);

size_t doorbell_n_peers(const Doorbell *d);
