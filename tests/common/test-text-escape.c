/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include "common/macro.h"
#include "common/text-escape.h"

static const struct {
        const char *text, *escaped, *valid;
} texts[] = {
        { "", "", "" },
        { "vm1", "vm1", "vm1" },
        { "grün € 🐧", "grün € 🐧", "grün € 🐧" },
        { "a\\x1b", "a\\x1b", "a\\x1b" },
        { "\x1b[31m", "\\x1b[31m", "\x1b[31m" },
        { "a\tb\n", "a\\x09b\\x0a", "a\tb\n" },
        { "\x7f", "\\x7f", "\x7f" },
        /* control characters above ASCII */
        { "\xc2\x9b"
          "31m",
          "\\xc2\\x9b31m",
          "\xc2\x9b"
          "31m" },
        { "\xc2\xa0", "\xc2\xa0", "\xc2\xa0" },
        /* right-to-left override, isolate, line separator */
        { "\xe2\x80\xae", "\\xe2\\x80\\xae", "\xe2\x80\xae" },
        { "\xe2\x81\xa6", "\\xe2\\x81\\xa6", "\xe2\x81\xa6" },
        { "\xe2\x80\xa8", "\\xe2\\x80\\xa8", "\xe2\x80\xa8" },
        /* no UTF-8: alone, cut off, longer than need be, surrogate, beyond the end, no character */
        { "\xff", "\\xff", "?" },
        { "\x80z", "\\x80z", "?z" },
        { "\xe2\x82", "\\xe2\\x82", "??" },
        { "\xf0\x9f\x90", "\\xf0\\x9f\\x90", "???" },
        { "\xc0\xaf", "\\xc0\\xaf", "??" },
        { "\xe0\x80\xaf", "\\xe0\\x80\\xaf", "???" },
        { "\xed\xa0\x80", "\\xed\\xa0\\x80", "???" },
        { "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "????" },
        { "\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80", "?????" },
        { "\xef\xbf\xbf", "\\xef\\xbf\\xbf", "???" },
        { "\xef\xb7\x90", "\\xef\\xb7\\x90", "???" },
};

START_TEST(test_what_a_terminal_obeys_is_escaped) {
        _cleanup_free_ char *escaped = text_escape(texts[_i].text);

        ck_assert_str_eq(escaped, texts[_i].escaped);
        ck_assert(text_is_clean(escaped));
        ck_assert_int_eq(text_is_clean(texts[_i].text), str_equal(texts[_i].text, escaped));
}
END_TEST

START_TEST(test_what_no_bus_takes_is_replaced) {
        _cleanup_free_ char *text = strdup(texts[_i].text);

        text_make_valid(text);
        ck_assert_str_eq(text, texts[_i].valid);
}
END_TEST

static const struct {
        const char *text, *cut; /* of eight bytes */
} cuts[] = {
        { "", "" },
        { "seven77", "seven77" },
        { "eight888", "eigh…" },
        { "abc€", "abc€" },
        { "abc€ and more", "abc…" },
        { "€€€€", "€…" },
        { "\x80\x80\x80\x80\x80\x80\x80\x80", "\x80…" },
};

START_TEST(test_what_does_not_fit_is_cut_behind_a_character) {
        char buf[8];

        ck_assert_ptr_eq(text_cut(buf, sizeof(buf), cuts[_i].text), buf);
        ck_assert_str_eq(buf, cuts[_i].cut);
}
END_TEST

static const struct {
        const char *text, *escaped; /* into eight bytes */
} bounded[] = {
        { "", "" },
        { "seven77", "seven77" },
        { "eight888", "eight88" },
        { "abcd€", "abcd€" },
        { "abcde€", "abcde" },
        { "abc\x1b", "abc\\x1b" },
        { "abcd\x1b", "abcd" },
        { "\xe2\x82", "\\xe2" },
};

START_TEST(test_escaped_text_ends_within_its_bounds) {
        char buf[9] = "        ";

        ck_assert_ptr_eq(text_escape_to(buf, 8, bounded[_i].text), buf);
        ck_assert_str_eq(buf, bounded[_i].escaped);
}
END_TEST

START_TEST(test_every_pair_of_bytes_comes_out_clean) {
        for (int a = 1; a < 256; a++)
                for (int b = 1; b < 256; b++) {
                        const char text[] = { (char) a, (char) b, '\0' };
                        _cleanup_free_ char *escaped = text_escape(text);

                        ck_assert_msg(text_is_clean(escaped), "%02x %02x", a, b);
                }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("text-escape");
        TCase *tcase = tcase_create("text");
        SRunner *runner;
        int failed;

        tcase_add_loop_test(tcase, test_what_a_terminal_obeys_is_escaped, 0, ARRAY_LEN(texts));
        tcase_add_loop_test(tcase, test_what_no_bus_takes_is_replaced, 0, ARRAY_LEN(texts));
        tcase_add_loop_test(
                        tcase,
                        test_what_does_not_fit_is_cut_behind_a_character,
                        0,
                        ARRAY_LEN(cuts));
        tcase_add_loop_test(tcase, test_escaped_text_ends_within_its_bounds, 0, ARRAY_LEN(bounded));
        tcase_add_test(tcase, test_every_pair_of_bytes_comes_out_clean);
        suite_add_tcase(suite, tcase);

        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
