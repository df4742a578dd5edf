/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * World
 *
 * The daemon's inside around its bus interface, as the Manager puts it together, but for what lies outside:
 * one plugin whose machines, answers and texts are the fuzzer's, a clock that it turns, and instead of a bus
 * one peer, who hears all that is said, and finds fault with control characters in it. The World belongs to the
 * target; there is one at a time.
 */

#include <systemd/sd-bus.h>
#include "daemon/cycle.h"
#include "input.h"

#define WORLD_VMS_MAX 6

typedef struct World World;

/* lifetime */

World *world_begin(void);
/* All that is open ends, and each call has been answered once. */
void world_end(World *w);

/* what happens */

/* Runs the loop, and hears all, until nothing moves. */
void world_settle(World *w);

/* A call by the peer, as it would come from a bus; one that no bus would pass on is not sent. */
void world_call(World *w,
                const char *path,
                const char *interface,
                const char *member,
                const char *types,
                Input *in);

void world_event(World *w, CycleEvent event);

/* The clock goes on; the host sleeps the second part of it. */
void world_pass(World *w, uint64_t usec, uint64_t slept_usec);

/* What the plugin does with its machine number @i, all the rest out of the input. */
void world_vm_add(World *w, unsigned i, Input *in);
void world_vm_change(World *w, unsigned i, Input *in);
void world_vm_state(World *w, unsigned i, Input *in);
void world_vm_answer(World *w, unsigned i, Input *in);
void world_vm_remove(World *w, unsigned i);
void world_trouble(World *w, const char *text);
