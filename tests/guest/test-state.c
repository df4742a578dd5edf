/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include "guest/state.h"
#include "run.h"
#include "scratch.h"

static const Ledger full = {
        .epoch = UINT64_MAX,
        .publishings = 2,
        .cycles = 3,
        .applied_ns = UINT64_MAX - 4,
        .refused_ns = 5,
        .seen_ns = 6,
        .wall_ns = INT64_C(1700000000000000000),
        .pending_ns = -8,
        .looked_boottime_ns = 9,
        .rest = LEDGER_REST_REFUSE,
        .is_open = 1,
        .base_host_boottime_ns = 10,
        .base_boottime_ns = 11,
        .base_slept_ns = 12,
};

static State state;

static void setup(void) {
        scratch_make();
        ck_assert_int_eq(state_open(&state, scratch), 0);
}

static void teardown(void) {
        state_close(&state);
        scratch_remove();
}

static int load(Ledger *ret, bool *ret_is_damaged) {
        memset(ret, 0x55, sizeof(*ret));
        return state_load(&state, ret, ret_is_damaged);
}

static void assert_begins_anew(bool damaged) {
        static const Ledger empty;
        bool is_damaged = !damaged;
        Ledger l;

        ck_assert_int_eq(load(&l, &is_damaged), 0);
        ck_assert_int_eq(is_damaged, damaged);
        ck_assert_mem_eq(&l, &empty, sizeof(l));
}

START_TEST(test_what_is_saved_is_loaded) {
        bool is_damaged = true;
        Ledger l;

        ck_assert_int_eq(state_save(&state, &full), 0);
        ck_assert_int_eq(load(&l, &is_damaged), 1);
        ck_assert(!is_damaged);
        ck_assert_mem_eq(&l, &full, sizeof(l));
}
END_TEST

START_TEST(test_without_a_file_it_begins_anew) {
        assert_begins_anew(false);
}
END_TEST

START_TEST(test_what_another_boot_left_does_not_count) {
        char text[8192];

        ck_assert_int_eq(state_save(&state, &full), 0);
        (void) snprintf(text, sizeof(text), "%s", scratch_read("state"));
        text[strlen("suspend-guest 1\nboot ")] ^= 1;
        scratch_write("state", text, strlen(text), 0600);
        assert_begins_anew(false);
}
END_TEST

START_TEST(test_a_file_cut_off_anywhere_is_damaged) {
        char text[8192];

        ck_assert_int_eq(state_save(&state, &full), 0);
        (void) snprintf(text, sizeof(text), "%s", scratch_read("state"));
        for (size_t n = 0; n < strlen(text); n++) {
                scratch_write("state", text, n, 0600);
                assert_begins_anew(true);
        }
}
END_TEST

static void replace(const char *from, const char *to) {
        char text[8192], changed[8192];
        const char *at;

        ck_assert_int_eq(state_save(&state, &full), 0);
        (void) snprintf(text, sizeof(text), "%s", scratch_read("state"));
        at = strstr(text, from);
        ck_assert_ptr_nonnull(at);
        (void) snprintf(changed,
                        sizeof(changed),
                        "%.*s%s%s",
                        (int) (at - text),
                        text,
                        to,
                        at + strlen(from));
        scratch_write("state", changed, strlen(changed), 0600);
}

START_TEST(test_numbers_that_cannot_be_are_damage) {
        static const char *const changes[][2] = {
                { "suspend-guest 1", "suspend-guest 2" },
                { "cycles 3", "cycles -3" },
                { "cycles 3", "cycles 3x" },
                { "cycles 3", "cycles" },
                { "cycles 3", "cycles 99999999999999999999999" },
                { "cycles 3", "circles 3" },
                { "rest 2", "rest 3" },
                { "rest 2", "rest -1" },
                { "refused_ns 5", "refused_ns 18446744073709551615" },
                { "pending_ns -8", "pending_ns -9223372036854775808" },
                { "base_slept_ns 12", "base_slept_ns 9223372036854775807" },
                { "base_slept_ns 12\n", "base_slept_ns 12\nmore 1\n" },
        };

        for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
                replace(changes[i][0], changes[i][1]);
                assert_begins_anew(true);
        }
}
END_TEST

START_TEST(test_a_folder_in_the_way_of_the_file_is_damage) {
        scratch_folders("state");
        assert_begins_anew(true);
        ck_assert_int_lt(state_save(&state, &full), 0);
}
END_TEST

START_TEST(test_two_readers_do_not_share_a_state) {
        State other;

        ck_assert_int_eq(state_open(&other, scratch), -EBUSY);
        ck_assert_int_eq(other.lock_fd, -1); /* closed, and not to be closed again */
        state_close(&state);
        ck_assert_int_eq(state_open(&other, scratch), 0);
        state_close(&other);
}
END_TEST

START_TEST(test_without_a_folder_nothing_is_kept) {
        bool is_damaged;
        State none;
        Ledger l;

        ck_assert_int_lt(state_open(&none, "/proc/no/such"), 0);
        ck_assert_int_eq(state_save(&none, &full), 0);
        ck_assert_int_eq(state_load(&none, &l, &is_damaged), 0);
        state_close(&none);
}
END_TEST

int main(void) {
        const TTest *const tests[] = {
                test_what_is_saved_is_loaded,
                test_without_a_file_it_begins_anew,
                test_what_another_boot_left_does_not_count,
                test_a_file_cut_off_anywhere_is_damaged,
                test_numbers_that_cannot_be_are_damage,
                test_a_folder_in_the_way_of_the_file_is_damage,
                test_two_readers_do_not_share_a_state,
                test_without_a_folder_nothing_is_kept,
        };

        return run_tests("guest-state", tests, ARRAY_LEN(tests), setup, teardown);
}
