/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* All pages, over lives of the daemon, with machines, owners and files as they may be. */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include "common/clock-sample.h"
#include "common/json-bounded.h"
#include "common/page-layout.h"
#include "common/process.h"
#include "fake-host.h"
#include "plugins/page/store.h"
#include "scratch.h"

#define S INT64_C(1000000000)
#define UUID "6a1b1fd0-2b5c-4c2a-9d6e-0123456789ab"
#define NOBODY 65534

static FakeHost fake;
static Store *store;
static int64_t now; /* CLOCK_BOOTTIME, as the tests have it: the past is there to be counted */

static void begin_life(void) {
        ck_assert_int_eq(store_new(&fake.host, scratch, &store), 0);
        ck_assert_int_eq(store_load(store, NULL, 0), 0);
}

static void end_life(void) {
        store = store_free(store);
}

static void setup(void) {
        scratch_make();
        ck_assert_int_eq(chmod(scratch, 0755), 0);
        fake_host_init(&fake);
        now = clock_now_ns(CLOCK_BOOTTIME);
        begin_life();
}

static void teardown(void) {
        end_life();
        fake_host_done(&fake);
        scratch_remove();
}

static void create(const char *name) {
        const char *why = NULL;

        ck_assert_int_eq(store_create(store, name, NULL, 1, false, &why), 0);
}

/* telling; all times are seconds before now */

static struct suspendd_drift drift = { .size = sizeof(drift) };

static int tell(enum suspendd_drift_phase phase, int from_ago, int to_ago) {
        drift.phase = phase;
        drift.name = "vm";
        drift.from_boottime_ns = from_ago ? now - from_ago * S : 0;
        drift.to_boottime_ns = to_ago ? now - to_ago * S : 0;
        drift.host_boottime_ns = now;
        drift.host_realtime_ns = 1700 * S;
        if (phase == SUSPENDD_DRIFT_STOPPING)
                drift.cycle++;
        return store_drift(store, &drift);
}

static void tell_cycle(int from_ago, int to_ago) {
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_STOPPING, 0, 0), 1);
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_STOOD, from_ago, 0), 1);
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_RUNNING, from_ago, to_ago), 1);
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_RAN, from_ago, to_ago), 1);
}

/* reading, as a guest does */

static const char *page_path(const char *name) {
        char relative[128];

        (void) snprintf(relative, sizeof(relative), "pages/%s", name);
        return scratch_path(relative);
}

static const char *state_path(const char *name) {
        char relative[128];

        (void) snprintf(relative, sizeof(relative), "page-state/%s", name);
        return scratch_path(relative);
}

static void *page_map(const char *name) {
        int fd = open(page_path(name), O_RDWR | O_CLOEXEC);
        void *map;

        ck_assert_int_ge(fd, 0);
        map = mmap(NULL, PAGE_SIZE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ck_assert_ptr_ne(map, MAP_FAILED);
        (void) close(fd);
        return map;
}

static DriftRecord record_of(const char *name) {
        void *map = page_map(name);
        DriftRecord record;

        ck_assert_int_eq(page_read_drift(map, &record), PAGE_OK);
        ck_assert_int_eq(munmap(map, PAGE_SIZE_BYTES), 0);
        return record;
}

static VmclockPage clock_of(const char *name) {
        void *map = page_map(name);
        VmclockPage clock;

        ck_assert_int_eq(page_read_vmclock(map, &clock), PAGE_OK);
        ck_assert_int_eq(munmap(map, PAGE_SIZE_BYTES), 0);
        return clock;
}

/* The object of one page in the list, to be given back. */
static JsonObject *listed(const char *name) {
        static const JsonLimits limits = { .size_max = 1 << 20,
                                           .values_max = 10000,
                                           .depth_max = 8 };
        _cleanup_json_ JsonObject *array = NULL;
        _cleanup_free_ char *text = store_list(store);
        const char *other;

        ck_assert_ptr_nonnull(text);
        ck_assert_int_eq(json_bounded_parse(text, strlen(text), &limits, &array), 0);
        for (size_t i = 0; i < json_object_array_length(array); i++) {
                JsonObject *o = json_object_array_get_idx(array, i);

                if (json_get_string(o, "name", &other) >= 0 && str_equal(other, name))
                        return json_object_get(o);
        }
        return NULL;
}

static void assert_trouble(const char *name, const char *part) {
        _cleanup_json_ JsonObject *o = listed(name);
        const char *trouble = "";

        ck_assert_ptr_nonnull(o);
        (void) json_get_string(o, "trouble", &trouble);
        ck_assert_msg(part ? strstr(trouble, part) != NULL : !*trouble, "%s", trouble);
}

/* publishing */

START_TEST(test_new_page_is_a_page) {
        DriftRecord record;
        VmclockPage clock;
        struct stat st;

        create("vm");
        record = record_of("vm");
        clock = clock_of("vm");
        ck_assert_uint_ne(record.epoch, 0);
        ck_assert_uint_eq(record.unseen_ns, 0);
        ck_assert_uint_eq(record.flags, 0);
        ck_assert_uint_eq(record.publishings, 1);
        ck_assert_uint_eq(clock.counter_id, VMCLOCK_COUNTER_INVALID);
        ck_assert_uint_eq(clock.clock_status, VMCLOCK_STATUS_UNRELIABLE);
        ck_assert_uint_eq(clock.size, PAGE_SIZE_BYTES);
        ck_assert_uint_eq(clock.flags, 0);
        ck_assert_int_eq(stat(scratch_path("pages"), &st), 0);
        ck_assert_uint_eq(st.st_mode, S_IFDIR | 0755);
        ck_assert_int_eq(stat(scratch_path("page-state"), &st), 0);
        ck_assert_uint_eq(st.st_mode, S_IFDIR | 0700);
        ck_assert_int_eq(stat(state_path("vm"), &st), 0);
        ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
}
END_TEST

START_TEST(test_page_says_that_it_notifies_where_it_does) {
        const char *why = NULL;

        ck_assert_int_eq(store_create(store, "vm", NULL, 1, true, &why), 0);
        ck_assert_uint_eq(clock_of("vm").flags, VMCLOCK_FLAG_NOTIFICATION_PRESENT);
}
END_TEST

START_TEST(test_stopping_gives_the_base_to_check_by) {
        DriftRecord record;

        create("vm");
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_STOPPING, 0, 0), 1);
        record = record_of("vm");
        ck_assert_uint_eq(record.flags, DRIFT_FLAG_STOPPING);
        ck_assert_int_eq(record.host_boottime_ns, now);
        ck_assert_int_eq(record.host_realtime_ns, 1700 * S);
        ck_assert_uint_eq(record.publishings, 2);
        ck_assert_uint_eq(clock_of("vm").disruption_marker, 0);
}
END_TEST

