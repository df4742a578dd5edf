/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Retry
 *
 * When to try a socket again. Soon, a few times, where it is likely to be there in a moment (QEMU
 * makes the socket before it listens); slowly and for ever where the other side misbehaves. Between
 * tries there is one timer; once they are used up there is none, and inotify must speak.
 *
 * A Retry is embedded in its owner.
 */

#include <systemd/sd-event.h>
#include "common/macro.h"

typedef void (*RetryFn)(void *userdata);

typedef struct Retry {
        RetryFn fn;
        void *userdata;
        sd_event_source *timer;
        unsigned n_soon, n_slow;
} Retry;

/* Calls fn() in 50 ms, then 100 ms … 1.6 s. Does nothing the seventh time. Returns: true if it will. */
bool retry_soon(Retry *r, sd_event *event);

/* Calls fn() in 1 s, then 2 s … 60 s, for ever. */
void retry_slowly(Retry *r, sd_event *event);

/* No try is wanted; both begin again from the shortest. */
void retry_reset(Retry *r);
