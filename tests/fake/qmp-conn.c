/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A socket, the client it serves, and the bytes in both directions. Nothing here knows a command.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "qmp-fake.h"

#define IN_MAX_BYTES (1024 * 1024)
#define OUT_MAX_BYTES (64 * 1024 * 1024)
#define READ_BYTES 65536

static bool channel_is_single_byte(const Channel *c) {
        return !c->is_agent && c->machine->monitor_kind == MONITOR_SPLIT;
}

static bool channel_is_dripping(const Channel *c) {
        return !c->is_agent && c->machine->monitor_kind == MONITOR_DRIP;
}

static bool channel_is_flooding(const Channel *c) {
        return !c->is_agent && c->machine->monitor_kind == MONITOR_FLOOD && c->is_negotiated;
}

/* output */

static void channel_want(Channel *c) {
        bool write = (c->n_out > 0 && !channel_is_dripping(c)) || channel_is_flooding(c);

        if (c->io_source)
                (void) sd_event_source_set_io_events(
                                c->io_source, EPOLLIN | (write ? EPOLLOUT : 0));
}

/* Returns: 0; negative when the client has gone. */
static int channel_write(Channel *c, size_t n_max) {
        ssize_t n;

        n = send(c->fd, c->out, MIN(c->n_out, n_max), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;

        c->n_out -= (size_t) n;
        memmove(c->out, c->out + n, c->n_out);
        return 0;
}

static int channel_on_drip(sd_event_source *s, uint64_t usec, void *userdata) {
        Channel *c = userdata;
        unsigned msec = c->machine->monitor_arg > 0 ? c->machine->monitor_arg : 1000;

        (void) usec;
        if (c->fd < 0)
                return 0;
        if (channel_write(c, 1) < 0) {
                channel_drop_client(c);
                return 0;
        }
        if (c->n_out > 0) {
                (void) sd_event_source_set_time_relative(s, (uint64_t) msec * 1000);
                (void) sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
        }
        return 0;
}

static void channel_start_drip(Channel *c) {
        int enabled = SD_EVENT_OFF;

        if (c->drip_timer && sd_event_source_get_enabled(c->drip_timer, &enabled) >= 0 &&
            enabled != SD_EVENT_OFF)
                return;
        c->drip_timer = sd_event_source_disable_unref(c->drip_timer);
        (void) sd_event_add_time_relative(
                        c->machine->event,
                        &c->drip_timer,
                        CLOCK_MONOTONIC,
                        0,
                        1,
                        channel_on_drip,
                        c);
}

void channel_send(Channel *c, const void *data, size_t n) {
        char *out;

        if (c->fd < 0 || c->n_out + n > OUT_MAX_BYTES)
                return;
        out = realloc(c->out, c->n_out + n);
        if (!out)
                return;
        memcpy(out + c->n_out, data, n);
        c->out = out;
        c->n_out += n;

        if (channel_is_dripping(c))
                channel_start_drip(c);
        else if (!channel_is_single_byte(c))
                (void) channel_write(c, SIZE_MAX);
        channel_want(c);
}

static void channel_send_object(Channel *c, json_object *reply) {
        _cleanup_free_ char *line = NULL;
        int n;

        n = asprintf(&line,
                     c->is_agent ? "%s\n" : "%s\r\n",
                     json_object_to_json_string_ext(
                                     reply,
                                     JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
        if (n > 0)
                channel_send(c, line, (size_t) n);
}

static void channel_finish_reply(
                Channel *c, json_object *command, const char *key, json_object *value) {
        json_object *reply = json_object_new_object(), *id = NULL;

        json_object_object_add(reply, key, value);
        if (json_object_object_get_ex(command, "id", &id))
                json_object_object_add(reply, "id", json_object_get(id));

        if (channel_is_single_byte(c))
                machine_emit(c->machine, "RTC_CHANGE", "{\"offset\": 0}");
        channel_send_object(c, reply);
        if (channel_is_single_byte(c))
                machine_emit(c->machine, "RTC_CHANGE", "{\"offset\": 1}");
        json_object_put(reply);
}

void channel_reply(Channel *c, json_object *command, const char *value) {
        channel_finish_reply(c, command, "return", json_tokener_parse(value));
}

void channel_reply_error(Channel *c, json_object *command, const char *class, const char *text) {
        json_object *error = json_object_new_object();

        json_object_object_add(error, "class", json_object_new_string(class));
        json_object_object_add(error, "desc", json_object_new_string(text));
        channel_finish_reply(c, command, "error", error);
}

/* input */

static void channel_run(Channel *c, json_object *command) {
        json_object *name = NULL;

        if (!json_object_is_type(command, json_type_object) ||
            (!json_object_object_get_ex(command, "execute", &name) &&
             !json_object_object_get_ex(command, "exec-oob", &name))) {
                channel_reply_error(c, command, "GenericError", "QMP input lacks member 'execute'");
                return;
        }
        machine_log(c->machine, c->is_agent ? "agent" : "monitor", json_object_get_string(name));
        if (c->is_agent)
                agent_run(c, command);
        else
                monitor_run(c, command);
}

static int channel_on_held_long_enough(sd_event_source *s, uint64_t usec, void *userdata) {
        Channel *c = userdata;
        json_object *command = TAKE_PTR(c->held);

        (void) s;
        (void) usec;
        channel_run(c, command);
        json_object_put(command);
        channel_process(c);
        return 0;
}

static void channel_hold(Channel *c, json_object *command, unsigned msec) {
        c->held = json_object_get(command);
        c->hold_timer = sd_event_source_disable_unref(c->hold_timer);
        (void) sd_event_add_time_relative(
                        c->machine->event,
                        &c->hold_timer,
                        CLOCK_MONOTONIC,
                        (uint64_t) msec * 1000,
                        1,
                        channel_on_held_long_enough,
                        c);
}

/* an agent's parser starts anew at each 0xff, which is in no UTF-8 */
static void channel_skip_sentinels(Channel *c) {
        char *end = c->n_in > 0 ? memrchr(c->in, 0xff, c->n_in) : NULL;

        if (!end)
                return;
        c->n_in -= (size_t) (end + 1 - c->in);
        memmove(c->in, end + 1, c->n_in);
        json_tokener_reset(c->tokener);
}

/* Returns: the next whole command in the input, or NULL; what it came from is taken out. */
static json_object *channel_next(Channel *c) {
        json_object *command;
        size_t n_used;

        command = json_tokener_parse_ex(c->tokener, c->in, (int) c->n_in);
        n_used = c->n_in;
        if (command)
                n_used = json_tokener_get_parse_end(c->tokener);
        else if (json_tokener_get_error(c->tokener) != json_tokener_continue) {
                json_object *none = json_object_new_object();

                json_tokener_reset(c->tokener);
                channel_reply_error(c, none, "GenericError", "JSON parse error");
                json_object_put(none);
        }
        c->n_in -= n_used;
        memmove(c->in, c->in + n_used, c->n_in);
        return command;
}

void channel_process(Channel *c) {
        if (c->is_agent)
                channel_skip_sentinels(c);

        while (c->n_in > 0 && !c->held) {
                unsigned msec;
                json_object *command;

                if (c->is_agent &&
                    (!machine_is_running(c->machine) || c->machine->agent_kind == AGENT_HUNG))
                        return;
                command = channel_next(c);
                if (!command)
                        continue;
                msec = c->is_agent ? agent_delay_msec(c) : monitor_delay_msec(c, command);
                if (msec > 0)
                        channel_hold(c, command, msec);
                else
                        channel_run(c, command);
                json_object_put(command);
        }
}

static int channel_read(Channel *c) {
        ssize_t n;
        char *in;

        in = realloc(c->in, c->n_in + READ_BYTES);
        if (!in)
                return -ENOMEM;
        c->in = in;

        n = recv(c->fd, c->in + c->n_in, READ_BYTES, MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0)
                return -ECONNRESET;
        c->n_in += (size_t) n;
        return c->n_in > IN_MAX_BYTES ? -EMSGSIZE : 0;
}

static int channel_on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Channel *c = userdata;
        int r = 0;

        (void) s;
        (void) fd;
        if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
                r = channel_read(c);
        if (r >= 0 && (revents & EPOLLOUT)) {
                r = channel_write(c, channel_is_single_byte(c) ? 1 : SIZE_MAX);
                if (c->n_out == 0 && channel_is_flooding(c))
                        monitor_refill(c);
        }
        if (r < 0) {
                channel_drop_client(c);
                return 0;
        }
        channel_process(c);
        channel_want(c);
        return 0;
}

/* clients */

static int channel_on_connect(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Channel *c = userdata;

        (void) revents;
        c->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (c->fd < 0)
                return 0;

        (void) sd_event_source_set_enabled(s, SD_EVENT_OFF);
        (void) sd_event_add_io(c->machine->event, &c->io_source, c->fd, EPOLLIN, channel_on_io, c);
        c->is_negotiated = c->is_agent;
        if (!c->is_agent && c->machine->monitor_kind != MONITOR_MUTE)
                monitor_greet(c);
        return 0;
}

void channel_drop_client(Channel *c) {
        c->io_source = sd_event_source_disable_unref(c->io_source);
        c->drip_timer = sd_event_source_disable_unref(c->drip_timer);
        closep(&c->fd);
        c->fd = -1;
        c->n_out = 0;
        if (!c->is_agent) {
                c->n_in = 0;
                c->is_negotiated = false;
                json_tokener_reset(c->tokener);
        }
        if (c->accept_source && c->machine->monitor_kind != MONITOR_BUSY)
                (void) sd_event_source_set_enabled(c->accept_source, SD_EVENT_ON);
}

int channel_open(Channel *c, Machine *m, bool is_agent, const char *path) {
        /* a daemon leaves a socket that is new in peace for a moment, and this one needs none */
        static const struct timespec long_ago[2];
        struct sockaddr_un a = { .sun_family = AF_UNIX };

        *c = (Channel){ .machine = m, .is_agent = is_agent, .listen_fd = -1, .fd = -1 };
        c->tokener = json_tokener_new();
        c->path = strdup(path);
        if (!c->tokener || !c->path)
                return -ENOMEM;
        if (strlen(path) >= sizeof(a.sun_path))
                return -ENAMETOOLONG;
        memcpy(a.sun_path, path, strlen(path) + 1);

        c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (c->listen_fd < 0)
                return -errno;
        (void) unlink(path);
        if (bind(c->listen_fd, (struct sockaddr *) &a, sizeof(a)) < 0 ||
            listen(c->listen_fd, 1) < 0 || utimensat(AT_FDCWD, path, long_ago, 0) < 0)
                return -errno;
        if (!is_agent && m->monitor_kind == MONITOR_BUSY)
                return 0;
        return sd_event_add_io(
                        m->event, &c->accept_source, c->listen_fd, EPOLLIN, channel_on_connect, c);
}

void channel_close(Channel *c) {
        if (!c->path)
                return;

        c->accept_source = sd_event_source_disable_unref(c->accept_source);
        channel_drop_client(c);
        c->hold_timer = sd_event_source_disable_unref(c->hold_timer);
        closep(&c->listen_fd);
        (void) unlink(c->path);
        json_object_put(c->held);
        json_tokener_free(c->tokener);
        free(c->path);
        free(c->in);
        free(c->out);
        *c = (Channel){ .machine = c->machine, .is_agent = c->is_agent, .listen_fd = -1, .fd = -1 };
}
