/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * State
 *
 * The ledger in a file, so that it outlives its reader and nothing is applied twice. It is of this boot
 * alone, and of one reader at a time. Text, a number a line; each writing replaces the file as a whole.
 */

#include "guest/ledger.h"

#define STATE_DIRECTORY "/run/suspend-guest"

typedef struct State {
        const char *directory; /* NULL: nothing is kept */
        char boot_id[64];
        int lock_fd;
} State;

/*
 * Takes the folder, which is made if need be, for this process alone.
 * Returns: 0; -EBUSY if another reader has it; another errno: nothing is kept then.
 */
int state_open(State *s, const char *directory);

/* Just to read it, in whatever way another process uses it. */
void state_peek(State *s, const char *directory);
void state_close(State *s);

/*
 * Returns: 1; 0 with an empty ledger if there is none of this boot, or one that is not understood; then
 * *ret_is_damaged says so.
 */
int state_load(const State *s, Ledger *ret, bool *ret_is_damaged);

/* Returns: 0; a negative errno, and the file is as it was. */
int state_save(const State *s, const Ledger *l);
