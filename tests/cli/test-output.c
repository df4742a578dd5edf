/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include "cli/clean.h"
#include "cli/output.h"

static const Output plain = { .has_legend = true, .is_utf8 = true };

static const struct {
        const char *json;
        Field field;
        const char *text; /* NULL: it has nothing to say */
} cases[] = {
        { "{\"a\":\"x\"}", { "A", "a", FORMAT_TEXT, 0, NULL }, "x" },
        { "{\"a\":\"\"}", { "A", "a", FORMAT_TEXT, 0, NULL }, NULL },
        { "{\"a\":null}", { "A", "a", FORMAT_TEXT, 0, NULL }, NULL },
        { "{}", { "A", "a", FORMAT_TEXT, 0, NULL }, NULL },
        { "{\"a\":{\"b\":{\"c\":7}}}", { "A", "a.b.c", FORMAT_COUNT, 0, NULL }, "7" },
        { "{\"a\":7}", { "A", "a.b", FORMAT_COUNT, 0, NULL }, NULL },
        { "{\"a\":0}", { "A", "a", FORMAT_COUNT, 0, NULL }, "0" },
        { "{\"a\":0}", { "A", "a", FORMAT_COUNT, FIELD_IF_SET, NULL }, NULL },
        { "{\"a\":false}", { "A", "a", FORMAT_YES_NO, 0, NULL }, "no" },
        { "{\"a\":false}", { "A", "a", FORMAT_YES_NO, FIELD_IF_SET, NULL }, NULL },
        { "{\"a\":true}", { "A", "a", FORMAT_YES_NO, FIELD_IF_SET, NULL }, "yes" },
        { "{\"a\":1234567}", { "A", "a", FORMAT_SPAN_USEC, 0, NULL }, "1.23s" },
        { "{\"a\":0}", { "A", "a", FORMAT_SPAN_USEC, 0, NULL }, "0" },
        { "{\"a\":90000000}", { "A", "a", FORMAT_SPAN_USEC, 0, NULL }, "1min 30s" },
        { "{\"a\":28800000000000}", { "A", "a", FORMAT_SPAN_NS, 0, NULL }, "8h" },
        { "{\"a\":null}", { "A", "a", FORMAT_SPAN_USEC, 0, NULL }, NULL },
        { "{\"a\":null}", { "A", "a", FORMAT_LIMIT_USEC, 0, NULL }, "infinity" },
        { "{\"a\":5000000}", { "A", "a", FORMAT_LIMIT_USEC, 0, NULL }, "5s" },
        { "{\"a\":-1500000}", { "A", "a", FORMAT_OFFSET_NS, 0, "b" }, "-1.5ms" },
        { "{\"a\":-1500000,\"b\":200000}",
          { "A", "a", FORMAT_OFFSET_NS, 0, "b" },
          "-1.5ms ±200us" },
        { "{\"a\":999999}", { "A", "a", FORMAT_OFFSET_NS, FIELD_IF_SET, NULL }, NULL },
        { "{\"a\":-1000000}", { "A", "a", FORMAT_OFFSET_NS, FIELD_IF_SET, NULL }, "-1ms" },
        { "{\"a\":[\"x\",\"y\"]}", { "A", "a", FORMAT_LIST, 0, NULL }, "x, y" },
        { "{\"a\":{\"x\":\"y, z\",\"b\":\"c\"}}",
          { "A", "a", FORMAT_LIST, 0, NULL },
          "x: y, z; b: c" },
        { "{\"a\":{}}", { "A", "a", FORMAT_LIST, 0, NULL }, NULL },
        { "{\"a\":{\"x\":\"y\"}}", { "A", "a", FORMAT_TEXT, 0, NULL }, NULL },
        { "{\"a\":[]}", { "A", "a", FORMAT_LIST, 0, NULL }, NULL },
        { "{\"a\":\"2026-03-04T05:06:07.890Z\"}",
          { "A", "a", FORMAT_STAMP, 0, NULL },
          "2026-03-04 05:06:07" },
        { "{\"a\":\"no stamp\"}", { "A", "a", FORMAT_STAMP, 0, NULL }, "no stamp" },
};

