/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What becomes of a guest's clock: the pure decisions, and the engine that carries them out. */

#include <check.h>
#include "common/time-util.h"
#include "daemon/log.h"
#include "rig.h"

#define HOUR_USEC (3600 * USEC_PER_SEC)
#define HOUR_NS (3600 * NSEC_PER_SEC)
#define MS(_n) ((_n) *NSEC_PER_MSEC)
#define MSEC(_n) ((_n) *USEC_PER_MSEC)

static Rig r;
static FakeVm *vm;

/* One guest with an agent, paused when the host sleeps: its clock then lacks what it was held. */
static void setup(void) {
        Policy policy = POLICY_DEFAULT;

        policy.mode = MODE_PAUSE;
        rig_init(&r, &(RigOptions){ .delay_max_usec = 5 * USEC_PER_SEC });
        r.wants_records = true;
        vm = rig_add(&r, "vm", &policy);
        for (int act = 0; act < SUSPENDD_ACT_MAX; act++)
                vm->answers[act] = FAKE_LATER;
        fake_vm_start(vm);
        rig_start(&r);
}

static void teardown(void) {
        rig_settle(&r);
        ck_assert_msg(!*r.fault, "%s", r.fault);
        rig_done(&r);
}

static Policy *policy(void) {
        return &rig_machine(&r, vm)->policy;
}

static const CorrectionReport *report(void) {
        return &rig_machine(&r, vm)->report.time;
}

static void sleep_and_wake(void) {
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
}

static void check_near(int64_t ns, int64_t expected_ns) {
        ck_assert_msg(llabs(ns - expected_ns) <= MS(2),
                      "%lld ns, not %lld",
                      (long long) ns,
                      (long long) expected_ns);
}

/* by the engine */

START_TEST(test_absolute_clock_is_set_to_the_host) {
        sleep_and_wake();
        check_near(fake_vm_clock_offset_ns(vm), 0);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        ck_assert_uint_eq(report()->tries, 1);
        /* From its stand, 20 ms after the announcement, to its running, 20 ms after the wake. */
        check_near(report()->before_ns, -(HOUR_NS + MS(1000)));
        check_near(report()->after_ns, 0);
        ck_assert_int_eq(vm->last_lead_ns, vm->rtt_ns / 2);
        check_near(rig_machine(&r, vm)->report.stopped_ns, HOUR_NS + MS(1000));
}
END_TEST

START_TEST(test_relative_clock_keeps_its_distance) {
        policy()->time_sync = TIME_SYNC_RELATIVE;
        vm->offset_ns = 300 * NSEC_PER_SEC;
        sleep_and_wake();
        check_near(fake_vm_clock_offset_ns(vm), 300 * NSEC_PER_SEC);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        check_near(report()->after_ns, 0);
        check_near(vm->last_lead_ns, 300 * NSEC_PER_SEC + vm->rtt_ns / 2);
}
END_TEST

/* What it was ahead is not known: then it is not moved at all. */
START_TEST(test_relative_clock_that_was_not_read_is_left) {
        policy()->time_sync = TIME_SYNC_RELATIVE;
        vm->answers[SUSPENDD_ACT_GET_TIME] = FAKE_NEVER;
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        ck_assert(!r.is_locked);
        rig_wake(&r, HOUR_USEC);
        vm->answers[SUSPENDD_ACT_GET_TIME] = FAKE_LATER;
        rig_pass(&r, MSEC(100));
        rig_answer(&r);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_SET_TIME], 0);
        ck_assert_int_eq(report()->verdict, CORRECTION_NONE);
        ck_assert(report()->is_before_known);
}
END_TEST

START_TEST(test_clock_that_is_off_by_policy_is_not_even_read) {
        policy()->time_sync = TIME_SYNC_OFF;
        sleep_and_wake();
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_GET_TIME], 0);
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_SET_TIME], 0);
        ck_assert_int_eq(report()->verdict, CORRECTION_NONE);
}
END_TEST

START_TEST(test_clock_under_the_threshold_is_left) {
        policy()->mode = MODE_AUTO;
        vm->offset_ns = MS(1);
        sleep_and_wake();
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_SET_TIME], 0);
        ck_assert_int_eq(report()->verdict, CORRECTION_RIGHT);
}
END_TEST