START_TEST(test_running_is_a_lower_bound_and_ran_the_rest) {
        DriftRecord record;

        create("vm");
        (void) tell(SUSPENDD_DRIFT_STOPPING, 0, 0);
        (void) tell(SUSPENDD_DRIFT_STOOD, 30, 0);
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_RUNNING, 30, 10), 1);
        record = record_of("vm");
        ck_assert_uint_eq(record.flags, DRIFT_FLAG_LOWER_BOUND);
        ck_assert_uint_eq(record.unseen_ns, 20 * S);
        ck_assert_uint_eq(clock_of("vm").disruption_marker, 1);

        ck_assert_int_eq(tell(SUSPENDD_DRIFT_RAN, 30, 9), 1);
        record = record_of("vm");
        ck_assert_uint_eq(record.flags, 0);
        ck_assert_uint_eq(record.unseen_ns, 21 * S);
        ck_assert_uint_eq(record.last_unseen_ns, 21 * S);
        ck_assert_uint_eq(record.cycles, 1);
        ck_assert_uint_eq(clock_of("vm").disruption_marker, 2);
}
END_TEST

START_TEST(test_marker_stays_where_nothing_was_added) {
        create("vm");
        tell_cycle(30, 10);
        ck_assert_uint_eq(clock_of("vm").disruption_marker, 1);
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_RAN, 30, 10), 1);
        ck_assert_uint_eq(clock_of("vm").disruption_marker, 1);
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_LOOK, 0, 0), 1);
        ck_assert_uint_eq(clock_of("vm").disruption_marker, 2);
}
END_TEST

START_TEST(test_machine_that_was_met_owes_nothing) {
        DriftRecord before, after;
        uint32_t sequence;

        create("vm");
        tell_cycle(30, 10);
        before = record_of("vm");
        sequence = clock_of("vm").sequence;
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_MET, 0, 0), 1);
        after = record_of("vm");
        ck_assert_mem_eq(&after, &before, sizeof(after));
        ck_assert_uint_ne(clock_of("vm").sequence, sequence);
        ck_assert_uint_eq(clock_of("vm").disruption_marker, 1);
}
END_TEST

START_TEST(test_sequences_move_at_each_publishing_and_are_even) {
        VmclockPage before, after;

        create("vm");
        before = clock_of("vm");
        (void) tell(SUSPENDD_DRIFT_LOOK, 0, 0);
        after = clock_of("vm");
        ck_assert_uint_ne(before.sequence, after.sequence);
        ck_assert_uint_eq(after.sequence % 2, 0);
        ck_assert_uint_eq(record_of("vm").sequence % 2, 0);
}
END_TEST

START_TEST(test_what_a_guest_slept_through_is_seen) {
        create("vm");
        drift.is_seen = true;
        tell_cycle(30, 10);
        drift.is_seen = false;
        ck_assert_uint_eq(record_of("vm").seen_ns, 20 * S);
        ck_assert_uint_eq(record_of("vm").unseen_ns, 0);
}
END_TEST

START_TEST(test_span_never_reaches_beyond_now) {
        create("vm");
        drift.cycle = 1;
        drift.phase = SUSPENDD_DRIFT_RAN;
        drift.name = "vm";
        drift.from_boottime_ns = now - 5 * S;
        drift.to_boottime_ns = now + 100 * S;
        drift.host_boottime_ns = now;
        ck_assert_int_eq(store_drift(store, &drift), 1);
        ck_assert_uint_eq(record_of("vm").unseen_ns, 5 * S);
}
END_TEST

