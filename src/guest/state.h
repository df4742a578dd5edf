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
#define STATE_MAX_BYTES 4096

/* Beyond any clock: a time that is not within it is not kept. */
#define STATE_NS_MAX (INT64_C(1) << 62)

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

/* the text */

/* Reads @text, which it changes. Returns: 1; 0 if it is of another boot; -EBADMSG, and *ret is of no use. */
int state_parse(char *text, const char *boot_id, Ledger *ret);

/* Returns: how many bytes that are, without the NUL; STATE_MAX_BYTES are enough. */
size_t state_print(char *text, size_t size, const char *boot_id, const Ledger *l);
