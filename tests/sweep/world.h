/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * World
 *
 * What there is around one suspendd: a bus with the fake logind, machines that are its own to stop and
 * one that its user has paused, and the service manager, which we are: whatever ends it, it is started
 * again at once, as suspendd.service says.
 *
 * The promises are those of the project: each machine that was stopped runs, the one that its user
 * paused was not touched, nothing is noted as held, logind has our delay lock and never waited beyond
 * its limit, and nothing but a kill that we sent ends the daemon other than cleanly.
 */

#include <systemd/sd-bus.h>
#include "machine.h"

#define MACHINES_MAX 8

typedef struct World {
        const char *daemon, *config, *plugin_dir, *folder; /* borrowed */
        sd_bus *bus;
        int notify_fd;
        SweepMachine machines[MACHINES_MAX]; /* the last is the one that its user has paused */
        size_t n_machines;
        pid_t pid;   /* of the daemon; 0: there is none */
        int gate_fd; /* it waits for its execve() until this is closed */
        bool is_ready;
        bool is_kill_due;          /* one SIGKILL is ours */
        unsigned n_starts, n_ends; /* since world_begin(); ends that were not our kill */
        char broken[256];          /* a promise that was, for good; empty: none */
} World;

/* lifetime */

/* Opens what stands: @monitors are the paths of the machines' monitors. Returns: 0; a negative errno. */
int world_open(World *w, char *const *monitors, size_t n_monitors);
void world_close(World *w);

/* the daemon */

/* Starts it, or leaves it waiting before its execve(). Returns: 0; a negative errno. */
int world_start(World *w, bool is_waiting);
void world_let_start(World *w);
int world_wait_ready(World *w);
/* Kills it, if it is there, and waits for its end. */
void world_kill(World *w);
/* Waits for its end, which is due. */
void world_wait_end(World *w);
/* Tells it to stop, and waits for its end. Returns: 0; -ETIMEDOUT if it is not seen in time. */
int world_stop(World *w, uint64_t limit_usec);
/* Reads what it says to systemd; starts it again where it has ended. */
void world_tend(World *w);

/* the host */

/* Has logind announce a sleep, and waits until it begins: then nobody holds a lock. Returns: 0; -ETIMEDOUT …. */
int world_fall_asleep(World *w);
/* Ends the sleep. Returns: 0; a negative errno. */
int world_wake(World *w);

/* the promises */

/* Forgets what was counted. */
void world_begin(World *w);

/* Waits until all promises are kept, tending the daemon. Returns: NULL; the first one that is not, borrowed. */
const char *world_settle(World *w);

/* Likewise, of what the daemon itself says of the machines and of its lock. */
const char *world_settle_daemon(World *w);

/* Whether those that are ours stand now. */
bool world_stands(World *w);

/* Makes it whole again by other means after a promise was broken. Returns: 0; a negative errno. */
int world_mend(World *w);
