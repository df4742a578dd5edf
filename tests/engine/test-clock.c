/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What becomes of a guest's clock: the pure decisions, and the engine that carries them out. */

#include <check.h>
#include <json-c/json.h>
#include <limits.h>
#include "common/json-bounded.h"
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
        vm->answers[SUSPENDD_ACT_SET_TIME] = FAKE_LIE;
        sleep_and_wake();
        ck_assert_int_eq(report()->verdict, CORRECTION_GAVE_UP);
        ck_assert_int_eq(report()->repaired_by, CORRECTION_BY_NONE);
        ck_assert_uint_eq(report()->tries, CORRECTION_TRIES_MAX);
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_SET_TIME], CORRECTION_TRIES_MAX);
        check_near(report()->after_ns, -(HOUR_NS + MS(1000)));
}
END_TEST

/* What comes late by the same each time is sent earlier. */
START_TEST(test_way_to_the_guest_is_learned) {
        vm->set_error_ns = -MS(50);
        sleep_and_wake();
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        ck_assert_int_eq(report()->repaired_by, CORRECTION_BY_AGENT);
        ck_assert_uint_eq(report()->tries, 3);
        ck_assert_int_eq(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

/* Runs the engine until the clock has been set @n times; the last of them will be off by that. */
static void miss(unsigned n, int64_t error_ns) {
        while (vm->n_acts[SUSPENDD_ACT_SET_TIME] < n)
                ck_assert(rig_next(&r));
        vm->set_error_ns = error_ns;
}

/* What comes late by chance is not taken for the way: the shortest is, and there are tries enough to learn it. */
static const struct {
        int64_t error_ns,
                        ahead_ns; /* how much too late it is set, and what it is sent ahead for the way known by then */
} held_up[] = {
        { -MS(50), 0 }, { -MS(30), 0 }, { -MS(40), MS(30) }, { 0, MS(30) }, { 0, 0 },
};

START_TEST(test_chance_teaches_no_way) {
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        for (unsigned i = 0; i < ARRAY_LEN(held_up); i++) {
                miss(i + 1, held_up[i].error_ns);
                ck_assert_int_eq(vm->last_lead_ns - vm->rtt_ns / 2, held_up[i].ahead_ns);
        }
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        ck_assert_uint_eq(report()->tries, ARRAY_LEN(held_up));
        ck_assert_int_eq(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

/* A set that seems to have arrived before it was sent: somebody else has moved that clock meanwhile. */
START_TEST(test_clock_that_another_moves_teaches_no_way) {
        static const int64_t errors_ns[] = { MS(50), -MS(10), -MS(10), 0 };

        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        for (unsigned i = 0; i < ARRAY_LEN(errors_ns); i++) {
                miss(i + 1, errors_ns[i]);
                ck_assert_int_ge(vm->last_lead_ns, vm->rtt_ns / 2);
        }
        vm->set_error_ns = -MS(10);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        check_near(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

/* Held up by less than the threshold: one more try, and no more. */
START_TEST(test_set_clock_is_refined_once) {
        vm->set_error_ns = -MS(1);
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        while (vm->n_acts[SUSPENDD_ACT_SET_TIME] < 2)
                ck_assert(rig_next(&r));
        vm->set_error_ns = 0;
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        ck_assert_uint_eq(report()->tries, 2);
        ck_assert_int_eq(fake_vm_clock_offset_ns(vm), 0);
        ck_assert_uint_eq(
                        report()->set_after_usec,
                        MSEC(20)); /* right by then, if not to the last bit */

        vm->set_error_ns = -MS(1);
        sleep_and_wake();
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        ck_assert_uint_eq(report()->tries, 2);
        ck_assert_int_eq(fake_vm_clock_offset_ns(vm), -MS(1));

        vm->set_error_ns = MS(1);
        /* Not where that would be a step backwards that is not allowed. */
        policy()->backward_max_ns = 0;
        sleep_and_wake();
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        ck_assert_uint_eq(report()->tries, 1);
        ck_assert_int_eq(fake_vm_clock_offset_ns(vm), MS(1));
}
END_TEST

START_TEST(test_clock_that_does_not_hold_at_once_is_set_again) {
        vm->answers[SUSPENDD_ACT_SET_TIME] = FAKE_LIE;
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        while (vm->n_acts[SUSPENDD_ACT_SET_TIME] < 2)
                ck_assert(rig_next(&r));
        vm->answers[SUSPENDD_ACT_SET_TIME] = FAKE_LATER;
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

/* with a reader in the guest */

static void with_reader(FakeReader reader) {
        reader.is_there = true;
        vm->page.reader = reader;
        vm->page.answer.corrects_realtime = vm->page.answer.is_current = 1;
}

/* Goes to where it is first read. Returns: how long after its running again, in µs. */
static uint64_t wait_for_reading(void) {
        uint64_t ran_usec;

        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        while (vm->page.n_told[SUSPENDD_DRIFT_RAN] == 0)
                ck_assert(rig_next(&r));
        ran_usec = rig_now_usec(&r);
        while (vm->n_acts[SUSPENDD_ACT_GET_TIME] == 0)
                ck_assert(rig_next(&r));
        return rig_now_usec(&r) - ran_usec;
}

START_TEST(test_page_without_a_reader_delays_nothing) {
        ck_assert_uint_eq(wait_for_reading(), 0);
        rig_pass(&r, 10 * USEC_PER_SEC);
        ck_assert_uint_eq(vm->page.n_told[SUSPENDD_DRIFT_RAN], 1);
        ck_assert_int_eq(report()->repaired_by, CORRECTION_BY_AGENT);
}
END_TEST

START_TEST(test_reader_goes_first_and_is_verified) {
        with_reader((FakeReader){ .late_usec = MSEC(10) });
        ck_assert_uint_le(wait_for_reading(), MSEC(20));
        ck_assert(vm->page.answer.is_current);
        rig_pass(&r, 10 * USEC_PER_SEC);
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_SET_TIME], 0);
        ck_assert_int_eq(report()->verdict, CORRECTION_RIGHT);
        ck_assert_int_eq(report()->repaired_by, CORRECTION_BY_PAGE);
        ck_assert_int_eq(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

START_TEST(test_reader_that_misses_the_mark_is_helped) {
        with_reader((FakeReader){ .late_usec = MSEC(10), .error_ns = -MS(40) });
        sleep_and_wake();
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        ck_assert_int_eq(report()->repaired_by, CORRECTION_BY_AGENT);
        check_near(report()->before_ns, -MS(40));
        check_near(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

START_TEST(test_reader_that_is_dead_is_not_waited_for_long) {
        with_reader((FakeReader){ .is_stuck = true });
        ck_assert_uint_le(wait_for_reading(), MSEC(310));
        rig_pass(&r, 10 * USEC_PER_SEC);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        ck_assert_int_eq(report()->repaired_by, CORRECTION_BY_AGENT);
        ck_assert_int_eq(r.cycle->state, CYCLE_IDLE);
        ck_assert_uint_lt(r.finished.finished_after_usec, 6 * USEC_PER_SEC);
        check_near(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

/* One that comes late finds a clock that is right, and leaves it. */
START_TEST(test_late_reader_applies_nothing_twice) {
        with_reader((FakeReader){ .late_usec = MSEC(1500), .is_guarding = true });
        sleep_and_wake();
        ck_assert_int_gt(vm->page.answer.refused_ns, 0);
        ck_assert_int_eq(report()->repaired_by, CORRECTION_BY_AGENT);
        ck_assert_uint_eq(report()->tries, 1);
        check_near(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

/* One that does not look first has moved it twice: that is seen, and undone as far as is allowed. */
START_TEST(test_late_reader_that_applies_it_twice_is_undone) {
        with_reader((FakeReader){ .late_usec = MSEC(1500) });
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, 0);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(vm->page.answer.refused_ns, 0);
        ck_assert_uint_eq(report()->tries, 2);
        ck_assert_int_eq(report()->verdict, CORRECTION_SET);
        check_near(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

START_TEST(test_guest_without_an_agent_is_repaired_by_its_reader) {
        vm->why_not[SUSPENDD_ACT_GET_TIME] = vm->why_not[SUSPENDD_ACT_SET_TIME] = "no agent";
        fake_vm_change(vm);
        with_reader((FakeReader){ .late_usec = MSEC(10) });
        sleep_and_wake();
        ck_assert_int_eq(report()->verdict, CORRECTION_NONE);
        ck_assert_int_eq(report()->repaired_by, CORRECTION_BY_PAGE);
        ck_assert_int_eq(fake_vm_clock_offset_ns(vm), 0);
}
END_TEST

/* It kept its clock through the stop: what was published is refused by it. */
START_TEST(test_reader_that_refuses_has_repaired_nothing) {
        with_reader((FakeReader){ .late_usec = MSEC(10) });
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        while (vm->page.n_told[SUSPENDD_DRIFT_RAN] == 0)
                ck_assert(rig_next(&r));
        vm->offset_ns = 0;
        vm->page.n_sets = 1; /* as if somebody had set it */
        vm->page.reader.is_guarding = true;
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_gt(vm->page.answer.refused_ns, 0);
        ck_assert_int_eq(report()->verdict, CORRECTION_RIGHT);
        ck_assert_int_eq(report()->repaired_by, CORRECTION_BY_NONE);
}
END_TEST

START_TEST(test_guest_that_suspended_itself_is_repaired_by_its_kernel) {
        policy()->mode = MODE_AUTO;
        with_reader((FakeReader){ .late_usec = MSEC(10) });
        sleep_and_wake();
        ck_assert_int_eq(rig_machine(&r, vm)->report.stood, SUSPENDD_STATE_SUSPENDED);
        ck_assert_int_eq(report()->verdict, CORRECTION_RIGHT);
        ck_assert_int_eq(report()->repaired_by, CORRECTION_BY_KERNEL);
}
END_TEST

START_TEST(test_guest_that_lost_nothing_was_repaired_by_none) {
        policy()->mode = MODE_IGNORE;
        sleep_and_wake();
        ck_assert_int_eq(report()->verdict, CORRECTION_RIGHT);
        ck_assert_int_eq(report()->repaired_by, CORRECTION_BY_NONE);
}
END_TEST

/* the host's clock is set after the wake: +0.7 s, 3 s later */

static JsonObject *recorded_machine(JsonObject **ret_record) {
        JsonObject *machines = NULL;

        *ret_record = json_tokener_parse(r.record);
        ck_assert(json_object_object_get_ex(*ret_record, "machines", &machines));
        return json_object_array_get_idx(machines, 0);
}

static int64_t number_at(JsonObject *o, const char *key) {
        JsonObject *value = NULL;

        ck_assert_msg(json_object_object_get_ex(o, key, &value), "%s", key);
        return json_object_get_int64(value);
}

static JsonObject *object_at(JsonObject *o, const char *key) {
        JsonObject *value = NULL;

        ck_assert_msg(json_object_object_get_ex(o, key, &value), "%s", key);
        return value;
}

static void step_after_wake(void) {
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 3 * USEC_PER_SEC);
        ck_assert_int_eq(r.cycle->state, CYCLE_IDLE);
        rig_jump(&r, 0, MS(700));
        rig_pass(&r, 10 * USEC_PER_SEC);
}

START_TEST(test_history_shows_both_corrections) {
        JsonObject *record, *machine, *later, *time;

        step_after_wake();
        check_near(fake_vm_clock_offset_ns(vm), 0);
        ck_assert_uint_eq(r.n_milestones[CYCLE_AMENDED], 1);

        machine = recorded_machine(&record);
        check_near(number_at(object_at(machine, "time"), "before_ns"), -(HOUR_NS + MS(1000)));
        later = object_at(machine, "later");
        ck_assert_uint_eq(json_object_array_length(later), 1);
        later = json_object_array_get_idx(later, 0);
        ck_assert_int_eq(number_at(later, "host_clock_stepped_ns"), MS(700));
        ck_assert_str_eq(json_object_get_string(object_at(later, "cause")), "host-clock");
        time = object_at(later, "time");
        check_near(number_at(time, "before_ns"), -MS(700));
        check_near(number_at(time, "after_ns"), 0);
        ck_assert_str_eq(json_object_get_string(object_at(time, "repaired_by")), "agent");
        json_object_put(record);
}
END_TEST

START_TEST(test_step_amidst_the_correction_keeps_what_was_read) {
        JsonObject *record, *machine;

        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        while (vm->n_acts[SUSPENDD_ACT_SET_TIME] == 0)
                ck_assert(rig_next(&r));
        rig_jump(&r, 0, MS(700));
        rig_pass(&r, 10 * USEC_PER_SEC);
        check_near(fake_vm_clock_offset_ns(vm), 0);
        machine = recorded_machine(&record);
        check_near(report()->before_ns, -(HOUR_NS + MS(1000)));
        ck_assert_uint_eq(json_object_array_length(object_at(machine, "later")), 0);
        ck_assert_int_eq(number_at(object_at(machine, "time"), "host_clock_stepped_ns"), MS(700));
        json_object_put(record);
}
END_TEST

START_TEST(test_later_corrections_are_bounded_and_the_newest_is_kept) {
        JsonObject *record, *later;

        step_after_wake();
        for (int n = 0; n < 20; n++) {
                rig_jump(&r, 0, MS(100 + n));
                rig_pass(&r, 2 * USEC_PER_SEC);
        }
        later = object_at(recorded_machine(&record), "later");
        ck_assert_uint_eq(json_object_array_length(later), CORRECTION_ENTRIES_MAX - 1);
        later = json_object_array_get_idx(later, CORRECTION_ENTRIES_MAX - 2);
        ck_assert_int_eq(number_at(later, "host_clock_stepped_ns"), MS(119));
        json_object_put(record);
}
END_TEST

START_TEST(test_agent_that_came_back_is_in_the_history) {
        JsonObject *record, *later;

        vm->answers[SUSPENDD_ACT_GET_TIME] = FAKE_ERROR;
        sleep_and_wake();
        ck_assert_uint_eq(r.n_milestones[CYCLE_AMENDED], 0);
        vm->why_not[SUSPENDD_ACT_GET_TIME] = "the agent is away";
        fake_vm_change(vm);
        vm->answers[SUSPENDD_ACT_GET_TIME] = FAKE_LATER;
        vm->why_not[SUSPENDD_ACT_GET_TIME] = NULL;
        fake_vm_change(vm);
        rig_pass(&r, 10 * USEC_PER_SEC);
        later = object_at(recorded_machine(&record), "later");
        ck_assert_uint_eq(json_object_array_length(later), 1);
        later = json_object_array_get_idx(later, 0);
        ck_assert_str_eq(json_object_get_string(object_at(later, "cause")), "agent");
        json_object_put(record);
}
END_TEST

START_TEST(test_record_tells_of_page_and_answer) {
        JsonObject *record, *machine;

        with_reader((FakeReader){ .late_usec = MSEC(10) });
        sleep_and_wake();
        machine = recorded_machine(&record);
        ck_assert_str_eq(json_object_get_string(object_at(machine, "page")), "vm");
        ck_assert_int_eq(number_at(object_at(machine, "answer"), "applied_ns"), HOUR_NS + MS(1000));
        ck_assert_str_eq(
                        json_object_get_string(
                                        object_at(object_at(machine, "time"), "repaired_by")),
                        "page");
        json_object_put(record);

        vm->page.is_missing = true;
        sleep_and_wake();
        machine = recorded_machine(&record);
        ck_assert_ptr_null(object_at(machine, "page"));
        ck_assert_ptr_null(object_at(machine, "answer"));
        json_object_put(record);
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

        correction_begin(&c, 0, USEC_INFINITY);
        for (size_t i = 0; i < ARRAY_LEN(rtts); i++) {
                const struct suspendd_time t = reading(-MS(100) - rtts[i], rtts[i]);

                next = correction_on_time(&c, &p, &t, 0);
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

        correction_begin(&c, 0, USEC_INFINITY);
        ck_assert_int_eq(correction_on_time(&c, &p, &t, 0), CORRECTION_NEXT_DONE);
        ck_assert_int_eq(c.report.verdict, CORRECTION_RIGHT);
}
END_TEST

/* A guest may say anything. */
START_TEST(test_nonsense_is_bounded) {
        const int64_t nonsense[] = { INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX - 1, INT64_MAX };
        const Policy p = POLICY_DEFAULT;

        for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
                struct suspendd_time t = reading(0, MS(1) / 2);
                Correction c = { .is_ahead_known = true, .ahead_ns = -(INT64_MAX / 4) };
                int64_t offset_ns, uncertainty_ns;

                t.host_before_ns += INT64_C(1700000000) * NSEC_PER_SEC;
                t.host_after_ns += INT64_C(1700000000) * NSEC_PER_SEC;
                t.guest_ns = nonsense[i];
                correction_offset(&t, &offset_ns, &uncertainty_ns);
                ck_assert((offset_ns < 0) == (nonsense[i] < t.host_before_ns));
                ck_assert_int_le(llabs(offset_ns), INT64_MAX / 4);

                correction_begin(&c, 0, USEC_INFINITY);
                (void) correction_on_time(&c, &p, &t, 0);
                (void) correction_on_set(&c, 0, 0);
                (void) correction_on_time(&c, &p, &t, 0);
                ck_assert_int_le(llabs(correction_lead_ns(&c)), INT64_MAX / 4 + MS(1000));
        }
}
END_TEST

/* Whether an hour is lacking is clear after the first; a close decision is given all readings. */
START_TEST(test_clear_decision_is_not_put_off) {
        const Policy p = POLICY_DEFAULT;
        const struct suspendd_time far = reading(-HOUR_NS, MS(30)), near = reading(-MS(20), MS(30));
        Correction c = { 0 };

        correction_begin(&c, 0, USEC_INFINITY);
        ck_assert_int_eq(correction_on_time(&c, &p, &far, MSEC(30)), CORRECTION_NEXT_READ);
        ck_assert_int_eq(correction_on_time(&c, &p, &far, MSEC(60)), CORRECTION_NEXT_READ);
        ck_assert_int_eq(correction_on_time(&c, &p, &far, MSEC(90)), CORRECTION_NEXT_SET);

        correction_begin(&c, 0, USEC_INFINITY);
        for (uint64_t n = 1; n < CORRECTION_SAMPLES_MAX; n++)
                ck_assert_int_eq(
                                correction_on_time(&c, &p, &near, n * MSEC(60)),
                                CORRECTION_NEXT_READ);
        ck_assert_int_eq(correction_on_time(&c, &p, &near, MSEC(400)), CORRECTION_NEXT_SET);
}
END_TEST

/* However long a guest was not reached, its clock is set once; but not for ever. */
START_TEST(test_no_second_set_follows_the_limit) {
        const Policy p = POLICY_DEFAULT;
        const struct suspendd_time far = reading(-HOUR_NS, MS(1)), near = reading(-MS(1), 0);
        Correction c = { 0 };

        correction_begin(&c, 0, MSEC(1000));
        ck_assert_int_eq(correction_on_time(&c, &p, &far, MSEC(1000)), CORRECTION_NEXT_SET);
        ck_assert_int_eq(correction_on_set(&c, 0, MSEC(1010)), CORRECTION_NEXT_PAUSE);
        ck_assert_int_eq(correction_on_time(&c, &p, &far, MSEC(1030)), CORRECTION_NEXT_DONE);
        ck_assert_int_eq(c.report.verdict, CORRECTION_GAVE_UP);

        correction_begin(&c, 0, MSEC(1000));
        ck_assert_int_eq(correction_on_time(&c, &p, &far, MSEC(10)), CORRECTION_NEXT_SET);
        ck_assert_int_eq(correction_on_set(&c, 0, MSEC(20)), CORRECTION_NEXT_PAUSE);
        ck_assert_int_eq(correction_on_time(&c, &p, &far, MSEC(990)), CORRECTION_NEXT_SET);
        ck_assert_int_eq(correction_on_set(&c, 0, MSEC(995)), CORRECTION_NEXT_PAUSE);
        ck_assert_int_eq(correction_on_time(&c, &p, &near, MSEC(1000)), CORRECTION_NEXT_DONE);
        ck_assert_int_eq(c.report.verdict, CORRECTION_SET);
}
END_TEST

START_TEST(test_pauses_grow_and_end) {
        Correction c = { 0 };
        uint64_t before = 0;

        correction_begin(&c, 0, 1000);
        for (c.report.tries = 1; c.report.tries <= 4; c.report.tries++) {
                ck_assert_uint_gt(correction_pause_usec(&c), before);
                before = correction_pause_usec(&c);
        }
        ck_assert_uint_le(before, 2 * USEC_PER_SEC);
        before = 0;
        for (c.failures = 1; c.failures <= 4; c.failures++) {
                ck_assert_uint_gt(correction_pause_usec(&c), before);
                before = correction_pause_usec(&c);
        }
        c.failures = UINT_MAX;
        ck_assert_uint_le(correction_pause_usec(&c), MSEC(250));
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
        tcase_add_test(t, test_way_to_the_guest_is_learned);
        tcase_add_test(t, test_chance_teaches_no_way);
        tcase_add_test(t, test_clock_that_another_moves_teaches_no_way);
        tcase_add_test(t, test_set_clock_is_refined_once);
        tcase_add_test(t, test_clock_that_does_not_hold_at_once_is_set_again);
        tcase_add_test(t, test_agent_that_is_away_is_asked_when_it_is_back);
        tcase_add_test(t, test_coarse_reading_moves_nothing);
        tcase_add_test(t, test_unannounced_sleep_is_made_up_for);
        tcase_add_test(t, test_host_that_sets_its_clock_after_the_wake_takes_guests_along);
        tcase_add_test(t, test_sync_corrects_now);
        tcase_add_test(t, test_clock_is_right_after_acts_that_piled_up);
        tcase_add_test(t, test_reading_from_before_a_sleep_is_not_used_after_it);
        tcase_add_test(t, test_page_without_a_reader_delays_nothing);
        tcase_add_test(t, test_reader_goes_first_and_is_verified);
        tcase_add_test(t, test_reader_that_misses_the_mark_is_helped);
        tcase_add_test(t, test_reader_that_is_dead_is_not_waited_for_long);
        tcase_add_test(t, test_late_reader_applies_nothing_twice);
        tcase_add_test(t, test_late_reader_that_applies_it_twice_is_undone);
        tcase_add_test(t, test_guest_without_an_agent_is_repaired_by_its_reader);
        tcase_add_test(t, test_reader_that_refuses_has_repaired_nothing);
        tcase_add_test(t, test_guest_that_suspended_itself_is_repaired_by_its_kernel);
        tcase_add_test(t, test_guest_that_lost_nothing_was_repaired_by_none);
        tcase_add_test(t, test_history_shows_both_corrections);
        tcase_add_test(t, test_step_amidst_the_correction_keeps_what_was_read);
        tcase_add_test(t, test_later_corrections_are_bounded_and_the_newest_is_kept);
        tcase_add_test(t, test_agent_that_came_back_is_in_the_history);
        tcase_add_test(t, test_record_tells_of_page_and_answer);
}

static void add_pure(TCase *t) {
        tcase_add_test(t, test_offset_is_taken_at_the_middle);
        tcase_add_test(t, test_uncertainty_is_never_negative);
        tcase_add_test(t, test_tightest_of_the_readings_decides);
        tcase_add_test(t, test_tight_reading_needs_no_second);
        tcase_add_test(t, test_nonsense_is_bounded);
        tcase_add_test(t, test_clear_decision_is_not_put_off);
        tcase_add_test(t, test_no_second_set_follows_the_limit);
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
