/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include "common/json-view.h"

static const JsonLimits limits = { .size_max = 200, .values_max = 20, .depth_max = 4 };

static int parse(const char *text, JsonView **ret) {
        *ret = NULL;
        return json_view_parse(text, strlen(text), &limits, ret);
}

static const struct {
        const char *text;
        int r;
} texts[] = {
        { "{}", 0 },
        { " \t\r\n[1, 2 ,{\"a\":[]}] \n", 0 },
        { "\"x\"", 0 },
        { "-0.5e+3", 0 },
        { "0", 0 },
        { "null", 0 },
        { "[[[[]]]]", 0 },
        { "[[[[[]]]]]", -ELOOP },
        { "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", 0 },
        { "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", -E2BIG },
        { "", -EBADMSG },
        { " ", -EBADMSG },
        { "{", -EBADMSG },
        { "[1,]", -EBADMSG },
        { "[,1]", -EBADMSG },
        { "[1 2]", -EBADMSG },
        { "[1}", -EBADMSG },
        { "{\"a\"}", -EBADMSG },
        { "{\"a\":}", -EBADMSG },
        { "{\"a\":1,}", -EBADMSG },
        { "{a:1}", -EBADMSG },
        { "{\"a\" 1}", -EBADMSG },
        { "{} {}", -EBADMSG },
        { "1 2", -EBADMSG },
        { "01", -EBADMSG },
        { "-", -EBADMSG },
        { "1.", -EBADMSG },
        { "1e", -EBADMSG },
        { "NaN", -EBADMSG },
        { "TRUE", -EBADMSG },
        { "tru", -EBADMSG },
        { "'x'", -EBADMSG },
        { "\"x", -EBADMSG },
        { "\"\n\"", -EBADMSG },
        { "\"\\x\"", -EBADMSG },
        { "\"\\", -EBADMSG },
        { "\"\\u12\"", -EBADMSG },
        { "\"\\u12g4\"", -EBADMSG },
        { "\"\\u0000\"", -EILSEQ },
        { "\"\xff\"", -EILSEQ },
        { "\"\xc3", -EILSEQ },
        { "\xff", -EILSEQ },
};

START_TEST(test_only_json_within_its_limits_is_taken) {
        _cleanup_view_ JsonView *v = NULL;

        ck_assert_msg(parse(texts[_i].text, &v) == texts[_i].r, "%s", texts[_i].text);
        ck_assert_int_eq(!v, texts[_i].r < 0);
}
END_TEST

START_TEST(test_what_is_too_long_or_holds_a_nul_is_refused) {
        _cleanup_view_ JsonView *v = NULL;
        char text[202];

        memset(text, ' ', sizeof(text));
        text[0] = '1';
        ck_assert_int_eq(json_view_parse(text, 200, &limits, &v), 0);
        v = json_view_free(v);
        ck_assert_int_eq(json_view_parse(text, 201, &limits, &v), -E2BIG);
        text[1] = '\0';
        ck_assert_int_eq(json_view_parse(text, 3, &limits, &v), -EILSEQ);
}
END_TEST

static const struct {
        const char *text, *says;
} strings[] = {
        { "\"\"", "" },
        { "\"plain\"", "plain" },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
        { "\"\\u0041\\u00e9\\u20AC\"", "Aé€" },
        { "\"\\ud83d\\udc27!\"", "🐧!" },
        { "\"\\ud8b7\\uddd8\"", "\xf0\xbd\xb7\x98" },
        { "\"\\ud83d!\"", "\xef\xbf\xbd!" },
        { "\"\\ud83d\\u0041\"",
          "\xef\xbf\xbd"
          "A" },
        { "\"\\udc27\"", "\xef\xbf\xbd" },
        { "\"grün\"", "grün" },
        { "\"a]},:b\"", "a]},:b" },
};

START_TEST(test_string_says_what_it_means) {
        _cleanup_free_ char *text = NULL;
        _cleanup_view_ JsonView *v = NULL;
        const char *s = NULL;
        int64_t n = 0;

        ck_assert_int_gt(asprintf(&text, "{\"a\":%s,\"b\":7}", strings[_i].text), 0);
        ck_assert_int_eq(parse(text, &v), 0);
        ck_assert_int_eq(json_view_get_string(v, "a", &s), 0);
        ck_assert_str_eq(s, strings[_i].says);
        ck_assert_int_eq(
                        json_view_get_int64(v, "b", &n),
                        0); /* and it is still found what is behind */
        ck_assert_int_eq(n, 7);
}
END_TEST

