/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "common/text-escape.h"
#include "daemon/bus-internal.h"

#define HISTORY_BYTES_MAX (16U << 20) /* of one answer; a bus has limits of its own above */
#define ADDRESS_MAX 4096

const char *const bus_manager_properties[] = {
        "State",       "LockHeld", "BudgetUSec", "DelayMaxUSec", "NMachines", "NHeld",
        "CycleNumber", "Status",   "Blocking",   "Troubles",     NULL,
};

/* properties */

PROPERTY(version) {
        (void) userdata;
        return sd_bus_message_append(reply, "s", SUSPENDD_VERSION);
}

PROPERTY(state) {
        const BusApi *b = userdata;

        return sd_bus_message_append(reply, "s", cycle_state_to_string(b->manager->cycle->state));
}

PROPERTY(lock_held) {
        const BusApi *b = userdata;
        const Inhibitor *lock = b->manager->delay_lock;

        return sd_bus_message_append(reply, "b", lock && inhibitor_is_held(lock));
}

/* What the next sleep would be given; the budget of the last one is in its record. */
PROPERTY(budget) {
        const BusApi *b = userdata;
        const Cycle *c = b->manager->cycle;
        Budget budget;

        budget_compute(&budget, c->delay_max_usec, c->cap_usec, c->suspend_share);
        return sd_bus_message_append(reply, "t", budget.is_protected ? budget.total_usec : 0);
}

PROPERTY(delay_max) {
        const BusApi *b = userdata;

        return sd_bus_message_append(reply, "t", b->manager->cycle->delay_max_usec);
}

PROPERTY(n_machines) {
        const BusApi *b = userdata;

        return sd_bus_message_append(reply, "u", (unsigned) b->manager->cycle->n_machines);
}

PROPERTY(n_held) {
        const BusApi *b = userdata;

        return sd_bus_message_append(reply, "u", (unsigned) cycle_n_held(b->manager->cycle));
}

PROPERTY(cycle_number) {
        const BusApi *b = userdata;

        return sd_bus_message_append(reply, "t", b->manager->cycle->report.number);
}

PROPERTY(status) {
        const BusApi *b = userdata;
        char buf[256];

        manager_status(b->manager, buf, sizeof(buf));
        return bus_append_text(reply, buf);
}

PROPERTY(blocking) {
        const BusApi *b = userdata;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "s");
        if (r < 0)
                return r;

        LIST_FOREACH(i, &b->manager->cycle->machines) {
                const Machine *m = LIST_ENTRY(i, Machine, machines);

                if (m->policy.mode != MODE_BLOCK || m->run_state != SUSPENDD_STATE_RUNNING)
                        continue;
                r = bus_append_text(reply, m->id);
                if (r < 0)
                        return r;
        }

        return sd_bus_message_close_container(reply);
}

