/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/channel.h"
#include <errno.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "common/clock-sample.h"
#include "common/safe-path.h"
#include "common/time-util.h"

#define UNSENT_MAX (64 * 1024)
/*
 * Told once for each change, not as long as something is there: sd-event asks the kernel again after
 * each event that it dispatches, and with hundreds of monitors ready at once the kernel would walk
 * through all that still wait, each time.
 */
#define TOLD_ONCE ((uint32_t) EPOLLET)
#define END_OF_IT ((uint32_t) (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
/* How long a peer that used its bytes up waits: until it may send some pieces again. */
#define THROTTLE_USEC (USEC_PER_SEC / 2)

struct Channel {
        const ChannelOps *ops;
        void *userdata;
        int fd;
        sd_event *event;
        sd_event_source *io, *throttle;
        LineReader reader;
        char *unsent;
        size_t unsent_size;
        int64_t allowance_bytes;
        uint64_t allowance_usec; /* when it was last counted */
        bool has_heard;          /* something */
        pid_t speaker;           /* who wrote that first; 0: he is not seen from here */
        bool *freed;             /* tells who is calling back that we are gone */
};

int channel_fd_user(int fd, uid_t *ret) {
        struct ucred peer;
        socklen_t size = sizeof(peer);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return -errno;
        *ret = peer.uid;
        return 0;
}

/* Whoever a socket belongs to may listen there, and root, who may have given it to him. */
static int check_peer(int fd, uid_t owner, const char **ret_why) {
        uid_t user = (uid_t) -1;
        int r;

        r = channel_fd_user(fd, &user);
        if (r < 0 || user == owner || user_is_us(user))
                return r;
        *ret_why = "another user listens there than the one to whom the socket belongs";
        return -EPERM;
}

/* @a is anything: its owner may have set it. */
static bool is_later(const struct timespec *a, int64_t b_ns) {
        int64_t b_sec = b_ns / NSEC_PER_SEC;

        return a->tv_sec > b_sec || (a->tv_sec == b_sec && a->tv_nsec > b_ns % NSEC_PER_SEC);
}

/* A time to come is of a clock that was set back since: it says nothing. */
static bool is_younger(const struct stat *st, uint64_t usec) {
        int64_t now_ns = clock_now_ns(CLOCK_REALTIME);

        return is_later(&st->st_mtim, now_ns - (int64_t) usec * NSEC_PER_USEC) &&
               !is_later(&st->st_mtim, now_ns);
}

int channel_connect(const char *path, uint64_t age_usec, int *ret_fd, const char **ret_why) {
        _cleanup_(safe_path_done) SafePath at = SAFE_PATH_NONE;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -1;
        SafePathName name;
        int r;

        r = safe_path_open(path, &at, ret_why);
        if (r < 0)
                return r;
        if (!S_ISSOCK(at.st.st_mode))
                return -ECONNREFUSED; /* as connect(2) has it */
        if (is_younger(&at.st, age_usec))
                return -EBUSY;
        name = safe_path_name(&at);
        memcpy(address.sun_path, name.text, sizeof(name.text));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* From the first byte on the kernel says who writes. */
        if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){ 1 }, sizeof(int)) < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        r = check_peer(fd, at.st.st_uid, ret_why);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static bool channel_on_line(const Line *line, void *userdata) {
        Channel *c = userdata;
        bool freed = false, *outer = c->freed;

        c->freed = &freed;
        c->ops->on_line(c->userdata, line);
        if (freed) {
                *outer = true;
                return false;
        }
        c->freed = outer;
        return true;
}

/* Sets what is waited for; what is there already is told anew. */
static int channel_arm(Channel *c) {
        uint32_t events = EPOLLIN | EPOLLRDHUP | TOLD_ONCE | (c->unsent ? EPOLLOUT : 0);

        return MIN(sd_event_source_set_io_events(c->io, events), 0);
}

/* One that cannot be waited for any more is closed: its end at least is told. */
static void channel_rearm(Channel *c) {
        if (channel_arm(c) < 0)
                (void) shutdown(c->fd, SHUT_RDWR);
}

