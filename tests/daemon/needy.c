/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A plugin that needs the library of absent.c. */

#include "plugins/plugin-api.h"

int absent(void);

static int needy_create(const struct suspendd_host *host, void **ret_instance) {
        (void) host;
        (void) ret_instance;
        return absent();
}

static void needy_destroy(void *instance) {
        (void) instance;
}

__attribute__((visibility("default"))) const struct suspendd_plugin suspendd_plugin = {
        .abi = SUSPENDD_PLUGIN_ABI,
        .size = sizeof(struct suspendd_plugin),
        .name = "needy",
        .create = needy_create,
        .destroy = needy_destroy,
};
