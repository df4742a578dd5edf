/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "common/macro.h"
#include "common/process.h"

static pid_t start(void) {
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                (void) pause();
                _exit(0);
        }
        return pid;
}

static void end(pid_t pid) {
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(test_run_has_pid_and_start) {
        _cleanup_free_ char *run = NULL, *again = NULL;
        char head[32];

        ck_assert_int_eq(process_run_string(getpid(), &run), 0);
        (void) snprintf(head, sizeof(head), "%d.", (int) getpid());
        ck_assert_int_eq(strncmp(run, head, strlen(head)), 0);
        ck_assert_uint_eq(strspn(run + strlen(head), "0123456789"), strlen(run) - strlen(head));
        ck_assert_int_eq(process_run_string(getpid(), &again), 0);
        ck_assert_str_eq(run, again);
}
END_TEST

/* The name stands in parentheses before the fields, and whoever runs chooses it. */
START_TEST(test_name_does_not_move_the_fields) {
        _cleanup_free_ char *before = NULL, *after = NULL;

        ck_assert_int_eq(process_run_string(getpid(), &before), 0);
        ck_assert_int_eq(prctl(PR_SET_NAME, ") S 1 ( 2 3"), 0);
        ck_assert_int_eq(process_run_string(getpid(), &after), 0);
        ck_assert_str_eq(before, after);
}
END_TEST

/* A text without a start would be that of another process. */
START_TEST(test_no_descriptor_is_no_reason_to_tell_less) {
        struct rlimit limit, none = { 0 };
        char *run = NULL;
        int r;

        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none.rlim_max = limit.rlim_max;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        r = process_run_string(getpid(), &run);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_int_eq(r, -EMFILE);
        ck_assert_ptr_null(run);
}
END_TEST

START_TEST(test_end_is_certain) {
        _cleanup_free_ char *run = NULL;
        pid_t pid = start();

        ck_assert_int_eq(process_run_string(pid, &run), 0);
        ck_assert(!process_has_ended(run));
        end(pid);
        ck_assert(process_has_ended(run));
}
END_TEST

/* Its sockets are closed by then; its parent may look for it much later. */
START_TEST(test_what_waits_for_its_parent_has_ended) {
        _cleanup_free_ char *run = NULL;
        pid_t pid = start();
        siginfo_t info;

        ck_assert_int_eq(process_run_string(pid, &run), 0);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitid(P_PID, (id_t) pid, &info, WEXITED | WNOWAIT), 0);
        ck_assert(process_has_ended(run));
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

START_TEST(test_another_start_with_the_pid_is_another_process) {
        char other[64];

        (void) snprintf(other, sizeof(other), "%d.1", (int) getpid());
        ck_assert(process_has_ended(other));
}
END_TEST

START_TEST(test_what_tells_no_start_is_never_certain) {
        _cleanup_free_ char *run = NULL;
        pid_t pid = start();

        end(pid);
        ck_assert_int_eq(process_run_string(pid, &run), 0);
        ck_assert_ptr_null(strchr(run, '.'));
        ck_assert(!process_has_ended(run));
        ck_assert(!process_has_ended(""));
        ck_assert(!process_has_ended("no process"));
        ck_assert(!process_has_ended("12."));
}
END_TEST

START_TEST(test_user_is_as_whom_it_acts) {
        _cleanup_free_ char *run = NULL, *own = NULL;
        pid_t pid = start();
        uid_t user = 1;

        ck_assert_int_eq(process_run_string(getpid(), &own), 0);
        ck_assert_int_eq(process_user(own, &user), 0);
        ck_assert_uint_eq(user, geteuid());
        ck_assert_int_eq(process_run_string(pid, &run), 0);
        end(pid);
        ck_assert_int_eq(process_user(run, &user), -ESRCH);
        ck_assert_int_eq(process_user("", &user), -EINVAL);
        ck_assert_int_eq(process_user("12", &user), -EINVAL);
}
END_TEST

static int fopen_error;

FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);

FILE *__wrap_fopen64(const char *path, const char *mode) {
        if (fopen_error == 0)
                return __real_fopen64(path, mode);
        errno = fopen_error;
        return NULL;
}

/* Whoever asks may ask again; of one that /proc does not tell of he would not. */
START_TEST(test_what_is_only_lacking_is_told_as_such) {
        static const int errors[] = { EMFILE, ENFILE, ENOMEM };
        struct rlimit limit, none = { 0 };
        _cleanup_free_ char *run = NULL;
        uid_t user = 1;
        pid_t pid = 1;
        int found, told;

        ck_assert_int_eq(process_run_string(getpid(), &run), 0);
        for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
                fopen_error = errors[i];
                ck_assert_int_eq(process_user(run, &user), -errors[i]);
        }
        fopen_error = EACCES;
        ck_assert_int_eq(process_user(run, &user), -EINVAL);
        fopen_error = 0;
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none.rlim_max = limit.rlim_max;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        found = process_find(run, &pid);
        told = process_user(run, &user);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_int_eq(found, -EMFILE);
        ck_assert_int_eq(told, -EMFILE);
        ck_assert(user == 1 && pid == 1);
}
END_TEST

/* As libvirt's machines have it, where the domain's ID comes first. */
START_TEST(test_what_stands_in_front_of_the_pid_does_not_count) {
        _cleanup_free_ char *own = NULL, *run = NULL;
        uid_t user = 1;
        pid_t pid = 0;

        ck_assert_int_eq(process_run_string(getpid(), &own), 0);
        ck_assert_int_gt(asprintf(&run, "7.%s", own), 0);
        ck_assert_int_eq(process_find(run, &pid), 0);
        ck_assert_int_eq(pid, getpid());
        ck_assert_int_eq(process_user(run, &user), 0);
        ck_assert_uint_eq(user, geteuid());
        ck_assert(!process_has_ended(run));
        run[strlen(run) - 1] ^= 1;
        ck_assert(process_has_ended(run));
        ck_assert_int_eq(process_find(run, &pid), -ESRCH);
}
END_TEST

START_TEST(test_text_that_names_no_process_finds_none) {
        static const char *const texts[] = {
                "", ".", "1", "1.", ".1", "x.1", "-1.1", "0.1", "1x.1", "99999999999999999999.1",
        };
        pid_t pid;

        for (size_t i = 0; i < ARRAY_LEN(texts); i++)
                ck_assert_int_eq(process_find(texts[i], &pid), -EINVAL);
}
END_TEST

START_TEST(test_user_of_another_start_is_not_told) {
        char other[64];
        uid_t user;

        (void) snprintf(other, sizeof(other), "%d.1", (int) getpid());
        ck_assert_int_eq(process_user(other, &user), -ESRCH);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("process");
        TCase *tcase = tcase_create("process");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_test(tcase, test_run_has_pid_and_start);
        tcase_add_test(tcase, test_name_does_not_move_the_fields);
        tcase_add_test(tcase, test_no_descriptor_is_no_reason_to_tell_less);
        tcase_add_test(tcase, test_end_is_certain);
        tcase_add_test(tcase, test_what_waits_for_its_parent_has_ended);
        tcase_add_test(tcase, test_another_start_with_the_pid_is_another_process);
        tcase_add_test(tcase, test_what_tells_no_start_is_never_certain);
        tcase_add_test(tcase, test_user_is_as_whom_it_acts);
        tcase_add_test(tcase, test_what_is_only_lacking_is_told_as_such);
        tcase_add_test(tcase, test_what_stands_in_front_of_the_pid_does_not_count);
        tcase_add_test(tcase, test_text_that_names_no_process_finds_none);
        tcase_add_test(tcase, test_user_of_another_start_is_not_told);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