/* Its own kernel sets it by an RTC of whole seconds. */
START_TEST(test_clock_of_a_suspended_guest_is_set_too) {
        policy()->mode = MODE_AUTO;
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        vm->offset_ns = -MS(700);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(rig_machine(&r, vm)->report.stood, SUSPENDD_STATE_SUSPENDED);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        check_near(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

static const struct {
        int64_t ahead_ns, max_ns;
        CorrectionVerdict verdict;
} backwards[] = {
        { MS(1900), MS(2000), CORRECTION_SET },
        { MS(2100), MS(2000), CORRECTION_REFUSED },
        { MS(10), 0, CORRECTION_REFUSED },
};

START_TEST(test_clock_is_set_back_only_as_far_as_allowed) {
        policy()->mode = MODE_AUTO;
        policy()->backward_max_ns = backwards[_i].max_ns;
        vm->offset_ns = backwards[_i].ahead_ns;
        sleep_and_wake();
        ck_assert_int_eq(report()->verdict, backwards[_i].verdict);
        check_near(fake_vm_clock_offset_ns(vm),
                   backwards[_i].verdict == CORRECTION_SET ? 0 : backwards[_i].ahead_ns);
}
END_TEST

START_TEST(test_clock_that_does_not_hold_is_given_up) {
        vm->set_error_ns = -MS(50);
        sleep_and_wake();
        ck_assert_int_eq(report()->verdict, CORRECTION_GAVE_UP);
        ck_assert_uint_eq(report()->tries, CORRECTION_TRIES_MAX);
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_SET_TIME], CORRECTION_TRIES_MAX);
        check_near(report()->after_ns, -MS(50));
}
END_TEST

START_TEST(test_clock_that_does_not_hold_at_once_is_set_again) {
        vm->set_error_ns = -MS(50);
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        while (vm->n_acts[SUSPENDD_ACT_SET_TIME] < 2)
                ck_assert(rig_next(&r));
        vm->set_error_ns = 0;
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        check_near(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

START_TEST(test_agent_that_is_away_is_asked_when_it_is_back) {
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        vm->answers[SUSPENDD_ACT_GET_TIME] = FAKE_ERROR;
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(report()->verdict, CORRECTION_UNREACHABLE);
        ck_assert_int_eq(r.cycle->state, CYCLE_IDLE);

        vm->why_not[SUSPENDD_ACT_GET_TIME] = "the agent is away";
        fake_vm_change(vm);
        vm->answers[SUSPENDD_ACT_GET_TIME] = FAKE_LATER;
        vm->why_not[SUSPENDD_ACT_GET_TIME] = NULL;
        fake_vm_change(vm);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        check_near(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

/* A reading of a second's uncertainty says nothing against a clock that is 100 ms off. */
START_TEST(test_coarse_reading_moves_nothing) {
        policy()->mode = MODE_AUTO;
        vm->rtt_ns = MS(1000);
        vm->offset_ns = MS(100);
        sleep_and_wake();
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_SET_TIME], 0);
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_GET_TIME], CORRECTION_SAMPLES_MAX);
}
END_TEST

START_TEST(test_unannounced_sleep_is_made_up_for) {
        /* The guest lacks it: its counter stood with the host's. */
        vm->offset_ns = -600 * NSEC_PER_SEC;
        rig_jump(&r, 600 * USEC_PER_SEC, 0);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(r.finished.kind, CYCLE_KIND_UNANNOUNCED);
        ck_assert_int_eq(r.finished.slept_ns, 600 * NSEC_PER_SEC);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        check_near(fake_vm_clock_offset_ns(vm), 0);
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_RESUME], 0);
}
END_TEST

START_TEST(test_host_that_sets_its_clock_after_the_wake_takes_guests_along) {
        sleep_and_wake();
        rig_jump(&r, 0, MS(800));
        rig_pass(&r, 10 * USEC_PER_SEC);
        check_near(fake_vm_clock_offset_ns(vm), 0);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);

        /* Long after it, that is somebody's own wish for the host. */
        rig_pass(&r, 700 * USEC_PER_SEC);
        rig_jump(&r, 0, MS(800));
        rig_pass(&r, 10 * USEC_PER_SEC);
        check_near(fake_vm_clock_offset_ns(vm), -MS(800));
}
END_TEST

