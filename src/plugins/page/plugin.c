/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Page Plugin
 *
 * Tells guests what their clocks lack, by a page of memory that the host shares with each, whatever VMM
 * maps it. It reaches no machines; the core tells it of those that other plugins have.
 *
 *      plugin ─► store ─► keeper ─► page, vmclock      what the guest sees
 *                owner      ├─────► drift-count        what is counted
 *                           ├─────► state-file         what the host knows, for its next life
 *                           └─────► doorbell           what interrupts the guest
 */

#include "plugins/page/store.h"

static int plugin_create(const struct suspendd_host *host, void **ret_instance) {
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes it */
        const char *directory = getenv("RUNTIME_DIRECTORY");
        Store *s;
        int r;

        r = store_new(host, directory ?: "/run/suspendd", &s);
        if (r < 0)
                return r;
        *ret_instance = s;
        return 0;
}

static void plugin_destroy(void *instance) {
        store_free(instance);
}

static int plugin_load(void *instance, const struct suspendd_setting *settings, size_t n_settings) {
        return store_load(instance, settings, n_settings);
}

static int plugin_drift(void *instance, const struct suspendd_drift *drift) {
        return store_drift(instance, drift);
}

static const char *plugin_page_name(void *instance, const char *name, const char *uuid) {
        return store_page_name(instance, name, uuid);
}

static int plugin_answer(
                void *instance, const char *name, const char *uuid, struct suspendd_answer *ret) {
        return store_answer(instance, name, uuid, ret);
}

static int plugin_page_create(
                void *instance,
                const char *name,
                const char *owner,
                unsigned vectors,
                int notifies,
                const char **ret_why) {
        return store_create(instance, name, owner, vectors, notifies, ret_why);
}

static int plugin_page_remove(void *instance, const char *name, int force, const char **ret_why) {
        return store_remove(instance, name, force, ret_why);
}

static char *plugin_page_list(void *instance) {
        return store_list(instance);
}

static void plugin_restore_fd(void *instance, const char *name, int fd) {
        store_restore_fd(instance, name, fd);
}

_public_ const struct suspendd_plugin suspendd_plugin = {
        .abi = SUSPENDD_PLUGIN_ABI,
        .size = sizeof(struct suspendd_plugin),
        .name = "page",
        .description = "A page of memory that tells a guest what its clocks lack",
        .create = plugin_create,
        .destroy = plugin_destroy,
        .load = plugin_load,
        .drift = plugin_drift,
        .page_name = plugin_page_name,
        .answer = plugin_answer,
        .page_create = plugin_page_create,
        .page_remove = plugin_page_remove,
        .page_list = plugin_page_list,
        .restore_fd = plugin_restore_fd,
};
