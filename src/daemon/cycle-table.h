/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Cycle Table
 *
 * What the daemon does when the host sleeps and wakes, as pure data.
 */

#include <errno.h>
#include "common/string-table.h"

typedef enum CycleState {
        CYCLE_IDLE,      /* the host is awake and nothing is going on */
        CYCLE_PREPARING, /* the host is about to sleep: machines are brought to a stand */
        CYCLE_SLEEPING,  /* the lock is gone, or the rehearsal's sleep runs */
        CYCLE_RESTORING, /* the host is awake: machines are being run and corrected */
        CYCLE_STATE_MAX,
        CYCLE_STATE_INVALID = -EINVAL,
} CycleState;

typedef enum CycleEvent {
        CYCLE_EVENT_SLEEP,        /* the host is about to sleep, or we are to rehearse it */
        CYCLE_EVENT_WAKE,         /* the sleep is over, or has failed */
        CYCLE_EVENT_NOT_SLEEPING, /* no sleep is under way, though nobody said that it is over */
        CYCLE_EVENT_UNANNOUNCED,  /* the clocks say that the host has slept, and nobody else does */
        CYCLE_EVENT_ALL_STAND,
        CYCLE_EVENT_OVERTAKE,     /* the time for suspends is over */
        CYCLE_EVENT_DEADLINE,     /* the budget is over */
        CYCLE_EVENT_RESTORED,     /* every machine runs and is corrected, or was given up */
        CYCLE_EVENT_SHUTDOWN,     /* the host shuts down */
        CYCLE_EVENT_QUIT,         /* the daemon is told to end */
        CYCLE_EVENT_ADOPT_ASLEEP, /* at the start: the journal holds machines, a sleep is under way */
        CYCLE_EVENT_ADOPT_AWAKE, /* at the start: the journal holds machines, the host is awake */
        CYCLE_EVENT_MAX,
        CYCLE_EVENT_INVALID = -EINVAL,
} CycleEvent;

typedef enum CycleAction {
        CYCLE_PREPARE = 1 << 0,  /* begin a cycle: sample, plan, write, ask */
        CYCLE_OVERTAKE = 1 << 1, /* pause whoever has not suspended */
        CYCLE_EXPIRE = 1 << 2,   /* end all that has not stood */
        CYCLE_LET_GO = 1 << 3,   /* sample, drop the lock */
        CYCLE_MEASURE = 1 << 4,  /* take the lock, sample, see whether the host slept */
        CYCLE_RESTORE = 1 << 5,  /* run what is held, correct the clocks */
        CYCLE_RECORD = 1 << 6,   /* end the cycle: write the record, tell the bus */
        CYCLE_BEGIN = 1 << 7,    /* begin a cycle without preparing: unannounced or adopted */
        CYCLE_REAL = 1 << 8,     /* what was a rehearsal is a sleep now */
        CYCLE_NEVER = 1 << 9,    /* our bug: log it and stay */
        CYCLE_PROTECT = 1 << 10, /* take the lock if it is not held */
} CycleAction;

typedef struct CycleRule {
        CycleState next;
        unsigned actions;
        bool is_written;
} CycleRule;

const CycleRule *cycle_rule(CycleState state, CycleEvent event);

DECLARE_STRING_TABLE(cycle_state, CycleState);
DECLARE_STRING_TABLE(cycle_event, CycleEvent);