/* The peer's bytes are used up: what it has to say waits in its socket. */
static int channel_on_throttle(sd_event_source *s, uint64_t usec, void *userdata) {
        Channel *c = userdata;

        (void) s;
        (void) usec;
        c->throttle = sd_event_source_unref(c->throttle);
        (void) sd_event_source_set_enabled(c->io, SD_EVENT_ON);
        return 0;
}

static void channel_throttle(Channel *c) {
        int r;

        r = sd_event_add_time_relative(
                        c->event,
                        &c->throttle,
                        CLOCK_MONOTONIC,
                        THROTTLE_USEC,
                        1,
                        channel_on_throttle,
                        c);
        if (r < 0)
                return; /* rather loud than deaf */
        (void) sd_event_source_set_description(c->throttle, c->ops->name);
        (void) sd_event_source_set_enabled(c->io, SD_EVENT_OFF);
}

static void channel_account(Channel *c, size_t size) {
        int64_t allowance = c->allowance_bytes;
        uint64_t now_usec, passed_usec;

        if (sd_event_now(c->event, CLOCK_MONOTONIC, &now_usec) < 0)
                return;
        passed_usec = MIN(now_usec - c->allowance_usec, 10 * USEC_PER_SEC);
        c->allowance_usec = now_usec;
        allowance += (int64_t) (passed_usec * CHANNEL_BYTES_PER_SEC / USEC_PER_SEC);
        c->allowance_bytes = MIN(allowance, (int64_t) CHANNEL_BURST_BYTES) - (int64_t) size;
        if (c->allowance_bytes < 0)
                channel_throttle(c);
}

/*
 * As recv(2). Takes note of who writes, the first time only: as long as that is asked for, the kernel gives no bytes of
 * two together, and who reads less than he could would no longer know that there is no more.
 */
static ssize_t channel_receive(Channel *c, char *piece, size_t size) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(struct ucred))];
        } control;
        struct iovec bytes = { .iov_base = piece, .iov_len = size };
        struct msghdr message = {
                .msg_iov = &bytes,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        const struct cmsghdr *h;
        struct ucred writer;
        ssize_t n;

        if (c->has_heard)
                return recv(c->fd, piece, size, MSG_DONTWAIT);
        n = recvmsg(c->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n <= 0)
                return n;
        c->has_heard = true;
        (void) setsockopt(c->fd, SOL_SOCKET, SO_PASSCRED, &(int){ 0 }, sizeof(int));
        channel_rearm(c); /* for what there is of another one */
        h = CMSG_FIRSTHDR(&message);
        if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_CREDENTIALS &&
            h->cmsg_len == CMSG_LEN(sizeof(writer))) {
                memcpy(&writer, CMSG_DATA(h), sizeof(writer));
                c->speaker = writer.pid;
        }
        return n;
}

/* Returns: false if the channel is gone. @is_end: the peer has hung up, behind what it still said. */
static bool channel_read(Channel *c, bool is_end) {
        char piece[CHANNEL_TURN_BYTES];
        bool freed = false;
        ssize_t size;

        do
                size = channel_receive(c, piece, sizeof(piece));
        while (size < 0 && errno == EINTR); /* we are told once only */
        if (size < 0 && errno == EAGAIN)
                return true;
        if (size <= 0) {
                c->ops->on_end(c->userdata, size < 0 ? -errno : 0);
                return false;
        }
        if (is_end || size == (ssize_t) sizeof(piece))
                channel_rearm(c);
        channel_account(c, (size_t) size);
        c->freed = &freed;
        line_reader_feed(&c->reader, piece, (size_t) size, channel_on_line, c);
        if (freed)
                return false;
        c->freed = NULL;
        return true;
}

/* What says nothing of the peer: the same may go through at the next turn. */
static bool is_for_now(int error) {
        return error == EAGAIN || error == EINTR || error == ENOMEM || error == ENOBUFS;
}

/* Returns: how much of @text the socket took; a negative errno. */
static ssize_t channel_put(Channel *c, const char *text, size_t size) {
        ssize_t sent = send(c->fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent >= 0)
                return sent;
        return is_for_now(errno) ? 0 : -errno;
}

