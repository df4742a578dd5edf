/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The Host's Wake
 *
 * A process that had no CPU for a while finds everything at once: that the host is awake, and what VMMs have
 * said before. The bus goes first, and a user who ran a VM while the host slept, and stopped it again, would
 * have his stop taken for ours, and undone. So a wake is acted on behind what is there to be read. What a
 * plugin has to ask its VMM for before it can tell comes behind the wake still.
 */

#include <systemd/sd-event.h>
#include "common/macro.h"

typedef struct HostWake HostWake;
typedef void (*HostWakeFn)(void *userdata);

/*
 * @urgent is the priority with which a wake goes ahead after 100 ms of reading, however much is left of that.
 *
 * Returns: 0; a negative errno.
 */
int host_wake_new(sd_event *event, int64_t urgent, void *userdata, HostWake **ret);
HostWake *host_wake_free(HostWake *w);

DEFINE_CLEANUP(HostWake *, host_wake_free);

/* Has @act called behind what there is to be read, in the place of what it was to be before. Needs no memory. */
void host_wake_soon(HostWake *w, HostWakeFn act);

/* Calls what is due, if something is: what comes now came after the wake. */
void host_wake_now(HostWake *w);

bool host_wake_is_due(const HostWake *w);
