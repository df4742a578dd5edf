/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "common/file-replace.h"
#include "scratch.h"

static char path[96], aside[128];

static void setup(void) {
        scratch_make();
        (void) snprintf(path, sizeof(path), "%s/f", scratch);
        (void) snprintf(aside, sizeof(aside), "%s.new", path);
}

static void teardown(void) {
        (void) remove(path);
        ck_assert_int_eq(rmdir(scratch), 0); /* nothing else was left in it */
}

static void check_text(const char *text) {
        _cleanup_free_ char *found = scratch_read("f", NULL);

        ck_assert_str_eq(found, text);
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
        const char *victim = scratch_path("victim");
        struct stat st;

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
        TCase *c = tcase_create("file-replace");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, test_new_takes_the_place_of_old);
        tcase_add_test(c, test_what_lies_aside_is_not_followed);
        tcase_add_test(c, test_failure_leaves_what_was_there);
        return scratch_run(c, "file-replace");
}
