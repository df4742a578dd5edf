/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The helper that speaks to libvirtd's admin interface, played by a shell. */

#include <check.h>
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "plugins/libvirt/libvirtd-workers.h"

__typeof__(posix_spawn) __real_posix_spawn, __wrap_posix_spawn;
__typeof__(close) __real_close, __wrap_close;

static const char *script;
static unsigned n_closed_twice;
static WorkersCall *call;

int __wrap_posix_spawn(
                pid_t *ret,
                const char *path _unused_,
                const posix_spawn_file_actions_t *files,
                const posix_spawnattr_t *attributes,
                char *const argv[],
                char *const environment[]) {
        if (!script)
                return ENOENT;
        /* $1 and $2 are what the helper is told. */
        return __real_posix_spawn(
                        ret,
                        "/bin/sh",
                        files,
                        attributes,
                        (char *const[]){ (char *) "sh",
                                         (char *) "-c",
                                         (char *) script,
                                         argv[0],
                                         argv[1],
                                         argv[2],
                                         NULL },
                        environment);
}

int __wrap_close(int fd) {
        int r = __real_close(fd);

        n_closed_twice += r < 0 && errno == EBADF;
        return r;
}

static void set_up(void) {
        script = NULL;
        n_closed_twice = 0;
        call = workers_call_new("libvirtd:///system", 33);
        ck_assert_ptr_nonnull(call);
}

static void tear_down(void) {
        call->call.ops->free(&call->call);
}

/* As a worker runs it, whose connection it does not use. */
static void run(const char *new_script) {
        script = new_script;
        call->call.ops->run(&call->call, (virConnectPtr) &script);
}

START_TEST(test_limits_are_taken_from_the_helper) {
        run("[ \"$1 $2\" = 'libvirtd:///system 33' ] && echo 20 33");
        ck_assert_int_eq(call->call.error, 0);
        ck_assert_uint_eq(call->n_before, 20);
        ck_assert_uint_eq(call->n_now, 33);
}
END_TEST

/* What has been closed has been: its number is another's by then, in a process with threads. */
START_TEST(test_nothing_is_closed_twice) {
        run("echo 20 33");
        ck_assert_uint_eq(n_closed_twice, 0);
        run(NULL);
        ck_assert_uint_eq(n_closed_twice, 0);
}
END_TEST

START_TEST(test_what_the_helper_says_instead_is_told) {
        run("echo 'no admin interface' >&2; exit 1");
        ck_assert_int_eq(call->call.error, -EIO);
        ck_assert_str_eq(call->call.why, "no admin interface");
        ck_assert_uint_eq(call->n_now, 0);
}
END_TEST

START_TEST(test_helper_that_is_not_there_is_told) {
        run(NULL);
        ck_assert_int_eq(call->call.error, -ENOENT);
        ck_assert_ptr_nonnull(strstr(call->call.why, "suspendd-libvirt-workers: No such file"));
}
END_TEST

START_TEST(test_helper_that_hangs_is_ended) {
        run("exec sleep 60");
        ck_assert_int_eq(call->call.error, -ETIMEDOUT);
        ck_assert_uint_eq(n_closed_twice, 0);
}
END_TEST

int main(void) {
        Suite *s = suite_create("libvirt-workers");
        TCase *t = tcase_create("helper");
        SRunner *r;
        int n_failed;

        tcase_add_checked_fixture(t, set_up, tear_down);
        tcase_set_timeout(t, 20);
        tcase_add_test(t, test_limits_are_taken_from_the_helper);
        tcase_add_test(t, test_nothing_is_closed_twice);
        tcase_add_test(t, test_what_the_helper_says_instead_is_told);
        tcase_add_test(t, test_helper_that_is_not_there_is_told);
        tcase_add_test(t, test_helper_that_hangs_is_ended);
        suite_add_tcase(s, t);
        r = srunner_create(s);
        srunner_run_all(r, CK_NORMAL);
        n_failed = srunner_ntests_failed(r);
        srunner_free(r);
        return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
