/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Page tool
 *
 * Reads a drift page in the lab's guest, by the published rules (common/page-layout.h) and nothing else.
 *
 *   page-tool show PAGE
 *       one line of the record, one of the VMClock part
 *   page-tool spin PAGE PROGRESS
 *       reads page and clock again and again, and tells in PROGRESS (memory that the host sees) which sample
 *       is under way, so that the host knows of each sample whether it began before a stop or after
 *   page-tool watch DEVICE poll|read
 *       a line for each move of the disruption marker: woken by poll(), or seen by read() each 2 ms
 *   page-tool check PAGE STEPS SECONDS
 *       reads while the host writes with host_stepped_ns counting up by STEPS; in each record the clocks follow
 *       from that number, so a torn one shows. DEVICE's own read() is checked as well where it has one
 *
 * PAGE is /dev/vmclock0, a resource2 of sysfs, or a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "common/page-layout.h"

#define PROGRESS_MAGIC UINT64_C(0x31534552474f5250) /* "PROGRES1" */
#define N_CHANGES 200
#define TORN_SHOWN 10
/* What the host's writer makes of its step, see tests/plugins/page-by-hint.c. */
#define STEP_NS 1000003
#define STEP_BOOTTIME_NS 17

/* What a spinning reader tells the host. */
typedef struct Progress {
        uint64_t magic;
        uint64_t begun, done; /* samples */
        uint64_t errors;
        uint64_t n_changes;
        uint64_t longest_ns; /* between two samples, by CLOCK_MONOTONIC */
        struct Change {
                uint64_t sample, unseen_ns, publishings, monotonic_ns;
        } changes[N_CHANGES];
} Progress;

_Static_assert(sizeof(Progress) <= 2 * PAGE_SIZE_BYTES, "it fits into its memory");

static int64_t now_ns(clockid_t clock) {
        struct timespec ts;

        (void) clock_gettime(clock, &ts);
        return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void *map_file(const char *path, size_t size, bool writable) {
        int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
        void *map = MAP_FAILED;

        if (fd >= 0)
                map = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) {
                fprintf(stderr, "%s: %s\n", path, strerror(errno));
                exit(EXIT_FAILURE);
        }
        return map;
}

static int show(char **arguments) {
        const void *page = map_file(arguments[0], PAGE_SIZE_BYTES, false);
        VmclockPage clock;
        DriftRecord record;
        int r;

        r = page_read_drift(page, &record);
        if (r == PAGE_OK)
                printf("record epoch=%llx cycles=%llu unseen=%llu seen=%llu flags=%u publishings=%llu\n",
                       (unsigned long long) record.epoch,
                       (unsigned long long) record.cycles,
                       (unsigned long long) record.unseen_ns,
                       (unsigned long long) record.seen_ns,
                       record.flags,
                       (unsigned long long) record.publishings);
        else
                printf("record error=%d\n", r);
        r = page_read_vmclock(page, &clock);
        if (r == PAGE_OK)
                printf("vmclock sequence=%u marker=%llu counter=%u flags=%llx status=%u\n",
                       clock.sequence,
                       (unsigned long long) clock.disruption_marker,
                       clock.counter_id,
                       (unsigned long long) clock.flags,
                       clock.clock_status);
        else
                printf("vmclock error=%d\n", r);
        return EXIT_SUCCESS;
}

static void note_change(Progress *progress, uint64_t sample, const DriftRecord *record) {
        uint64_t n = progress->n_changes;

        if (n < N_CHANGES)
                progress->changes[n] = (struct Change){
                        .sample = sample,
                        .unseen_ns = record->unseen_ns,
                        .publishings = record->publishings,
                        .monotonic_ns = (uint64_t) now_ns(CLOCK_MONOTONIC),
                };
        __atomic_store_n(&progress->n_changes, n + 1, __ATOMIC_RELEASE);
}

__attribute__((noreturn)) static int spin(char **arguments) {
        const void *page = map_file(arguments[0], PAGE_SIZE_BYTES, false);
        Progress *progress = map_file(arguments[1], sizeof(*progress), true);
        DriftRecord record, last = { 0 };
        int64_t before_ns = now_ns(CLOCK_MONOTONIC), after_ns;

        progress->begun = progress->done = progress->errors = 0;
        progress->n_changes = progress->longest_ns = 0;
        __atomic_store_n(&progress->magic, PROGRESS_MAGIC, __ATOMIC_SEQ_CST);
        for (uint64_t i = 1;; i++) {
                __atomic_store_n(&progress->begun, i, __ATOMIC_SEQ_CST);
                if (page_read_drift(page, &record) != PAGE_OK) {
                        progress->errors++;
                        record = last;
                }
                after_ns = now_ns(CLOCK_MONOTONIC);
                if (after_ns - before_ns > (int64_t) progress->longest_ns)
                        progress->longest_ns = (uint64_t) (after_ns - before_ns);
                before_ns = after_ns;
                if (record.unseen_ns != last.unseen_ns || record.epoch != last.epoch)
                        note_change(progress, i, &record);
                last = record;
                __atomic_store_n(&progress->done, i, __ATOMIC_SEQ_CST);
        }
}

