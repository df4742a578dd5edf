/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "common/file-replace.h"
#include "common/macro.h"

static char folder[64], path[96], aside[128];

static void setup(void) {
        (void) snprintf(folder, sizeof(folder), "/tmp/suspendd-test-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(folder));
        (void) snprintf(path, sizeof(path), "%s/f", folder);
        (void) snprintf(aside, sizeof(aside), "%s.new", path);
}

static void teardown(void) {
        (void) remove(path);
        ck_assert_int_eq(rmdir(folder), 0); /* nothing else was left in it */
}

static void check_text(const char *text) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        char buf[32] = "";

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(read(fd, buf, sizeof(buf)), (ssize_t) strlen(text));
        ck_assert_str_eq(buf, text);
}

START_TEST(test_new_takes_the_place_of_old) {
        struct stat first, second;

        ck_assert_int_eq(file_replace(path, "first", 5), 0);
        check_text("first");
        ck_assert_int_eq(stat(path, &first), 0);
        ck_assert_uint_eq(first.st_mode & 0777, 0600);
        ck_assert_int_eq(file_replace(path, "no", 2), 0);
        check_text("no");
        ck_assert_int_eq(stat(path, &second), 0);
        ck_assert_uint_ne(first.st_ino, second.st_ino);
}
END_TEST

/* What an end amidst a writing has left, or somebody has put there, is not written into. */
START_TEST(test_what_lies_aside_is_not_followed) {
        char victim[128];
        struct stat st;

        (void) snprintf(victim, sizeof(victim), "%s/victim", folder);
        ck_assert_int_eq(symlink(victim, aside), 0);
        ck_assert_int_eq(file_replace(path, "text", 4), 0);
        check_text("text");
        ck_assert_int_eq(lstat(victim, &st), -1);
        ck_assert_int_eq(lstat(aside, &st), -1);
}
END_TEST

START_TEST(test_failure_leaves_what_was_there) {
        ck_assert_int_eq(file_replace(path, "old", 3), 0);
        ck_assert_int_eq(mkdir(aside, 0700), 0);
        ck_assert_int_eq(file_replace(path, "new", 3), -EEXIST);
        check_text("old");
        ck_assert_int_eq(rmdir(aside), 0);
}
END_TEST

int main(void) {
        Suite *s = suite_create("file-replace");
        TCase *c = tcase_create("file-replace");
        SRunner *runner;
        int n_failed;

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, test_new_takes_the_place_of_old);
        tcase_add_test(c, test_what_lies_aside_is_not_followed);
        tcase_add_test(c, test_failure_leaves_what_was_there);
        suite_add_tcase(s, c);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_NORMAL);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
