/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mistakes.h"

static void spoil_machine_rule(
                MachineRule *r, Mistake mistake, MachineState state, MachineEvent event) {
        switch (mistake) {
        case MISTAKE_LEAVE_AT_WAKE:
                if (event == MACHINE_EVENT_WAKE)
                        r->actions |= MACHINE_LEAVE;
                break;
        case MISTAKE_USER_IS_US:
                if (state == MACHINE_SUSPENDING && event == MACHINE_EVENT_PAUSED)
                        *r = *machine_rule(MACHINE_PAUSING, MACHINE_EVENT_PAUSED);
                break;
        case MISTAKE_FOREIGN_IS_OURS:
                if (event == MACHINE_EVENT_FOREIGN)
                        *r = *machine_rule(state, MACHINE_EVENT_PAUSED);
                break;
        case MISTAKE_NO_RETRY:
                r->actions &= ~(unsigned) MACHINE_RETRY;
                break;
        case MISTAKE_PAUSE_FORGOTTEN:
                if (state == MACHINE_PAUSING && event == MACHINE_EVENT_WAKE)
                        *r = *machine_rule(MACHINE_SUSPENDING, MACHINE_EVENT_WAKE);
                break;
        default:
                break;
        }
}

MachineRule mistake_machine_rule(Mistake mistake, MachineState state, MachineEvent event) {
        MachineRule r = *machine_rule(state, event);

        spoil_machine_rule(&r, mistake, state, event);
        return r;
}

CycleRule mistake_cycle_rule(Mistake mistake, CycleState state, CycleEvent event) {
        CycleRule r = *cycle_rule(state, event);

        if (mistake == MISTAKE_LOCK_KEPT_ON_TIMEOUT && event == CYCLE_EVENT_DEADLINE)
                r.actions &= ~(unsigned) CYCLE_LET_GO;
        return r;
}

static const char *const mistake_table[] = {
        [MISTAKE_NONE] = "none",
        [MISTAKE_ACT_BEFORE_NOTE] = "act-before-note",
        [MISTAKE_LEAVE_AT_WAKE] = "leave-at-wake",
        [MISTAKE_ASKED_FORGOTTEN] = "asked-forgotten",
        [MISTAKE_WATCHED_FORGOTTEN] = "watched-forgotten",
        [MISTAKE_WATCHED_IS_HELD] = "watched-is-held",
        [MISTAKE_NOTE_BY_NAME] = "note-by-name",
        [MISTAKE_NOTE_ENDS_WITH_US] = "note-ends-with-us",
        [MISTAKE_RESUME_ANYBODY] = "resume-anybody",
        [MISTAKE_USER_IS_US] = "user-is-us",
        [MISTAKE_FOREIGN_IS_OURS] = "foreign-is-ours",
        [MISTAKE_NO_RETRY] = "no-retry",
        [MISTAKE_PAUSE_FORGOTTEN] = "pause-forgotten",
        [MISTAKE_STRAGGLER_LEFT] = "straggler-left",
        [MISTAKE_SUSPEND_STAYS_OWED] = "suspend-stays-owed",
        [MISTAKE_OBSOLETE_TRUSTED] = "obsolete-trusted",
        [MISTAKE_RESUME_SUSPENDED] = "resume-suspended",
        [MISTAKE_LOCK_KEPT_ON_TIMEOUT] = "lock-kept-on-timeout",
        [MISTAKE_LOCK_KEPT_ON_QUIT] = "lock-kept-on-quit",
        [MISTAKE_LOCK_NOT_TAKEN_AGAIN] = "lock-not-taken-again",
};

DEFINE_STRING_TABLE(mistake, Mistake, MISTAKE);
