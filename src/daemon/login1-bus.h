/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * logind's Bus Names
 *
 * What all who talk to logind have in common: its names, and how to be told that it comes and goes.
 * sd-bus lets a signal that is sent to us alone pass any match by a well-known sender, so that
 * everybody on the bus could play logind: who sent it must be looked at.
 */

#include <systemd/sd-bus.h>
#include "common/macro.h"

#define LOGIN1_NAME "org.freedesktop.login1"
#define LOGIN1_PATH "/org/freedesktop/login1"
#define LOGIN1_MANAGER "org.freedesktop.login1.Manager"

/*
 * Asks, without waiting, to be told when logind's owner changes.
 *
 * Returns: 0 and a slot in *@ret_slot; a negative errno.
 */
int login1_match_owner(
                sd_bus *bus,
                sd_bus_message_handler_t on_owner_changed,
                void *userdata,
                sd_bus_slot **ret_slot);

/*
 * Reads such a message. *@ret_owner is the new owner's unique name, borrowed from @m; empty if logind
 * is gone.
 *
 * Returns: 0; -EPERM if it is not the bus itself that says so; -EBADMSG.
 */
int login1_read_owner(sd_bus_message *m, const char **ret_owner);

/*
 * Asks for the property @name of an object, giving up after @timeout_usec (0: sd-bus's own). Never starts
 * a service that is not there.
 *
 * Returns: 0 and the pending call in *@ret_slot; a negative errno.
 */
typedef struct PropertyQuery {
        const char *destination, *path, *interface, *name;
        uint64_t timeout_usec;
} PropertyQuery;

int property_query(
                sd_bus *bus,
                const PropertyQuery *query,
                sd_bus_message_handler_t on_reply,
                void *userdata,
                sd_bus_slot **ret_slot);
