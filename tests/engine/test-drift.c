/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a guest is told of its time, and when: by each way on which a machine can stand and run again. */

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
static char directory[] = "/tmp/suspendd-drift-XXXXXX";
static char path[64];

static void start(Mode mode) {
        Policy policy = POLICY_DEFAULT;

        policy.mode = mode;
        (void) unlink(path);
        rig_init(&r, &(RigOptions){ .delay_max_usec = 5 * USEC_PER_SEC, .journal_path = path });
        vm = rig_add(&r, "vm", &policy);
        for (int act = 0; act < SUSPENDD_ACT_MAX; act++)
                vm->answers[act] = FAKE_LATER;
        vm->is_stacking = true;
        fake_vm_start(vm);
        rig_start(&r);
}

static void setup(void) {
        if (!mkdtemp(directory))
                abort();
        (void) snprintf(path, sizeof(path), "%s/cycle", directory);
        start(MODE_PAUSE);
}

static void teardown(void) {
        rig_settle(&r);
        ck_assert_msg(!*r.fault, "%s", r.fault);
        rig_done(&r);
        (void) unlink(path);
        (void) rmdir(directory);
}

static void again(Mode mode) {
        rig_done(&r);
        start(mode);
}

static const MachineReport *report(void) {
        return &rig_machine(&r, vm)->report;
}

static unsigned n_told(enum suspendd_drift_phase phase) {
        return vm->page.n_told[phase];
}

static int64_t told_span(void) {
        return vm->page.told.to_boottime_ns - vm->page.told.from_boottime_ns;
}

static void stop(void) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(500));
}

START_TEST(test_paused_machine_is_told_at_each_step) {
        rig_sleep(&r);
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_STOPPING);
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_PAUSE], 1);
        ck_assert_uint_eq(vm->page.told.cycle, r.cycle->report.number);
        ck_assert_int_eq(vm->page.told.to_boottime_ns, 0);

        rig_pass(&r, MSEC(500));
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_STOOD);
        ck_assert_int_eq(vm->page.told.from_boottime_ns, vm->held_since_boottime_ns);

        rig_wake(&r, HOUR_USEC);
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_RUNNING);
        ck_assert_int_eq(told_span(), HOUR_NS + MS(480));
        ck_assert_int_eq(vm->page.unseen_ns, fake_vm_lost_ns(vm));

        rig_pass(&r, MSEC(20));
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_RAN);
        ck_assert_int_eq(told_span(), HOUR_NS + MS(500));
        ck_assert(!vm->page.told.is_seen);
        ck_assert_int_eq(vm->page.unseen_ns, fake_vm_lost_ns(vm));
        ck_assert_int_eq(report()->unseen_ns, HOUR_NS + MS(500));
        ck_assert_int_eq(report()->seen_ns, 0);
        for (int phase = 0; phase < SUSPENDD_DRIFT_MAX; phase++)
                ck_assert_uint_eq(n_told(phase), phase != SUSPENDD_DRIFT_LOOK);
}
END_TEST

START_TEST(test_suspend_of_its_own_is_seen) {
        again(MODE_AUTO);
        stop();
        ck_assert_int_eq(fake_vm_state(vm), SUSPENDD_STATE_SUSPENDED);
        ck_assert(vm->page.told.is_seen);
        rig_wake(&r, HOUR_USEC);
        ck_assert(vm->page.told.is_seen);
        rig_pass(&r, 1 * USEC_PER_SEC);
        ck_assert_int_eq(vm->page.seen_ns, HOUR_NS + MS(500));
        ck_assert_int_eq(vm->page.unseen_ns, 0);
        ck_assert_int_eq(report()->seen_ns, HOUR_NS + MS(500));
        ck_assert_int_eq(report()->unseen_ns, 0);
}
END_TEST

START_TEST(test_suspend_with_a_pause_on_top_is_seen) {
        again(MODE_AUTO);
        stop();
        ck_assert(fake_vm_user_pause(vm));
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 1 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(vm), SUSPENDD_STATE_RUNNING);
        ck_assert_int_ge(vm->page.seen_ns, HOUR_NS);
        ck_assert_int_eq(vm->page.unseen_ns, 0);
}
END_TEST

/* The daemon ends in between, and its next life sees but the pause. */
START_TEST(test_suspend_beneath_a_pause_is_known_by_the_next_life) {
        again(MODE_AUTO);
        stop();
        ck_assert(fake_vm_user_pause(vm));
        rig_crash(&r);
        rig_start(&r);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 1 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(vm), SUSPENDD_STATE_RUNNING);
        ck_assert_int_ge(vm->page.seen_ns, HOUR_NS);
        ck_assert_int_eq(vm->page.unseen_ns, 0);
}
END_TEST

