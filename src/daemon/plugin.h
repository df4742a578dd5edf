/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Plugin Loader
 *
 * Finds a plugin's shared object in the one directory that plugins come from, checks what it
 * exports, and holds its instance. A plugin stays mapped for as long as the process lives
 * (RTLD_NODELETE): its library may have threads.
 */

#include "common/list.h"
#include "common/macro.h"
#include "daemon/journal.h"
#include "daemon/runtime-state.h"
#include "plugins/plugin-api.h"

typedef struct Plugin Plugin;

struct Plugin {
        List plugins; /* in the Manager's list */
        const struct suspendd_plugin *api;
        void *instance;
        struct suspendd_host host; /* what it was given: a copy of the core's, to know it by */
        void *owner;               /* the core that the host table belongs to */
        bool is_enumerated;
        char *trouble; /* what is wrong with it as a whole; NULL: nothing */
};

/*
 * Loads DIRECTORY/NAME.so and creates its instance, with a copy of @host and @owner, both kept in the
 * Plugin. The file and the directories that it is in must be root's, or the daemon's own user's, and writable by
 * nobody else; @name has no slash.
 *
 * Returns: 0; -ENOENT; -EPERM; -ELIBBAD if it is no plugin; -EPROTO for another ABI; what create()
 * returned. What is wrong has been logged.
 */
int plugin_load(const char *directory,
                const char *name,
                const struct suspendd_host *host,
                void *owner,
                Plugin **ret);

/* The same of a plugin that is linked in. */
int plugin_new(const struct suspendd_plugin *api,
               const struct suspendd_host *host,
               void *owner,
               Plugin **ret);
Plugin *plugin_free(Plugin *p);

/*
 * Keeps what is wrong with it, 255 bytes at most; NULL or an empty text if nothing is.
 *
 * Returns: 1; 0 if it was so already; -ENOMEM.
 */
int plugin_set_trouble(Plugin *p, const char *text);

/* The Plugin whose copy of the host table @host is. */
Plugin *plugin_of_host(const struct suspendd_host *host);

DEFINE_CLEANUP(Plugin *, plugin_free);

/* Tells it anew of the machines that were registered by hand. */
void plugin_register_again(Plugin *p, const RuntimeState *state);

/* by machine_key(), which is "PLUGIN:WHO@RUN" */

/* The name of the plugin whose machine that is, to be freed by the caller. Returns: 0; -EINVAL; -ENOMEM. */
int plugin_of_key(const char *key, char **ret);

/* The names of all that have machines in the journal, each once, NULL-terminated; all the caller's. Returns: 0; -ENOMEM. */
int plugins_of_journal(const Journal *j, char ***ret);

/* Whether the machine is this plugin's, and that start of its VMM has ended for certain. */
bool plugin_has_ended(const Plugin *p, const char *key);
