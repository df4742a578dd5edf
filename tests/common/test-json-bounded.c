/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <malloc.h>
#include "common/json-bounded.h"

#define MEGABYTE ((size_t) 1024 * 1024)

static const JsonLimits limits = { .size_max = 65536, .values_max = 1000, .depth_max = 32 };

/* A text of @n times @unit. */
static char *repeat(const char *unit, size_t n) {
        size_t length = strlen(unit);
        char *text = malloc(n * length + 1);

        ck_assert_ptr_nonnull(text);
        for (size_t i = 0; i < n; i++)
                memcpy(text + i * length, unit, length);
        text[n * length] = 0;
        return text;
}

static size_t heap_bytes(void) {
        struct mallinfo2 info = mallinfo2();

        return info.uordblks + info.hblkhd;
}

/* one text, one answer */

static const struct {
        const char *text;
        int r;
} texts[] = {
        { "{}", 0 },
        { " [ ] \r\n", 0 },
        { "null", 0 },
        { "12", 0 },
        { "-1.5e3", 0 },
        { "[1E5, 1e+5, -0]", 0 },
        { "\"\"", 0 },
        { "\"\\\\\"", 0 },
        { "{\"return\": {}, \"id\": \"s-1\"}", 0 },
        { "{\"a\":{\"b\":[1,2,{\"c\":null}]},\"b\":[]}", 0 },
        { "\"{[\\\"]},,,\"", 0 },
        { "\"\\u0000\"", 0 },
        { "\"\\ud800\"", 0 },
        { "\"\xf4\x8f\xbf\xbf\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\"", 0 },

        { "", -EBADMSG },
        { "  ", -EBADMSG },
        { "{", -EBADMSG },
        { "}", -EBADMSG },
        { "[}", -EBADMSG },
        { "{}}", -EBADMSG },
        { "{} {}", -EBADMSG },
        { "{}x", -EBADMSG },
        { "12abc", -EBADMSG },
        { "12 13", -EBADMSG },
        { "01", -EBADMSG },
        { "0x10", -EBADMSG },
        { "-012", -EBADMSG },
        { "-", -EBADMSG },
        { "1.", -EBADMSG },
        { ".5", -EBADMSG },
        { "+1", -EBADMSG },
        { "1e+", -EBADMSG },
        { "1-2", -EBADMSG },
        { "1.5.2", -EBADMSG },
        { "1true", -EBADMSG },
        { "[1true]", -EBADMSG },
        { "[true1]", -EBADMSG },
        { "[truefalse]", -EBADMSG },
        { "{\"a\":1\"b\":2}", -EBADMSG },
        { "\"a\"\"b\"", -EBADMSG },
        { "tru", -EBADMSG },
        { "TRUE", -EBADMSG },
        { "truE", -EBADMSG },
        { "[1,falsE]", -EBADMSG },
        { "nulL", -EBADMSG },
        { "NaN", -EBADMSG },
        { "[Infinity]", -EBADMSG },
        { "-Infinity", -EBADMSG },
        { "[1,]", -EBADMSG },
        { "[1, ]", -EBADMSG },
        { "1E", -EBADMSG },
        { "[E5]", -EBADMSG },
        { ",", -EBADMSG },
        { "1,", -EBADMSG },
        { "[]]", -EBADMSG },
        { "null null", -EBADMSG },
        { "nullnull", -EBADMSG },
        { "[,1]", -EBADMSG },
        { "[1 2]", -EBADMSG },
        { "{\"a\"}", -EBADMSG },
        { "{\"a\":}", -EBADMSG },
        { "{\"a\":1,}", -EBADMSG },
        { "{'a':1}", -EBADMSG },
        { "{a:1}", -EBADMSG },
        { "/* c */ {}", -EBADMSG },
        { "\"a", -EBADMSG },
        { "\"a\\", -EBADMSG },
        { "\"\\x\"", -EBADMSG },
        { "\"\\u12\"", -EBADMSG },
        { "\"a\tb\"", -EBADMSG },
        { "\"a\nb\"", -EBADMSG },
        { "{\"a\":1,\"a\":2}", -EBADMSG },
        { "[{\"b\":{\"a\":[],\"c\":1,\"a\":{}}}]", -EBADMSG },
        { "\v{}", -EBADMSG },

        { "\"\xff\"", -EILSEQ },
        { "\"\x80\"", -EILSEQ },
        { "\"\xc0\x80\"", -EILSEQ },
        { "\"\xe0\x9f\xbf\"", -EILSEQ },
        { "\"\xed\xa0\x80\"", -EILSEQ },
        { "\"\xf4\x90\x80\x80\"", -EILSEQ },
        { "\"\xf8\x88\x80\x80\x80\"", -EILSEQ },
        { "\"\xe2\x82", -EILSEQ },
        { "\"\xe2\x82\"", -EILSEQ },
        { "\"\\\xff\"", -EILSEQ },
        { "\xff{}", -EILSEQ },
        { "\xef\xbb\xbf{}", -EBADMSG },
};

