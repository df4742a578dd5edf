/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "common/grant.h"
#include "common/macro.h"

#define SOMEBODY 65534
#define SOMEBODY_ELSE 65533

static char path[] = "/tmp/test-grant-XXXXXX";
static int fd = -1;

static void setup(void) {
        fd = mkstemp(path);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fchmod(fd, 0644), 0);
}

static void teardown(void) {
        closep(&fd);
        (void) unlink(path);
        (void) strcpy(path, "/tmp/test-grant-XXXXXX");
}

/* Whether that user, in that group, can read and write it. */
static bool can_open(uid_t user, gid_t group, int mode) {
        pid_t pid = fork();
        int status;

        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                if (setresgid(group, group, group) < 0 || setresuid(user, user, user) < 0)
                        _exit(2);
                _exit(open(path, mode | O_CLOEXEC) >= 0);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_le(WEXITSTATUS(status), 1);
        return WEXITSTATUS(status) == 1;
}

static void assert_granted(void) {
        struct stat st;

        ck_assert_int_eq(fstat(fd, &st), 0);
        ck_assert_uint_eq(st.st_uid, geteuid());
        ck_assert_uint_eq(st.st_mode & 0777, 0660);
        if (geteuid() != 0)
                return;
        ck_assert(can_open(SOMEBODY, SOMEBODY, O_RDWR));
        ck_assert(!can_open(SOMEBODY_ELSE, SOMEBODY, O_RDONLY));
        ck_assert(!can_open(SOMEBODY_ELSE, 0, O_RDONLY)); /* the file's group */
        ck_assert(!can_open(SOMEBODY_ELSE, 0, O_WRONLY));
}

START_TEST(test_one_user_and_no_other_by_path) {
        ck_assert_int_eq(grant_path(path, SOMEBODY), 0);
        assert_granted();
}
END_TEST

START_TEST(test_one_user_and_no_other_by_descriptor) {
        ck_assert_int_eq(grant_fd(fd, SOMEBODY), 0);
        assert_granted();
}
END_TEST

START_TEST(test_granted_to_another_it_is_no_longer_the_first_ones) {
        ck_assert_int_eq(grant_fd(fd, SOMEBODY_ELSE), 0);
        ck_assert_int_eq(grant_fd(fd, SOMEBODY), 0);
        assert_granted();
}
END_TEST

START_TEST(test_holder_is_known) {
        uid_t user = 1;

        ck_assert_int_eq(grant_holder(fd, &user), -ENODATA);
        ck_assert_int_eq(grant_fd(fd, SOMEBODY), 0);
        ck_assert_int_eq(grant_holder(fd, &user), 0);
        ck_assert_uint_eq(user, SOMEBODY);
        ck_assert_int_eq(fchmod(fd, 0600), 0); /* the mask alone */
        ck_assert_int_eq(grant_holder(fd, &user), 0);
}
END_TEST

START_TEST(test_link_is_not_followed) {
        char link[sizeof(path) + 8];
        struct stat st;

        (void) snprintf(link, sizeof(link), "%s.link", path);
        ck_assert_int_eq(symlink(path, link), 0);
        ck_assert_int_eq(grant_path(link, SOMEBODY), -EOPNOTSUPP);
        ck_assert_int_eq(unlink(link), 0);
        ck_assert_int_eq(fstat(fd, &st), 0);
        ck_assert_uint_eq(st.st_mode & 0777, 0644);
        ck_assert_int_eq(grant_path(link, SOMEBODY), -ENOENT);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("grant");
        TCase *tcase = tcase_create("grant");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_add_test(tcase, test_one_user_and_no_other_by_path);
        tcase_add_test(tcase, test_one_user_and_no_other_by_descriptor);
        tcase_add_test(tcase, test_granted_to_another_it_is_no_longer_the_first_ones);
        tcase_add_test(tcase, test_holder_is_known);
        tcase_add_test(tcase, test_link_is_not_followed);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
