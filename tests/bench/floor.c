/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * floor PATTERN
 *
 * The least that stopping N QEMUs can cost: the command written to all monitors at once, then
 * waiting for the event of each, without a parser. Every socket that matches the shell pattern is
 * connected once, at the start. On stdin:
 *
 *   stop | cont         acts, and prints "done N ELAPSED_NS LAST_NS": how many STOP or RESUME events
 *                       came, the time from before the first write until the last had been read, and
 *                       until QEMU's own stamp of the last
 *   clear               forgets the events up to now
 *   last STOP | RESUME  prints "last N LAST_NS": on how many monitors the event came since `clear`,
 *                       and the last one's stamp by CLOCK_MONOTONIC: what somebody else has done, with
 *                       nobody looking on meanwhile
 *
 * N is less than the number of sockets where the events were not complete after 30 s.
 */

#include <errno.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES 8192
#define TIMEOUT_MSEC 30000
#define EVENTS_MAX 512

typedef struct Monitor {
        int fd;
        int has_seen;
        size_t n;
        char buffer[BUFFER_BYTES];
} Monitor;

typedef struct Floor {
        Monitor *monitors;
        size_t n_monitors;
        int epoll_fd;
} Floor;

static long long now_ns(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int send_text(int fd, const char *s) {
        return send(fd, s, strlen(s), MSG_NOSIGNAL) == (ssize_t) strlen(s) ? 0 : -EIO;
}

/* reads what is there behind what was kept */
static ssize_t monitor_read(Monitor *m, int flags) {
        ssize_t n;

        if (m->n > BUFFER_BYTES - 1024) {
                memmove(m->buffer, m->buffer + m->n - 64, 64);
                m->n = 64;
        }
        n = recv(m->fd, m->buffer + m->n, BUFFER_BYTES - m->n, flags);
        if (n > 0)
                m->n += (size_t) n;
        return n;
}

static int monitor_expect(Monitor *m, const char *what) {
        m->n = 0;
        while (!memmem(m->buffer, m->n, what, strlen(what)))
                if (monitor_read(m, 0) <= 0)
                        return -EIO;
        return 0;
}

static int monitor_connect(Monitor *m, const char *path) {
        struct timeval limit = { .tv_sec = 10 };
        struct sockaddr_un a = { .sun_family = AF_UNIX };

        if (strlen(path) >= sizeof(a.sun_path))
                return -ENAMETOOLONG;
        memcpy(a.sun_path, path, strlen(path) + 1);
        m->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (m->fd < 0)
                return -errno;
        if (connect(m->fd, (struct sockaddr *) &a, sizeof(a)) < 0)
                return -errno;
        (void) setsockopt(m->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        if (monitor_expect(m, "\"QMP\"") < 0 ||
            send_text(m->fd, "{\"execute\":\"qmp_capabilities\"}\n") < 0)
                return -EIO;
        return monitor_expect(m, "\"return\"");
}

static int floor_connect(Floor *f, const char *pattern) {
        glob_t g;
        int r;

        if (glob(pattern, 0, NULL, &g) != 0)
                return -ENOENT;
        f->monitors = calloc(g.gl_pathc, sizeof(Monitor));
        f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (!f->monitors || f->epoll_fd < 0)
                return -ENOMEM;

        for (; f->n_monitors < g.gl_pathc; f->n_monitors++) {
                Monitor *m = &f->monitors[f->n_monitors];
                struct epoll_event e = { .events = EPOLLIN, .data.ptr = m };

                r = monitor_connect(m, g.gl_pathv[f->n_monitors]);
                if (r < 0)
                        return r;
                if (epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, m->fd, &e) < 0)
                        return -errno;
        }
        globfree(&g);
        return 0;
}

/* what others caused in the meantime does not count */
static void floor_drain(Floor *f) {
        for (size_t i = 0; i < f->n_monitors; i++) {
                Monitor *m = &f->monitors[i];

                do
                        m->n = 0;
                while (monitor_read(m, MSG_DONTWAIT) > 0);
                m->n = 0;
                m->has_seen = 0;
        }
}

/* QEMU stamps its events by the wall clock, in microseconds */
static long long number_after(const char *s, const char *end, const char *key) {
        const char *p = memmem(s, (size_t) (end - s), key, strlen(key));

        return p ? strtoll(p + strlen(key), NULL, 10) : 0;
}

/* CLOCK_REALTIME minus CLOCK_MONOTONIC, by the pair of readings least torn apart */
static long long realtime_offset_ns(void) {
        long long best_gap_ns = INT64_MAX, offset_ns = 0;

        for (int i = 0; i < 8; i++) {
                long long before_ns = now_ns(), after_ns;
                struct timespec real;

                (void) clock_gettime(CLOCK_REALTIME, &real);
                after_ns = now_ns();
                if (after_ns - before_ns >= best_gap_ns)
                        continue;
                best_gap_ns = after_ns - before_ns;
                offset_ns = real.tv_sec * 1000000000LL + real.tv_nsec - (before_ns + after_ns) / 2;
        }
        return offset_ns;
}

/* Returns: the CLOCK_REALTIME stamp of @event in what was read; 0 if it is not there. */
static long long monitor_find(const Monitor *m, const char *event) {
        const char *hit = memmem(m->buffer, m->n, event, strlen(event)), *line;

        if (!hit)
                return 0;
        line = memrchr(m->buffer, '\n', (size_t) (hit - m->buffer));
        line = line ? line : m->buffer;
        return number_after(line, hit, "\"seconds\": ") * 1000000000LL +
               number_after(line, hit, "\"microseconds\": ") * 1000LL;
}

static size_t floor_find(const Floor *f, const char *event, long long *ret_last_ns) {
        long long last_ns = 0;
        size_t n = 0;

        for (size_t i = 0; i < f->n_monitors; i++) {
                long long stamp_ns = monitor_find(&f->monitors[i], event);

                n += stamp_ns != 0;
                last_ns = stamp_ns > last_ns ? stamp_ns : last_ns;
        }
        *ret_last_ns = n > 0 ? last_ns - realtime_offset_ns() : 0;
        return n;
}

/* Returns: whether the monitor's event was among what came now, for the first time. */
static int monitor_take(Floor *f, Monitor *m, const char *event) {
        if (monitor_read(m, MSG_DONTWAIT) == 0)
                (void) epoll_ctl(f->epoll_fd, EPOLL_CTL_DEL, m->fd, NULL);
        if (m->has_seen || !memmem(m->buffer, m->n, event, strlen(event)))
                return 0;
        m->has_seen = 1;
        return 1;
}

static void floor_await(Floor *f, const char *event) {
        struct epoll_event events[EVENTS_MAX];
        size_t n_seen = 0;

        while (n_seen < f->n_monitors) {
                int n = epoll_wait(f->epoll_fd, events, EVENTS_MAX, TIMEOUT_MSEC);

                if (n <= 0)
                        return;
                for (int i = 0; i < n; i++)
                        n_seen += (size_t) monitor_take(f, events[i].data.ptr, event);
        }
}

static void floor_act(Floor *f, const char *command, const char *event) {
        long long start_ns, end_ns, last_ns;
        size_t n;

        floor_drain(f);
        start_ns = now_ns();
        for (size_t i = 0; i < f->n_monitors; i++)
                (void) send_text(f->monitors[i].fd, command);
        floor_await(f, event);
        end_ns = now_ns();
        n = floor_find(f, event, &last_ns);
        printf("done %zu %lld %lld\n", n, end_ns - start_ns, last_ns - start_ns);
}

static void floor_last(Floor *f, const char *event) {
        long long last_ns;
        size_t n;

        for (size_t i = 0; i < f->n_monitors; i++)
                while (monitor_read(&f->monitors[i], MSG_DONTWAIT) > 0)
                        ;
        n = floor_find(f, event, &last_ns);
        printf("last %zu %lld\n", n, last_ns);
}

static void floor_obey(Floor *f, const char *line) {
        if (strcmp(line, "stop") == 0)
                floor_act(f, "{\"execute\":\"stop\"}\n", "\"STOP\"");
        else if (strcmp(line, "cont") == 0)
                floor_act(f, "{\"execute\":\"cont\"}\n", "\"RESUME\"");
        else if (strcmp(line, "last STOP") == 0)
                floor_last(f, "\"STOP\"");
        else if (strcmp(line, "last RESUME") == 0)
                floor_last(f, "\"RESUME\"");
        else if (strcmp(line, "clear") == 0)
                floor_drain(f);
        else
                fprintf(stderr, "floor: not understood: %s\n", line);
}

int main(int argc, char **argv) {
        Floor f = {};
        char line[64];
        int r;

        if (argc != 2) {
                fprintf(stderr, "usage: floor PATTERN\n");
                return EXIT_FAILURE;
        }
        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        r = floor_connect(&f, argv[1]);
        if (r < 0) {
                fprintf(stderr, "floor: %s: %s\n", argv[1], strerror(-r));
                return EXIT_FAILURE;
        }
        printf("ready %zu\n", f.n_monitors);

        while (fgets(line, sizeof(line), stdin)) {
                line[strcspn(line, "\n")] = 0;
                floor_obey(&f, line);
        }
        return EXIT_SUCCESS;
}
