/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/macro.h"
#include "common/time-util.h"
#include "plugins/qmp/identity.h"
#include "plugins/qmp/pattern.h"
#include "plugins/qmp/run-state.h"

static const JsonLimits limits = { .size_max = 4096, .values_max = 100, .depth_max = 8 };

static JsonView *event_of(const char *text) {
        JsonView *event = NULL;

        ck_assert_int_eq(json_view_parse(text, strlen(text), &limits, &event), 0);
        return event;
}

static RunVerdict tell(RunState *s, const char *name, const char *data) {
        _cleanup_view_ JsonView *event = NULL;
        char text[256];

        (void) snprintf(text, sizeof(text), "{\"event\": \"%s\", \"data\": %s}", name, data);
        event = event_of(text);
        return run_state_on_event(s, name, event);
}

/* words */

static const struct {
        const char *word;
        enum suspendd_run_state state;
} words[] = {
        { "running", SUSPENDD_STATE_RUNNING },
        { "paused", SUSPENDD_STATE_PAUSED },
        { "suspended", SUSPENDD_STATE_SUSPENDED },
        { "prelaunch", SUSPENDD_STATE_OTHER },
        { "inmigrate", SUSPENDD_STATE_OTHER },
        { "io-error", SUSPENDD_STATE_OTHER },
        { "watchdog", SUSPENDD_STATE_OTHER },
        { "guest-panicked", SUSPENDD_STATE_OTHER },
        { "internal-error", SUSPENDD_STATE_OTHER },
        { "shutdown", SUSPENDD_STATE_OTHER },
        { "save-vm", SUSPENDD_STATE_OTHER },
        { "restore-vm", SUSPENDD_STATE_OTHER },
        { "finish-migrate", SUSPENDD_STATE_OTHER },
        { "postmigrate", SUSPENDD_STATE_OTHER },
        { "debug", SUSPENDD_STATE_OTHER },
        { "colo", SUSPENDD_STATE_OTHER },
        { "a word from the future that is longer than all others", SUSPENDD_STATE_OTHER },
};

START_TEST(test_word_gives_state) {
        RunState s = {};

        run_state_on_word(&s, words[_i].word);
        ck_assert_int_eq(s.state, words[_i].state);
        if (s.state == SUSPENDD_STATE_OTHER)
                ck_assert_int_eq(strncmp(s.word, words[_i].word, strlen(s.word)), 0);
        else
                ck_assert_str_eq(s.word, "");
        run_state_on_word(&s, NULL);
        ck_assert_int_eq(s.state, SUSPENDD_STATE_UNKNOWN);
}
END_TEST

/* events: from the first word on, each event and what it says; then the state */

typedef struct Step {
        const char *event, *data;
        bool stop_sent;
        RunVerdict verdict;
} Step;

static const struct {
        const char *word;
        Step steps[5];
        enum suspendd_run_state state;
} stories[] = {
        /* our stop, our cont */
        { "running", { { "STOP", "{}", true, RUN_TELL } }, SUSPENDD_STATE_PAUSED },
        { "running",
          { { "STOP", "{}", true, RUN_TELL }, { "RESUME", "{}", false, RUN_TELL } },
          SUSPENDD_STATE_RUNNING },
        /* somebody else's stop is asked about */
        { "running", { { "STOP", "{}", false, RUN_ASK } }, SUSPENDD_STATE_RUNNING },
        /* ours, but something else was first */
        { "running",
          { { "BLOCK_IO_ERROR", "{\"action\": \"stop\"}", true, RUN_NOTHING },
            { "STOP", "{}", true, RUN_ASK } },
          SUSPENDD_STATE_RUNNING },
        { "running",
          { { "WATCHDOG", "{\"action\": \"pause\"}", true, RUN_NOTHING },
            { "STOP", "{}", true, RUN_ASK } },
          SUSPENDD_STATE_RUNNING },
        { "running",
          { { "GUEST_PANICKED", "{\"action\": \"pause\"}", true, RUN_ASK },
            { "STOP", "{}", true, RUN_ASK } },
          SUSPENDD_STATE_RUNNING },
        /* an error that stops nothing is no cause */
        { "running",
          { { "BLOCK_IO_ERROR", "{\"action\": \"report\"}", true, RUN_NOTHING },
            { "STOP", "{}", true, RUN_TELL } },
          SUSPENDD_STATE_PAUSED },
        /* what was paused before we came may be a suspended machine underneath */
        { "paused", { { "RESUME", "{}", false, RUN_ASK } }, SUSPENDD_STATE_PAUSED },
        { "suspended",
          { { "STOP", "{}", true, RUN_TELL }, { "RESUME", "{}", false, RUN_ASK } },
          SUSPENDD_STATE_PAUSED },
        /* the guest's own suspend */
        { "running", { { "SUSPEND", "{}", false, RUN_TELL } }, SUSPENDD_STATE_SUSPENDED },
        { "running",
          { { "SUSPEND", "{}", false, RUN_TELL }, { "WAKEUP", "{}", false, RUN_TELL } },
          SUSPENDD_STATE_RUNNING },
        { "paused", { { "SUSPEND", "{}", false, RUN_ASK } }, SUSPENDD_STATE_PAUSED },
        { "paused", { { "WAKEUP", "{}", false, RUN_ASK } }, SUSPENDD_STATE_PAUSED },
        /* the rest only makes us ask, or nothing */
        { "running", { { "RESET", "{}", false, RUN_ASK } }, SUSPENDD_STATE_RUNNING },
        { "running", { { "SHUTDOWN", "{}", false, RUN_ASK } }, SUSPENDD_STATE_RUNNING },
        { "running", { { "MIGRATION", "{}", false, RUN_ASK } }, SUSPENDD_STATE_RUNNING },
        { "running", { { "RTC_CHANGE", "{}", false, RUN_NOTHING } }, SUSPENDD_STATE_RUNNING },
        { "running", { { "BLOCK_IO_ERROR", "7", false, RUN_NOTHING } }, SUSPENDD_STATE_RUNNING },
};

