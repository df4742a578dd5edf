/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * start COUNT COMMAND-A... -- COMMAND-B...
 *
 * Starts two services in turn, COUNT times each, and prints for each turn how long it took from
 * before the fork to READY=1 on the socket of sd_notify(3), in nanoseconds: "A B". Each is sent
 * SIGTERM when it is ready and must be gone before the next one starts.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_TIMEOUT_MSEC 20000

static long long now_ns(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int notify_open(void) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        char name[64];
        int fd;

        (void) snprintf(name, sizeof(name), "@suspendd-bench-%ld", (long) getpid());
        (void) memcpy(a.sun_path, name, strlen(name));
        a.sun_path[0] = 0;
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (bind(fd,
                 (struct sockaddr *) &a,
                 offsetof(struct sockaddr_un, sun_path) + strlen(name)) < 0)
                return -errno;
        return setenv("NOTIFY_SOCKET", name, 1) < 0 ? -errno : fd;
}

/* Returns: when READY=1 came; negative if it did not. */
static long long await_ready(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        char text[4096];

        while (poll(&p, 1, READY_TIMEOUT_MSEC) > 0) {
                long long now = now_ns();
                ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

                if (n <= 0)
                        continue;
                text[n] = 0;
                if (strstr(text, "READY=1"))
                        return now;
        }
        return -ETIMEDOUT;
}

static void discard(int fd) {
        char text[4096];

        while (recv(fd, text, sizeof(text), MSG_DONTWAIT) > 0)
                ;
}

static long long start_one(int fd, char **command) {
        long long start_ns, ready_ns;
        pid_t pid;

        discard(fd);
        start_ns = now_ns();
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void) execv(command[0], command);
                _exit(127);
        }
        ready_ns = await_ready(fd);
        (void) kill(pid, ready_ns < 0 ? SIGKILL : SIGTERM);
        if (waitpid(pid, NULL, 0) != pid)
                return -errno;
        return ready_ns < 0 ? ready_ns : ready_ns - start_ns;
}

int main(int argc, char **argv) {
        char **second = argv + argc;
        long count;
        int fd;

        for (int i = 3; i < argc; i++)
                if (strcmp(argv[i], "--") == 0) {
                        argv[i] = NULL;
                        second = argv + i + 1;
                        break;
                }
        if (second >= argv + argc) {
                fprintf(stderr, "usage: start COUNT COMMAND-A... -- COMMAND-B...\n");
                return EXIT_FAILURE;
        }
        fd = notify_open();
        count = strtol(argv[1], NULL, 10);
        for (long i = 0; fd >= 0 && i < count; i++) {
                long long a = start_one(fd, argv + 2), b = start_one(fd, second);

                if (a < 0 || b < 0) {
                        fprintf(stderr, "start: no READY=1: %s\n", a < 0 ? argv[2] : second[0]);
                        return EXIT_FAILURE;
                }
                printf("%lld %lld\n", a, b);
        }
        return fd < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
