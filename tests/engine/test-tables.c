/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the two tables promise, cell by cell. */

#include <check.h>
#include "common/macro.h"
#include "daemon/cycle.h"

#define BIT(_s) (1U << (_s))

/* A machine in one of these is ours: noted, and to be run again. */
#define OURS                                                                      \
        (BIT(MACHINE_SAMPLING) | BIT(MACHINE_SUSPENDING) | BIT(MACHINE_PAUSING) | \
         BIT(MACHINE_SUSPENDED) | BIT(MACHINE_PAUSED) | BIT(MACHINE_MISSED) | BIT(MACHINE_WAKING))
/* In one of these a step may be under way. */
#define BUSY                                                                      \
        (BIT(MACHINE_SAMPLING) | BIT(MACHINE_SUSPENDING) | BIT(MACHINE_PAUSING) | \
         BIT(MACHINE_WAKING) | BIT(MACHINE_CORRECTING))
#define STANDING (BIT(MACHINE_SUSPENDED) | BIT(MACHINE_PAUSED))
#define ASKING                                                                          \
        (MACHINE_ASK_TIME | MACHINE_ASK_SUSPEND | MACHINE_ASK_PAUSE | MACHINE_ASK_RUN | \
         MACHINE_CORRECT | MACHINE_WATCH | MACHINE_RETRY)
#define MACHINE_ACTIONS ((MACHINE_RETRY << 1) - 1)
#define CYCLE_ACTIONS ((CYCLE_PROTECT << 1) - 1)

static const char *at(MachineState s, MachineEvent e) {
        static char buf[80];

        (void) snprintf(buf,
                        sizeof(buf),
                        "%s × %s",
                        machine_state_to_string(s),
                        machine_event_to_string(e));
        return buf;
}

static const char *cycle_at(CycleState s, CycleEvent e) {
        static char buf[80];

        (void) snprintf(buf,
                        sizeof(buf),
                        "%s × %s",
                        cycle_state_to_string(s),
                        cycle_event_to_string(e));
        return buf;
}

#define FOR_EACH_CELL(_s, _e)                          \
        for (int _s = 0; _s < MACHINE_STATE_MAX; _s++) \
                for (int _e = 0; _e < MACHINE_EVENT_MAX; _e++)
#define FOR_EACH_CYCLE_CELL(_s, _e)                  \
        for (int _s = 0; _s < CYCLE_STATE_MAX; _s++) \
                for (int _e = 0; _e < CYCLE_EVENT_MAX; _e++)

/* the machine's */

START_TEST(test_machine_cells_are_written_and_valid) {
        FOR_EACH_CELL(s, e) {
                const MachineRule *r = machine_rule(s, e);

                ck_assert_msg(r->is_written, "%s is not written", at(s, e));
                ck_assert_msg(r->next >= 0 && r->next < MACHINE_STATE_MAX, "%s", at(s, e));
                ck_assert_msg((r->actions & ~MACHINE_ACTIONS) == 0, "%s", at(s, e));
        }
}
END_TEST

START_TEST(test_machine_never_stays_and_does_nothing) {
        FOR_EACH_CELL(s, e) {
                const MachineRule *r = machine_rule(s, e);

                if (r->actions & MACHINE_NEVER)
                        ck_assert_msg((int) r->next == s && r->actions == MACHINE_NEVER,
                                      "%s",
                                      at(s, e));
        }
}
END_TEST

/* What may come back into the table is the last of a cell's actions, so there is but one. */
START_TEST(test_machine_cells_ask_for_one_thing_at_most) {
        FOR_EACH_CELL(s, e)
        ck_assert_msg(__builtin_popcount(machine_rule(s, e)->actions & ASKING) <= 1,
                      "%s",
                      at(s, e));
}
END_TEST

START_TEST(test_machine_is_asked_only_by_events_that_mean_it) {
        const unsigned stop = BIT(MACHINE_EVENT_SUSPEND);
        const unsigned pause = BIT(MACHINE_EVENT_PAUSE) | BIT(MACHINE_EVENT_FAILED) |
                               BIT(MACHINE_EVENT_OVERTAKE) | BIT(MACHINE_EVENT_DEADLINE) |
                               BIT(MACHINE_EVENT_WOKE_EARLY);
        const unsigned run = BIT(MACHINE_EVENT_WAKE) | BIT(MACHINE_EVENT_STRUCK) |
                             BIT(MACHINE_EVENT_SUSPENDED);

        FOR_EACH_CELL(s, e) {
                unsigned actions = machine_rule(s, e)->actions;

                if (actions & MACHINE_ASK_SUSPEND)
                        ck_assert_msg(stop & BIT(e), "%s", at(s, e));
                if (actions & MACHINE_ASK_PAUSE)
                        ck_assert_msg(pause & BIT(e), "%s", at(s, e));
                if (actions & MACHINE_ASK_RUN)
                        ck_assert_msg(run & BIT(e), "%s", at(s, e));
        }
}
END_TEST

