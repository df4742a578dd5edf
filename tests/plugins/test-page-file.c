/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One page: a reader on another thread, and an owner who does with the file what he likes. */

#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "common/clock-sample.h"
#include "plugins/page/page.h"
#include "scratch.h"

#define REWRITES 100000
#define SEQUENCE_WORD (offsetof(VmclockPage, sequence) / sizeof(PageWord))
#define LIMIT_NS INT64_C(60000000000)

static int directory, scratch_fd;
static Page *page;

static void setup(void) {
        scratch_make();
        directory = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ck_assert_int_ge(directory, 0);
        scratch_fd = memfd_create("scratch", MFD_CLOEXEC);
        ck_assert_int_ge(scratch_fd, 0);
        ck_assert_int_eq(ftruncate(scratch_fd, PAGE_SIZE_BYTES), 0);
        ck_assert_int_eq(page_create(directory, "vm", scratch_fd, &page), 0);
        ck_assert_int_eq(page_appear(page, directory, "vm", geteuid()), 0);
}

static void teardown(void) {
        page_free(page);
        (void) close(scratch_fd);
        (void) close(directory);
        scratch_remove();
}

/* All of it follows from one number, so that a reader can tell whether two are mixed. */
static DriftRecord record_of(uint64_t n) {
        return (DriftRecord){
                .magic = DRIFT_MAGIC,
                .revision = DRIFT_REVISION,
                .size = sizeof(DriftRecord),
                .sequence = (uint32_t) (2 * n),
                .flags = (uint32_t) (n * 3),
                .epoch = n + 1,
                .cycles = n * 5,
                .unseen_ns = ~n,
                .seen_ns = n << 32,
                .last_unseen_ns = n * UINT64_C(0x0101010101010101),
                .last_seen_ns = n,
                .host_realtime_ns = -(int64_t) n,
                .host_boottime_ns = (int64_t) n,
                .host_stepped_ns = (int64_t) (n * 7),
                .publishings = n,
        };
}

static VmclockPage clock_of(uint64_t n) {
        return (VmclockPage){
                .magic = VMCLOCK_MAGIC,
                .size = PAGE_SIZE_BYTES,
                .version = VMCLOCK_VERSION,
                .sequence = (uint32_t) (2 * n),
                .disruption_marker = n,
                .counter_value = ~n,
                .counter_period_frac_sec = n * 3,
                .time_sec = n << 32,
                .time_frac_sec = n * UINT64_C(0x0101010101010101),
                .vm_generation_counter = n,
        };
}

static void write_both(uint64_t n) {
        DriftRecord record = record_of(n);
        VmclockPage clock = clock_of(n);

        ck_assert_int_eq(page_write_drift(page, &record), 0);
        ck_assert_int_eq(page_write_vmclock(page, &clock), 0);
}

