/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/doorbell.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <syslog.h>
#include "common/time-util.h"
#include "plugins/page/doorbell-socket.h"

/* After the monitors of machines, which are to be stopped in time. */
#define ACCEPT_PRIORITY (SD_EVENT_PRIORITY_NORMAL + 2)
/* How often one may come in a second; and while there are no descriptors left. */
#define COMING_MAX 100
#define COMING_MAX_IN_NEED 1

struct Doorbell {
        Doorbells *all;
        char *name;
        uid_t owner;
        PeerGreeting greeting;
        int socket;
        sd_event_source *accept;
        List peers;
        size_t n_peers;
        bool is_in_need;       /* accept() lacks descriptors, or memory */
        bool has_turned_away;  /* and said so */
        bool is_keeping_short; /* the host's store takes no more, and that has been said */
};

/* what is kept */

static void doorbell_keep(Doorbell *d, KeptKind kind, uint16_t id, int fd) {
        const struct suspendd_host *host = d->all->host;
        int r = kept_add(d->all->kept, d->name, kind, id, fd);

        /* Where there is nobody to keep anything, the host has said so. */
        if (r >= 0 || r == -EOPNOTSUPP || d->is_keeping_short)
                return;
        d->is_keeping_short = true;
        host->log(host,
                  LOG_WARNING,
                  NULL,
                  "The doorbell of page %s will not outlive a restart: %s",
                  d->name,
                  strerror(-r));
}

/* peers */

/* Hung up on for whoever keeps the connection as well. */
static void doorbell_lose(Doorbell *d, Peer *p) {
        kept_drop(d->all->kept, d->name, KEPT_CONNECTION, p->id);
        kept_drop(d->all->kept, d->name, KEPT_EVENTFD, p->id);
        (void) shutdown(p->connection, SHUT_RDWR);
        peer_free(p);
        d->n_peers--;
}

/*
 * The eventfd is kept before the VMM is told of it, the connection after it has been told all: so one that
 * comes back has been. A VMM whose greeting was broken off by our end is hung up on by it, and says so.
 */
static void doorbell_on_greeted(void *userdata, Peer *p) {
        Doorbell *d = userdata;

        doorbell_keep(d, KEPT_CONNECTION, p->id, p->connection);
}

static void doorbell_on_peer_end(void *userdata, Peer *p) {
        doorbell_lose(userdata, p);
}

static const PeerOps peer_ops = {
        .on_greeted = doorbell_on_greeted,
        .on_end = doorbell_on_peer_end,
};

static bool doorbell_has(const Doorbell *d, uint16_t id) {
        LIST_FOREACH(i, &d->peers)
        if (LIST_ENTRY(i, Peer, peers)->id == id)
                return true;
        return false;
}

/* Takes both descriptors on success. */
static int doorbell_add(Doorbell *d, uint16_t id, int connection, int eventfd, Peer **ret) {
        Peer *p;
        int r;

        r = peer_new(d->all->host->event, id, connection, eventfd, &peer_ops, d, &p);
        if (r < 0)
                return r;
        list_append(&d->peers, &p->peers);
        d->n_peers++;
        *ret = p;
        return 0;
}

/* A VMM has come: gives it a number and greets it. Takes @connection on success. */
static int doorbell_welcome(Doorbell *d, int connection) {
        _cleanup_close_ int event = -1;
        uint16_t id = 0;
        Peer *p;
        int r;

        if (d->n_peers >= DOORBELL_PEERS_MAX)
                return -EUSERS;
        while (doorbell_has(d, id))
                id++;
        event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (event < 0)
                return -errno;
        r = doorbell_add(d, id, connection, event, &p);
        if (r < 0)
                return r;
        (void) TAKE_FD(event);
        doorbell_keep(d, KEPT_EVENTFD, id, p->eventfd);
        r = peer_greet(p, &d->greeting);
        if (r < 0)
                doorbell_lose(d, p); /* it has gone again */
        return 0;
}

/* coming */

static void doorbell_turn_away(Doorbell *d, int error) {
        const struct suspendd_host *host = d->all->host;

        host->log(host,
                  d->has_turned_away ? LOG_DEBUG : LOG_WARNING,
                  NULL,
                  "A client of page %s is turned away: %s",
                  d->name,
                  strerror(-error));
        d->has_turned_away = true;
}

/* Without descriptors the one who waits is seen again at once, and again. */
static void doorbell_set_need(Doorbell *d, bool is_in_need) {
        if (d->is_in_need == is_in_need)
                return;
        d->is_in_need = is_in_need;
        (void) sd_event_source_set_ratelimit(
                        d->accept, USEC_PER_SEC, is_in_need ? COMING_MAX_IN_NEED : COMING_MAX);
}

static int doorbell_on_accept(sd_event_source *s, int fd, uint32_t events, void *userdata) {
        _cleanup_close_ int connection = -1;
        Doorbell *d = userdata;
        int r;

        (void) s;
        (void) events;
        r = doorbell_socket_accept(fd, d->owner, &connection);
        doorbell_set_need(d, r < 0 && r != -EACCES);
        if (r > 0)
                r = doorbell_welcome(d, connection);
        if (r < 0) {
                doorbell_turn_away(d, r);
                return 0;
        }
        if (connection >= 0)
                (void) TAKE_FD(connection);
        return 0;
}