START_TEST(test_guest_who_writes_over_its_record_changes_nothing) {
        uint8_t *map;

        create("vm");
        tell_cycle(30, 10);
        map = page_map("vm");
        memset(map, 0xff, PAGE_SIZE_BYTES);
        tell_cycle(8, 7);
        ck_assert_uint_eq(record_of("vm").unseen_ns, 21 * S);
        ck_assert_uint_eq(clock_of("vm").disruption_marker, 2);
        ck_assert_int_eq(munmap(map, PAGE_SIZE_BYTES), 0);
}
END_TEST

/* whose page */

START_TEST(test_uuid_goes_before_name_and_others_are_not_told) {
        struct suspendd_drift other = { .size = sizeof(other), .phase = SUSPENDD_DRIFT_LOOK };

        create("vm");
        create(UUID);
        other.name = "vm";
        other.uuid = "6A1B1FD0-2B5C-4C2A-9D6E-0123456789AB";
        ck_assert_int_eq(store_drift(store, &other), 1);
        ck_assert_uint_eq(clock_of("vm").disruption_marker, 0);
        ck_assert_uint_eq(clock_of(UUID).disruption_marker, 1);
        ck_assert_str_eq(store_page_name(store, "vm", other.uuid), UUID);
        other.uuid = NULL;
        ck_assert_int_eq(store_drift(store, &other), 1);
        ck_assert_uint_eq(clock_of("vm").disruption_marker, 1);
        other.name = "vm2";
        ck_assert_int_eq(store_drift(store, &other), 0);
        ck_assert_ptr_null(store_page_name(store, "vm2", NULL));
}
END_TEST

/* A VM is called what its owner wants it to be called. */
START_TEST(test_vm_of_another_user_is_not_counted_on_the_page) {
        _cleanup_free_ char *run = NULL, *own = NULL;
        const char *why = NULL;
        pid_t pid;

        if (geteuid() != 0)
                return;
        pid = fork(); /* before there is a page, which it would have open too */
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                if (setuid(NOBODY) < 0)
                        _exit(1);
                (void) pause();
                _exit(0);
        }
        create("vm");
        ck_assert_int_eq(process_run_string(pid, &run), 0);
        ck_assert_int_eq(process_run_string(getpid(), &own), 0);
        while (true) {
                uid_t user = 0;

                ck_assert_int_eq(process_user(run, &user), 0);
                if (user == NOBODY)
                        break;
        }

        drift.run = run;
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_LOOK, 0, 0), 0);
        ck_assert_uint_eq(fake.n_warnings, 1);
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_LOOK, 0, 0), 0);
        ck_assert_uint_eq(fake.n_warnings, 1);
        drift.run = own;
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_LOOK, 0, 0), 1);

        ck_assert_int_eq(store_remove(store, "vm", false, &why), 0);
        ck_assert_int_eq(store_create(store, "vm", "65534", 1, false, &why), 0);
        drift.run = run;
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_LOOK, 0, 0), 1);
        drift.run = NULL;
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_LOOK, 0, 0), 1);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

/* Who listens for it may have ended, and so hide whose it is. */
START_TEST(test_vm_of_a_process_that_is_not_there_is_not_counted_on_the_page) {
        static const char *const runs[] = { "no process", "7", "7.1", "3.7.1" };

        create("vm");
        for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
                drift.run = runs[i];
                ck_assert_int_eq(tell(SUSPENDD_DRIFT_LOOK, 0, 0), 0);
                ck_assert_int_eq(tell(SUSPENDD_DRIFT_LOOK, 0, 0), 0);
                ck_assert_uint_eq(fake.n_warnings, i + 1);
        }
        drift.run = NULL;
        ck_assert_uint_eq(clock_of("vm").disruption_marker, 0);
}
END_TEST

/* lives */

START_TEST(test_totals_outlive_the_daemon) {
        DriftRecord before, after;

        create("vm");
        tell_cycle(30, 10);
        before = record_of("vm");
        end_life();
        begin_life();
        after = record_of("vm");
        ck_assert_uint_eq(after.epoch, before.epoch);
        ck_assert_uint_eq(after.unseen_ns, before.unseen_ns);
        ck_assert_uint_gt(after.publishings, before.publishings);
        tell_cycle(5, 4);
        ck_assert_uint_eq(record_of("vm").unseen_ns, 21 * S);
        ck_assert_uint_eq(record_of("vm").cycles, 2);
}
END_TEST

/* The next life knows from the journal only when it was about to be stopped. */
START_TEST(test_crash_while_it_stands_counts_from_when_it_stood) {
        create("vm");
        (void) tell(SUSPENDD_DRIFT_STOPPING, 0, 0);
        (void) tell(SUSPENDD_DRIFT_STOOD, 28, 0);
        end_life();
        begin_life();
        drift.cycle = 1000;
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_RUNNING, 30, 10), 1);
        ck_assert_uint_eq(record_of("vm").unseen_ns, 18 * S);
        end_life();
        begin_life();
        drift.cycle = 2000;
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_RAN, 30, 9), 1);
        ck_assert_uint_eq(record_of("vm").unseen_ns, 19 * S);
        ck_assert_uint_eq(record_of("vm").cycles, 1);
}
END_TEST