static int append_trouble(sd_bus_message *reply, const Plugin *p) {
        int r = sd_bus_message_open_container(reply, 'e', "ss");

        if (r >= 0)
                r = bus_append_text(reply, p->api->name);
        if (r >= 0)
                r = bus_append_text(reply, p->trouble);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

PROPERTY(troubles) {
        const BusApi *b = userdata;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{ss}");
        LIST_FOREACH(i, &b->manager->plugins) {
                const Plugin *p = LIST_ENTRY(i, Plugin, plugins);

                if (r >= 0 && p->trouble)
                        r = append_trouble(reply, p);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* reading */

static int append_machine(sd_bus_message *reply, const Machine *m) {
        _cleanup_free_ char *path = NULL;
        char why[256] = "";
        enum suspendd_act plan = machine_plan(m, why, sizeof(why));
        const char *const texts[] = {
                m->name,
                m->uuid,
                m->plugin->api->name,
                bus_run_state_name(m->run_state),
                m->detail,
                machine_state_to_string(m->state),
                mode_to_string(m->policy.mode),
                bus_act_name(plan),
                why,
        };
        int r;

        r = bus_machine_path(m, &path);
        if (r < 0)
                return r;

        r = sd_bus_message_open_container(reply, 'r', "sosssssssss");
        if (r < 0)
                return r;
        r = bus_append_text(reply, m->id);
        if (r < 0)
                return r;
        r = sd_bus_message_append(reply, "o", path);
        for (size_t i = 0; r >= 0 && i < ARRAY_LEN(texts); i++)
                r = bus_append_text(reply, texts[i]);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(reply);
}

static int method_list_machines(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const BusApi *b = userdata;
        int r;

        (void) error;
        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "(sosssssssss)");
        if (r < 0)
                return r;

        LIST_FOREACH(i, &b->manager->cycle->machines) {
                r = append_machine(reply, LIST_ENTRY(i, Machine, machines));
                if (r < 0)
                        return r;
        }

        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        return sd_bus_message_send(reply);
}

/* By its id as it is, or as it was shown, or by the UUID. */
static Machine *find_machine(const BusApi *b, const char *name) {
        Machine *found = cycle_find(b->manager->cycle, name);

        if (found)
                return found;

        LIST_FOREACH(i, &b->manager->cycle->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);
                _cleanup_free_ char *shown = text_escape(m->id);

                if (str_equal(shown, name) || (m->uuid && str_equal(m->uuid, name)))
                        return m;
        }
        return NULL;
}

static int method_get_machine(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *path = NULL;
        char shown[256];
        const BusApi *b = userdata;
        const char *id;
        const Machine *m;
        int r;

        r = sd_bus_message_read(message, "s", &id);
        if (r < 0)
                return r;

        if (strlen(id) > ADDRESS_MAX)
                return bus_error_set(error, -EINVAL, "Cannot find the machine", "too long a name");

        m = find_machine(b, id);
        if (!m)
                return sd_bus_error_setf(
                                error,
                                BUS_ERROR_NO_SUCH_MACHINE,
                                "No machine is called %s.",
                                text_escape_to(shown, sizeof(shown), id));

        r = bus_machine_path(m, &path);
        if (r < 0)
                return r;
        return sd_bus_reply_method_return(message, "o", path);
}

static int method_get_history(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(history_records_freep) char **records = NULL;
        const BusApi *b = userdata;
        size_t first = 0, bytes = 0;
        uint32_t max;
        int r;

        r = sd_bus_message_read(message, "u", &max);
        if (r < 0)
                return r;

        if (b->manager->history) {
                r = history_read(b->manager->history, max == 0 ? UINT32_MAX : max, &records);
                if (r < 0)
                        return bus_error_set(error, r, "Cannot read the history", NULL);
        }

        while (records && records[first])
                text_make_valid(records[first++]);
        for (; first > 0; first--) {
                bytes += strlen(records[first - 1]);
                if (bytes > HISTORY_BYTES_MAX)
                        break;
        }

        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_append_strv(reply, records ? records + first : NULL);
        if (r < 0)
                return r;
        return sd_bus_message_send(reply);
}

/* changing */

static int method_rehearse(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        BusApi *b = userdata;
        const char *why = NULL;
        uint64_t for_usec;
        int r;

        r = sd_bus_message_read(message, "t", &for_usec);
        if (r < 0)
                return r;
        r = bus_api_authorize(b, message, ACTION_REHEARSE, error);
        if (r != 0)
                return r;

        r = manager_rehearse(b->manager, for_usec, &why);
        if (r < 0)
                return bus_error_set(error, r, "Cannot rehearse a sleep", why);
        return sd_bus_reply_method_return(message, "t", b->manager->cycle->report.number);
}

static bool is_argument(const char *s) {
        return strlen(s) <= ADDRESS_MAX && text_is_clean(s);
}

static char *none_if_empty(const char *s) {
        return *s ? (char *) s : NULL; /* the Registration only borrows it */
}

static int method_register(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        static const char what[] = "Cannot register the machine";
        BusApi *b = userdata;
        const char *plugin, *name, *address, *agent, *why = NULL;
        Registration registration;
        int r;

        r = sd_bus_message_read(message, "ssss", &plugin, &name, &address, &agent);
        if (r < 0)
                return r;

        if (!is_argument(plugin) || !is_argument(name) || !is_argument(address) ||
            !is_argument(agent))
                return bus_error_set(error, -EINVAL, what, "too long, or with control characters");
        if (!*address)
                return bus_error_set(error, -EINVAL, what, "no address is given");
        r = bus_api_authorize(b, message, ACTION_MANAGE_MACHINES, error);
        if (r != 0)
                return r;

        registration = (Registration){
                .plugin = (char *) (*plugin ? plugin : "qmp"),
                .name = none_if_empty(name),
                .address = (char *) address,
                .agent = none_if_empty(agent),
        };
        r = manager_register(b->manager, &registration, &why);
        if (r < 0)
                return bus_error_set(error, r, what, why);
        return sd_bus_reply_method_return(message, NULL);
}

static int method_unregister(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        static const char what[] = "Cannot unregister the machine";
        BusApi *b = userdata;
        const char *plugin, *address, *why = NULL;
        int r;

        r = sd_bus_message_read(message, "ss", &plugin, &address);
        if (r < 0)
                return r;
        if (!is_argument(plugin) || !is_argument(address))
                return bus_error_set(error, -EINVAL, what, "too long, or with control characters");
        r = bus_api_authorize(b, message, ACTION_MANAGE_MACHINES, error);
        if (r != 0)
                return r;

        r = manager_unregister(b->manager, *plugin ? plugin : "qmp", address, &why);
        if (r == -ENOENT && !why)
                why = "nothing is registered under this address";
        if (r < 0)
                return bus_error_set(error, r, what, why);
        return sd_bus_reply_method_return(message, NULL);
}

static int method_notify(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        static const char what[] = "Cannot notify the plugin";
        const char *plugin, *event, *name, *why = NULL;
        BusApi *b = userdata;
        int r;

        r = sd_bus_message_read(message, "sss", &plugin, &event, &name);
        if (r < 0)
                return r;

        /* A VM's name is whatever somebody called it; the plugin looks for it and does no more. */
        if (!is_argument(plugin) || !is_argument(event) || strlen(name) > ADDRESS_MAX)
                return bus_error_set(error, -EINVAL, what, "too long, or with control characters");
        if (!*event || !*name)
                return bus_error_set(error, -EINVAL, what, "no event or no name is given");
        r = bus_api_authorize(b, message, ACTION_NOTIFY, error);
        if (r != 0)
                return r;

        r = manager_notify(b->manager, plugin, event, name, &why);
        if (r < 0)
                return bus_error_set(error, r, what, why);
        return sd_bus_reply_method_return(message, NULL);
}

static int method_reload(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        BusApi *b = userdata;
        const char *why = NULL;
        int r;

        r = bus_api_authorize(b, message, ACTION_RELOAD, error);
        if (r != 0)
                return r;

        r = manager_reload(b->manager, &why);
        for (size_t i = 0; bus_manager_properties[i]; i++)
                bus_api_manager_changed(b, bus_manager_properties[i]);
        if (r < 0)
                return bus_error_set(error, r, "Cannot reload the configuration", why);
        return sd_bus_reply_method_return(message, NULL);
}

/* the table */

#define CHANGING(_name, _type, _getter) \
        SD_BUS_PROPERTY(_name, _type, _getter, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

const sd_bus_vtable bus_manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Version", "s", property_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        CHANGING("State", "s", property_state),
        CHANGING("LockHeld", "b", property_lock_held),
        CHANGING("BudgetUSec", "t", property_budget),
        CHANGING("DelayMaxUSec", "t", property_delay_max),
        CHANGING("NMachines", "u", property_n_machines),
        CHANGING("NHeld", "u", property_n_held),
        CHANGING("CycleNumber", "t", property_cycle_number),
        CHANGING("Status", "s", property_status),
        CHANGING("Blocking", "as", property_blocking),
        CHANGING("Troubles", "a{ss}", property_troubles),
        SD_BUS_METHOD_WITH_ARGS(
                        "ListMachines",
                        SD_BUS_NO_ARGS,
                        SD_BUS_RESULT("a(sosssssssss)", machines),
                        method_list_machines,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "GetMachine",
                        SD_BUS_ARGS("s", id),
                        SD_BUS_RESULT("o", machine),
                        method_get_machine,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "GetHistory",
                        SD_BUS_ARGS("u", max),
                        SD_BUS_RESULT("as", records),
                        method_get_history,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "Rehearse",
                        SD_BUS_ARGS("t", for_usec),
                        SD_BUS_RESULT("t", number),
                        method_rehearse,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "Register",
                        SD_BUS_ARGS("s", plugin, "s", name, "s", address, "s", agent),
                        SD_BUS_NO_RESULT,
                        method_register,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "Unregister",
                        SD_BUS_ARGS("s", plugin, "s", address),
                        SD_BUS_NO_RESULT,
                        method_unregister,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "Notify",
                        SD_BUS_ARGS("s", plugin, "s", event, "s", name),
                        SD_BUS_NO_RESULT,
                        method_notify,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "CreatePage",
                        SD_BUS_ARGS("s", name, "s", owner, "u", vectors, "b", notifies),
                        SD_BUS_NO_RESULT,
                        bus_method_create_page,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "RemovePage",
                        SD_BUS_ARGS("s", name, "b", force),
                        SD_BUS_NO_RESULT,
                        bus_method_remove_page,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "ListPages",
                        SD_BUS_NO_ARGS,
                        SD_BUS_RESULT("s", pages),
                        bus_method_list_pages,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "Reload",
                        SD_BUS_NO_ARGS,
                        SD_BUS_NO_RESULT,
                        method_reload,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_SIGNAL_WITH_ARGS("CycleStarted", SD_BUS_ARGS("t", number, "s", id, "s", kind), 0),
        SD_BUS_SIGNAL_WITH_ARGS(
                        "MachineStood", SD_BUS_ARGS("o", machine, "s", how, "t", after_usec), 0),
        SD_BUS_SIGNAL_WITH_ARGS("LockReleased", SD_BUS_ARGS("t", number, "t", after_usec), 0),
        SD_BUS_SIGNAL_WITH_ARGS("Woke", SD_BUS_ARGS("t", number, "x", slept_ns), 0),
        SD_BUS_SIGNAL_WITH_ARGS("MachineRan", SD_BUS_ARGS("o", machine, "x", stopped_ns), 0),
        SD_BUS_SIGNAL_WITH_ARGS(
                        "CycleFinished", SD_BUS_ARGS("t", number, "s", ended, "s", record), 0),
        SD_BUS_SIGNAL_WITH_ARGS("MachineAdded", SD_BUS_ARGS("s", id, "o", machine), 0),
        SD_BUS_SIGNAL_WITH_ARGS("MachineRemoved", SD_BUS_ARGS("s", id, "o", machine), 0),
        SD_BUS_VTABLE_END,
};
