/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Schedules
 *
 * Cycles, looks, agents, slews, freezes, suspends and crashes in any order, a few hundred thousand of
 * them: after each, the guest's wall clock must be as far from the host's as it was before, or right.
 */

#include "run.h"
#include "world.h"

static uint64_t seed;

static uint64_t any(uint64_t below) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        return seed % below;
}

static int64_t between(int64_t least, int64_t most) {
        return least + (int64_t) any((uint64_t) (most - least) + 1);
}

static World w;
static Ledger written;      /* what a crash leaves */
static int64_t expected_ns; /* the error that the guest's wall clock is allowed */
static bool has_agent, may_crash;

/* The agent sets the clock at any moment after the machine runs again; what it sets is right. */
static void maybe_agent(void) {
        if (has_agent && any(4) == 0) {
                agent_sets(&w);
                expected_ns = 0;
        }
}

/* Whether the reader dies here; then all that the next one knows is what was written. */
static bool crashes(void) {
        if (!may_crash || any(8) != 0)
                return false;
        w.ledger = written;
        return true;
}

static void make_steps(void) {
        while (w.ledger.pending_ns != 0) {
                written = w.ledger;
                if (crashes())
                        return;
                /* By a step that is not much more than the error there was, nobody can tell who was first. */
                if (ns_abs(expected_ns) < ns_abs(w.ledger.pending_ns) / 4)
                        maybe_agent();
                step_wall(&w, w.ledger.pending_ns);
                if (ns_abs(expected_ns) < ns_abs(w.ledger.pending_ns) / 4)
                        maybe_agent();
                if (crashes())
                        return;
                (void) ledger_stepped(&w.ledger, w.guest.wall_ns);
        }
        written = w.ledger;
}

/* One look, by as many lives of the reader as it takes. */
static void looked(void) {
        uint64_t publishings;

        do {
                if (ledger_recover(&w.ledger, w.guest.wall_ns) != 0)
                        make_steps();
                if (w.ledger.pending_ns != 0)
                        continue;
                ledger_look(&w.ledger, &w.record, &w.guest, &w.news);
                publishings = w.ledger.publishings;
                if (crashes())
                        continue;
                make_steps();
        } while (w.ledger.pending_ns != 0 || w.ledger.publishings != w.record.publishings ||
                 publishings != w.record.publishings);
        ck_assert_uint_le(w.ledger.refused_ns, w.ledger.applied_ns);
}

static void maybe_look(void) {
        if (any(3) != 0)
                looked();
}

/* Who is woken by each setting of the clock, as reader.c is. */
static void agent_and_look(void) {
        int64_t before = w.guest.wall_ns;

        maybe_agent();
        if (w.guest.wall_ns != before)
                looked();
}

static void runs_for(int64_t most_sec) {
        int64_t slew = between(-200, 200) * 1000;

        both_run(&w, between(0, most_sec) * SEC);
        w.guest.boottime_ns += slew;
        expected_ns += slew;
        agent_and_look();
        maybe_look();
}

static void runs(void) {
        runs_for(2000);
}

static void is_paused(void) {
        int64_t rest = between(0, 5) * MSEC;

        if (any(2) == 0) {
                publish(&w, DRIFT_FLAG_STOPPING);
                looked();
        }
        pause_guest(&w, between(1, 40000) * 500 * MSEC);
        host_passes(&w, rest);
        both_run(&w, between(0, 2000) * 1000);
        maybe_agent();
        maybe_look();
        maybe_agent();
        guest_ran(&w, rest);
        maybe_agent();
        maybe_look();
        maybe_agent();
        looked();
        ck_assert_int_eq(world_error(&w), expected_ns);
}

/* The VMM stood, not the clocks, and the host tells a loss: before it is thawed, or much later. */
static void is_frozen(void) {
        int64_t span = between(1000, 100000) * MSEC;
        bool is_told_late = any(2) == 0;

        publish(&w, DRIFT_FLAG_STOPPING);
        looked();
        both_run(&w, span);
        if (is_told_late)
                runs_for(500);
        count_unseen(&w, span, true);
        publish(&w, DRIFT_FLAG_LOWER_BOUND);
        agent_and_look();
        maybe_look();
        guest_ran(&w, between(0, 5) * MSEC);
        looked();
        ck_assert_int_eq(world_error(&w), expected_ns);
}

static void suspends_itself(void) {
        int64_t span = between(1, 100000) * MSEC, error = between(-1500, 1500) * MSEC;

        publish(&w, DRIFT_FLAG_STOPPING);
        looked();
        both_run(&w, span);
        w.guest.boottime_ns += error;
        w.guest.slept_ns += span + error;
        expected_ns += error;
        count_seen(&w, span);
        publish(&w, DRIFT_FLAG_LOWER_BOUND);
        maybe_agent();
        maybe_look();
        publish(&w, 0);
        looked();
        ck_assert_int_eq(world_error(&w), expected_ns);
        /* the agent puts that right, sooner or later: what is far off cannot be told from what is set */
        agent_sets(&w);
        expected_ns = 0;
        looked();
}

static void begins_anew(void) {
        w.record.epoch++;
        w.record.unseen_ns = any(1000) * (uint64_t) SEC;
        publish(&w, 0);
        looked();
        ck_assert_int_eq(world_error(&w), expected_ns);
}

static void run_schedule(uint64_t number) {
        static void (*const events[])(void) = {
                runs, runs, is_paused, is_paused, is_paused, is_frozen, suspends_itself, begins_anew
        };

        seed = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
        world_make(&w);
        expected_ns = 0;
        publish(&w, 0);
        ck_assert_int_eq(look(&w), LEDGER_BEGUN);
        written = w.ledger;
        for (int i = 0; i < 40; i++)
                events[any(ARRAY_LEN(events))]();
}

static void run_schedules(bool agent, bool crash) {
        uint64_t n = getenv("SUSPENDD_TEST_QUICK") ? 500 : 8000; /* NOLINT(concurrency-mt-unsafe) */

        has_agent = agent;
        may_crash = crash;
        for (uint64_t i = 0; i < n; i++)
                run_schedule(i);
}

START_TEST(test_the_page_alone_leaves_no_error) {
        run_schedules(false, false);
}
END_TEST

START_TEST(test_nor_when_the_reader_dies_at_any_point) {
        run_schedules(false, true);
}
END_TEST

START_TEST(test_nor_with_an_agent_at_any_moment) {
        run_schedules(true, false);
}
END_TEST

START_TEST(test_nor_with_an_agent_and_a_reader_that_dies) {
        run_schedules(true, true);
}
END_TEST

int main(void) {
        const TTest *const tests[] = {
                test_the_page_alone_leaves_no_error,
                test_nor_when_the_reader_dies_at_any_point,
                test_nor_with_an_agent_at_any_moment,
                test_nor_with_an_agent_and_a_reader_that_dies,
        };

        return run_tests("guest-schedules", tests, ARRAY_LEN(tests), NULL, NULL);
}