START_TEST(test_text_is_judged) {
        _cleanup_json_ JsonObject *o = NULL;
        int r;

        r = json_bounded_parse(texts[_i].text, strlen(texts[_i].text), &limits, &o);
        ck_assert_msg(r == texts[_i].r, "%s: %d", texts[_i].text, r);
        if (r < 0)
                ck_assert_ptr_null(o);
}
END_TEST

START_TEST(test_every_prefix_is_refused) {
        static const char text[] = "{\"a\":[1,-2.5e1,true,null,\"\\u20ac\xe2\x82\xac\"],\"b\":{}}";

        for (size_t n = 0; n < strlen(text); n++) {
                /* A copy of just these bytes, so that a sanitizer sees who reads beyond. */
                _cleanup_free_ char *copy = malloc(n + 1);
                _cleanup_json_ JsonObject *o = NULL;

                ck_assert_ptr_nonnull(copy);
                memcpy(copy + 1, text, n);
                ck_assert_int_lt(json_bounded_parse(copy + 1, n, &limits, &o), 0);
        }
}
END_TEST

START_TEST(test_nul_is_refused_everywhere) {
        static const char text[] = "{\"a\":1}";

        for (size_t i = 0; i < strlen(text); i++) {
                _cleanup_json_ JsonObject *o = NULL;
                char copy[sizeof(text)];

                memcpy(copy, text, sizeof(text));
                copy[i] = 0;
                ck_assert_int_lt(json_bounded_parse(copy, strlen(text), &limits, &o), 0);
                ck_assert_int_eq(json_bounded_parse("{}\0", 3, &limits, &o), -EILSEQ);
        }
}
END_TEST

/* limits */

START_TEST(test_limits_are_exact) {
        static const JsonLimits tight = { .size_max = 20, .values_max = 4, .depth_max = 2 };
        static const struct {
                const char *text;
                int r;
        } cases[] = {
                { "[1,2,3]", 0 },
                { "[1,2,3,4]", -E2BIG },
                { "[[],[],[]]", 0 },
                { "[[1],[1],[]]", -E2BIG },
                { "[[[]]]", -ELOOP },
                { "{\"a\":[1,2]}", 0 },
                { "{\"a\":[1,2,3]}", -E2BIG },
                { "\"345678901234567890\"", 0 },
                { "\"3456789012345678901\"", -E2BIG },
        };

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                _cleanup_json_ JsonObject *o = NULL;
                int r = json_bounded_parse(cases[i].text, strlen(cases[i].text), &tight, &o);

                ck_assert_msg(r == cases[i].r, "%s: %d", cases[i].text, r);
        }
}
END_TEST