static void channel_flush(Channel *c) {
        ssize_t sent = channel_put(c, c->unsent, c->unsent_size);

        /* of an error the reading side learns as well, and it may end the channel */
        if (sent < 0)
                sent = (ssize_t) c->unsent_size;
        c->unsent_size -= (size_t) sent;
        memmove(c->unsent, c->unsent + sent, c->unsent_size);
        if (c->unsent_size == 0)
                free(TAKE_PTR(c->unsent));
        /* Where it was not for want of room that it stays, we would not be told again. */
        channel_rearm(c);
}

static int channel_on_io(sd_event_source *s, int fd, uint32_t events, void *userdata) {
        Channel *c = userdata;

        (void) s;
        (void) fd;
        if (events & (EPOLLIN | END_OF_IT))
                if (!channel_read(c, events & END_OF_IT))
                        return 0;
        if ((events & EPOLLOUT) && c->unsent)
                channel_flush(c);
        return 0;
}

int channel_new(sd_event *event, int fd, const ChannelOps *ops, void *userdata, Channel **ret) {
        _cleanup_(channel_freep) Channel *c = calloc(1, sizeof(*c));
        int r;

        if (!c)
                return -ENOMEM;
        *c = (Channel){
                .ops = ops,
                .userdata = userdata,
                .fd = -1,
                .event = sd_event_ref(event),
                .reader = LINE_READER_INIT(ops->line_max, ops->mark),
                .allowance_bytes = CHANNEL_BURST_BYTES,
        };
        r = sd_event_add_io(event, &c->io, fd, EPOLLIN | EPOLLRDHUP | TOLD_ONCE, channel_on_io, c);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(c->io, ops->name);
        (void) sd_event_source_set_priority(c->io, ops->priority);
        c->fd = fd;
        *ret = TAKE_PTR(c);
        return 0;
}

Channel *channel_free(Channel *c) {
        if (!c)
                return NULL;
        if (c->freed)
                *c->freed = true;
        sd_event_source_disable_unref(c->io);
        sd_event_source_disable_unref(c->throttle);
        sd_event_unref(c->event);
        line_reader_done(&c->reader);
        free(c->unsent);
        if (c->fd >= 0)
                (void) close(c->fd);
        free(c);
        return NULL;
}

/* All of @text is kept, or nothing: whoever is told of an error takes it for not sent. */
static int channel_keep(Channel *c, const char *text, size_t size) {
        bool is_first = !c->unsent;
        char *unsent;
        int r;

        if (c->unsent_size + size > UNSENT_MAX)
                return -ENOBUFS;
        unsent = realloc(c->unsent, c->unsent_size + size);
        if (!unsent)
                return -ENOMEM;
        memcpy(unsent + c->unsent_size, text, size);
        c->unsent = unsent;
        c->unsent_size += size;
        r = is_first ? channel_arm(c) : 0;
        if (r < 0) {
                free(TAKE_PTR(c->unsent));
                c->unsent_size = 0;
        }
        return r;
}

int channel_send(Channel *c, const char *text, size_t size) {
        ssize_t sent = 0;
        int r;

        if (!c->unsent)
                sent = channel_put(c, text, size);
        if (sent < 0)
                return (int) sent;
        if ((size_t) sent == size)
                return 0;
        r = channel_keep(c, text + sent, size - (size_t) sent);
        /* What would follow on a part of a line would be taken for the rest of it. */
        if (r < 0 && sent > 0)
                (void) shutdown(c->fd, SHUT_RDWR);
        return r;
}

bool channel_is_quiet(const Channel *c) {
        int unread = 0, unheard = 0;

        return !c->unsent && c->reader.kept_size == 0 && ioctl(c->fd, SIOCOUTQ, &unread) >= 0 &&
               unread == 0 && ioctl(c->fd, SIOCINQ, &unheard) >= 0 && unheard == 0;
}

int channel_get_peer(Channel *c, pid_t *ret_pid) {
        struct ucred peer;
        socklen_t size = sizeof(peer);

        if (c->speaker > 0) {
                *ret_pid = c->speaker;
                return 0;
        }
        if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid <= 0)
                return -ENODATA;
        *ret_pid = peer.pid;
        return 0;
}

int channel_get_user(Channel *c, uid_t *ret) {
        return channel_fd_user(c->fd, ret);
}
