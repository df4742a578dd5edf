/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include "common/string-table.h"

typedef enum Fruit {
        FRUIT_APPLE,
        FRUIT_PEAR,
        FRUIT_MAX,
        FRUIT_INVALID = -EINVAL,
} Fruit;

DECLARE_STRING_TABLE(fruit, Fruit);

static const char *const fruit_table[] = {
        [FRUIT_APPLE] = "apple",
        [FRUIT_PEAR] = "pear",
};

DEFINE_STRING_TABLE(fruit, Fruit, FRUIT);

START_TEST(test_names_go_there_and_back) {
        for (int i = 0; i < FRUIT_MAX; i++)
                ck_assert_int_eq(fruit_from_string(fruit_to_string((Fruit) i)), i);
}
END_TEST

START_TEST(test_unknown_is_invalid) {
        ck_assert_int_eq(fruit_from_string(NULL), FRUIT_INVALID);
        ck_assert_int_eq(fruit_from_string(""), FRUIT_INVALID);
        ck_assert_int_eq(fruit_from_string("Apple"), FRUIT_INVALID);
        ck_assert_ptr_null(fruit_to_string(FRUIT_MAX));
        ck_assert_ptr_null(fruit_to_string(FRUIT_INVALID));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("string-table");
        TCase *tcase = tcase_create("string-table");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_test(tcase, test_names_go_there_and_back);
        tcase_add_test(tcase, test_unknown_is_invalid);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
