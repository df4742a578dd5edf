/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * D-Bus Interface
 *
 * org.suspendd1 on the system bus: the Manager object, and one object a machine, on a connection of
 * their own. Reading is for everybody; what changes anything, and what is private, goes through
 * bus_api_authorize(), the one place that decides who may. Changes of machines are collected and told
 * when no cycle waits for us; answers that take long are given when no sleep is prepared.
 */

#include <systemd/sd-bus.h>
#include "daemon/cycle.h"

typedef struct BusApi BusApi;
typedef struct Manager Manager;

/* lifetime */

/* Adds the objects to the Manager's api_bus; the name is requested by the caller afterwards. */
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

/* What polkit calls what may be done; conf/org.suspendd1.policy says who may by default. */
#define ACTION_MANAGE_MACHINES "org.suspendd1.manage-machines"
#define ACTION_MANAGE_PAGES "org.suspendd1.manage-pages"
#define ACTION_NOTIFY "org.suspendd1.notify"
#define ACTION_REHEARSE "org.suspendd1.rehearse"
#define ACTION_RELOAD "org.suspendd1.reload"
#define ACTION_SET_MODE "org.suspendd1.set-mode"
#define ACTION_STORE_MODE "org.suspendd1.store-mode"
#define ACTION_SYNC_CLOCK "org.suspendd1.sync-clock"

/* Whether the sender of @call may do @action. Returns: 0; else what the method returns: authority.h. */
int bus_api_authorize(BusApi *b, sd_bus_message *call, const char *action, sd_bus_error *error);
