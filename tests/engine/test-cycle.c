/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One behaviour of the engine at a time: budget, overtaking, turning round, distrust, stragglers. */

#include <check.h>
#include "common/time-util.h"
#include "daemon/log.h"
#include "rig.h"

#define HOUR_USEC (3600 * USEC_PER_SEC)
#define MSEC(_n) ((_n) *USEC_PER_MSEC)

static Rig r;
static FakeVm *a, *b; /* with an agent; without */

static void start(uint64_t delay_max_usec) {
        const Policy policy = POLICY_DEFAULT;

        rig_init(&r, &(RigOptions){ .delay_max_usec = delay_max_usec });
        r.wants_records = true;
        a = rig_add(&r, "a", &policy);
        b = rig_add(&r, "b", &policy);
        b->why_not[SUSPENDD_ACT_SUSPEND] = b->why_not[SUSPENDD_ACT_GET_TIME] =
                        b->why_not[SUSPENDD_ACT_SET_TIME] = "no guest agent";
        for (int act = 0; act < SUSPENDD_ACT_MAX; act++)
                a->answers[act] = b->answers[act] = FAKE_LATER;
        a->is_stacking = true;
        fake_vm_start(a);
        fake_vm_start(b);
        rig_start(&r);
}

static void setup(void) {
        start(5 * USEC_PER_SEC);
}

static void teardown(void) {
        rig_settle(&r);
        ck_assert_msg(!*r.fault, "%s", r.fault);
        rig_done(&r);
}

static uint64_t released_after(void) {
        ck_assert_msg(!r.is_locked, "the lock is still held");
        return r.released_usec - r.announced_usec;
}

static const MachineReport *report(const FakeVm *vm) {
        return &rig_machine(&r, vm)->report;
}

/* The whole sleep, with as much time before and after it as anything takes. */
static void sleep_and_wake(void) {
        rig_sleep(&r);
        rig_pass(&r, 5 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
}

/* the budget */

START_TEST(test_lock_goes_as_soon_as_all_stand) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        ck_assert_uint_eq(released_after(), MSEC(20));
        ck_assert_int_eq(report(a)->stood, SUSPENDD_STATE_SUSPENDED);
        ck_assert_int_eq(report(b)->stood, SUSPENDD_STATE_PAUSED);
        ck_assert(!r.cycle->report.is_overdue);
}
END_TEST

static const struct {
        uint64_t delay_max_usec, deadline_usec;
} deadlines[] = {
        { 5 * USEC_PER_SEC, MSEC(4410) },    /* (5 s - 0.1 s) × 0.9 */
        { 1 * USEC_PER_SEC, MSEC(810) },     /* (1 s - 0.1 s) × 0.9 */
        { MSEC(200), MSEC(162) },            /* the reserve is a tenth of less */
        { USEC_INFINITY, 9 * USEC_PER_SEC }, /* our own cap × 0.9 */
        { 60 * USEC_PER_SEC, 9 * USEC_PER_SEC },
};

START_TEST(test_lock_goes_at_the_deadline) {
        rig_delay_max(&r, deadlines[_i].delay_max_usec);
        b->answers[SUSPENDD_ACT_PAUSE] = FAKE_NEVER;
        rig_sleep(&r);
        rig_pass(&r, deadlines[_i].deadline_usec - 1);
        ck_assert(r.is_locked);
        rig_pass(&r, 1);
        ck_assert_uint_eq(released_after(), deadlines[_i].deadline_usec);
        ck_assert(r.cycle->report.is_overdue);
        ck_assert(report(b)->is_failed);
        /* The other one was not held up by it. */
        ck_assert_uint_eq(report(a)->stood_after_usec, MSEC(20));
}
END_TEST

START_TEST(test_without_a_delay_all_are_paused_at_once) {
        rig_delay_max(&r, 0);
        rig_sleep(&r);
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_PAUSE], 1);
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_SUSPEND], 0);
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_GET_TIME], 0);
        rig_pass(&r, MSEC(20));
        ck_assert(!r.is_locked);
        ck_assert(!r.cycle->report.budget.is_protected);
        ck_assert_ptr_nonnull(strstr(report(a)->why, "InhibitDelayMaxSec=0"));
}
END_TEST

START_TEST(test_budget_that_shrinks_holds_from_now) {
        b->answers[SUSPENDD_ACT_PAUSE] = FAKE_NEVER;
        rig_sleep(&r);
        rig_pass(&r, MSEC(200));
        rig_delay_max(&r, 1 * USEC_PER_SEC);
        rig_pass(&r, MSEC(610));
        ck_assert_uint_eq(released_after(), MSEC(810));
}
END_TEST

START_TEST(test_budget_that_grows_holds_from_now) {
        rig_delay_max(&r, 1 * USEC_PER_SEC);
        b->answers[SUSPENDD_ACT_PAUSE] = FAKE_NEVER;
        rig_sleep(&r);
        rig_pass(&r, MSEC(500));
        rig_delay_max(&r, 5 * USEC_PER_SEC);
        rig_pass(&r, 5 * USEC_PER_SEC);
        ck_assert_uint_eq(released_after(), MSEC(4410));
}
END_TEST

