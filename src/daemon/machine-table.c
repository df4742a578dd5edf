/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/machine-table.h"

#define GO(_next, _actions) \
        { MACHINE_##_next, (_actions), true, }
#define STAY(_state) GO(_state, 0)
#define NEVER(_state) GO(_state, MACHINE_NEVER)

/* An act that was handed over and not carried out can strike later: each way out of it watches. */
#define LET_BE (MACHINE_CANCEL | MACHINE_LEAVE | MACHINE_WATCH)

/* clang-format off */
static const MachineRule machine_rules[MACHINE_STATE_MAX][MACHINE_EVENT_MAX] = {
        [MACHINE_IDLE] = {
                [MACHINE_EVENT_SAMPLE]     = GO(SAMPLING, MACHINE_ASK_TIME),
                [MACHINE_EVENT_SUSPEND]    = GO(SUSPENDING, MACHINE_ASK_SUSPEND),
                [MACHINE_EVENT_PAUSE]      = GO(PAUSING, MACHINE_ASK_PAUSE),
                [MACHINE_EVENT_SUSPENDED]  = STAY(IDLE),
                [MACHINE_EVENT_PAUSED]     = STAY(IDLE),
                [MACHINE_EVENT_RUNNING]    = STAY(IDLE),
                [MACHINE_EVENT_WOKE_EARLY] = NEVER(IDLE),
                [MACHINE_EVENT_FOREIGN]    = STAY(IDLE),
                [MACHINE_EVENT_FAILED]     = NEVER(IDLE),
                [MACHINE_EVENT_OVERTAKE]   = STAY(IDLE),
                [MACHINE_EVENT_DEADLINE]   = STAY(IDLE),
                [MACHINE_EVENT_WAKE]       = STAY(IDLE),
                [MACHINE_EVENT_CORRECT]    = GO(CORRECTING, MACHINE_CORRECT),
                [MACHINE_EVENT_CORRECTED]  = GO(WATCHED, MACHINE_WATCH), /* from before, amidst a sleep */
                [MACHINE_EVENT_STRUCK]     = NEVER(IDLE),
                [MACHINE_EVENT_EXPIRED]    = NEVER(IDLE),
                [MACHINE_EVENT_ADOPT]      = STAY(MISSED),
        },
        [MACHINE_SAMPLING] = {
                [MACHINE_EVENT_SAMPLE]     = NEVER(SAMPLING),
                [MACHINE_EVENT_SUSPEND]    = GO(SUSPENDING, MACHINE_CANCEL | MACHINE_ASK_SUSPEND),
                [MACHINE_EVENT_PAUSE]      = GO(PAUSING, MACHINE_CANCEL | MACHINE_ASK_PAUSE),
                [MACHINE_EVENT_SUSPENDED]  = GO(WATCHED, LET_BE),
                [MACHINE_EVENT_PAUSED]     = GO(WATCHED, LET_BE),
                [MACHINE_EVENT_RUNNING]    = STAY(SAMPLING),
                [MACHINE_EVENT_WOKE_EARLY] = NEVER(SAMPLING),
                [MACHINE_EVENT_FOREIGN]    = GO(WATCHED, LET_BE),
                [MACHINE_EVENT_FAILED]     = NEVER(SAMPLING),
                [MACHINE_EVENT_OVERTAKE]   = GO(PAUSING, MACHINE_CANCEL | MACHINE_ASK_PAUSE),
                [MACHINE_EVENT_DEADLINE]   = GO(MISSED, MACHINE_CANCEL | MACHINE_ASK_PAUSE),
                [MACHINE_EVENT_WAKE]       = GO(CORRECTING, MACHINE_CANCEL | MACHINE_LEAVE | MACHINE_CORRECT),
                [MACHINE_EVENT_CORRECT]    = STAY(SAMPLING),
                [MACHINE_EVENT_CORRECTED]  = NEVER(SAMPLING),
                [MACHINE_EVENT_STRUCK]     = GO(SUSPENDED, MACHINE_CANCEL | MACHINE_STAND), /* of the cycle before */
                [MACHINE_EVENT_EXPIRED]    = NEVER(SAMPLING),
                [MACHINE_EVENT_ADOPT]      = NEVER(SAMPLING),
        },
        [MACHINE_SUSPENDING] = {
                [MACHINE_EVENT_SAMPLE]     = NEVER(SUSPENDING),
                [MACHINE_EVENT_SUSPEND]    = NEVER(SUSPENDING),
                [MACHINE_EVENT_PAUSE]      = NEVER(SUSPENDING),
                [MACHINE_EVENT_SUSPENDED]  = GO(SUSPENDED, MACHINE_CANCEL | MACHINE_STAND),
                [MACHINE_EVENT_PAUSED]     = GO(WATCHED, LET_BE), /* by another hand */
                [MACHINE_EVENT_RUNNING]    = STAY(SUSPENDING),
                [MACHINE_EVENT_WOKE_EARLY] = NEVER(SUSPENDING),
                [MACHINE_EVENT_FOREIGN]    = GO(WATCHED, LET_BE),
                [MACHINE_EVENT_FAILED]     = GO(PAUSING, MACHINE_CANCEL | MACHINE_ASK_PAUSE),
                [MACHINE_EVENT_OVERTAKE]   = GO(PAUSING, MACHINE_CANCEL | MACHINE_DISTRUST | MACHINE_ASK_PAUSE),
                [MACHINE_EVENT_DEADLINE]   = GO(MISSED, MACHINE_CANCEL | MACHINE_DISTRUST | MACHINE_ASK_PAUSE),
                [MACHINE_EVENT_WAKE]       = GO(CORRECTING, MACHINE_CANCEL | MACHINE_LEAVE | MACHINE_CORRECT),
                [MACHINE_EVENT_CORRECT]    = STAY(SUSPENDING),
                [MACHINE_EVENT_CORRECTED]  = NEVER(SUSPENDING),
                [MACHINE_EVENT_STRUCK]     = NEVER(SUSPENDING),
                [MACHINE_EVENT_EXPIRED]    = NEVER(SUSPENDING),
                [MACHINE_EVENT_ADOPT]      = NEVER(SUSPENDING),
        },
        [MACHINE_PAUSING] = {
                [MACHINE_EVENT_SAMPLE]     = NEVER(PAUSING),
                [MACHINE_EVENT_SUSPEND]    = NEVER(PAUSING),
                [MACHINE_EVENT_PAUSE]      = NEVER(PAUSING),
                [MACHINE_EVENT_SUSPENDED]  = GO(SUSPENDED, MACHINE_CANCEL | MACHINE_STAND), /* just before the pause */
                [MACHINE_EVENT_PAUSED]     = GO(PAUSED, MACHINE_CANCEL | MACHINE_STAND),
                [MACHINE_EVENT_RUNNING]    = STAY(PAUSING),
                [MACHINE_EVENT_WOKE_EARLY] = NEVER(PAUSING),
                [MACHINE_EVENT_FOREIGN]    = GO(WATCHED, LET_BE),
                [MACHINE_EVENT_FAILED]     = GO(WATCHED, LET_BE), /* refused: it runs on */
                [MACHINE_EVENT_OVERTAKE]   = STAY(PAUSING),
                [MACHINE_EVENT_DEADLINE]   = GO(MISSED, MACHINE_CANCEL),
                [MACHINE_EVENT_WAKE]       = GO(WAKING, MACHINE_CANCEL | MACHINE_ASK_RUN), /* the pause may be on its way */
                [MACHINE_EVENT_CORRECT]    = STAY(PAUSING),
                [MACHINE_EVENT_CORRECTED]  = NEVER(PAUSING),
                [MACHINE_EVENT_STRUCK]     = NEVER(PAUSING),
                [MACHINE_EVENT_EXPIRED]    = NEVER(PAUSING),
                [MACHINE_EVENT_ADOPT]      = NEVER(PAUSING),
        },
        [MACHINE_SUSPENDED] = {
                [MACHINE_EVENT_SAMPLE]     = NEVER(SUSPENDED),
                [MACHINE_EVENT_SUSPEND]    = NEVER(SUSPENDED),
                [MACHINE_EVENT_PAUSE]      = NEVER(SUSPENDED),
                [MACHINE_EVENT_SUSPENDED]  = STAY(SUSPENDED),
                [MACHINE_EVENT_PAUSED]     = STAY(SUSPENDED), /* paused on top (QEMU >= 9) */
                [MACHINE_EVENT_RUNNING]    = GO(WATCHED, LET_BE), /* woken by another hand */
                [MACHINE_EVENT_WOKE_EARLY] = GO(PAUSING, MACHINE_CANCEL | MACHINE_ASK_PAUSE),
                [MACHINE_EVENT_FOREIGN]    = GO(WATCHED, LET_BE),
                [MACHINE_EVENT_FAILED]     = STAY(SUSPENDED),
                [MACHINE_EVENT_OVERTAKE]   = STAY(SUSPENDED),
                [MACHINE_EVENT_DEADLINE]   = STAY(SUSPENDED),
                [MACHINE_EVENT_WAKE]       = GO(WAKING, MACHINE_CANCEL | MACHINE_ASK_RUN),
                [MACHINE_EVENT_CORRECT]    = STAY(SUSPENDED),
                [MACHINE_EVENT_CORRECTED]  = NEVER(SUSPENDED),
                [MACHINE_EVENT_STRUCK]     = NEVER(SUSPENDED),
                [MACHINE_EVENT_EXPIRED]    = NEVER(SUSPENDED),
                [MACHINE_EVENT_ADOPT]      = NEVER(SUSPENDED),
        },
        [MACHINE_PAUSED] = {
                [MACHINE_EVENT_SAMPLE]     = NEVER(PAUSED),
                [MACHINE_EVENT_SUSPEND]    = NEVER(PAUSED),
                [MACHINE_EVENT_PAUSE]      = NEVER(PAUSED),
                [MACHINE_EVENT_SUSPENDED]  = STAY(SUSPENDED), /* it was both (QEMU >= 9) */
                [MACHINE_EVENT_PAUSED]     = STAY(PAUSED),
                [MACHINE_EVENT_RUNNING]    = GO(WATCHED, LET_BE), /* resumed by another hand */
                [MACHINE_EVENT_WOKE_EARLY] = NEVER(PAUSED),
                [MACHINE_EVENT_FOREIGN]    = GO(WATCHED, LET_BE),
                [MACHINE_EVENT_FAILED]     = STAY(PAUSED),
                [MACHINE_EVENT_OVERTAKE]   = STAY(PAUSED),
                [MACHINE_EVENT_DEADLINE]   = STAY(PAUSED),
                [MACHINE_EVENT_WAKE]       = GO(WAKING, MACHINE_CANCEL | MACHINE_ASK_RUN),
                [MACHINE_EVENT_CORRECT]    = STAY(PAUSED),
                [MACHINE_EVENT_CORRECTED]  = NEVER(PAUSED),
                [MACHINE_EVENT_STRUCK]     = NEVER(PAUSED),
                [MACHINE_EVENT_EXPIRED]    = NEVER(PAUSED),
                [MACHINE_EVENT_ADOPT]      = NEVER(PAUSED),
        },
        [MACHINE_MISSED] = {
                [MACHINE_EVENT_SAMPLE]     = NEVER(MISSED),
                [MACHINE_EVENT_SUSPEND]    = NEVER(MISSED),
                [MACHINE_EVENT_PAUSE]      = NEVER(MISSED),
                [MACHINE_EVENT_SUSPENDED]  = GO(SUSPENDED, MACHINE_CANCEL | MACHINE_STAND),
                [MACHINE_EVENT_PAUSED]     = GO(PAUSED, MACHINE_CANCEL | MACHINE_STAND),
                [MACHINE_EVENT_RUNNING]    = STAY(MISSED),
                [MACHINE_EVENT_WOKE_EARLY] = NEVER(MISSED),
                [MACHINE_EVENT_FOREIGN]    = GO(WATCHED, LET_BE),
                [MACHINE_EVENT_FAILED]     = STAY(MISSED),
                [MACHINE_EVENT_OVERTAKE]   = STAY(MISSED),
                [MACHINE_EVENT_DEADLINE]   = STAY(MISSED),
                [MACHINE_EVENT_WAKE]       = GO(WAKING, MACHINE_CANCEL | MACHINE_ASK_RUN),
                [MACHINE_EVENT_CORRECT]    = STAY(MISSED),
                [MACHINE_EVENT_CORRECTED]  = NEVER(MISSED),
                [MACHINE_EVENT_STRUCK]     = NEVER(MISSED),
                [MACHINE_EVENT_EXPIRED]    = NEVER(MISSED),
                [MACHINE_EVENT_ADOPT]      = NEVER(MISSED),
        },
        [MACHINE_WAKING] = {
                [MACHINE_EVENT_SAMPLE]     = NEVER(WAKING),
                [MACHINE_EVENT_SUSPEND]    = NEVER(WAKING),
                [MACHINE_EVENT_PAUSE]      = GO(PAUSING, MACHINE_CANCEL | MACHINE_ASK_PAUSE), /* the host sleeps again */
                [MACHINE_EVENT_SUSPENDED]  = GO(WAKING, MACHINE_ASK_RUN), /* a late suspend, or it was both */
                [MACHINE_EVENT_PAUSED]     = STAY(WAKING),
                [MACHINE_EVENT_RUNNING]    = GO(CORRECTING, MACHINE_CANCEL | MACHINE_RAN | MACHINE_LEAVE | MACHINE_CORRECT),
                [MACHINE_EVENT_WOKE_EARLY] = NEVER(WAKING),
                [MACHINE_EVENT_FOREIGN]    = GO(WATCHED, LET_BE),
                [MACHINE_EVENT_FAILED]     = GO(WAKING, MACHINE_CANCEL | MACHINE_RETRY),
                [MACHINE_EVENT_OVERTAKE]   = STAY(WAKING),
                [MACHINE_EVENT_DEADLINE]   = STAY(WAKING),
                [MACHINE_EVENT_WAKE]       = STAY(WAKING),
                [MACHINE_EVENT_CORRECT]    = STAY(WAKING),
                [MACHINE_EVENT_CORRECTED]  = NEVER(WAKING),
                [MACHINE_EVENT_STRUCK]     = NEVER(WAKING),
                [MACHINE_EVENT_EXPIRED]    = NEVER(WAKING),
                [MACHINE_EVENT_ADOPT]      = NEVER(WAKING),
        },
        [MACHINE_CORRECTING] = {
                [MACHINE_EVENT_SAMPLE]     = GO(SAMPLING, MACHINE_CANCEL | MACHINE_ASK_TIME),
                [MACHINE_EVENT_SUSPEND]    = GO(SUSPENDING, MACHINE_CANCEL | MACHINE_ASK_SUSPEND),
                [MACHINE_EVENT_PAUSE]      = GO(PAUSING, MACHINE_CANCEL | MACHINE_ASK_PAUSE),
                [MACHINE_EVENT_SUSPENDED]  = GO(WATCHED, LET_BE), /* by its own wish */
                [MACHINE_EVENT_PAUSED]     = GO(WATCHED, LET_BE),
                [MACHINE_EVENT_RUNNING]    = STAY(CORRECTING),
                [MACHINE_EVENT_WOKE_EARLY] = NEVER(CORRECTING),
                [MACHINE_EVENT_FOREIGN]    = GO(WATCHED, LET_BE),
                [MACHINE_EVENT_FAILED]     = NEVER(CORRECTING),
                [MACHINE_EVENT_OVERTAKE]   = STAY(CORRECTING),
                [MACHINE_EVENT_DEADLINE]   = STAY(CORRECTING),
                [MACHINE_EVENT_WAKE]       = STAY(CORRECTING),
                [MACHINE_EVENT_CORRECT]    = GO(CORRECTING, MACHINE_CANCEL | MACHINE_CORRECT),
                [MACHINE_EVENT_CORRECTED]  = GO(WATCHED, MACHINE_CANCEL | MACHINE_WATCH),
                [MACHINE_EVENT_STRUCK]     = GO(WAKING, MACHINE_CANCEL | MACHINE_STAND | MACHINE_ASK_RUN),
                [MACHINE_EVENT_EXPIRED]    = NEVER(CORRECTING),
                [MACHINE_EVENT_ADOPT]      = NEVER(CORRECTING),
        },
        [MACHINE_WATCHED] = {
                [MACHINE_EVENT_SAMPLE]     = GO(SAMPLING, MACHINE_ASK_TIME),
                [MACHINE_EVENT_SUSPEND]    = GO(SUSPENDING, MACHINE_ASK_SUSPEND),
                [MACHINE_EVENT_PAUSE]      = GO(PAUSING, MACHINE_ASK_PAUSE),
                [MACHINE_EVENT_SUSPENDED]  = GO(SUSPENDED, MACHINE_STAND), /* ours, late, while the host sleeps */
                [MACHINE_EVENT_PAUSED]     = STAY(WATCHED),
                [MACHINE_EVENT_RUNNING]    = GO(WATCHED, MACHINE_WATCH),
                [MACHINE_EVENT_WOKE_EARLY] = NEVER(WATCHED),
                [MACHINE_EVENT_FOREIGN]    = STAY(WATCHED),
                [MACHINE_EVENT_FAILED]     = NEVER(WATCHED),
                [MACHINE_EVENT_OVERTAKE]   = STAY(WATCHED),
                [MACHINE_EVENT_DEADLINE]   = STAY(WATCHED),
                [MACHINE_EVENT_WAKE]       = STAY(WATCHED),
                [MACHINE_EVENT_CORRECT]    = GO(CORRECTING, MACHINE_CORRECT),
                [MACHINE_EVENT_CORRECTED]  = NEVER(WATCHED),
                [MACHINE_EVENT_STRUCK]     = GO(WAKING, MACHINE_STAND | MACHINE_ASK_RUN),
                [MACHINE_EVENT_EXPIRED]    = GO(IDLE, MACHINE_LEAVE),
                [MACHINE_EVENT_ADOPT]      = NEVER(WATCHED),
        },
};
/* clang-format on */

const MachineRule *machine_rule(MachineState state, MachineEvent event) {
        assert(state >= 0 && state < MACHINE_STATE_MAX);
        assert(event >= 0 && event < MACHINE_EVENT_MAX);
        return &machine_rules[state][event];
}

static const char *const machine_state_table[] = {
        [MACHINE_IDLE] = "idle",
        [MACHINE_SAMPLING] = "sampling",
        [MACHINE_SUSPENDING] = "suspending",
        [MACHINE_PAUSING] = "pausing",
        [MACHINE_SUSPENDED] = "suspended",
        [MACHINE_PAUSED] = "paused",
        [MACHINE_MISSED] = "missed",
        [MACHINE_WAKING] = "waking",
        [MACHINE_CORRECTING] = "correcting",
        [MACHINE_WATCHED] = "watched",
};

DEFINE_STRING_TABLE(machine_state, MachineState, MACHINE_STATE);

static const char *const machine_event_table[] = {
        [MACHINE_EVENT_SAMPLE] = "sample",         [MACHINE_EVENT_SUSPEND] = "suspend",
        [MACHINE_EVENT_PAUSE] = "pause",           [MACHINE_EVENT_SUSPENDED] = "suspended",
        [MACHINE_EVENT_PAUSED] = "paused",         [MACHINE_EVENT_RUNNING] = "running",
        [MACHINE_EVENT_WOKE_EARLY] = "woke-early", [MACHINE_EVENT_FOREIGN] = "foreign",
        [MACHINE_EVENT_FAILED] = "failed",         [MACHINE_EVENT_OVERTAKE] = "overtake",
        [MACHINE_EVENT_DEADLINE] = "deadline",     [MACHINE_EVENT_WAKE] = "wake",
        [MACHINE_EVENT_CORRECT] = "correct",       [MACHINE_EVENT_CORRECTED] = "corrected",
        [MACHINE_EVENT_STRUCK] = "struck",         [MACHINE_EVENT_EXPIRED] = "expired",
        [MACHINE_EVENT_ADOPT] = "adopt",
};

DEFINE_STRING_TABLE(machine_event, MachineEvent, MACHINE_EVENT);
