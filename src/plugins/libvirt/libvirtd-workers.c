/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/libvirtd-workers.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/time-util.h"

#define HELPER SUSPENDD_LIBEXEC_DIR "/suspendd-libvirt-workers"
#define HELPER_LIMIT_NS (5 * NSEC_PER_SEC)

static int spawn_with(
                const WorkersCall *w,
                posix_spawn_file_actions_t *files,
                posix_spawnattr_t *attributes,
                pid_t *ret) {
        char n[16], *const environment[] = { NULL };
        sigset_t none;

        (void) snprintf(n, sizeof(n), "%u", w->n_wanted);
        (void) sigemptyset(&none); /* a thread of libvirt's calls takes none */
        (void) posix_spawnattr_setsigmask(attributes, &none);
        (void) posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK);
        return -posix_spawn(
                        ret,
                        HELPER,
                        files,
                        attributes,
                        (char *const[]){ (char *) HELPER, (char *) w->uri, n, NULL },
                        environment);
}

/* Starts the helper, which writes all that it has to say to @fd. Returns: 0; a negative errno. */
static int spawn_helper(const WorkersCall *w, int fd, pid_t *ret) {
        posix_spawn_file_actions_t files;
        posix_spawnattr_t attributes;
        int r;

        r = -posix_spawn_file_actions_init(&files);
        if (r < 0)
                return r;
        r = -posix_spawnattr_init(&attributes);
        if (r >= 0)
                r = -posix_spawn_file_actions_adddup2(&files, fd, STDOUT_FILENO);
        if (r >= 0)
                r = -posix_spawn_file_actions_adddup2(&files, fd, STDERR_FILENO);
        if (r >= 0)
                r = spawn_with(w, &files, &attributes, ret);
        (void) posix_spawnattr_destroy(&attributes);
        (void) posix_spawn_file_actions_destroy(&files);
        return r;
}

/* What comes until the end, but not for longer than the helper may take. Returns: 0; -ETIMEDOUT. */
static int read_text(int fd, char *text, size_t size) {
        int64_t until_ns = clock_now_ns(CLOCK_MONOTONIC) + HELPER_LIMIT_NS, left_ns;
        struct pollfd p = { .fd = fd, .events = POLLIN };
        ssize_t n = 1;
        size_t used = 0;

        while (n > 0 && used < size - 1) {
                left_ns = until_ns - clock_now_ns(CLOCK_MONOTONIC);
                if (left_ns <= 0 || poll(&p, 1, (int) (left_ns / NSEC_PER_MSEC) + 1) == 0)
                        return -ETIMEDOUT;
                n = read(fd, text + used, size - 1 - used);
                used += n > 0 ? (size_t) n : 0;
        }
        text[used] = 0;
        text[strcspn(text, "\n")] = 0;
        return 0;
}

/* Returns: 0, and what it said in @text; a negative errno if it could not be run, or has said nothing in time. */
static int run_helper(const WorkersCall *w, char *text, size_t size) {
        _cleanup_close_ int in = -1, out = -1;
        int fds[2], r;
        pid_t pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        in = fds[0];
        out = fds[1];
        r = spawn_helper(w, out, &pid);
        if (r < 0)
                return r;
        closep(&out);
        r = read_text(in, text, size);
        if (r < 0)
                (void) kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        return r;
}

static void workers_run(Call *c, virConnectPtr conn) {
        WorkersCall *w = LIST_ENTRY(c, WorkersCall, call);
        int r;

        if (!conn)
                return;
        r = run_helper(w, c->why, sizeof(c->why));
        if (r >= 0 && sscanf(c->why, "%u %u", &w->n_before, &w->n_now) == 2)
                return;
        c->error = r < 0 ? r : -EIO;
        if (r < 0)
                (void) snprintf(c->why, sizeof(c->why), "%s: %s", HELPER, strerror(-r));
}

static void workers_on_done(Call *c) {
        WorkersCall *w = LIST_ENTRY(c, WorkersCall, call);

        w->fn(w->userdata, w);
}

static void workers_free(Call *c) {
        free(LIST_ENTRY(c, WorkersCall, call));
}

WorkersCall *workers_call_new(const char *uri, unsigned n_wanted) {
        static const CallOps ops = { .run = workers_run,
                                     .done = workers_on_done,
                                     .free = workers_free };
        WorkersCall *w = calloc(1, sizeof(*w));

        if (!w)
                return NULL;
        call_init(&w->call, &ops, CALL_LOOK);
        w->call.is_last = true;
        w->uri = uri;
        w->n_wanted = n_wanted;
        return w;
}
