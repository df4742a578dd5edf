/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ivshmem-client.h"
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "common/macro.h"

void client_init(Client *c, int fd) {
        *c = (Client){ .fd = fd };
}

int client_connect(Client *c, const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        ck_assert_int_ge(fd, 0);
        ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
        (void) strcpy(address.sun_path, path);
        client_init(c, -1);
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0) {
                int r = -errno;

                (void) close(fd);
                return r;
        }
        c->fd = fd;
        return 0;
}

void client_done(Client *c) {
        if (c->fd >= 0)
                (void) close(c->fd);
        for (size_t i = 0; i < c->n_messages; i++)
                if (c->messages[i].fd >= 0)
                        (void) close(c->messages[i].fd);
        client_init(c, -1);
}

static bool client_read_one(Client *c) {
        ClientMessage *m = c->messages + c->n_messages;
        struct iovec vector = { .iov_base = m->bytes, .iov_len = sizeof(m->bytes) };
        char control[CMSG_SPACE(4 * sizeof(int))] = { 0 };
        struct msghdr h = { .msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control) };
        ssize_t size = recvmsg(c->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        const struct cmsghdr *cmsg;

        if (size == 0 || (size < 0 && errno != EAGAIN))
                c->is_over = true;
        if (size <= 0)
                return false;
        ck_assert_int_eq(size, sizeof(m->bytes));
        ck_assert_int_eq(h.msg_flags & (MSG_CTRUNC | MSG_TRUNC), 0);
        m->fd = -1;
        cmsg = CMSG_FIRSTHDR(&h);
        if (cmsg) {
                ck_assert_int_eq(cmsg->cmsg_type, SCM_RIGHTS);
                ck_assert_uint_eq(cmsg->cmsg_len, CMSG_LEN(sizeof(int)));
                memcpy(&m->fd, CMSG_DATA(cmsg), sizeof(int));
        }
        c->n_messages++;
        return true;
}

void client_read(Client *c) {
        while (c->n_messages < CLIENT_MESSAGES_MAX && client_read_one(c))
                ;
}

int64_t client_number(const Client *c, size_t i) {
        uint64_t n = 0;

        ck_assert_uint_lt(i, c->n_messages);
        for (unsigned k = 0; k < 8; k++)
                n |= (uint64_t) c->messages[i].bytes[k] << (8 * k);
        return (int64_t) n;
}

int64_t client_id(const Client *c) {
        return client_number(c, 1);
}

int client_vector(const Client *c, unsigned i) {
        return i + 3 < c->n_messages ? c->messages[i + 3].fd : -1;
}

uint64_t client_take_rings(const Client *c, unsigned i) {
        struct pollfd p = { .fd = client_vector(c, i), .events = POLLIN };
        uint64_t n = 0;

        ck_assert_int_ge(p.fd, 0);
        ck_assert_int_ge(poll(&p, 1, 0), 0);
        if (p.revents & POLLIN)
                ck_assert_int_eq(read(p.fd, &n, sizeof(n)), sizeof(n));
        return n;
}
