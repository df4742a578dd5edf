/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "daemon/login1.h"
#include "fake-bus.h"

#define SUSPEND "systemd-suspend.service"
#define SLEEP_PROGRAM "/usr/lib/systemd/systemd-sleep"

typedef struct Seen {
        bool is_refusing;
        unsigned n_woke, n_sleep, n_wake, n_shutdown, n_not_sleeping, n_delay_max, n_gone, n_come;
        uint64_t delay_max_usec;
} Seen;

static Seen seen;
static Login1 *login1;

static void on_sleep(void *userdata, bool start) {
        Seen *s = userdata;

        *(start ? &s->n_sleep : &s->n_wake) += 1;
}

static void on_shutdown(void *userdata, bool start) {
        Seen *s = userdata;

        s->n_shutdown += start;
}

static void on_not_sleeping(void *userdata) {
        Seen *s = userdata;

        s->n_not_sleeping++;
}

static bool on_woke(void *userdata) {
        Seen *s = userdata;

        s->n_woke++;
        return !s->is_refusing;
}

static void on_delay_max(void *userdata, uint64_t usec) {
        Seen *s = userdata;

        s->n_delay_max++;
        s->delay_max_usec = usec;
}

static void on_present(void *userdata, bool present) {
        Seen *s = userdata;

        *(present ? &s->n_come : &s->n_gone) += 1;
}

static const Login1Ops ops = {
        .on_sleep = on_sleep,
        .on_shutdown = on_shutdown,
        .on_not_sleeping = on_not_sleeping,
        .on_woke = on_woke,
        .on_delay_max = on_delay_max,
        .on_present = on_present,
};

static void begin(void) {
        seen = (Seen){ 0 };
        ck_assert_int_eq(login1_new(fake.bus, &ops, &seen, &login1), 0);
        for (int i = 0; i < 500 && !login1_is_present(login1); i++)
                (void) fake_run_for(10 * USEC_PER_MSEC);
        ck_assert(login1_is_present(login1));
}

static void setup(void) {
        fake_start();
        begin();
}

static void teardown(void) {
        login1 = login1_free(login1);
        fake_stop();
}

START_TEST(test_sleep_is_told) {
        fake_call("Emit", "b", true);
        fake_run_until(&seen.n_sleep, 1);
        fake_call("Emit", "b", false);
        fake_run_until(&seen.n_wake, 1);
        fake_call("EmitShutdown", "b", true);
        fake_run_until(&seen.n_shutdown, 1);
        ck_assert_uint_eq(seen.n_sleep, 1);
        ck_assert_uint_eq(seen.n_not_sleeping, 0);
}
END_TEST

START_TEST(test_sleep_under_way_at_the_start_is_told) {
        ck_assert_int_eq(login1_start(login1), 0);
        (void) fake_run_for(200 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_sleep, 0);
        fake_call("SetPreparing", "b", true);
        ck_assert_int_eq(login1_start(login1), 0);
        fake_run_until(&seen.n_sleep, 1);
}
END_TEST

START_TEST(test_delay_max_is_read_anew) {
        ck_assert_int_eq(login1_query_delay_max(login1), 0);
        fake_run_until(&seen.n_delay_max, 1);
        ck_assert_uint_eq(seen.delay_max_usec, 5 * USEC_PER_SEC);
        fake_call("SetDelayMax", "t", UINT64_MAX);
        ck_assert_int_eq(login1_query_delay_max(login1), 0);
        ck_assert_int_eq(login1_query_delay_max(login1), 0); /* takes the place of the first */
        fake_run_until(&seen.n_delay_max, 2);
        ck_assert_uint_eq(seen.delay_max_usec, USEC_INFINITY);
        (void) fake_run_for(100 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_delay_max, 2);
}
END_TEST

static void forge(const char *path, const char *interface, const char *member, const char *types) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const char *us;

        ck_assert_int_eq(sd_bus_get_unique_name(fake.bus, &us), 0);
        ck_assert_int_ge(sd_bus_message_new_signal(fake.control, &m, path, interface, member), 0);
        if (*types == 'b')
                ck_assert_int_ge(sd_bus_message_append(m, "b", true), 0);
        else
                ck_assert_int_ge(
                                sd_bus_message_append(
                                                m,
                                                "sss",
                                                "org.freedesktop.login1",
                                                ":1.1",
                                                *types == 'g' ? "" : ":1.0"),
                                0);
        ck_assert_int_ge(sd_bus_message_set_destination(m, us), 0);
        ck_assert_int_ge(sd_bus_send(fake.control, m, NULL), 0);
        ck_assert_int_ge(sd_bus_flush(fake.control), 0);
}

