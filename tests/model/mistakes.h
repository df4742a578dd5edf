/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Seeded Mistakes
 *
 * What somebody could get wrong in the engine, each a change in the model's daemon or in a rule of
 * its tables. The model is worth something as long as each of them breaks a promise.
 */

#include "daemon/cycle-table.h"
#include "daemon/machine-table.h"

typedef enum Mistake {
        MISTAKE_NONE,
        /* in the journal */
        MISTAKE_ACT_BEFORE_NOTE,   /* machines are asked, then it is written that they will be */
        MISTAKE_LEAVE_AT_WAKE,     /* the note is taken back when it is asked to run */
        MISTAKE_ASKED_FORGOTTEN,   /* a note that a suspend was asked for is read as any other */
        MISTAKE_WATCHED_FORGOTTEN, /* no note is kept of a suspend that may strike later */
        MISTAKE_WATCHED_IS_HELD,   /* such a note is read as one of a machine that is held */
        MISTAKE_NOTE_BY_NAME,      /* a note is found again under the name alone */
        MISTAKE_NOTE_ENDS_WITH_US, /* who goes out of reach is forgotten */
        /* in the machine */
        MISTAKE_RESUME_ANYBODY,     /* after a crash all that stand are run again */
        MISTAKE_USER_IS_US,         /* a pause amidst a suspend is taken for ours */
        MISTAKE_FOREIGN_IS_OURS,    /* an I/O error is taken for our pause */
        MISTAKE_NO_RETRY,           /* a resume that was refused is not repeated */
        MISTAKE_PAUSE_FORGOTTEN,    /* the wake does not reckon with a pause on its way */
        MISTAKE_STRAGGLER_LEFT,     /* a late suspend is taken for the guest's own */
        MISTAKE_SUSPEND_STAYS_OWED, /* nobody stops to watch for a late suspend */
        MISTAKE_OBSOLETE_TRUSTED,   /* what is seen is always taken for the last command's doing */
        MISTAKE_RESUME_SUSPENDED,   /* what suspended is resumed as if it were paused */
        /* with the lock */
        MISTAKE_LOCK_KEPT_ON_TIMEOUT, /* the deadline ends the waiting, and not the lock */
        MISTAKE_LOCK_KEPT_ON_QUIT,    /* a cycle that is cut short has no deadline */
        MISTAKE_LOCK_NOT_TAKEN_AGAIN, /* there is none for the next sleep */
        MISTAKE_MAX,
        MISTAKE_INVALID = -EINVAL,
} Mistake;

DECLARE_STRING_TABLE(mistake, Mistake);

/* The tables' rules as somebody who made the mistake would have written them. */
MachineRule mistake_machine_rule(Mistake mistake, MachineState state, MachineEvent event);
CycleRule mistake_cycle_rule(Mistake mistake, CycleState state, CycleEvent event);
