/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/macro.h"
#include "common/process.h"
#include "common/time-util.h"
#include "plugins/page/guest-time.h"

/* We are the VMM: a folder in a debugfs of our own has our PID. The host is a made-up one of 2 GHz. */
#define HZ INT64_C(2000000000)

static char root[48], proc[64], vm[96], *run;
static HostTime *host;
static GuestTime guest;
static CounterSample now;
static const char *why;

static void write_file(const char *folder, const char *name, const char *text) {
        char path[256];
        FILE *f;

        (void) snprintf(path, sizeof(path), "%s/%s", folder, name);
        f = fopen(path, "we");
        ck_assert_ptr_nonnull(f);
        (void) fputs(text, f);
        (void) fclose(f);
}

static void show_offset(long long offset) {
        char text[32], vcpu[128];

        (void) snprintf(vcpu, sizeof(vcpu), "%s/vcpu0", vm);
        (void) snprintf(text, sizeof(text), "%lld\n", offset);
        write_file(vcpu, "tsc-offset", text);
}

static void make_tree(void) {
        char path[128];

        (void) snprintf(root, sizeof(root), "/tmp/test-guest-time-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(root));
        (void) snprintf(vm, sizeof(vm), "%s/%d-9", root, (int) getpid());
        ck_assert_int_eq(mkdir(vm, 0700), 0);
        (void) snprintf(path, sizeof(path), "%s/vcpu0", vm);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        show_offset(-1000);
        /* a proc whose PIDs are debugfs's, wherever this runs */
        (void) snprintf(proc, sizeof(proc), "%s/proc", root);
        ck_assert_int_eq(mkdir(proc, 0700), 0);
        (void) snprintf(path, sizeof(path), "%s/self", proc);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        (void) snprintf(path, sizeof(path), "%s/self/ns", proc);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        (void) snprintf(path, sizeof(path), "%s/self/ns/pid", proc);
        ck_assert_int_eq(symlink("pid:[4026531836]", path), 0);
}

static void pass(int64_t ns) {
        now.counter += (uint64_t) (ns * 2);
        now.realtime_ns += ns;
        now.monotonic_ns += ns;
        now.raw_ns += ns;
        now.boottime_ns += ns;
        host_time_note(host, &now);
}

static void set_up(void) {
        make_tree();
        ck_assert_int_eq(process_run_string(getpid(), &run), 0);
        ck_assert_int_eq(host_time_new(root, TREES "/sys-tsc", proc, &host), 0);
        guest = (GuestTime){ 0 };
        now = (CounterSample){
                .counter = 100 * (uint64_t) HZ,
                .width = 200,
                .realtime_ns = 1800000000 * NSEC_PER_SEC,
                .monotonic_ns = 100 * NSEC_PER_SEC,
                .raw_ns = 100 * NSEC_PER_SEC,
                .boottime_ns = 100 * NSEC_PER_SEC,
        };
        host_time_note(host, &now);
        pass(10 * NSEC_PER_SEC);
}

static void tear_down(void) {
        char command[128];

        (void) snprintf(command, sizeof(command), "rm -r %s", root);
        ck_assert_int_eq(system(command), 0);
        host = host_time_free(host);
        free(run);
}

static VmclockPage page;

/* Returns whether the page claims time. */
static bool fill(enum suspendd_drift_phase phase) {
        page = (VmclockPage){ .counter_id = VMCLOCK_COUNTER_INVALID };
        if (guest_time_fill(host, &guest, run, phase, &page, &why) > 0) {
                ck_assert_uint_eq(page.counter_id, VMCLOCK_COUNTER_TSC);
                ck_assert_uint_ne(page.clock_status, VMCLOCK_STATUS_UNRELIABLE);
                ck_assert(guest.is_claimed && guest_time_wants_refresh(&guest));
                return true;
        }
        ck_assert(!guest.is_claimed);
        return false;
}

START_TEST(test_page_of_a_kvm_guest_is_a_clock) {
        ck_assert(fill(SUSPENDD_DRIFT_STOPPING));
        ck_assert_uint_eq(page.counter_value, now.counter - 1000);
        ck_assert_uint_eq(page.time_sec, 1800000010);
        ck_assert(fill(SUSPENDD_DRIFT_MET));
        ck_assert(fill(SUSPENDD_DRIFT_RAN));
}
END_TEST

START_TEST(test_running_uses_what_was_seen_and_reads_nothing) {
        ck_assert(fill(SUSPENDD_DRIFT_STOPPING));
        pass(NSEC_PER_SEC);
        show_offset(-2000);
        ck_assert(fill(SUSPENDD_DRIFT_RUNNING));
        ck_assert_uint_eq(page.counter_value, now.counter - 1000);
        ck_assert(fill(SUSPENDD_DRIFT_RAN));
        ck_assert_uint_eq(page.counter_value, now.counter - 2000);
}
END_TEST

START_TEST(test_guest_never_seen_running_is_not_claimed_for_before_it_runs) {
        ck_assert(!fill(SUSPENDD_DRIFT_RUNNING));
        ck_assert_str_eq(why, "its counter has not been seen while it ran");
        ck_assert(guest_time_wants_refresh(&guest));
        ck_assert_uint_eq(page.counter_id, VMCLOCK_COUNTER_INVALID);
        ck_assert(fill(SUSPENDD_DRIFT_RAN));
}
END_TEST

/* S3: the counter begins anew, KVM makes up for it when the vCPU is run. */
START_TEST(test_no_time_is_claimed_by_an_offset_from_before_the_counter_began_anew) {
        ck_assert(fill(SUSPENDD_DRIFT_STOPPING));
        now.boottime_ns += 3600 * NSEC_PER_SEC;
        now.realtime_ns += 3600 * NSEC_PER_SEC;
        now.counter = 0;
        pass(NSEC_PER_SEC);
        ck_assert(!fill(SUSPENDD_DRIFT_RUNNING));
        ck_assert_str_eq(why, "its vCPUs have not run since the host's TSC began anew");
        ck_assert_uint_eq(page.clock_status, VMCLOCK_STATUS_UNRELIABLE);
        ck_assert(!fill(SUSPENDD_DRIFT_RAN));
        ck_assert(guest_time_wants_refresh(&guest));
        show_offset(219999999000);
        ck_assert(fill(SUSPENDD_DRIFT_MET));
        ck_assert_uint_eq(page.counter_value, now.counter + 219999999000);
        ck_assert(fill(SUSPENDD_DRIFT_RUNNING));
}
END_TEST

START_TEST(test_sleep_through_which_the_counter_ran_on_leaves_the_claim) {
        ck_assert(fill(SUSPENDD_DRIFT_STOPPING));
        now.boottime_ns += 3600 * NSEC_PER_SEC;
        now.realtime_ns += 3600 * NSEC_PER_SEC;
        now.counter += 3600 * (uint64_t) HZ;
        pass(NSEC_PER_SEC / 10);
        ck_assert(fill(SUSPENDD_DRIFT_RUNNING));
        ck_assert_uint_eq(page.counter_value, now.counter - 1000);
        ck_assert_uint_eq(page.time_sec, (uint64_t) (now.realtime_ns / NSEC_PER_SEC));
}
END_TEST

START_TEST(test_another_start_of_the_vmm_is_another_counter) {
        char *another;

        ck_assert(fill(SUSPENDD_DRIFT_STOPPING));
        ck_assert_int_gt(asprintf(&another, "%d.1", (int) getpid()), 0);
        free(run);
        run = another;
        ck_assert(!fill(SUSPENDD_DRIFT_RUNNING));
        ck_assert_uint_eq(page.counter_id, VMCLOCK_COUNTER_INVALID);
        /* and that start is not the process which has the number now */
        ck_assert(!fill(SUSPENDD_DRIFT_RAN));
        ck_assert_str_eq(why, "its VMM is not known");
}
END_TEST

START_TEST(test_run_that_is_no_start_of_a_process_claims_nothing) {
        static const char *const runs[] = {
                NULL, "", "x", "0.1", "-1.1", "1", "12345678901234567890.1"
        };

        for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
                page = (VmclockPage){ .counter_id = VMCLOCK_COUNTER_INVALID };
                ck_assert_int_eq(
                                guest_time_fill(host,
                                                &guest,
                                                runs[i],
                                                SUSPENDD_DRIFT_MET,
                                                &page,
                                                &why),
                                0);
                ck_assert_uint_eq(page.counter_id, VMCLOCK_COUNTER_INVALID);
        }
}
END_TEST