/* Nothing is asked to run that was not stopped, or asked to stop, by us. */
START_TEST(test_machine_runs_only_what_is_ours) {
        FOR_EACH_CELL(s, e) {
                const MachineRule *r = machine_rule(s, e);

                if (!(r->actions & (MACHINE_ASK_RUN | MACHINE_RETRY)))
                        continue;
                ck_assert_msg((OURS & BIT(s)) || e == MACHINE_EVENT_STRUCK, "%s", at(s, e));
                ck_assert_msg(r->next == MACHINE_WAKING, "%s", at(s, e));
        }
}
END_TEST

START_TEST(test_machine_note_is_taken_back_when_it_is_no_longer_ours) {
        FOR_EACH_CELL(s, e) {
                const MachineRule *r = machine_rule(s, e);

                if ((OURS & BIT(s)) && !(OURS & BIT(r->next)))
                        ck_assert_msg(r->actions & MACHINE_LEAVE, "%s", at(s, e));
                if (OURS & BIT(r->next))
                        ck_assert_msg(!(r->actions & MACHINE_LEAVE), "%s", at(s, e));
        }
}
END_TEST

START_TEST(test_machine_step_ends_with_its_state) {
        FOR_EACH_CELL(s, e) {
                const MachineRule *r = machine_rule(s, e);

                if ((BUSY & BIT(s)) && (int) r->next != s)
                        ck_assert_msg(r->actions & MACHINE_CANCEL, "%s", at(s, e));
        }
}
END_TEST

START_TEST(test_machine_stand_is_noted_when_it_begins) {
        FOR_EACH_CELL(s, e) {
                const MachineRule *r = machine_rule(s, e);

                if ((STANDING & BIT(r->next)) && !(STANDING & BIT(s)))
                        ck_assert_msg(r->actions & MACHINE_STAND, "%s", at(s, e));
                if (r->actions & MACHINE_RAN)
                        ck_assert_msg(s == MACHINE_WAKING && e == MACHINE_EVENT_RUNNING,
                                      "%s",
                                      at(s, e));
        }
}
END_TEST

/* Stopped by an I/O error, a migration, a panic: hands off, from wherever. */
START_TEST(test_machine_foreign_is_left_alone) {
        const unsigned asks = MACHINE_ASK_TIME | MACHINE_ASK_SUSPEND | MACHINE_ASK_PAUSE |
                              MACHINE_ASK_RUN | MACHINE_RETRY | MACHINE_CORRECT;

        for (int s = 0; s < MACHINE_STATE_MAX; s++) {
                const MachineRule *r = machine_rule(s, MACHINE_EVENT_FOREIGN);

                ck_assert_msg(!(OURS & BIT(r->next)), "%s", at(s, MACHINE_EVENT_FOREIGN));
                ck_assert_msg(!(r->actions & asks), "%s", at(s, MACHINE_EVENT_FOREIGN));
        }
}
END_TEST

/* After the deadline nothing keeps a phase open. */
START_TEST(test_machine_deadline_ends_all_preparing) {
        const unsigned open =
                        BIT(MACHINE_SAMPLING) | BIT(MACHINE_SUSPENDING) | BIT(MACHINE_PAUSING);

        for (int s = 0; s < MACHINE_STATE_MAX; s++)
                ck_assert_msg(!(open & BIT(machine_rule(s, MACHINE_EVENT_DEADLINE)->next)),
                              "%s",
                              at(s, MACHINE_EVENT_DEADLINE));
}
END_TEST

/* What a VMM and a guest that do as they are told make of a state, after an event has led there. */
static MachineEvent cooperate(MachineState state) {
        switch (state) {
        case MACHINE_WAKING:
                return MACHINE_EVENT_RUNNING;
        case MACHINE_CORRECTING:
                return MACHINE_EVENT_CORRECTED;
        case MACHINE_WATCHED:
                return MACHINE_EVENT_EXPIRED;
        default:
                return MACHINE_EVENT_INVALID;
        }
}