START_TEST(test_sync_corrects_now) {
        vm->offset_ns = -MS(500);
        ck_assert_int_eq(cycle_sync(r.cycle, rig_machine(&r, vm)), 0);
        rig_pass(&r, 10 * USEC_PER_SEC);
        check_near(fake_vm_clock_offset_ns(vm), 0);

        rig_sleep(&r);
        ck_assert_int_eq(cycle_sync(r.cycle, rig_machine(&r, vm)), -EBUSY);
        rig_wake(&r, 0);
        rig_pass(&r, 10 * USEC_PER_SEC);
        vm->why_not[SUSPENDD_ACT_SET_TIME] = "no agent";
        fake_vm_change(vm);
        ck_assert_int_eq(cycle_sync(r.cycle, rig_machine(&r, vm)), -EOPNOTSUPP);
        vm->why_not[SUSPENDD_ACT_SET_TIME] = NULL;
}
END_TEST

/* A monitor that carries out two cycles' acts at once: the last of them counts. */
START_TEST(test_clock_is_right_after_acts_that_piled_up) {
        vm->answers[SUSPENDD_ACT_PAUSE] = vm->answers[SUSPENDD_ACT_RESUME] = FAKE_NEVER;
        for (int n = 0; n < 2; n++) {
                rig_sleep(&r);
                rig_pass(&r, 5 * USEC_PER_SEC);
                rig_wake(&r, HOUR_USEC);
                rig_pass(&r, MSEC(100));
        }
        vm->offset_ns = -HOUR_NS;
        rig_answer(&r);
        ck_assert_int_eq(rig_machine(&r, vm)->state, MACHINE_CORRECTING);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        check_near(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

/* Readings from before and after a sleep must not be weighed against each other. */
START_TEST(test_reading_from_before_a_sleep_is_not_used_after_it) {
        policy()->mode = MODE_IGNORE;
        vm->rtt_ns = MS(40);
        vm->offset_ns = 0;
        ck_assert_int_eq(cycle_sync(r.cycle, rig_machine(&r, vm)), 0);
        rig_pass(&r, MSEC(30)); /* one reading, coarse: there will be more */
        ck_assert_int_eq(rig_machine(&r, vm)->state, MACHINE_CORRECTING);
        ck_assert_uint_eq(rig_machine(&r, vm)->correction.samples, 1);

        rig_sleep(&r);
        vm->offset_ns = -HOUR_NS; /* its counter stands with the host's */
        rig_wake(&r, HOUR_USEC);
        vm->rtt_ns = MS(42);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        ck_assert_int_lt(llabs(fake_vm_clock_offset_ns(vm)), MS(25));
}
END_TEST

/* the pure part */

static struct suspendd_time reading(int64_t offset_ns, int64_t rtt_ns) {
        const int64_t before_ns = 1000 * NSEC_PER_SEC;

        return (struct suspendd_time){ .guest_ns = before_ns + rtt_ns / 2 + offset_ns,
                                       .host_before_ns = before_ns,
                                       .host_after_ns = before_ns + rtt_ns };
}

START_TEST(test_offset_is_taken_at_the_middle) {
        const struct suspendd_time t = reading(MS(7), MS(4));
        int64_t offset_ns, uncertainty_ns;

        correction_offset(&t, &offset_ns, &uncertainty_ns);
        ck_assert_int_eq(offset_ns, MS(7));
        ck_assert_int_eq(uncertainty_ns, MS(2));
}
END_TEST

/* A host clock that was set back while we read makes a round trip of less than nothing. */
START_TEST(test_uncertainty_is_never_negative) {
        const struct suspendd_time t = reading(0, -MS(500));
        int64_t offset_ns, uncertainty_ns;

        correction_offset(&t, &offset_ns, &uncertainty_ns);
        ck_assert_int_ge(uncertainty_ns, 0);
}
END_TEST

START_TEST(test_tightest_of_the_readings_decides) {
        const Policy p = POLICY_DEFAULT;
        const int64_t rtts[] = { MS(40), MS(8), MS(60), MS(30) };
        Correction c = { 0 };
        CorrectionNext next = CORRECTION_NEXT_DONE;

        correction_begin(&c, USEC_INFINITY);
        for (size_t i = 0; i < ARRAY_LEN(rtts); i++) {
                const struct suspendd_time t = reading(-MS(100) - rtts[i], rtts[i]);

                next = correction_on_time(&c, &p, &t);
                if (i + 1 < ARRAY_LEN(rtts))
                        ck_assert_int_eq(next, CORRECTION_NEXT_READ);
        }
        ck_assert_int_eq(next, CORRECTION_NEXT_SET);
        ck_assert_int_eq(c.report.before_ns, -MS(108));
        ck_assert_int_eq(c.report.before_uncertainty_ns, MS(4));
        ck_assert_int_eq(correction_lead_ns(&c), MS(4));
}
END_TEST

START_TEST(test_tight_reading_needs_no_second) {
        const Policy p = POLICY_DEFAULT;
        const struct suspendd_time t = reading(MS(1), MS(1) / 2);
        Correction c = { 0 };

        correction_begin(&c, USEC_INFINITY);
        ck_assert_int_eq(correction_on_time(&c, &p, &t), CORRECTION_NEXT_DONE);
        ck_assert_int_eq(c.report.verdict, CORRECTION_RIGHT);
}
END_TEST

START_TEST(test_pauses_grow_and_end) {
        Correction c = { 0 };
        uint64_t before = 0;

        correction_begin(&c, 1000);
        for (c.report.tries = 1; c.report.tries <= 4; c.report.tries++) {
                ck_assert_uint_gt(correction_pause_usec(&c), before);
                before = correction_pause_usec(&c);
        }
        ck_assert_uint_le(before, 2 * USEC_PER_SEC);
        ck_assert_int_eq(correction_on_failure(&c, 999), CORRECTION_NEXT_PAUSE);
        ck_assert_int_eq(correction_on_failure(&c, 1000), CORRECTION_NEXT_DONE);
        ck_assert_int_eq(c.report.verdict, CORRECTION_GAVE_UP);
}
END_TEST

static void add_engine(TCase *t) {
        tcase_add_checked_fixture(t, setup, teardown);
        tcase_add_test(t, test_absolute_clock_is_set_to_the_host);
        tcase_add_test(t, test_relative_clock_keeps_its_distance);
        tcase_add_test(t, test_relative_clock_that_was_not_read_is_left);
        tcase_add_test(t, test_clock_that_is_off_by_policy_is_not_even_read);
        tcase_add_test(t, test_clock_under_the_threshold_is_left);
        tcase_add_test(t, test_clock_of_a_suspended_guest_is_set_too);
        tcase_add_loop_test(
                        t, test_clock_is_set_back_only_as_far_as_allowed, 0, ARRAY_LEN(backwards));
        tcase_add_test(t, test_clock_that_does_not_hold_is_given_up);
        tcase_add_test(t, test_clock_that_does_not_hold_at_once_is_set_again);
        tcase_add_test(t, test_agent_that_is_away_is_asked_when_it_is_back);
        tcase_add_test(t, test_coarse_reading_moves_nothing);
        tcase_add_test(t, test_unannounced_sleep_is_made_up_for);
        tcase_add_test(t, test_host_that_sets_its_clock_after_the_wake_takes_guests_along);
        tcase_add_test(t, test_sync_corrects_now);
        tcase_add_test(t, test_clock_is_right_after_acts_that_piled_up);
        tcase_add_test(t, test_reading_from_before_a_sleep_is_not_used_after_it);
}

static void add_pure(TCase *t) {
        tcase_add_test(t, test_offset_is_taken_at_the_middle);
        tcase_add_test(t, test_uncertainty_is_never_negative);
        tcase_add_test(t, test_tightest_of_the_readings_decides);
        tcase_add_test(t, test_tight_reading_needs_no_second);
        tcase_add_test(t, test_pauses_grow_and_end);
}

int main(void) {
        Suite *suite = suite_create("clock");
        TCase *engine = tcase_create("engine"), *pure = tcase_create("pure");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        if (!getenv("SUSPENDD_LOG_LEVEL"))
                log_set_max_level(LOG_EMERG);
        add_engine(engine);
        add_pure(pure);
        suite_add_tcase(suite, engine);
        suite_add_tcase(suite, pure);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
