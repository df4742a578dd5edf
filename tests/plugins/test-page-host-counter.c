/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <time.h>
#include "common/macro.h"
#include "common/time-util.h"
#include "plugins/page/host-counter.h"

/* A made-up host: 2.5 GHz, since CLOCK_MONOTONIC was 1000 s. */
#define HZ INT64_C(2500000000)

static HostCounter host;
static CounterSample now;

static void reset(void) {
        host = (HostCounter){ 0 };
        now = (CounterSample){
                .counter = 1000 * (uint64_t) HZ,
                .width = 250, /* 100 ns */
                .realtime_ns = 1800000000 * NSEC_PER_SEC,
                .monotonic_ns = 1000 * NSEC_PER_SEC,
                .raw_ns = 1001 * NSEC_PER_SEC,
                .boottime_ns = 1000 * NSEC_PER_SEC,
        };
        host_counter_note(&host, &now);
}

/* Awake for @ns of the counter's own time, in which the clocks of NTP's are fast by @ppb. */
static void pass(int64_t ns, int64_t ppb) {
        int64_t slewed_ns = ns + (int64_t) ((double) ns * (double) ppb / 1e9);

        now.counter += (uint64_t) (ns / 2 * 5);
        now.raw_ns += ns;
        now.monotonic_ns += slewed_ns;
        now.realtime_ns += slewed_ns;
        now.boottime_ns += slewed_ns;
}

static void note(void) {
        host_counter_note(&host, &now);
}

static double hz(void) {
        return (double) host.rate.ticks / (double) host.rate.ns * 1e9;
}

START_TEST(test_rate_is_known_after_a_second_not_before) {
        reset();
        ck_assert_uint_eq(host.rate.ticks, 0);
        pass(NSEC_PER_SEC - 2, 0);
        note();
        ck_assert_uint_eq(host.rate.ticks, 0);
        pass(2, 0);
        note();
        ck_assert_double_eq_tol(hz(), (double) HZ, 1e-3);
        /* twice half of 100 ns and what is rounded, of a second */
        ck_assert_uint_ge(host.rate.error_ppt, 100000);
        ck_assert_uint_le(host.rate.error_ppt, 110000);
}
END_TEST

START_TEST(test_error_shrinks_with_the_span) {
        reset();
        for (unsigned i = 0; i < 60; i++) {
                uint64_t before = host.rate.ticks ? host.rate.error_ppt : UINT64_MAX;

                pass(NSEC_PER_SEC, 0);
                note();
                ck_assert_uint_lt(host.rate.error_ppt, before);
        }
        ck_assert_uint_lt(host.rate.error_ppt, 2000);
}
END_TEST

START_TEST(test_slewing_of_now_is_seen_not_that_of_an_hour_ago) {
        reset();
        for (unsigned i = 0; i < 3600; i++) {
                pass(NSEC_PER_SEC, 0);
                note();
        }
        for (unsigned i = 0; i < 100; i++) {
                pass(NSEC_PER_SEC, 20000);
                note();
        }
        ck_assert_double_eq_tol(hz(), (double) HZ / (1 + 20e-6), (double) HZ * 1e-9);
}
END_TEST

START_TEST(test_step_of_the_wall_clock_does_not_move_the_rate) {
        reset();
        pass(2 * NSEC_PER_SEC, 0);
        note();
        now.realtime_ns += 700 * NSEC_PER_MSEC;
        pass(2 * NSEC_PER_SEC, 0);
        note();
        ck_assert_double_eq_tol(hz(), (double) HZ, 1e-3);
        ck_assert_uint_eq(host.resets, 0);
}
END_TEST

/* Where a sleep leaves counter and clocks: s2idle (it runs on), S3 with and without a counter that stops. */
static void sleep_on(int64_t ns) {
        now.boottime_ns += ns;
        now.realtime_ns += ns;
}

START_TEST(test_sleep_through_which_the_counter_runs_is_not_measured_over) {
        reset();
        pass(60 * NSEC_PER_SEC, 0);
        note();
        sleep_on(3600 * NSEC_PER_SEC);
        now.counter += 3600 * (uint64_t) HZ;
        pass(NSEC_PER_SEC / 2, 0);
        note();
        ck_assert_double_eq_tol(hz(), (double) HZ, 1e-3);
        ck_assert_uint_eq(host.resets, 0);
        pass(2 * NSEC_PER_SEC, 5000);
        note();
        ck_assert_double_eq_tol(hz(), (double) HZ / (1 + 5e-6), 1);
}
END_TEST

