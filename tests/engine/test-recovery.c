/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The daemon ends at any point without a word, and another one starts on the same machines and the
 * same journal: nothing that we stopped stays stopped, and nothing is run that was not ours.
 */

#include <check.h>
#include <signal.h>
#include <sys/resource.h>
#include "common/time-util.h"
#include "daemon/log.h"
#include "rig.h"

#define HOUR_USEC (3600 * USEC_PER_SEC)
#define MSEC(_n) ((_n) *USEC_PER_MSEC)
#define POINTS_MAX 5000

static Rig r;
static FakeVm *a, *b, *user, *ignored; /* with an agent; without; paused by its user; mode ignore */
static char directory[] = "/tmp/suspendd-recovery-XXXXXX";
static char path[64];

static void start(FakeAnswer suspend, uint64_t latency_usec) {
        Policy policy = POLICY_DEFAULT;

        (void) unlink(path);
        rig_init(&r, &(RigOptions){ .delay_max_usec = 5 * USEC_PER_SEC, .journal_path = path });
        a = rig_add(&r, "a", &policy);
        b = rig_add(&r, "b", &policy);
        user = rig_add(&r, "user", &policy);
        policy.mode = MODE_IGNORE;
        ignored = rig_add(&r, "ignored", &policy);
        b->why_not[SUSPENDD_ACT_SUSPEND] = b->why_not[SUSPENDD_ACT_GET_TIME] =
                        b->why_not[SUSPENDD_ACT_SET_TIME] = "no guest agent";
        LIST_FOREACH(i, &r.world.vms) {
                FakeVm *vm = LIST_ENTRY(i, FakeVm, vms);

                for (int act = 0; act < SUSPENDD_ACT_MAX; act++)
                        vm->answers[act] = FAKE_LATER;
                vm->latency_usec = latency_usec;
                vm->is_stacking = true;
                fake_vm_start(vm);
        }
        a->answers[SUSPENDD_ACT_SUSPEND] = suspend;
        rig_start(&r);
        ck_assert(fake_vm_user_pause(user));
}

static void finish(const char *when, long point) {
        rig_settle(&r);
        if (!*r.fault && fake_vm_state(user) != SUSPENDD_STATE_PAUSED)
                rig_fault(&r, "what its user had paused was run");
        if (!*r.fault && user->n_acts[SUSPENDD_ACT_PAUSE] + ignored->n_acts[SUSPENDD_ACT_PAUSE] > 0)
                rig_fault(&r, "what was to be left alone was stopped");
        ck_assert_msg(!*r.fault, "crash at call %ld, started again %s: %s", point, when, r.fault);
        rig_done(&r);
}

static void setup(void) {
        if (!mkdtemp(directory))
                abort();
        (void) snprintf(path, sizeof(path), "%s/cycle", directory);
}

static void teardown(void) {
        (void) unlink(path);
        (void) rmdir(directory);
}

/* at every point */

/* A whole sleep, of which the engine lives to see only a part. Returns: whether it has died. */
static bool live_through_a_sleep(void) {
        rig_sleep(&r);
        for (int n = 0; n < 50 && !r.is_dead && r.is_locked; n++)
                (void) rig_next(&r);
        if (r.is_dead)
                return true;
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        for (int n = 0; n < 200 && !r.is_dead; n++)
                if (!rig_next(&r))
                        break;
        return r.is_dead;
}

typedef enum Restart {
        RESTART_AT_ONCE,
        RESTART_LATER, /* when what was under way has been carried out */
        RESTART_AWAKE, /* the host has slept and woken in the meantime */
        RESTART_TWICE, /* the second life ends as well, after so many calls */
        RESTART_MAX,
} Restart;

static const char *const restarts[] = { "at once", "later", "after the sleep", "twice" };

static void restart(Restart how, long point) {
        rig_crash(&r);
        if (how == RESTART_LATER)
                rig_pass(&r, 2 * USEC_PER_SEC);
        if (how == RESTART_AWAKE)
                r.is_announced = false;
        if (how == RESTART_TWICE) {
                r.next_fuse = point % 37 + 1;
                rig_start(&r);
                for (int n = 0; n < 50 && !r.is_dead; n++)
                        if (!rig_next(&r))
                                break;
                rig_crash(&r);
        }
        rig_start(&r);
}