START_TEST(test_suspend_is_overtaken_at_its_share) {
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_LIE;
        rig_sleep(&r);
        rig_pass(&r, MSEC(2939));
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_PAUSE], 0);
        rig_pass(&r, MSEC(1)); /* 60 % of 4.9 s */
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_PAUSE], 1);
        rig_pass(&r, MSEC(20));
        ck_assert_uint_eq(released_after(), MSEC(2960));
        ck_assert_int_eq(report(a)->stood, SUSPENDD_STATE_PAUSED);
}
END_TEST

START_TEST(test_refused_suspend_is_paused_at_once) {
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_REFUSE;
        rig_sleep(&r);
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_PAUSE], 1);
        rig_pass(&r, MSEC(20));
        ck_assert_uint_eq(released_after(), MSEC(20));
        ck_assert(!*(rig_machine(&r, a)->distrust ?: ""));
}
END_TEST

/* A pause that is stuck is carried out before the resume that follows it. */
START_TEST(test_hung_pause_is_undone_when_it_comes) {
        b->answers[SUSPENDD_ACT_PAUSE] = FAKE_NEVER;
        rig_sleep(&r);
        rig_pass(&r, 5 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
        rig_pass(&r, 10 * USEC_PER_SEC);
        rig_answer(&r);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
        ck_assert_int_eq(rig_machine(&r, b)->state, MACHINE_IDLE);
}
END_TEST

/* what is left alone */

START_TEST(test_user_paused_stays_paused) {
        fake_vm_user_pause(b);
        sleep_and_wake();
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_PAUSE] + b->n_acts[SUSPENDD_ACT_RESUME], 0);
        ck_assert_str_eq(report(b)->why, "it is paused already");
}
END_TEST

START_TEST(test_resumed_by_another_hand_is_left_running) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        fake_vm_user_resume(b);
        fake_vm_user_pause(b);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_RESUME], 0);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_PAUSED);
}
END_TEST

START_TEST(test_io_error_is_not_touched) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(10));
        fake_vm_fail(b); /* before its pause is carried out */
        rig_pass(&r, MSEC(100));
        ck_assert(!r.is_locked);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_RESUME], 0);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_OTHER);
}
END_TEST

START_TEST(test_ignored_is_not_asked) {
        rig_machine(&r, b)->policy.mode = MODE_IGNORE;
        sleep_and_wake();
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_PAUSE], 0);
        ck_assert(!report(b)->is_failed);
}
END_TEST

static void define(FakeVm *vm, const char *mode) {
        (void) snprintf(vm->mode, sizeof(vm->mode), "%s", mode);
        fake_vm_change(vm);
}

START_TEST(test_own_mode_is_followed_and_told) {
        unsigned n = r.n_changed;

        define(a, "pause");
        ck_assert_int_eq(rig_machine(&r, a)->policy.mode, MODE_PAUSE);
        ck_assert_str_eq(rig_machine(&r, a)->own_mode_source, "the fake's definition");
        ck_assert_uint_eq(r.n_changed, n + 1);
        define(a, "ignore"); /* nobody has looked at the one before */
        ck_assert_uint_eq(r.n_changed, n + 2);
        sleep_and_wake();
        ck_assert_int_eq(report(a)->stood, SUSPENDD_STATE_UNKNOWN);
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_SUSPEND] + a->n_acts[SUSPENDD_ACT_PAUSE], 0);

        define(a, "");
        ck_assert_int_eq(rig_machine(&r, a)->policy.mode, MODE_AUTO);
        ck_assert_ptr_null(rig_machine(&r, a)->own_mode_source);
}
END_TEST

START_TEST(test_word_that_is_no_mode_is_ignored) {
        define(a, "sleepy\x1b");
        ck_assert_int_eq(rig_machine(&r, a)->policy.mode, MODE_AUTO);
        sleep_and_wake();
        ck_assert_int_eq(report(a)->stood, SUSPENDD_STATE_SUSPENDED);
}
END_TEST

START_TEST(test_suspend_mode_that_falls_back_has_failed) {
        rig_machine(&r, a)->policy.mode = MODE_SUSPEND;
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_ERROR;
        sleep_and_wake();
        ck_assert_int_eq(report(a)->stood, SUSPENDD_STATE_PAUSED);
        ck_assert(report(a)->is_failed);
}
END_TEST

/* Its disk's error comes with the first of what it does again: a "cont" would try that once more. */
START_TEST(test_machine_that_fails_as_it_wakes_is_not_run_again) {
        FakeVm *vm = _i == 0 ? a : b; /* amidst the correction of its clock, or without one */

        rig_machine(&r, a)->policy.mode = MODE_PAUSE;
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, MSEC(20));
        ck_assert_int_eq(rig_machine(&r, vm)->state, _i == 0 ? MACHINE_CORRECTING : MACHINE_IDLE);
        ck_assert(fake_vm_fail(vm));
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_RESUME], 1);
        ck_assert_int_eq(fake_vm_state(vm), SUSPENDD_STATE_OTHER);
        sleep_and_wake();
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_PAUSE], 1);
        ck_assert_uint_eq(vm->n_acts[SUSPENDD_ACT_RESUME], 1);
}
END_TEST

START_TEST(test_guest_that_was_suspended_before_is_not_woken) {
        fake_vm_guest_suspend(a);
        sleep_and_wake();
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_WAKE] + a->n_acts[SUSPENDD_ACT_PAUSE], 0);
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_SUSPENDED);
        ck_assert_str_eq(report(a)->why, "it is suspended already");
}
END_TEST

