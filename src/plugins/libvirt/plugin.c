/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Libvirt Plugin
 *
 * The domains of any number of libvirt URIs. libvirt's calls block and may never return, so none that asks
 * a server is made on the loop:
 *
 *      plugin ─► servers ─► server ─► domain ─► act ──────┐
 *                             ├► presence        server-calls, store ─► pool ─► threads, libvirt
 *                             └► subscription ◄── event-loop, on a thread           │
 *                                        └────────► mailbox ◄───────────────────────┘
 */

#include "common/process.h"
#include "plugins/libvirt/domain.h"
#include "plugins/libvirt/servers.h"

static int libvirt_create(const struct suspendd_host *host, void **ret_instance) {
        Servers *s;
        int r;

        r = servers_new(host, &s);
        if (r < 0)
                return r;
        *ret_instance = s;
        return 0;
}

static void libvirt_destroy(void *instance) {
        servers_free(instance);
}

static int libvirt_load(
                void *instance, const struct suspendd_setting *settings, size_t n_settings) {
        return servers_load(instance, settings, n_settings);
}

static int libvirt_notify(void *instance, const char *event, const char *name) {
        return servers_notify(instance, event, name);
}

/* A run is "ID.PID.STARTTIME"; of one without a process nothing is certain. */
static int libvirt_has_ended(void *instance _unused_, const char *run) {
        const char *process = strchr(run, '.');

        return process && process_has_ended(process + 1);
}

_public_ const struct suspendd_plugin suspendd_plugin = {
        .abi = SUSPENDD_PLUGIN_ABI,
        .size = sizeof(struct suspendd_plugin),
        .name = "libvirt",
        .description = "libvirt's domains",
        .create = libvirt_create,
        .destroy = libvirt_destroy,
        .load = libvirt_load,
        .has_ended = libvirt_has_ended,
        .notify = libvirt_notify,
        .store_mode = domain_store_mode,
        .suspend = domain_suspend,
        .pause = domain_pause,
        .resume = domain_resume,
        .wake = domain_wake,
        .get_time = domain_get_time,
        .set_time = domain_set_time,
        .cancel = domain_cancel,
};