/* Anybody may send us a signal; only logind's, and the bus's own, count. */
START_TEST(test_strangers_cannot_play_logind) {
        forge("/org/freedesktop/login1", "org.freedesktop.login1.Manager", "PrepareForSleep", "b");
        forge("/org/freedesktop/login1",
              "org.freedesktop.login1.Manager",
              "PrepareForShutdown",
              "b");
        forge("/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged", "gone");
        forge("/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged", "other");
        (void) fake_run_for(300 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_sleep + seen.n_shutdown + seen.n_gone + seen.n_come, 0);

        fake_call("Emit", "b", true); /* the real one still counts */
        fake_run_until(&seen.n_sleep, 1);
}
END_TEST

/* logind restarted in the delay: no false ever comes. */
START_TEST(test_logind_that_goes_ends_the_sleep) {
        fake_call("Emit", "b", true);
        fake_run_until(&seen.n_sleep, 1);
        fake_call("Drop", "b", true);
        fake_run_until(&seen.n_gone, 1);
        ck_assert(!login1_is_present(login1));
        fake_run_until(&seen.n_not_sleeping, 1);
        fake_call("SetPreparing", "b", false);
        fake_call("Retake", "");
        fake_run_until(&seen.n_come, 1);
        ck_assert(login1_is_present(login1));
        fake_call("Emit", "b", true); /* and what it says counts again */
        fake_run_until(&seen.n_sleep, 2);
}
END_TEST

/* logind killed while asleep: what sleeps is systemd's service, and it is not over before that is. */
START_TEST(test_sleep_goes_on_while_its_service_runs) {
        static const char *const units[] = {
                "systemd-suspend.service",
                "systemd-hibernate.service",
                "systemd-hybrid-sleep.service",
                "systemd-suspend-then-hibernate.service",
        };
        static const char *const states[] = { "activating", "active", "deactivating", "reloading" };

        fake_call("SetUnit", "ss", units[_i], states[_i]);
        fake_call("Drop", "b", true);
        fake_run_until(&seen.n_gone, 1);
        (void) fake_run_for(700 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_not_sleeping, 0);
        fake_call("SetUnit", "ss", units[_i], _i == 1 ? "failed" : "inactive");
        fake_run_until(&seen.n_not_sleeping, 1);
        ck_assert_uint_eq(fake_run_for(600 * USEC_PER_MSEC), 0); /* nothing is asked any more */
        ck_assert_uint_eq(seen.n_not_sleeping, 1);
}
END_TEST

START_TEST(test_doubt_believes_what_logind_prepares) {
        fake_call("SetPreparing", "b", true);
        login1_doubt(login1, 0);
        (void) fake_run_for(700 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_not_sleeping, 0);
        fake_call("SetPreparing", "b", false);
        fake_run_until(&seen.n_not_sleeping, 1);
}
END_TEST

START_TEST(test_doubt_has_the_patience_asked_for) {
        uint64_t began_usec = clock_now_usec(CLOCK_MONOTONIC);

        login1_doubt(login1, 800 * USEC_PER_MSEC);
        fake_run_until(&seen.n_not_sleeping, 1);
        ck_assert_uint_ge(clock_now_usec(CLOCK_MONOTONIC) - began_usec, 800 * USEC_PER_MSEC);

        login1_doubt(login1, 3600 * USEC_PER_SEC);
        (void) fake_run_for(300 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_not_sleeping, 1);
        login1_doubt(login1, 400 * USEC_PER_MSEC); /* less of it */
        fake_run_until(&seen.n_not_sleeping, 2);
}
END_TEST

/* A yes in between begins the patience anew. */
START_TEST(test_doubt_wants_an_unbroken_no) {
        uint64_t began_usec;

        login1_doubt(login1, 600 * USEC_PER_MSEC);
        (void) fake_run_for(350 * USEC_PER_MSEC);
        fake_call("SetPreparing", "b", true);
        (void) fake_run_for(600 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_not_sleeping, 0);
        fake_call("SetPreparing", "b", false);
        began_usec = clock_now_usec(CLOCK_MONOTONIC);
        fake_run_until(&seen.n_not_sleeping, 1);
        ck_assert_uint_ge(clock_now_usec(CLOCK_MONOTONIC) - began_usec, 600 * USEC_PER_MSEC);
}
END_TEST

START_TEST(test_doubt_ends_with_trust_or_a_signal) {
        login1_doubt(login1, 300 * USEC_PER_MSEC);
        login1_trust(login1);
        (void) fake_run_for(600 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_not_sleeping, 0);

        login1_doubt(login1, 300 * USEC_PER_MSEC);
        fake_call("Emit", "b", false);
        fake_run_until(&seen.n_wake, 1);
        ck_assert_uint_eq(fake_run_for(600 * USEC_PER_MSEC), 0);
        ck_assert_uint_eq(seen.n_not_sleeping, 0);
}
END_TEST

