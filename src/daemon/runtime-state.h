/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Runtime State
 *
 * What was told to the daemon or learnt by it since boot and must outlive a restart of it: machines
 * registered by hand, modes set by command, machines that broke their word, and up to when it has seen
 * the host's sleeps. A small JSON file under the runtime directory, written aside and renamed at each change.
 */

#include "common/clock-sample.h"
#include "daemon/policy.h"

typedef struct Registration {
        char *plugin;
        char *name; /* or NULL */
        char *address;
        char *agent; /* or NULL */
} Registration;

/* In the runtime directory. */
#define RUNTIME_STATE_FILE "state.json"

typedef struct RuntimeState RuntimeState;

/* Opens @path; contents that cannot be understood are logged and left out. Returns: 0; -ENOMEM. */
int runtime_state_open(const char *path, RuntimeState **ret);
RuntimeState *runtime_state_free(RuntimeState *s);

DEFINE_CLEANUP(RuntimeState *, runtime_state_free);

/*
 * What follows is remembered at once, and then written. A change returns 0; -ENOMEM; -E2BIG for a text
 * over 4 KiB; or the errno of a file that could not be written, while it counts all the same, and is written with the
 * next change or when it is made again.
 */

/* registrations; borrowed array */

size_t runtime_state_registrations(const RuntimeState *s, const Registration **ret);
/* One that cannot be written does not count. Returns also: -EEXIST if that plugin has that address already; -ENOSPC over 1024. */
int runtime_state_register(RuntimeState *s, const Registration *r);
/* Returns also: -ENOENT. */
int runtime_state_unregister(RuntimeState *s, const char *plugin, const char *address);

/* modes by machine name; MODE_INVALID: none set */

Mode runtime_state_mode(const RuntimeState *s, const char *name);
int runtime_state_set_mode(RuntimeState *s, const char *name, Mode mode);

/* why a machine (by machine_key()) is no longer asked to suspend; NULL: it is trusted */

const char *runtime_state_distrust(const RuntimeState *s, const char *key);
int runtime_state_set_distrust(RuntimeState *s, const char *key, const char *why);

/* the clocks when it last knew that all sleep had been measured; all zero: it never did */

const ClockSample *runtime_state_clocks(const RuntimeState *s);
int runtime_state_set_clocks(RuntimeState *s, const ClockSample *clocks);
