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

_public_ const struct suspendd_plugin suspendd_plugin = {
        .abi = SUSPENDD_PLUGIN_ABI,
        .size = sizeof(struct suspendd_plugin),
        .name = "page",
        .description = "A page of memory that tells a guest what its clocks lack",
        .create = plugin_create,
        .destroy = plugin_destroy,
        .load = store_load,
        .drift = store_drift,
        .page_name = store_page_name,
        .answer = store_answer,
        .page_create = store_create,
        .page_remove = store_remove,
        .page_list = store_list,
        .restore_fd = store_restore_fd,
};
