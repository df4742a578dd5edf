/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include "common/macro.h"
#include "common/time-util.h"
#include "daemon/autogroup.h"

#define NICE 5
#define NOBODY 65534
#define TRIES 3

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

/* What a process does: with which nice value, as the leader of a session or not, and how long its loop runs after. */
typedef struct Doing {
        int nice_value;
        bool is_leader;
        uid_t user;
        uint64_t loop_usec;
} Doing;

/* What it returned, and its session's nice value in the end. */
typedef struct Told {
        int r;
        int session;
} Told;

static int stop(sd_event_source *source, _unused_ uint64_t usec, _unused_ void *userdata) {
        return sd_event_exit(sd_event_source_get_event(source), 0);
}

static bool act(const Doing *d, Told *ret) {
        sd_event *event = NULL;

        if ((d->is_leader && setsid() < 0) || setpriority(PRIO_PROCESS, 0, d->nice_value) < 0)
                return false;
        /* Another user's files in /proc are root's until it says that they are its own. */
        if (d->user != 0 && (setuid(d->user) < 0 || prctl(PR_SET_DUMPABLE, 1) < 0))
                return false;
        if (sd_event_new(&event) < 0 ||
            sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, d->loop_usec, 1, stop, NULL) <
                            0)
                return false;
        ret->r = autogroup_take_nice(event);
        if (d->loop_usec > 0 && sd_event_loop(event) < 0)
                return false;
        ret->session = session_nice();
        return sd_event_unref(event) == NULL;
}

/* Has a process of its own do that. */
static Told run(Doing d) {
        int ends[2], status;
        Told told;
        pid_t pid;

        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0)
                _exit(!act(&d, &told) || write(ends[1], &told, sizeof(told)) != sizeof(told));
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
        ck_assert_int_eq(read(ends[0], &told, sizeof(told)), sizeof(told));
        (void) close(ends[0]);
        (void) close(ends[1]);
        return told;
}

START_TEST(test_session_of_its_own_has_its_nice_value) {
        bool has_sessions = session_nice() != INT_MIN;
        Told told = run((Doing){ .nice_value = NICE, .is_leader = true });

        ck_assert_int_eq(told.r, has_sessions ? 1 : 0);
        ck_assert_int_eq(told.session, has_sessions ? NICE : INT_MIN);
}
END_TEST

START_TEST(test_session_of_others_stays_as_it_is) {
        int before = session_nice();
        Told told = run((Doing){ .nice_value = NICE });

        ck_assert_int_eq(told.r, 0);
        ck_assert_int_eq(told.session, before);
}
END_TEST

START_TEST(test_without_a_nice_value_nothing_is_written) {
        Told told = run((Doing){ .is_leader = true });

        ck_assert_int_eq(told.r, 0);
        ck_assert_int_eq(told.session, session_nice() != INT_MIN ? 0 : INT_MIN);
}
END_TEST

/* Of whom is not CAP_SYS_ADMIN the kernel takes one value in 0.1 s. */
START_TEST(test_one_that_comes_too_soon_is_asked_again) {
        const Doing before = { .nice_value = NICE, .is_leader = true, .user = NOBODY };
        Doing d = before;
        Told told = { .r = 1 };

        if (geteuid() != 0 || session_nice() == INT_MIN) {
                (void) puts("skipped: takes root, and a kernel that shares the CPU out among sessions");
                return;
        }
        d.loop_usec = USEC_PER_SEC;
        /* A busy machine may take longer than 0.1 s from one to the next. */
        for (int i = 0; i < TRIES && told.r != 0; i++) {
                (void) run(before);
                told = run(d);
                ck_assert_int_eq(told.session, NICE);
        }
        ck_assert_int_eq(told.r, 0);
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
        tcase_add_test(tcase, test_one_that_comes_too_soon_is_asked_again);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