START_TEST(test_steps_of_the_hosts_clock_add_up_over_lives) {
        create("vm");
        drift.host_stepped_ns = 3 * S;
        (void) tell(SUSPENDD_DRIFT_LOOK, 0, 0);
        (void) tell(SUSPENDD_DRIFT_LOOK, 0, 0);
        ck_assert_int_eq(record_of("vm").host_stepped_ns, 3 * S);
        end_life();
        begin_life();
        ck_assert_int_eq(record_of("vm").host_stepped_ns, 3 * S);
        drift.host_stepped_ns = -S;
        (void) tell(SUSPENDD_DRIFT_LOOK, 0, 0);
        drift.host_stepped_ns = 0;
        ck_assert_int_eq(record_of("vm").host_stepped_ns, 2 * S);
}
END_TEST

static void assert_lost(uint64_t epoch) {
        DriftRecord after;

        begin_life();
        after = record_of("vm");
        ck_assert_uint_ne(after.epoch, epoch);
        ck_assert_uint_ne(after.epoch, 0);
        ck_assert_uint_eq(after.unseen_ns, 0);
        tell_cycle(5, 4);
        ck_assert_uint_eq(record_of("vm").unseen_ns, S);
}

START_TEST(test_state_that_is_lost_begins_a_new_epoch) {
        uint64_t epoch;

        create("vm");
        tell_cycle(30, 10);
        epoch = record_of("vm").epoch;
        end_life();
        ck_assert_int_eq(unlink(state_path("vm")), 0);
        assert_lost(epoch);
}
END_TEST

START_TEST(test_state_that_is_damaged_begins_a_new_epoch) {
        uint64_t epoch;

        for (size_t at = 0; at < 144; at += 13) {
                _cleanup_free_ char *bytes = NULL;
                size_t size;

                if (at == 0)
                        create("vm");
                tell_cycle(30, 10);
                epoch = record_of("vm").epoch;
                end_life();
                bytes = scratch_read("page-state/vm", &size);
                ck_assert_uint_eq(size, 144);
                bytes[at] ^= 0x10;
                scratch_write_bytes("page-state/vm", bytes, size);
                assert_lost(epoch);
        }
}
END_TEST

START_TEST(test_state_that_was_cut_short_begins_a_new_epoch) {
        uint64_t epoch;

        create("vm");
        tell_cycle(30, 10);
        epoch = record_of("vm").epoch;
        end_life();
        ck_assert_int_eq(truncate(state_path("vm"), 100), 0);
        assert_lost(epoch);
}
END_TEST

/* /run may be kept over a boot; CLOCK_BOOTTIME is not. */
START_TEST(test_state_of_another_boot_begins_a_new_epoch) {
        uint64_t epoch;

        create("vm");
        now += 1000 * S;
        tell_cycle(30, 10);
        now -= 1000 * S;
        epoch = record_of("vm").epoch;
        end_life();
        assert_lost(epoch);
}
END_TEST

/* What the page says has been stored before, at whatever point the daemon ends. */
START_TEST(test_kill_at_any_point_leaves_no_page_ahead_of_its_state) {
        uint64_t epoch;

        create("vm");
        epoch = record_of("vm").epoch;
        end_life();
        for (unsigned i = 0; i < 40; i++) {
                struct timespec pause = { .tv_nsec = 3000000 + 200000 * i };
                DriftRecord seen, record;
                void *map = page_map("vm");
                bool is_whole;
                pid_t pid = fork();

                ck_assert_int_ge(pid, 0);
                if (pid == 0) {
                        begin_life();
                        for (;;) {
                                now = clock_now_ns(CLOCK_BOOTTIME);
                                drift.cycle++;
                                drift.phase = SUSPENDD_DRIFT_RUNNING;
                                drift.name = "vm";
                                drift.from_boottime_ns = 1;
                                drift.to_boottime_ns = drift.host_boottime_ns = now;
                                (void) store_drift(store, &drift);
                        }
                }
                (void) nanosleep(&pause, NULL);
                ck_assert_int_eq(kill(pid, SIGKILL), 0);
                ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
                is_whole = page_read_drift(map, &seen) == PAGE_OK;
                ck_assert_int_eq(munmap(map, PAGE_SIZE_BYTES), 0);

                begin_life();
                record = record_of("vm");
                ck_assert_uint_eq(record.epoch, epoch);
                if (is_whole) {
                        ck_assert_uint_ge(record.unseen_ns, seen.unseen_ns);
                        ck_assert_uint_gt(record.publishings, seen.publishings);
                }
                end_life();
        }
        begin_life();
        ck_assert_uint_gt(record_of("vm").unseen_ns, 0);
}
END_TEST

/* files as they may be */

static void assert_precious(void) {
        _cleanup_free_ char *text = scratch_read("precious", NULL);

        ck_assert_str_eq(text, "precious");
}

