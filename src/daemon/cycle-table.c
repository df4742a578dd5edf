/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/cycle-table.h"

#define GO(_next, _actions) \
        { CYCLE_##_next, (_actions), true, }
#define STAY(_state) GO(_state, 0)
#define NEVER(_state) GO(_state, CYCLE_NEVER)

#define COME_BACK (CYCLE_MEASURE | CYCLE_RESTORE)

/* clang-format off */
static const CycleRule cycle_rules[CYCLE_STATE_MAX][CYCLE_EVENT_MAX] = {
        [CYCLE_IDLE] = {
                [CYCLE_EVENT_SLEEP]        = GO(PREPARING, CYCLE_PREPARE),
                [CYCLE_EVENT_WAKE]         = GO(IDLE, CYCLE_PROTECT), /* started in mid-cycle, or told twice */
                [CYCLE_EVENT_NOT_SLEEPING] = GO(IDLE, CYCLE_PROTECT),
                [CYCLE_EVENT_UNANNOUNCED]  = GO(RESTORING, CYCLE_BEGIN | COME_BACK),
                [CYCLE_EVENT_ALL_STAND]    = NEVER(IDLE),
                [CYCLE_EVENT_OVERTAKE]     = NEVER(IDLE),
                [CYCLE_EVENT_DEADLINE]     = NEVER(IDLE),
                [CYCLE_EVENT_RESTORED]     = NEVER(IDLE),
                [CYCLE_EVENT_SHUTDOWN]     = STAY(IDLE),
                [CYCLE_EVENT_QUIT]         = STAY(IDLE),
                [CYCLE_EVENT_ADOPT_ASLEEP] = GO(SLEEPING, CYCLE_BEGIN),
                [CYCLE_EVENT_ADOPT_AWAKE]  = GO(RESTORING, CYCLE_BEGIN | COME_BACK),
        },
        [CYCLE_PREPARING] = {
                [CYCLE_EVENT_SLEEP]        = GO(PREPARING, CYCLE_REAL), /* told twice, or amidst a rehearsal */
                [CYCLE_EVENT_WAKE]         = GO(RESTORING, COME_BACK), /* the sleep has failed */
                [CYCLE_EVENT_NOT_SLEEPING] = GO(RESTORING, COME_BACK), /* logind has forgotten it */
                [CYCLE_EVENT_UNANNOUNCED]  = STAY(PREPARING),
                [CYCLE_EVENT_ALL_STAND]    = GO(SLEEPING, CYCLE_LET_GO),
                [CYCLE_EVENT_OVERTAKE]     = GO(PREPARING, CYCLE_OVERTAKE),
                [CYCLE_EVENT_DEADLINE]     = GO(SLEEPING, CYCLE_EXPIRE | CYCLE_LET_GO),
                [CYCLE_EVENT_RESTORED]     = NEVER(PREPARING),
                [CYCLE_EVENT_SHUTDOWN]     = GO(RESTORING, COME_BACK), /* a stopped guest cannot shut down */
                [CYCLE_EVENT_QUIT]         = GO(RESTORING, COME_BACK),
                [CYCLE_EVENT_ADOPT_ASLEEP] = NEVER(PREPARING),
                [CYCLE_EVENT_ADOPT_AWAKE]  = NEVER(PREPARING),
        },
        [CYCLE_SLEEPING] = {
                [CYCLE_EVENT_SLEEP]        = GO(SLEEPING, CYCLE_REAL | CYCLE_LET_GO), /* a rehearsal comes true */
                [CYCLE_EVENT_WAKE]         = GO(RESTORING, COME_BACK),
                [CYCLE_EVENT_NOT_SLEEPING] = GO(RESTORING, COME_BACK),
                [CYCLE_EVENT_UNANNOUNCED]  = STAY(SLEEPING), /* may be the first of two sleeps in one cycle */
                [CYCLE_EVENT_ALL_STAND]    = NEVER(SLEEPING),
                [CYCLE_EVENT_OVERTAKE]     = NEVER(SLEEPING),
                [CYCLE_EVENT_DEADLINE]     = NEVER(SLEEPING),
                [CYCLE_EVENT_RESTORED]     = NEVER(SLEEPING),
                [CYCLE_EVENT_SHUTDOWN]     = GO(RESTORING, COME_BACK),
                [CYCLE_EVENT_QUIT]         = GO(RESTORING, COME_BACK),
                [CYCLE_EVENT_ADOPT_ASLEEP] = NEVER(SLEEPING),
                [CYCLE_EVENT_ADOPT_AWAKE]  = NEVER(SLEEPING),
        },
        [CYCLE_RESTORING] = {
                [CYCLE_EVENT_SLEEP]        = GO(PREPARING, CYCLE_RECORD | CYCLE_PREPARE), /* turns round */
                [CYCLE_EVENT_WAKE]         = GO(RESTORING, CYCLE_PROTECT), /* ended by something else before */
                [CYCLE_EVENT_NOT_SLEEPING] = GO(RESTORING, CYCLE_PROTECT),
                [CYCLE_EVENT_UNANNOUNCED]  = GO(RESTORING, CYCLE_RECORD | CYCLE_BEGIN | COME_BACK),
                [CYCLE_EVENT_ALL_STAND]    = NEVER(RESTORING),
                [CYCLE_EVENT_OVERTAKE]     = NEVER(RESTORING),
                [CYCLE_EVENT_DEADLINE]     = NEVER(RESTORING),
                [CYCLE_EVENT_RESTORED]     = GO(IDLE, CYCLE_RECORD),
                [CYCLE_EVENT_SHUTDOWN]     = STAY(RESTORING),
                [CYCLE_EVENT_QUIT]         = STAY(RESTORING),
                [CYCLE_EVENT_ADOPT_ASLEEP] = NEVER(RESTORING),
                [CYCLE_EVENT_ADOPT_AWAKE]  = NEVER(RESTORING),
        },
};
/* clang-format on */

const CycleRule *cycle_rule(CycleState state, CycleEvent event) {
        assert(state >= 0 && state < CYCLE_STATE_MAX);
        assert(event >= 0 && event < CYCLE_EVENT_MAX);
        return &cycle_rules[state][event];
}

static const char *const cycle_state_table[] = {
        [CYCLE_IDLE] = "idle",
        [CYCLE_PREPARING] = "preparing",
        [CYCLE_SLEEPING] = "sleeping",
        [CYCLE_RESTORING] = "restoring",
};

DEFINE_STRING_TABLE(cycle_state, CycleState, CYCLE_STATE);

static const char *const cycle_event_table[] = {
        [CYCLE_EVENT_SLEEP] = "sleep",
        [CYCLE_EVENT_WAKE] = "wake",
        [CYCLE_EVENT_NOT_SLEEPING] = "not-sleeping",
        [CYCLE_EVENT_UNANNOUNCED] = "unannounced",
        [CYCLE_EVENT_ALL_STAND] = "all-stand",
        [CYCLE_EVENT_OVERTAKE] = "overtake",
        [CYCLE_EVENT_DEADLINE] = "deadline",
        [CYCLE_EVENT_RESTORED] = "restored",
        [CYCLE_EVENT_SHUTDOWN] = "shutdown",
        [CYCLE_EVENT_QUIT] = "quit",
        [CYCLE_EVENT_ADOPT_ASLEEP] = "adopt-asleep",
        [CYCLE_EVENT_ADOPT_AWAKE] = "adopt-awake",
};

DEFINE_STRING_TABLE(cycle_event, CycleEvent, CYCLE_EVENT);
