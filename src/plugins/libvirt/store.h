/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Store
 *
 * Writes a mode into a domain's own metadata, in libvirt: of the running domain, and of its definition
 * where it has one that outlives its run. What the definition says then is read at once.
 */

#include "plugins/libvirt/look.h"
#include "plugins/libvirt/pool.h"

typedef struct Domain Domain;
typedef struct StoreCall StoreCall;

struct StoreCall {
        Call call;
        uint64_t request;
        unsigned char uuid[VIR_UUID_BUFLEN];
        char *xml; /* NULL: take it out */
        char *state_directory;
        DomainFacts facts; /* afterwards; without a name if they could not be had */

        Domain *domain; /* of the loop; NULL once that is gone */
};

/* Returns: NULL without memory; to be submitted. @mode is NULL for none. */
StoreCall *store_call_new(const unsigned char *uuid, const char *mode, const char *state_directory);

/* What a store of the pool does for a domain, on the loop: domain.c. */
void domain_on_store(Domain *d, StoreCall *s);