START_TEST(test_page_that_its_owner_spoilt_is_refused_alone_and_counted_on) {
        create("vm");
        create("other");
        tell_cycle(30, 10);
        end_life();
        ck_assert_int_eq(truncate(page_path("vm"), 7), 0);
        begin_life();
        assert_trouble("vm", "size");
        assert_trouble("other", NULL);
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_LOOK, 0, 0), -ENODEV);
        ck_assert_int_lt(tell(SUSPENDD_DRIFT_RAN, 5, 4), 0);
        end_life();

        ck_assert_int_eq(truncate(page_path("vm"), PAGE_SIZE_BYTES), 0);
        begin_life();
        assert_trouble("vm", NULL);
        ck_assert_uint_eq(record_of("vm").unseen_ns, 21 * S);
}
END_TEST

/* Its VMM's user may do that with the page's file, and does so while nobody has it open. */
START_TEST(test_page_with_a_lease_is_refused_alone) {
        int ends[2];
        pid_t pid;
        char c;

        create("vm");
        create("other");
        end_life();
        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                int fd = open(page_path("vm"), O_RDWR | O_CLOEXEC);

                (void) signal(SIGIO, SIG_IGN);
                if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0 || write(ends[1], "", 1) != 1)
                        _exit(1);
                (void) pause();
                _exit(0);
        }
        ck_assert_int_gt(pid, 0);
        ck_assert_int_eq(read(ends[0], &c, 1), 1);
        begin_life();
        assert_trouble("vm", "it cannot be opened");
        assert_trouble("other", NULL);
        (void) kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        (void) close(ends[0]);
        (void) close(ends[1]);
}
END_TEST

static unsigned count_open(void) {
        unsigned n = 0;

        for (int fd = 0; fd < 256; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

/* The next life has @n descriptors for the time of its loading, and of two reloads. Returns: what the first returned. */
static int begin_life_with(unsigned n) {
        struct rlimit limit, few;
        unsigned n_open;
        int r;

        ck_assert_int_eq(store_new(&fake.host, scratch, &store), 0);
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        few = limit;
        few.rlim_cur = (rlim_t) open("/", O_PATH | O_CLOEXEC) + n;
        (void) close((int) (few.rlim_cur - n));
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        r = store_load(store, NULL, 0);
        (void) store_load(store, NULL, 0);
        n_open = count_open();
        (void) store_load(store, NULL, 0);
        ck_assert_uint_eq(count_open(), n_open);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        return r;
}

/* It may not begin: then the next one does. But none does without a page that is there, or keeps what it has opened. */
START_TEST(test_life_that_lacks_descriptors_has_all_pages_or_none) {
        unsigned n = 0;

        create("vm");
        end_life();
        fake.keep_error = -EOPNOTSUPP;
        while (begin_life_with(n++) < 0) {
                ck_assert_int_eq(store_load(store, NULL, 0), 0);
                assert_trouble("vm", NULL);
                end_life();
        }
        ck_assert_uint_gt(n, 5);
        assert_trouble("vm", NULL);
}
END_TEST

START_TEST(test_page_spoilt_in_this_life_is_told_once_and_comes_back) {
        unsigned n_warnings;

        create("vm");
        n_warnings = fake.n_warnings;
        ck_assert_int_eq(truncate(page_path("vm"), 0), 0);
        ck_assert_int_lt(tell(SUSPENDD_DRIFT_LOOK, 0, 0), 0);
        ck_assert_int_lt(tell(SUSPENDD_DRIFT_RUNNING, 30, 10), 0);
        ck_assert_uint_eq(fake.n_warnings, n_warnings + 1);
        assert_trouble("vm", "written");
        ck_assert_int_eq(truncate(page_path("vm"), PAGE_SIZE_BYTES), 0);
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_RAN, 30, 10), 1);
        assert_trouble("vm", NULL);
        ck_assert_uint_eq(record_of("vm").unseen_ns, 20 * S);
}
END_TEST

START_TEST(test_page_that_is_a_link_is_not_followed) {
        create("vm");
        end_life();
        scratch_write("precious", "precious");
        ck_assert_int_eq(unlink(page_path("vm")), 0);
        ck_assert_int_eq(symlink("../precious", page_path("vm")), 0);
        begin_life();
        assert_trouble("vm", "symbolic link");
        ck_assert_int_lt(tell(SUSPENDD_DRIFT_LOOK, 0, 0), 0);
        assert_precious();
}
END_TEST

START_TEST(test_page_that_was_deleted_is_made_again) {
        DriftRecord before;

        create("vm");
        tell_cycle(30, 10);
        before = record_of("vm");
        end_life();
        ck_assert_int_eq(unlink(page_path("vm")), 0);
        begin_life();
        ck_assert_uint_eq(record_of("vm").unseen_ns, before.unseen_ns);
        ck_assert_uint_eq(record_of("vm").epoch, before.epoch);
        assert_trouble("vm", NULL);
}
END_TEST

