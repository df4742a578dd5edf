/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Descriptor Store
 *
 * What plugins want to be open in the daemon's next life too, whether this one ends by a restart or by
 * SIGKILL: systemd holds it for the service, and hands all of it over at the next start, with names
 * ("PLUGIN.NAME"). What has been handed over stays held until it is dropped.
 */

#include <stddef.h>
#include "common/macro.h"

/*
 * What the names may take together: systemd hands them over in one string of the environment, of which
 * execve(2) takes 128 KiB; with more the service could not start any more.
 */
#define FD_STORE_NAMES_MAX ((size_t) 120 * 1024)
/* The unit's FileDescriptorStoreMax=; what is over it systemd only logs. */
#define FD_STORE_MAX 4096
#define FD_STORE_NAME_MAX 200

typedef struct FdStore FdStore;

/* Gives back one descriptor, which is whoever is called's. @name is without the plugin's. */
typedef void (*FdStoreFn)(void *userdata, const char *name, int fd);

/* lifetime */

/* Takes over what systemd hands over. Returns: 0; -ENOMEM. */
int fd_store_new(FdStore **ret);

/* Closes what nobody has taken; all that is kept stays so. */
FdStore *fd_store_free(FdStore *s);

DEFINE_CLEANUP(FdStore *, fd_store_free);

/* use */

/*
 * Has @fd kept, by a @name of 1 to FD_STORE_NAME_MAX of [A-Za-z0-9_.-]; the caller's own stays its own.
 *
 * Returns: 0; -EINVAL; -EOPNOTSUPP without a service manager; -ENOSPC if it would be too much; others as
 * sd_pid_notify_with_fds(3) has them.
 */
int fd_store_keep(FdStore *s, const char *plugin, const char *name, int fd);

/* No longer: all that are kept by that name. */
void fd_store_drop(FdStore *s, const char *plugin, const char *name);

/* Hands out what was handed over of @plugin's. */
void fd_store_hand_out(FdStore *s, const char *plugin, FdStoreFn fn, void *userdata);

/* Closes and drops what was handed over and nobody has taken. Returns: how many. */
size_t fd_store_settle(FdStore *s);
