/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include "common/macro.h"

START_TEST(test_take_leaves_nothing_behind) {
        char *p = strdup("x"), *q = TAKE_PTR(p);
        int fd = 7, other = TAKE_FD(fd);

        ck_assert_ptr_null(p);
        ck_assert_str_eq(q, "x");
        ck_assert_int_eq(fd, -1);
        ck_assert_int_eq(other, 7);
        free(q);
}
END_TEST

START_TEST(test_cleanup_closes) {
        int copy;

        {
                _cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

                ck_assert_int_ge(fd, 0);
                copy = fd;
        }

        ck_assert_int_eq(fcntl(copy, F_GETFD), -1);
}
END_TEST

START_TEST(test_closed_is_not_closed_again) {
        int other;

        {
                _cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

                closep(&fd);
                ck_assert_int_eq(fd, -1);
                other = open("/dev/null",
                             O_RDONLY | O_CLOEXEC); /* the number that has become free */
        }

        ck_assert_int_ge(fcntl(other, F_GETFD), 0);
        (void) close(other);
}
END_TEST

START_TEST(test_str_replace_owns_its_copy) {
        _cleanup_free_ char *p = NULL;
        char s[] = "one";

        ck_assert_int_eq(str_replace(&p, s), 0);
        s[0] = 'x';
        ck_assert_str_eq(p, "one");
        ck_assert_int_eq(str_replace(&p, p), 0);
        ck_assert_str_eq(p, "one");
        ck_assert_int_eq(str_replace(&p, NULL), 0);
        ck_assert_ptr_null(p);
}
END_TEST

START_TEST(test_str_equal_takes_null) {
        ck_assert(str_equal(NULL, NULL));
        ck_assert(!str_equal("", NULL));
        ck_assert(!str_equal(NULL, ""));
        ck_assert(str_equal("a", "a"));
        ck_assert(!str_equal("a", "ab"));
        ck_assert(str_empty(NULL));
        ck_assert(str_empty(""));
        ck_assert(!str_empty(" "));
}
END_TEST

static int n_calls;

static int next(void) {
        return ++n_calls;
}

START_TEST(test_min_max_evaluate_once) {
        ck_assert_int_eq(MIN(next(), 5), 1);
        ck_assert_int_eq(MAX(next(), -1), 2);
        ck_assert_int_eq(n_calls, 2);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("macro");
        TCase *tcase = tcase_create("macro");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_test(tcase, test_take_leaves_nothing_behind);
        tcase_add_test(tcase, test_cleanup_closes);
        tcase_add_test(tcase, test_closed_is_not_closed_again);
        tcase_add_test(tcase, test_str_replace_owns_its_copy);
        tcase_add_test(tcase, test_str_equal_takes_null);
        tcase_add_test(tcase, test_min_max_evaluate_once);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