/* By an alarm of its own clock, between the host's wake and its being told. */
START_TEST(test_guest_that_has_woken_by_itself_is_left_running) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_jump(&r, HOUR_USEC, 0);
        fake_vm_guest_wake(a);
        rig_wake(&r, 0);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_WAKE], 0);
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
        ck_assert(!report(a)->is_failed);
}
END_TEST

/* QEMU refuses a stop amidst a dump, for instance. */
START_TEST(test_refused_pause_is_told_and_holds_up_nobody) {
        b->answers[SUSPENDD_ACT_PAUSE] = FAKE_ERROR;
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        ck_assert_uint_eq(released_after(), MSEC(20));
        ck_assert(report(b)->is_failed);
        ck_assert_str_ne(report(b)->why, "");
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_RESUME], 0);
}
END_TEST

/* distrust and stragglers */

START_TEST(test_broken_word_is_remembered) {
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_LIE;
        sleep_and_wake();
        ck_assert_uint_eq(r.n_distrusted, 1);

        rig_sleep(&r);
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_SUSPEND], 1);
        rig_pass(&r, MSEC(100));
        ck_assert_uint_eq(released_after(), MSEC(20));
        ck_assert_int_eq(report(a)->stood, SUSPENDD_STATE_PAUSED);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);

        /* Another start of it is another machine. */
        fake_vm_end(a);
        fake_vm_start(a);
        rig_sleep(&r);
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_SUSPEND], 2);
}
END_TEST

/* An agent that never took it has not given its word. */
START_TEST(test_unanswered_suspend_is_no_broken_word) {
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_NEVER;
        sleep_and_wake();
        ck_assert_uint_eq(r.n_distrusted, 0);
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_LATER;
        sleep_and_wake();
        ck_assert_int_eq(report(a)->stood, SUSPENDD_STATE_SUSPENDED);
}
END_TEST

START_TEST(test_bounced_suspend_is_paused) {
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_BOUNCE;
        a->late_usec = MSEC(200);
        b->latency_usec = MSEC(500);
        rig_sleep(&r);
        rig_pass(&r, 2 * USEC_PER_SEC);
        ck_assert_uint_eq(released_after(), MSEC(500));
        ck_assert_int_eq(report(a)->stood, SUSPENDD_STATE_PAUSED);
}
END_TEST

START_TEST(test_late_suspend_is_undone) {
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_LATE;
        a->late_usec = 10 * USEC_PER_SEC;
        sleep_and_wake();
        ck_assert(report(a)->was_woken_late);
        ck_assert_int_eq(report(a)->stood, SUSPENDD_STATE_PAUSED); /* while the host slept */
        ck_assert_uint_lt(report(a)->stood_after_usec, 5 * USEC_PER_SEC);
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_WAKE], 1);
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
        ck_assert_int_eq(rig_machine(&r, a)->state, MACHINE_IDLE);
}
END_TEST

/* The watch counts time in which the guest runs: what strikes then is still undone. */
START_TEST(test_late_suspend_of_a_guest_held_by_its_user_is_undone) {
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_LATE;
        a->late_usec = 20 * USEC_PER_SEC;
        rig_sleep(&r);
        rig_pass(&r, 5 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 2 * USEC_PER_SEC);
        fake_vm_user_pause(a);
        rig_pass(&r, 120 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_PAUSED);
        fake_vm_user_resume(a);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
        ck_assert(report(a)->was_woken_late);
}
END_TEST

/* Taken in a sleep that failed, and not carried out when the next one comes. */
START_TEST(test_agent_that_owes_a_suspend_is_not_asked_for_another) {
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_LATE;
        a->late_usec = 3 * USEC_PER_SEC;
        rig_sleep(&r);
        rig_pass(&r, MSEC(50));
        rig_wake(&r, 0);
        rig_pass(&r, MSEC(100));
        rig_sleep(&r);
        rig_pass(&r, MSEC(50));
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_PAUSED);
        ck_assert_str_eq(report(a)->why, "its guest took a suspend and has not carried it out yet");
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_SUSPEND], 1);
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_WAKE], 1);
        ck_assert_int_eq(rig_machine(&r, a)->state, MACHINE_IDLE);
}
END_TEST

/* One that never carries it out does not owe it for ever, whether its clock is to be set or not. */
START_TEST(test_agent_that_answers_again_owes_nothing_in_the_end) {
        rig_machine(&r, a)->policy.time_sync = (TimeSync) _i;
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_LIE;
        rig_sleep(&r);
        rig_pass(&r, MSEC(50));
        rig_wake(&r, 0);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(rig_machine(&r, a)->state, MACHINE_IDLE);
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_LATER;
        sleep_and_wake();
        ck_assert_int_eq(report(a)->stood, SUSPENDD_STATE_SUSPENDED);
}
END_TEST

/* Strikes while the next cycle reads its clock: it stands, and because of us. */
START_TEST(test_late_suspend_in_the_next_cycle_counts_as_stand) {
        rig_machine(&r, a)->policy.time_sync = TIME_SYNC_RELATIVE;
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_LATE;
        rig_sleep(&r);
        rig_pass(&r, 5 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 2 * USEC_PER_SEC);
        a->latency_usec = MSEC(200);
        rig_sleep(&r);
        ck_assert_int_eq(rig_machine(&r, a)->state, MACHINE_SAMPLING);
        ck_assert(fake_vm_strike(a));
        ck_assert_int_eq(rig_machine(&r, a)->state, MACHINE_SUSPENDED);
        rig_pass(&r, MSEC(100));
        ck_assert(!r.is_locked);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
}
END_TEST