/* Its hooks may take long, and logind waits for them. */
START_TEST(test_plain_suspend_is_over_once_the_host_has_slept) {
        fake_call("SetPreparing", "b", true);
        fake_call("SetUnit", "ss", SUSPEND, "activating");
        if (_i == 1) { /* in doubt already */
                login1_doubt(login1, 3600 * USEC_PER_SEC);
                (void) fake_run_for(100 * USEC_PER_MSEC);
        }
        login1_slept(login1);
        fake_run_until(&seen.n_woke, 1);
        ck_assert_uint_eq(fake_run_for(600 * USEC_PER_MSEC), 0); /* nothing is asked any more */
        ck_assert_uint_eq(seen.n_woke, 1);
        ck_assert_uint_eq(seen.n_not_sleeping + seen.n_wake, 0);
}
END_TEST

/* An attempt that failed may look like a sleep, and systemd makes another one. */
START_TEST(test_suspend_is_not_over_while_more_speaks_against_it) {
        fake_call("SetPreparing", "b", true);
        fake_call("SetUnit", "ss", SUSPEND, "activating");
        seen.is_refusing = true;
        login1_slept(login1);
        (void) fake_run_for(700 * USEC_PER_MSEC);
        ck_assert_uint_gt(seen.n_woke, 2);
        ck_assert_uint_lt(seen.n_woke, 10); /* less and less often */
        seen = (Seen){ 0 };
        fake_run_until(&seen.n_woke, 1);
        ck_assert_uint_eq(fake_run_for(600 * USEC_PER_MSEC), 0);
}
END_TEST

/* What may sleep once more is waited for. */
START_TEST(test_what_sleeps_twice_is_not_over_for_having_slept) {
        static const struct {
                const char *unit, *program, *word;
        } cases[] = {
                { "systemd-hibernate.service", SLEEP_PROGRAM, "suspend" },
                { "systemd-hybrid-sleep.service", SLEEP_PROGRAM, "suspend" },
                { "systemd-suspend-then-hibernate.service", SLEEP_PROGRAM, "suspend" },
                /* changed by its admin */
                { SUSPEND, SLEEP_PROGRAM, "suspend-then-hibernate" },
                { SUSPEND, "/usr/local/bin/sleep-well", "suspend" },
                { SUSPEND, "systemd-sleep", "suspend" },
        };

        fake_call("SetPreparing", "b", true);
        fake_call("SetCommand", "sss", SUSPEND, cases[_i].program, cases[_i].word);
        fake_call("SetUnit", "ss", cases[_i].unit, "activating");
        if (_i < 3)
                fake_call("SetUnit", "ss", SUSPEND, "activating"); /* both at once */
        login1_slept(login1);
        (void) fake_run_for(700 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_woke + seen.n_not_sleeping, 0);

        fake_call("SetUnit", "ss", cases[_i].unit, _i < 3 ? "inactive" : "activating");
        fake_call("SetCommand", "sss", SUSPEND, SLEEP_PROGRAM, "suspend");
        fake_run_until(&seen.n_woke, 1);
}
END_TEST

/* Of a sleep that the host has not slept yet nothing is over, whatever is at work. */
START_TEST(test_suspend_that_has_not_slept_is_waited_for) {
        fake_call("SetPreparing", "b", true);
        fake_call("SetUnit", "ss", SUSPEND, "activating");
        login1_doubt(login1, 0);
        (void) fake_run_for(700 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_woke + seen.n_not_sleeping, 0);

        login1_slept(login1); /* of the one before: it is forgotten with that */
        login1_trust(login1);
        login1_doubt(login1, 0);
        (void) fake_run_for(700 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_woke + seen.n_not_sleeping, 0);
}
END_TEST

static bool has_no_memory; /* for anything that is small */

__typeof__(sd_event_add_time_relative) __real_sd_event_add_time_relative,
                __wrap_sd_event_add_time_relative;
__typeof__(strdup) __real_strdup, __wrap_strdup;

int __wrap_sd_event_add_time_relative(
                sd_event *event,
                sd_event_source **ret,
                clockid_t clock,
                uint64_t usec,
                uint64_t accuracy,
                sd_event_time_handler_t fn,
                void *userdata) {
        return has_no_memory ? -ENOMEM
                             : __real_sd_event_add_time_relative(
                                               event, ret, clock, usec, accuracy, fn, userdata);
}

char *__wrap_strdup(const char *s) {
        return has_no_memory ? NULL : __real_strdup(s);
}

/* At the start, or as it comes back. */
START_TEST(test_logind_is_known_though_memory_was_lacking) {
        if (_i == 0) {
                login1 = login1_free(login1);
                has_no_memory = true;
                begin();
        } else {
                fake_call("Drop", "b", true);
                fake_run_until(&seen.n_gone, 1);
                has_no_memory = true;
                fake_call("Retake", "");
                fake_run_until(&seen.n_come, 1);
        }
        has_no_memory = false;
        fake_call("Emit", "b", true);
        fake_run_until(&seen.n_sleep, 1);
}
END_TEST