START_TEST(test_events_tell_what_they_can_and_no_more) {
        RunState s = {};

        run_state_on_word(&s, stories[_i].word);
        for (const Step *step = stories[_i].steps; step->event; step++) {
                s.stop_sent = step->stop_sent;
                ck_assert_int_eq(tell(&s, step->event, step->data), step->verdict);
        }
        ck_assert_int_eq(s.state, stories[_i].state);
}
END_TEST

/* Another's stop and cont, before QEMU comes to our stop; or our cont, where that is never answered. */
START_TEST(test_resume_while_our_stop_is_under_way_tells_only_of_our_cont) {
        RunState s = {};

        run_state_on_word(&s, "running");
        s.stop_sent = true;
        ck_assert_int_eq(tell(&s, "STOP", "{}"), RUN_TELL);
        ck_assert_int_eq(tell(&s, "RESUME", "{}"), RUN_ASK);
        ck_assert_int_eq(s.state, SUSPENDD_STATE_PAUSED);
        s.cont_sent = true;
        ck_assert_int_eq(tell(&s, "RESUME", "{}"), RUN_TELL);
        ck_assert_int_eq(s.state, SUSPENDD_STATE_RUNNING);
}
END_TEST

/* stamps */

static int64_t stamp_of(int64_t realtime_ns) {
        _cleanup_view_ JsonView *event = NULL;
        char text[256];

        (void) snprintf(text,
                        sizeof(text),
                        "{\"timestamp\": {\"seconds\": %lld, \"microseconds\": %lld}}",
                        (long long) (realtime_ns / NSEC_PER_SEC),
                        (long long) (realtime_ns % NSEC_PER_SEC / NSEC_PER_USEC));
        event = event_of(text);
        return run_state_stamp(event);
}

START_TEST(test_stamp_is_the_events_own_if_it_can_be) {
        /* What took too long, under valgrind or on a busy machine, is rightly not trusted. */
        for (int i = 0; i < 100; i++) {
                ClockSample now;
                int64_t stamp;

                clock_sample_take(&now);
                stamp = stamp_of(now.realtime_ns - 20 * NSEC_PER_MSEC);
                if (clock_now_ns(CLOCK_BOOTTIME) - now.boottime_ns > 20 * NSEC_PER_MSEC)
                        continue;
                ck_assert_int_le(
                                llabs(stamp - (now.boottime_ns - 20 * NSEC_PER_MSEC)),
                                5 * NSEC_PER_MSEC);
                return;
        }
        ck_abort_msg("never done within 20 ms");
}
END_TEST

START_TEST(test_stamp_is_now_if_the_clock_was_set) {
        int64_t realtime_ns = clock_now_ns(CLOCK_REALTIME), now_ns = clock_now_ns(CLOCK_BOOTTIME);
        static const char *const broken[] = {
                "{}",
                "{\"timestamp\": 1}",
                "{\"timestamp\": {\"seconds\": \"1\", \"microseconds\": 1}}",
                "{\"timestamp\": {\"seconds\": -1, \"microseconds\": -1}}",
                "{\"timestamp\": {\"seconds\": 9223372036854775807, \"microseconds\": 999999}}",
                "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 9223372036854775807}}",
        };

        ck_assert_int_ge(stamp_of(realtime_ns - NSEC_PER_SEC), now_ns);
        ck_assert_int_ge(stamp_of(realtime_ns + NSEC_PER_SEC), now_ns);
        for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
                _cleanup_view_ JsonView *event = event_of(broken[i]);

                ck_assert_int_ge(run_state_stamp(event), now_ns);
        }
}
END_TEST

/* names */

