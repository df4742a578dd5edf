/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <stdlib.h>
#include "common/macro.h"
#include "common/passing-error.h"

/* Whoever takes one of them for an answer gives up for good what a moment later could be had. */
START_TEST(test_what_was_lacking_passes) {
        static const int passing[] = {
                EAGAIN, EINTR, EIO, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC
        };

        for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
                ck_assert_msg(error_is_passing(-passing[i]), "%d does not pass", passing[i]);
                ck_assert(!error_is_passing(passing[i])); /* it is no error */
        }
}
END_TEST

/* And whoever tries these again does so for ever. */
START_TEST(test_what_the_thing_itself_says_stays) {
        static const int lasting[] = { 0,      EPERM,  ENOENT, EACCES,    EBUSY,   EEXIST,
                                       ENODEV, EINVAL, EPROTO, EOVERFLOW, ELIBBAD, ECONNREFUSED };

        for (size_t i = 0; i < ARRAY_LEN(lasting); i++)
                ck_assert_msg(!error_is_passing(-lasting[i]), "%d passes", lasting[i]);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("passing-error");
        TCase *tcase = tcase_create("passing-error");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_test(tcase, test_what_was_lacking_passes);
        tcase_add_test(tcase, test_what_the_thing_itself_says_stays);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
