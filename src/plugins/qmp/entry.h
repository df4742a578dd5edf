/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Entry
 *
 * One monitor's socket that is known, connected or not: it tries to connect, tries again when that
 * makes sense, and holds the Vm while it is connected.
 *
 * An Entry belongs to a Discovery, which may free it from within on_settled().
 */

#include <sys/stat.h>
#include "common/list.h"
#include "common/macro.h"
#include "plugins/plugin-api.h"

typedef struct Entry Entry;

/* The socket has been looked at: it is announced, or there is nothing to announce now. */
typedef void (*EntryFn)(void *userdata);

/* lifetime */

/* A machine at @path; @name and @agent as in a Pattern. */
int entry_new(const struct suspendd_host *host,
              const char *name,
              const char *path,
              const char *agent,
              EntryFn on_settled,
              void *userdata,
              Entry **ret);

/* Unlinks it and removes its machine. */
Entry *entry_free(Entry *e);

/* It is wanted no more, whether its VMM lives or not: as vm_lose(), before it is freed. */
void entry_lose(Entry *e);

/* The host wants to hear of its machine no more. */
void entry_abandon(Entry *e);

DEFINE_CLEANUP(Entry *, entry_free);

/* in the list of its owner */

void entry_link(Entry *e, List *head);
Entry *entry_from_link(List *link);
const char *entry_path(const Entry *e);
bool entry_is_settled(const Entry *e);

/* Whether it would be made the same by entry_new() with these. */
bool entry_is_same(const Entry *e, const char *name, const char *agent);

/* looking round */

/* Its socket is looked for. */
void entry_expect(Entry *e);

/* Its socket is there, as @st has it: connects, unless it is connected or must wait. */
void entry_look(Entry *e, const struct stat *st);

/* Whether its socket was not there, and nothing else keeps it. */
bool entry_is_lost(const Entry *e);
