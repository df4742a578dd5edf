/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include "cli/clean.h"
#include "cli/record.h"

#define MACHINE(_stood, _failed, _verdict, _after)                     \
        "{\"id\":\"m\",\"stood\":" _stood ",\"failed\":" _failed       \
        ",\"time\":{\"verdict\":\"" _verdict "\",\"after_ns\":" _after \
        ",\"after_uncertainty_ns\":7}}"
#define RECORD(_ended, _machines) \
        "{\"number\":3,\"ended\":\"" _ended "\",\"machines\":[" _machines "]}"

static const struct {
        const char *json;
        bool is_wrong;
} records[] = {
        { RECORD("woke", ""), false },
        { RECORD("woke", MACHINE("\"paused\"", "false", "set", "1")), false },
        { RECORD("woke", MACHINE("\"paused\"", "false", "right", "1")), false },
        { RECORD("woke", MACHINE("\"paused\"", "false", "none", "null")), false },
        { RECORD("woke", MACHINE("\"paused\"", "true", "set", "1")), true },
        { RECORD("woke", MACHINE("\"paused\"", "false", "gave-up", "1")), true },
        { RECORD("woke", MACHINE("\"paused\"", "false", "unreachable", "null")), true },
        { RECORD("lost", ""), true },
        { RECORD("failed", ""), true },
        { RECORD("interrupted", MACHINE("\"paused\"", "false", "set", "1")), true },
        { "{}", true },
};

START_TEST(test_wrong_is_seen) {
        _cleanup_json_ JsonObject *record = json_tokener_parse(records[_i].json);

        ck_assert_ptr_nonnull(record);
        ck_assert_int_eq(record_is_wrong(record), records[_i].is_wrong);
}
END_TEST

static int64_t number(JsonObject *o, const char *key) {
        int64_t v = INT64_MIN;

        ck_assert_msg(json_get_int64(o, key, &v) >= 0, "%s", key);
        return v;
}

START_TEST(test_summary_counts_machines) {
        _cleanup_json_ JsonObject *record = json_tokener_parse(RECORD(
                        "woke",
                        MACHINE("\"suspended\"", "false", "set", "5") "," MACHINE("\"paused\"", "false", "set", "-900") "," MACHINE(
                                        "\"paused\"",
                                        "true",
                                        "set",
                                        "30") "," MACHINE("null", "false", "none", "null")));
        _cleanup_json_ JsonObject *summary = record_summary(record);

        ck_assert_int_eq(number(summary, "number"), 3);
        ck_assert_int_eq(number(summary, "suspended"), 1);
        ck_assert_int_eq(number(summary, "paused"), 2);
        ck_assert_int_eq(number(summary, "failed"), 1);
        ck_assert_int_eq(number(summary, "worst_residual_ns"), -900);
        ck_assert_int_eq(number(summary, "worst_residual_uncertainty_ns"), 7);
}
END_TEST

#define SET_LATER(_verdict, _after)                                                                  \
        "{\"id\":\"m\",\"stood\":\"paused\",\"failed\":false,\"time\":{\"verdict\":\"unreachable\"," \
        "\"after_ns\":null},\"later\":[{\"time\":{\"verdict\":\"set\",\"after_ns\":1}},{\"time\":{"  \
        "\"verdict\":\"" _verdict "\",\"after_ns\":" _after ",\"after_uncertainty_ns\":7}}]}"

/* A clock is as it was left, not as it was found first. */
START_TEST(test_last_correction_counts) {
        _cleanup_json_ JsonObject *good =
                        json_tokener_parse(RECORD("woke", SET_LATER("set", "40")));
        _cleanup_json_ JsonObject *bad =
                        json_tokener_parse(RECORD("woke", SET_LATER("gave-up", "40")));
        _cleanup_json_ JsonObject *summary = record_summary(good);

        ck_assert(!record_is_wrong(good));
        ck_assert(record_is_wrong(bad));
        ck_assert_int_eq(number(summary, "worst_residual_ns"), 40);
}
END_TEST

START_TEST(test_summary_without_a_reading_has_no_residual) {
        _cleanup_json_ JsonObject *record = json_tokener_parse(
                        RECORD("woke", MACHINE("null", "false", "none", "null")));
        _cleanup_json_ JsonObject *summary = record_summary(record);
        int64_t v;

        ck_assert_int_lt(json_get_int64(summary, "worst_residual_ns", &v), 0);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("cli-record");
        TCase *tcase = tcase_create("record");
        SRunner *runner;
        int failed;

        tcase_add_loop_test(tcase, test_wrong_is_seen, 0, ARRAY_LEN(records));
        tcase_add_test(tcase, test_summary_counts_machines);
        tcase_add_test(tcase, test_last_correction_counts);
        tcase_add_test(tcase, test_summary_without_a_reading_has_no_residual);
        suite_add_tcase(suite, tcase);

        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