/* coming back */

START_TEST(test_sleep_that_fails_is_told) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_wake(&r, 0);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_str_eq(r.finished.ended, "failed");
        ck_assert(!r.finished.host_slept);
}
END_TEST

START_TEST(test_lost_logind_is_told) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(10));
        rig_not_sleeping(&r);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_str_eq(r.finished.ended, "lost");
        ck_assert_int_eq(r.cycle->state, CYCLE_IDLE);
}
END_TEST

START_TEST(test_second_sleep_turns_round) {
        b->answers[SUSPENDD_ACT_RESUME] = FAKE_NEVER;
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, MSEC(30));
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
        rig_sleep(&r);
        ck_assert_str_eq(r.finished.ended, "interrupted");
        ck_assert_uint_eq(r.cycle->report.number, r.finished.number + 1);
        rig_pass(&r, 5 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_SUSPENDED);
        ck_assert(!r.is_locked);
}
END_TEST

START_TEST(test_resume_is_asked_until_it_works) {
        b->answers[SUSPENDD_ACT_RESUME] = FAKE_ERROR;
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 120 * USEC_PER_SEC);
        ck_assert_uint_gt(b->n_acts[SUSPENDD_ACT_RESUME], 5);
        ck_assert_uint_lt(b->n_acts[SUSPENDD_ACT_RESUME], 20);
        ck_assert_int_eq(r.cycle->state, CYCLE_IDLE); /* nobody waits for it for ever */
        ck_assert(report(b)->is_failed);
        b->answers[SUSPENDD_ACT_RESUME] = FAKE_LATER;
        rig_pass(&r, 31 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
}
END_TEST

/* Both are refused, so it runs as it always did: a pause after that is its user's. */
START_TEST(test_machine_that_never_stood_is_not_asked_to_run_on) {
        b->answers[SUSPENDD_ACT_PAUSE] = b->answers[SUSPENDD_ACT_RESUME] = FAKE_ERROR;
        rig_sleep(&r);
        rig_pass(&r, MSEC(10));
        rig_wake(&r, 0);
        rig_pass(&r, MSEC(50));
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_RESUME], 1);
        b->answers[SUSPENDD_ACT_RESUME] = FAKE_LATER;
        ck_assert(fake_vm_user_pause(b));
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_RESUME], 1);
}
END_TEST

/* One pause hangs, the next is refused, and who holds the machine meanwhile is its user. */
START_TEST(test_pause_on_its_way_is_not_forgotten_for_one_that_is_refused) {
        b->answers[SUSPENDD_ACT_PAUSE] = FAKE_NEVER;
        b->answers[SUSPENDD_ACT_RESUME] = FAKE_REFUSE;
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_wake(&r, 0);
        ck_assert(fake_vm_user_pause(b));
        b->answers[SUSPENDD_ACT_PAUSE] = FAKE_REFUSE;
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        ck_assert(fake_vm_user_resume(b));
        ck_assert(fake_vm_answer(b));
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_PAUSED);
        b->answers[SUSPENDD_ACT_RESUME] = FAKE_LATER;
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
}
END_TEST

START_TEST(test_shutdown_runs_what_is_held) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_handle(&r, CYCLE_EVENT_SHUTDOWN);
        rig_pass(&r, MSEC(100));
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_str_eq(r.finished.ended, "shutdown");
}
END_TEST

/* We are told to end while logind waits for us, and a machine does not run again. */
START_TEST(test_quit_lets_go_by_the_deadline) {
        b->answers[SUSPENDD_ACT_PAUSE] = b->answers[SUSPENDD_ACT_RESUME] = FAKE_NEVER;
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        r.is_quitting = true;
        rig_handle(&r, CYCLE_EVENT_QUIT);
        rig_pass(&r, 5 * USEC_PER_SEC);
        ck_assert_uint_eq(released_after(), MSEC(4410));
}
END_TEST

START_TEST(test_signals_that_come_twice_do_nothing) {
        rig_sleep(&r);
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_sleep(&r);
        ck_assert_uint_eq(released_after(), MSEC(20));
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, MSEC(100));
        rig_wake(&r, 0);
        rig_pass(&r, 60 * USEC_PER_SEC);
        rig_wake(&r, 0);
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_PAUSE], 1);
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_RESUME], 1);
        ck_assert_uint_eq(r.n_milestones[CYCLE_FINISHED], 1);
        ck_assert_int_eq(r.finished.slept_ns, 3600 * NSEC_PER_SEC);
}
END_TEST

/* One announcement around two sleeps, with a short wake between that nobody announces. */
START_TEST(test_suspend_then_hibernate_is_one_sleep) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        for (int i = 0; i < 2; i++) {
                rig_jump(&r, HOUR_USEC, 0);
                rig_pass(&r, 3 * USEC_PER_SEC);
                ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_SUSPENDED);
                ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_PAUSED);
        }
        rig_wake(&r, 0);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(r.n_milestones[CYCLE_FINISHED], 1);
        ck_assert_int_eq(r.finished.slept_ns, 2 * 3600 * NSEC_PER_SEC);
        ck_assert_int_ge(report(b)->stopped_ns, 2 * 3603 * NSEC_PER_SEC);
}
END_TEST

