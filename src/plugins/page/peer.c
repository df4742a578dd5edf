/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/peer.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include "plugins/page/ivshmem.h"

/* Before the vectors: the revision, its number, the memory. */
#define N_BEFORE_VECTORS 3

/* After the monitors of machines, which are to be stopped in time. */
#define PEER_PRIORITY (SD_EVENT_PRIORITY_NORMAL + 2)

/* greeting */

static int peer_tell_vector(const Peer *p, unsigned vector) {
        _cleanup_close_ int other = -1;

        if (vector == 0)
                return ivshmem_send(p->connection, p->id, p->eventfd);
        other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return other < 0 ? -errno : ivshmem_send(p->connection, p->id, other);
}

static int peer_tell(const Peer *p, unsigned i) {
        switch (i) {
        case 0:
                return ivshmem_send(p->connection, IVSHMEM_REVISION, -1);
        case 1:
                return ivshmem_send(p->connection, p->id, -1);
        case 2:
                return ivshmem_send(p->connection, IVSHMEM_MEMORY, p->greeting->memory_fd);
        default:
                return peer_tell_vector(p, i - N_BEFORE_VECTORS);
        }
}

/* Returns: 1 if it has been told all; 0 if not yet; a negative errno. */
static int peer_tell_on(Peer *p) {
        int r;

        for (; p->n_told < N_BEFORE_VECTORS + p->greeting->n_vectors; p->n_told++) {
                r = peer_tell(p, p->n_told);
                if (r == -EAGAIN)
                        return MIN(sd_event_source_set_io_events(p->io, EPOLLOUT), 0);
                if (r < 0)
                        return r;
        }
        r = sd_event_source_set_io_events(p->io, 0);
        return r < 0 ? r : 1;
}

int peer_greet(Peer *p, const PeerGreeting *greeting) {
        int r;

        p->greeting = greeting;
        p->n_told = 0;
        r = peer_tell_on(p);
        if (r > 0)
                p->ops->on_greeted(p->userdata, p);
        return r;
}

/* what happens to it */

/*
 * EPOLLHUP and EPOLLERR come unasked for. A VMM that has only shut down its own sending, which it has
 * no use for, is still there.
 */
static int peer_on_io(sd_event_source *s, int fd, uint32_t events, void *userdata) {
        Peer *p = userdata;
        int r = 0;

        (void) s;
        (void) fd;
        if (events & (EPOLLHUP | EPOLLERR))
                r = -EPIPE;
        else if (events & EPOLLOUT)
                r = peer_tell_on(p);
        if (r < 0)
                p->ops->on_end(p->userdata, p);
        else if (r > 0)
                p->ops->on_greeted(p->userdata, p);
        return 0;
}

/* lifetime */

int peer_new(sd_event *event,
             uint16_t id,
             int connection,
             int eventfd,
             const PeerOps *ops,
             void *userdata,
             Peer **ret) {
        _cleanup_(peer_freep) Peer *p = malloc(sizeof(*p));
        int r;

        if (!p)
                return -ENOMEM;
        *p = (Peer){ .id = id, .connection = -1, .eventfd = -1, .ops = ops, .userdata = userdata };
        list_init(&p->peers);
        r = sd_event_add_io(event, &p->io, connection, 0, peer_on_io, p);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(p->io, "page-peer");
        (void) sd_event_source_set_priority(p->io, PEER_PRIORITY);
        p->connection = connection;
        p->eventfd = eventfd;
        *ret = TAKE_PTR(p);
        return 0;
}

Peer *peer_free(Peer *p) {
        if (!p)
                return NULL;
        list_unlink(&p->peers);
        sd_event_source_disable_unref(p->io);
        if (p->connection >= 0)
                (void) close(p->connection);
        if (p->eventfd >= 0)
                (void) close(p->eventfd);
        free(p);
        return NULL;
}
