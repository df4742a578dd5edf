/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "common/watch.h"

#define LIMIT_USEC 10000000

static char folder[64], inside[128];
static sd_event *event;
static Watch *watch;
static unsigned n_changes;

static bool cares(void *userdata, const char *name) {
        ck_assert_ptr_eq(userdata, &n_changes);
        return *name == 'w';
}

static void on_change(void *userdata) {
        ck_assert_ptr_eq(userdata, &n_changes);
        n_changes++;
}

static const WatchOps ops = { .cares = cares, .on_change = on_change };

static void setup(void) {
        (void) snprintf(folder, sizeof(folder), "/tmp/suspendd-test-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(folder));
        (void) snprintf(inside, sizeof(inside), "%s/w", folder);
        n_changes = 0;
        ck_assert_int_ge(sd_event_new(&event), 0);
        ck_assert_int_eq(watch_new(event, "test-watch", &ops, &n_changes, &watch), 0);
        watch_begin(watch);
        ck_assert_int_eq(watch_add(watch, folder), 0);
        watch_end(watch);
}

static void teardown(void) {
        watch_free(watch);
        sd_event_unref(event);
        (void) unlink(inside);
        (void) rmdir(inside);
        (void) rmdir(folder);
}

static void touch(const char *path) {
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

        ck_assert_int_ge(fd, 0);
        (void) close(fd);
}

/* All that inotify has to say is there already: it is told by the call that makes it so. */
static unsigned changes(void) {
        while (sd_event_run(event, 0) > 0)
                ;
        return n_changes;
}

START_TEST(test_what_appears_is_told) {
        ck_assert_uint_eq(changes(), 0);
        touch(inside);
        ck_assert_int_gt(sd_event_run(event, LIMIT_USEC), 0);
        ck_assert_uint_ge(changes(), 1);
}
END_TEST

START_TEST(test_what_nobody_cares_for_is_not_told) {
        char other[128];

        (void) snprintf(other, sizeof(other), "%s/other", folder);
        touch(other);
        ck_assert_int_eq(unlink(other), 0);
        ck_assert_uint_eq(changes(), 0);
}
END_TEST

START_TEST(test_what_is_not_added_again_is_watched_no_longer) {
        watch_begin(watch);
        watch_end(watch);
        (void) changes();
        n_changes = 0;
        touch(inside);
        ck_assert_uint_eq(changes(), 0);

        watch_begin(watch);
        ck_assert_int_eq(watch_add(watch, folder), 0);
        ck_assert_int_eq(watch_add(watch, folder), 0);
        watch_end(watch);
        ck_assert_int_eq(unlink(inside), 0);
        touch(inside);
        ck_assert_uint_ge(changes(), 1);
}
END_TEST

START_TEST(test_directory_that_goes_is_told) {
        ck_assert_int_eq(rmdir(folder), 0);
        ck_assert_uint_ge(changes(), 1);
}
END_TEST

START_TEST(test_mode_that_changes_is_told) {
        ck_assert_int_eq(chmod(folder, 0750), 0);
        ck_assert_uint_ge(changes(), 1);
}
END_TEST

START_TEST(test_only_a_directory_is_watched) {
        touch(inside);
        watch_begin(watch);
        ck_assert_int_eq(watch_add(watch, inside), -ENOTDIR);
        ck_assert_int_eq(watch_add(watch, "/nonexistent/folder"), -ENOENT);
        watch_end(watch);
        ck_assert_ptr_null(watch_free(NULL));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("watch");
        TCase *tcase = tcase_create("watch");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_add_test(tcase, test_what_appears_is_told);
        tcase_add_test(tcase, test_what_nobody_cares_for_is_not_told);
        tcase_add_test(tcase, test_what_is_not_added_again_is_watched_no_longer);
        tcase_add_test(tcase, test_directory_that_goes_is_told);
        tcase_add_test(tcase, test_mode_that_changes_is_told);
        tcase_add_test(tcase, test_only_a_directory_is_watched);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
