/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which plugins there are, and what they are told before there are machines. */

#include <errno.h>
#include "common/passing-error.h"
#include "daemon/log.h"
#include "daemon/manager-internal.h"

Plugin *manager_find_plugin(Manager *m, const char *name) {
        LIST_FOREACH(i, &m->plugins) {
                Plugin *p = LIST_ENTRY(i, Plugin, plugins);

                if (str_equal(p->api->name, name))
                        return p;
        }
        return NULL;
}

bool manager_has_enumerated(const Manager *m) {
        LIST_FOREACH(i, &m->plugins)
        if (!LIST_ENTRY(i, Plugin, plugins)->is_enumerated)
                return false;
        return true;
}

/* settings */

static int manager_load_plugin_settings(Manager *m, Plugin *p) {
        const Config *c = m->private->recovery ?: m->config;
        const struct suspendd_setting *settings;
        size_t n = config_plugin_settings(c, p->api->name, &settings);

        /* One that was loaded for the sake of what was held knows what it needs; nothing else is its to find. */
        if (!m->private->recovery && !config_has_plugin(m->config, p->api->name))
                return 0;
        return p->api->load ? p->api->load(p->instance, settings, n) : 0;
}

/* Returns: 0; an error that may pass, the last of which there were. */
static int manager_load_settings_of(Manager *m, bool has_drift) {
        int passing = 0;

        LIST_FOREACH(i, &m->plugins) {
                Plugin *p = LIST_ENTRY(i, Plugin, plugins);
                int r;

                if ((p->api->drift != NULL) != has_drift)
                        continue;
                r = manager_load_plugin_settings(m, p);
                if (r >= 0)
                        continue;
                (void) log_error_errno(r, "Plugin %s cannot take its settings", p->api->name);
                p->is_enumerated =
                                true; /* it will find no machines, and nobody shall wait for them */
                passing = error_is_passing(r) ? r : passing;
        }
        return passing;
}

int manager_load_settings(Manager *m) {
        int r, passing;

        /* Whoever tells guests is ready before there are machines to run again. */
        passing = manager_load_settings_of(m, true);
        r = manager_load_settings_of(m, false);
        return MIN(r, passing);
}

/* loading */

static void on_fd_restored(void *userdata, const char *name, int fd) {
        const Plugin *p = userdata;

        p->api->restore_fd(p->instance, name, fd);
}

/* What no plugin takes, nobody answers to any more: whoever waits for it shall see that. */
static void manager_restore_fds(Manager *m) {
        FdStore *store = m->private->fd_store;
        size_t n;

        LIST_FOREACH(i, &m->plugins) {
                Plugin *p = LIST_ENTRY(i, Plugin, plugins);

                if (p->api->restore_fd)
                        fd_store_hand_out(store, p->api->name, on_fd_restored, p);
        }
        n = fd_store_settle(store);
        if (n > 0)
                log_notice("%zu descriptors of an earlier life are wanted by no plugin", n);
}

/* One that is broken is done without. One that we lacked something for is the next start's. */
static int manager_load_plugin(Manager *m, const char *name) {
        struct suspendd_host host = cycle_host();
        Plugin *p;
        int r;

        host.event = m->event;
        r = plugin_load(m->options.plugin_dir, name, &host, m->cycle, &p);
        if (r < 0)
                return error_is_passing(r) ? r : 0;
        list_append(&m->plugins, &p->plugins);
        m->cycle->has_drift |= p->api->drift != NULL;
        plugin_register_again(p, m->runtime_state);
        return 0;
}

/* Whatever is configured: what an earlier life has stopped is run again. */
static int manager_load_noted_plugins(Manager *m) {
        char **names;
        int r;

        r = plugins_of_journal(m->journal, &names);
        if (r < 0)
                return r;
        for (char **name = names; *name; name++) {
                if (r >= 0 && !manager_find_plugin(m, *name))
                        r = manager_load_plugin(m, *name);
                free(*name);
        }
        free(names);
        return r;
}

int manager_load_plugins(Manager *m) {
        int r = 0;

        for (char **name = m->config->plugins; name && *name && r >= 0; name++)
                r = manager_load_plugin(m, *name);
        if (r >= 0)
                r = manager_load_noted_plugins(m);
        if (r < 0)
                return r;
        manager_restore_fds(m);
        r = manager_apply_config(m);
        manager_cycle_ops.on_enumerated(m);
        return r;
}
