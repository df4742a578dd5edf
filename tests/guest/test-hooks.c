/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/wait.h>
#include <time.h>
#include "guest/hooks.h"
#include "run.h"
#include "scratch.h"

static char admins[128], vendors[128];
static const char *folders[3];

static void setup(void) {
        scratch_make();
        scratch_folders("etc");
        scratch_folders("lib");
        (void) snprintf(admins, sizeof(admins), "%s", scratch_path("etc"));
        (void) snprintf(vendors, sizeof(vendors), "%s", scratch_path("lib"));
        folders[0] = admins;
        folders[1] = vendors;
}

static void hook(const char *name, const char *line) {
        char text[1024];

        (void) snprintf(text, sizeof(text), "#!/bin/sh\ncd %s\n%s\n", scratch, line);
        scratch_write(name, text, strlen(text), 0755);
}

static const HookEvent event = {
        .is_set = true,
        .applied_ns = 20,
        .noted_ns = 1,
        .refused_ns = 3,
        .seen_ns = 4,
        .epoch = 5,
        .cycles = 6,
        .total_unseen_ns = 7,
        .total_seen_ns = 8,
        .host_realtime_ns = 9,
        .host_stepped_ns = -10,
};

static void run(void) {
        int status = -1;
        pid_t pid = hooks_start(folders, &event);

        ck_assert_int_gt(pid, 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
}

START_TEST(test_hooks_run_in_the_order_of_their_names) {
        hook("lib/20-b", "echo lib-b >> out");
        hook("etc/30-c", "echo etc-c >> out");
        hook("lib/10-a", "echo lib-a >> out");
        run();
        ck_assert_str_eq(scratch_read("out"), "lib-a\nlib-b\netc-c\n");
}
END_TEST

START_TEST(test_the_admins_hook_stands_for_the_vendors) {
        hook("lib/10-a", "echo lib >> out");
        hook("etc/10-a", "echo etc >> out");
        hook("lib/20-b", "echo masked >> out");
        scratch_write("etc/20-b", "", 0, 0644);
        run();
        ck_assert_str_eq(scratch_read("out"), "etc\n");
}
END_TEST

START_TEST(test_the_numbers_are_in_the_environment) {
        hook("etc/10-a", "env | grep ^SUSPEND | sort > out; env | grep -c . > count");
        run();
        ck_assert_str_eq(
                        scratch_read("out"),
                        "SUSPEND_GUEST_APPLIED_NSEC=20\n"
                        "SUSPEND_GUEST_CYCLES=6\n"
                        "SUSPEND_GUEST_EPOCH=5\n"
                        "SUSPEND_GUEST_HOST_REALTIME_NSEC=9\n"
                        "SUSPEND_GUEST_HOST_STEPPED_NSEC=-10\n"
                        "SUSPEND_GUEST_REFUSED_NSEC=3\n"
                        "SUSPEND_GUEST_SEEN_NSEC=4\n"
                        "SUSPEND_GUEST_TOTAL_SEEN_NSEC=8\n"
                        "SUSPEND_GUEST_TOTAL_UNSEEN_NSEC=7\n"
                        "SUSPEND_GUEST_UNSEEN_NSEC=21\n");
}
END_TEST

START_TEST(test_names_are_never_read_by_a_shell) {
        hook("etc/10 a; touch $(hacked)", "echo ran >> out");
        run();
        ck_assert_str_eq(scratch_read("out"), "ran\n");
        ck_assert_int_ne(access(scratch_path("hacked"), F_OK), 0);
}
END_TEST

START_TEST(test_what_is_not_a_hook_is_not_run) {
        hook("etc/.hidden", "echo hidden >> out");
        hook("etc/a~", "echo backup >> out");
        hook("etc/a.dpkg-old", "echo old >> out");
        scratch_write("etc/plain", "#!/bin/sh\n", 10, 0644);
        scratch_folders("etc/folder");
        ck_assert_int_eq(hooks_start(folders, &event), 0);
        hook("etc/open", "echo open >> out");
        ck_assert_int_eq(chmod(scratch_path("etc/open"), 0777), 0);
        ck_assert_int_eq(hooks_start(folders, &event), 0);
        ck_assert_str_eq(scratch_read("out"), "");
}
END_TEST

START_TEST(test_one_that_fails_does_not_stop_the_next) {
        hook("etc/10-a", "exit 7");
        scratch_write("etc/15-not-a-program", "\1\2\3", 3, 0755);
        hook("etc/20-b", "echo ran >> out");
        run();
        ck_assert_str_eq(scratch_read("out"), "ran\n");
}
END_TEST

START_TEST(test_one_that_hangs_is_killed_with_its_children) {
        time_t before = time(NULL);

        hook("etc/10-a", "sleep 300 & echo $! > child; wait");
        hook("etc/20-b", "echo ran >> out");
        run();
        ck_assert_str_eq(scratch_read("out"), "ran\n");
        ck_assert_int_le(time(NULL) - before, HOOK_TIMEOUT_SEC + 15);
        hook("etc/30-c",
             "grep -qs '^State:.*[RSD] ' /proc/$(cat child)/status && echo alive > alive");
        hook("etc/10-a", "true");
        run();
        ck_assert_str_eq(scratch_read("alive"), "");
}
END_TEST

START_TEST(test_there_is_an_end_to_their_number) {
        char *paths[HOOKS_MAX];
        char name[32];
        size_t n;

        for (int i = 0; i < HOOKS_MAX + 10; i++) {
                (void) snprintf(name, sizeof(name), "etc/%03d", i);
                hook(name, "true");
        }
        n = hooks_find(folders, paths);
        ck_assert_uint_eq(n, HOOKS_MAX);
        for (size_t i = 0; i < n; i++)
                free(paths[i]);
}
END_TEST

START_TEST(test_without_hooks_there_is_no_process) {
        ck_assert_int_eq(hooks_start(folders, &event), 0);
        folders[0] = "/no/such/folder";
        ck_assert_int_eq(hooks_start(folders, &event), 0);
}
END_TEST

START_TEST(test_an_event_gathers_what_looks_bring) {
        const DriftRecord record = { .epoch = 3, .cycles = 4, .unseen_ns = 5 };
        LedgerNews news = { .verdict = LEDGER_NOTHING };
        HookEvent gathered = { 0 };

        hook_event_add(&gathered, &record, &news);
        ck_assert(!gathered.is_set);
        news = (LedgerNews){ .verdict = LEDGER_APPLY, .owed_ns = 10 };
        hook_event_add(&gathered, &record, &news);
        news = (LedgerNews){ .verdict = LEDGER_NOTED, .owed_ns = 1, .seen_ns = 6 };
        hook_event_add(&gathered, &record, &news);
        news = (LedgerNews){ .verdict = LEDGER_REFUSED, .owed_ns = 2 };
        hook_event_add(&gathered, &record, &news);
        ck_assert(gathered.is_set);
        ck_assert_uint_eq(gathered.applied_ns, 10);
        ck_assert_uint_eq(gathered.noted_ns, 1);
        ck_assert_uint_eq(gathered.refused_ns, 2);
        ck_assert_uint_eq(gathered.seen_ns, 6);
        ck_assert_uint_eq(gathered.total_unseen_ns, 5);
}
END_TEST

int main(void) {
        const TTest *const tests[] = {
                test_hooks_run_in_the_order_of_their_names,
                test_the_admins_hook_stands_for_the_vendors,
                test_the_numbers_are_in_the_environment,
                test_names_are_never_read_by_a_shell,
                test_what_is_not_a_hook_is_not_run,
                test_one_that_fails_does_not_stop_the_next,
                test_one_that_hangs_is_killed_with_its_children,
                test_there_is_an_end_to_their_number,
                test_without_hooks_there_is_no_process,
                test_an_event_gathers_what_looks_bring,
        };

        return run_tests("guest-hooks", tests, ARRAY_LEN(tests), setup, scratch_remove);
}
