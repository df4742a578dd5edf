/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * floor PATTERN
 *
 * The least that stopping N QEMUs can cost: the command written to all monitors at once, then
 * waiting for the event of each, without a parser. Every socket that matches the shell pattern is
 * connected once, at the start. On stdin:
 *
 *   stop | cont          acts, and prints "done N ELAPSED_NS LAST_NS": from before the first write to
 *                        the last STOP or RESUME event, and that event's CLOCK_MONOTONIC stamp
 *   watch STOP | RESUME  prints "armed" and then, as somebody else acts, the same line; the time
 *                        counts from "armed"
 *   clear                forgets the events up to now
 *   count STOP | RESUME  prints "count N": on how many monitors the event came since the last
 *                        command
 *
 * N is less than the number of sockets where the events were not complete after 30 s.
 */

#include <errno.h>
#include <glob.h>
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

static void floor_await(Floor *f, const char *event, long long start_ns) {
        struct epoll_event events[EVENTS_MAX];
        long long last_ns = 0;
        size_t n_seen = 0;

        while (n_seen < f->n_monitors) {
                int n = epoll_wait(f->epoll_fd, events, EVENTS_MAX, TIMEOUT_MSEC);

                if (n <= 0)
                        break;
                for (int i = 0; i < n; i++) {
                        Monitor *m = events[i].data.ptr;

                        if (monitor_read(m, MSG_DONTWAIT) == 0)
                                (void) epoll_ctl(f->epoll_fd, EPOLL_CTL_DEL, m->fd, NULL);
                        if (m->has_seen || !memmem(m->buffer, m->n, event, strlen(event)))
                                continue;
                        m->has_seen = 1;
                        n_seen++;
                        last_ns = now_ns();
                }
        }
        printf("done %zu %lld %lld\n", n_seen, n_seen > 0 ? last_ns - start_ns : 0, last_ns);
}

static void floor_act(Floor *f, const char *command, const char *event) {
        long long start_ns;

        floor_drain(f);
        start_ns = now_ns();
        for (size_t i = 0; i < f->n_monitors; i++)
                (void) send_text(f->monitors[i].fd, command);
        floor_await(f, event, start_ns);
}

static void floor_watch(Floor *f, const char *event) {
        floor_drain(f);
        printf("armed\n");
        floor_await(f, event, now_ns());
}

static void floor_count(Floor *f, const char *event) {
        size_t n_seen = 0;

        for (size_t i = 0; i < f->n_monitors; i++) {
                Monitor *m = &f->monitors[i];

                while (monitor_read(m, MSG_DONTWAIT) > 0)
                        ;
                n_seen += memmem(m->buffer, m->n, event, strlen(event)) != NULL;
        }
        printf("count %zu\n", n_seen);
}

static void floor_obey(Floor *f, const char *line) {
        if (strcmp(line, "stop") == 0)
                floor_act(f, "{\"execute\":\"stop\"}\n", "\"STOP\"");
        else if (strcmp(line, "cont") == 0)
                floor_act(f, "{\"execute\":\"cont\"}\n", "\"RESUME\"");
        else if (strcmp(line, "watch STOP") == 0)
                floor_watch(f, "\"STOP\"");
        else if (strcmp(line, "watch RESUME") == 0)
                floor_watch(f, "\"RESUME\"");
        else if (strcmp(line, "count STOP") == 0)
                floor_count(f, "\"STOP\"");
        else if (strcmp(line, "count RESUME") == 0)
                floor_count(f, "\"RESUME\"");
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