START_TEST(test_state_that_is_a_link_is_not_followed) {
        create("vm");
        create("other");
        end_life();
        scratch_write("precious", "precious");
        ck_assert_int_eq(unlink(state_path("vm")), 0);
        ck_assert_int_eq(symlink("../precious", state_path("vm")), 0);
        begin_life();
        assert_precious();
        ck_assert_ptr_null(listed("vm"));
        assert_trouble("other", NULL);
}
END_TEST

START_TEST(test_directory_that_is_another_users_is_not_used) {
        const char *why = NULL;

        if (geteuid() != 0)
                return;
        end_life();
        ck_assert_int_eq(chown(scratch_path("pages"), NOBODY, NOBODY), 0);
        ck_assert_int_eq(store_new(&fake.host, scratch, &store), 0);
        ck_assert_int_eq(store_load(store, NULL, 0), -EPERM);
        ck_assert_int_lt(store_create(store, "vm", NULL, 1, false, &why), 0);
        ck_assert_ptr_nonnull(why);
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_LOOK, 0, 0), 0);
}
END_TEST

/* the administrator */

START_TEST(test_only_good_names_are_taken) {
        char long_name[102] = "";
        const char *const bad[] = {
                "",     ".", "..", ".hidden", "a/b",     "../x",  "a b",
                "a\nb", "ä", "%n", "a:b",     "vm.sock", ".sock", long_name,
        };
        const char *why;

        memset(long_name, 'a', sizeof(long_name) - 1);
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                why = NULL;
                ck_assert_int_eq(store_create(store, bad[i], NULL, 1, false, &why), -EINVAL);
                ck_assert_ptr_nonnull(why);
        }
        long_name[100] = '\0';
        ck_assert_int_eq(store_create(store, long_name, NULL, 1, false, &why), -ENAMETOOLONG);
        ck_assert_ptr_nonnull(strstr(why, "too long"));
        create("A-z_0.9");
        create(UUID);
        ck_assert_int_eq(store_create(store, UUID, NULL, 1, false, &why), -EEXIST);
}
END_TEST

START_TEST(test_owner_is_a_user) {
        const char *why = NULL;
        struct stat st;

        ck_assert_int_eq(store_create(store, "a", "nobody-there", 1, false, &why), -EINVAL);
        ck_assert_ptr_nonnull(strstr(why, "no such user"));
        ck_assert_int_eq(store_create(store, "a", "4294967295", 1, false, &why), -EINVAL);
        ck_assert_int_eq(store_create(store, "a", "99999999999999999999", 1, false, &why), -EINVAL);
        ck_assert_int_eq(store_create(store, "a", "-1", 1, false, &why), -EINVAL);
        ck_assert_int_eq(store_create(store, "a", NULL, 17, false, &why), -EINVAL);
        ck_assert_ptr_null(listed("a"));
        if (geteuid() != 0)
                return;
        ck_assert_int_eq(store_create(store, "a", "nobody", 1, false, &why), 0);
        ck_assert_int_eq(stat(page_path("a"), &st), 0);
        ck_assert_uint_eq(st.st_uid, 0);
        ck_assert_uint_eq(st.st_mode, S_IFREG | 0660); /* by an ACL */
}
END_TEST

START_TEST(test_removed_page_leaves_nothing) {
        const char *why = NULL;
        uint64_t epoch;

        create("vm");
        epoch = record_of("vm").epoch;
        ck_assert_int_eq(store_remove(store, "vm", false, &why), 0);
        ck_assert_int_eq(store_remove(store, "vm", false, &why), -ENOENT);
        ck_assert_int_eq(access(page_path("vm"), F_OK), -1);
        ck_assert_int_eq(access(state_path("vm"), F_OK), -1);
        ck_assert_int_eq(tell(SUSPENDD_DRIFT_LOOK, 0, 0), 0);
        create("vm");
        ck_assert_uint_ne(record_of("vm").epoch, epoch);
}
END_TEST

START_TEST(test_file_that_a_vmm_has_open_stays_and_nothing_else_does) {
        const char *why = NULL;
        void *map;

        create("vm");
        map = page_map("vm");
        ck_assert_int_eq(store_remove(store, "vm", true, &why), 0);
        ck_assert_ptr_null(listed("vm"));
        ck_assert_int_eq(access(page_path("vm"), F_OK), 0);
        ck_assert_int_eq(access(state_path("vm"), F_OK), -1);
        ck_assert_int_eq(store_create(store, "vm", NULL, 1, false, &why), -EEXIST);
        ck_assert_ptr_nonnull(strstr(why, "in its place"));
        ck_assert_int_eq(munmap(map, PAGE_SIZE_BYTES), 0);
}
END_TEST

/* The life that made it ended when the page was there, but its user could not use it yet. */
START_TEST(test_page_that_was_not_granted_yet_is_granted_by_the_next_life) {
        const char *why = NULL;
        struct stat st;

        if (geteuid() != 0)
                return;
        ck_assert_int_eq(store_create(store, "vm", "65534", 1, false, &why), 0);
        end_life();
        ck_assert_int_eq(removexattr(page_path("vm"), "system.posix_acl_access"), 0);
        ck_assert_int_eq(chmod(page_path("vm"), 0600), 0);
        begin_life();
        assert_trouble("vm", NULL);
        ck_assert_int_eq(stat(page_path("vm"), &st), 0);
        ck_assert_uint_eq(st.st_mode, S_IFREG | 0660);
}
END_TEST