/* From wherever the wake finds it, a machine is run again, and the note is taken back. */
START_TEST(test_machine_wake_leaves_nothing_stopped) {
        for (int s = 0; s < MACHINE_STATE_MAX; s++) {
                const MachineRule *r = machine_rule(s, MACHINE_EVENT_WAKE);
                bool has_left = !(OURS & BIT(s)) || (r->actions & MACHINE_LEAVE);
                /* What is already on its way back has been asked before. */
                bool may_stand = (STANDING | BIT(MACHINE_MISSED) | BIT(MACHINE_PAUSING)) & BIT(s);
                bool has_run = !may_stand || (r->actions & MACHINE_ASK_RUN);
                MachineState state = r->next;
                MachineEvent e;

                for (int n = 0; n < 10; n++) {
                        e = cooperate(state);
                        if (e == MACHINE_EVENT_INVALID)
                                break;
                        r = machine_rule(state, e);
                        ck_assert_msg(!(r->actions & MACHINE_NEVER), "%s", at(state, e));
                        has_left |= (r->actions & MACHINE_LEAVE) != 0;
                        state = r->next;
                }
                ck_assert_msg(state == MACHINE_IDLE && has_left && has_run,
                              "%s: ends %s",
                              at(s, MACHINE_EVENT_WAKE),
                              machine_state_to_string(state));
        }
}
END_TEST

/* Whatever happens to it but its running, its end or a foreign hand, it is asked on. */
START_TEST(test_machine_waking_is_not_given_up) {
        for (int e = 0; e < MACHINE_EVENT_MAX; e++) {
                const MachineRule *r = machine_rule(MACHINE_WAKING, e);

                if (e == MACHINE_EVENT_RUNNING || e == MACHINE_EVENT_FOREIGN ||
                    e == MACHINE_EVENT_PAUSE)
                        continue;
                ck_assert_msg(r->next == MACHINE_WAKING, "%s", at(MACHINE_WAKING, e));
        }
        ck_assert(machine_rule(MACHINE_WAKING, MACHINE_EVENT_FAILED)->actions & MACHINE_RETRY);
}
END_TEST

/* the cycle's */

START_TEST(test_cycle_cells_are_written_and_valid) {
        FOR_EACH_CYCLE_CELL(s, e) {
                const CycleRule *r = cycle_rule(s, e);

                ck_assert_msg(r->is_written, "%s is not written", cycle_at(s, e));
                ck_assert_msg(r->next >= 0 && r->next < CYCLE_STATE_MAX, "%s", cycle_at(s, e));
                ck_assert_msg((r->actions & ~CYCLE_ACTIONS) == 0, "%s", cycle_at(s, e));
                if (r->actions & CYCLE_NEVER)
                        ck_assert_msg((int) r->next == s && r->actions == CYCLE_NEVER,
                                      "%s",
                                      cycle_at(s, e));
        }
}
END_TEST

/* What others tell us can come at any time: no cell for it may be our bug. */
START_TEST(test_cycle_takes_what_others_tell_in_every_state) {
        static const CycleEvent told[] = {
                CYCLE_EVENT_SLEEP,       CYCLE_EVENT_WAKE,     CYCLE_EVENT_NOT_SLEEPING,
                CYCLE_EVENT_UNANNOUNCED, CYCLE_EVENT_SHUTDOWN, CYCLE_EVENT_QUIT,
        };

        for (int s = 0; s < CYCLE_STATE_MAX; s++)
                for (size_t i = 0; i < ARRAY_LEN(told); i++)
                        ck_assert_msg(!(cycle_rule(s, told[i])->actions & CYCLE_NEVER),
                                      "%s",
                                      cycle_at(s, told[i]));
}
END_TEST

START_TEST(test_cycle_wake_ends_idle_or_restoring) {
        static const CycleEvent ends[] = {
                CYCLE_EVENT_WAKE,
                CYCLE_EVENT_NOT_SLEEPING,
                CYCLE_EVENT_SHUTDOWN,
                CYCLE_EVENT_QUIT,
        };

        for (int s = 0; s < CYCLE_STATE_MAX; s++)
                for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
                        const CycleRule *r = cycle_rule(s, ends[i]);
                        bool was_away = s == CYCLE_PREPARING || s == CYCLE_SLEEPING;

                        ck_assert_msg(r->next == CYCLE_IDLE || r->next == CYCLE_RESTORING,
                                      "%s",
                                      cycle_at(s, ends[i]));
                        if (was_away)
                                ck_assert_msg((r->actions & CYCLE_MEASURE) &&
                                                              (r->actions & CYCLE_RESTORE),
                                              "%s",
                                              cycle_at(s, ends[i]));
                }
}
END_TEST

