/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Manager
 *
 * Owns the loop, the bus, the cycle engine and all around them, and turns what happens outside into
 * the engine's events. Everything runs on its loop's one thread.
 */

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include "daemon/bus-api.h"
#include "daemon/config.h"
#include "daemon/cycle.h"
#include "daemon/history.h"
#include "daemon/inhibitor.h"
#include "daemon/login1.h"
#include "daemon/mode-store.h"
#include "daemon/plugin.h"
#include "daemon/runtime-state.h"

typedef struct ManagerOptions {
        const char *config_file; /* NULL: the usual places */
        const char *plugin_dir;
        const char *runtime_dir; /* RUNTIME_DIRECTORY, or /run/suspendd */
        const char *state_dir;   /* STATE_DIRECTORY, or /var/lib/suspendd */
} ManagerOptions;

struct Manager {
        ManagerOptions options;
        sd_event *event;
        sd_bus *bus; /* to logind and polkit; of what comes by it nothing waits for what anybody may send */
        sd_bus *api_bus; /* what is called by others */
        Config *config;
        Cycle *cycle;
        Journal *journal;
        History *history;
        RuntimeState *runtime_state;
        Login1 *login1;
        Inhibitor *delay_lock, *block_lock;
        ClockWatch *clock_watch;
        BusApi *bus_api;
        List plugins;
        struct ManagerPrivate *private;
};

/* lifetime */

int manager_new(const ManagerOptions *options, Manager **ret);
Manager *manager_free(Manager *m);

DEFINE_CLEANUP(Manager *, manager_free);

/* Starts everything and runs the loop to its end. Returns: 0; the errno that ended it. */
int manager_run(Manager *m);

/* what the bus may ask for; each returns 0 or a negative errno, with the reason in *ret_why (static) */

int manager_rehearse(Manager *m, uint64_t for_usec, const char **ret_why);
/* MODE_INVALID: what the VM's definition or the configuration says, again. */
int manager_set_mode(Manager *m, Machine *machine, Mode mode, const char **ret_why);
/*
 * The same in the VM's own definition; INVALID: out of it. @fn is called once if 0 is returned, and else
 * never. Returns also: -EOPNOTSUPP without a reason if the machine's plugin cannot.
 */
int manager_store_mode(
                Manager *m,
                Machine *machine,
                Mode mode,
                ModeStoreFn fn,
                void *userdata,
                const char **ret_why);
int manager_sync(Manager *m, Machine *machine, const char **ret_why);
int manager_register(Manager *m, const Registration *r, const char **ret_why);
int manager_unregister(Manager *m, const char *plugin, const char *address, const char **ret_why);
/* Hands a hint on to a plugin; a name may be anything that a VM is called. */
int manager_notify(
                Manager *m,
                const char *plugin,
                const char *event,
                const char *name,
                const char **ret_why);
/* Drift pages; -ENODEV: there is no such page. */
int manager_page_create(
                Manager *m,
                const char *name,
                const char *owner, /* NULL: root */
                unsigned vectors,
                bool notifies,
                const char **ret_why);
int manager_page_remove(Manager *m, const char *name, bool force, const char **ret_why);
/* As a JSON array of objects, to be freed by the caller. */
int manager_page_list(Manager *m, char **ret, const char **ret_why);
int manager_reload(Manager *m, const char **ret_why);

/* One sentence a person can read: "3 machines, trouble with libvirt, lock held, budget 4.9s". */
void manager_status(const Manager *m, char *buf, size_t size);