/* The reader, as a guest has it: another mapping of the same file. */
static const void *map_again(void) {
        int fd = open(scratch_path("vm"), O_RDWR | O_CLOEXEC);
        void *map;

        ck_assert_int_ge(fd, 0);
        map = mmap(NULL, PAGE_SIZE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ck_assert_ptr_ne(map, MAP_FAILED);
        (void) close(fd);
        return map;
}

/* being read meanwhile */

typedef struct Reader {
        const void *map;
        uint64_t n_records, n_clocks; /* different ones that were read whole */
        uint64_t last_record, last_clock;
        uint64_t n_torn, n_back, n_not_whole;
        bool is_over; /* written by the writer */
} Reader;

static void read_record(Reader *r) {
        DriftRecord got, want;
        uint64_t n;

        if (page_read_drift(r->map, &got) != PAGE_OK) {
                r->n_not_whole++;
                return;
        }
        n = got.publishings;
        want = record_of(n);
        r->n_torn += memcmp(&got, &want, sizeof(got)) != 0;
        r->n_back += n < r->last_record;
        (void) __atomic_fetch_add(&r->n_records, n != r->last_record, __ATOMIC_RELAXED);
        r->last_record = n;
}

static void read_clock(Reader *r) {
        VmclockPage got, want;
        uint64_t n;

        if (page_read_vmclock(r->map, &got) != PAGE_OK) {
                r->n_not_whole++;
                return;
        }
        n = got.disruption_marker;
        want = clock_of(n);
        r->n_torn += memcmp(&got, &want, sizeof(got)) != 0;
        r->n_back += n < r->last_clock;
        (void) __atomic_fetch_add(&r->n_clocks, n != r->last_clock, __ATOMIC_RELAXED);
        r->last_clock = n;
}

/*
 * Linux' driver (drivers/ptp/ptp_vmclock.c) compares what it finds afterwards with an even number: what it
 * found before, less the lowest bit. So while the page is being written that must not yet be the new number.
 */
static void read_clock_as_linux_does(Reader *r) {
        const PageWord *from = r->map;
        VmclockPage got, want;
        uint32_t found, before;

        found = __atomic_load_n(from + SEQUENCE_WORD, __ATOMIC_ACQUIRE);
        before = found & ~UINT32_C(1);
        page_copy((PageWord *) &got, from, sizeof(got) / sizeof(PageWord));
        /* It is held up until the writer is done. */
        for (unsigned i = 0; i < PAGE_READ_TRIES && (found & 1); i++)
                found = __atomic_load_n(from + SEQUENCE_WORD, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(from + SEQUENCE_WORD, __ATOMIC_RELAXED) != before) {
                r->n_not_whole++;
                return;
        }
        got.sequence = before;
        want = clock_of(got.disruption_marker);
        r->n_torn += memcmp(&got, &want, sizeof(got)) != 0;
}

static void *read_for_ever(void *userdata) {
        Reader *r = userdata;

        for (unsigned i = 0; !__atomic_load_n(&r->is_over, __ATOMIC_ACQUIRE); i++) {
                read_record(r);
                read_clock(r);
                if (i % 16 == 0)
                        read_clock_as_linux_does(r);
        }
        return NULL;
}

START_TEST(test_reader_on_another_core_never_sees_two_mixed) {
        int64_t until = clock_now_ns(CLOCK_MONOTONIC) + LIMIT_NS;
        Reader reader = { .map = map_again() };
        /* valgrind runs one thread at a time, and slowly: there it is about memory */
        bool is_quick = getenv("SUSPENDD_TEST_QUICK"); /* NOLINT(concurrency-mt-unsafe) */
        uint64_t n = 0, n_rewrites = is_quick ? REWRITES / 10 : REWRITES;
        pthread_t thread;

        write_both(n);
        ck_assert_int_eq(pthread_create(&thread, NULL, read_for_ever, &reader), 0);
        /* and until they did run beside each other */
        while ((n < n_rewrites || __atomic_load_n(&reader.n_records, __ATOMIC_RELAXED) <= 100 ||
                __atomic_load_n(&reader.n_clocks, __ATOMIC_RELAXED) <= 100) &&
               clock_now_ns(CLOCK_MONOTONIC) < until)
                write_both(++n);
        __atomic_store_n(&reader.is_over, true, __ATOMIC_RELEASE);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        printf("%llu written; read whole: %llu records, %llu clocks; given up: %llu\n",
               (unsigned long long) n,
               (unsigned long long) reader.n_records,
               (unsigned long long) reader.n_clocks,
               (unsigned long long) reader.n_not_whole);

        ck_assert_uint_ge(n, n_rewrites);
        ck_assert_uint_eq(reader.n_torn, 0);
        ck_assert_uint_eq(reader.n_back, 0);
        ck_assert_uint_gt(reader.n_records, 100);
        ck_assert_uint_gt(reader.n_clocks, 100);
        ck_assert_int_eq(munmap((void *) (uintptr_t) reader.map, PAGE_SIZE_BYTES), 0);
}
END_TEST

/* the owner */

START_TEST(test_page_is_its_owners_alone) {
        struct stat st;

        ck_assert_int_eq(stat(scratch_path("vm"), &st), 0);
        ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
        ck_assert_int_eq(st.st_size, PAGE_SIZE_BYTES);
        ck_assert_uint_eq(st.st_nlink, 1);
        ck_assert_uint_eq(scratch_count(), 1);

        if (geteuid() == 0) {
                Page *other;
                uid_t owner;

                ck_assert_int_eq(page_create(directory, "theirs", scratch_fd, &other), 0);
                ck_assert_int_eq(page_appear(other, directory, "theirs", 4711), 0);
                ck_assert_int_eq(stat(scratch_path("theirs"), &st), 0);
                ck_assert_uint_eq(st.st_uid, 0);
                ck_assert_uint_eq(st.st_mode, S_IFREG | 0660); /* by an ACL */
                ck_assert_int_eq(page_owner(other, &owner), 0);
                ck_assert_uint_eq(owner, 4711);
                page_free(other);
        }
}
END_TEST

START_TEST(test_what_is_there_is_not_replaced) {
        Page *other;

        scratch_write("taken", "mine");
        ck_assert_int_eq(page_create(directory, "taken", scratch_fd, &other), 0);
        ck_assert_int_eq(page_appear(other, directory, "taken", geteuid()), -EEXIST);
        page_free(other);
        ck_assert_uint_eq(scratch_count(), 2);
        ck_assert_int_eq(faccessat(directory, ".taken", F_OK, 0), -1);

        /* A life that ended in the middle left this; it may even be a link. */
        ck_assert_int_eq(symlink("taken", scratch_path(".new")), 0);
        ck_assert_int_eq(page_create(directory, "new", scratch_fd, &other), 0);
        ck_assert_int_eq(page_appear(other, directory, "new", geteuid()), 0);
        page_free(other);
}
END_TEST

START_TEST(test_truncated_page_is_an_error_and_no_signal) {
        DriftRecord record = record_of(1), read;
        const void *map = map_again();
        DriftAnswer answer;

        write_both(1);
        ck_assert_int_eq(truncate(scratch_path("vm"), 0), 0);
        ck_assert_int_eq(page_write_drift(page, &record), -EFAULT);
        ck_assert_int_eq(page_read_answer(page, &answer), 0);
        ck_assert_int_eq(truncate(scratch_path("vm"), DRIFT_OFFSET + 16), 0);
        ck_assert_int_eq(page_read_answer(page, &answer), 0);

        /* Whoever makes it whole again has it again. */
        ck_assert_int_eq(truncate(scratch_path("vm"), PAGE_SIZE_BYTES), 0);
        write_both(2);
        ck_assert_int_eq(page_read_drift(map, &read), PAGE_OK);
        ck_assert_uint_eq(read.publishings, 2);
        ck_assert_int_eq(munmap((void *) (uintptr_t) map, PAGE_SIZE_BYTES), 0);
}
END_TEST

/* An owner who does nothing else, while the page is written. */
static void spoil_for_ever(void) {
        int fd = open(scratch_path("vm"), O_RDWR | O_CLOEXEC);

        for (;;) {
                (void) !ftruncate(fd, 0);
                (void) !ftruncate(fd, PAGE_SIZE_BYTES);
                (void) fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
        }
}

START_TEST(test_owner_who_truncates_all_the_time_harms_nobody) {
        unsigned n_written = 0, n_refused = 0;
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (pid == 0)
                spoil_for_ever();
        for (uint64_t n = 0; (n < 20000 || !n_written || !n_refused) && n < 1000000; n++) {
                DriftRecord record = record_of(n);
                int r = page_write_drift(page, &record);

                ck_assert(r == 0 || r == -EFAULT);
                n_written += r == 0;
                n_refused += r != 0;
        }
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        printf("written %u times, refused %u times\n", n_written, n_refused);
        ck_assert_uint_gt(n_written, 0);
        ck_assert_uint_gt(n_refused, 0);
}
END_TEST

/*
 * Where a write() takes its bytes from, and where reading them waits until somebody allows it: as a file on a
 * FUSE mount of the owner's own does. Returns: its userfaultfd; a negative errno where there is none.
 */
static int memory_that_waits(void **ret) {
        struct uffdio_api api = { .api = UFFD_API };
        struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
        int fd = (int) syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

        if (fd < 0)
                return -errno;
        *ret = mmap(NULL,
                    PAGE_SIZE_BYTES,
                    PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS,
                    -1,
                    0);
        ck_assert_ptr_ne(*ret, MAP_FAILED);
        range.range.start = (uintptr_t) *ret;
        range.range.len = PAGE_SIZE_BYTES;
        ck_assert_int_eq(ioctl(fd, UFFDIO_API, &api), 0);
        ck_assert_int_eq(ioctl(fd, UFFDIO_REGISTER, &range), 0);
        return fd;
}

typedef struct Writer {
        int fd;
        const void *bytes;
        ssize_t n;
} Writer;

static void *write_at_last(void *userdata) {
        Writer *w = userdata;

        w->n = pwrite(w->fd, w->bytes, PAGE_SIZE_BYTES, 0);
        return NULL;
}

/* The inode's lock is his for as long as his write() waits. */
START_TEST(test_owner_who_holds_the_inode_is_not_waited_for) {
        struct uffdio_zeropage allowed = { 0 };
        char folder[] = "/dev/shm/suspendd-test-XXXXXX";
        struct pollfd waits = { .events = POLLIN };
        Writer writer = { 0 };
        const char *why = "";
        void *memory = NULL;
        DriftAnswer answer;
        pthread_t thread;

        waits.fd = memory_that_waits(&memory);
        if (waits.fd < 0) {
                printf("no userfaultfd here\n");
                return;
        }
        page_free(page);
        ck_assert_ptr_nonnull(mkdtemp(folder));
        (void) close(directory);
        directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ck_assert_int_eq(page_create(directory, "vm", scratch_fd, &page), 0);
        ck_assert_int_eq(page_appear(page, directory, "vm", geteuid()), 0);

        writer = (Writer){ .fd = openat(directory, "vm", O_RDWR | O_CLOEXEC), .bytes = memory };
        ck_assert_int_eq(pthread_create(&thread, NULL, write_at_last, &writer), 0);
        ck_assert_int_eq(poll(&waits, 1, 10000), 1);
        ck_assert_int_eq(waits.revents, POLLIN);
        write_both(1);
        ck_assert_int_eq(page_read_answer(page, &answer), 0);
        page = page_free(page);
        ck_assert_int_eq(page_unlink(directory, "vm"), -EBUSY);
        ck_assert_int_eq(page_open(directory, "vm", scratch_fd, &page, &why), 0);

        allowed.range.start = (uintptr_t) memory;
        allowed.range.len = PAGE_SIZE_BYTES;
        ck_assert_int_eq(ioctl(waits.fd, UFFDIO_ZEROPAGE, &allowed), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_int_eq(writer.n, PAGE_SIZE_BYTES);
        ck_assert_int_eq(unlinkat(directory, "vm", 0), 0);
        ck_assert_int_eq(rmdir(folder), 0);
        (void) close(writer.fd);
        (void) close(waits.fd);
        (void) munmap(memory, PAGE_SIZE_BYTES);
}
END_TEST

START_TEST(test_page_that_somebody_has_open_is_not_removed) {
        int fd = open(scratch_path("vm"), O_RDWR | O_CLOEXEC);
        void *map;

        page = page_free(page);
        ck_assert_int_eq(page_unlink(directory, "vm"), -EBUSY);
        map = mmap(NULL, PAGE_SIZE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ck_assert_ptr_ne(map, MAP_FAILED);
        (void) close(fd);
        ck_assert_int_eq(page_unlink(directory, "vm"), -EBUSY);
        ck_assert_int_eq(munmap(map, PAGE_SIZE_BYTES), 0);
        ck_assert_int_eq(page_unlink(directory, "vm"), 0);
        ck_assert_int_eq(page_unlink(directory, "vm"), -ENOENT);
        ck_assert_int_eq(symlink("nowhere", scratch_path("link")), 0);
        ck_assert_int_eq(page_unlink(directory, "link"), 0);
        ck_assert_uint_eq(scratch_count(), 0);
}
END_TEST

/* Whoever opens it while we have the lease makes the kernel send a signal. */
START_TEST(test_removing_survives_those_who_open_it_meanwhile) {
        unsigned n_busy = 0;
        pid_t pid;

        page = page_free(page);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0)
                for (;;)
                        (void) close(open(scratch_path("vm"), O_RDWR | O_CLOEXEC | O_NONBLOCK));
        for (unsigned i = 0; i < 5000; i++) {
                int r = page_unlink(directory, "vm");

                ck_assert(r == 0 || r == -EBUSY || r == -ENOENT);
                n_busy += r == -EBUSY;
                if (r == 0)
                        scratch_write("vm", "page");
        }
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        printf("busy %u times\n", n_busy);
}
END_TEST

START_TEST(test_page_that_is_gone_can_be_written) {
        ck_assert_int_eq(unlink(scratch_path("vm")), 0);
        scratch_write("vm", "another file");
        write_both(1);
        ck_assert_int_eq(unlink(scratch_path("vm")), 0);
        write_both(2);
}
END_TEST

/* taking over */

static int open_page(const char *name, const char **ret_why) {
        Page *p = NULL;
        int r = page_open(directory, name, scratch_fd, &p, ret_why);

        page_free(p);
        return r;
}

#define ASSERT_REFUSED(_name, _part)                                       \
        do {                                                               \
                const char *_why = "";                                     \
                ck_assert_int_lt(open_page(_name, &_why), 0);              \
                ck_assert_msg(strstr(_why, _part), "%s: %s", _name, _why); \
        } while (false)

START_TEST(test_page_of_an_earlier_life_is_taken_over) {
        const char *why = "";

        ck_assert_int_eq(open_page("vm", &why), 0);
        /* libvirt's and QEMU's memory devices are larger, and the file grows with them. */
        ck_assert_int_eq(truncate(scratch_path("vm"), 4 << 20), 0);
        ck_assert_int_eq(open_page("vm", &why), 0);
        ck_assert_int_eq(open_page("none", &why), -ENOENT);
}
END_TEST

START_TEST(test_anything_else_is_refused_by_name) {
        ck_assert_int_eq(symlink("vm", scratch_path("link")), 0);
        ASSERT_REFUSED("link", "symbolic link");
        ck_assert_int_eq(mkfifo(scratch_path("fifo"), 0600), 0);
        ASSERT_REFUSED("fifo", "regular");
        ck_assert_int_eq(mkdir(scratch_path("folder"), 0700), 0);
        ASSERT_REFUSED("folder", "opened");
        ck_assert_int_eq(truncate(scratch_path("vm"), 100), 0);
        ASSERT_REFUSED("vm", "size");
        ck_assert_int_eq(truncate(scratch_path("vm"), 0), 0);
        ASSERT_REFUSED("vm", "size");
        ck_assert_int_eq(truncate(scratch_path("vm"), INT64_C(1) << 40), 0);
        ASSERT_REFUSED("vm", "large");
        ck_assert_int_eq(truncate(scratch_path("vm"), PAGE_SIZE_BYTES), 0);
        ck_assert_int_eq(chmod(scratch_path("vm"), 0666), 0);
        ASSERT_REFUSED("vm", "mode");
        ck_assert_int_eq(chmod(scratch_path("vm"), 04600), 0);
        ASSERT_REFUSED("vm", "mode");
        ck_assert_int_eq(chmod(scratch_path("vm"), 0600), 0);
        ck_assert_int_eq(link(scratch_path("vm"), scratch_path("second")), 0);
        ASSERT_REFUSED("vm", "more than one name");
}
END_TEST

/* A lease that somebody else holds would have open() wait for him. */
START_TEST(test_lease_is_not_waited_for) {
        int pipes[2];
        char byte;
        pid_t pid;

        ck_assert_int_eq(pipe(pipes), 0);
        page = page_free(page);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                int fd = open(scratch_path("vm"), O_RDWR | O_CLOEXEC);

                (void) signal(SIGIO, SIG_IGN);
                byte = fcntl(fd, F_SETLEASE, F_WRLCK) == 0 ? 1 : 0;
                (void) !write(pipes[1], &byte, 1);
                (void) pause();
                _exit(0);
        }
        ck_assert_int_eq(read(pipes[0], &byte, 1), 1);
        ck_assert_int_eq(byte, 1);
        ASSERT_REFUSED("vm", "opened");
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        (void) close(pipes[0]);
        (void) close(pipes[1]);
}
END_TEST

/* answers */

START_TEST(test_answer_is_read_and_garbage_is_none) {
        static const DriftAnswer written = { ANSWER_MAGIC, 1, 2, 3, 4, 5 };
        void *map = (void *) (uintptr_t) map_again();
        DriftAnswer answer;

        ck_assert_int_eq(page_read_answer(page, &answer), 0);
        page_write_answer(map, &written);
        ck_assert_int_eq(page_read_answer(page, &answer), 1);
        ck_assert_mem_eq(&answer, &written, sizeof(answer));
        memset(map, 0xff, PAGE_SIZE_BYTES);
        ck_assert_int_eq(page_read_answer(page, &answer), 0);
        ck_assert_int_eq(munmap(map, PAGE_SIZE_BYTES), 0);
}
END_TEST

int main(void) {
        TCase *tcase = tcase_create("page-file");

        tcase_set_timeout(tcase, 90);
        tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_add_test(tcase, test_reader_on_another_core_never_sees_two_mixed);
        tcase_add_test(tcase, test_page_is_its_owners_alone);
        tcase_add_test(tcase, test_what_is_there_is_not_replaced);
        tcase_add_test(tcase, test_truncated_page_is_an_error_and_no_signal);
        tcase_add_test(tcase, test_owner_who_truncates_all_the_time_harms_nobody);
        tcase_add_test(tcase, test_owner_who_holds_the_inode_is_not_waited_for);
        tcase_add_test(tcase, test_page_that_somebody_has_open_is_not_removed);
        tcase_add_test(tcase, test_removing_survives_those_who_open_it_meanwhile);
        tcase_add_test(tcase, test_page_that_is_gone_can_be_written);
        tcase_add_test(tcase, test_page_of_an_earlier_life_is_taken_over);
        tcase_add_test(tcase, test_anything_else_is_refused_by_name);
        tcase_add_test(tcase, test_lease_is_not_waited_for);
        tcase_add_test(tcase, test_answer_is_read_and_garbage_is_none);
        return scratch_run(tcase, "page-file");
}
