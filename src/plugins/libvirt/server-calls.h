/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Server's Calls
 *
 * What a server is asked about: one domain, all that run, or how some of them are. Blocking, so calls of
 * the pool.
 */

#include "plugins/libvirt/look.h"
#include "plugins/libvirt/pool.h"

/* A domain as one look has found it. */
typedef struct Found {
        Reading reading;
        DomainFacts facts; /* without a run: they were not asked for, or could not be had */
} Found;

typedef struct LookCall {
        Call call;
        unsigned char uuid[VIR_UUID_BUFLEN];
        bool with_facts;
        char *state_directory;
        Found found;
        void (*fn)(void *userdata, struct LookCall *c);
        void *userdata;
} LookCall;

typedef struct Seen {
        unsigned char uuid[VIR_UUID_BUFLEN];
        Reading reading;
} Seen;

typedef struct SeeCall {
        Call call;
        Seen *seen;
        size_t n_seen;
        void (*fn)(void *userdata, struct SeeCall *c);
        void *userdata;
} SeeCall;

typedef struct ListCall {
        Call call;
        char *state_directory;
        bool is_first;    /* of this connection: libvirt may have been started just now */
        int64_t asked_ns; /* CLOCK_MONOTONIC: what came later is not in it */
        Found *found;
        size_t n_found;
        bool is_qemu; /* has agents */
        char vmm[64]; /* "QEMU by libvirt 9.0.0" */
        void (*fn)(void *userdata, struct ListCall *c);
        void *userdata;
} ListCall;

/* Returns: NULL without memory; to be submitted. @state_directory as in look_at_facts(), copied. */
LookCall *look_call_new(const unsigned char *uuid, bool with_facts, const char *state_directory);
ListCall *list_call_new(const char *state_directory);

/* For @n domains, whose UUIDs are the caller's to fill in. */
SeeCall *see_call_new(size_t n);