START_TEST(test_members_are_found_by_name_and_type) {
        _cleanup_view_ JsonView *v = NULL;
        const JsonView *inner = NULL;
        const char *s = NULL;
        int64_t n = 0;
        bool b = false;

        ck_assert_int_eq(
                        parse("{ \"o\" : {\"x\": [1, {\"y\": 2}], \"n\": 1} , \"a\\u0062\" : \"s\","
                              "\"n\" : -12 , \"t\":true,\"r\":1.5,\"z\":null }",
                              &v),
                        0);
        ck_assert_int_eq(json_view_get_int64(v, "n", &n), 0);
        ck_assert_int_eq(n, -12);
        ck_assert_int_eq(json_view_get_string(v, "ab", &s), 0);
        ck_assert_str_eq(s, "s");
        ck_assert_int_eq(json_view_get_bool(v, "t", &b), 0);
        ck_assert(b);
        ck_assert_int_eq(json_view_get_object(v, "o", &inner), 0);
        ck_assert_int_eq(json_view_get_int64(inner, "n", &n), 0);
        ck_assert_int_eq(n, 1);
        ck_assert_int_eq(json_view_get_array(inner, "x", &inner), 0);
        ck_assert_int_eq(json_view_get_int64(v, "r", &n), -EBADMSG);
        ck_assert_int_eq(json_view_get_bool(v, "z", &b), -EBADMSG);
        ck_assert_int_eq(json_view_get_string(v, "n", &s), -EBADMSG);
        ck_assert_int_eq(json_view_get_string(v, "x", &s), -ENOENT);
        ck_assert_int_eq(json_view_get_string(inner, "x", &s), -ENOENT);
        ck_assert_int_eq(json_view_get_string(NULL, "x", &s), -ENOENT);
}
END_TEST

START_TEST(test_nobody_sees_a_member_that_is_there_twice) {
        _cleanup_view_ JsonView *v = NULL;
        int64_t n = 0;

        ck_assert_int_eq(parse("{\"a\":1,\"b\":2,\"\\u0061\":3}", &v), 0);
        ck_assert_int_eq(json_view_get_int64(v, "a", &n), -ENOENT);
        ck_assert_int_eq(json_view_get_int64(v, "b", &n), 0);
        ck_assert_int_eq(n, 2);
}
END_TEST

START_TEST(test_array_is_walked_to_its_end) {
        static const JsonKind kinds[] = { JSON_KIND_INTEGER, JSON_KIND_STRING, JSON_KIND_ARRAY,
                                          JSON_KIND_OBJECT,  JSON_KIND_BOOL,   JSON_KIND_NULL,
                                          JSON_KIND_REAL };
        _cleanup_view_ JsonView *v = NULL, *empty = NULL;
        size_t n = 0;

        ck_assert_int_eq(parse("[ 1 ,\"]\\n\" , [[],\"[\"],{\"}\":{}} ,false,null,1e5 ]", &v), 0);
        JSON_VIEW_FOREACH(i, v) {
                ck_assert_uint_lt(n, ARRAY_LEN(kinds));
                ck_assert_int_eq(json_view_kind(i), kinds[n++]);
        }
        ck_assert_uint_eq(n, ARRAY_LEN(kinds));
        ck_assert_int_eq(parse("[ ]", &empty), 0);
        ck_assert_ptr_null(json_view_next(empty, NULL));
        ck_assert_ptr_null(json_view_next(NULL, NULL));
}
END_TEST

START_TEST(test_number_fits_or_is_refused) {
        _cleanup_view_ JsonView *most = NULL, *more = NULL, *least = NULL;
        int64_t n = 0;

        ck_assert_int_eq(parse("9223372036854775807", &most), 0);
        ck_assert_int_eq(json_view_int64(most, &n), 0);
        ck_assert_int_eq(n, INT64_MAX);
        ck_assert_int_eq(parse("9223372036854775808", &more), 0);
        ck_assert_int_eq(json_view_int64(more, &n), -ERANGE);
        ck_assert_int_eq(parse("-99999999999999999999", &least), 0);
        ck_assert_int_eq(json_view_int64(least, &n), -ERANGE);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("json-view");
        TCase *tcase = tcase_create("view");
        SRunner *runner;
        int failed;

        tcase_add_loop_test(tcase, test_only_json_within_its_limits_is_taken, 0, ARRAY_LEN(texts));
        tcase_add_test(tcase, test_what_is_too_long_or_holds_a_nul_is_refused);
        tcase_add_loop_test(tcase, test_string_says_what_it_means, 0, ARRAY_LEN(strings));
        tcase_add_test(tcase, test_members_are_found_by_name_and_type);
        tcase_add_test(tcase, test_nobody_sees_a_member_that_is_there_twice);
        tcase_add_test(tcase, test_array_is_walked_to_its_end);
        tcase_add_test(tcase, test_number_fits_or_is_refused);
        suite_add_tcase(suite, tcase);

        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