/* A plain suspend is over before its hooks are. */
START_TEST(test_early_wake_runs_machines_and_asks_for_no_lock) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_wake_early(&r, HOUR_USEC);
        ck_assert(!r.is_lock_wanted); /* logind would refuse it */
        rig_pass(&r, 3 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
        ck_assert_int_eq(r.cycle->state, CYCLE_IDLE);
        ck_assert_str_eq(r.finished.ended, "woke");
        ck_assert_int_eq(r.finished.slept_ns, 3600 * NSEC_PER_SEC);
        ck_assert_int_eq(
                        cycle_rehearse(r.cycle, USEC_PER_SEC),
                        -EBUSY); /* what is said next would end it */
        rig_wake(&r, 0);
        ck_assert(r.is_locked);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_RESUME], 1);
        ck_assert_uint_eq(r.n_milestones[CYCLE_FINISHED], 1);
}
END_TEST

/* systemd thaws users' sessions after the hooks. */
START_TEST(test_machine_that_is_frozen_until_the_hooks_are_done_is_not_given_up) {
        b->answers[SUSPENDD_ACT_RESUME] = FAKE_NEVER;
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_wake_early(&r, HOUR_USEC);
        rig_pass(&r, 90 * USEC_PER_SEC);
        ck_assert_int_eq(r.cycle->state, CYCLE_RESTORING);
        ck_assert(!report(b)->is_failed);
        b->answers[SUSPENDD_ACT_RESUME] = FAKE_NOW;
        rig_answer(&r);
        rig_wake(&r, 0);
        rig_pass(&r, 5 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
        ck_assert_int_eq(r.cycle->state, CYCLE_IDLE);
        ck_assert(!report(b)->is_failed);
}
END_TEST

/* From then on it has as long as any other. */
START_TEST(test_machine_that_does_not_run_after_the_hooks_is_given_up) {
        b->answers[SUSPENDD_ACT_RESUME] = FAKE_NEVER;
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_wake_early(&r, HOUR_USEC);
        rig_pass(&r, 90 * USEC_PER_SEC);
        rig_wake(&r, 0);
        rig_pass(&r, 15 * USEC_PER_SEC);
        ck_assert_int_eq(r.cycle->state, CYCLE_RESTORING);
        rig_pass(&r, 30 * USEC_PER_SEC);
        ck_assert_int_eq(r.cycle->state, CYCLE_IDLE);
        ck_assert(report(b)->is_failed);
        b->answers[SUSPENDD_ACT_RESUME] = FAKE_NOW;
        rig_answer(&r);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
}
END_TEST

/* clocks that cannot be trusted */

static void step_in(CycleState state, int64_t stepped_ns) {
        ck_assert_int_eq(r.cycle->state, state);
        rig_jump(&r, 0, stepped_ns);
}

static const int64_t steps_ns[] = { -3600 * NSEC_PER_SEC, 3600 * NSEC_PER_SEC };

START_TEST(test_step_of_the_clock_moves_no_deadline) {
        a->answers[SUSPENDD_ACT_SUSPEND] = FAKE_LIE;
        b->answers[SUSPENDD_ACT_PAUSE] = FAKE_NEVER;
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        step_in(CYCLE_PREPARING, steps_ns[_i]);
        rig_pass(&r, MSEC(2839));
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_PAUSE], 0);
        rig_pass(&r, MSEC(1));
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_PAUSE], 1);
        rig_pass(&r, 5 * USEC_PER_SEC);
        ck_assert_uint_eq(released_after(), MSEC(4410));
}
END_TEST

/* How long it stood is by the one clock, what its own is set to by the other. */
START_TEST(test_step_while_machines_stand_is_kept_apart) {
        b->why_not[SUSPENDD_ACT_GET_TIME] = b->why_not[SUSPENDD_ACT_SET_TIME] = NULL;
        fake_vm_change(b);
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        step_in(CYCLE_SLEEPING, steps_ns[_i]);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(r.finished.stepped_ns, steps_ns[_i]);
        ck_assert_int_eq(r.finished.slept_ns, 3600 * NSEC_PER_SEC);
        ck_assert_int_eq(report(b)->stopped_ns, 3601 * NSEC_PER_SEC);
        ck_assert_int_eq(report(b)->time.verdict, CORRECTION_SET);
        ck_assert_int_le(llabs(fake_vm_clock_offset_ns(b)), 2 * NSEC_PER_MSEC);
}
END_TEST

/* The battery of its RTC is empty, or it slept for less than the RTC's second. */
START_TEST(test_sleep_without_time_is_told_to_be_of_unknown_length) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        r.stats.success++;
        rig_wake(&r, 0);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert(r.finished.host_slept);
        ck_assert_str_eq(r.finished.ended, "woke");
        ck_assert_ptr_nonnull(strstr(
                        r.record, "\"slept_doubt\":\"the kernel counted the sleep and no time"));
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
        sleep_and_wake();
        ck_assert_ptr_nonnull(strstr(r.record, "\"slept_doubt\":null"));
}
END_TEST

