/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Keeper
 *
 * One page with all that belongs to it: its file, the host's own truth about it, its doorbell. It counts
 * what it is told, stores that, and then publishes the whole of it. Where the page itself cannot be used,
 * for its owner has spoilt it, the counting goes on, and what is wrong is told.
 */

#include "common/json-bounded.h"
#include "common/list.h"
#include "plugins/page/doorbell.h"
#include "plugins/page/guest-time.h"
#include "plugins/plugin-api.h"

#define KEEPER_NAME_MAX 100

typedef struct Keeper Keeper;

/* Where pages are, borrowed from the Store. */
typedef struct KeeperPlace {
        const struct suspendd_host *host;
        const char *path; /* of the pages' directory */
        int pages, states;
        int scratch; /* see page.h */
        Doorbells *doorbells;
        HostTime *time;
} KeeperPlace;

typedef struct KeeperOptions {
        uid_t owner;      /* the user that the VMM runs as */
        unsigned vectors; /* of its doorbell, PEER_VECTORS_MAX at most; 0: it has none */
        bool notifies;    /* see vmclock.h */
} KeeperOptions;

/* lifetime */

/* Whether it can be a page's: 1 to KEEPER_NAME_MAX of [A-Za-z0-9_.-], and no dot first. */
bool keeper_name_is_valid(const char *name);

/*
 * Makes a page that was not there.
 *
 * Returns: 0; a negative errno, with the reason in *@ret_why (static) or NULL.
 */
int keeper_create(
                const KeeperPlace *place,
                const char *name,
                const KeeperOptions *options,
                Keeper **ret,
                const char **ret_why);

/* Takes over what an earlier life left: totals, or a new epoch where they are lost. Returns: 0; -ENOMEM. */
int keeper_load(const KeeperPlace *place, const char *name, Keeper **ret);

/* The daemon's end: all files stay. */
Keeper *keeper_free(Keeper *k);

/*
 * The page's end, freed: no file stays. Returns: 0; -EBUSY if the page's own does, for somebody has it open.
 */
int keeper_remove(Keeper *k);

DEFINE_CLEANUP(Keeper *, keeper_free);

/* in the list of its owner */

void keeper_link(Keeper *k, List *head);
Keeper *keeper_from_link(List *link);
const char *keeper_name(const Keeper *k);

/* Whether it was made so. */
bool keeper_is_as(const Keeper *k, const KeeperOptions *options);

/* use; as suspendd_plugin has them */

/*
 * Whether it is for that start of a VMM: that one runs as the page's owner. Also where nobody can tell of any:
 * its plugin does not name its process (NULL), or /proc hides those of others.
 */
bool keeper_is_for(Keeper *k, const char *run);

/* Returns: 1; a negative errno. What is wrong has been logged. */
int keeper_drift(Keeper *k, const struct suspendd_drift *drift);

/*
 * Whether its time, after host_time_look(), is worth being written anew; keeper_refresh() does so. Nothing
 * else changes, and nobody is told.
 */
bool keeper_wants_refresh(const Keeper *k);
void keeper_refresh(Keeper *k);

/* Returns: 1; 0. */
int keeper_answer(const Keeper *k, struct suspendd_answer *ret);

/* Whether a VMM is connected to its doorbell. */
bool keeper_is_used(const Keeper *k);

/* An object for page_list(); NULL without memory. */
JsonObject *keeper_describe(const Keeper *k);