/* Returns: how many points there are. */
static long crash_everywhere(FakeAnswer suspend, uint64_t latency_usec, Restart how) {
        for (long point = 1; point < POINTS_MAX; point++) {
                bool has_died;

                start(suspend, latency_usec);
                r.fuse = point;
                has_died = live_through_a_sleep();
                if (has_died)
                        restart(how, point);
                r.fuse = 0;
                finish(restarts[how], point);
                if (!has_died)
                        return point - 1;
        }
        ck_abort_msg("it does not come to an end");
}

START_TEST(test_crash_at_every_point) {
        static const struct {
                FakeAnswer suspend;
                uint64_t latency_usec;
        } manners[] = {
                { FAKE_LATER, MSEC(20) },
                { FAKE_LATE, MSEC(20) },
                { FAKE_LIE, MSEC(700) },
                { FAKE_NOW, 0 },
        };
        long n = 0;

        for (size_t i = 0; i < ARRAY_LEN(manners); i++)
                n += crash_everywhere(manners[i].suspend, manners[i].latency_usec, (Restart) _i);
        printf("# %ld points, started again %s\n", n, restarts[_i]);
        (void) fflush(stdout);
        ck_assert_int_gt(n, 100);
}
END_TEST

/* adoption, one case at a time */

static void sleep_deep(void) {
        start(FAKE_LATER, MSEC(20));
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        ck_assert(!r.is_locked);
}

/* It is paused, for it owes a suspend of the sleep before; that one strikes in the next life. */
START_TEST(test_suspend_that_was_owed_in_an_earlier_life_is_undone) {
        start(FAKE_LATE, MSEC(20));
        a->late_usec = 3 * USEC_PER_SEC;
        rig_sleep(&r);
        rig_pass(&r, MSEC(50));
        rig_wake(&r, 0);
        rig_pass(&r, MSEC(100));
        rig_sleep(&r);
        rig_pass(&r, MSEC(50));
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_PAUSED);
        restart(RESTART_AWAKE, 0);
        rig_settle(&r);
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_WAKE], 1);
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
        finish("after the sleep", 0);
}
END_TEST

START_TEST(test_held_machines_are_adopted_asleep) {
        sleep_deep();
        rig_crash(&r);
        rig_start(&r);
        ck_assert_int_eq(r.cycle->state, CYCLE_SLEEPING);
        ck_assert_int_eq(r.cycle->report.kind, CYCLE_KIND_RECOVERY);
        ck_assert_int_eq(rig_machine(&r, a)->state, MACHINE_SUSPENDED);
        ck_assert_int_eq(rig_machine(&r, b)->state, MACHINE_PAUSED);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_PAUSED);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, MSEC(100));
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
        finish("asleep", 0);
}
END_TEST

START_TEST(test_held_machines_are_run_by_the_next_start) {
        sleep_deep();
        rig_crash(&r);
        r.is_announced = false;
        rig_start(&r);
        rig_pass(&r, MSEC(100));
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
        ck_assert(r.is_locked);
        finish("awake", 0);
}
END_TEST

START_TEST(test_what_an_earlier_life_has_not_seen_of_the_sleep_is_counted) {
        bool wakes_late = _i > 0;
        uint64_t seen_usec = wakes_late ? HOUR_USEC / 4 : 0;

        sleep_deep();
        rig_crash(&r);
        rig_sleep_dead(&r, HOUR_USEC - seen_usec);
        r.is_announced = wakes_late;
        rig_start(&r);
        if (wakes_late)
                rig_wake(&r, seen_usec);
        rig_pass(&r, MSEC(100));
        ck_assert_int_eq(r.cycle->report.kind, CYCLE_KIND_RECOVERY);
        ck_assert(r.cycle->report.host_slept);
        ck_assert_int_eq(r.cycle->report.slept_ns, HOUR_USEC * NSEC_PER_USEC);
        ck_assert_str_eq(r.cycle->report.ended, "woke");
        finish("with a sleep unseen", 0);
}
END_TEST

