/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * D-Bus Interface
 *
 * org.suspendd1 on the system bus: the Manager object, and one object a machine. Reading is for
 * everybody; what changes anything goes through bus_api_authorize(), the one place that decides who
 * may. Changes of machines are collected and told when no cycle waits for us.
 */

#include <systemd/sd-bus.h>
#include "daemon/cycle.h"

typedef struct BusApi BusApi;
typedef struct Manager Manager;

/* lifetime */

/* Adds the objects to the Manager's bus; the name is requested by the caller afterwards. */
int bus_api_new(Manager *manager, BusApi **ret);
BusApi *bus_api_free(BusApi *b);

DEFINE_CLEANUP(BusApi *, bus_api_free);

/* what to tell */

void bus_api_machine_added(BusApi *b, Machine *m);
void bus_api_machine_removed(BusApi *b, Machine *m);
/* Marks it; bus_api_flush() sends PropertiesChanged. */
void bus_api_machine_changed(BusApi *b, Machine *m);
void bus_api_manager_changed(BusApi *b, const char *property);
void bus_api_milestone(BusApi *b, CycleMilestone milestone, Machine *m);
void bus_api_flush(BusApi *b);

/* who may */

/*
 * Whether the sender of @message may change things.
 *
 * Returns: 0; -EACCES, and @error is set.
 */
int bus_api_authorize(sd_bus_message *message, sd_bus_error *error);
