/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * No state of the model breaks a promise; with a mistake in it, one does. SUSPENDD_TEST_TRACE=1 shows
 * how for each mistake, SUSPENDD_TEST_QUICK=1 makes it short, SUSPENDD_TEST_DEPTH=N goes N moves deep where it is not said to the end.
 */

#include <check.h>
#include <time.h>
#include "common/macro.h"
#include "explore.h"

#define MISTAKE_DEPTH 12

#define BIT(_m) (UINT64_C(1) << (_m))
/* Without these all states are looked at; with them there are too many, and those that are near are. */
#define SELDOM                                                                     \
        (BIT(MOVE_LOSE) | BIT(MOVE_REHEARSE) | BIT(MOVE_SYNC) | BIT(MOVE_ANSWER) | \
         BIT(MOVE_AGENT_TOGGLE) | BIT(MOVE_ERROR))

static bool is_quick(void) {
        const char *s = getenv("SUSPENDD_TEST_QUICK");

        return s && *s && !str_equal(s, "0");
}

static unsigned depth(unsigned otherwise) {
        const char *s = getenv("SUSPENDD_TEST_DEPTH");

        return s && *s ? (unsigned) strtoul(s, NULL, 0) : otherwise;
}

static void explore_all(Exploration *x, const char *what) {
        struct timespec began, ended;

        (void) clock_gettime(CLOCK_MONOTONIC, &began);
        explore(x);
        (void) clock_gettime(CLOCK_MONOTONIC, &ended);
        printf("# %s: %zu states, %zu moves, %u deep, %ld s\n",
               what,
               x->n_states,
               x->n_moves,
               x->depth,
               (long) (ended.tv_sec - began.tv_sec));
        (void) fflush(stdout);
}

static void check_promises(const char *what, Exploration *x) {
        explore_all(x, what);
        ck_assert_msg(!x->trace, "%s: %s", what, x->trace);
        exploration_done(x);
}

START_TEST(test_no_state_breaks_a_promise) {
        Exploration x = { .without = SELDOM, .depth_max = is_quick() ? 8 : 0 };

        world_init(&x.initial, 1, false, true);
        check_promises("all states", &x);
}
END_TEST

START_TEST(test_nothing_that_happens_breaks_a_promise) {
        Exploration x = { .depth_max = depth(is_quick() ? 6 : 8) };

        world_init(&x.initial, 1, false, true);
        check_promises("everything", &x);
}
END_TEST

START_TEST(test_a_clock_that_is_read_first_breaks_no_promise) {
        Exploration x = { .depth_max = depth(is_quick() ? 6 : 8) };

        world_init(&x.initial, 1, true, false);
        check_promises("relative clock, no pause upon a suspend", &x);
}
END_TEST

START_TEST(test_two_machines_break_no_promise) {
        Exploration x = { .depth_max = depth(4) };

        world_init(&x.initial, 2, false, true);
        check_promises("two machines", &x);
}
END_TEST

/* The promises see what they are there for. */
START_TEST(test_each_mistake_breaks_a_promise) {
        Exploration x = { .mistake = _i, .depth_max = MISTAKE_DEPTH };
        const char *name = mistake_to_string(_i);

        world_init(&x.initial, 1, false, true);
        explore(&x);
        ck_assert_msg(x.trace != NULL, "%s breaks nothing", name);
        if (getenv("SUSPENDD_TEST_TRACE"))
                printf("# %s: %s\n", name, x.trace);
        else
                printf("# %s: %.*s\n", name, (int) strcspn(x.trace, "\n"), x.trace);
        (void) fflush(stdout);
        exploration_done(&x);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("model");
        TCase *tcase = tcase_create("model");
        SRunner *runner;
        int n_failed;

        tcase_set_timeout(tcase, 300);
        tcase_add_test(tcase, test_no_state_breaks_a_promise);
        tcase_add_test(tcase, test_nothing_that_happens_breaks_a_promise);
        tcase_add_test(tcase, test_a_clock_that_is_read_first_breaks_no_promise);
        tcase_add_test(tcase, test_two_machines_break_no_promise);
        tcase_add_loop_test(
                        tcase, test_each_mistake_breaks_a_promise, MISTAKE_NONE + 1, MISTAKE_MAX);
        suite_add_tcase(suite, tcase);

        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
