/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Sleep Inhibitors
 *
 * A lock at logind, of either kind. The delay lock makes a sleep wait for us, InhibitDelayMaxUSec
 * at most; the block lock refuses it. A lock is a file descriptor of a FIFO: it outlives a restart
 * of logind and goes when it is closed.
 *
 * An Inhibitor belongs to the Manager.
 */

#include <systemd/sd-bus.h>
#include "common/macro.h"

typedef struct Inhibitor Inhibitor;

/* Told when an answer to inhibitor_take() has come: @error 0, or why there is no lock. */
typedef void (*InhibitorFn)(Inhibitor *i, int error, void *userdata);

/* lifetime */

/* @mode is "delay" or "block". */
int inhibitor_new(
                sd_bus *bus,
                const char *mode,
                InhibitorFn on_taken,
                void *userdata,
                Inhibitor **ret);
Inhibitor *inhibitor_free(Inhibitor *i);

DEFINE_CLEANUP(Inhibitor *, inhibitor_free);

/* the lock */

/* What a lock says is cut to that, so that there is always room for it. */
#define INHIBITOR_WHY_MAX 4096

/*
 * Takes the lock, saying @why. Answers through on_taken(), never before it returns. Refused because
 * a sleep is under way, or for another passing reason, it is asked for again (250 ms, growing to
 * 30 s) until it is dropped; at once where it is taken once more meanwhile.
 *
 * Returns: 0; -EALREADY if it is held or asked for; -ENOTCONN without a bus.
 */
int inhibitor_take(Inhibitor *i, const char *why);

/*
 * Takes the lock saying something else from now on, or takes it if it is not there. One that is held
 * is kept until logind has given the new one, so that no sleep slips in between.
 *
 * Returns: 0; -ENOTCONN without a bus, and all stays as it is.
 */
int inhibitor_reword(Inhibitor *i, const char *why);

/* Lets go at once, and of an answer still to come. Harmless if not held. */
void inhibitor_drop(Inhibitor *i);

/* logind has come to the bus, perhaps anew: asks for what it does not have. */
void inhibitor_on_logind_came(Inhibitor *i);

/* Whether logind still has it: held, and the FIFO's other end is there or only away for a restart. */
bool inhibitor_is_held(const Inhibitor *i);