static const struct {
        const char *path, *name, *agent;
        bool is_agent;
} paths[] = {
        { "/run/vms/web.qmp", "web", "/run/vms/web.qga", false },
        { "/run/vms/web/qmp.sock", "web", "/run/vms/web/qga.sock", false },
        { "/run/vms/web/monitor.sock", "web", "/run/vms/web/agent.sock", false },
        { "/run/vms/web.monitor", "web", "/run/vms/web.agent", false },
        { "/run/vms/web-qmp.sock", "web", "/run/vms/web-qga.sock", false },
        { "/run/vms/web.qmp.sock", "web", "/run/vms/web.qga.sock", false },
        { "/run/qmp/qmp-box.qmp", "qmp-box", "/run/qmp/qmp-box.qga", false },
        { "/run/qmp/web.sock", "web", NULL, false },
        { "/run/vms/magenta.qmp", "magenta", "/run/vms/magenta.qga", false },
        { "/qmp", "/qmp", "/qga", false },
        { "/run/vms/web.qga", "web.qga", NULL, true },
        { "/run/vms/web/agent.sock", "agent", NULL, true },
};

START_TEST(test_names_come_from_paths) {
        _cleanup_free_ char *name = NULL, *agent = NULL;

        ck_assert_int_eq(identity_name_from_path(paths[_i].path, &name), 0);
        ck_assert_str_eq(name, paths[_i].name);
        ck_assert_int_eq(pattern_agent_path(paths[_i].path, &agent), 0);
        ck_assert(str_equal(agent, paths[_i].agent));
        ck_assert_int_eq(pattern_is_agent(paths[_i].path), paths[_i].is_agent);
}
END_TEST

/* settings */

static const struct {
        const char *key, *value;
        bool is_good;
} settings[] = {
        { "Socket", "/run/vms/*.qmp", true },
        { "Directory", "/run/vms", true },
        { "Monitor", "web /run/vms/web", true },
        { "Monitor", "web  /run/vms/web\t/run/vms/web-agent", true },
        { "Socket", "run/vms/*.qmp", false },
        { "Socket", "", false },
        { "Monitor", "web", false },
        { "Monitor", "", false },
        { "Monitor", "web run/vms/web", false },
        { "Monitor", "web /run/vms/web run/agent", false },
        { "Monitor", "web /run/vms/web /run/agent more", false },
        { "Sockets", "/run/vms/*.qmp", false },
        { "Socket",
          "/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
          "5678901234567890123456789",
          false },
};

START_TEST(test_bad_settings_are_refused_in_words) {
        _cleanup_(patterns_done) Patterns patterns = {};
        const char *why = NULL;
        int r;

        r = patterns_add_setting(&patterns, settings[_i].key, settings[_i].value, &why);
        ck_assert_int_eq(r >= 0, settings[_i].is_good);
        ck_assert_int_eq(!!why, !settings[_i].is_good);
        ck_assert_uint_eq(patterns.n, settings[_i].is_good);
}
END_TEST

START_TEST(test_patterns_match_what_a_shell_would) {
        _cleanup_(patterns_done) Patterns p = {};
        const char *why;

        ck_assert_int_eq(patterns_add_setting(&p, "Socket", "//run///vms/*/qmp.sock/", &why), 0);
        ck_assert_int_eq(patterns_add_setting(&p, "Directory", "/run/flat/", &why), 0);
        ck_assert_int_eq(
                        patterns_add_setting(&p, "Monitor", "odd /run/flat/[x].qmp /a/b", &why), 0);
        ck_assert_ptr_nonnull(patterns_find(&p, "/run/vms/web/qmp.sock"));
        ck_assert_ptr_null(patterns_find(&p, "/run/vms/a/b/qmp.sock"));
        ck_assert_ptr_null(patterns_find(&p, "/run/vms/.hidden/qmp.sock"));
        ck_assert_ptr_nonnull(patterns_find(&p, "/run/flat/web.qmp"));
        ck_assert_ptr_null(patterns_find(&p, "/run/flat/x.sock"));
        ck_assert_str_eq(patterns_find(&p, "/run/flat/[x].qmp")->name, "odd");
        ck_assert(patterns_care(&p, "web.qmp"));
        ck_assert(patterns_care(&p, "web.qga"));
        ck_assert(patterns_care(&p, "vms"));
        ck_assert(patterns_care(&p, "b"));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("qmp-run-state");
        TCase *c = tcase_create("tables");
        SRunner *runner;
        int n_failed;

        tcase_add_loop_test(c, test_word_gives_state, 0, ARRAY_LEN(words));
        tcase_add_loop_test(c, test_events_tell_what_they_can_and_no_more, 0, ARRAY_LEN(stories));
        tcase_add_test(c, test_resume_while_our_stop_is_under_way_tells_only_of_our_cont);
        tcase_add_test(c, test_stamp_is_the_events_own_if_it_can_be);
        tcase_add_test(c, test_stamp_is_now_if_the_clock_was_set);
        tcase_add_loop_test(c, test_names_come_from_paths, 0, ARRAY_LEN(paths));
        tcase_add_loop_test(c, test_bad_settings_are_refused_in_words, 0, ARRAY_LEN(settings));
        tcase_add_test(c, test_patterns_match_what_a_shell_would);
        suite_add_tcase(suite, c);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
