/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/macro.h"
#include "plugins/page/kvm-clock.h"

/* What KVM shows: recorded/ on a real host, the others as its source says that it may. */
#define TREE(_name) (TREES "/kvm/" _name)

static const char *why;
static KvmClock seen;

START_TEST(test_recorded_host_without_scaling_gives_its_own_counter) {
        ck_assert_int_eq(kvm_clock_read(TREE("recorded"), 12570, &seen, &why), 0);
        ck_assert_uint_eq(kvm_clock_guest(&seen, 2620611077737), 2620611077737);
}
END_TEST

START_TEST(test_scaled_and_moved_counter_is_computed_without_losing_a_bit) {
        ck_assert_int_eq(kvm_clock_read(TREE("scaled"), 4242, &seen, &why), 0);
        ck_assert_uint_eq(seen.frac_bits, 48);
        /* 10^18 * 313952858638808 / 2^48 and -8273645198273, by exact arithmetic elsewhere */
        ck_assert_uint_eq(
                        kvm_clock_guest(&seen, UINT64_C(1000000000000000000)),
                        UINT64_C(1115376341739414925));
}
END_TEST

START_TEST(test_offset_wraps_as_the_counter_does) {
        const KvmClock k = { .offset = UINT64_MAX, .ratio = 1 };

        ck_assert_uint_eq(kvm_clock_guest(&k, 0), UINT64_MAX);
        ck_assert_uint_eq(kvm_clock_guest(&k, 5), 4);
}
END_TEST

START_TEST(test_only_vms_of_that_very_process_are_looked_at) {
        ck_assert_int_eq(kvm_clock_read(TREE("scaled"), 424, &seen, &why), 0);
        ck_assert_uint_eq(seen.offset, 6);
        ck_assert_int_eq(kvm_clock_read(TREE("scaled"), 42420, &seen, &why), 0);
        ck_assert_uint_eq(seen.offset, 5);
        ck_assert_int_eq(kvm_clock_read(TREE("scaled"), 42, &seen, &why), -ENOENT);
        ck_assert_str_eq(why, "its VMM has no vCPU of KVM");
}
END_TEST

START_TEST(test_vcpus_that_differ_are_no_clock) {
        ck_assert_int_eq(kvm_clock_read(TREE("differ"), 7, &seen, &why), -EUCLEAN);
        ck_assert_str_eq(why, "its vCPUs' counters differ");
        ck_assert_int_eq(kvm_clock_read(TREE("two-vms"), 7, &seen, &why), -EUCLEAN);
}
END_TEST

START_TEST(test_counter_of_a_nested_guest_is_not_taken_for_the_guests) {
        ck_assert_int_eq(kvm_clock_read(TREE("nested"), 7, &seen, &why), 0);
        ck_assert_uint_eq(seen.offset, (uint64_t) -100);
        ck_assert_int_eq(kvm_clock_read(TREE("nested"), 8, &seen, &why), -EBUSY);
}
END_TEST

START_TEST(test_kernel_that_tells_no_guest_mode_is_believed) {
        ck_assert_int_eq(kvm_clock_read(TREE("old"), 7, &seen, &why), 0);
        ck_assert_uint_eq(seen.offset, (uint64_t) -100);
}
END_TEST

START_TEST(test_what_no_kernel_shows_is_refused) {
        seen = (KvmClock){ .offset = 77 };
        for (pid_t pid = 1; pid <= 6; pid++) {
                ck_assert_int_eq(kvm_clock_read(TREE("broken"), pid, &seen, &why), -EBADMSG);
                ck_assert_str_eq(why, "KVM shows its counters in a way that is not known");
        }
        ck_assert_int_eq(kvm_clock_read(TREE("broken"), 9, &seen, &why), -ENOENT);
        ck_assert_int_eq(kvm_clock_read(TREE("broken"), 10, &seen, &why), -ENOENT);
        ck_assert_uint_eq(seen.offset, 77);
}
END_TEST

START_TEST(test_debugfs_that_is_not_there_is_said_to_be) {
        ck_assert_int_eq(kvm_clock_read(TREE("nowhere"), 7, &seen, &why), -ENOENT);
        ck_assert_str_eq(why, "debugfs is not mounted, or KVM is not used");
}
END_TEST

START_TEST(test_pid_is_that_of_debugfs_in_the_initial_namespace_alone) {
        char proc[] = "/tmp/test-kvm-clock-XXXXXX", path[64];

        ck_assert_ptr_nonnull(mkdtemp(proc));
        ck_assert(!kvm_clock_knows_our_pids(proc));
        (void) snprintf(path, sizeof(path), "%s/self", proc);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        (void) snprintf(path, sizeof(path), "%s/self/ns", proc);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        (void) snprintf(path, sizeof(path), "%s/self/ns/pid", proc);
        ck_assert_int_eq(symlink("pid:[4026532281]", path), 0);
        ck_assert(!kvm_clock_knows_our_pids(proc));
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(symlink("pid:[4026531836]", path), 0);
        ck_assert(kvm_clock_knows_our_pids(proc));
        ck_assert_int_eq(unlink(path), 0);
        for (char *end; (end = strrchr(path, '/')) > path + 4;) {
                *end = 0;
                ck_assert_int_eq(rmdir(path), 0);
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("page-kvm-clock");
        TCase *c = tcase_create("kvm-clock");
        SRunner *runner;
        int n_failed;

        tcase_add_test(c, test_recorded_host_without_scaling_gives_its_own_counter);
        tcase_add_test(c, test_scaled_and_moved_counter_is_computed_without_losing_a_bit);
        tcase_add_test(c, test_offset_wraps_as_the_counter_does);
        tcase_add_test(c, test_only_vms_of_that_very_process_are_looked_at);
        tcase_add_test(c, test_vcpus_that_differ_are_no_clock);
        tcase_add_test(c, test_counter_of_a_nested_guest_is_not_taken_for_the_guests);
        tcase_add_test(c, test_kernel_that_tells_no_guest_mode_is_believed);
        tcase_add_test(c, test_what_no_kernel_shows_is_refused);
        tcase_add_test(c, test_debugfs_that_is_not_there_is_said_to_be);
        tcase_add_test(c, test_pid_is_that_of_debugfs_in_the_initial_namespace_alone);
        suite_add_tcase(suite, c);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
