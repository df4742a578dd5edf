/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sleep clock
 *
 * In the lab the host only seems to sleep, so CLOCK_MONOTONIC runs on. For a
 * process with this as its LD_PRELOAD it stands still meanwhile, as it does on
 * a host that really sleeps: CLOCK_BOOTTIME - CLOCK_MONOTONIC grows by the sleep,
 * and timers on CLOCK_MONOTONIC do not elapse in it. Its CLOCK_REALTIME is as far from the
 * real one as it was set by, and a timer that is cancelled when that clock is set is
 * cancelled then, and after a sleep. CLOCK_BOOTTIME is the real one.
 *
 * The state is one line of /run/lab/clock: how long all sleeps were, and since when
 * one lasts (0: none), in ns of the real CLOCK_MONOTONIC; and by how many ns CLOCK_REALTIME
 * was set. Built as a program (-DPROGRAM) it writes that line: "sleepclock begin",
 * "sleepclock end", "sleepclock step NS".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define STATE "/run/lab/clock"
#define NS 1000000000LL
#define POLL_NS (20 * 1000 * 1000LL)

typedef struct State {
        long long slept_ns, since_ns, stepped_ns;
} State;

static long long real_monotonic_ns(void) {
        struct timespec ts;

        (void) syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts);
        return ts.tv_sec * NS + ts.tv_nsec;
}

static State read_state(void) {
        int saved = errno, fd = open(STATE, O_RDONLY | O_CLOEXEC);
        char line[64] = "", *end;
        State s;

        if (fd >= 0) {
                (void) !read(fd, line, sizeof(line) - 1);
                close(fd);
        }
        s.slept_ns = strtoll(line, &end, 10);
        s.since_ns = strtoll(end, &end, 10);
        s.stepped_ns = strtoll(end, NULL, 10);
        errno = saved;
        return s;
}

#ifdef PROGRAM

int main(int argc, char **argv) {
        State s = read_state();
        FILE *f;

        if (argc < 2)
                return EXIT_FAILURE;
        if (strcmp(argv[1], "step") == 0)
                s.stepped_ns += argc == 3 ? strtoll(argv[2], NULL, 10) : 0;
        else if (strcmp(argv[1], "begin") == 0)
                s.since_ns = real_monotonic_ns();
        else if (s.since_ns) {
                s.slept_ns += real_monotonic_ns() - s.since_ns;
                s.since_ns = 0;
        }
        f = fopen(STATE ".new", "we");
        if (!f || fprintf(f, "%lld %lld %lld\n", s.slept_ns, s.since_ns, s.stepped_ns) < 0 ||
            fclose(f) != 0)
                return EXIT_FAILURE;
        return rename(STATE ".new", STATE) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

#else

#define FD_MAX 1024

/* Which descriptors are timers on CLOCK_MONOTONIC. */
static char is_monotonic[FD_MAX];
/* Which of them are cancelled when CLOCK_REALTIME is set or a sleep ends, and the sum of both when they were armed. */
static char is_watch[FD_MAX];
static long long watched_ns[FD_MAX];

static struct timespec to_timespec(long long ns) {
        return (struct timespec){ .tv_sec = ns / NS, .tv_nsec = ns % NS };
}

int clock_gettime(clockid_t clock, struct timespec *ret) {
        long long ns;
        State s;

        if (syscall(SYS_clock_gettime, clock, ret) < 0)
                return -1;
        if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
                *ret = to_timespec(ret->tv_sec * NS + ret->tv_nsec + read_state().stepped_ns);
                return 0;
        }
        if (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE &&
            clock != CLOCK_MONOTONIC_RAW)
                return 0;
        ns = ret->tv_sec * NS + ret->tv_nsec;
        s = read_state();
        if (s.since_ns && ns > s.since_ns)
                ns = s.since_ns;
        *ret = to_timespec(ns - s.slept_ns);
        return 0;
}

int timerfd_create(clockid_t clock, int flags) {
        int fd = syscall(SYS_timerfd_create, clock, flags);

        if (fd >= 0 && fd < FD_MAX) {
                is_monotonic[fd] = clock == CLOCK_MONOTONIC;
                is_watch[fd] = 0;
        }
        return fd;
}

/* A sleep has no end that is known; a timer armed in it looks again and again whether it is over. */
int timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *ret_old) {
        struct itimerspec moved = *value;
        long long due_ns = value->it_value.tv_sec * NS + value->it_value.tv_nsec;
        State s;

        if (fd >= 0 && fd < FD_MAX && (flags & TFD_TIMER_CANCEL_ON_SET)) {
                is_watch[fd] = 1;
                s = read_state();
                watched_ns[fd] = s.stepped_ns + s.slept_ns;
                moved.it_value = moved.it_interval = to_timespec(POLL_NS);
                return syscall(SYS_timerfd_settime, fd, 0, &moved, ret_old);
        }
        if (fd >= 0 && fd < FD_MAX && is_monotonic[fd] && (flags & TFD_TIMER_ABSTIME) &&
            due_ns > 0) {
                s = read_state();
                if (s.since_ns)
                        moved.it_value = to_timespec(real_monotonic_ns() + POLL_NS);
                else
                        moved.it_value = to_timespec(due_ns + s.slept_ns);
        }
        return syscall(SYS_timerfd_settime, fd, flags, &moved, ret_old);
}

/* A watch fires to look whether that has happened; it was not due in any case. */
ssize_t read(int fd, void *buf, size_t size) {
        ssize_t n = syscall(SYS_read, fd, buf, size);
        State s;

        if (fd < 0 || fd >= FD_MAX || !is_watch[fd] || n < 0)
                return n;
        s = read_state();
        errno = s.stepped_ns + s.slept_ns != watched_ns[fd] ? ECANCELED : EAGAIN;
        return -1;
}

/* Numbers are given again. */
int close(int fd) {
        if (fd >= 0 && fd < FD_MAX)
                is_watch[fd] = is_monotonic[fd] = 0;
        return syscall(SYS_close, fd);
}

#endif