/* A late suspend is still watched for; the sleep itself is in the history. */
START_TEST(test_a_sleep_that_is_recorded_is_not_counted_again) {
        start(FAKE_LATE, MSEC(20));
        a->late_usec = 25 * USEC_PER_SEC;
        rig_sleep(&r);
        rig_pass(&r, 5 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        for (int life = 0; life < 3; life++) {
                rig_pass(&r, 5 * USEC_PER_SEC);
                ck_assert_int_eq(r.cycle->state, CYCLE_IDLE);
                ck_assert_int_eq(rig_machine(&r, a)->noted, JOURNAL_NOTE_WATCHED);
                ck_assert_int_eq(
                                r.cycle->report.kind,
                                life == 0 ? CYCLE_KIND_SLEEP : CYCLE_KIND_RECOVERY);
                ck_assert_int_eq(
                                r.cycle->report.slept_ns,
                                life == 0 ? HOUR_USEC * NSEC_PER_USEC : 0);
                rig_crash(&r);
                rig_start(&r);
        }
        finish("with a sleep recorded", 0);
}
END_TEST

START_TEST(test_of_two_sleeps_the_recorded_one_is_not_counted) {
        sleep_deep();
        rig_wake(&r, HOUR_USEC);
        rig_sleep(&r); /* at once: what is held stays so, or is asked anew */
        rig_pass(&r, 1 * USEC_PER_SEC);
        rig_crash(&r);
        rig_sleep_dead(&r, HOUR_USEC / 2);
        r.is_announced = false;
        rig_start(&r);
        rig_pass(&r, MSEC(100));
        ck_assert_int_eq(r.cycle->report.slept_ns, HOUR_USEC / 2 * NSEC_PER_USEC);
        finish("amidst the second of two sleeps", 0);
}
END_TEST

START_TEST(test_what_others_ran_meanwhile_is_left_running) {
        sleep_deep();
        rig_crash(&r);
        r.is_announced = false;
        ck_assert(fake_vm_user_resume(b));
        rig_start(&r);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_RESUME], 0);
        ck_assert_int_eq(rig_machine(&r, b)->noted, JOURNAL_NOTE_NONE);
        finish("awake", 0);
}
END_TEST

START_TEST(test_another_start_of_a_vm_is_not_adopted) {
        sleep_deep();
        rig_crash(&r);
        r.is_announced = false;
        fake_vm_start(b);
        ck_assert(fake_vm_user_pause(b));
        rig_start(&r);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(b->n_acts[SUSPENDD_ACT_RESUME], 0);
        finish("awake", 0);
}
END_TEST

/* A sleep is announced before the plugin can tell what the machine is. */
START_TEST(test_machine_seen_late_is_adopted_amidst_a_sleep) {
        sleep_deep();
        rig_crash(&r);
        r.is_announced = false;
        b->is_shy = true;
        rig_start(&r);
        rig_sleep(&r);
        rig_pass(&r, MSEC(50));
        fake_vm_tell(b);
        rig_pass(&r, 5 * USEC_PER_SEC);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
        finish("amidst a sleep", 0);
}
END_TEST

static size_t count_notes(void) {
        const JournalNote *notes;

        return journal_notes(r.journal, &notes);
}

START_TEST(test_note_of_a_machine_that_is_gone_goes) {
        sleep_deep();
        rig_crash(&r);
        r.is_announced = false;
        fake_vm_end(b);
        rig_start(&r);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(count_notes(), 0);
        finish("without it", 0);
}
END_TEST

/* Out of reach is not gone: not even when the configuration is loaded again meanwhile. */
START_TEST(test_note_of_a_machine_out_of_reach_stays) {
        sleep_deep();
        fake_vm_lose(b);
        ck_assert_uint_eq(r.cycle->n_machines, 3);
        r.world.host->enumerated(r.world.host);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_PAUSED);
        fake_vm_find(b);
        rig_pass(&r, MSEC(100));
        ck_assert_int_eq(fake_vm_state(b), SUSPENDD_STATE_RUNNING);
        finish("in reach", 0);
}
END_TEST

