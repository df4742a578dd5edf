/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Running Tests
 *
 * The one way in which a suite of one test case is run here.
 */

#include <check.h>
#include <stdlib.h>

static inline int run_tests(
                const char *name,
                const TTest *const *tests,
                size_t n,
                void (*setup)(void),
                void (*teardown)(void)) {
        Suite *suite = suite_create(name);
        TCase *tcase = tcase_create(name);
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_set_timeout(tcase, 60);
        tcase_add_checked_fixture(tcase, setup, teardown);
        for (size_t i = 0; i < n; i++)
                tcase_add_test(tcase, tests[i]);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