START_TEST(test_pid_without_its_start_may_be_anybodys) {
        *strchr(run, '.') = '\0';
        ck_assert(!fill(SUSPENDD_DRIFT_MET));
        ck_assert_str_eq(why, "its VMM is not known");
}
END_TEST

START_TEST(test_guest_that_kvm_no_longer_shows_has_its_clock_withdrawn) {
        char path[160];

        ck_assert(fill(SUSPENDD_DRIFT_MET));
        (void) snprintf(path, sizeof(path), "%s/vcpu0/tsc-offset", vm);
        ck_assert_int_eq(unlink(path), 0);
        ck_assert(!fill(SUSPENDD_DRIFT_MET));
        ck_assert_uint_eq(page.counter_id, VMCLOCK_COUNTER_TSC);
        ck_assert_uint_eq(page.clock_status, VMCLOCK_STATUS_UNRELIABLE);
}
END_TEST

START_TEST(test_host_with_another_clock_claims_nothing) {
        _cleanup_(host_time_freep) HostTime *other = NULL;

        ck_assert_int_eq(host_time_new(root, TREES "/sys-hpet", proc, &other), 0);
        host_time_note(other, &now);
        page = (VmclockPage){ .counter_id = VMCLOCK_COUNTER_INVALID };
        ck_assert_int_eq(guest_time_fill(other, &guest, run, SUSPENDD_DRIFT_MET, &page, &why), 0);
        ck_assert_str_eq(why, "the host's clock is not made from its TSC");
        ck_assert(!guest_time_wants_refresh(&guest));
        ck_assert_uint_eq(page.counter_id, VMCLOCK_COUNTER_INVALID);
}
END_TEST

