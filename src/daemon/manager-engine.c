/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the engine wants done, by the bus, the locks, the journal and the plugins. */

#include <errno.h>
#include "daemon/engine-loop.h"
#include "daemon/log.h"
#include "daemon/manager-internal.h"

void manager_take_lock(Manager *m) {
        int r;

        if (m->private->is_quitting)
                return;
        r = inhibitor_take(m->delay_lock, LOCK_WHY);
        if (r < 0 && r != -EALREADY)
                (void) log_error_errno(r, "Cannot ask logind for a delay lock");
}

static void ops_take_lock(void *userdata) {
        manager_take_lock(userdata);
}

static void ops_let_go(void *userdata) {
        Manager *m = userdata;

        inhibitor_drop(m->delay_lock);
        /* Where it was not given yet nobody waits for it any more. */
        m->private->is_lock_answered = true;
        manager_chores(m);
}

static void ops_arm(void *userdata, uint64_t usec) {
        Manager *m = userdata;

        engine_timer_arm(m->private->timer, usec);
}

static void manager_keep_record(Manager *m) {
        _cleanup_free_ char *record = cycle_record(m->cycle);
        int r;

        r = record ? history_append(m->history, m->cycle->report.number, record) : -ENOMEM;
        if (r < 0)
                (void) log_error_errno(r, "Cannot keep the record of this cycle");
}

static void ops_on_milestone(void *userdata, CycleMilestone milestone, Machine *machine) {
        Manager *m = userdata;

        bus_api_milestone(m->bus_api, milestone, machine);
        manager_log_milestone(m, milestone);
        if (milestone == CYCLE_FINISHED || milestone == CYCLE_AMENDED)
                manager_keep_record(m);
        if (milestone == CYCLE_FINISHED)
                (void) runtime_state_set_clocks(m->runtime_state, cycle_accounted(m->cycle));
        if (!cycle_is_urgent(m->cycle))
                manager_chores(m);
}

static void ops_on_machine_added(void *userdata, Machine *machine) {
        Manager *m = userdata;

        (void) log_full(&(LogFields){ .machine = machine->id,
                                      .plugin = machine->plugin->api->name },
                        LOG_INFO,
                        0,
                        "Machine %s is here (%s)",
                        machine->id,
                        machine->vmm ?: machine->plugin->api->name);
        bus_api_machine_added(m->bus_api, machine);
        manager_chores(m);
}

static void ops_on_machine_removed(void *userdata, Machine *machine) {
        Manager *m = userdata;

        mode_store_forget(m->private->mode_store, machine);
        bus_api_machine_removed(m->bus_api, machine);
        /* Trusted again when its VMM is another; one that is only out of reach may come back as it was. */
        if (machine->run_state != SUSPENDD_STATE_UNKNOWN)
                (void) runtime_state_set_distrust(m->runtime_state, machine->key, NULL);
        (void) log_full(&(LogFields){ .machine = machine->id,
                                      .plugin = machine->plugin->api->name },
                        LOG_INFO,
                        0,
                        "Machine %s is gone",
                        machine->id);
        manager_chores(m);
}

static void ops_on_machine_changed(void *userdata, Machine *machine) {
        Manager *m = userdata;

        bus_api_machine_changed(m->bus_api, machine);
        if (!cycle_is_urgent(m->cycle))
                manager_chores(m);
}

static void ops_fill_policy(void *userdata, Machine *machine) {
        manager_fill_policy(userdata, machine);
}

static void ops_on_distrust(void *userdata, Machine *machine) {
        Manager *m = userdata;

        (void) runtime_state_set_distrust(m->runtime_state, machine->key, machine->distrust);
}

static int ops_keep_fd(void *userdata, const Plugin *p, const char *name, int fd) {
        Manager *m = userdata;

        return fd_store_keep(m->private->fd_store, p->api->name, name, fd);
}

static void ops_drop_fd(void *userdata, const Plugin *p, const char *name) {
        Manager *m = userdata;

        fd_store_drop(m->private->fd_store, p->api->name, name);
}

static void ops_on_enumerated(void *userdata) {
        Manager *m = userdata;

        if (!manager_has_enumerated(m))
                return;
        cycle_on_enumerated(m->cycle);
        manager_chores(m);
}

static void ops_on_stored(
                void *userdata, const Plugin *p, uint64_t request, int result, const char *why) {
        Manager *m = userdata;

        mode_store_answer(m->private->mode_store, p, request, result, why);
}

static void ops_on_trouble(void *userdata, const Plugin *p) {
        LogFields fields = { .plugin = p->api->name };
        Manager *m = userdata;

        if (p->trouble)
                (void) log_full(&fields, LOG_WARNING, 0, "%s: %s", p->api->name, p->trouble);
        else
                (void) log_full(&fields, LOG_NOTICE, 0, "%s: the trouble is over", p->api->name);
        bus_api_manager_changed(m->bus_api, "Troubles");
        manager_chores(m);
}

static void ops_drift(void *userdata, const struct suspendd_drift *drift) {
        Manager *m = userdata;
        int r;

        LIST_FOREACH(i, &m->plugins) {
                const Plugin *p = LIST_ENTRY(i, Plugin, plugins);
                LogFields fields = { .machine = drift->name, .plugin = p->api->name };

                r = p->api->drift ? p->api->drift(p->instance, drift) : 0;
                if (r < 0)
                        log_with(&fields,
                                 LOG_WARNING,
                                 r,
                                 "Cannot tell %s of its drift",
                                 drift->name);
        }
}

static int ops_answer(void *userdata, const Machine *machine, struct suspendd_answer *ret) {
        Manager *m = userdata;

        LIST_FOREACH(i, &m->plugins) {
                const Plugin *p = LIST_ENTRY(i, Plugin, plugins);

                *ret = (struct suspendd_answer){ .size = sizeof(*ret) };
                if (p->api->answer &&
                    p->api->answer(p->instance, machine->name, machine->uuid, ret) > 0)
                        return 1;
        }
        return 0;
}

static const char *ops_page_name(void *userdata, const Machine *machine) {
        Manager *m = userdata;

        LIST_FOREACH(i, &m->plugins) {
                const Plugin *p = LIST_ENTRY(i, Plugin, plugins);
                const char *name = p->api->page_name ? p->api->page_name(
                                                                       p->instance,
                                                                       machine->name,
                                                                       machine->uuid)
                                                     : NULL;

                if (name)
                        return name;
        }
        return NULL;
}

static bool ops_has_ended(void *userdata, const char *key) {
        Manager *m = userdata;

        LIST_FOREACH(i, &m->plugins)
        if (plugin_has_ended(LIST_ENTRY(i, Plugin, plugins), key))
                return true;
        return false;
}

const CycleOps manager_cycle_ops = {
        .now = engine_now,
        .clock = engine_clock,
        .stats = engine_stats,
        .take_lock = ops_take_lock,
        .let_go = ops_let_go,
        .arm = ops_arm,
        .on_milestone = ops_on_milestone,
        .on_machine_added = ops_on_machine_added,
        .on_machine_removed = ops_on_machine_removed,
        .on_machine_changed = ops_on_machine_changed,
        .fill_policy = ops_fill_policy,
        .on_distrust = ops_on_distrust,
        .has_ended = ops_has_ended,
        .keep_fd = ops_keep_fd,
        .drop_fd = ops_drop_fd,
        .on_enumerated = ops_on_enumerated,
        .on_stored = ops_on_stored,
        .on_trouble = ops_on_trouble,
        .drift = ops_drift,
        .answer = ops_answer,
        .page_name = ops_page_name,
};
