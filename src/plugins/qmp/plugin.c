/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * QMP Plugin
 *
 * QEMU's machines, each reached by a monitor socket of its own and the guest agent's socket beside it.
 * One connection stays open to either, so that events are seen and a sleep costs no connecting.
 *
 *      plugin ─► discovery ─► entry ─► vm ─► monitor ─► channel ─► line-reader
 *                pattern,      retry        ├► agent ───┘
 *                walk, watch                └► identity, run-state
 */

#include "common/process.h"
#include "plugins/plugin-api.h"
#include "plugins/qmp/discovery.h"
#include "plugins/qmp/vm.h"

static int qmp_create(const struct suspendd_host *host, void **ret_instance) {
        Discovery *d;
        int r;

        r = discovery_new(host, &d);
        if (r < 0)
                return r;
        *ret_instance = d;
        return 0;
}

static void qmp_destroy(void *instance) {
        discovery_free(instance);
}

static int qmp_load(void *instance, const struct suspendd_setting *settings, size_t n_settings) {
        return discovery_load(instance, settings, n_settings);
}

static int qmp_register(
                void *instance,
                const char *name,
                const char *address,
                const char *agent,
                const char **ret_why) {
        return discovery_register(instance, name, address, agent, ret_why);
}

static int qmp_unregister(void *instance, const char *address) {
        return discovery_unregister(instance, address);
}

static int qmp_has_ended(void *instance, const char *run) {
        (void) instance;
        return process_has_ended(run);
}

_public_ const struct suspendd_plugin suspendd_plugin = {
        .abi = SUSPENDD_PLUGIN_ABI,
        .size = sizeof(struct suspendd_plugin),
        .name = "qmp",
        .description = "QEMU by its monitor socket, and the guest agent's",
        .create = qmp_create,
        .destroy = qmp_destroy,
        .load = qmp_load,
        .register_machine = qmp_register,
        .unregister_machine = qmp_unregister,
        .has_ended = qmp_has_ended,
        .suspend = vm_suspend,
        .pause = vm_pause,
        .resume = vm_resume,
        .wake = vm_wake,
        .get_time = vm_get_time,
        .set_time = vm_set_time,
        .cancel = vm_cancel,
};
