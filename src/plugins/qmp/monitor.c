/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/monitor.h"
#include <errno.h>
#include <inttypes.h>
#include "common/clock-sample.h"
#include "plugins/qmp/channel.h"

#define TEXT_MAX 256

static const JsonLimits monitor_limits = {
        .size_max = 256 * 1024,
        .values_max = 16 * 1024,
        .depth_max = 32,
};

typedef enum MonitorState {
        MONITOR_CONNECTED, /* no word from QEMU yet */
        MONITOR_GREETED,
        MONITOR_READY,
} MonitorState;

struct Monitor {
        const MonitorOps *ops;
        void *userdata;
        Channel *channel;
        sd_event *event;
        sd_event_source *doubt; /* while a command waits for others to be answered */
        bool *freed;            /* tells who is calling back that we are gone */
        MonitorState state;
        bool has_answered; /* since it is ready: one that never does loses nothing */
        JsonView *greeting;
        int64_t id; /* of this connection's first command: when it was opened, so of no other's */

        /* a ring: first what is under way, then what waits */
        MonitorCommand commands[MONITOR_COMMANDS_MAX];
        unsigned first, n_commands, n_in_flight;
};

static MonitorCommand *monitor_command(Monitor *m, unsigned i) {
        return &m->commands[(m->first + i) % MONITOR_COMMANDS_MAX];
}

/*
 * QEMU reads a monitor byte by byte, each by a round of its main loop: about 2 µs a byte, while a
 * hundred machines are waiting for the CPU. So nothing is written that is not needed.
 */
static int monitor_write(Monitor *m, const MonitorCommand *c) {
        char text[TEXT_MAX], id[32] = "";
        int n;

        if (m->state < MONITOR_READY)
                (void) snprintf(id, sizeof(id), ",\"id\":%" PRIi64, m->id);
        n = snprintf(text,
                     sizeof(text),
                     "{\"execute\":\"%s\"%s%s%s}\n",
                     c->execute,
                     id,
                     c->arguments ? ",\"arguments\":" : "",
                     c->arguments ? c->arguments : "");
        if (n < 0 || (size_t) n >= sizeof(text))
                return -EMSGSIZE;
        return channel_send(m->channel, text, (size_t) n);
}

/* Ends the connection; what follows on the line is not looked at. */
static void monitor_fail(Monitor *m, int error, const char *why) {
        m->doubt = sd_event_source_disable_unref(m->doubt);
        m->channel = channel_free(m->channel);
        m->ops->on_end(m->userdata, error, why);
}

/*
 * QEMU does not read a command before it has answered the one before. So where all that we wrote is
 * read, and we have read all that it wrote, an answer got lost, and what waits for it would wait for
 * ever. One that is frozen, or busy, has not read what we wrote.
 */
static int monitor_on_doubt(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        Monitor *m = userdata;

        m->doubt = sd_event_source_disable_unref(m->doubt);
        if (m->n_in_flight == MONITOR_IN_FLIGHT_MAX && channel_is_quiet(m->channel))
                monitor_fail(m, -ETIMEDOUT, "leaves commands without an answer");
        return 0;
}

/* From the first command on that waits: whoever sent it may give up, and come again. */
static void monitor_doubt(Monitor *m) {
        int r;

        if (!m->has_answered || m->doubt || m->n_commands == m->n_in_flight)
                return;
        r = sd_event_add_time_relative(
                        m->event,
                        &m->doubt,
                        CLOCK_MONOTONIC,
                        MONITOR_DOUBT_USEC,
                        1,
                        monitor_on_doubt,
                        m);
        if (r >= 0)
                (void) sd_event_source_set_description(m->doubt, "qmp-monitor-doubt");
}

static int monitor_write_more(Monitor *m) {
        while (m->n_in_flight < MIN(m->n_commands, (unsigned) MONITOR_IN_FLIGHT_MAX)) {
                unsigned i = m->n_in_flight;
                int r;

                r = monitor_write(m, monitor_command(m, i));
                if (r < 0)
                        return r;
                m->n_in_flight++;
        }
        monitor_doubt(m);
        return 0;
}

static int monitor_push(Monitor *m, const MonitorCommand *command) {
        int r;

        if (m->n_commands == MONITOR_COMMANDS_MAX)
                return -EBUSY;
        *monitor_command(m, m->n_commands++) = *command;
        r = monitor_write_more(m);
        if (r < 0 && m->n_in_flight < m->n_commands)
                m->n_commands--;
        return r;
}

int monitor_send(Monitor *m, const MonitorCommand *command) {
        if (!m->channel || m->state < MONITOR_READY)
                return -ENOTCONN;
        return monitor_push(m, command);
}

bool monitor_cancel(Monitor *m, uint64_t tag) {
        unsigned kept = m->n_in_flight, n = m->n_commands;

        for (unsigned i = m->n_in_flight; i < m->n_commands; i++)
                if (monitor_command(m, i)->tag != tag)
                        *monitor_command(m, kept++) = *monitor_command(m, i);
        m->n_commands = kept;
        return kept < n;
}

static void monitor_on_capable(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Monitor *m = userdata;
        _cleanup_view_ JsonView *greeting = NULL;

        (void) tag;
        (void) value;
        if (error < 0) {
                monitor_fail(m, error, why ?: "QEMU refuses its capabilities");
                return;
        }
        m->state = MONITOR_READY;
        greeting = TAKE_PTR(m->greeting);
        m->ops->on_ready(m->userdata, greeting);
}

