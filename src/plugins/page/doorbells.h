/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Doorbells
 *
 * What the doorbells of all pages have in common: where their sockets are, what rings their eventfds, and
 * the descriptors of an earlier life that wait for their page to be there again.
 *
 * A Doorbells belongs to the plugin, and outlives every Doorbell.
 */

#include "common/macro.h"
#include "plugins/page/bell.h"
#include "plugins/page/kept.h"
#include "plugins/plugin-api.h"

typedef struct Doorbells {
        const struct suspendd_host *host;
        char *directory;
        Bell *bell;
        Kept *kept;
} Doorbells;

/* @host is borrowed. Returns: 0; -ENOMEM; -ENOSYS, -EAGAIN as bell_new() has them. */
int doorbells_new(const struct suspendd_host *host, const char *directory, Doorbells **ret);
Doorbells *doorbells_free(Doorbells *d);

DEFINE_CLEANUP(Doorbells *, doorbells_free);

/* The plugin's restore_fd(). Returns: whether it is one of ours, and @fd in our hands. */
bool doorbells_restore(Doorbells *d, const char *fd_name, int fd);

/* All pages are there that will be: what was restored of others is closed and dropped. */
void doorbells_settle(Doorbells *d);
