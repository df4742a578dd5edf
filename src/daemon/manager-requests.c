/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the bus may ask of the Manager. */

#include <errno.h>
#include <systemd/sd-daemon.h>
#include "common/text-escape.h"
#include "common/time-util.h"
#include "daemon/log.h"
#include "daemon/manager-internal.h"

#define REHEARSAL_MAX_USEC (3600 * USEC_PER_SEC)

/* Whoever is nearer to the machine has precedence: a command, the VM's own definition, a file. */
void manager_fill_policy(Manager *m, Machine *machine) {
        const char *distrust = runtime_state_distrust(m->runtime_state, machine->key);
        Mode command = runtime_state_mode(m->runtime_state, machine->name);
        Mode own = mode_from_string(machine->own_mode);
        const char *source;

        config_policy(m->config, machine->name, machine->uuid, &machine->policy, &source);
        if (command != MODE_INVALID) {
                machine->policy.mode = command;
                source = "command";
        } else if (own != MODE_INVALID) {
                machine->policy.mode = own;
                source = machine->own_mode_source ?: "the VM's own definition";
        }
        if (str_replace(&machine->mode_source, source) < 0)
                (void) log_oom();
        if (distrust && str_replace(&machine->distrust, distrust) < 0)
                (void) log_oom();
}

int manager_rehearse(Manager *m, uint64_t for_usec, const char **ret_why) {
        int r;

        if (for_usec > REHEARSAL_MAX_USEC) {
                *ret_why = "a rehearsal takes an hour at most";
                return -EINVAL;
        }
        if (m->private->is_quitting) {
                *ret_why = "suspendd is ending";
                return -EBUSY;
        }
        r = cycle_rehearse(m->cycle, for_usec);
        if (r < 0)
                *ret_why = "a cycle is under way";
        return r;
}

/* What was set by command for @name has changed. */
static void manager_refill(Manager *m, const char *name) {
        LIST_FOREACH(i, &m->cycle->machines) {
                Machine *machine = LIST_ENTRY(i, Machine, machines);

                if (!str_equal(machine->name, name))
                        continue;
                manager_fill_policy(m, machine);
                bus_api_machine_changed(m->bus_api, machine);
        }
        manager_chores(m);
}

int manager_set_mode(Manager *m, Machine *machine, Mode mode, const char **ret_why) {
        Mode old = runtime_state_mode(m->runtime_state, machine->name);
        int r;

        r = runtime_state_set_mode(m->runtime_state, machine->name, mode);
        if (r < 0) {
                /* What was refused shall not come into force some time later. */
                (void) runtime_state_set_mode(m->runtime_state, machine->name, old);
                *ret_why = "the mode cannot be stored";
                return r;
        }
        manager_refill(m, machine->name);
        return 0;
}

int manager_store_mode(
                Manager *m,
                Machine *machine,
                Mode mode,
                ModeStoreFn fn,
                void *userdata,
                const char **ret_why) {
        int r;

        if (m->private->is_quitting) {
                *ret_why = "suspendd is ending";
                return -EBUSY;
        }
        r = mode_store_begin(m->private->mode_store, machine, mode, fn, userdata);
        if (r == -EBUSY)
                *ret_why = "too many modes are being stored";
        return r;
}

/* What was set by command would hide it until the next boot, and then no longer. */
void manager_on_mode_stored(void *userdata, Machine *machine) {
        Manager *m = userdata;
        int r;

        if (runtime_state_mode(m->runtime_state, machine->name) == MODE_INVALID)
                return;
        r = runtime_state_set_mode(m->runtime_state, machine->name, MODE_INVALID);
        if (r < 0)
                (void) log_warning_errno(r, "The mode set by command may come back");
        manager_refill(m, machine->name);
}

int manager_sync(Manager *m, Machine *machine, const char **ret_why) {
        int r = cycle_sync(m->cycle, machine);

        if (r == -EBUSY)
                *ret_why = "a cycle is under way";
        else if (r == -EOPNOTSUPP)
                *ret_why = machine->why_not[SUSPENDD_ACT_SET_TIME] ?: "the machine does not run";
        return r;
}

int manager_register(Manager *m, const Registration *r, const char **ret_why) {
        Plugin *p = manager_find_plugin(m, r->plugin);
        int k;

        if (!p || !p->api->register_machine) {
                *ret_why = p ? "the plugin takes no machines by hand" : "no such plugin is loaded";
                return -ENOENT;
        }
        k = p->api->register_machine(p->instance, r->name, r->address, r->agent, ret_why);
        if (k < 0)
                return k;
        k = runtime_state_register(m->runtime_state, r);
        if (k < 0) {
                (void) p->api->unregister_machine(p->instance, r->address);
                *ret_why = "the registration cannot be stored";
        }
        return k;
}

/* After a cycle as well: what suspends late is woken then, and one that does not answer is asked on. */
static bool manager_holds(const Manager *m, const Plugin *p, const char *address) {
        LIST_FOREACH(i, &m->cycle->machines) {
                const Machine *machine = LIST_ENTRY(i, Machine, machines);

                if (machine->plugin == p && str_equal(machine->address, address) &&
                    machine->state >= MACHINE_SUSPENDING && machine->state <= MACHINE_WAKING)
                        return true;
        }
        return false;
}

