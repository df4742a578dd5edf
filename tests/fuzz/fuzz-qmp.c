/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * QMP Peers, Fuzzed
 *
 * Any bytes from a monitor (first byte even) or a guest agent (odd), the next byte being the size of
 * the pieces they come in. With 2 in the first byte the monitor has greeted, and answered the first command,
 * which nobody does by chance: a connection ends at most once and is silent from then on, each command is
 * answered at most once, and an agent that cannot know our sync's id never gets to see a suspend.
 */

#include <stdbool.h>
#include <sys/socket.h>
#include "fuzz.h"
#include "plugins/qmp/agent.h"
#include "plugins/qmp/monitor.h"

#define STEP 7
#define HEARD_MAX 65536

typedef struct Peer {
        sd_event *event;
        int fd;
        Monitor *monitor;
        Agent *agent;
        bool is_ready, is_over, is_answered;
} Peer;

/* a monitor's owner */

static void on_reply(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Peer *p = userdata;

        (void) why;
        HOLDS(!p->is_over && !p->is_answered);
        HOLDS(tag == STEP && !!value == (error >= 0));
        p->is_answered = true;
}

static void on_ready(void *userdata, const JsonView *greeting) {
        Peer *p = userdata;
        MonitorCommand stop = {
                .execute = "stop", .on_reply = on_reply, .userdata = p, .tag = STEP
        };

        HOLDS(!p->is_over && !p->is_ready && greeting);
        p->is_ready = true;
        (void) monitor_send(p->monitor, &stop);
}

static void on_event(void *userdata, const char *name, const JsonView *event) {
        Peer *p = userdata;

        HOLDS(!p->is_over && p->is_ready && name && event);
}

static void on_monitor_end(void *userdata, int error, const char *why) {
        Peer *p = userdata;

        HOLDS(!p->is_over && error <= 0 && why);
        p->is_over = true;
        p->monitor = monitor_free(p->monitor);
}

/* an agent's owner */

static void on_change(void *userdata) {
        (void) userdata;
        HOLDS(false); /* the id was not guessed */
}

static void on_done(
                void *userdata, enum suspendd_act act, uint64_t step, int error, const char *why) {
        (void) act, (void) step, (void) error, (void) why;
        on_change(userdata);
}

static void on_time(void *userdata, uint64_t step, const struct suspendd_time *t) {
        (void) step, (void) t;
        on_change(userdata);
}

static void on_agent_end(void *userdata, int error) {
        Peer *p = userdata;

        HOLDS(!p->is_over && error <= 0);
        p->is_over = true;
        p->agent = agent_free(p->agent);
}

/* the peer */

static const MonitorOps monitor_ops = {
        .on_ready = on_ready,
        .on_event = on_event,
        .on_end = on_monitor_end,
};

static const AgentOps agent_ops = {
        .on_change = on_change,
        .on_done = on_done,
        .on_time = on_time,
        .on_end = on_agent_end,
};

static void peer_connect(Peer *p, bool is_agent) {
        int fds[2];

        HOLDS(sd_event_new(&p->event) >= 0);
        HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
        p->fd = fds[0];
        if (!is_agent) {
                HOLDS(monitor_new(p->event, fds[1], &monitor_ops, p, &p->monitor) == 0);
                return;
        }
        HOLDS(agent_new(p->event, fds[1], &agent_ops, p, &p->agent) == 0);
        HOLDS(agent_start(p->agent, SUSPENDD_ACT_SUSPEND, STEP, 0) == SUSPENDD_PENDING);
}

static void peer_turn(Peer *p) {
        while (sd_event_run(p->event, 0) > 0)
                ;
}

static void peer_say(const Peer *p, const char *text) {
        HOLDS(send(p->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) ==
              (ssize_t) strlen(text));
}

/* As QEMU does; the id of the first command is this connection's own. */
static void peer_greet(Peer *p) {
        char heard[256], answer[64];
        const char *id;
        ssize_t n;

        peer_say(p, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n");
        peer_turn(p);
        n = recv(p->fd, heard, sizeof(heard) - 1, MSG_DONTWAIT);
        HOLDS(n > 0);
        heard[n] = '\0';
        id = strstr(heard, "\"id\":");
        HOLDS(id);
        (void) snprintf(answer,
                        sizeof(answer),
                        "{\"return\": {}, %.*s}\n",
                        (int) strcspn(id, ",}"),
                        id);
        peer_say(p, answer);
        peer_turn(p);
        HOLDS(p->is_ready);
}

static void peer_disconnect(Peer *p) {
        monitor_free(p->monitor);
        agent_free(p->agent);
        (void) close(p->fd);
        sd_event_unref(p->event);
}

/* What it was sent until now holds no suspend. */
static void peer_hear(Peer *p) {
        static char heard[HEARD_MAX];
        ssize_t n;

        n = recv(p->fd, heard, sizeof(heard), MSG_DONTWAIT);
        HOLDS(n <= 0 || !memmem(heard, (size_t) n, "suspend", strlen("suspend")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        size_t piece, done = 2;
        Peer p = {};

        if (size < 2)
                return 0;
        peer_connect(&p, data[0] & 1);
        if ((data[0] & 3) == 2)
                peer_greet(&p);
        piece = MAX((size_t) data[1] * data[1], (size_t) 1);
        while (done < size) {
                ssize_t n =
                                send(p.fd,
                                     data + done,
                                     MIN(piece, size - done),
                                     MSG_DONTWAIT | MSG_NOSIGNAL);

                if (n <= 0)
                        break;
                done += (size_t) n;
                HOLDS(sd_event_run(p.event, 0) >= 0);
        }
        peer_turn(&p);
        peer_hear(&p);
        peer_disconnect(&p);
        return 0;
}