START_TEST(test_doubt_goes_on_though_memory_was_lacking) {
        fake_call("SetPreparing", "b", true);
        has_no_memory = true;
        login1_doubt(login1, 0);
        (void) fake_run_for(500 * USEC_PER_MSEC);
        has_no_memory = false;
        ck_assert_uint_eq(seen.n_not_sleeping, 0);
        fake_call("SetPreparing", "b", false);
        login1_doubt(login1, 0); /* as at a jump of the clock: it is in doubt already */
        fake_run_until(&seen.n_not_sleeping, 1);
}
END_TEST

START_TEST(test_idle_costs_nothing) {
        ck_assert_int_eq(login1_start(login1), 0);
        (void) fake_run_for(200 * USEC_PER_MSEC);
        ck_assert_uint_eq(fake_run_for(500 * USEC_PER_MSEC), 0);
}
END_TEST

/* A logind that hangs may go on with its sleep at any time, whatever systemd says. */
START_TEST(test_no_answer_is_not_a_no) {
        fake_start_bus();
        ck_assert_int_ge(sd_bus_request_name(fake.control, "org.freedesktop.login1", 0), 0);
        begin();
        login1_doubt(login1, 0);
        (void) fake_run_for(4600 * USEC_PER_MSEC); /* two rounds, each with a time limit of 2 s */
        ck_assert_uint_eq(seen.n_not_sleeping, 0);

        ck_assert_int_ge(sd_bus_release_name(fake.control, "org.freedesktop.login1"), 0);
        fake_run_until(&seen.n_gone, 1);
        fake_run_until(&seen.n_not_sleeping, 1);
        login1 = login1_free(login1);
        fake_stop();
}
END_TEST

/* Neither logind nor systemd on the bus. */
START_TEST(test_nobody_there_is_no_sleep) {
        fake_start_bus();
        seen = (Seen){ 0 };
        ck_assert_int_eq(login1_new(fake.bus, &ops, &seen, &login1), 0);
        ck_assert(!login1_is_present(login1));
        ck_assert_int_eq(login1_start(login1), 0);
        ck_assert_int_eq(login1_query_delay_max(login1), 0);
        login1_doubt(login1, 0);
        fake_run_until(&seen.n_not_sleeping, 1);
        ck_assert_uint_eq(seen.n_delay_max + seen.n_sleep, 0);

        fake_start_login1();
        fake_run_until(&seen.n_come, 1);
        fake_call("Emit", "b", true);
        fake_run_until(&seen.n_sleep, 1);
        login1 = login1_free(login1);
        fake_stop();
}
END_TEST

int main(void) {
        TCase *c, *alone;
        Suite *suite;
        SRunner *runner;
        int n_failed;

        if (!fake_is_possible())
                return 77;

        c = tcase_create("login1");
        alone = tcase_create("login1-absent");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_set_timeout(c, 30);
        tcase_add_test(c, test_sleep_is_told);
        tcase_add_test(c, test_sleep_under_way_at_the_start_is_told);
        tcase_add_test(c, test_delay_max_is_read_anew);
        tcase_add_test(c, test_strangers_cannot_play_logind);
        tcase_add_test(c, test_logind_that_goes_ends_the_sleep);
        tcase_add_loop_test(c, test_sleep_goes_on_while_its_service_runs, 0, 4);
        tcase_add_test(c, test_doubt_believes_what_logind_prepares);
        tcase_add_test(c, test_doubt_has_the_patience_asked_for);
        tcase_add_test(c, test_doubt_wants_an_unbroken_no);
        tcase_add_test(c, test_doubt_ends_with_trust_or_a_signal);
        tcase_add_loop_test(c, test_plain_suspend_is_over_once_the_host_has_slept, 0, 2);
        tcase_add_test(c, test_suspend_is_not_over_while_more_speaks_against_it);
        tcase_add_loop_test(c, test_what_sleeps_twice_is_not_over_for_having_slept, 0, 6);
        tcase_add_test(c, test_suspend_that_has_not_slept_is_waited_for);
        tcase_add_loop_test(c, test_logind_is_known_though_memory_was_lacking, 0, 2);
        tcase_add_test(c, test_doubt_goes_on_though_memory_was_lacking);
        tcase_add_test(c, test_idle_costs_nothing);
        tcase_set_timeout(alone, 30);
        tcase_add_test(alone, test_no_answer_is_not_a_no);
        tcase_add_test(alone, test_nobody_there_is_no_sleep);

        suite = suite_create("login1");
        suite_add_tcase(suite, c);
        suite_add_tcase(suite, alone);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
