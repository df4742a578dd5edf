/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include "common/list.h"
#include "common/macro.h"

typedef struct Item {
        int value;
        List link;
} Item;

static int sum(List *head) {
        int n = 0;

        LIST_FOREACH(link, head)
        n = n * 10 + LIST_ENTRY(link, Item, link)->value;
        return n;
}

START_TEST(test_list_keeps_order) {
        Item a = { .value = 1 }, b = { .value = 2 }, c = { .value = 3 };
        List head = LIST_INIT(head);

        ck_assert(list_is_empty(&head));
        list_append(&head, &a.link);
        list_append(&head, &b.link);
        list_append(&head, &c.link);
        ck_assert_int_eq(sum(&head), 123);

        list_unlink(&b.link);
        ck_assert_int_eq(sum(&head), 13);
        ck_assert(list_is_empty(&b.link));
}
END_TEST

START_TEST(test_list_unlink_twice_is_harmless) {
        Item a = { .value = 1 }, b = { .value = 2 };
        List head = LIST_INIT(head);

        list_append(&head, &a.link);
        list_append(&head, &b.link);
        list_unlink(&a.link);
        list_unlink(&a.link);
        ck_assert_int_eq(sum(&head), 2);
}
END_TEST

START_TEST(test_list_element_may_go_while_walking) {
        List head = LIST_INIT(head);
        int n = 0;

        for (int i = 0; i < 4; i++) {
                Item *item = calloc(1, sizeof(*item));

                ck_assert_ptr_nonnull(item);
                list_append(&head, &item->link);
        }

        LIST_FOREACH(link, &head) {
                list_unlink(link);
                free(LIST_ENTRY(link, Item, link));
                n++;
        }

        ck_assert_int_eq(n, 4);
        ck_assert(list_is_empty(&head));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("list");
        TCase *tcase = tcase_create("list");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_test(tcase, test_list_keeps_order);
        tcase_add_test(tcase, test_list_unlink_twice_is_harmless);
        tcase_add_test(tcase, test_list_element_may_go_while_walking);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
