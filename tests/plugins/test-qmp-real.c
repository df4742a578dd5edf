/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The whole plugin before real QEMU processes that have no guest. */

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "common/clock-sample.h"
#include "common/macro.h"
#include "common/time-util.h"
#include "fake-host.h"
#include "plugins/qmp/channel.h"

#define QEMU "qemu-system-x86_64"

static FakeHost fake;
static void *instance;
static char directory[] = "/tmp/test-qmp-XXXXXX";
static pid_t processes[4];
static uint64_t last_step;

/* set up */

static void run_qemu(unsigned i, const char *name) {
        char path[256], monitor[512];
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                (void) snprintf(path, sizeof(path), "%s/%s.qmp", directory, name);
                (void) snprintf(monitor, sizeof(monitor), "unix:%s,server=on,wait=off", path);
                (void) execlp(QEMU,
                              QEMU,
                              "-machine",
                              "none",
                              "-S",
                              "-display",
                              "none",
                              "-nodefaults",
                              "-name",
                              name,
                              "-uuid",
                              "01234567-89ab-cdef-0123-456789abcdef",
                              "-qmp",
                              monitor,
                              NULL);
                _exit(127);
        }
        processes[i] = pid;
}

static void end_qemu(unsigned i) {
        if (processes[i] <= 0)
                return;
        (void) kill(processes[i], SIGKILL);
        (void) waitpid(processes[i], NULL, 0);
        processes[i] = 0;
}

static void set_up(void) {
        struct suspendd_setting settings[] = {
                { .key = "Directory", .value = directory, .file = "test", .line = 1 },
        };

        (void) strcpy(directory, "/tmp/test-qmp-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        fake_host_init(&fake);
        ck_assert_int_eq(suspendd_plugin.create(&fake.host, &instance), 0);
        ck_assert_int_eq(suspendd_plugin.load(instance, settings, ARRAY_LEN(settings)), 0);
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
}

static void tear_down(void) {
        char command[128];

        suspendd_plugin.destroy(instance);
        fake_host_done(&fake);
        for (unsigned i = 0; i < ARRAY_LEN(processes); i++)
                end_qemu(i);
        (void) snprintf(command, sizeof(command), "rm -r %s", directory);
        ck_assert_int_eq(system(command), 0);
}

/* Calls the act and waits until it has ended. */
static const FakeDone *act(int (*fn)(void *vm, uint64_t step), struct suspendd_machine *m) {
        uint64_t step = ++last_step;

        ck_assert_int_eq(fn(m->vm, step), SUSPENDD_PENDING);
        FAKE_HOST_WAIT(&fake, fake_host_find_done(&fake, step));
        return fake_host_find_done(&fake, step);
}

static struct suspendd_machine *await_machine(const char *name) {
        FAKE_HOST_WAIT(&fake, fake_host_find(&fake, name));
        return fake_host_find(&fake, name);
}

/* tests */

START_TEST(test_machine_is_identified) {
        struct suspendd_machine *m;
        char run[32];

        run_qemu(0, "one");
        m = await_machine("one");
        ck_assert_str_eq(m->uuid, "01234567-89ab-cdef-0123-456789abcdef");
        (void) snprintf(run, sizeof(run), "%d.", (int) processes[0]);
        ck_assert_int_eq(strncmp(m->run, run, strlen(run)), 0);
        ck_assert_int_eq(strncmp(m->vmm, "QEMU ", 5), 0);
        ck_assert_str_eq(m->why_not[SUSPENDD_ACT_PAUSE], "");
        ck_assert_str_ne(m->why_not[SUSPENDD_ACT_SUSPEND], "");
        ck_assert_int_eq(m->state, SUSPENDD_STATE_OTHER);
        ck_assert_str_eq(m->detail, "prelaunch");
}
END_TEST

START_TEST(test_pause_and_resume_are_seen) {
        struct suspendd_machine *m;
        int64_t before_ns;

        run_qemu(0, "one");
        m = await_machine("one");
        ck_assert_int_eq(act(suspendd_plugin.resume, m)->result, 0);
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_RUNNING);
        for (int i = 0; i < 3; i++) {
                before_ns = clock_now_ns(CLOCK_BOOTTIME);
                ck_assert_int_eq(act(suspendd_plugin.pause, m)->result, 0);
                FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
                ck_assert_int_ge(m->boottime_ns, before_ns - NSEC_PER_MSEC);
                ck_assert_int_le(m->boottime_ns, clock_now_ns(CLOCK_BOOTTIME));
                ck_assert_int_eq(act(suspendd_plugin.resume, m)->result, 0);
                FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_RUNNING);
        }
        fake_host_spend(&fake, 50 * USEC_PER_MSEC);
        for (uint64_t step = 1; step <= last_step; step++)
                ck_assert_uint_le(fake_host_count_done(&fake, step), 1);
}
END_TEST