/* s2idle in which timekeeping went on: a stand is measured all the same. */
START_TEST(test_sleep_in_which_the_clocks_ran_on_is_as_long_as_the_stand) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_pass(&r, HOUR_USEC);
        r.stats.success++;
        rig_wake(&r, 0);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert(r.finished.host_slept);
        ck_assert_int_ge(report(b)->stopped_ns, 3600 * NSEC_PER_SEC);
        ck_assert_ptr_nonnull(r.finished.slept_doubt);
}
END_TEST

static const struct {
        int64_t stepped_ns;
        bool is_doubted;
} zones[] = {
        { -3600 * NSEC_PER_SEC, true },
        { 3600 * NSEC_PER_SEC + 1900 * NSEC_PER_MSEC, true },
        { 20700 * NSEC_PER_SEC - 1900 * NSEC_PER_MSEC, true }, /* Nepal */
        { 900 * NSEC_PER_SEC, true },
        { 800 * NSEC_PER_MSEC, false },
        { -1 * NSEC_PER_SEC, false },
        { 3605 * NSEC_PER_SEC, false },
        { -450 * NSEC_PER_SEC, false },
};

START_TEST(test_rtc_of_another_time_zone_is_told) {
        sleep_and_wake();
        ck_assert_ptr_nonnull(strstr(r.record, "\"slept_doubt\":null"));
        step_in(CYCLE_IDLE, zones[_i].stepped_ns);
        rig_pass(&r, 30 * USEC_PER_SEC);
        ck_assert_int_eq(!strstr(r.record, "\"slept_doubt\":null"), zones[_i].is_doubted);
}
END_TEST

/* Long after it, that is no repair. */
START_TEST(test_step_long_after_the_sleep_casts_no_doubt) {
        sleep_and_wake();
        rig_pass(&r, 700 * USEC_PER_SEC);
        step_in(CYCLE_IDLE, 3600 * NSEC_PER_SEC);
        ck_assert_ptr_null(r.cycle->report.slept_doubt);
}
END_TEST

START_TEST(test_hibernation_of_a_month_is_a_sleep) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_wake(&r, 30 * 24 * HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_str_eq(r.finished.ended, "woke");
        ck_assert_int_eq(r.finished.slept_ns, 30 * 24 * 3600 * NSEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
        ck_assert_int_ge(report(b)->unseen_ns, 30 * 24 * 3600 * NSEC_PER_SEC);
}
END_TEST

/* rehearsal */

START_TEST(test_rehearsal_keeps_the_lock_and_ends_by_itself) {
        ck_assert_int_eq(cycle_rehearse(r.cycle, 3 * USEC_PER_SEC), 0);
        ck_assert_int_eq(cycle_rehearse(r.cycle, 3 * USEC_PER_SEC), -EBUSY);
        rig_pass(&r, MSEC(100));
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_PAUSED);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert(r.is_locked);
        ck_assert_uint_eq(r.released_usec, 0);
        ck_assert_int_eq(r.finished.kind, CYCLE_KIND_REHEARSAL);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
}
END_TEST

START_TEST(test_rehearsal_that_comes_true_asleep_lets_go_at_once) {
        ck_assert_int_eq(cycle_rehearse(r.cycle, 3 * USEC_PER_SEC), 0);
        rig_pass(&r, MSEC(100));
        rig_sleep(&r);
        ck_assert_uint_eq(released_after(), 0);
        rig_pass(&r, 30 * USEC_PER_SEC); /* the rehearsal's own end is off */
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_PAUSED);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(r.finished.kind, CYCLE_KIND_SLEEP);
}
END_TEST

START_TEST(test_rehearsal_that_comes_true_preparing_has_its_time_from_then) {
        b->answers[SUSPENDD_ACT_PAUSE] = FAKE_NEVER;
        ck_assert_int_eq(cycle_rehearse(r.cycle, 3 * USEC_PER_SEC), 0);
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_sleep(&r);
        rig_pass(&r, 5 * USEC_PER_SEC);
        ck_assert_uint_eq(released_after(), MSEC(4410));
}
END_TEST

/* coming and going */

START_TEST(test_newcomer_is_stopped_in_time) {
        FakeVm *c = rig_add(&r, "c", &POLICY_DEFAULT);

        c->answers[SUSPENDD_ACT_SUSPEND] = FAKE_LATER;
        b->latency_usec = 1 * USEC_PER_SEC;
        rig_sleep(&r);
        rig_pass(&r, MSEC(500));
        fake_vm_start(c);
        rig_pass(&r, MSEC(100));
        ck_assert_int_eq(fake_vm_state(c), SUSPENDD_STATE_SUSPENDED);
        rig_pass(&r, 1 * USEC_PER_SEC);
        ck_assert_uint_eq(released_after(), MSEC(1000));
}
END_TEST

START_TEST(test_newcomer_that_comes_too_late_is_left) {
        FakeVm *c = rig_add(&r, "c", &POLICY_DEFAULT);

        b->answers[SUSPENDD_ACT_PAUSE] = FAKE_NEVER;
        rig_sleep(&r);
        rig_pass(&r, MSEC(4000));
        fake_vm_start(c);
        rig_pass(&r, MSEC(500));
        ck_assert_uint_eq(released_after(), MSEC(4410));
        ck_assert_int_eq(fake_vm_state(c), SUSPENDD_STATE_RUNNING);
        ck_assert(report(c)->is_failed);
}
END_TEST