START_TEST(test_sleep_in_which_the_counter_stands_is_no_reset) {
        reset();
        pass(60 * NSEC_PER_SEC, 0);
        note();
        sleep_on(3600 * NSEC_PER_SEC);
        pass(NSEC_PER_SEC / 2, 0);
        note();
        ck_assert_uint_eq(host.resets, 0);
        ck_assert_double_eq_tol(hz(), (double) HZ, 1e-3);
}
END_TEST

START_TEST(test_counter_that_began_anew_is_noticed) {
        reset();
        pass(60 * NSEC_PER_SEC, 0);
        note();
        sleep_on(3600 * NSEC_PER_SEC);
        pass(NSEC_PER_SEC, 0);
        now.counter = (uint64_t) HZ;
        note();
        ck_assert_uint_eq(host.resets, 1);
        /* the rate is the crystal's: it outlives that */
        ck_assert_double_eq_tol(hz(), (double) HZ, 1e-3);
}
END_TEST

START_TEST(test_counter_that_began_anew_and_has_overtaken_itself_is_noticed) {
        reset();
        now.counter = 10 * (uint64_t) HZ; /* the host has just been booted */
        host = (HostCounter){ 0 };
        note();
        pass(10 * NSEC_PER_SEC, 0);
        note();
        sleep_on(3600 * NSEC_PER_SEC);
        pass(40 * NSEC_PER_SEC, 0);
        now.counter = 40 * (uint64_t) HZ;
        note();
        ck_assert_uint_eq(host.resets, 1);
}
END_TEST

START_TEST(test_fast_slewing_is_no_reset) {
        reset();
        pass(60 * NSEC_PER_SEC, 0);
        note();
        for (unsigned i = 0; i < 200; i++) {
                pass(NSEC_PER_SEC, i < 100 ? 100000000 : -100000000);
                note();
        }
        ck_assert_uint_eq(host.resets, 0);
}
END_TEST

#if defined(__x86_64__)
START_TEST(test_sample_is_a_sandwich_of_now) {
        CounterSample a, b;
        int64_t before_ns, after_ns;
        struct timespec t;

        (void) clock_gettime(CLOCK_REALTIME, &t);
        before_ns = t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
        ck_assert_int_eq(counter_sample_take(&a), 0);
        ck_assert_int_eq(counter_sample_take(&b), 0);
        (void) clock_gettime(CLOCK_REALTIME, &t);
        after_ns = t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
        ck_assert_int_le(before_ns, a.realtime_ns);
        ck_assert_int_le(a.realtime_ns, b.realtime_ns);
        ck_assert_int_le(b.realtime_ns, after_ns);
        ck_assert_uint_lt(a.counter, b.counter);
        ck_assert_uint_gt(a.width, 0);
}
END_TEST
#endif

START_TEST(test_only_a_clock_made_from_the_counter_will_do) {
        ck_assert(host_counter_is_clocksource(TREES "/sys-tsc"));
        ck_assert(!host_counter_is_clocksource(TREES "/sys-hpet"));
        ck_assert(!host_counter_is_clocksource(TREES "/sys-kvm-clock"));
        ck_assert(!host_counter_is_clocksource(TREES "/nowhere"));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("page-host-counter");
        TCase *c = tcase_create("host-counter");
        SRunner *runner;
        int n_failed;

        tcase_add_test(c, test_rate_is_known_after_a_second_not_before);
        tcase_add_test(c, test_error_shrinks_with_the_span);
        tcase_add_test(c, test_slewing_of_now_is_seen_not_that_of_an_hour_ago);
        tcase_add_test(c, test_step_of_the_wall_clock_does_not_move_the_rate);
        tcase_add_test(c, test_sleep_through_which_the_counter_runs_is_not_measured_over);
        tcase_add_test(c, test_sleep_in_which_the_counter_stands_is_no_reset);
        tcase_add_test(c, test_counter_that_began_anew_is_noticed);
        tcase_add_test(c, test_counter_that_began_anew_and_has_overtaken_itself_is_noticed);
        tcase_add_test(c, test_fast_slewing_is_no_reset);
#if defined(__x86_64__)
        tcase_add_test(c, test_sample_is_a_sandwich_of_now);
#endif
        tcase_add_test(c, test_only_a_clock_made_from_the_counter_will_do);
        suite_add_tcase(suite, c);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
