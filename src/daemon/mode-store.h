/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Mode Store
 *
 * Modes that are being written into VMs' own definitions, by their plugins. Each request ends once: by
 * the plugin's answer, by its time, with its machine, or with the store. An answer that comes after
 * that finds nobody. Belongs to the Manager; a machine is borrowed until mode_store_forget().
 */

#include <systemd/sd-event.h>
#include "daemon/machine.h"

#define MODE_STORE_MAX 64

typedef struct ModeStore ModeStore;

/* A request has ended: 0, or a negative errno with the reason in words or NULL. */
typedef void (*ModeStoreFn)(void *userdata, const Machine *m, int result, const char *why);

/* A mode has been stored; comes before the request's own ModeStoreFn. */
typedef void (*ModeStoredFn)(void *userdata, Machine *m);

/* lifetime */

/* A request may take @limit_usec. */
int mode_store_new(
                sd_event *event,
                uint64_t limit_usec,
                ModeStoredFn on_stored,
                void *userdata,
                ModeStore **ret);

/* Ends what is under way, as mode_store_cancel() does. */
ModeStore *mode_store_free(ModeStore *s);

DEFINE_CLEANUP(ModeStore *, mode_store_free);

/* requests */

/*
 * Has @mode written into the definition of @m, or taken out of it if INVALID.
 *
 * Returns: 0, and @fn is called once, perhaps before this returns; -EOPNOTSUPP if its plugin cannot;
 * -EBUSY over MODE_STORE_MAX; -ENOMEM; what the plugin refuses it with. Then @fn is never called.
 */
int mode_store_begin(ModeStore *s, Machine *m, Mode mode, ModeStoreFn fn, void *userdata);

/* The plugin's answer. */
void mode_store_answer(
                ModeStore *s, const Plugin *plugin, uint64_t request, int result, const char *why);

/* What is under way ends with -ECANCELED: the daemon ends. */
void mode_store_cancel(ModeStore *s);

/* The machine is gone: what is under way for it ends with -ENODEV. */
void mode_store_forget(ModeStore *s, const Machine *m);
