/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a look says of a domain's start: by libvirt's test driver, whose domain has a PID file in a scratch
 * folder that names this process.
 */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "common/macro.h"
#include "common/process.h"
#include "plugins/libvirt/look.h"

static char folder[32], path[64];
static virConnectPtr conn;
static virDomainPtr dom;
static DomainFacts facts;

/* between the look and /proc */

static int run_error, user_error;
static uid_t user_told;

int __real_process_run_string(pid_t pid, char **ret);
int __wrap_process_run_string(pid_t pid, char **ret);
int __wrap_process_user(const char *run, uid_t *ret);

int __wrap_process_run_string(pid_t pid, char **ret) {
        return run_error < 0 ? run_error : __real_process_run_string(pid, ret);
}

int __wrap_process_user(const char *run, uid_t *ret) {
        (void) run;
        *ret = user_told;
        return user_error;
}

/* set up */

static void write_pid(uid_t owner) {
        FILE *f = fopen(path, "we");

        ck_assert_ptr_nonnull(f);
        (void) fprintf(f, "%d\n", (int) getpid());
        (void) fclose(f);
        if (geteuid() == 0)
                ck_assert_int_eq(chown(path, owner, (gid_t) -1), 0);
        user_told = geteuid() == 0 ? owner : geteuid();
}

static void set_up(void) {
        (void) strcpy(folder, "/tmp/test-look-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(folder));
        (void) snprintf(path, sizeof(path), "%s/test.pid", folder);
        conn = virConnectOpen("test:///default");
        dom = virDomainLookupByName(conn, "test");
        ck_assert_ptr_nonnull(dom);
        run_error = user_error = 0;
}

static void tear_down(void) {
        domain_facts_done(&facts);
        (void) virDomainFree(dom);
        (void) virConnectClose(conn);
        (void) unlink(path);
        (void) rmdir(folder);
}

static int look(void) {
        domain_facts_done(&facts);
        return look_at_facts(dom, folder, &facts);
}

static int look_without_descriptors(void) {
        struct rlimit limit, none = { 0 };
        int r;

        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none.rlim_max = limit.rlim_max;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        r = look();
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        return r;
}

static void expect_process(bool is_known) {
        _cleanup_free_ char *process = NULL, *run = NULL;

        ck_assert_int_eq(look(), 0);
        ck_assert_str_eq(facts.name, "test");
        ck_assert_int_eq(__real_process_run_string(getpid(), &process), 0);
        ck_assert_int_gt(asprintf(&run, "%u.%s", virDomainGetID(dom), process), 0);
        if (!is_known)
                *strchr(run, '.') = 0;
        ck_assert_str_eq(facts.run, run);
}

/* tests */

START_TEST(test_run_has_the_process_that_the_file_names) {
        expect_process(false);
        write_pid(0);
        expect_process(true);
        write_pid(1);
        expect_process(true);
}
END_TEST

START_TEST(test_what_does_not_tell_of_a_process_leaves_it_out) {
        _cleanup_close_ int writer = -1;

        write_pid(1);
        user_told++;
        expect_process(false); /* somebody else's */
        user_told--;
        user_error = -ESRCH;
        expect_process(false);
        user_error = -EINVAL;
        expect_process(false);
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(mkfifo(path, 0600), 0);
        writer = open(path, O_RDWR | O_CLOEXEC);
        ck_assert_int_ge(writer, 0);
        expect_process(false); /* though there will never be anything to read */
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(symlink("/proc/self/stat", path), 0);
        expect_process(false);
}
END_TEST

/* A run without its process would be that of another start, and what is held of this one forgotten. */
START_TEST(test_what_is_only_lacking_is_no_other_run) {
        static const int errors[] = { -EMFILE, -ENFILE, -ENOMEM };

        write_pid(1);
        ck_assert_int_eq(look_without_descriptors(), -EMFILE);
        ck_assert_ptr_null(facts.run);
        for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
                run_error = errors[i];
                ck_assert_int_eq(look(), errors[i]);
                run_error = 0;
                user_error = errors[i];
                ck_assert_int_eq(look(), errors[i]);
                ck_assert_ptr_null(facts.run);
                user_error = 0;
        }
        expect_process(true);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("libvirt-look");
        TCase *c = tcase_create("look");
        SRunner *runner;
        int n_failed;

        tcase_add_checked_fixture(c, set_up, tear_down);
        tcase_add_test(c, test_run_has_the_process_that_the_file_names);
        tcase_add_test(c, test_what_does_not_tell_of_a_process_leaves_it_out);
        tcase_add_test(c, test_what_is_only_lacking_is_no_other_run);
        suite_add_tcase(suite, c);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