START_TEST(test_wake_of_a_running_machine_succeeds) {
        struct suspendd_machine *m;

        run_qemu(0, "one");
        m = await_machine("one");
        ck_assert_int_eq(act(suspendd_plugin.wake, m)->result, 0);
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_RUNNING);
}
END_TEST

START_TEST(test_dead_machine_is_removed_and_its_successor_found) {
        struct suspendd_machine *m;
        char run[FAKE_TEXT_MAX];

        run_qemu(0, "one");
        m = await_machine("one");
        (void) strcpy(run, m->run);
        end_qemu(0);
        FAKE_HOST_WAIT(&fake, !m->is_there);
        ck_assert_int_ne(m->state, SUSPENDD_STATE_UNKNOWN); /* not out of reach: gone */
        run_qemu(0, "one");
        m = await_machine("one");
        ck_assert_str_ne(m->run, run);
}
END_TEST

START_TEST(test_machine_held_by_another_client_is_known_once_it_leaves) {
        struct suspendd_machine *m;
        char path[256], greeting[512];
        const char *why = NULL;
        int fd = -1, r;

        /* the other client comes first, in a directory that is not watched yet */
        suspendd_plugin.destroy(instance);
        run_qemu(0, "one");
        (void) snprintf(path, sizeof(path), "%s/one.qmp", directory);
        FAKE_HOST_WAIT(&fake, (r = channel_connect(path, 250 * USEC_PER_MSEC, &fd, &why)) >= 0);
        FAKE_HOST_WAIT(&fake, recv(fd, greeting, sizeof(greeting), MSG_DONTWAIT) > 0);

        ck_assert_int_eq(suspendd_plugin.create(&fake.host, &instance), 0);
        fake.n_enumerated = 0;
        ck_assert_int_eq(
                        suspendd_plugin.load(
                                        instance,
                                        &(const struct suspendd_setting){ .key = "Socket",
                                                                          .value = path },
                                        1),
                        0);
        m = await_machine("one");
        ck_assert_str_eq(m->why_not[SUSPENDD_ACT_PAUSE], "monitor held by another client");
        ck_assert_str_eq(m->uuid, "");
        ck_assert_int_eq(m->state, SUSPENDD_STATE_UNKNOWN);
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        ck_assert_int_lt(suspendd_plugin.pause(m->vm, ++last_step), 0);

        (void) close(fd);
        FAKE_HOST_WAIT(&fake, !m->is_there);
        m = await_machine("one");
        ck_assert_str_eq(m->why_not[SUSPENDD_ACT_PAUSE], "");
        ck_assert_str_ne(m->uuid, "");
}
END_TEST

START_TEST(test_registered_machine_comes_and_goes) {
        struct suspendd_machine *m;
        const char *why = NULL;
        char path[256];

        (void) snprintf(path, sizeof(path), "%s/one.qmp", directory);
        ck_assert_int_eq(
                        suspendd_plugin.register_machine(instance, "mine", path, NULL, &why),
                        -EINVAL);
        ck_assert_ptr_nonnull(why);
        ck_assert_int_eq(suspendd_plugin.load(instance, NULL, 0), 0);
        run_qemu(0, "one");
        FAKE_HOST_WAIT(&fake, access(path, F_OK) >= 0);
        ck_assert_int_eq(suspendd_plugin.register_machine(instance, "mine", path, NULL, &why), 0);
        ck_assert_int_eq(
                        suspendd_plugin.register_machine(instance, "mine", path, NULL, &why),
                        -EEXIST);
        m = await_machine("mine");
        ck_assert_int_eq(suspendd_plugin.unregister_machine(instance, path), 0);
        ck_assert(!m->is_there);
        ck_assert_int_eq(suspendd_plugin.unregister_machine(instance, path), -ENOENT);
}
END_TEST

START_TEST(test_idle_plugin_sleeps) {
        run_qemu(0, "one");
        run_qemu(1, "two");
        await_machine("one");
        await_machine("two");
        fake_host_spend(&fake, 100 * USEC_PER_MSEC); /* what is left of retries and looks */
        ck_assert_int_eq(sd_event_run(fake.host.event, 3 * USEC_PER_SEC), 0);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("qmp-real");
        TCase *c = tcase_create("qemu");
        SRunner *runner;
        int n_failed;

        if (system("command -v " QEMU " >/dev/null") != 0)
                return 77;
        tcase_add_checked_fixture(c, set_up, tear_down);
        tcase_set_timeout(c, 60);
        tcase_add_test(c, test_machine_is_identified);
        tcase_add_test(c, test_pause_and_resume_are_seen);
        tcase_add_test(c, test_wake_of_a_running_machine_succeeds);
        tcase_add_test(c, test_dead_machine_is_removed_and_its_successor_found);
        tcase_add_test(c, test_machine_held_by_another_client_is_known_once_it_leaves);
        tcase_add_test(c, test_registered_machine_comes_and_goes);
        tcase_add_test(c, test_idle_plugin_sleeps);
        suite_add_tcase(suite, c);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