START_TEST(test_settings_make_what_is_missing_and_errors_are_left_out) {
        static const struct suspendd_setting settings[] = {
                { "Page", "vm", "x.conf", 1 },
                { "Page", "one 0", "x.conf", 2 },
                { "Page", "two 0 4", "x.conf", 3 },
                { "Page", " three\t0  0 notify ", "x.conf", 4 },
                { "Page", "bad 0 1 notify more", "x.conf", 5 },
                { "Page", "bad 0 1 what", "x.conf", 6 },
                { "Page", "bad 0 many", "x.conf", 7 },
                { "Page", "bad 0 17", "x.conf", 8 },
                { "Page", "../bad", "x.conf", 9 },
                { "Page", "", "x.conf", 10 },
                { "Pages", "bad", "x.conf", 11 },
        };
        static const struct suspendd_setting otherwise = { "Page", "two 0 5", "x.conf", 3 };
        uint64_t epoch;
        int64_t vectors;
        JsonObject *two;

        create("vm");
        epoch = record_of("vm").epoch;
        ck_assert_int_eq(store_load(store, settings, ARRAY_LEN(settings)), 0);
        ck_assert_uint_eq(fake.n_warnings, 7);
        ck_assert_ptr_nonnull(strstr(fake.warning, "x.conf:11"));
        ck_assert_uint_eq(record_of("vm").epoch, epoch);
        ck_assert_uint_eq(record_of("one").unseen_ns, 0);
        ck_assert_uint_eq(clock_of("three").flags, VMCLOCK_FLAG_NOTIFICATION_PRESENT);
        two = listed("two");
        ck_assert_int_eq(json_get_int64(two, "vectors", &vectors), 0);
        ck_assert_int_eq(vectors, 4);
        (void) json_object_put(two);
        ck_assert_ptr_null(listed("bad"));

        /* What is there stays as it is, with a word if it should be otherwise. */
        ck_assert_int_eq(store_load(store, settings, 4), 0);
        ck_assert_uint_eq(fake.n_warnings, 7);
        ck_assert_int_eq(store_load(store, &otherwise, 1), 0);
        ck_assert_uint_eq(fake.n_warnings, 8);
        ck_assert_ptr_nonnull(strstr(fake.warning, "Page two stays"));

        /* What is named no longer stays. */
        ck_assert_int_eq(store_load(store, NULL, 0), 0);
        ck_assert_uint_eq(record_of("one").unseen_ns, 0);
        ck_assert_uint_eq(fake.n_enumerated, 5);
}
END_TEST

START_TEST(test_pages_have_a_limit) {
        const char *why = NULL;
        char name[32];

        for (int i = 0; i < 1000; i++) {
                (void) snprintf(name, sizeof(name), "vm%d", i);
                ck_assert_int_eq(store_create(store, name, NULL, 0, false, &why), 0);
        }
        ck_assert_int_lt(store_create(store, "one-more", NULL, 0, false, &why), 0);
        ck_assert_ptr_nonnull(strstr(why, "too many"));
}
END_TEST

/* answers */

static void answer_with(const DriftAnswer *answer) {
        void *map = page_map("vm");

        page_write_answer(map, answer);
        ck_assert_int_eq(munmap(map, PAGE_SIZE_BYTES), 0);
}

START_TEST(test_answer_is_of_the_last_cycle) {
        DriftAnswer written = { .magic = ANSWER_MAGIC, .corrects = ANSWER_CORRECTS_REALTIME };
        struct suspendd_answer answer;

        create("vm");
        ck_assert_int_eq(store_answer(store, "vm", NULL, &answer), 0);
        ck_assert_int_eq(store_answer(store, "other", NULL, &answer), 0);
        tell_cycle(30, 10);
        written.epoch = record_of("vm").epoch;
        written.applied_ns = 20 * S;
        written.refused_ns = S;
        written.publishings = record_of("vm").publishings;
        answer_with(&written);
        tell_cycle(9, 4);
        ck_assert_int_eq(store_answer(store, "vm", NULL, &answer), 1);
        ck_assert_uint_eq(answer.size, sizeof(answer));
        ck_assert_int_eq(answer.corrects_realtime, 1);
        ck_assert_int_eq(answer.corrects_boottime, 0);
        ck_assert_int_eq(answer.is_current, 0);
        ck_assert_int_eq(answer.applied_ns, 0);
        ck_assert_int_eq(answer.refused_ns, 0);

        written.applied_ns = 25 * S;
        written.refused_ns = 3 * S;
        written.corrects = ANSWER_CORRECTS_ALL;
        written.publishings = record_of("vm").publishings;
        answer_with(&written);
        ck_assert_int_eq(store_answer(store, "vm", NULL, &answer), 1);
        ck_assert_int_eq(answer.is_current, 1);
        ck_assert_int_eq(answer.corrects_boottime, 1);
        ck_assert_int_eq(answer.applied_ns, 5 * S);
        ck_assert_int_eq(answer.refused_ns, 2 * S);
}
END_TEST