START_TEST(test_field_reads_as_described) {
        _cleanup_json_ JsonObject *o = json_tokener_parse(cases[_i].json);
        _cleanup_free_ char *text = NULL;

        ck_assert_ptr_nonnull(o);
        text = output_field(&plain, &cases[_i].field, o);
        if (!cases[_i].text)
                ck_assert_ptr_null(text);
        else
                ck_assert_str_eq(text, cases[_i].text);
}
END_TEST

/* In a locale without UTF-8 a cell that had to be cut kept libsmartcols busy for ever. */
START_TEST(test_table_of_a_plain_locale_ends) {
        static const Field fields[] = { { "NAME", "a", FORMAT_TEXT, FIELD_SHRINK, NULL },
                                        { "OTHER", "a", FORMAT_TEXT, 0, NULL } };
        _cleanup_json_ JsonObject *rows = json_object_new_array(), *row = json_object_new_object();
        const Output ascii = { .has_legend = true };
        _cleanup_free_ char *text = NULL;
        char name[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxü";

        (void) json_object_object_add(row, "a", json_object_new_string(name));
        (void) json_object_array_add(rows, json_object_get(row));
        text = output_field(&ascii, &fields[0], row);
        ck_assert_ptr_nonnull(strstr(text, "x\\xc3\\xbc"));
        ck_assert_int_ge(output_table(&ascii, fields, ARRAY_LEN(fields), rows), 0);
}
END_TEST

START_TEST(test_uncertainty_needs_no_utf8) {
        static const Output ascii = { .has_legend = true };
        static const Field field = { "A", "a", FORMAT_OFFSET_NS, 0, "b" };
        _cleanup_json_ JsonObject *o = json_tokener_parse("{\"a\":1000,\"b\":2000}");
        _cleanup_free_ char *text = output_field(&ascii, &field, o);

        ck_assert_str_eq(text, "+1us +-2us");
}
END_TEST

START_TEST(test_record_is_cleaned) {
        _cleanup_json_ JsonObject *o = NULL;

        ck_assert_int_eq(
                        json_clean_record(
                                        "{\"k\\u001b\":[\"\\u001b]0;x\\u0007\",{\"b\":\"\\u009b\"}],"
                                        "\"n\":-5,\"z\":null,\"t\":true}",
                                        &o),
                        0);
        ck_assert_str_eq(
                        json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
                        "{\"k\\\\x1b\":[\"\\\\x1b]0;x\\\\x07\",{\"b\":\"\\\\xc2\\\\x9b\"}],"
                        "\"n\":-5,\"z\":null,\"t\":true}");
}
END_TEST

START_TEST(test_record_must_be_an_object) {
        JsonObject *o = NULL;

        ck_assert_int_lt(json_clean_record("[1]", &o), 0);
        ck_assert_int_lt(json_clean_record("{", &o), 0);
        ck_assert_int_lt(json_clean_record("", &o), 0);
        ck_assert_ptr_null(o);
}
END_TEST

START_TEST(test_styles_are_known) {
        ck_assert_int_eq(json_style_from_string(NULL), JSON_STYLE_PRETTY);
        ck_assert_int_eq(json_style_from_string("pretty"), JSON_STYLE_PRETTY);
        ck_assert_int_eq(json_style_from_string("short"), JSON_STYLE_SHORT);
        ck_assert_int_eq(json_style_from_string("off"), JSON_STYLE_OFF);
        ck_assert_int_eq(json_style_from_string("xml"), JSON_STYLE_INVALID);
        ck_assert_int_eq(json_style_from_string(""), JSON_STYLE_INVALID);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("cli-output");
        TCase *tcase = tcase_create("output");
        SRunner *runner;
        int failed;

        (void) setenv("TZ", "UTC", 1); /* NOLINT(concurrency-mt-unsafe): one thread */
        tcase_add_loop_test(tcase, test_field_reads_as_described, 0, ARRAY_LEN(cases));
        tcase_add_test(tcase, test_uncertainty_needs_no_utf8);
        tcase_add_test(tcase, test_table_of_a_plain_locale_ends);
        tcase_add_test(tcase, test_record_is_cleaned);
        tcase_add_test(tcase, test_record_must_be_an_object);
        tcase_add_test(tcase, test_styles_are_known);
        suite_add_tcase(suite, tcase);

        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