START_TEST(test_nothing_is_claimed_before_the_rate_is_known_or_looked_at) {
        _cleanup_(host_time_freep) HostTime *other = NULL;

        ck_assert_int_eq(host_time_new(root, TREES "/sys-tsc", proc, &other), 0);
        ck_assert_int_eq(guest_time_fill(other, &guest, run, SUSPENDD_DRIFT_MET, &page, &why), 0);
        host_time_note(other, &now);
        ck_assert_int_eq(guest_time_fill(other, &guest, run, SUSPENDD_DRIFT_MET, &page, &why), 0);
        ck_assert_str_eq(why, "the rate of the host's TSC has not been measured yet");
        ck_assert(guest_time_wants_refresh(&guest));
}
END_TEST

START_TEST(test_pids_of_another_namespace_are_nobodys) {
        _cleanup_(host_time_freep) HostTime *other = NULL;
        CounterSample later = now;

        ck_assert_int_eq(host_time_new(root, TREES "/sys-tsc", "/tmp", &other), 0);
        host_time_note(other, &now);
        later.counter += 2 * (uint64_t) HZ;
        later.monotonic_ns += 2 * NSEC_PER_SEC;
        later.boottime_ns += 2 * NSEC_PER_SEC;
        later.raw_ns += 2 * NSEC_PER_SEC;
        host_time_note(other, &later);
        ck_assert_int_eq(guest_time_fill(other, &guest, run, SUSPENDD_DRIFT_MET, &page, &why), 0);
        ck_assert_str_eq(why, "KVM's PIDs are not those of this PID namespace");
}
END_TEST

START_TEST(test_refresh_is_rare_where_the_clock_runs_as_foretold) {
        unsigned n = 0;

        for (int64_t ns = 0; ns < 86400 * NSEC_PER_SEC; n++) {
                int64_t usec = (int64_t) host_time_refresh_usec(host);

                pass(usec * NSEC_PER_USEC);
                ns += usec * NSEC_PER_USEC;
        }
        /* 2 s, then twice as long each time: 1024 s */
        ck_assert_uint_le(n, 94);
        ck_assert_uint_eq(host_time_refresh_usec(host), 1024 * USEC_PER_SEC);
        for (unsigned i = 0; i < 5; i++) {
                now.realtime_ns += 100 * NSEC_PER_USEC;
                pass(NSEC_PER_SEC);
        }
        ck_assert_uint_eq(host_time_refresh_usec(host), 2 * USEC_PER_SEC);
}
END_TEST

START_TEST(test_many_looks_do_not_make_the_refresh_rare) {
        uint64_t before = host_time_refresh_usec(host);

        for (unsigned i = 0; i < 1000; i++)
                pass((int64_t) before * NSEC_PER_USEC / 10);
        ck_assert_uint_eq(host_time_refresh_usec(host), before);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("page-guest-time");
        TCase *c = tcase_create("guest-time");
        SRunner *runner;
        int n_failed;

        tcase_add_checked_fixture(c, set_up, tear_down);
        tcase_add_test(c, test_page_of_a_kvm_guest_is_a_clock);
        tcase_add_test(c, test_running_uses_what_was_seen_and_reads_nothing);
        tcase_add_test(c, test_guest_never_seen_running_is_not_claimed_for_before_it_runs);
        tcase_add_test(c, test_no_time_is_claimed_by_an_offset_from_before_the_counter_began_anew);
        tcase_add_test(c, test_sleep_through_which_the_counter_ran_on_leaves_the_claim);
        tcase_add_test(c, test_another_start_of_the_vmm_is_another_counter);
        tcase_add_test(c, test_run_that_is_no_start_of_a_process_claims_nothing);
        tcase_add_test(c, test_pid_without_its_start_may_be_anybodys);
        tcase_add_test(c, test_guest_that_kvm_no_longer_shows_has_its_clock_withdrawn);
        tcase_add_test(c, test_host_with_another_clock_claims_nothing);
        tcase_add_test(c, test_nothing_is_claimed_before_the_rate_is_known_or_looked_at);
        tcase_add_test(c, test_pids_of_another_namespace_are_nobodys);
        tcase_add_test(c, test_refresh_is_rare_where_the_clock_runs_as_foretold);
        tcase_add_test(c, test_many_looks_do_not_make_the_refresh_rare);
        suite_add_tcase(suite, c);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
