/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/clock.h"
#include <limits.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <time.h>
#include "guest/util.h"

#define TRIES 16
#define BRACKET_NS 2000

static int64_t clock_ns(clockid_t id) {
        struct timespec t = { 0 };

        (void) clock_gettime(id, &t);
        return (int64_t) t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

void clock_read(GuestClocks *ret) {
        int64_t best = INT64_MAX;

        /* We may be interrupted between two clocks: the closest pair counts. */
        for (int i = 0; i < TRIES && best > BRACKET_NS; i++) {
                int64_t before = clock_ns(CLOCK_BOOTTIME), realtime = clock_ns(CLOCK_REALTIME);
                int64_t after = clock_ns(CLOCK_BOOTTIME), monotonic = clock_ns(CLOCK_MONOTONIC);

                if (after - before >= best)
                        continue;
                best = after - before;
                ret->boottime_ns = after;
                ret->wall_ns = realtime - (before + best / 2);
                ret->slept_ns = after - monotonic;
        }
}

int clock_step(int64_t ns) {
        struct timex t = { 0 };
        bool was_nano;

        if (clock_adjtime(CLOCK_REALTIME, &t) < 0)
                return -errno;
        was_nano = t.status & STA_NANO;

        t = (struct timex){ .modes = ADJ_SETOFFSET | ADJ_NANO };
        t.time.tv_sec = ns / NSEC_PER_SEC;
        t.time.tv_usec = ns % NSEC_PER_SEC;
        if (t.time.tv_usec < 0) {
                t.time.tv_sec--;
                t.time.tv_usec += NSEC_PER_SEC;
        }
        if (clock_adjtime(CLOCK_REALTIME, &t) < 0)
                return -errno;

        /* The unit sticks, and is not ours to choose for whoever steers this clock. */
        if (!was_nano) {
                t = (struct timex){ .modes = ADJ_MICRO };
                (void) clock_adjtime(CLOCK_REALTIME, &t);
        }
        return 0;
}

int clock_watch_open(void) {
        int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);

        if (fd < 0)
                return -errno;
        clock_watch_rearm(fd);
        return fd;
}

void clock_watch_rearm(int fd) {
        /* As late as every kernel takes it. */
        const struct itimerspec never = { .it_value.tv_sec = INT32_MAX };
        uint64_t n;

        (void) !read(fd, &n, sizeof(n));
        (void) timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL);
}
