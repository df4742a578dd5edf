/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Retry
 *
 * When to try a socket again. Soon, a few times, where it is likely to be there in a moment (QEMU
 * makes the socket before it listens); slowly and for ever where the other side misbehaves, or we lack
 * something. Between tries there is one timer, which is had at the beginning: what is tried again for
 * lack of memory must not need any. Once the tries are used up it is off, and inotify must speak.
 *
 * A Retry is embedded in its owner, and stays where it is.
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

/* Returns: 0; -ENOMEM …. */
int retry_init(Retry *r, sd_event *event, RetryFn fn, void *userdata);
/* Harmless for one that was never begun. */
void retry_done(Retry *r);

/* Calls fn() in @usec, which counts as no try. */
void retry_in(Retry *r, uint64_t usec);

/* Calls fn() in 50 ms, then 100 ms … 1.6 s. Does nothing the seventh time. Returns: true if it will. */
bool retry_soon(Retry *r);

/* Calls fn() in 1 s, then 2 s … 60 s, for ever. */
void retry_slowly(Retry *r);

/* Soon, and when that is used up slowly: of what we lack nobody tells when it is there. */
void retry_for_ever(Retry *r);

bool retry_is_due(const Retry *r);

/* No try is wanted; both begin again from the shortest. */
void retry_reset(Retry *r);
