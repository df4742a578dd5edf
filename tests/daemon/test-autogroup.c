/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "common/macro.h"
#include "daemon/autogroup.h"

#define NICE 5

/* The nice value of this process's session. Returns: INT_MIN where sessions have none. */
static int session_nice(void) {
        FILE *f = fopen("/proc/self/autogroup", "re");
        int value = INT_MIN;

        if (f && fscanf(f, "/autogroup-%*d nice %d", &value) != 1)
                value = INT_MIN;
        if (f)
                (void) fclose(f);
        return value;
}

/* In a process of nice value @nice_value that leads a session or not: what it returned, and its session's. */
static void run(bool is_leader, int nice_value, int *ret, int *ret_session) {
        int ends[2], told[2], status;
        pid_t pid;

        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                if ((is_leader && setsid() < 0) || setpriority(PRIO_PROCESS, 0, nice_value) < 0)
                        _exit(1);
                told[0] = autogroup_take_nice();
                told[1] = session_nice();
                _exit(write(ends[1], told, sizeof(told)) != sizeof(told));
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
        ck_assert_int_eq(read(ends[0], told, sizeof(told)), sizeof(told));
        (void) close(ends[0]);
        (void) close(ends[1]);
        *ret = told[0];
        *ret_session = told[1];
}

START_TEST(test_session_of_its_own_has_its_nice_value) {
        bool has_sessions = session_nice() != INT_MIN;
        int r, session;

        run(true, NICE, &r, &session);
        ck_assert_int_eq(r, has_sessions ? 1 : 0);
        ck_assert_int_eq(session, has_sessions ? NICE : INT_MIN);
}
END_TEST

START_TEST(test_session_of_others_stays_as_it_is) {
        int before = session_nice(), r, session;

        run(false, NICE, &r, &session);
        ck_assert_int_eq(r, 0);
        ck_assert_int_eq(session, before);
}
END_TEST

START_TEST(test_without_a_nice_value_nothing_is_written) {
        bool has_sessions = session_nice() != INT_MIN;
        int r, session;

        run(true, 0, &r, &session);
        ck_assert_int_eq(r, 0);
        ck_assert_int_eq(session, has_sessions ? 0 : INT_MIN);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("autogroup");
        TCase *tcase = tcase_create("autogroup");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_test(tcase, test_session_of_its_own_has_its_nice_value);
        tcase_add_test(tcase, test_session_of_others_stays_as_it_is);
        tcase_add_test(tcase, test_without_a_nice_value_nothing_is_written);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