int manager_unregister(Manager *m, const char *plugin, const char *address, const char **ret_why) {
        Plugin *p = manager_find_plugin(m, plugin);
        int r, k;

        if (!p || !p->api->unregister_machine) {
                *ret_why = p ? "the plugin takes no machines by hand" : "no such plugin is loaded";
                return -ENOENT;
        }
        if (m->cycle->state != CYCLE_IDLE) {
                *ret_why = "a cycle is under way";
                return -EBUSY; /* it may stand because of us */
        }
        if (manager_holds(m, p, address)) {
                *ret_why = "it is being run again";
                return -EBUSY;
        }
        /* Either may know of it alone: what a plugin refused at the start is stored all the same. */
        r = p->api->unregister_machine(p->instance, address);
        k = runtime_state_unregister(m->runtime_state, plugin, address);
        if (r < 0 && k == -ENOENT) {
                *ret_why = "nothing is registered under that address";
                return r;
        }
        return k == -ENOENT ? 0 : k;
}

int manager_notify(
                Manager *m,
                const char *plugin,
                const char *event,
                const char *name,
                const char **ret_why) {
        Plugin *p = manager_find_plugin(m, plugin);
        LogFields fields = { .plugin = plugin };
        int r;

        if (!p) {
                *ret_why = "no such plugin is loaded";
                return -ENOENT;
        }
        (void) log_full(&fields, LOG_INFO, 0, "%s: told that %s is %s", plugin, name, event);
        r = p->api->notify ? p->api->notify(p->instance, event, name) : -EOPNOTSUPP;
        if (r == -EOPNOTSUPP)
                *ret_why = p->api->notify ? "the plugin does not know the event"
                                          : "the plugin takes no hints";
        return r;
}

int manager_reload(Manager *m, const char **ret_why) {
        _cleanup_(config_freep) Config *config = NULL;
        Config *old;
        int r;

        if (m->cycle->state != CYCLE_IDLE) {
                m->private->is_reload_due = true;
                return 0;
        }
        m->private->is_reload_due = false;

        (void) sd_notifyf(
                        false,
                        "RELOADING=1\nMONOTONIC_USEC=%llu",
                        (unsigned long long) clock_now_usec(CLOCK_MONOTONIC));
        r = config_load(m->options.config_file, &config);
        if (r < 0)
                *ret_why = "the configuration cannot be read; the old one stays";
        else if (config->n_errors > 0) {
                *ret_why = "the configuration has errors (see the log); the old one stays";
                r = -EINVAL;
        } else {
                old = m->config;
                m->config = TAKE_PTR(config);
                manager_keep_config(m);
                r = manager_apply_config(m);
                if (r < 0)
                        *ret_why = "a plugin could not take its settings (see the log)";
                config_free(old);
        }
        (void) sd_notify(false, "READY=1");
        return r;
}

/* What the next sleep has to reckon with. */
static void status_protection(const Manager *m, char *buf, size_t size) {
        const Cycle *c = m->cycle;
        char span[TIME_SPAN_MAX], blocked[96];
        Budget budget;

        (void) text_cut(blocked, sizeof(blocked), m->private->blocked_why ?: "");
        budget_compute(&budget, c->delay_max_usec, c->cap_usec, c->suspend_share);
        if (c->state != CYCLE_IDLE)
                (void) snprintf(buf,
                                size,
                                "%s, %zu held",
                                cycle_state_to_string(c->state),
                                cycle_n_held(c));
        else if (!inhibitor_is_held(m->delay_lock))
                (void) snprintf(buf, size, "no lock: the host does not wait for us");
        else if (!budget.is_protected)
                (void) snprintf(buf, size, "unprotected: InhibitDelayMaxSec is 0");
        else
                (void) snprintf(buf,
                                size,
                                "lock held, budget %s%s%s",
                                time_span_format(span, budget.total_usec),
                                *blocked ? "; sleep blocked: " : "",
                                blocked);
}

/* The plugins that are in trouble; with what, is told by the property Troubles. */
static void status_troubles(const Manager *m, char *buf, size_t size) {
        const char *separator = "trouble with ";
        size_t n = 0;

        *buf = '\0';
        LIST_FOREACH(i, &m->plugins) {
                const Plugin *p = LIST_ENTRY(i, Plugin, plugins);

                if (!p->trouble || n >= size)
                        continue;
                n += (size_t) snprintf(buf + n, size - n, "%s%s", separator, p->api->name);
                separator = ", ";
        }
}

void manager_status(const Manager *m, char *buf, size_t size) {
        char troubles[64], protection[192];
        size_t n = m->cycle->n_machines;

        status_troubles(m, troubles, sizeof(troubles));
        status_protection(m, protection, sizeof(protection));
        (void) snprintf(buf,
                        size,
                        "%zu machine%s, %s%s%s",
                        n,
                        n == 1 ? "" : "s",
                        troubles,
                        *troubles ? ", " : "",
                        protection);
}