static int watch(char **arguments) {
        bool polls = strcmp(arguments[1], "poll") == 0;
        int fd = open(arguments[0], O_RDONLY | O_CLOEXEC);
        uint64_t marker = 0;
        char page[PAGE_SIZE_BYTES];

        for (unsigned n = 0;; n++) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                VmclockPage clock;

                if (pread(fd, page, sizeof(page), 0) != sizeof(page)) {
                        printf("error %s\n", strerror(errno));
                        return EXIT_FAILURE;
                }
                memcpy(&clock, page, sizeof(clock));
                if (n == 0 || clock.disruption_marker != marker)
                        printf("marker %llu at %lld\n",
                               (unsigned long long) clock.disruption_marker,
                               (long long) now_ns(CLOCK_MONOTONIC));
                marker = clock.disruption_marker;
                fflush(stdout);
                if (!polls)
                        usleep(2000);
                else if (poll(&p, 1, -1) < 0 || (p.revents & ~POLLIN)) {
                        printf("error poll %#x\n", p.revents);
                        return EXIT_FAILURE;
                }
        }
}

/* One that the host wrote with a step, and whole. */
static bool is_whole(const DriftRecord *record, int64_t step) {
        return record->host_realtime_ns == step * STEP_NS &&
               record->host_boottime_ns == record->host_realtime_ns + STEP_BOOTTIME_NS;
}

typedef struct Checked {
        uint64_t n_records, n_clocks, n_reads; /* that were whole */
        uint64_t n_torn, n_moving, n_errors, n_different;
        int64_t base; /* of the publishings, less the step */
        uint64_t clock_base;
        int64_t stepped_before_ns; /* what the page told before the first step */
        int64_t step;
} Checked;

/* Each writing moves the marker. */
static bool is_clock_whole(Checked *checked, const VmclockPage *clock, const char *by) {
        if (clock->sequence / 2 - clock->disruption_marker == checked->clock_base)
                return true;
        if (checked->n_torn++ < TORN_SHOWN)
                printf("torn clock by %s: sequence %u marker %llu base %lld\n",
                       by,
                       clock->sequence,
                       (unsigned long long) clock->disruption_marker,
                       (long long) checked->clock_base);
        return false;
}

/* By its mapping: the record's parts fit each other, and so do the VMClock part's. */
static void check_mapping(Checked *checked, const void *page) {
        VmclockPage clock;
        DriftRecord record;

        if (page_read_drift(page, &record) != PAGE_OK)
                checked->n_moving++;
        else if (record.host_stepped_ns > checked->stepped_before_ns) {
                int64_t step = record.host_stepped_ns - checked->stepped_before_ns;
                int64_t base = (int64_t) record.publishings - step;

                if (checked->n_records == 0)
                        checked->base = base;
                if (step != checked->step)
                        checked->n_different++;
                checked->step = step;
                if (is_whole(&record, step) && base == checked->base)
                        checked->n_records++;
                else if (checked->n_torn++ < TORN_SHOWN)
                        printf("torn record step %lld realtime %lld boottime %lld publishings %llu\n",
                               (long long) step,
                               (long long) record.host_realtime_ns,
                               (long long) record.host_boottime_ns,
                               (unsigned long long) record.publishings);
        }
        if (page_read_vmclock(page, &clock) != PAGE_OK)
                checked->n_moving++;
        else if (is_clock_whole(checked, &clock, "mapped"))
                checked->n_clocks++;
}

/* By the driver's own read(), which looks at the VMClock part's sequence alone. */
static void check_read(Checked *checked, int fd) {
        VmclockPage clock;

        if (pread(fd, &clock, sizeof(clock), 0) != sizeof(clock))
                checked->n_errors++;
        else if (is_clock_whole(checked, &clock, "driver"))
                checked->n_reads++;
}

static int check(char **arguments) {
        const void *page = map_file(arguments[0], PAGE_SIZE_BYTES, false);
        int fd = strncmp(arguments[0], "/dev/", 5) == 0 ? open(arguments[0], O_RDONLY | O_CLOEXEC)
                                                        : -1;
        int64_t steps = atoll(arguments[1]);
        int64_t end_ns = now_ns(CLOCK_MONOTONIC) + atoll(arguments[2]) * 1000000000;
        Checked checked = { 0 };
        DriftRecord record;
        VmclockPage clock;

        if (page_read_vmclock(page, &clock) != PAGE_OK || page_read_drift(page, &record) != PAGE_OK)
                return EXIT_FAILURE;
        checked.stepped_before_ns = record.host_stepped_ns;
        checked.clock_base = clock.sequence / 2 - clock.disruption_marker;
        puts("ready");
        fflush(stdout);
        while (checked.step < steps && now_ns(CLOCK_MONOTONIC) < end_ns) {
                check_mapping(&checked, page);
                if (fd >= 0)
                        check_read(&checked, fd);
        }
        printf("step %lld records %llu different %llu clocks %llu reads %llu torn %llu moving %llu errors %llu\n",
               (long long) checked.step,
               (unsigned long long) checked.n_records,
               (unsigned long long) checked.n_different,
               (unsigned long long) checked.n_clocks,
               (unsigned long long) checked.n_reads,
               (unsigned long long) checked.n_torn,
               (unsigned long long) checked.n_moving,
               (unsigned long long) checked.n_errors);
        return EXIT_SUCCESS;
}

static const struct {
        const char *name;
        int n_arguments;
        int (*run)(char **arguments);
} commands[] = {
        { "show", 1, show },
        { "spin", 2, spin },
        { "watch", 2, watch },
        { "check", 3, check },
};

int main(int argc, char **argv) {
        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
                if (argc == commands[i].n_arguments + 2 && strcmp(argv[1], commands[i].name) == 0)
                        return commands[i].run(argv + 2);
        fprintf(stderr, "see page-tool.c\n");
        return EXIT_FAILURE;
}