START_TEST(test_machine_that_dies_is_not_waited_for) {
        b->answers[SUSPENDD_ACT_PAUSE] = FAKE_NEVER;
        rig_sleep(&r);
        rig_pass(&r, MSEC(300));
        fake_vm_end(b);
        ck_assert_uint_eq(released_after(), MSEC(300));
        ck_assert_uint_eq(r.cycle->n_machines, 1);
}
END_TEST

START_TEST(test_answers_to_no_step_do_nothing) {
        const struct suspendd_host *host = r.world.host;
        const uint64_t stale[] = { 0, 1, 7, UINT64_MAX, UINT64_C(1) << 16, UINT64_C(99) << 16 | 1 };
        const struct suspendd_time t = { 1, 2, 3 };

        rig_sleep(&r);
        rig_pass(&r, MSEC(5));
        for (size_t i = 0; i < ARRAY_LEN(stale); i++) {
                if (cycle_step_machine(r.cycle, stale[i]))
                        continue; /* not stale at all */
                host->done(host, stale[i], 0, NULL);
                host->done(host, stale[i], -EIO, "stale");
                host->done_time(host, stale[i], &t);
        }
        ck_assert_int_eq(rig_machine(&r, a)->state, MACHINE_SUSPENDING);
        ck_assert_int_eq(rig_machine(&r, b)->state, MACHINE_PAUSING);
}
END_TEST

/* A plugin that takes each step twice must not end the step that follows. */
START_TEST(test_answers_that_come_twice_do_nothing) {
        for (int act = 0; act < SUSPENDD_ACT_MAX; act++)
                a->answers[act] = b->answers[act] = FAKE_TWICE;
        sleep_and_wake();
        ck_assert_int_eq(report(a)->stood, SUSPENDD_STATE_SUSPENDED);
        ck_assert_int_eq(report(b)->stood, SUSPENDD_STATE_PAUSED);
        ck_assert(!report(a)->is_failed && !report(b)->is_failed);
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_RESUME], 1);
}
END_TEST

START_TEST(test_record_tells_the_cycle) {
        static const char *const told[] = {
                "\"kind\":\"sleep\"",
                "\"ended\":\"woke\"",
                "\"host_slept\":true",
                "\"id\":\"a\"",
                "\"asked\":\"suspend\"",
                "\"stood\":\"suspended\"",
                "\"stood\":\"paused\"",
                "\"budget_usec\":4900000",
                "\"slept_ns\":3600000000000",
                "\"released_after_usec\":20000",
                "\"suspend_stats\":{\"success\":1",
        };

        sleep_and_wake();
        ck_assert_ptr_nonnull(r.record);
        for (size_t i = 0; i < ARRAY_LEN(told); i++)
                ck_assert_msg(strstr(r.record, told[i]), "%s is not in %s", told[i], r.record);
}
END_TEST

START_TEST(test_record_has_the_step_that_failed) {
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        r.stats.fail++;
        (void) snprintf(r.stats.last_failed_step,
                        sizeof(r.stats.last_failed_step),
                        "suspend_noirq");
        rig_wake(&r, 0);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_ptr_nonnull(
                        strstr(r.record,
                               "\"suspend_stats\":{\"success\":0,\"fail\":1,"
                               "\"last_failed_step\":\"suspend_noirq\"}"));
}
END_TEST

/* who they are */

#define NAMESAKES 200

static unsigned n_finds;

__typeof__(cycle_find) __real_cycle_find, __wrap_cycle_find;

Machine *__wrap_cycle_find(Cycle *c, const char *id) {
        n_finds++;
        return __real_cycle_find(c, id);
}

static FakeVm *start_namesake(const char *name, unsigned process) {
        FakeVm *vm = fake_vm_new(&r.world, name);

        (void) snprintf(vm->process, sizeof(vm->process), "%u.1", process);
        fake_vm_start(vm);
        return vm;
}

/* However many there are, each costs as one with a name of its own: a user may have all that a libvirtd lists. */
START_TEST(test_namesakes_are_told_apart_at_no_cost) {
        FakeVm *vms[NAMESAKES];
        char id[32];

        (void) start_namesake("a-3", 1);
        (void) start_namesake("a-04", 2);
        n_finds = 0;
        for (unsigned i = 0; i < NAMESAKES; i++) {
                vms[i] = start_namesake("a", 3 + i);
                (void) snprintf(id, sizeof(id), "a-%u", i == 0 ? 2 : i + 3);
                ck_assert_str_eq(rig_machine(&r, vms[i])->id, id);
        }
        ck_assert_uint_le(n_finds, NAMESAKES);
        fake_vm_end(vms[7]);
        ck_assert_str_eq(rig_machine(&r, start_namesake("a", 1000))->id, "a-10");
        ck_assert_str_eq(rig_machine(&r, start_namesake("a-2", 1001))->id, "a-2-2");
}
END_TEST

static TCase *add_case(Suite *suite, const char *name) {
        TCase *tcase = tcase_create(name);

        tcase_add_checked_fixture(tcase, setup, teardown);
        suite_add_tcase(suite, tcase);
        return tcase;
}

