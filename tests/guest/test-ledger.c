/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "run.h"
#include "world.h"

static World w;

static void setup(void) {
        world_make(&w);
        ck_assert_int_eq(look(&w), LEDGER_BEGUN);
        both_run(&w, 3 * SEC);
}

START_TEST(test_totals_of_a_new_epoch_are_not_owed) {
        w.record.epoch = 78;
        w.record.unseen_ns = 50 * (uint64_t) SEC;
        ck_assert_int_eq(look(&w), LEDGER_BEGUN);
        ck_assert_int_eq(look(&w), LEDGER_NOTHING);
        ck_assert_int_eq(w.stepped_ns, 0);
        ck_assert_uint_eq(w.ledger.applied_ns, 50 * (uint64_t) SEC);
}
END_TEST

START_TEST(test_a_pause_is_made_good_once) {
        pause_guest(&w, 20 * SEC);
        guest_ran(&w, 0);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_int_eq(world_error(&w), 0);
        for (int i = 0; i < 10; i++) {
                both_run(&w, SEC);
                ck_assert_int_eq(look(&w), LEDGER_NOTHING);
        }
        ck_assert_int_eq(w.stepped_ns, 20 * SEC);
}
END_TEST

START_TEST(test_lower_bound_is_made_good_at_once_and_the_rest_when_it_is_known) {
        pause_guest(&w, 20 * SEC);
        both_run(&w, MSEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_int_eq(w.stepped_ns, 20 * SEC);
        host_passes(&w, 2 * MSEC);
        guest_ran(&w, 2 * MSEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_int_eq(w.stepped_ns, 20 * SEC + 2 * MSEC);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_missed_publishings_are_made_good_by_the_next_look) {
        for (int i = 0; i < 5; i++) {
                pause_guest(&w, 7 * SEC);
                guest_ran(&w, 0);
                both_run(&w, 100 * SEC);
        }
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_an_agent_that_was_first_is_not_doubled) {
        pause_guest(&w, 20 * SEC);
        both_run(&w, 5 * MSEC);
        agent_sets(&w);
        ck_assert_int_eq(look(&w), LEDGER_NOTED);
        /* What the host still adds was in what the agent set. */
        host_passes(&w, MSEC);
        agent_sets(&w);
        guest_ran(&w, MSEC);
        ck_assert_int_eq(look(&w), LEDGER_NOTED);
        ck_assert_int_eq(w.stepped_ns, 0);
        ck_assert_int_eq(world_error(&w), 0);
        ck_assert_uint_eq(w.ledger.applied_ns, w.record.unseen_ns);
        ck_assert_uint_eq(w.ledger.refused_ns, 0);
}
END_TEST

START_TEST(test_the_rest_is_not_given_to_a_clock_that_was_set_since_the_lower_bound) {
        pause_guest(&w, 20 * SEC);
        host_passes(&w, 2 * MSEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        agent_sets(&w);
        guest_ran(&w, 2 * MSEC);
        ck_assert_int_eq(look(&w), LEDGER_NOTED);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_the_rest_is_not_given_when_the_setting_was_looked_at_by_itself) {
        pause_guest(&w, 20 * SEC);
        host_passes(&w, 2 * MSEC);
        (void) look(&w);
        agent_sets(&w);
        ck_assert_int_eq(look(&w), LEDGER_NOTHING);
        guest_ran(&w, 2 * MSEC);
        ck_assert_int_eq(look(&w), LEDGER_NOTED);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_a_second_stand_of_the_same_cycle_is_a_loss_of_its_own) {
        pause_guest(&w, 20 * SEC);
        agent_sets(&w);
        (void) look(&w);
        guest_ran(&w, 0);
        (void) look(&w);
        host_passes(&w, 9 * SEC);
        count_unseen(&w, 9 * SEC, false);
        publish(&w, DRIFT_FLAG_LOWER_BOUND);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_a_rest_that_was_covered_stays_so_when_the_next_cycle_comes_first) {
        pause_guest(&w, 20 * SEC);
        host_passes(&w, 2 * MSEC);
        agent_sets(&w);
        ck_assert_int_eq(look(&w), LEDGER_NOTED);
        count_unseen(&w, 2 * MSEC, false);
        pause_guest(&w, 8 * SEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_uint_eq(w.news.owed_ns, 8 * (uint64_t) SEC);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_a_clock_that_was_set_before_the_pause_lacks_it) {
        w.guest.wall_ns -= 2 * SEC;
        agent_sets(&w);
        ck_assert_int_eq(look(&w), LEDGER_NOTHING);
        pause_guest(&w, 3 * SEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_a_clock_set_just_before_the_pause_and_unseen_lacks_it) {
        w.guest.wall_ns -= SEC;
        (void) look(&w);
        agent_sets(&w);
        pause_guest(&w, 3 * SEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_a_clock_that_was_far_ahead_and_is_set_right_is_not_moved) {
        w.guest.wall_ns += 3 * SEC;
        (void) look(&w);
        pause_guest(&w, 4 * SEC);
        agent_sets(&w);
        ck_assert_int_eq(look(&w), LEDGER_NOTED);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_a_relative_push_keeps_a_guests_own_time) {
        w.guest.wall_ns -= 3600 * SEC;
        (void) look(&w);
        pause_guest(&w, 20 * SEC);
        w.guest.wall_ns += 20 * SEC;
        ck_assert_int_eq(look(&w), LEDGER_NOTED);
        ck_assert_int_eq(world_error(&w), -3600 * SEC);
        pause_guest(&w, 20 * SEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_int_eq(world_error(&w), -3600 * SEC);
}
END_TEST

START_TEST(test_a_slew_in_between_is_kept) {
        for (int i = 0; i < 100; i++) {
                both_run(&w, 10 * SEC);
                w.guest.boottime_ns += 5 * MSEC; /* 500 ppm */
                (void) look(&w);
        }
        pause_guest(&w, 2 * SEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_int_eq(world_error(&w), 500 * MSEC);
}
END_TEST

/* a loss that was none */

static void frozen(int64_t ns) {
        publish(&w, DRIFT_FLAG_STOPPING);
        (void) look(&w);
        both_run(&w, ns);
        count_unseen(&w, ns, true);
        publish(&w, DRIFT_FLAG_LOWER_BOUND);
}

START_TEST(test_what_a_frozen_machine_kept_is_refused) {
        frozen(10 * SEC);
        ck_assert_int_eq(look(&w), LEDGER_REFUSED);
        ck_assert_int_eq(w.stepped_ns, 0);
        ck_assert(w.news.has_lost);
        ck_assert_int_eq(w.news.lost_ns, 0);
        ck_assert_uint_eq(w.ledger.refused_ns, 10 * (uint64_t) SEC);
        ck_assert_uint_eq(w.ledger.applied_ns, 10 * (uint64_t) SEC);
        /* and what is added to it with it, however small */
        guest_ran(&w, 3 * MSEC);
        ck_assert_int_eq(look(&w), LEDGER_REFUSED);
        ck_assert_int_eq(w.stepped_ns, 0);
        pause_guest(&w, 5 * SEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
}
END_TEST

START_TEST(test_a_loss_told_long_after_a_freeze_is_refused) {
        publish(&w, DRIFT_FLAG_STOPPING);
        (void) look(&w);
        both_run(&w, 40 * SEC);
        (void) look(&w);
        count_unseen(&w, 10 * SEC, true);
        publish(&w, 0);
        ck_assert_int_eq(look(&w), LEDGER_REFUSED);
}
END_TEST

START_TEST(test_a_freeze_of_hours_is_refused) {
        frozen(INT64_C(8) * 3600 * SEC);
        ck_assert_int_eq(look(&w), LEDGER_REFUSED);
}
END_TEST

START_TEST(test_three_quarters_kept_is_kept_and_less_is_not) {
        publish(&w, DRIFT_FLAG_STOPPING);
        (void) look(&w);
        host_passes(&w, 10 * SEC);
        w.guest.boottime_ns += 7600 * MSEC;
        count_unseen(&w, 10 * SEC, true);
        publish(&w, 0);
        ck_assert_int_eq(look(&w), LEDGER_REFUSED);

        publish(&w, DRIFT_FLAG_STOPPING);
        (void) look(&w);
        host_passes(&w, 10 * SEC);
        w.guest.boottime_ns += 7400 * MSEC;
        count_unseen(&w, 10 * SEC, true);
        publish(&w, 0);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
}
END_TEST

START_TEST(test_without_a_young_base_the_host_is_believed) {
        publish(&w, 0);
        (void) look(&w);
        both_run(&w, 700 * SEC);
        both_run(&w, 10 * SEC);
        count_unseen(&w, 10 * SEC, true);
        publish(&w, 0);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
}
END_TEST

START_TEST(test_a_publishing_of_unknown_age_is_no_base) {
        publish(&w, DRIFT_FLAG_STOPPING);
        both_run(&w, 100 * SEC);
        w.guest.late_ns = INT64_MAX;
        (void) look(&w);
        w.guest.late_ns = 0;
        ck_assert_int_eq(w.ledger.base_host_boottime_ns, 0);
        pause_guest(&w, 100 * SEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert(!w.news.has_lost);
}
END_TEST

START_TEST(test_small_losses_are_believed) {
        frozen(900 * MSEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
}
END_TEST

START_TEST(test_a_late_look_is_not_taken_for_a_kept_clock) {
        w.guest.late_ns = 1250 * MSEC;
        for (int64_t owed = 100; owed < 20000; owed += 100)
                for (int64_t late = 0; late <= 1250; late += 250) {
                        publish(&w, DRIFT_FLAG_STOPPING);
                        both_run(&w, (1250 - late) * MSEC);
                        (void) look(&w);
                        pause_guest(&w, owed * MSEC);
                        both_run(&w, late * MSEC);
                        ck_assert_int_eq(look(&w), LEDGER_APPLY);
                        ck_assert_int_eq(world_error(&w), 0);
                }
}
END_TEST

START_TEST(test_a_freeze_is_refused_by_a_reader_that_only_polls) {
        w.guest.late_ns = 1250 * MSEC;
        for (int64_t late = 0; late <= 1250; late += 50) {
                publish(&w, DRIFT_FLAG_STOPPING);
                both_run(&w, late * MSEC);
                (void) look(&w);
                both_run(&w, 5 * SEC);
                count_unseen(&w, 5 * SEC, true);
                publish(&w, 0);
                both_run(&w, (1250 - late) * MSEC);
                ck_assert_int_eq(look(&w), LEDGER_REFUSED);
                both_run(&w, SEC);
                (void) look(&w);
        }
}
END_TEST

/* the guest's own suspend */

START_TEST(test_a_suspend_of_the_guests_own_is_never_applied) {
        publish(&w, DRIFT_FLAG_STOPPING);
        (void) look(&w);
        both_run(&w, 30 * SEC); /* its kernel puts BOOTTIME and REALTIME right */
        w.guest.slept_ns += 30 * SEC;
        count_seen(&w, 30 * SEC);
        publish(&w, DRIFT_FLAG_LOWER_BOUND);
        ck_assert_int_eq(look(&w), LEDGER_NOTHING);
        ck_assert_uint_eq(w.news.seen_ns, 30 * (uint64_t) SEC);
        ck_assert_int_eq(look(&w), LEDGER_NOTHING);
        ck_assert_uint_eq(w.news.seen_ns, 0);
        ck_assert_int_eq(w.stepped_ns, 0);
}
END_TEST

START_TEST(test_an_rtc_of_seconds_does_not_hide_a_loss) {
        publish(&w, 0);
        (void) look(&w);
        both_run(&w, 10 * SEC);
        w.guest.boottime_ns += 1500 * MSEC; /* its RTC's error */
        w.guest.slept_ns += 11500 * MSEC;
        pause_guest(&w, 1500 * MSEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
}
END_TEST

START_TEST(test_what_a_driver_gave_to_all_clocks_is_not_given_again) {
        publish(&w, DRIFT_FLAG_STOPPING);
        (void) look(&w);
        pause_guest(&w, 20 * SEC);
        w.guest.boottime_ns += 20 * SEC;
        w.guest.slept_ns += 20 * SEC;
        ck_assert_int_eq(look(&w), LEDGER_REFUSED);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

/* pages that are wrong */

START_TEST(test_totals_that_fall_back_do_nothing_until_they_have_grown_again) {
        pause_guest(&w, 20 * SEC);
        (void) look(&w);
        w.record.unseen_ns = 5 * (uint64_t) SEC;
        publish(&w, 0);
        ck_assert_int_eq(look(&w), LEDGER_FELL_BACK);
        w.record.unseen_ns = 21 * (uint64_t) SEC;
        w.record.cycles++;
        w.record.last_unseen_ns = 16 * (uint64_t) SEC;
        host_passes(&w, SEC);
        publish(&w, 0);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_int_eq(w.stepped_ns, 21 * SEC);
}
END_TEST

START_TEST(test_more_than_a_year_is_refused) {
        w.record.unseen_ns = UINT64_C(366) * 86400 * 1000000000 + 1;
        publish(&w, 0);
        ck_assert_int_eq(look(&w), LEDGER_IMPLAUSIBLE);
        w.record.unseen_ns = UINT64_MAX;
        publish(&w, 0);
        ck_assert_int_eq(look(&w), LEDGER_IMPLAUSIBLE);
        ck_assert_int_eq(w.stepped_ns, 0);
        ck_assert_uint_eq(w.ledger.refused_ns, UINT64_MAX);
        ck_assert_int_eq(look(&w), LEDGER_NOTHING);
}
END_TEST

START_TEST(test_a_year_is_not) {
        w.record.unseen_ns = UINT64_C(366) * 86400 * 1000000000;
        publish(&w, 0);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_int_eq(w.stepped_ns, INT64_C(366) * 86400 * SEC);
}
END_TEST

START_TEST(test_numbers_at_their_limits_overflow_nothing) {
        static const int64_t extremes[] = { INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX };

        for (size_t i = 0; i < ARRAY_LEN(extremes); i++)
                for (size_t j = 0; j < ARRAY_LEN(extremes); j++) {
                        w.record.host_boottime_ns = extremes[i];
                        w.record.host_realtime_ns = extremes[j];
                        w.record.unseen_ns += (uint64_t) extremes[i] + 7;
                        w.record.last_unseen_ns = (uint64_t) extremes[j];
                        w.record.seen_ns = (uint64_t) extremes[i];
                        w.record.publishings++;
                        w.record.cycles += (uint64_t) extremes[j];
                        (void) look(&w);
                        ck_assert_int_le(ns_abs(w.stepped_ns), INT64_C(366) * 86400 * SEC * 36);
                        ck_assert_uint_ge(w.ledger.applied_ns, w.ledger.refused_ns);
                }
}
END_TEST

/* the moment of the step */

static void begin_step(int64_t ns) {
        pause_guest(&w, ns);
        ledger_look(&w.ledger, &w.record, &w.guest, &w.news);
        ck_assert_int_eq(w.ledger.pending_ns, ns);
}

START_TEST(test_a_set_between_check_and_step_is_undone) {
        begin_step(20 * SEC);
        agent_sets(&w);
        step_wall(&w, 20 * SEC);
        ck_assert_int_eq(ledger_stepped(&w.ledger, w.guest.wall_ns), -20 * SEC);
        step_wall(&w, -20 * SEC);
        ck_assert_int_eq(ledger_stepped(&w.ledger, w.guest.wall_ns), 0);
        ck_assert_int_eq(world_error(&w), 0);
        guest_ran(&w, MSEC);
        host_passes(&w, MSEC);
        agent_sets(&w);
        ck_assert_int_eq(look(&w), LEDGER_NOTED);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_a_set_between_step_and_check_is_left) {
        begin_step(20 * SEC);
        step_wall(&w, 20 * SEC);
        host_passes(&w, MSEC);
        agent_sets(&w);
        ck_assert_int_eq(ledger_stepped(&w.ledger, w.guest.wall_ns), 0);
        guest_ran(&w, MSEC);
        ck_assert_int_eq(look(&w), LEDGER_NOTED);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_a_set_between_check_and_undoing_is_made_good) {
        begin_step(20 * SEC);
        agent_sets(&w);
        step_wall(&w, 20 * SEC);
        ck_assert_int_eq(ledger_stepped(&w.ledger, w.guest.wall_ns), -20 * SEC);
        agent_sets(&w);
        step_wall(&w, -20 * SEC);
        ck_assert_int_eq(ledger_stepped(&w.ledger, w.guest.wall_ns), 20 * SEC);
        step_wall(&w, 20 * SEC);
        ck_assert_int_eq(ledger_stepped(&w.ledger, w.guest.wall_ns), 0);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_a_step_that_was_begun_and_not_made_is_made) {
        begin_step(20 * SEC);
        ck_assert_int_eq(ledger_recover(&w.ledger, w.guest.wall_ns), 20 * SEC);
        step_wall(&w, 20 * SEC);
        ck_assert_int_eq(ledger_stepped(&w.ledger, w.guest.wall_ns), 0);
        ck_assert_int_eq(look(&w), LEDGER_NOTHING);
}
END_TEST

START_TEST(test_a_step_that_was_made_and_not_noted_is_not_made_again) {
        begin_step(20 * SEC);
        step_wall(&w, 20 * SEC);
        ck_assert_int_eq(ledger_recover(&w.ledger, w.guest.wall_ns), 0);
        /* nor taken for another's when the next loss is as long */
        guest_ran(&w, 0);
        pause_guest(&w, 20 * SEC);
        ck_assert_int_eq(look(&w), LEDGER_APPLY);
        ck_assert_int_eq(world_error(&w), 0);
}
END_TEST

START_TEST(test_an_undoing_that_was_begun_is_made) {
        begin_step(20 * SEC);
        agent_sets(&w);
        step_wall(&w, 20 * SEC);
        ck_assert_int_eq(ledger_stepped(&w.ledger, w.guest.wall_ns), -20 * SEC);
        ck_assert_int_eq(ledger_recover(&w.ledger, w.guest.wall_ns), -20 * SEC);
}
END_TEST

START_TEST(test_the_answer_says_what_was_taken_note_of) {
        DriftAnswer answer;

        pause_guest(&w, 20 * SEC);
        (void) look(&w);
        ledger_answer(&w.ledger, &answer);
        ck_assert_uint_eq(answer.magic, ANSWER_MAGIC);
        ck_assert_uint_eq(answer.epoch, 77);
        ck_assert_uint_eq(answer.applied_ns, 20 * (uint64_t) SEC);
        ck_assert_uint_eq(answer.corrects, ANSWER_CORRECTS_REALTIME);
        ck_assert_uint_eq(answer.publishings, w.record.publishings);
}
END_TEST

START_TEST(test_verdicts_have_names) {
        for (LedgerVerdict v = 0; v < LEDGER_VERDICT_MAX; v++)
                ck_assert_ptr_nonnull(ledger_verdict_to_string(v));
        ck_assert_ptr_null(ledger_verdict_to_string(LEDGER_VERDICT_MAX));
        ck_assert_ptr_null(ledger_verdict_to_string(LEDGER_VERDICT_INVALID));
}
END_TEST

int main(void) {
        const TTest *const tests[] = {
                test_totals_of_a_new_epoch_are_not_owed,
                test_a_pause_is_made_good_once,
                test_lower_bound_is_made_good_at_once_and_the_rest_when_it_is_known,
                test_missed_publishings_are_made_good_by_the_next_look,
                test_an_agent_that_was_first_is_not_doubled,
                test_the_rest_is_not_given_to_a_clock_that_was_set_since_the_lower_bound,
                test_the_rest_is_not_given_when_the_setting_was_looked_at_by_itself,
                test_a_second_stand_of_the_same_cycle_is_a_loss_of_its_own,
                test_a_rest_that_was_covered_stays_so_when_the_next_cycle_comes_first,
                test_a_clock_that_was_set_before_the_pause_lacks_it,
                test_a_clock_set_just_before_the_pause_and_unseen_lacks_it,
                test_a_clock_that_was_far_ahead_and_is_set_right_is_not_moved,
                test_a_relative_push_keeps_a_guests_own_time,
                test_a_slew_in_between_is_kept,
                test_what_a_frozen_machine_kept_is_refused,
                test_a_loss_told_long_after_a_freeze_is_refused,
                test_a_freeze_of_hours_is_refused,
                test_three_quarters_kept_is_kept_and_less_is_not,
                test_without_a_young_base_the_host_is_believed,
                test_a_publishing_of_unknown_age_is_no_base,
                test_small_losses_are_believed,
                test_a_late_look_is_not_taken_for_a_kept_clock,
                test_a_freeze_is_refused_by_a_reader_that_only_polls,
                test_a_suspend_of_the_guests_own_is_never_applied,
                test_an_rtc_of_seconds_does_not_hide_a_loss,
                test_what_a_driver_gave_to_all_clocks_is_not_given_again,
                test_totals_that_fall_back_do_nothing_until_they_have_grown_again,
                test_more_than_a_year_is_refused,
                test_a_year_is_not,
                test_numbers_at_their_limits_overflow_nothing,
                test_a_set_between_check_and_step_is_undone,
                test_a_set_between_step_and_check_is_left,
                test_a_set_between_check_and_undoing_is_made_good,
                test_a_step_that_was_begun_and_not_made_is_made,
                test_a_step_that_was_made_and_not_noted_is_not_made_again,
                test_an_undoing_that_was_begun_is_made,
                test_the_answer_says_what_was_taken_note_of,
                test_verdicts_have_names,
        };

        return run_tests("guest-ledger", tests, ARRAY_LEN(tests), setup, NULL);
}