START_TEST(test_answer_that_lies_stays_within_what_was_told) {
        DriftAnswer written = {
                .magic = ANSWER_MAGIC,
                .applied_ns = UINT64_MAX,
                .corrects = UINT64_MAX,
                .refused_ns = UINT64_MAX,
                .publishings = UINT64_MAX,
        };
        struct suspendd_answer answer;
        JsonObject *o;

        create("vm");
        tell_cycle(30, 10);
        written.epoch = record_of("vm").epoch;
        answer_with(&written);
        ck_assert_int_eq(store_answer(store, "vm", NULL, &answer), 1);
        ck_assert_int_eq(answer.corrects_realtime, 0);
        ck_assert_int_eq(answer.is_current, 0);
        ck_assert_int_eq(answer.applied_ns, 20 * S);
        ck_assert_int_eq(answer.refused_ns, 20 * S);
        o = listed("vm");
        ck_assert_ptr_nonnull(o);
        (void) json_object_put(o);

        /* Of another epoch: there is a reader, and it has not understood yet. */
        written.epoch++;
        written.corrects = ANSWER_CORRECTS_REALTIME;
        written.publishings = record_of("vm").publishings;
        answer_with(&written);
        ck_assert_int_eq(store_answer(store, "vm", NULL, &answer), 1);
        ck_assert_int_eq(answer.corrects_realtime, 1);
        ck_assert_int_eq(answer.is_current, 0);
        ck_assert_int_eq(answer.applied_ns, 0);
}
END_TEST

int main(void) {
        TCase *tcase = tcase_create("page-store");

        tcase_set_timeout(tcase, 60);
        tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_add_test(tcase, test_new_page_is_a_page);
        tcase_add_test(tcase, test_page_says_that_it_notifies_where_it_does);
        tcase_add_test(tcase, test_stopping_gives_the_base_to_check_by);
        tcase_add_test(tcase, test_running_is_a_lower_bound_and_ran_the_rest);
        tcase_add_test(tcase, test_marker_stays_where_nothing_was_added);
        tcase_add_test(tcase, test_machine_that_was_met_owes_nothing);
        tcase_add_test(tcase, test_sequences_move_at_each_publishing_and_are_even);
        tcase_add_test(tcase, test_what_a_guest_slept_through_is_seen);
        tcase_add_test(tcase, test_span_never_reaches_beyond_now);
        tcase_add_test(tcase, test_guest_who_writes_over_its_record_changes_nothing);
        tcase_add_test(tcase, test_uuid_goes_before_name_and_others_are_not_told);
        tcase_add_test(tcase, test_vm_of_another_user_is_not_counted_on_the_page);
        tcase_add_test(tcase, test_vm_of_a_process_that_is_not_there_is_not_counted_on_the_page);
        tcase_add_test(tcase, test_totals_outlive_the_daemon);
        tcase_add_test(tcase, test_crash_while_it_stands_counts_from_when_it_stood);
        tcase_add_test(tcase, test_steps_of_the_hosts_clock_add_up_over_lives);
        tcase_add_test(tcase, test_state_that_is_lost_begins_a_new_epoch);
        tcase_add_test(tcase, test_state_that_is_damaged_begins_a_new_epoch);
        tcase_add_test(tcase, test_state_that_was_cut_short_begins_a_new_epoch);
        tcase_add_test(tcase, test_state_of_another_boot_begins_a_new_epoch);
        tcase_add_test(tcase, test_kill_at_any_point_leaves_no_page_ahead_of_its_state);
        tcase_add_test(tcase, test_page_that_its_owner_spoilt_is_refused_alone_and_counted_on);
        tcase_add_test(tcase, test_page_with_a_lease_is_refused_alone);
        tcase_add_test(tcase, test_life_that_lacks_descriptors_has_all_pages_or_none);
        tcase_add_test(tcase, test_page_spoilt_in_this_life_is_told_once_and_comes_back);
        tcase_add_test(tcase, test_page_that_is_a_link_is_not_followed);
        tcase_add_test(tcase, test_page_that_was_deleted_is_made_again);
        tcase_add_test(tcase, test_state_that_is_a_link_is_not_followed);
        tcase_add_test(tcase, test_directory_that_is_another_users_is_not_used);
        tcase_add_test(tcase, test_only_good_names_are_taken);
        tcase_add_test(tcase, test_owner_is_a_user);
        tcase_add_test(tcase, test_removed_page_leaves_nothing);
        tcase_add_test(tcase, test_file_that_a_vmm_has_open_stays_and_nothing_else_does);
        tcase_add_test(tcase, test_page_that_was_not_granted_yet_is_granted_by_the_next_life);
        tcase_add_test(tcase, test_settings_make_what_is_missing_and_errors_are_left_out);
        tcase_add_test(tcase, test_pages_have_a_limit);
        tcase_add_test(tcase, test_answer_is_of_the_last_cycle);
        tcase_add_test(tcase, test_answer_that_lies_stays_within_what_was_told);
        return scratch_run(tcase, "page-store");
}
