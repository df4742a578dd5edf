/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Fake Peer
 *
 * The other end of a monitor's or an agent's socket, played by the test itself: it says and awaits
 * lines while the fake host's loop runs.
 */

#include <sys/types.h>
#include "fake-host.h"

#define FAKE_LINE_MAX 4096

typedef struct FakePeer {
        FakeHost *host;
        int listen_fd, fd;
        char heard[65536]; /* not yet awaited */
        size_t n_heard;
        char line[FAKE_LINE_MAX]; /* the last one awaited */
        bool is_closed;           /* by the plugin */
} FakePeer;

/* One end of a pair of sockets; the other, non-blocking, is *@ret_fd. */
void fake_peer_pair(FakePeer *p, FakeHost *host, int *ret_fd);

/* Listens at @path, a socket as old as the hills; the connection is taken by fake_peer_accept(). */
void fake_peer_listen(FakePeer *p, FakeHost *host, const char *path);
/* The socket was made at @realtime_ns (CLOCK_REALTIME). */
void fake_peer_date(const char *path, int64_t realtime_ns);
void fake_peer_accept(FakePeer *p);
void fake_peer_hang_up(FakePeer *p);
void fake_peer_done(FakePeer *p);

void fake_peer_say(FakePeer *p, const char *text);

/* As much as the socket takes. Returns: how much that was. */
size_t fake_peer_pour(FakePeer *p, const char *bytes, size_t size);

/* Waits for a line that contains @text, throws away those before. Returns: the line, till the next. */
const char *fake_peer_await(FakePeer *p, const char *text);

/* Reads what there is. Returns: whether a line that is not awaited yet contains @text. */
bool fake_peer_hears(FakePeer *p, const char *text);

/* Reads what there is. Returns: whether the plugin has closed its end. */
bool fake_peer_is_closed(FakePeer *p);

/* QEMU: awaits the command and answers it with @value, or with an error. */
void fake_peer_answer(FakePeer *p, const char *execute, const char *value);
void fake_peer_refuse(FakePeer *p, const char *execute, const char *class, const char *why);
void fake_peer_greet(FakePeer *p);

/* QEMU: greets and answers all that it is asked about itself. */
void fake_peer_identify(FakePeer *p, const char *name, const char *status);

/* The agent: answers the next sync; says what guest-info has, all of it enabled. */
void fake_peer_sync(FakePeer *p);
void fake_peer_inform(FakePeer *p);
