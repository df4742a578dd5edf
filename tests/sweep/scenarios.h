/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Scenarios
 *
 * The parts of a daemon's life that are swept: a whole sleep, a start with machines held while the
 * host sleeps or is awake, a stop with machines held. Each begins with a daemon at rest, and its
 * promises hold in the end whatever happened.
 */

#include "tracer.h"
#include "world.h"

typedef struct Scenario {
        const char *name, *what;
        bool from_start; /* calls count from the daemon's first */
        bool death_only;
        int (*prepare)(World *w); /* to where calls begin to count; NULL: nothing is to be done */
        int (*act)(World *w, const Tracer *t);
} Scenario;

extern const Scenario scenarios[];
extern const size_t n_scenarios;

/* Waits until the daemon has made no call for that long. */
void scenario_rest(const Tracer *t, uint64_t usec);
