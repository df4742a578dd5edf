/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Presence
 *
 * Whether a libvirt daemon of this machine has anything running, without asking it: a connection would
 * start one that is activated by its socket, and keep awake one that ends when it is idle. The QEMU
 * driver keeps NAME.pid of each domain that runs, and its socket lies nearby.
 *
 * Of other URIs nothing can be told; they are always worth a connection.
 */

#include <systemd/sd-event.h>
#include "common/macro.h"

typedef struct Presence Presence;

/* Something has come, or a folder has gone. */
typedef void (*PresenceFn)(void *userdata);

/* lifetime */

int presence_new(sd_event *event, const char *uri, PresenceFn fn, void *userdata, Presence **ret);
Presence *presence_free(Presence *p);

DEFINE_CLEANUP(Presence *, presence_free);

/* Whether it can tell anything at all. */
bool presence_can_tell(const Presence *p);

/* Whether a domain runs; true where it cannot be told. */
bool presence_has_machines(const Presence *p);

/* Whether somebody may listen; true where it cannot be told. */
bool presence_has_server(const Presence *p);

/* The admin interface of the system's daemon, as a URI; NULL for any other, and where the URI has options. Static. */
const char *presence_admin_uri(const Presence *p);

/* Where the driver keeps NAME.pid; NULL where that is not known. Borrowed. */
const char *presence_state_directory(const Presence *p);

/* Tells of changes from now on, or no more: while connected, libvirt tells better. */
void presence_watch(Presence *p, bool shall_watch);
