/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include "common/macro.h"
#include "plugins/page/drift-count.h"

#define S INT64_C(1000000000)

static DriftCount count;

static void setup(void) {
        count = (DriftCount){ 0 };
}

static uint64_t span(uint64_t cycle, bool is_seen, int64_t from, int64_t to) {
        return drift_count_span(&count, cycle, is_seen, from, to);
}

static uint64_t total(void) {
        return count.unseen_ns + count.seen_ns;
}

START_TEST(test_span_is_counted_whole) {
        ck_assert_uint_eq(span(1, false, 10 * S, 30 * S), 20 * S);
        ck_assert_uint_eq(count.unseen_ns, 20 * S);
        ck_assert_uint_eq(count.seen_ns, 0);
        ck_assert_uint_eq(count.last_unseen_ns, 20 * S);
        ck_assert_uint_eq(count.cycles, 1);
}
END_TEST

START_TEST(test_told_twice_is_counted_once) {
        (void) span(1, false, 10 * S, 30 * S);
        ck_assert_uint_eq(span(1, false, 10 * S, 30 * S), 0);
        ck_assert_uint_eq(span(2, false, 10 * S, 30 * S), 0);
        ck_assert_uint_eq(span(1, true, 10 * S, 30 * S), 0);
        ck_assert_uint_eq(total(), 20 * S);
        ck_assert_uint_eq(count.cycles, 1);
}
END_TEST

START_TEST(test_refinement_adds_what_is_more) {
        (void) span(1, false, 10 * S, 30 * S);
        ck_assert_uint_eq(span(1, false, 10 * S, 31 * S), S);
        ck_assert_uint_eq(count.last_unseen_ns, 21 * S);
        ck_assert_uint_eq(count.cycles, 1);
}
END_TEST

START_TEST(test_refinement_downwards_is_none) {
        (void) span(1, false, 10 * S, 30 * S);
        ck_assert_uint_eq(span(1, false, 10 * S, 29 * S), 0);
        ck_assert_uint_eq(count.unseen_ns, 20 * S);
        ck_assert_int_eq(count.counted_until_boottime_ns, 30 * S);
        ck_assert_uint_eq(span(1, false, 10 * S, 30 * S), 0);
}
END_TEST

/* Another life counts cycles anew, and calls the rest of the same standing another one. */
START_TEST(test_crash_in_between_counts_once_in_one_cycle) {
        (void) span(5, false, 10 * S, 30 * S);
        ck_assert_uint_eq(span(1, false, 10 * S, 40 * S), 10 * S);
        ck_assert_uint_eq(count.unseen_ns, 30 * S);
        ck_assert_uint_eq(count.last_unseen_ns, 30 * S);
        ck_assert_uint_eq(count.cycles, 1);
}
END_TEST

START_TEST(test_next_cycle_begins_the_last_anew) {
        (void) span(1, false, 10 * S, 30 * S);
        (void) span(2, true, 50 * S, 60 * S);
        ck_assert_uint_eq(count.cycles, 2);
        ck_assert_uint_eq(count.last_unseen_ns, 0);
        ck_assert_uint_eq(count.last_seen_ns, 10 * S);
        ck_assert_uint_eq(count.unseen_ns, 20 * S);
        ck_assert_uint_eq(count.seen_ns, 10 * S);
}
END_TEST

/* The host slept again while machines were being woken. */
START_TEST(test_two_standings_in_a_cycle_add_up) {
        (void) span(1, false, 10 * S, 30 * S);
        (void) span(1, false, 40 * S, 50 * S);
        ck_assert_uint_eq(count.cycles, 1);
        ck_assert_uint_eq(count.last_unseen_ns, 30 * S);
}
END_TEST

START_TEST(test_seen_and_unseen_are_apart_and_neither_moves_to_the_other) {
        (void) span(1, true, 10 * S, 30 * S);
        (void) span(1, false, 10 * S, 35 * S);
        ck_assert_uint_eq(count.seen_ns, 20 * S);
        ck_assert_uint_eq(count.unseen_ns, 5 * S);
        ck_assert_uint_eq(count.last_seen_ns, 20 * S);
        ck_assert_uint_eq(count.last_unseen_ns, 5 * S);
}
END_TEST

START_TEST(test_rough_beginning_gives_way_to_what_was_seen) {
        drift_count_stopping(&count);
        drift_count_stood(&count, 12 * S);
        ck_assert_uint_eq(span(1, false, 10 * S, 30 * S), 18 * S);

        drift_count_stopping(&count);
        drift_count_stood(&count, 40 * S);
        ck_assert_uint_eq(span(2, false, 45 * S, 50 * S), 5 * S);
}
END_TEST

START_TEST(test_earlier_standing_is_forgotten) {
        drift_count_stood(&count, 25 * S);
        drift_count_stopping(&count);
        ck_assert_uint_eq(span(1, false, 10 * S, 30 * S), 20 * S);

        drift_count_stood(&count, 90 * S);
        drift_count_ran(&count);
        ck_assert_uint_eq(span(2, false, 60 * S, 70 * S), 10 * S);
        drift_count_stood(&count, 0);
        ck_assert_int_eq(count.stood_boottime_ns, 0);
}
END_TEST

