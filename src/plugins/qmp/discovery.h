/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Discovery
 *
 * Keeps an Entry for each monitor's socket that the patterns match, as sockets come and go. It looks
 * once when it is given patterns, and again when inotify tells of something. It polls only while it
 * lacks memory or descriptors to look at all.
 *
 * The Discovery belongs to the plugin's instance.
 */

#include "common/macro.h"
#include "plugins/plugin-api.h"

typedef struct Discovery Discovery;

/* lifetime */

int discovery_new(const struct suspendd_host *host, Discovery **ret);

/* Ends all connections; the host hears nothing of it. */
Discovery *discovery_free(Discovery *d);

DEFINE_CLEANUP(Discovery *, discovery_free);

/* As struct suspendd_plugin has them. */
int discovery_load(Discovery *d, const struct suspendd_setting *settings, size_t n);
int discovery_register(
                Discovery *d,
                const char *name,
                const char *path,
                const char *agent,
                const char **ret_why);
int discovery_unregister(Discovery *d, const char *path);
