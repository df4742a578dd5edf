/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Fake QEMUs
 *
 * Any number of machines, each with a monitor socket and perhaps an agent's, that behave well or
 * badly by name. A Machine owns its two Channels; a Channel owns its listening socket, the one
 * client it serves at a time (others wait in the backlog, as with QEMU), and what goes in and out.
 *
 * What reaches an agent stays with the machine while it does not run and outlives the client that
 * sent it: that is how a stale suspend strikes after the wake-up.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>
#include "common/list.h"
#include "common/macro.h"

typedef struct Channel Channel;
typedef struct Machine Machine;

typedef enum MonitorKind {
        MONITOR_GOOD,    /* as QEMU; the argument is the time in ms that stop and cont take */
        MONITOR_HUNG,    /* never acts on `stop` nor answers it */
        MONITOR_DEAF,    /* greets, answers nothing at all */
        MONITOR_MUTE,    /* accepts, never greets */
        MONITOR_BUSY,    /* held by another client: never accepts */
        MONITOR_FLOOD,   /* writes RTC_CHANGE events as fast as they are read */
        MONITOR_DRIP,    /* a byte each second, or each argument ms */
        MONITOR_LONG,    /* before acting on `stop`, a line of 10 MB, or argument MB */
        MONITOR_DEEP,    /* ... 10^6 nested brackets */
        MONITOR_BADUTF8, /* ... an event that is not UTF-8 */
        MONITOR_GARBAGE, /* ... a line that is not JSON */
        MONITOR_SPLIT,   /* an event before and after each reply, all in single bytes */
        MONITOR_LIE,     /* answers `stop` and runs on */
        MONITOR_NOREPLY, /* acts on `stop`, sends the event, never the reply */
        MONITOR_DIES,    /* vanishes at `stop` */
        _MONITOR_KIND_MAX,
        _MONITOR_KIND_INVALID = -1,
} MonitorKind;

typedef enum AgentKind {
        AGENT_NONE,      /* no socket */
        AGENT_GOOD,      /* the argument is the time in ms from the request to the SUSPEND event */
        AGENT_HUNG,      /* takes everything, answers nothing */
        AGENT_SLOW,      /* each command takes 2 s, or argument ms */
        AGENT_ERROR,     /* refuses to suspend */
        AGENT_NOSUSPEND, /* says that guest-suspend-ram is not enabled */
        AGENT_GARBAGE,   /* leftovers of an earlier talk before the 0xff */
        AGENT_LIE,       /* takes the suspend and does not do it */
        AGENT_LATE,      /* takes the suspend and does it 3 s, or argument ms, later */
        _AGENT_KIND_MAX,
        _AGENT_KIND_INVALID = -1,
} AgentKind;

struct Channel {
        Machine *machine;
        bool is_agent;
        bool is_negotiated;
        char *path;
        int listen_fd, fd;
        sd_event_source *accept_source, *io_source, *hold_timer, *drip_timer;
        json_tokener *tokener;
        json_object *held; /* the command at work: nothing further is read from `in` */
        char *in, *out;
        size_t n_in, n_out;
};

struct Machine {
        List link;
        sd_event *event;
        char *name;
        char state[24]; /* the run state, as query-status tells it */
        MonitorKind monitor_kind;
        AgentKind agent_kind;
        unsigned monitor_arg, agent_arg;
        Channel monitor, agent;
        sd_event_source *suspend_timer;
        bool suspend_is_due;     /* the guest was asked and has been stopped since */
        int64_t clock_offset_ns; /* the guest's wall clock minus the host's */
        int64_t stopped_boottime_ns;
};

/* machines (qmp-machine.c) */

/*
 * Makes a machine by a specification NAME=MONITOR[:ARG][+AGENT[:ARG]], its sockets NAME.qmp and
 * NAME.qga in @dir.
 *
 * Returns: 0; -EINVAL for a specification that is none; negative errno.
 */
int machine_new(sd_event *event, const char *dir, const char *spec, Machine **ret_machine);
Machine *machine_free(Machine *m);

DEFINE_CLEANUP(Machine *, machine_free);

bool machine_is_running(const Machine *m);
void machine_set_state(Machine *m, const char *state);

/* Sends @name to the monitor's client, if there is one; @data is JSON or NULL. */
void machine_emit(Machine *m, const char *name, const char *data);

/* `stop` and `cont`, system_wakeup and the guest's own suspend, each with its events. */
void machine_stop(Machine *m);
void machine_cont(Machine *m);
bool machine_wake(Machine *m);
void machine_suspend_in(Machine *m, unsigned delay_msec);

/* Closes and removes both sockets, as when QEMU dies. */
void machine_die(Machine *m);

/* The guest's wall clock, and setting it. */
int64_t machine_get_clock(const Machine *m);
void machine_set_clock(Machine *m, int64_t realtime_ns);

MonitorKind monitor_kind_from_string(const char *s);
AgentKind agent_kind_from_string(const char *s);

/* One line to stdout: a CLOCK_MONOTONIC stamp, the machine, @what and @text. */
void machine_log(const Machine *m, const char *what, const char *text);

/* channels (qmp-conn.c) */

int channel_open(Channel *c, Machine *m, bool is_agent, const char *path);
void channel_close(Channel *c);
void channel_drop_client(Channel *c);
void channel_send(Channel *c, const void *data, size_t n);
void channel_process(Channel *c);

/* Answers the command @command with @value (JSON text), or an error of @class. */
void channel_reply(Channel *c, json_object *command, const char *value);
void channel_reply_error(Channel *c, json_object *command, const char *class, const char *text);

/* what they say (qmp-monitor.c, qmp-agent.c) */

void monitor_greet(Channel *c);
void monitor_run(Channel *c, json_object *command);
void monitor_blurt(Channel *c);
unsigned monitor_delay_msec(const Channel *c, json_object *command);
void monitor_refill(Channel *c);

void agent_run(Channel *c, json_object *command);
unsigned agent_delay_msec(const Channel *c);