static const struct {
        const char *unit;
        size_t n;
        size_t size_max;
        int r;
} floods[] = {
        { "aaaaaaaaaa", MEGABYTE, 65536, -E2BIG }, { "[", 1000000, SIZE_MAX, -ELOOP },
        { "{\"a\":", 1000000, SIZE_MAX, -ELOOP },  { "{},", 100000, SIZE_MAX, -E2BIG },
        { "0,", 1000000, SIZE_MAX, -E2BIG },       { "\xff", 1000000, SIZE_MAX, -EILSEQ },
};

START_TEST(test_flood_is_refused_without_memory) {
        _cleanup_free_ char *text = repeat(floods[_i].unit, floods[_i].n);
        JsonLimits l = limits;
        JsonObject *o = NULL;
        size_t before = heap_bytes();

        l.size_max = floods[_i].size_max;
        ck_assert_int_eq(json_bounded_parse(text, strlen(text), &l, &o), floods[_i].r);
        ck_assert_uint_eq(heap_bytes(), before);
}
END_TEST

START_TEST(test_size_comes_first) {
        /* Nothing of what is too long may be looked at: here it is not even there. */
        JsonObject *o = NULL;

        ck_assert_int_eq(json_bounded_parse((const char *) 1, 10 * MEGABYTE, &limits, &o), -E2BIG);
}
END_TEST

START_TEST(test_costly_text_within_limits_stays_small) {
        _cleanup_free_ char *elements = repeat("{},", 998), *text = NULL;
        _cleanup_json_ JsonObject *o = NULL;
        size_t before = heap_bytes();

        elements[strlen(elements) - 1] = 0;
        ck_assert_int_gt(asprintf(&text, "[%s]", elements), 0);
        ck_assert_int_eq(json_bounded_parse(text, strlen(text), &limits, &o), 0);
        ck_assert_uint_lt(heap_bytes() - before, MEGABYTE);
}
END_TEST

/* members */

static JsonObject *parse(const char *text) {
        JsonObject *o = NULL;

        ck_assert_int_eq(json_bounded_parse(text, strlen(text), &limits, &o), 0);
        return o;
}

START_TEST(test_member_of_the_type_is_given) {
        _cleanup_json_ JsonObject *o =
                        parse("{\"s\":\"x\",\"i\":-7,\"b\":true,\"o\":{\"i\":1},\"a\":[3]}");
        JsonObject *inner = NULL;
        const char *s = NULL;
        int64_t i = 0;
        bool b = false;

        ck_assert_int_eq(json_get_string(o, "s", &s), 0);
        ck_assert_str_eq(s, "x");
        ck_assert_int_eq(json_get_int64(o, "i", &i), 0);
        ck_assert_int_eq(i, -7);
        ck_assert_int_eq(json_get_bool(o, "b", &b), 0);
        ck_assert(b);
        ck_assert_int_eq(json_get_object(o, "o", &inner), 0);
        ck_assert_int_eq(json_get_int64(inner, "i", &i), 0);
        ck_assert_int_eq(i, 1);
        ck_assert_int_eq(json_get_array(o, "a", &inner), 0);
        ck_assert_uint_eq(json_object_array_length(inner), 1);
}
END_TEST

START_TEST(test_member_of_another_type_is_not_bent) {
        static const char *const values[] = { "\"12abc\"", "\"1\"", "null", "1.0", "[]" };

        for (size_t i = 0; i < ARRAY_LEN(values); i++) {
                _cleanup_free_ char *text = NULL;
                _cleanup_json_ JsonObject *o = NULL;
                int64_t number = 4711;
                bool flag = true;

                ck_assert_int_gt(asprintf(&text, "{\"k\":%s}", values[i]), 0);
                o = parse(text);
                ck_assert_int_eq(json_get_int64(o, "k", &number), -EBADMSG);
                ck_assert_int_eq(json_get_bool(o, "k", &flag), -EBADMSG);
                ck_assert_int_eq(number, 4711);
                ck_assert(flag);
        }
}
END_TEST