/* The suspend that an earlier life asked for strikes in this one. */
START_TEST(test_suspend_asked_before_the_crash_is_undone) {
        start(FAKE_LATE, MSEC(20));
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        ck_assert_uint_ne(a->strike_usec, 0);
        rig_crash(&r);
        r.is_announced = false;
        rig_start(&r);
        rig_pass(&r, 2 * USEC_PER_SEC);
        ck_assert(fake_vm_strike(a));
        rig_pass(&r, MSEC(100));
        ck_assert_int_eq(fake_vm_state(a), SUSPENDD_STATE_RUNNING);
        ck_assert(rig_machine(&r, a)->report.was_woken_late);
        finish("awake", 0);
}
END_TEST

/* What cannot be written down is not done. */
START_TEST(test_nothing_is_stopped_without_a_note) {
        start(FAKE_LATER, MSEC(20));
        ck_assert_int_eq(rig_machine(&r, a)->noted, JOURNAL_NOTE_NONE);
        r.cycle->private->n_notes_max = 0;
        rig_sleep(&r);
        ck_assert(!r.is_locked); /* there is nothing to wait for */
        ck_assert_uint_eq(a->n_acts[SUSPENDD_ACT_SUSPEND] + b->n_acts[SUSPENDD_ACT_PAUSE], 0);
        ck_assert(rig_machine(&r, a)->report.is_failed);
        r.cycle->private->n_notes_max = 8;
        finish("not at all", 0);
}
END_TEST

/* Nothing can be written to any file, libcheck's own among them: no assertion meanwhile. */
static void set_disk_full(bool is_full) {
        struct rlimit limit;

        (void) signal(SIGXFSZ, SIG_IGN);
        ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
        limit.rlim_cur = is_full ? 0 : limit.rlim_max;
        if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
                abort();
}

/* A note left behind would have the next life run what its owner has paused since. */
START_TEST(test_note_that_cannot_be_taken_back_is_later) {
        size_t n_left;
        bool runs;

        sleep_deep();
        set_disk_full(true);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        n_left = count_notes();
        runs = fake_vm_state(a) == SUSPENDD_STATE_RUNNING &&
               fake_vm_state(b) == SUSPENDD_STATE_RUNNING;
        set_disk_full(false);
        ck_assert(runs);
        ck_assert_uint_eq(n_left, 2);
        rig_pass(&r, 31 * USEC_PER_SEC);
        ck_assert_uint_eq(count_notes(), 0);
        finish("not at all", 0);
}
END_TEST

static size_t count_held(void) {
        size_t n = 0;

        LIST_FOREACH(i, &r.world.vms)
        n += fake_vm_state(LIST_ENTRY(i, FakeVm, vms)) != SUSPENDD_STATE_RUNNING;
        return n;
}

/* More machines than there is room for, where there is no space for more: all stand again once there is. */
START_TEST(test_room_that_was_refused_is_asked_for_again) {
        size_t n_held, n_more = 40;

        start(FAKE_LATER, MSEC(20));
        set_disk_full(true);
        for (size_t i = 0; i < n_more; i++) {
                char name[16];

                (void) snprintf(name, sizeof(name), "more-%zu", i);
                fake_vm_start(fake_vm_new(&r.world, name));
        }
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        n_held = count_held();
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 100 * USEC_PER_SEC);
        set_disk_full(false);
        ck_assert_uint_eq(n_held, 1); /* by its user */

        /* In a while by itself, and at once where a sleep comes first. */
        if (_i > 0) {
                rig_pass(&r, 31 * USEC_PER_SEC);
                ck_assert(!r.cycle->private->is_room_owed);
        }
        rig_sleep(&r);
        rig_pass(&r, 1 * USEC_PER_SEC);
        ck_assert_uint_eq(count_held(), n_more + 3);
        finish("not at all", 0);
}
END_TEST

/* A sleep in which they are held again is not undone by what was to be written before. */
START_TEST(test_note_that_is_wanted_again_stays) {
        sleep_deep();
        set_disk_full(true);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 5 * USEC_PER_SEC);
        set_disk_full(false);
        rig_sleep(&r);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(count_notes(), 2);
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(count_notes(), 0);
        finish("not at all", 0);
}
END_TEST

/* Before the first act reaches a machine, all that is asked is in the journal. */
START_TEST(test_note_is_written_before_the_act) {
        long point = 1;

        do {
                start(FAKE_LATER, MSEC(20));
                r.fuse = point++;
                rig_sleep(&r);
                if (a->n_acts[SUSPENDD_ACT_SUSPEND] + b->n_acts[SUSPENDD_ACT_PAUSE] > 0)
                        break;
                rig_done(&r);
        } while (point < POINTS_MAX);
        ck_assert_uint_eq(count_notes(), 2);
        rig_done(&r);
}
END_TEST

