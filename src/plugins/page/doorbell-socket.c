/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/doorbell-socket.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "common/grant.h"
#include "common/macro.h"

/* VMMs that wait while the daemon starts again. */
#define BACKLOG 16
#define SOCKET_MODE 0600

/* Page names do not begin with a dot, an unfinished page's with one, and one socket is made at a time. */
#define UNFINISHED "..unfinished"

static int address_set(struct sockaddr_un *address, const char *directory, const char *name) {
        int n;

        *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
        n = snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s.sock", directory, name);
        return (size_t) n < sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

static int path_give(const char *path, uid_t owner) {
        return owner == geteuid() ? 0 : grant_path(path, owner);
}

/* The mode is that of the socket before it is bound, less the umask: there is no moment without it. */
static int socket_bind(int fd, const struct sockaddr_un *address, uid_t owner) {
        if (fchmod(fd, SOCKET_MODE) < 0)
                return -errno;
        if (unlink(address->sun_path) < 0 && errno != ENOENT)
                return -errno;
        if (bind(fd, (const struct sockaddr *) address, sizeof(*address)) < 0)
                return -errno;
        if (listen(fd, BACKLOG) < 0)
                return -errno;
        return path_give(address->sun_path, owner);
}

int doorbell_socket_listen(const char *directory, const char *name, uid_t owner, int *ret_fd) {
        struct sockaddr_un unfinished, address;
        _cleanup_close_ int fd = -1;
        int r;

        if (address_set(&address, directory, name) < 0 ||
            address_set(&unfinished, directory, UNFINISHED) < 0)
                return -ENAMETOOLONG;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        r = socket_bind(fd, &unfinished, owner);
        if (r >= 0 && rename(unfinished.sun_path, address.sun_path) < 0)
                r = -errno;
        if (r < 0) {
                (void) unlink(unfinished.sun_path);
                return r;
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int doorbell_socket_adopt(const char *directory, const char *name, uid_t owner, int fd) {
        struct sockaddr_un address;
        socklen_t size = sizeof(int);
        int is_listening = 0;
        struct stat st;

        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) < 0 || !is_listening)
                return -ENOTSOCK;
        if (address_set(&address, directory, name) < 0)
                return -ENAMETOOLONG;
        if (lstat(address.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
                return -ENOENT;
        return path_give(address.sun_path, owner);
}

void doorbell_socket_remove(const char *directory, const char *name) {
        struct sockaddr_un address;

        if (address_set(&address, directory, name) >= 0)
                (void) unlink(address.sun_path);
}

int doorbell_socket_accept(int fd, uid_t owner, int *ret_connection) {
        _cleanup_close_ int connection = -1;
        struct ucred peer;
        socklen_t size = sizeof(peer);

        connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (connection < 0)
                return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : -errno;
        if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return -errno;
        if (peer.uid != owner && peer.uid != 0)
                return -EACCES;
        *ret_connection = TAKE_FD(connection);
        return 1;
}
