/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/ivshmem.h"
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int ivshmem_send(int socket, int64_t message, int fd) {
        uint64_t bytes = htole64((uint64_t) message);
        struct iovec vector = { .iov_base = &bytes, .iov_len = sizeof(bytes) };
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        struct msghdr m = { .msg_iov = &vector, .msg_iovlen = 1 };
        ssize_t sent;

        if (fd >= 0) {
                control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(fd)),
                                                   .cmsg_level = SOL_SOCKET,
                                                   .cmsg_type = SCM_RIGHTS };
                memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
                m.msg_control = &control;
                m.msg_controllen = sizeof(control);
        }
        sent = sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0)
                return -errno;
        /* Eight bytes are one buffer of the kernel's: they go as a whole, or not at all. */
        return sent == sizeof(bytes) ? 0 : -EIO;
}
