/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The page plugin as it is, but for one thing: a hint ("suspendctl notify page look NAME") has it publish
 * that page and ring its doorbell. So a test of the daemon rings when it likes.
 */

#include <errno.h>
#include <time.h>
#include "common/clock-sample.h"
#include "plugins/page/store.h"

static int create(const struct suspendd_host *host, void **ret_instance) {
        return store_new(host, "/run/suspendd", (Store **) ret_instance);
}

static void destroy(void *instance) {
        store_free(instance);
}

static int load(void *instance, const struct suspendd_setting *settings, size_t n_settings) {
        return store_load(instance, settings, n_settings);
}

static void restore_fd(void *instance, const char *name, int fd) {
        store_restore_fd(instance, name, fd);
}

static int notify(void *instance, const char *event, const char *name) {
        struct suspendd_drift drift = {
                .size = sizeof(drift),
                .phase = SUSPENDD_DRIFT_LOOK,
                .name = name,
                .host_realtime_ns = clock_now_ns(CLOCK_REALTIME),
                .host_boottime_ns = clock_now_ns(CLOCK_BOOTTIME),
        };

        if (!str_equal(event, "look"))
                return -EOPNOTSUPP;
        return store_drift(instance, &drift) > 0 ? 0 : -ENOENT;
}

_public_ const struct suspendd_plugin suspendd_plugin = {
        .abi = SUSPENDD_PLUGIN_ABI,
        .size = sizeof(struct suspendd_plugin),
        .name = "page",
        .description = "Pages that are published by hint",
        .create = create,
        .destroy = destroy,
        .load = load,
        .restore_fd = restore_fd,
        .notify = notify,
};
