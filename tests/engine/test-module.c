/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The engine on a real event loop and the real clock, with the fake plugin loaded as a shared object,
 * as the daemon loads it: what the tests under a clock of their own leave out.
 */

#include <check.h>
#include <systemd/sd-event.h>
#include "common/time-util.h"
#include "daemon/cycle-internal.h"
#include "daemon/engine-loop.h"
#include "daemon/log.h"
#include "daemon/plugin.h"

#define LIMIT_USEC (10 * USEC_PER_SEC)

static sd_event *event;
static sd_event_source *timer;
static Cycle *cycle;
static Plugin *plugin;
static bool is_enumerated, is_locked;
static uint64_t released_usec;

static void ops_stats(void *userdata _unused_, SuspendStats *ret) {
        *ret = (SuspendStats){ .success = -1, .fail = -1 };
}

static void ops_take_lock(void *userdata _unused_) {
        is_locked = true;
}

static void ops_let_go(void *userdata _unused_) {
        is_locked = false;
        released_usec = clock_now_usec(CLOCK_MONOTONIC);
}

static void ops_arm(void *userdata _unused_, uint64_t usec) {
        engine_timer_arm(timer, usec);
}

static void ops_on_milestone(void *u _unused_, CycleMilestone ms _unused_, Machine *m _unused_) {
}

static void ops_on_machine(void *userdata _unused_, Machine *m) {
        m->is_dirty = false;
}

static void ops_on_enumerated(void *userdata _unused_) {
        is_enumerated = true;
        cycle_on_enumerated(cycle);
}

static bool ops_has_ended(void *userdata, const char *key) {
        (void) userdata;
        (void) key;
        return true;
}

static const CycleOps ops = {
        .now = engine_now,
        .clock = engine_clock,
        .stats = ops_stats,
        .take_lock = ops_take_lock,
        .let_go = ops_let_go,
        .arm = ops_arm,
        .on_milestone = ops_on_milestone,
        .on_machine_added = ops_on_machine,
        .on_machine_removed = ops_on_machine,
        .on_machine_changed = ops_on_machine,
        .fill_policy = ops_on_machine,
        .on_distrust = ops_on_machine,
        .has_ended = ops_has_ended,
        .on_enumerated = ops_on_enumerated,
};

/* Runs the loop until the cycle is in @state. */
static void wait_for(CycleState state) {
        uint64_t limit = clock_now_usec(CLOCK_MONOTONIC) + LIMIT_USEC;

        while (cycle->state != state) {
                uint64_t now = clock_now_usec(CLOCK_MONOTONIC);

                ck_assert_msg(now < limit, "still %s", cycle_state_to_string(cycle->state));
                ck_assert_int_ge(sd_event_run(event, limit - now), 0);
        }
}

static void setup(void) {
        static const struct suspendd_setting settings[] = {
                { "Machine", "web suspend=later latency=5", "test.conf", 1 },
                { "Machine",
                  "db suspend=none get-time=none set-time=none latency=5",
                  "test.conf",
                  2 },
                { "Machine", "liar suspend=lie latency=5", "test.conf", 3 },
                { "Machine", "hung suspend=none pause=never get-time=none", "test.conf", 4 },
        };
        struct suspendd_host host = cycle_host();

        ck_assert_int_ge(sd_event_new(&event), 0);
        ck_assert_int_eq(cycle_new(&ops, NULL, NULL, 1, &cycle), 0);
        ck_assert_int_ge(engine_timer_new(event, cycle, &timer), 0);
        cycle_set_delay_max(cycle, 2 * USEC_PER_SEC);
        host.event = event;
        ck_assert_int_eq(plugin_load(FAKE_DIRECTORY, "fake", &host, cycle, &plugin), 0);
        ck_assert_int_eq(plugin->api->load(plugin->instance, settings, ARRAY_LEN(settings)), 0);
        ck_assert(is_enumerated);
        ck_assert_uint_eq(cycle->n_machines, ARRAY_LEN(settings));
        is_locked = true;
}

static void teardown(void) {
        cycle_free(cycle);
        plugin_free(plugin);
        sd_event_source_disable_unref(timer);
        sd_event_unref(event);
}

static const MachineReport *report(const char *name) {
        return &cycle_find(cycle, name)->report;
}

START_TEST(test_cycle_on_a_real_loop) {
        uint64_t began = clock_now_usec(CLOCK_MONOTONIC);

        cycle_handle(cycle, CYCLE_EVENT_SLEEP);
        wait_for(CYCLE_SLEEPING);
        ck_assert(!is_locked);
        /* The deadline is at (2 s - 0.1 s) × 0.9 = 1.71 s; the lock must be gone at 90 % of 2 s. */
        ck_assert_uint_ge(released_usec - began, 1710 * USEC_PER_MSEC);
        ck_assert_uint_le(released_usec - began, 1800 * USEC_PER_MSEC);
        ck_assert_int_eq(report("web")->stood, SUSPENDD_STATE_SUSPENDED);
        ck_assert_int_eq(report("db")->stood, SUSPENDD_STATE_PAUSED);
        ck_assert_int_eq(report("liar")->stood, SUSPENDD_STATE_PAUSED);
        ck_assert_int_eq(report("hung")->stood, SUSPENDD_STATE_UNKNOWN);
        ck_assert_ptr_nonnull(cycle_find(cycle, "liar")->distrust);

        cycle_handle(cycle, CYCLE_EVENT_WAKE);
        ck_assert(is_locked);
        cycle->time_limit_usec = 0;
        for (int i = 0; i < 3; i++) {
                static const char *const names[] = { "web", "db", "liar" };

                while (cycle_find(cycle, names[i])->run_state != SUSPENDD_STATE_RUNNING)
                        ck_assert_int_gt(sd_event_run(event, LIMIT_USEC), 0);
                ck_assert_uint_lt(report(names[i])->ran_after_usec, 1 * USEC_PER_SEC);
        }
        ck_assert_uint_eq(cycle->private->n_bugs, 0);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("module");
        TCase *tcase = tcase_create("module");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        if (!getenv("SUSPENDD_LOG_LEVEL"))
                log_set_max_level(LOG_EMERG);
        tcase_set_timeout(tcase, 30);
        tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_add_test(tcase, test_cycle_on_a_real_loop);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