START_TEST(test_cycle_lets_go_whenever_it_begins_to_sleep) {
        FOR_EACH_CYCLE_CELL(s, e) {
                const CycleRule *r = cycle_rule(s, e);

                if (s == CYCLE_PREPARING && r->next == CYCLE_SLEEPING)
                        ck_assert_msg(r->actions & CYCLE_LET_GO, "%s", cycle_at(s, e));
                if (r->actions & CYCLE_LET_GO)
                        ck_assert_msg(r->next == CYCLE_SLEEPING, "%s", cycle_at(s, e));
        }
        ck_assert_int_eq(cycle_rule(CYCLE_PREPARING, CYCLE_EVENT_DEADLINE)->next, CYCLE_SLEEPING);
        ck_assert_int_eq(cycle_rule(CYCLE_PREPARING, CYCLE_EVENT_ALL_STAND)->next, CYCLE_SLEEPING);
}
END_TEST

/* Each cycle that begins has its record, and none has two. */
START_TEST(test_cycle_record_is_written_once) {
        FOR_EACH_CYCLE_CELL(s, e) {
                const CycleRule *r = cycle_rule(s, e);
                bool begins = r->actions & (CYCLE_PREPARE | CYCLE_BEGIN);

                if (r->actions & CYCLE_RECORD)
                        ck_assert_msg(s == CYCLE_RESTORING, "%s", cycle_at(s, e));
                if (s != CYCLE_IDLE && begins)
                        ck_assert_msg(r->actions & CYCLE_RECORD, "%s", cycle_at(s, e));
                if (s != CYCLE_IDLE && r->next == CYCLE_IDLE)
                        ck_assert_msg(r->actions & CYCLE_RECORD, "%s", cycle_at(s, e));
                if (s == CYCLE_IDLE && r->next != CYCLE_IDLE)
                        ck_assert_msg(begins, "%s", cycle_at(s, e));
        }
}
END_TEST

/* names */

#define CHECK_NAMES(_name, _prefix)                                                        \
        do {                                                                               \
                for (int i = 0; i < (int) _prefix##_MAX; i++) {                            \
                        const char *s = _name##_to_string(i);                              \
                                                                                           \
                        ck_assert_msg(!str_empty(s), #_name " %d has no name", i);         \
                        ck_assert_msg((int) _name##_from_string(s) == i, #_name " %s", s); \
                }                                                                          \
                ck_assert_ptr_null(_name##_to_string(_prefix##_MAX));                      \
                ck_assert_ptr_null(_name##_to_string(_prefix##_INVALID));                  \
                ck_assert(_name##_from_string("no such name") == _prefix##_INVALID);       \
                ck_assert(_name##_from_string(NULL) == _prefix##_INVALID);                 \
        } while (0)

START_TEST(test_names_go_there_and_back) {
        CHECK_NAMES(machine_state, MACHINE_STATE);
        CHECK_NAMES(machine_event, MACHINE_EVENT);
        CHECK_NAMES(cycle_state, CYCLE_STATE);
        CHECK_NAMES(cycle_event, CYCLE_EVENT);
        CHECK_NAMES(cycle_kind, CYCLE_KIND);
        CHECK_NAMES(mode, MODE);
        CHECK_NAMES(time_sync, TIME_SYNC);
        CHECK_NAMES(correction_verdict, CORRECTION_VERDICT);
        CHECK_NAMES(correction_repairer, CORRECTION_REPAIRER);
        CHECK_NAMES(correction_cause, CORRECTION_CAUSE);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("tables");
        TCase *tcase = tcase_create("tables");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_test(tcase, test_machine_cells_are_written_and_valid);
        tcase_add_test(tcase, test_machine_never_stays_and_does_nothing);
        tcase_add_test(tcase, test_machine_cells_ask_for_one_thing_at_most);
        tcase_add_test(tcase, test_machine_is_asked_only_by_events_that_mean_it);
        tcase_add_test(tcase, test_machine_runs_only_what_is_ours);
        tcase_add_test(tcase, test_machine_note_is_taken_back_when_it_is_no_longer_ours);
        tcase_add_test(tcase, test_machine_step_ends_with_its_state);
        tcase_add_test(tcase, test_machine_stand_is_noted_when_it_begins);
        tcase_add_test(tcase, test_machine_foreign_is_left_alone);
        tcase_add_test(tcase, test_machine_deadline_ends_all_preparing);
        tcase_add_test(tcase, test_machine_wake_leaves_nothing_stopped);
        tcase_add_test(tcase, test_machine_waking_is_not_given_up);
        tcase_add_test(tcase, test_cycle_cells_are_written_and_valid);
        tcase_add_test(tcase, test_cycle_takes_what_others_tell_in_every_state);
        tcase_add_test(tcase, test_cycle_wake_ends_idle_or_restoring);
        tcase_add_test(tcase, test_cycle_lets_go_whenever_it_begins_to_sleep);
        tcase_add_test(tcase, test_cycle_record_is_written_once);
        tcase_add_test(tcase, test_names_go_there_and_back);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