/* Takes @message, if it is that. */
static void monitor_on_greeting(Monitor *m, JsonView **message) {
        const MonitorCommand first = {
                .execute = "qmp_capabilities",
                .on_reply = monitor_on_capable,
                .userdata = m,
        };
        const JsonView *qmp;
        int r;

        if (json_view_get_object(*message, "QMP", &qmp) < 0)
                return; /* an event may stand before it */
        m->state = MONITOR_GREETED;
        m->greeting = TAKE_PTR(*message);
        r = monitor_push(m, &first);
        if (r < 0)
                monitor_fail(m, r, "cannot write to the monitor");
}

/* QEMU's error classes are few and old; what is told apart is in the text. */
static int monitor_error(const JsonView *error, const char **ret_why) {
        const char *class;

        if (json_view_get_string(error, "desc", ret_why) < 0)
                *ret_why = NULL;
        if (json_view_get_string(error, "class", &class) >= 0 &&
            str_equal(class, "CommandNotFound"))
                return -EOPNOTSUPP;
        return -EIO;
}

/*
 * QEMU answers in the order of the commands. What an earlier client of the monitor had under way is
 * answered to us, before our first command: that one has an id to be known by. From then on answers have
 * none: of a VMM that gives one too many each is taken for the next command's, until nothing is under way.
 * It fools itself alone: an answer is not a fact.
 */
static bool monitor_is_for_us(Monitor *m, const JsonView *message) {
        int64_t id;

        return m->state == MONITOR_READY ||
               (json_view_get_int64(message, "id", &id) >= 0 && id == m->id);
}

/* Ends a command; whoever is told may free us, or end the connection. Returns: false if he has. */
static bool monitor_end_command(Monitor *m, const JsonView *value, int error, const char *why) {
        MonitorCommand c = *monitor_command(m, 0);
        bool freed = false;

        m->first = (m->first + 1) % MONITOR_COMMANDS_MAX;
        m->n_commands--;
        m->n_in_flight--;
        m->has_answered = m->state == MONITOR_READY;
        m->doubt = sd_event_source_disable_unref(m->doubt);
        if (!c.on_reply)
                return true;
        m->freed = &freed;
        c.on_reply(c.userdata, c.tag, value, error, why);
        if (freed)
                return false;
        m->freed = NULL;
        return m->channel;
}

/* What waits is written afterwards: by what the answer tells it may have been called back. */
static void monitor_on_reply(Monitor *m, const JsonView *message) {
        const JsonView *value = NULL, *failure;
        const char *why = NULL;
        int r, error = 0;

        if (m->n_in_flight == 0 || !monitor_is_for_us(m, message))
                return;
        if (json_view_get_object(message, "error", &failure) >= 0)
                error = monitor_error(failure, &why);
        else if (json_view_member(message, "return", &value) < 0)
                return;
        if (!monitor_end_command(m, value, error, why))
                return;
        r = monitor_write_more(m);
        if (r < 0)
                monitor_fail(m, r, "cannot write to the monitor");
}

static void monitor_on_line(void *userdata, const Line *line) {
        _cleanup_view_ JsonView *message = NULL;
        Monitor *m = userdata;
        const char *event;
        int r = -E2BIG;

        if (line->text)
                r = json_view_parse(line->text, line->size, &monitor_limits, &message);
        if (r >= 0 && json_view_kind(message) != JSON_KIND_OBJECT)
                r = -EBADMSG;
        if (r < 0) {
                monitor_fail(m, r, json_bounded_error(r));
                return;
        }
        if (json_view_get_string(message, "event", &event) >= 0) {
                if (m->state == MONITOR_READY)
                        m->ops->on_event(m->userdata, event, message);
        } else if (m->state == MONITOR_CONNECTED)
                monitor_on_greeting(m, &message);
        else
                monitor_on_reply(m, message);
}

static void monitor_on_end(void *userdata, int error) {
        monitor_fail(userdata, error, error < 0 ? strerror(-error) : "closed by QEMU");
}

static const ChannelOps monitor_channel_ops = {
        .name = "qmp-monitor",
        .line_max = 256 * 1024,
        .mark = -1,
        .priority = SD_EVENT_PRIORITY_NORMAL,
        .on_line = monitor_on_line,
        .on_end = monitor_on_end,
};

int monitor_new(sd_event *event, int fd, const MonitorOps *ops, void *userdata, Monitor **ret) {
        _cleanup_(monitor_freep) Monitor *m = calloc(1, sizeof(*m));
        int r;

        if (!m)
                return -ENOMEM;
        *m = (Monitor){ .ops = ops, .userdata = userdata, .id = clock_now_ns(CLOCK_MONOTONIC) };
        m->event = sd_event_ref(event);
        r = channel_new(event, fd, &monitor_channel_ops, m, &m->channel);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

Monitor *monitor_free(Monitor *m) {
        if (!m)
                return NULL;
        channel_free(m->channel);
        sd_event_source_disable_unref(m->doubt);
        sd_event_unref(m->event);
        if (m->freed)
                *m->freed = true;
        json_view_free(m->greeting);
        free(m);
        return NULL;
}

const char *monitor_at_hand(const Monitor *m) {
        return m->n_in_flight > 0 ? m->commands[m->first].execute : NULL;
}

bool monitor_is_greeted(const Monitor *m) {
        return m->state >= MONITOR_GREETED;
}

int monitor_get_pid(Monitor *m, pid_t *ret_pid) {
        return m->channel ? channel_get_peer(m->channel, ret_pid) : -ENODATA;
}

int monitor_get_user(Monitor *m, uid_t *ret) {
        return m->channel ? channel_get_user(m->channel, ret) : -ENODATA;
}
