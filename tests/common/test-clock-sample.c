/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/macro.h"
#include "common/time-util.h"

START_TEST(test_sample_is_of_now) {
        int64_t before_ns = clock_now_ns(CLOCK_BOOTTIME);
        ClockSample sample;

        clock_sample_take(&sample);
        ck_assert_int_ge(sample.boottime_ns, before_ns);
        ck_assert_int_le(sample.boottime_ns, clock_now_ns(CLOCK_BOOTTIME));
        ck_assert_int_le(sample.monotonic_ns, clock_now_ns(CLOCK_MONOTONIC));
        ck_assert_int_gt(sample.realtime_ns, 1700000000 * NSEC_PER_SEC);
}
END_TEST

START_TEST(test_no_sleep_is_seen_where_there_was_none) {
        ClockSample a, b;

        clock_sample_take(&a);
        for (int i = 0; i < 1000; i++) {
                clock_sample_take(&b);
                ck_assert_int_lt(clock_sample_slept_ns(&a, &b), NSEC_PER_MSEC);
        }
}
END_TEST

START_TEST(test_slept_is_growth_of_boottime_over_monotonic) {
        const ClockSample a = { .monotonic_ns = 100, .boottime_ns = 1100, .realtime_ns = 5000 };
        const ClockSample b = { .monotonic_ns = 150, .boottime_ns = 3150, .realtime_ns = 7050 };

        ck_assert_int_eq(clock_sample_slept_ns(&a, &b), 2000);
        ck_assert_int_eq(clock_sample_slept_ns(&b, &a), 0);
        ck_assert_int_eq(clock_sample_stepped_ns(&a, &b), 0);
}
END_TEST

START_TEST(test_stepped_is_growth_of_realtime_over_boottime) {
        const ClockSample a = { .boottime_ns = 1000, .realtime_ns = 5000 };
        const ClockSample b = { .boottime_ns = 2000, .realtime_ns = 9000 };

        ck_assert_int_eq(clock_sample_stepped_ns(&a, &b), 3000);
        ck_assert_int_eq(clock_sample_stepped_ns(&b, &a), -3000);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("clock-sample");
        TCase *tcase = tcase_create("clock-sample");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_test(tcase, test_sample_is_of_now);
        tcase_add_test(tcase, test_no_sleep_is_seen_where_there_was_none);
        tcase_add_test(tcase, test_slept_is_growth_of_boottime_over_monotonic);
        tcase_add_test(tcase, test_stepped_is_growth_of_realtime_over_boottime);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