/* What the last life knew is older than the sleep, of which nobody was told. */
START_TEST(test_sleep_while_no_daemon_lived_is_made_up_for) {
        start(FAKE_LATER, MSEC(20));
        rig_sleep(&r);
        rig_pass(&r, MSEC(100));
        rig_wake(&r, HOUR_USEC);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(r.n_milestones[CYCLE_FINISHED], 1);
        rig_crash(&r);
        rig_sleep_dead(&r, 2 * HOUR_USEC);
        rig_start(&r);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(r.n_milestones[CYCLE_FINISHED], 2);
        ck_assert_int_eq(r.finished.kind, CYCLE_KIND_UNANNOUNCED);
        ck_assert_int_eq(r.finished.slept_ns, 7200 * NSEC_PER_SEC);
        rig_crash(&r); /* and that once */
        rig_start(&r);
        rig_pass(&r, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(r.n_milestones[CYCLE_FINISHED], 2);
        finish("after a sleep that nobody saw", 0);
}
END_TEST

/* Of another boot, or written by whoever could. */
START_TEST(test_clocks_that_cannot_be_are_no_sleep) {
        const int64_t second = NSEC_PER_SEC;
        const ClockSample impossible[] = {
                { -second, second, 0 }, { 2 * second, second, 0 },   { INT64_MAX, INT64_MAX, 0 },
                { 0, INT64_MAX, 0 },    { INT64_MIN, INT64_MAX, 0 },
        };

        start(FAKE_LATER, MSEC(20));
        for (size_t i = 0; i < ARRAY_LEN(impossible); i++) {
                rig_crash(&r);
                r.accounted = impossible[i];
                rig_start(&r);
                rig_pass(&r, 60 * USEC_PER_SEC);
                ck_assert_uint_eq(r.n_milestones[CYCLE_FINISHED], 0);
        }
        finish("with clocks that cannot be", 0);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("recovery");
        TCase *tcase = tcase_create("recovery");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        if (!getenv("SUSPENDD_LOG_LEVEL"))
                log_set_max_level(LOG_EMERG);
        tcase_set_timeout(tcase, 60);
        tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_add_loop_test(tcase, test_crash_at_every_point, 0, RESTART_MAX);
        tcase_add_test(tcase, test_suspend_that_was_owed_in_an_earlier_life_is_undone);
        tcase_add_test(tcase, test_held_machines_are_adopted_asleep);
        tcase_add_test(tcase, test_held_machines_are_run_by_the_next_start);
        tcase_add_loop_test(
                        tcase,
                        test_what_an_earlier_life_has_not_seen_of_the_sleep_is_counted,
                        0,
                        2);
        tcase_add_test(tcase, test_a_sleep_that_is_recorded_is_not_counted_again);
        tcase_add_test(tcase, test_of_two_sleeps_the_recorded_one_is_not_counted);
        tcase_add_test(tcase, test_sleep_while_no_daemon_lived_is_made_up_for);
        tcase_add_test(tcase, test_clocks_that_cannot_be_are_no_sleep);
        tcase_add_test(tcase, test_what_others_ran_meanwhile_is_left_running);
        tcase_add_test(tcase, test_another_start_of_a_vm_is_not_adopted);
        tcase_add_test(tcase, test_machine_seen_late_is_adopted_amidst_a_sleep);
        tcase_add_test(tcase, test_note_of_a_machine_that_is_gone_goes);
        tcase_add_test(tcase, test_note_of_a_machine_out_of_reach_stays);
        tcase_add_test(tcase, test_suspend_asked_before_the_crash_is_undone);
        tcase_add_test(tcase, test_nothing_is_stopped_without_a_note);
        tcase_add_test(tcase, test_note_that_cannot_be_taken_back_is_later);
        tcase_add_loop_test(tcase, test_room_that_was_refused_is_asked_for_again, 0, 2);
        tcase_add_test(tcase, test_note_that_is_wanted_again_stays);
        tcase_add_test(tcase, test_note_is_written_before_the_act);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
