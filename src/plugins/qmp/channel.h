/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Channel
 *
 * One connection to a unix stream socket on the loop: lines come in, text goes out, nothing blocks.
 * A peer is read a bounded piece a turn and only so much a second; one that floods is left waiting
 * with its socket's buffer full, and costs neither its neighbours nor the CPU anything.
 *
 * A Channel belongs to a Monitor or an Agent, which may free it from within its callbacks.
 */

#include <sys/types.h>
#include <systemd/sd-event.h>
#include "common/macro.h"
#include "plugins/qmp/line-reader.h"

/* What one turn of the loop reads, what may come at once, and what may come in the long run. */
#define CHANNEL_TURN_BYTES (16 * 1024)
#define CHANNEL_BURST_BYTES (256 * 1024)
#define CHANNEL_BYTES_PER_SEC (64 * 1024)

typedef struct Channel Channel;

typedef struct ChannelOps {
        const char *name; /* of its event sources */
        size_t line_max;
        int mark; /* as in a LineReader */
        int64_t priority;
        void (*on_line)(void *userdata, const Line *line);
        void (*on_end)(void *userdata, int error); /* the peer has gone: 0, or why */
} ChannelOps;

/* lifetime */

/*
 * Begins and ends the connecting: a unix socket answers at once. The way to it must be safe
 * (common/safe-path.h), and the one who listens there its owner or root. A socket that was made less than
 * @age_usec ago, by the wall clock and the time that its file system keeps, is left in peace.
 *
 * Returns: 0 and a non-blocking fd; -EPERM with the reason in *@ret_why (static) if it is not; -EBUSY if it is too
 * young; -EAGAIN with its backlog full; others as safe_path_open() and connect(2) have them, without a reason.
 */
int channel_connect(const char *path, uint64_t age_usec, int *ret_fd, const char **ret_why);

/* The user who listened on the other end of a connected socket. Returns: 0; as getsockopt(2). */
int channel_fd_user(int fd, uid_t *ret);

/* Makes a channel of @fd, which it owns on success. @ops is borrowed for its life. */
int channel_new(sd_event *event, int fd, const ChannelOps *ops, void *userdata, Channel **ret);
Channel *channel_free(Channel *c);

DEFINE_CLEANUP(Channel *, channel_free);

/* use */

/*
 * Sends @text with one system call; what the socket does not take is kept and sent when it does.
 *
 * Returns: 0; -ENOBUFS if much is kept already; others as send(2) has them. on_end() is never called
 * from here: that the peer has gone is read.
 */
int channel_send(Channel *c, const char *text, size_t size);

/* Whether the peer has read all that was sent, and nothing of what it has sent is unread. */
bool channel_is_quiet(const Channel *c);

/*
 * The process that wrote first at the other end; before anything was, the one that listened, which may have given the
 * socket away, and be gone. Returns: 0; -ENODATA if it cannot be seen from here.
 */
int channel_get_peer(Channel *c, pid_t *ret_pid);

/* As channel_fd_user(). */
int channel_get_user(Channel *c, uid_t *ret);
