/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Authority
 *
 * Who may call what. Root may, and so may the user that the daemon runs as, who may steer it anyway; of
 * all others polkit is asked, where it is there. All questions go out on a connection of their own and
 * none is waited for: a call whose sender is not known yet is put aside, and handled anew from its
 * beginning once he may. Of the call of one who has gone nothing comes. How many questions are open is
 * bounded, and of a user's.
 */

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include "common/macro.h"

#define AUTHORITY_CALLS_PRIORITY SD_EVENT_PRIORITY_IDLE

typedef struct Authority Authority;

/* lifetime */

/*
 * Asks on @bus, which must not be the one that the calls come by: there an answer would wait behind them. That
 * one is attached to its loop with AUTHORITY_CALLS_PRIORITY, and for as long as too many ask not at all; if
 * it cannot be attached again it is closed.
 * polkit is given @limit_usec for an answer, and twelve times as long where it may ask a person.
 */
int authority_new(sd_bus *bus, uint64_t limit_usec, Authority **ret);
Authority *authority_free(Authority *a);

DEFINE_CLEANUP(Authority *, authority_free);

/* To be told of each message that comes, before what it calls is called: from a filter. */
void authority_on_message(Authority *a, sd_bus_message *message);

/*
 * Whether the sender of @call may do what polkit calls @action (static). To be asked once the arguments
 * were found good, for they are kept with the call.
 *
 * Returns: 0 if he may; 1 if that is being found out, which the method returns; < 0, and @error is set.
 */
int authority_check(Authority *a, sd_bus_message *call, const char *action, sd_bus_error *error);
