/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * QMP Monitor
 *
 * One connection to QEMU's monitor: greeting, capabilities, commands with answers in their order, and
 * events. QEMU stops reading a client that has more than eight commands under way, so at most two
 * are; the rest wait here. Where two were read and neither is answered, one that waits ends the
 * connection. A monitor serves one client at a time and takes the next one's connection without a
 * word: until the greeting comes, somebody else holds it.
 *
 * A Monitor belongs to a Vm, which may free it from within any callback.
 * Source: QEMU's docs/interop/qmp-spec.txt.
 */

#include <systemd/sd-event.h>
#include "common/json-view.h"
#include "common/macro.h"
#include "common/time-util.h"

/* What may wait for its turn. */
#define MONITOR_COMMANDS_MAX 16
#define MONITOR_IN_FLIGHT_MAX 2
/* So long after a command had to wait it is looked at why; what was read is then answered long ago. */
#define MONITOR_DOUBT_USEC USEC_PER_SEC

typedef struct Monitor Monitor;

typedef struct MonitorOps {
        /* Capabilities are negotiated; @greeting is {"QMP": …}, borrowed. */
        void (*on_ready)(void *userdata, const JsonView *greeting);
        void (*on_event)(void *userdata, const char *name, const JsonView *event);
        /*
         * Nothing more comes: 0 if QEMU closed it, else an errno and the reason in words; -ETIMEDOUT: its
         * answers get lost.
         */
        void (*on_end)(void *userdata, int error, const char *why);
} MonitorOps;

/*
 * Ends a command: @error is 0 and @value what it returned, borrowed; or @error is a negative errno
 * and @why QEMU's words: -EOPNOTSUPP for a command it does not know, else -EIO.
 */
typedef void (*MonitorReplyFn)(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why);

typedef struct MonitorCommand {
        const char *execute;   /* static */
        const char *arguments; /* static JSON, or NULL */
        MonitorReplyFn on_reply;
        void *userdata;
        uint64_t tag; /* handed back: a step, or 0 */
} MonitorCommand;

/* lifetime */

/* Waits for the greeting on @fd, a connected socket that it owns on success. */
int monitor_new(sd_event *event, int fd, const MonitorOps *ops, void *userdata, Monitor **ret);

/* Commands that are under way are forgotten, not answered. */
Monitor *monitor_free(Monitor *m);

DEFINE_CLEANUP(Monitor *, monitor_free);

/* use */

/* Returns: 0; -ENOTCONN before on_ready(); -EBUSY if too many wait; as channel_send(). */
int monitor_send(Monitor *m, const MonitorCommand *command);

/* Forgets what waits for its turn under @tag. Returns: false if nothing did; what is written is answered. */
bool monitor_cancel(Monitor *m, uint64_t tag);

/* What QEMU is at, for it does one after the other: the first command that it has not answered; NULL if there is none. */
const char *monitor_at_hand(const Monitor *m);

/* Whether QEMU has greeted us. */
bool monitor_is_greeted(const Monitor *m);

/* QEMU's process, as channel_get_peer() has it. Returns: 0; -ENODATA. */
int monitor_get_pid(Monitor *m, pid_t *ret_pid);

/* The user who listens for clients. Returns: 0; -ENODATA; as channel_fd_user(). */
int monitor_get_user(Monitor *m, uid_t *ret);
