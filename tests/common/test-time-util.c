/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include "common/macro.h"
#include "common/time-util.h"

static const struct {
        const char *text;
        int r;
        uint64_t usec;
} spans[] = {
        { "0", 0, 0 },
        { "5", 0, 5000000 },
        { " 5s ", 0, 5000000 },
        { "5 s", 0, 5000000 },
        { "250ms", 0, 250000 },
        { "1min 30s", 0, 90000000 },
        { "1min30s", 0, 90000000 },
        { "1min 30", 0, 90000000 },
        { "1.5s", 0, 1500000 },
        { ".25s", 0, 250000 },
        { "0.5min", 0, 30000000 },
        { "0.0000019s", 0, 1 },
        { "7us", 0, 7 },
        { "7µs", 0, 7 },
        { "2h", 0, UINT64_C(7200000000) },
        { "1w 1d", 0, UINT64_C(691200000000) },
        { "infinity", 0, USEC_INFINITY },
        { " infinity\n", 0, USEC_INFINITY },
        { "18446744073709551614us", 0, UINT64_MAX - 1 },
        { "18446744073709551615us", -ERANGE, 0 },
        { "18446744073709551616us", -ERANGE, 0 },
        { "18446744073709551614us 1us", -ERANGE, 0 },
        { "99999999999999w", -ERANGE, 0 },
        { "", -EINVAL, 0 },
        { "  ", -EINVAL, 0 },
        { "-5s", -EINVAL, 0 },
        { "+5s", -EINVAL, 0 },
        { "5x", -EINVAL, 0 },
        { "s", -EINVAL, 0 },
        { "5.", -EINVAL, 0 },
        { ".", -EINVAL, 0 },
        { "1.5.5s", -EINVAL, 0 },
        { "0x10", -EINVAL, 0 },
        { "1e3", -EINVAL, 0 },
        { "infinityx", -EINVAL, 0 },
        { "5 infinity", -EINVAL, 0 },
        { "5s,", -EINVAL, 0 },
};

START_TEST(test_span_is_read) {
        uint64_t usec = 4711;
        int r = time_span_parse(spans[_i].text, &usec);

        ck_assert_msg(r == spans[_i].r, "\"%s\": %d", spans[_i].text, r);
        ck_assert_uint_eq(usec, r < 0 ? 4711 : spans[_i].usec);
}
END_TEST

START_TEST(test_span_is_written) {
        char buf[TIME_SPAN_MAX];

        ck_assert_str_eq(time_span_format(buf, 0), "0");
        ck_assert_str_eq(time_span_format(buf, 1), "1us");
        ck_assert_str_eq(time_span_format(buf, 250000), "250ms");
        ck_assert_str_eq(time_span_format(buf, 1500000), "1s 500ms");
        ck_assert_str_eq(time_span_format(buf, 90 * USEC_PER_SEC), "1min 30s");
        ck_assert_str_eq(time_span_format(buf, 3600 * USEC_PER_SEC + 5), "1h");
        ck_assert_str_eq(time_span_format(buf, UINT64_MAX - 1), "30500568w 6d");
        ck_assert_str_eq(time_span_format(buf, USEC_INFINITY), "infinity");
}
END_TEST

START_TEST(test_span_of_two_units_goes_there_and_back) {
        static const uint64_t values[] = { 0,         1, 999, 1001, 61000000, 3661000000 - 1000000,
                                           UINT64_MAX };

        for (size_t i = 0; i < ARRAY_LEN(values); i++) {
                char buf[TIME_SPAN_MAX];
                uint64_t usec = 1;

                ck_assert_int_eq(time_span_parse(time_span_format(buf, values[i]), &usec), 0);
                ck_assert_uint_eq(usec, values[i]);
        }
}
END_TEST

START_TEST(test_offset_has_sign_and_three_digits) {
        char buf[TIME_SPAN_MAX];

        ck_assert_str_eq(time_offset_format(buf, 0), "+0ns");
        ck_assert_str_eq(time_offset_format(buf, -1), "-1ns");
        ck_assert_str_eq(time_offset_format(buf, -1500000), "-1.5ms");
        ck_assert_str_eq(time_offset_format(buf, 2310000000), "+2.31s");
        ck_assert_str_eq(time_offset_format(buf, 12345), "+12.3us");
        ck_assert_str_eq(time_offset_format(buf, 123456), "+123us");
        ck_assert_str_eq(time_offset_format(buf, 100000), "+100us");
        ck_assert_str_eq(time_offset_format(buf, 999499), "+999us");
        ck_assert_str_eq(time_offset_format(buf, 999500), "+1ms");
        ck_assert_str_eq(time_offset_format(buf, 9994999), "+9.99ms");
        ck_assert_str_eq(time_offset_format(buf, 9996000), "+10ms");
        ck_assert_str_eq(time_offset_format(buf, 3600 * NSEC_PER_SEC), "+3600s");
        ck_assert_str_eq(time_offset_format(buf, INT64_MAX), "+9223372037s");
        ck_assert_str_eq(time_offset_format(buf, INT64_MIN), "-9223372037s");
}
END_TEST

START_TEST(test_stamp_is_utc) {
        char buf[TIME_STAMP_MAX];

        ck_assert_int_eq(setenv("TZ", "America/New_York", 1), 0);
        ck_assert_str_eq(time_stamp_format(buf, 0), "1970-01-01T00:00:00.000Z");
        ck_assert_str_eq(
                        time_stamp_format(buf, INT64_C(1700000000123999999)),
                        "2023-11-14T22:13:20.123Z");
        ck_assert_str_eq(time_stamp_format(buf, -1), "1969-12-31T23:59:59.999Z");
        ck_assert_str_eq(time_stamp_format(buf, INT64_MAX), "2262-04-11T23:47:16.854Z");
        ck_assert_str_eq(time_stamp_format(buf, INT64_MIN), "1677-09-21T00:12:43.145Z");
}
END_TEST

int main(void) {
        Suite *suite = suite_create("time-util");
        TCase *tcase = tcase_create("time-util");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_loop_test(tcase, test_span_is_read, 0, ARRAY_LEN(spans));
        tcase_add_test(tcase, test_span_is_written);
        tcase_add_test(tcase, test_span_of_two_units_goes_there_and_back);
        tcase_add_test(tcase, test_offset_has_sign_and_three_digits);
        tcase_add_test(tcase, test_stamp_is_utc);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
