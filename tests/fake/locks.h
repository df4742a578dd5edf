/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Inhibitor Locks
 *
 * The locks a fake logind has given out. As in the real one, a lock is the write end of a pipe and
 * is gone when the last copy of that end is closed, which shows as POLLHUP on the read end.
 *
 * Locks belong to the fake logind; each Lock and its event source belong to the Locks.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>
#include "common/list.h"
#include "common/macro.h"

typedef struct Lock Lock;
typedef struct Locks Locks;
typedef void (*LocksFn)(Locks *locks, const Lock *gone, void *userdata);

struct Lock {
        List link;
        Locks *locks;
        char *what, *who, *why;
        char *sender; /* the holder's unique name */
        bool is_delay;
        int fd; /* the read end */
        sd_event_source *source;
};

struct Locks {
        List list;
        sd_event *event;
        LocksFn on_gone; /* called after the lock has been unlinked, before it is freed */
        void *userdata;
};

void locks_init(Locks *locks, sd_event *event, LocksFn on_gone, void *userdata);

/* Forgets all locks without telling their holders, as a logind does that lost its state. */
void locks_clear(Locks *locks);

/*
 * Makes a lock and hands out the holder's end, which the caller closes when it has been sent.
 *
 * Returns: 0; negative errno.
 */
int locks_add(Locks *locks,
              const char *const strings[static 3],
              bool is_delay,
              Lock **ret_lock,
              int *ret_fd);

/* Returns: how many locks of this mode name @what ("sleep", "shutdown") among their subjects. */
unsigned locks_count(const Locks *locks, const char *what, bool is_delay);

/* Returns: whether the colon-separated list @what contains @word. */
bool what_contains(const char *what, const char *word);