START_TEST(test_no_span_is_none) {
        ck_assert_uint_eq(span(1, false, 0, 30 * S), 0);
        ck_assert_uint_eq(span(1, false, 10 * S, 0), 0);
        ck_assert_uint_eq(span(1, false, 0, 0), 0);
        ck_assert_uint_eq(span(1, false, -5, 30 * S), 0);
        ck_assert_uint_eq(span(1, false, 30 * S, 10 * S), 0);
        ck_assert_uint_eq(span(1, false, 30 * S, 30 * S), 0);
        ck_assert_uint_eq(span(1, false, INT64_MAX, INT64_MIN), 0);
        ck_assert_uint_eq(total(), 0);
        ck_assert_uint_eq(count.cycles, 0);
}
END_TEST

START_TEST(test_largest_span_does_not_overflow) {
        ck_assert_uint_eq(span(1, false, 1, INT64_MAX), (uint64_t) INT64_MAX - 1);
        ck_assert_uint_eq(span(2, false, 1, INT64_MAX), 0);
}
END_TEST

/* Every sequence of four tellings over six instants: no instant is counted twice, nothing ever falls. */
#define INSTANTS 6
#define TELLINGS 4

typedef struct Telling {
        int from, to;
        bool is_seen, is_stood_told;
} Telling;

static bool telling_is_right(const Telling *t, uint64_t cycle, bool counted[INSTANTS + 1]) {
        DriftCount before = count;
        uint64_t expected = 0, added;
        int from = t->from, frontier = 0;
        bool is_right = true;

        for (int i = 1; i <= INSTANTS; i++)
                frontier = counted[i] ? i : frontier;
        if (t->is_stood_told)
                drift_count_stood(&count, t->from + 1);
        from = MAX(from, (int) count.stood_boottime_ns);
        /* The instant i lies between i - 1 and i. */
        for (int i = MAX(from, frontier) + 1; i <= t->to; i++) {
                is_right &= !counted[i];
                expected++;
        }
        for (int i = 1; expected > 0 && i <= t->to; i++)
                counted[i] = true;

        added = span(cycle, t->is_seen, t->from, t->to);
        is_right &= added == expected;
        is_right &= count.unseen_ns - before.unseen_ns == (t->is_seen ? 0 : expected);
        is_right &= count.seen_ns - before.seen_ns == (t->is_seen ? expected : 0);
        is_right &= count.cycles == before.cycles || count.cycles == before.cycles + 1;
        is_right &= count.counted_until_boottime_ns >= before.counted_until_boottime_ns;
        is_right &= count.last_unseen_ns <= count.unseen_ns && count.last_seen_ns <= count.seen_ns;
        is_right &= total() <= INSTANTS;
        is_right &= span(cycle + 1, t->is_seen, t->from, t->to) == 0;
        return is_right;
}

static size_t all_tellings(Telling *ret) {
        size_t n = 0;

        for (int from = 1; from < INSTANTS; from++)
                for (int to = from + 1; to <= INSTANTS; to++)
                        for (int bits = 0; bits < 4; bits++)
                                ret[n++] = (Telling){ from, to, bits & 1, bits & 2 };
        return n;
}

START_TEST(test_no_sequence_counts_twice_or_falls) {
        Telling tellings[128];
        size_t n = all_tellings(tellings), n_sequences = 1;

        for (int i = 0; i < TELLINGS; i++)
                n_sequences *= n;
        ck_assert_uint_eq(n, 60);
        /* 13 million. */
        for (size_t sequence = 0; sequence < n_sequences; sequence++) {
                bool counted[INSTANTS + 1] = { 0 }, is_right = true;
                size_t rest = sequence;

                count = (DriftCount){ 0 };
                for (int i = 0; i < TELLINGS; i++, rest /= n)
                        is_right &= telling_is_right(&tellings[rest % n], (uint64_t) i, counted);
                if (!is_right)
                        ck_abort_msg("sequence %zu", sequence);
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("page-drift-count");
        TCase *tcase = tcase_create("page-drift-count");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_set_timeout(tcase, 60);
        tcase_add_checked_fixture(tcase, setup, NULL);
        tcase_add_test(tcase, test_span_is_counted_whole);
        tcase_add_test(tcase, test_told_twice_is_counted_once);
        tcase_add_test(tcase, test_refinement_adds_what_is_more);
        tcase_add_test(tcase, test_refinement_downwards_is_none);
        tcase_add_test(tcase, test_crash_in_between_counts_once_in_one_cycle);
        tcase_add_test(tcase, test_next_cycle_begins_the_last_anew);
        tcase_add_test(tcase, test_two_standings_in_a_cycle_add_up);
        tcase_add_test(tcase, test_seen_and_unseen_are_apart_and_neither_moves_to_the_other);
        tcase_add_test(tcase, test_rough_beginning_gives_way_to_what_was_seen);
        tcase_add_test(tcase, test_earlier_standing_is_forgotten);
        tcase_add_test(tcase, test_no_span_is_none);
        tcase_add_test(tcase, test_largest_span_does_not_overflow);
        tcase_add_test(tcase, test_no_sequence_counts_twice_or_falls);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
