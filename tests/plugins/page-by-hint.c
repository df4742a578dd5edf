/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The page plugin as it is, but that it also publishes by hint. So a test of the daemon does so when it likes.
 *
 *   suspendctl notify page look NAME      that page once, and rings its doorbell
 *   suspendctl notify page rewrite NAME   REWRITES times in a row; by how much the host's clock was set counts up
 *                                         by 1, and the clocks are made from that number, so that a reader
 *                                         (tests/lab/guest/page-tool.c) sees whether a record is whole
 */

#include <errno.h>
#include <time.h>
#include "common/clock-sample.h"
#include "plugins/page/store.h"

#define REWRITES 2000 /* in much less time than suspendctl waits for an answer */
#define PAGES_MAX 4
#define NAME_SIZE 128
#define STEP_NS 1000003
#define STEP_BOOTTIME_NS 17

static int create(const struct suspendd_host *host, void **ret_instance) {
        return store_new(host, "/run/suspendd", (Store **) ret_instance);
}

static void destroy(void *instance) {
        store_free(instance);
}

static int look(Store *s, const char *name) {
        struct suspendd_drift d = {
                .size = sizeof(d),
                .phase = SUSPENDD_DRIFT_LOOK,
                .name = name,
                .host_realtime_ns = clock_now_ns(CLOCK_REALTIME),
                .host_boottime_ns = clock_now_ns(CLOCK_BOOTTIME),
        };

        return store_drift(s, &d) > 0 ? 0 : -ENOENT;
}

/* How often that page has been rewritten. Returns: NULL if there are too many pages. */
static int64_t *step_of(const char *name) {
        static struct {
                char name[NAME_SIZE];
                int64_t step;
        } pages[PAGES_MAX];

        for (size_t i = 0; i < PAGES_MAX; i++) {
                if (!*pages[i].name)
                        (void) snprintf(pages[i].name, NAME_SIZE, "%s", name);
                if (str_equal(pages[i].name, name))
                        return &pages[i].step;
        }
        return NULL;
}

static int rewrite(Store *s, const char *name) {
        int64_t *step = step_of(name);

        for (unsigned i = 0; step && i < REWRITES; i++) {
                int64_t realtime_ns = ++*step * STEP_NS;
                struct suspendd_drift d = {
                        .size = sizeof(d),
                        .phase = SUSPENDD_DRIFT_LOOK,
                        .name = name,
                        .host_realtime_ns = realtime_ns,
                        .host_boottime_ns = realtime_ns + STEP_BOOTTIME_NS,
                        .host_stepped_ns = *step,
                };

                if (store_drift(s, &d) <= 0)
                        return -ENOENT;
        }
        return step ? 0 : -ENOSPC;
}

static int notify(void *instance, const char *event, const char *name) {
        if (str_equal(event, "look"))
                return look(instance, name);
        return str_equal(event, "rewrite") ? rewrite(instance, name) : -EOPNOTSUPP;
}

_public_ const struct suspendd_plugin suspendd_plugin = {
        .abi = SUSPENDD_PLUGIN_ABI,
        .size = sizeof(struct suspendd_plugin),
        .name = "page",
        .description = "Pages that are published by hint",
        .create = create,
        .destroy = destroy,
        .load = store_load,
        .drift = store_drift,
        .page_name = store_page_name,
        .answer = store_answer,
        .page_create = store_create,
        .page_remove = store_remove,
        .page_list = store_list,
        .restore_fd = store_restore_fd,
        .notify = notify,
};
