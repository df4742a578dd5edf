/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Exploration
 *
 * All states that a model can come to, breadth first, by every move and with the daemon's death
 * before every effect of every move; each once. What breaks a promise is told with the shortest way
 * to it.
 */

#include "model.h"

typedef struct Exploration {
        /* what to do */
        State initial;
        Mistake mistake;
        uint64_t without;   /* bits of MoveKind: what does not happen */
        unsigned depth_max; /* 0: until there are no more states */
        /* what came of it */
        size_t n_states, n_moves;
        unsigned depth;
        char *trace; /* how a promise was broken; NULL: none was */
} Exploration;

void explore(Exploration *x);
void exploration_done(Exploration *x);