START_TEST(test_next_life_tells_from_the_stand_and_before_it_runs) {
        stop();
        rig_crash(&r);
        rig_pass(&r, MSEC(500));
        rig_start(&r);
        rig_wake(&r, HOUR_USEC);
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_RUNNING);
        ck_assert_int_eq(told_span(), HOUR_NS + MS(980));
        rig_pass(&r, 1 * USEC_PER_SEC);
        ck_assert_int_eq(vm->page.unseen_ns, fake_vm_lost_ns(vm));
        ck_assert_int_eq(report()->unseen_ns, fake_vm_lost_ns(vm));
}
END_TEST

/* It ended between the act and its being seen: nobody knows what it lacks but the guest's lower bound. */
START_TEST(test_machine_that_ran_meanwhile_is_told_to_look) {
        stop();
        rig_wake(&r, HOUR_USEC);
        rig_crash(&r);
        rig_pass(&r, MSEC(500));
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_RUNNING);
        rig_start(&r);
        rig_pass(&r, MSEC(100));
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_LOOK);
        ck_assert_int_eq(vm->page.unseen_ns, HOUR_NS + MS(480));
}
END_TEST

START_TEST(test_retry_tells_no_more_than_is_known) {
        int64_t known_ns;

        stop();
        vm->answers[SUSPENDD_ACT_RESUME] = FAKE_NEVER;
        rig_wake(&r, HOUR_USEC);
        known_ns = vm->page.unseen_ns;
        rig_pass(&r, 10 * USEC_PER_SEC);
        ck_assert_uint_gt(vm->n_acts[SUSPENDD_ACT_RESUME], 1);
        ck_assert_uint_eq(n_told(SUSPENDD_DRIFT_RUNNING), vm->n_acts[SUSPENDD_ACT_RESUME]);
        ck_assert_int_eq(vm->page.unseen_ns, known_ns);
        rig_answer(&r);
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_RAN);
        ck_assert_int_eq(vm->page.unseen_ns, fake_vm_lost_ns(vm));
}
END_TEST

/* One that was refused is known to stand on. */
START_TEST(test_retry_after_a_refusal_tells_all) {
        stop();
        vm->answers[SUSPENDD_ACT_RESUME] = FAKE_ERROR;
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 10 * USEC_PER_SEC);
        ck_assert_uint_gt(n_told(SUSPENDD_DRIFT_RUNNING), 2);
        ck_assert_int_eq(
                        vm->page.unseen_ns,
                        vm->page.told.host_boottime_ns - vm->held_since_boottime_ns);
}
END_TEST

/* Suspended, awake by itself, and then paused, for another one is still waited for. */
START_TEST(test_machine_that_woke_early_has_both) {
        Policy policy = POLICY_DEFAULT;
        FakeVm *slow;

        again(MODE_AUTO);
        policy.mode = MODE_PAUSE;
        slow = rig_add(&r, "slow", &policy);
        slow->answers[SUSPENDD_ACT_PAUSE] = FAKE_NEVER;
        fake_vm_start(slow);
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        ck_assert(fake_vm_guest_wake(vm));
        ck_assert_uint_eq(n_told(SUSPENDD_DRIFT_RAN), 1);
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_STOPPING);
        ck_assert_int_eq(vm->page.seen_ns, MS(80));
        rig_pass(&r, 5 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(vm), SUSPENDD_STATE_PAUSED);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 1 * USEC_PER_SEC);
        ck_assert_int_eq(vm->page.seen_ns, MS(80));
        ck_assert_int_eq(vm->page.unseen_ns, fake_vm_lost_ns(vm));
        ck_assert_int_eq(report()->seen_ns, MS(80));
        ck_assert_int_eq(report()->unseen_ns, fake_vm_lost_ns(vm));
}
END_TEST

START_TEST(test_machine_that_another_hand_resumes_is_told) {
        stop();
        ck_assert(fake_vm_user_resume(vm));
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_RAN);
        ck_assert_int_eq(vm->page.unseen_ns, fake_vm_lost_ns(vm));
        ck_assert(fake_vm_user_pause(vm));
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 1 * USEC_PER_SEC);
        /* That pause is not ours. */
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_RAN);
        ck_assert_int_eq(vm->page.unseen_ns, MS(480));
        ck_assert(fake_vm_user_resume(vm));
}
END_TEST

START_TEST(test_spans_of_many_cycles_add_up) {
        int64_t stopped_ns = 0;

        for (int n = 0; n < 20; n++) {
                stop();
                rig_wake(&r, (uint64_t) n * 60 * USEC_PER_SEC);
                rig_pass(&r, 60 * USEC_PER_SEC);
                stopped_ns += report()->stopped_ns;
        }
        ck_assert_int_eq(vm->page.unseen_ns, stopped_ns);
        ck_assert_int_eq(vm->page.unseen_ns, fake_vm_lost_ns(vm));
}
END_TEST

