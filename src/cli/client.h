/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Bus Client
 *
 * suspendctl's side of org.suspendd1: calls whose errors are told to the user once, in words, and
 * turned into the exit status; answers as JSON, cleaned of whatever a terminal would obey; and
 * waiting for signals.
 */

#include <systemd/sd-bus.h>
#include "common/json-bounded.h"

/* Exit statuses, as suspendctl(1) lists them. */
typedef enum ExitStatus {
        STATUS_OK,
        STATUS_FAILURE,
        STATUS_BAD_ARGUMENTS,
        STATUS_NOT_RUNNING,
        STATUS_NO_SUCH_MACHINE,
        STATUS_REFUSED,
        STATUS_LEFT_WRONG, /* a machine failed, or its clock is not right */
} ExitStatus;

typedef struct Client Client;

/* Told of each signal of suspendd; @event is borrowed. See event.h. */
typedef void (*ClientFn)(JsonObject *event, void *userdata);

/* lifetime */

/* Connects to the system bus. Returns: 0; an ExitStatus, and the user has been told. */
int client_new(Client **ret);
Client *client_free(Client *c);

DEFINE_CLEANUP(Client *, client_free);

/* calls; each returns 0 or an ExitStatus, and the user has been told */

/* How long each call that follows may take; 25 s at first. */
void client_set_timeout(Client *c, uint64_t usec);

/* Lets polkit ask the user for a password; each call that follows may take two minutes longer for that. */
void client_let_ask(Client *c);

/* A method of the Manager, or of the machine at @path. Never starts the daemon. @ret may be NULL. */
int client_call(Client *c,
                const char *path,
                const char *method,
                sd_bus_message **ret,
                const char *types,
                ...);

/* All properties of the Manager (@path NULL) or a machine, by their D-Bus names. */
int client_properties(Client *c, const char *path, JsonObject **ret);

/*
 * The machines that match one of @patterns (NULL-terminated, none: all) by id, name or UUID, as
 * `suspendctl list --json` shows them, sorted, each with its object's "path" besides.
 */
int client_machines(Client *c, char **patterns, JsonObject **ret);

/* The newest @max (0: all) records, oldest first. */
int client_history(Client *c, unsigned max, JsonObject **ret);

/* signals */

/* Has @fn called for each signal from now on. */
int client_subscribe(Client *c, ClientFn fn, void *userdata);

/*
 * Handles signals until *@done, or for @timeout_usec (USEC_INFINITY: for ever).
 *
 * Returns: 0; STATUS_FAILURE when the time is over, of which the user was not told; another
 * ExitStatus without a bus.
 */
int client_wait(Client *c, const bool *done, uint64_t timeout_usec);

/* helpers */

/* Tells the user "suspendctl: …", made clean: an argument may be a guest's name. Returns: @status. */
int fail(ExitStatus status, const char *format, ...) _printf_(2, 3);
