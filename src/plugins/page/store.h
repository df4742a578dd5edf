/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Store
 *
 * All pages: in DIRECTORY/pages, where VMMs find them, each beside its doorbell's socket; and in
 * DIRECTORY/page-state what the host knows of each, for root alone. Both directories must be root's and
 * nobody else's to write to: every name in them is ours.
 */

#include "common/macro.h"
#include "plugins/plugin-api.h"

/* Where it says void *instance, suspendd_plugin has the function as it is; it is a Store. */
typedef struct Store Store;

/* lifetime */

/* @host is borrowed. Nothing is opened yet. Returns: 0; -ENOMEM. */
int store_new(const struct suspendd_host *host, const char *directory, Store **ret);

/* All pages stay for the next life. */
Store *store_free(Store *s);

DEFINE_CLEANUP(Store *, store_free);

/* One descriptor of an earlier life; the Store's from now on. Before store_load(). */
void store_restore_fd(void *instance, const char *name, int fd);

/*
 * The first time: takes over all pages that there are. Each time: makes those that the settings name and
 * that are not there. One that is named no longer stays. Returns: 0; a negative errno, which is logged.
 */
int store_load(void *instance, const struct suspendd_setting *settings, size_t n_settings);

/* use */

int store_drift(void *instance, const struct suspendd_drift *drift);
const char *store_page_name(void *instance, const char *name, const char *uuid);
int store_answer(void *instance, const char *name, const char *uuid, struct suspendd_answer *ret);
int store_create(
                void *instance,
                const char *name,
                const char *owner,
                unsigned vectors,
                int notifies,
                const char **ret_why);
int store_remove(void *instance, const char *name, int force, const char **ret_why);
char *store_list(void *instance);
