/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Libvirtd's Workers
 *
 * How many calls a libvirt daemon carries out at a time, and having it carry out more, by its admin
 * interface. An agent that hangs keeps one of its workers busy, and so does a guest that is suspending
 * itself: where all are busy, everybody waits.
 *
 * The limit is the daemon's own until it ends; nothing is written to its configuration. A helper does it
 * (libvirtd-workers-helper.c), which may take five seconds.
 */

#include "plugins/libvirt/pool.h"

typedef struct WorkersCall {
        Call call;
        const char *uri;   /* the admin interface's; static */
        unsigned n_wanted; /* workers */
        unsigned n_before; /* the limit as it was found, and as it is now; 0: it could not be had, see call.why */
        unsigned n_now;
        void (*fn)(void *userdata, struct WorkersCall *c);
        void *userdata;
} WorkersCall;

/* For @n_wanted workers; fewer than there are already are not asked for. Returns: NULL without memory; to be submitted. */
WorkersCall *workers_call_new(const char *uri, unsigned n_wanted);
