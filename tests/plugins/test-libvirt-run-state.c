/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <libvirt/libvirt.h>
#include "plugins/libvirt/run-state.h"

#define UNKNOWN_MAX 40 /* beyond what any libvirt knows */

static const enum suspendd_run_state expected[] = {
        [VIR_DOMAIN_NOSTATE] = SUSPENDD_STATE_UNKNOWN,
        [VIR_DOMAIN_RUNNING] = SUSPENDD_STATE_RUNNING,
        [VIR_DOMAIN_BLOCKED] = SUSPENDD_STATE_RUNNING,
        [VIR_DOMAIN_PAUSED] = SUSPENDD_STATE_OTHER,
        [VIR_DOMAIN_SHUTDOWN] = SUSPENDD_STATE_OTHER,
        [VIR_DOMAIN_SHUTOFF] = SUSPENDD_STATE_OTHER,
        [VIR_DOMAIN_CRASHED] = SUSPENDD_STATE_OTHER,
        [VIR_DOMAIN_PMSUSPENDED] = SUSPENDD_STATE_SUSPENDED,
};

static enum suspendd_run_state expected_of(int state, int reason) {
        if (state < 0 || (size_t) state >= ARRAY_LEN(expected))
                return SUSPENDD_STATE_UNKNOWN;
        if (state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_USER)
                return SUSPENDD_STATE_PAUSED;
        return expected[state];
}

START_TEST(test_each_state_and_reason_means_what_it_should) {
        for (int state = -UNKNOWN_MAX; state < UNKNOWN_MAX; state++)
                for (int reason = -UNKNOWN_MAX; reason < UNKNOWN_MAX; reason++) {
                        const char *detail = "unset";
                        enum suspendd_run_state is = run_state_of(state, reason, &detail);

                        ck_assert_msg(is == expected_of(state, reason),
                                      "state %d, reason %d: %d",
                                      state,
                                      reason,
                                      is);
                        /* What is nobody's to touch says why; of all else there is nothing to say. */
                        ck_assert((is == SUSPENDD_STATE_OTHER) == (detail != NULL));
                }
}
END_TEST

/* A pause is ours or a user's by this one reason alone: what else stands, we must not run again. */
START_TEST(test_only_a_user_pauses) {
        unsigned n_paused = 0;
        const char *detail;

        for (int state = 0; state < UNKNOWN_MAX; state++)
                for (int reason = 0; reason < UNKNOWN_MAX; reason++)
                        n_paused += run_state_of(state, reason, &detail) == SUSPENDD_STATE_PAUSED;
        ck_assert_uint_eq(n_paused, 1);
        ck_assert_int_eq(
                        run_state_of(VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER, &detail),
                        SUSPENDD_STATE_PAUSED);
}
END_TEST

static const struct {
        int state, reason;
        const char *detail;
} words[] = {
        { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR, "I/O error" },
        { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION, "migrated away" },
        { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_SNAPSHOT, "in a snapshot" },
        { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY_FAILED, "post-copy failed" },
        { VIR_DOMAIN_PAUSED, UNKNOWN_MAX, "stopped for unknown" },
        { VIR_DOMAIN_PAUSED, -1, "stopped for unknown" },
        { VIR_DOMAIN_SHUTDOWN, VIR_DOMAIN_SHUTDOWN_USER, "shutting down" },
        { VIR_DOMAIN_CRASHED, VIR_DOMAIN_CRASHED_PANICKED, "crashed" },
};

START_TEST(test_what_stands_says_why) {
        const char *detail = NULL;

        (void) run_state_of(words[_i].state, words[_i].reason, &detail);
        ck_assert_str_eq(detail, words[_i].detail);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("libvirt-run-state");
        TCase *c = tcase_create("run-state");
        SRunner *runner;
        int n_failed;

        tcase_add_test(c, test_each_state_and_reason_means_what_it_should);
        tcase_add_test(c, test_only_a_user_pauses);
        tcase_add_loop_test(c, test_what_stands_says_why, 0, ARRAY_LEN(words));
        suite_add_tcase(suite, c);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