/* lifetime */

static int doorbell_open_socket(Doorbell *d) {
        Doorbells *all = d->all;
        int r = -ENOENT;

        d->socket = kept_take(all->kept, d->name, KEPT_SOCKET, 0);
        if (d->socket >= 0) {
                r = doorbell_socket_adopt(all->directory, d->name, d->owner, d->socket);
                if (r >= 0)
                        return 0;
                kept_drop(all->kept, d->name, KEPT_SOCKET, 0);
                (void) close(d->socket);
        }
        d->socket = -1;
        r = doorbell_socket_listen(all->directory, d->name, d->owner, &d->socket);
        if (r >= 0)
                doorbell_keep(d, KEPT_SOCKET, 0, d->socket);
        return r;
}

/* What the last life's end, or a VMM's, has torn in two is given up. */
static void doorbell_restore_peers(Doorbell *d) {
        Kept *kept = d->all->kept;
        int id;

        while ((id = kept_next_peer(kept, d->name)) >= 0) {
                _cleanup_close_ int connection =
                                kept_take(kept, d->name, KEPT_CONNECTION, (uint16_t) id);
                _cleanup_close_ int event = kept_take(kept, d->name, KEPT_EVENTFD, (uint16_t) id);
                Peer *p;

                if (event >= 0 && d->n_peers < DOORBELL_PEERS_MAX &&
                    doorbell_add(d, (uint16_t) id, connection, event, &p) >= 0) {
                        (void) TAKE_FD(connection);
                        (void) TAKE_FD(event);
                        continue;
                }
                kept_drop(kept, d->name, KEPT_CONNECTION, (uint16_t) id);
                kept_drop(kept, d->name, KEPT_EVENTFD, (uint16_t) id);
        }
        (void) kept_settle(kept, d->name);
}

/* Whoever holds an opening of a file can set how it is written, for all who share it: theirs is another. */
static int memory_open(int page_fd) {
        char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];
        int fd;

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", page_fd);
        fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK); /* whatever its owner has done to it */
        return fd < 0 ? -errno : fd;
}

static int doorbell_listen(Doorbell *d) {
        int r;

        r = sd_event_add_io(
                        d->all->host->event, &d->accept, d->socket, EPOLLIN, doorbell_on_accept, d);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(d->accept, "page-doorbell");
        (void) sd_event_source_set_priority(d->accept, ACCEPT_PRIORITY);
        return sd_event_source_set_ratelimit(d->accept, USEC_PER_SEC, COMING_MAX);
}

int doorbell_new(
                Doorbells *all,
                const char *name,
                int page_fd,
                uid_t owner,
                unsigned n_vectors,
                Doorbell **ret) {
        _cleanup_(doorbell_freep) Doorbell *d = NULL;
        int r;

        if (n_vectors < 1 || n_vectors > PEER_VECTORS_MAX)
                return -EINVAL;
        d = malloc(sizeof(*d));
        if (!d)
                return -ENOMEM;
        *d = (Doorbell){
                .all = all,
                .name = strdup(name),
                .owner = owner,
                .greeting = { .memory_fd = memory_open(page_fd), .n_vectors = n_vectors },
                .socket = -1,
        };
        list_init(&d->peers);
        if (!d->name)
                return -ENOMEM;
        if (d->greeting.memory_fd < 0)
                return d->greeting.memory_fd;
        r = doorbell_open_socket(d);
        if (r < 0)
                return r;
        r = doorbell_listen(d);
        if (r < 0)
                return r;
        doorbell_restore_peers(d);
        *ret = TAKE_PTR(d);
        return 0;
}

Doorbell *doorbell_free(Doorbell *d) {
        if (!d)
                return NULL;
        LIST_FOREACH(i, &d->peers)
        peer_free(LIST_ENTRY(i, Peer, peers));
        sd_event_source_disable_unref(d->accept);
        if (d->socket >= 0)
                (void) close(d->socket);
        if (d->greeting.memory_fd >= 0)
                (void) close(d->greeting.memory_fd);
        free(d->name);
        free(d);
        return NULL;
}

Doorbell *doorbell_remove(Doorbell *d) {
        if (!d)
                return NULL;
        LIST_FOREACH(i, &d->peers)
        doorbell_lose(d, LIST_ENTRY(i, Peer, peers));
        kept_drop(d->all->kept, d->name, KEPT_SOCKET, 0);
        doorbell_socket_remove(d->all->directory, d->name);
        return doorbell_free(d);
}

/* use */

void doorbell_ring(Doorbell *d) {
        LIST_FOREACH(i, &d->peers) {
                const Peer *p = LIST_ENTRY(i, Peer, peers);
                int r = bell_ring(d->all->bell, p->eventfd);

                if (r < 0)
                        d->all->host->log(
                                        d->all->host,
                                        LOG_WARNING,
                                        NULL,
                                        "Peer %u of page %s is not rung: %s",
                                        p->id,
                                        d->name,
                                        strerror(-r));
        }
}

size_t doorbell_n_peers(const Doorbell *d) {
        return d->n_peers;
}
