/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Events
 *
 * A signal of suspendd as one JSON object ({"time", "event", …}), and that as one line of text.
 */

#include "cli/clean.h"

/* Makes an event of the signal @m. Returns: 0; -ENOMSG if it is none that is told; another errno. */
int event_from_signal(sd_bus_message *m, JsonObject **ret);

/* suspendd has come or gone. */
JsonObject *event_from_presence(bool is_there);

/* What @event says, in words, to be freed by the caller. */
char *event_words(JsonObject *event);
