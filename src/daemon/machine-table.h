/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Machine Table
 *
 * What one VM does in a cycle, as pure data: state and event give the next state and the actions.
 * Nothing else decides it.
 */

#include <errno.h>
#include "common/string-table.h"

typedef enum MachineState {
        MACHINE_IDLE,       /* nothing of ours: it does what it likes */
        MACHINE_SAMPLING,   /* its clock is being read before it is stopped */
        MACHINE_SUSPENDING, /* asked to suspend, not seen to stand */
        MACHINE_PAUSING,    /* asked to pause, not seen to stand */
        MACHINE_SUSPENDED,  /* stands, suspended because of us */
        MACHINE_PAUSED,     /* stands, paused by us */
        MACHINE_MISSED,     /* asked, and not seen to stand when the lock went */
        MACHINE_WAKING,     /* asked to run, not seen to run */
        MACHINE_CORRECTING, /* runs; its clock is being put right */
        MACHINE_WATCHED,    /* runs; a suspend that we asked for may still strike */
        MACHINE_STATE_MAX,
        MACHINE_STATE_INVALID = -EINVAL,
} MachineState;

typedef enum MachineEvent {
        MACHINE_EVENT_SAMPLE,    /* plan: read its clock first */
        MACHINE_EVENT_SUSPEND,   /* plan: let it suspend */
        MACHINE_EVENT_PAUSE,     /* plan: hold its vCPUs */
        MACHINE_EVENT_SUSPENDED, /* seen: suspended to RAM */
        MACHINE_EVENT_PAUSED,    /* seen: paused */
        MACHINE_EVENT_RUNNING,   /* seen: runs */
        MACHINE_EVENT_WOKE_EARLY, /* seen: a suspended one runs while we still have time to stop it */
        MACHINE_EVENT_FOREIGN,    /* seen: stopped for a reason that is not ours */
        MACHINE_EVENT_FAILED,     /* the act was refused, or got no answer in time */
        MACHINE_EVENT_OVERTAKE,   /* the time for suspends is over */
        MACHINE_EVENT_DEADLINE,   /* the lock goes */
        MACHINE_EVENT_WAKE,       /* the host is back: let it run */
        MACHINE_EVENT_CORRECT,    /* put its clock right, whatever it went through */
        MACHINE_EVENT_CORRECTED, /* its clock is right, or was given up */
        MACHINE_EVENT_STRUCK,    /* seen: a suspend that we asked for came late */
        MACHINE_EVENT_EXPIRED,   /* nothing more can strike */
        MACHINE_EVENT_ADOPT,     /* the journal says that it is held by us, and it stands */
        MACHINE_EVENT_MAX,
        MACHINE_EVENT_INVALID = -EINVAL,
} MachineEvent;

typedef enum MachineAction {
        MACHINE_CANCEL = 1 << 0,      /* end the step under way */
        MACHINE_ASK_TIME = 1 << 1,    /* read its clock */
        MACHINE_ASK_SUSPEND = 1 << 2, /* … */
        MACHINE_ASK_PAUSE = 1 << 3,
        MACHINE_ASK_RUN = 1 << 4,   /* resume or wake, as it stands */
        MACHINE_STAND = 1 << 5,     /* note that it stands, and since when */
        MACHINE_RAN = 1 << 6,       /* note that it runs, and how long it stood */
        MACHINE_LEAVE = 1 << 7,     /* it is no longer ours: take the note back */
        MACHINE_CORRECT = 1 << 8,   /* begin to put its clock right */
        MACHINE_WATCH = 1 << 9,     /* begin to watch for a late suspend */
        MACHINE_DISTRUST = 1 << 10, /* it has broken its word, if it gave it */
        MACHINE_NEVER = 1 << 11,    /* our bug: log it and stay */
        MACHINE_RETRY = 1 << 12,    /* ask again after a growing pause */
} MachineAction;

typedef struct MachineRule {
        MachineState next;
        unsigned actions;
        bool is_written; /* distinguishes a written cell from a forgotten one */
} MachineRule;

/* The rule for @event in @state; both valid. */
const MachineRule *machine_rule(MachineState state, MachineEvent event);

DECLARE_STRING_TABLE(machine_state, MachineState);
DECLARE_STRING_TABLE(machine_event, MachineEvent);