/* A second sleep while it is being woken: each of its parts is counted in its cycle. */
START_TEST(test_span_over_two_cycles_is_counted_once) {
        stop();
        vm->answers[SUSPENDD_ACT_RESUME] = FAKE_ERROR;
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, MSEC(100));
        stop();
        vm->answers[SUSPENDD_ACT_RESUME] = FAKE_LATER;
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 1 * USEC_PER_SEC);
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_RAN);
        ck_assert_int_eq(vm->page.unseen_ns, fake_vm_lost_ns(vm));
        ck_assert_int_lt(report()->stopped_ns, HOUR_NS + MS(1000));
}
END_TEST

/* what runs through it */

START_TEST(test_machine_that_is_left_alone_is_told_to_look) {
        again(MODE_IGNORE);
        stop();
        ck_assert_uint_eq(n_told(SUSPENDD_DRIFT_STOPPING), 0);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 1 * USEC_PER_SEC);
        ck_assert_uint_eq(n_told(SUSPENDD_DRIFT_LOOK), 1);
        ck_assert_uint_eq(n_told(SUSPENDD_DRIFT_RAN), 0);
}
END_TEST

/* Whatever was announced to its guest does not happen. */
START_TEST(test_machine_that_never_stood_is_told_to_look) {
        vm->answers[SUSPENDD_ACT_PAUSE] = FAKE_ERROR;
        stop();
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_STOPPING);
        rig_wake(&r, 0);
        rig_pass(&r, 1 * USEC_PER_SEC);
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_LOOK);
        ck_assert_int_eq(vm->page.unseen_ns, 0);
}
END_TEST

START_TEST(test_sleep_that_nobody_announced_is_looked_at) {
        rig_jump(&r, 600 * USEC_PER_SEC, 0);
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_LOOK);
        ck_assert_int_eq(vm->page.unseen_ns, 0);
}
END_TEST

START_TEST(test_step_of_the_host_clock_is_looked_at) {
        rig_jump(&r, 0, MS(700));
        ck_assert_int_eq(vm->page.told.phase, SUSPENDD_DRIFT_LOOK);
        ck_assert_int_eq(vm->page.told.host_stepped_ns, MS(700));
        rig_pass(&r, HOUR_USEC);
        rig_jump(&r, 0, -MS(1900));
        ck_assert_uint_eq(n_told(SUSPENDD_DRIFT_LOOK), 2);
        ck_assert_int_eq(vm->page.told.host_stepped_ns, -MS(1200));
        ck_assert_int_eq(vm->page.told.host_realtime_ns, r.clock.realtime_ns);

        ck_assert(fake_vm_user_pause(vm));
        rig_jump(&r, 0, MS(700));
        ck_assert_uint_eq(n_told(SUSPENDD_DRIFT_LOOK), 2);
        ck_assert(fake_vm_user_resume(vm));
}
END_TEST

START_TEST(test_without_a_plugin_for_it_nothing_is_told_and_all_is_counted) {
        r.cycle->has_drift = false;
        vm->page.is_missing = true; /* what is asked of it is not held against the page then */
        stop();
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 1 * USEC_PER_SEC);
        for (int phase = 0; phase < SUSPENDD_DRIFT_MAX; phase++)
                ck_assert_uint_eq(n_told(phase), 0);
        ck_assert_int_eq(report()->unseen_ns, HOUR_NS + MS(500));
}
END_TEST

static void add(TCase *t) {
        tcase_add_checked_fixture(t, setup, teardown);
        tcase_add_test(t, test_paused_machine_is_told_at_each_step);
        tcase_add_test(t, test_suspend_of_its_own_is_seen);
        tcase_add_test(t, test_suspend_with_a_pause_on_top_is_seen);
        tcase_add_test(t, test_suspend_beneath_a_pause_is_known_by_the_next_life);
        tcase_add_test(t, test_next_life_tells_from_the_stand_and_before_it_runs);
        tcase_add_test(t, test_machine_that_ran_meanwhile_is_told_to_look);
        tcase_add_test(t, test_retry_tells_no_more_than_is_known);
        tcase_add_test(t, test_retry_after_a_refusal_tells_all);
        tcase_add_test(t, test_machine_that_woke_early_has_both);
        tcase_add_test(t, test_machine_that_another_hand_resumes_is_told);
        tcase_add_test(t, test_spans_of_many_cycles_add_up);
        tcase_add_test(t, test_span_over_two_cycles_is_counted_once);
        tcase_add_test(t, test_machine_that_is_left_alone_is_told_to_look);
        tcase_add_test(t, test_machine_that_never_stood_is_told_to_look);
        tcase_add_test(t, test_sleep_that_nobody_announced_is_looked_at);
        tcase_add_test(t, test_step_of_the_host_clock_is_looked_at);
        tcase_add_test(t, test_without_a_plugin_for_it_nothing_is_told_and_all_is_counted);
}

int main(void) {
        Suite *suite = suite_create("drift");
        TCase *tcase = tcase_create("drift");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        if (!getenv("SUSPENDD_LOG_LEVEL"))
                log_set_max_level(LOG_EMERG);
        add(tcase);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