static void add_budget(TCase *t) {
        tcase_add_test(t, test_lock_goes_as_soon_as_all_stand);
        tcase_add_loop_test(t, test_lock_goes_at_the_deadline, 0, ARRAY_LEN(deadlines));
        tcase_add_test(t, test_without_a_delay_all_are_paused_at_once);
        tcase_add_test(t, test_budget_that_shrinks_holds_from_now);
        tcase_add_test(t, test_budget_that_grows_holds_from_now);
        tcase_add_test(t, test_suspend_is_overtaken_at_its_share);
        tcase_add_test(t, test_refused_suspend_is_paused_at_once);
        tcase_add_test(t, test_hung_pause_is_undone_when_it_comes);
}

static void add_others(TCase *t) {
        tcase_add_test(t, test_namesakes_are_told_apart_at_no_cost);
        tcase_add_test(t, test_user_paused_stays_paused);
        tcase_add_test(t, test_resumed_by_another_hand_is_left_running);
        tcase_add_test(t, test_io_error_is_not_touched);
        tcase_add_loop_test(t, test_machine_that_fails_as_it_wakes_is_not_run_again, 0, 2);
        tcase_add_test(t, test_guest_that_was_suspended_before_is_not_woken);
        tcase_add_test(t, test_guest_that_has_woken_by_itself_is_left_running);
        tcase_add_test(t, test_refused_pause_is_told_and_holds_up_nobody);
        tcase_add_test(t, test_ignored_is_not_asked);
        tcase_add_test(t, test_own_mode_is_followed_and_told);
        tcase_add_test(t, test_word_that_is_no_mode_is_ignored);
        tcase_add_test(t, test_suspend_mode_that_falls_back_has_failed);
        tcase_add_test(t, test_broken_word_is_remembered);
        tcase_add_test(t, test_unanswered_suspend_is_no_broken_word);
        tcase_add_test(t, test_bounced_suspend_is_paused);
        tcase_add_test(t, test_late_suspend_is_undone);
        tcase_add_test(t, test_late_suspend_of_a_guest_held_by_its_user_is_undone);
        tcase_add_test(t, test_agent_that_owes_a_suspend_is_not_asked_for_another);
        tcase_add_loop_test(
                        t, test_agent_that_answers_again_owes_nothing_in_the_end, 0, TIME_SYNC_MAX);
        tcase_add_test(t, test_late_suspend_in_the_next_cycle_counts_as_stand);
}

static void add_back(TCase *t) {
        tcase_add_test(t, test_sleep_that_fails_is_told);
        tcase_add_test(t, test_lost_logind_is_told);
        tcase_add_test(t, test_signals_that_come_twice_do_nothing);
        tcase_add_test(t, test_suspend_then_hibernate_is_one_sleep);
        tcase_add_test(t, test_early_wake_runs_machines_and_asks_for_no_lock);
        tcase_add_test(t, test_machine_that_is_frozen_until_the_hooks_are_done_is_not_given_up);
        tcase_add_test(t, test_machine_that_does_not_run_after_the_hooks_is_given_up);
        tcase_add_test(t, test_second_sleep_turns_round);
        tcase_add_test(t, test_resume_is_asked_until_it_works);
        tcase_add_test(t, test_machine_that_never_stood_is_not_asked_to_run_on);
        tcase_add_test(t, test_pause_on_its_way_is_not_forgotten_for_one_that_is_refused);
        tcase_add_test(t, test_shutdown_runs_what_is_held);
        tcase_add_test(t, test_quit_lets_go_by_the_deadline);
        tcase_add_test(t, test_rehearsal_keeps_the_lock_and_ends_by_itself);
        tcase_add_test(t, test_rehearsal_that_comes_true_asleep_lets_go_at_once);
        tcase_add_test(t, test_rehearsal_that_comes_true_preparing_has_its_time_from_then);
        tcase_add_test(t, test_newcomer_is_stopped_in_time);
        tcase_add_test(t, test_newcomer_that_comes_too_late_is_left);
        tcase_add_test(t, test_machine_that_dies_is_not_waited_for);
        tcase_add_test(t, test_answers_to_no_step_do_nothing);
        tcase_add_test(t, test_answers_that_come_twice_do_nothing);
        tcase_add_test(t, test_record_tells_the_cycle);
        tcase_add_test(t, test_record_has_the_step_that_failed);
}

static void add_clocks(TCase *t) {
        tcase_add_loop_test(t, test_step_of_the_clock_moves_no_deadline, 0, ARRAY_LEN(steps_ns));
        tcase_add_loop_test(
                        t, test_step_while_machines_stand_is_kept_apart, 0, ARRAY_LEN(steps_ns));
        tcase_add_test(t, test_sleep_without_time_is_told_to_be_of_unknown_length);
        tcase_add_test(t, test_sleep_in_which_the_clocks_ran_on_is_as_long_as_the_stand);
        tcase_add_loop_test(t, test_rtc_of_another_time_zone_is_told, 0, ARRAY_LEN(zones));
        tcase_add_test(t, test_step_long_after_the_sleep_casts_no_doubt);
        tcase_add_test(t, test_hibernation_of_a_month_is_a_sleep);
}

int main(void) {
        Suite *suite = suite_create("cycle");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        if (!getenv("SUSPENDD_LOG_LEVEL"))
                log_set_max_level(LOG_EMERG);
        add_budget(add_case(suite, "budget"));
        add_others(add_case(suite, "others"));
        add_back(add_case(suite, "back"));
        add_clocks(add_case(suite, "clocks"));

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