START_TEST(test_missing_member_is_told) {
        _cleanup_json_ JsonObject *o = parse("{\"a\":1}"), *array = parse("[1]");
        const char *s = NULL;

        ck_assert_int_eq(json_get_string(o, "b", &s), -ENOENT);
        ck_assert_int_eq(json_get_string(o, "a", &s), -EBADMSG);
        ck_assert_int_eq(json_get_string(array, "a", &s), -ENOENT);
        ck_assert_int_eq(json_get_string(NULL, "a", &s), -ENOENT);
        ck_assert_ptr_null(s);
}
END_TEST

START_TEST(test_number_that_does_not_fit_is_told) {
        static const struct {
                const char *text;
                int r;
                int64_t value;
        } cases[] = {
                { "{\"k\":9223372036854775807}", 0, INT64_MAX },
                { "{\"k\":9223372036854775808}", -ERANGE, 0 },
                { "{\"k\":18446744073709551617}", -ERANGE, 0 },
                { "{\"k\":-9223372036854775807}", 0, -INT64_MAX },
                { "{\"k\":-9223372036854775809}", -ERANGE, 0 },
                { "{\"k\":-99999999999999999999999}", -ERANGE, 0 },
                { "{\"k\":1e3}", -EBADMSG, 0 },
        };

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                _cleanup_json_ JsonObject *o = parse(cases[i].text);
                int64_t value = 0;
                int r = json_get_int64(o, "k", &value);

                ck_assert_msg(r == cases[i].r, "%s: %d", cases[i].text, r);
                ck_assert_int_eq(value, cases[i].value);
        }
}
END_TEST

START_TEST(test_string_with_nul_is_refused) {
        _cleanup_json_ JsonObject *o = parse("{\"k\":\"running\\u0000x\"}");
        const char *s = NULL;

        ck_assert_int_eq(json_get_string(o, "k", &s), -EBADMSG);
        ck_assert_ptr_null(s);
}
END_TEST

START_TEST(test_lone_surrogate_becomes_a_character) {
        _cleanup_json_ JsonObject *o = parse("{\"k\":\"a\\ud800b\"}");
        const char *s = NULL;

        ck_assert_int_eq(json_get_string(o, "k", &s), 0);
        ck_assert_str_eq(
                        s,
                        "a\xef\xbf\xbd"
                        "b");
}
END_TEST

START_TEST(test_errors_have_words) {
        static const int errors[] = { -E2BIG, -ELOOP, -EILSEQ, -EBADMSG, -ENOMEM };

        for (size_t i = 0; i < ARRAY_LEN(errors); i++)
                for (size_t j = 0; j < i; j++)
                        ck_assert_str_ne(
                                        json_bounded_error(errors[i]),
                                        json_bounded_error(errors[j]));
        ck_assert_ptr_nonnull(json_bounded_error(-EIO));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("json-bounded");
        TCase *tcase = tcase_create("json-bounded");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_loop_test(tcase, test_text_is_judged, 0, ARRAY_LEN(texts));
        tcase_add_test(tcase, test_every_prefix_is_refused);
        tcase_add_test(tcase, test_nul_is_refused_everywhere);
        tcase_add_test(tcase, test_limits_are_exact);
        tcase_add_loop_test(tcase, test_flood_is_refused_without_memory, 0, ARRAY_LEN(floods));
        tcase_add_test(tcase, test_size_comes_first);
        tcase_add_test(tcase, test_costly_text_within_limits_stays_small);
        tcase_add_test(tcase, test_member_of_the_type_is_given);
        tcase_add_test(tcase, test_member_of_another_type_is_not_bent);
        tcase_add_test(tcase, test_missing_member_is_told);
        tcase_add_test(tcase, test_number_that_does_not_fit_is_told);
        tcase_add_test(tcase, test_string_with_nul_is_refused);
        tcase_add_test(tcase, test_lone_surrogate_becomes_a_character);
        tcase_add_test(tcase, test_errors_have_words);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
