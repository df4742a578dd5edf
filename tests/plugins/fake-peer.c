/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-peer.h"
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "common/macro.h"
#include "common/time-util.h"

#define GREETING                                                                           \
        "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, " \
        "\"package\": \"Debian\"}, \"capabilities\": [\"oob\"]}}\r\n"

void fake_peer_pair(FakePeer *p, FakeHost *host, int *ret_fd) {
        int fds[2];

        ck_assert_int_eq(
                        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
        *p = (FakePeer){ .host = host, .fd = fds[0], .listen_fd = -1 };
        *ret_fd = fds[1];
}

void fake_peer_listen(FakePeer *p, FakeHost *host, const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        *p = (FakePeer){ .host = host, .fd = -1 };
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        p->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ck_assert_int_ge(p->listen_fd, 0);
        ck_assert_int_eq(bind(p->listen_fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ck_assert_int_eq(listen(p->listen_fd, 8), 0);
        fake_peer_date(path, 0);
}

void fake_peer_date(const char *path, int64_t realtime_ns) {
        struct timespec t = { .tv_sec = realtime_ns / NSEC_PER_SEC,
                              .tv_nsec = realtime_ns % NSEC_PER_SEC };

        ck_assert_int_eq(utimensat(AT_FDCWD, path, (struct timespec[]){ t, t }, 0), 0);
}

void fake_peer_accept(FakePeer *p) {
        p->n_heard = 0;
        p->is_closed = false;
        FAKE_HOST_WAIT(p->host, (p->fd = accept4(p->listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0);
}

void fake_peer_hang_up(FakePeer *p) {
        if (p->fd >= 0)
                (void) close(p->fd);
        p->fd = -1;
}

void fake_peer_done(FakePeer *p) {
        fake_peer_hang_up(p);
        if (p->listen_fd >= 0)
                (void) close(p->listen_fd);
        p->listen_fd = -1;
}

void fake_peer_say(FakePeer *p, const char *text) {
        ck_assert_uint_eq(fake_peer_pour(p, text, strlen(text)), strlen(text));
}

size_t fake_peer_pour(FakePeer *p, const char *bytes, size_t size) {
        ssize_t n = send(p->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);

        ck_assert(n >= 0 || errno == EAGAIN || errno == EPIPE);
        return n > 0 ? (size_t) n : 0;
}

static void fake_peer_listen_up(FakePeer *p) {
        ssize_t n;

        n = recv(p->fd, p->heard + p->n_heard, sizeof(p->heard) - 1 - p->n_heard, MSG_DONTWAIT);
        if (n > 0)
                p->n_heard += (size_t) n;
        else
                p->is_closed |= n == 0 || errno != EAGAIN;
        p->heard[p->n_heard] = 0;
}

/* Moves the first line that was heard to p->line. Returns: false if there is none. */
static bool fake_peer_next_line(FakePeer *p) {
        char *end = memchr(p->heard, '\n', p->n_heard);
        size_t size;

        if (!end)
                return false;
        size = (size_t) (end - p->heard);
        ck_assert_uint_lt(size, FAKE_LINE_MAX);
        memcpy(p->line, p->heard, size);
        p->line[size] = 0;
        p->n_heard -= size + 1;
        memmove(p->heard, end + 1, p->n_heard + 1);
        return true;
}

static bool fake_peer_try(FakePeer *p, const char *text) {
        fake_peer_listen_up(p);
        while (fake_peer_next_line(p))
                if (strstr(p->line, text))
                        return true;
        return false;
}

const char *fake_peer_await(FakePeer *p, const char *text) {
        FAKE_HOST_WAIT(p->host, fake_peer_try(p, text));
        return p->line;
}

bool fake_peer_hears(FakePeer *p, const char *text) {
        fake_peer_listen_up(p);
        return strstr(p->heard, text);
}

bool fake_peer_is_closed(FakePeer *p) {
        fake_peer_listen_up(p);
        return p->is_closed;
}

/* QEMU */

/* Awaits the command. @ret is its id, as a member of the answer; or nothing. */
static void fake_peer_await_command(FakePeer *p, const char *execute, char ret[static 64]) {
        const char *at;
        char text[128];

        *ret = 0;
        (void) snprintf(text, sizeof(text), "\"execute\":\"%s\"", execute);
        at = strstr(fake_peer_await(p, text), "\"id\":");
        if (at)
                (void) snprintf(ret,
                                64,
                                ", \"id\": %" PRIu64,
                                (uint64_t) strtoull(at + strlen("\"id\":"), NULL, 10));
}

void fake_peer_answer(FakePeer *p, const char *execute, const char *value) {
        char text[FAKE_LINE_MAX], id[64];

        fake_peer_await_command(p, execute, id);
        (void) snprintf(text, sizeof(text), "{\"return\": %s%s}\r\n", value, id);
        fake_peer_say(p, text);
}

void fake_peer_refuse(FakePeer *p, const char *execute, const char *class, const char *why) {
        char text[FAKE_LINE_MAX], id[64];

        fake_peer_await_command(p, execute, id);
        (void) snprintf(text,
                        sizeof(text),
                        "{\"error\": {\"class\": \"%s\", \"desc\": \"%s\"}%s}\r\n",
                        class,
                        why,
                        id);
        fake_peer_say(p, text);
}

void fake_peer_greet(FakePeer *p) {
        fake_peer_say(p, GREETING);
        fake_peer_answer(p, "qmp_capabilities", "{}");
}

void fake_peer_identify(FakePeer *p, const char *name, const char *status) {
        char value[256];

        fake_peer_greet(p);
        (void) snprintf(value, sizeof(value), "{\"name\": \"%s\"}", name);
        fake_peer_answer(p, "query-name", value);
        fake_peer_answer(p, "query-uuid", "{\"UUID\": \"00000000-0000-0000-0000-000000000000\"}");
        fake_peer_answer(p, "query-current-machine", "{\"wakeup-suspend-support\": true}");
        fake_peer_answer(p, "qom-list", "[]");
        fake_peer_answer(p, "qom-list", "[]");
        (void) snprintf(value, sizeof(value), "{\"status\": \"%s\", \"running\": true}", status);
        fake_peer_answer(p, "query-status", value);
}

/* the agent */

void fake_peer_sync(FakePeer *p) {
        const char *line = fake_peer_await(p, "guest-sync-delimited"), *id;
        char text[128];

        ck_assert_int_eq((unsigned char) line[0], 0xff);
        id = strstr(line, "\"id\":");
        ck_assert_ptr_nonnull(id);
        (void) snprintf(text,
                        sizeof(text),
                        "\xff{\"return\": %" PRIu64 "}\n",
                        (uint64_t) strtoull(id + strlen("\"id\":"), NULL, 10));
        fake_peer_say(p, text);
}

void fake_peer_inform(FakePeer *p) {
        (void) fake_peer_await(p, "guest-info");
        fake_peer_say(p,
                      "{\"return\": {\"version\": \"7.2\", \"supported_commands\": ["
                      "{\"name\": \"guest-suspend-ram\", \"enabled\": true},"
                      "{\"name\": \"guest-get-time\", \"enabled\": true},"
                      "{\"name\": \"guest-set-time\", \"enabled\": true}]}}\n");
}
