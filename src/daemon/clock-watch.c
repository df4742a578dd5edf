/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/clock-watch.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include "common/time-util.h"
#include "daemon/log.h"

/* Below this, two samples of the same clocks may differ by the way in which they are read. */
#define NOISE_NS (100 * NSEC_PER_USEC)

struct ClockWatch {
        ClockWatchFn on_jump;
        void *userdata;
        int fd;
        sd_event_source *source;
        ClockSample last;
};

static int clock_watch_arm(ClockWatch *w) {
        /* Never due: nobody sets a clock to the end of time_t. */
        const struct itimerspec never = { .it_value.tv_sec = INT64_MAX / NSEC_PER_SEC };

        if (timerfd_settime(w->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0)
                return -errno;
        return 0;
}

static int64_t without_noise(int64_t ns) {
        return ns > -NOISE_NS && ns < NOISE_NS ? 0 : ns;
}

static int on_timer(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        ClockWatch *w = userdata;
        int64_t slept_ns, stepped_ns;
        ClockSample now;
        uint64_t n;
        int r;

        (void) s;
        (void) revents;
        if (read(fd, &n, sizeof(n)) < 0 && errno == EAGAIN)
                return 0;

        /* Armed first: what jumps after the sample cancels it again. */
        r = clock_watch_arm(w);
        if (r < 0)
                (void) log_error_errno(r, "Cannot watch the clock any more");
        clock_sample_take(&now);
        slept_ns = without_noise(clock_sample_slept_ns(&w->last, &now));
        stepped_ns = without_noise(clock_sample_stepped_ns(&w->last, &now));
        w->last = now;

        if (slept_ns != 0 || stepped_ns != 0)
                w->on_jump(w->userdata, slept_ns, stepped_ns);
        return 0;
}

int clock_watch_new(sd_event *event, ClockWatchFn on_jump, void *userdata, ClockWatch **ret) {
        _cleanup_(clock_watch_freep) ClockWatch *w = NULL;
        int r;

        w = malloc(sizeof(*w));
        if (!w)
                return -ENOMEM;
        *w = (ClockWatch){ .on_jump = on_jump, .userdata = userdata };

        w->fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
        if (w->fd < 0)
                return -errno;
        r = clock_watch_arm(w);
        if (r < 0)
                return r;
        clock_sample_take(&w->last);

        r = sd_event_add_io(event, &w->source, w->fd, EPOLLIN, on_timer, w);
        if (r < 0)
                return r;
        (void) sd_event_source_set_priority(w->source, SD_EVENT_PRIORITY_IMPORTANT);
        (void) sd_event_source_set_description(w->source, "clock-watch");

        *ret = TAKE_PTR(w);
        return 0;
}

ClockWatch *clock_watch_free(ClockWatch *w) {
        if (!w)
                return NULL;

        sd_event_source_disable_unref(w->source);
        closep(&w->fd);
        free(w);
        return NULL;
}

/* what the kernel counted */

/* Reads the first line of a small file. Returns: its length; -1. */
static ssize_t read_line(const char *directory, const char *name, char *buf, size_t size) {
        _cleanup_close_ int fd = -1;
        char path[256];
        ssize_t n;

        if ((size_t) snprintf(path, sizeof(path), "%s/%s", directory, name) >= sizeof(path))
                return -1;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -1;
        n = read(fd, buf, size - 1);
        if (n < 0)
                return -1;

        buf[n] = 0;
        buf[strcspn(buf, "\n")] = 0;
        return (ssize_t) strlen(buf);
}

static int64_t read_count(const char *directory, const char *name) {
        char buf[32], *end;
        int64_t n;

        if (read_line(directory, name, buf, sizeof(buf)) <= 0)
                return -1;
        errno = 0;
        n = strtoll(buf, &end, 10);
        return errno != 0 || *end || n < 0 ? -1 : n;
}

void suspend_stats_read_from(const char *directory, SuspendStats *ret) {
        *ret = (SuspendStats){
                .success = read_count(directory, "success"),
                .fail = read_count(directory, "fail"),
        };
        if (read_line(directory,
                      "last_failed_step",
                      ret->last_failed_step,
                      sizeof(ret->last_failed_step)) < 0)
                ret->last_failed_step[0] = 0;
}

void suspend_stats_read(SuspendStats *ret) {
        suspend_stats_read_from("/sys/power/suspend_stats", ret);
}
