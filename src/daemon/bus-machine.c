/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stddef.h>
#include "common/time-util.h"
#include "daemon/bus-internal.h"

static const char *const run_state_names[SUSPENDD_STATE_MAX] = {
        [SUSPENDD_STATE_UNKNOWN] = "unknown", [SUSPENDD_STATE_RUNNING] = "running",
        [SUSPENDD_STATE_PAUSED] = "paused",   [SUSPENDD_STATE_SUSPENDED] = "suspended",
        [SUSPENDD_STATE_OTHER] = "stopped",
};

static const char *const act_names[SUSPENDD_ACT_MAX] = {
        [SUSPENDD_ACT_SUSPEND] = "suspend",   [SUSPENDD_ACT_PAUSE] = "pause",
        [SUSPENDD_ACT_RESUME] = "resume",     [SUSPENDD_ACT_WAKE] = "wake",
        [SUSPENDD_ACT_GET_TIME] = "get-time", [SUSPENDD_ACT_SET_TIME] = "set-time",
};

const char *bus_run_state_name(enum suspendd_run_state state) {
        return (int) state >= 0 && state < SUSPENDD_STATE_MAX ? run_state_names[state] : "unknown";
}

const char *bus_act_name(enum suspendd_act act) {
        return (int) act >= 0 && act < SUSPENDD_ACT_MAX ? act_names[act] : "nothing";
}

/* where it is found: one table serves all machines, so that a machine costs nothing here */

int bus_machine_path(const Machine *m, char **ret) {
        return sd_bus_path_encode(BUS_MACHINE_PREFIX, m->id, ret);
}

int bus_machine_find(
                sd_bus *bus,
                const char *path,
                const char *interface,
                void *userdata,
                void **ret_found,
                sd_bus_error *error) {
        const BusApi *b = userdata;
        _cleanup_free_ char *id = NULL;
        Machine *m;
        int r;

        (void) bus;
        (void) interface;
        (void) error;
        r = sd_bus_path_decode(path, BUS_MACHINE_PREFIX, &id);
        if (r <= 0)
                return r;

        m = b->leaving && str_equal(b->leaving->id, id) ? b->leaving
                                                        : cycle_find(b->manager->cycle, id);
        if (!m)
                return 0;

        *ret_found = m;
        return 1;
}

int bus_machine_enumerate(
                sd_bus *bus, const char *prefix, void *userdata, char ***ret, sd_bus_error *error) {
        const BusApi *b = userdata;
        char **paths;
        size_t n = 0;
        int r = 0;

        (void) bus;
        (void) prefix;
        (void) error;
        paths = calloc(b->manager->cycle->n_machines + 1, sizeof(*paths));
        if (!paths)
                return -ENOMEM;

        LIST_FOREACH(i, &b->manager->cycle->machines) {
                if (n == b->manager->cycle->n_machines)
                        break;
                r = bus_machine_path(LIST_ENTRY(i, Machine, machines), &paths[n]);
                if (r < 0)
                        break;
                n++;
        }

        if (r < 0) {
                while (n > 0)
                        free(paths[--n]);
                free(paths);
                return r;
        }

        *ret = paths;
        return 0;
}

/* properties; userdata is the Machine, moved by the offset in the table */

PROPERTY(text) {
        return bus_append_text(reply, *(const char *const *) userdata);
}

PROPERTY(text_array) {
        return bus_append_text(reply, userdata);
}

PROPERTY(boolean) {
        return sd_bus_message_append(reply, "b", *(const bool *) userdata);
}

PROPERTY(plugin) {
        const Machine *m = userdata;

        return bus_append_text(reply, m->plugin->api->name);
}

PROPERTY(run_state) {
        return bus_append_text(
                        reply, bus_run_state_name(*(const enum suspendd_run_state *) userdata));
}

PROPERTY(stood) {
        const enum suspendd_run_state *stood = userdata;

        return bus_append_text(
                        reply, *stood == SUSPENDD_STATE_UNKNOWN ? "" : bus_run_state_name(*stood));
}

PROPERTY(state) {
        return bus_append_text(reply, machine_state_to_string(*(const MachineState *) userdata));
}

PROPERTY(mode) {
        return bus_append_text(reply, mode_to_string(*(const Mode *) userdata));
}

PROPERTY(time_sync) {
        return bus_append_text(reply, time_sync_to_string(*(const TimeSync *) userdata));
}

PROPERTY(plan) {
        char why[256] = "";

        return bus_append_text(reply, bus_act_name(machine_plan(userdata, why, sizeof(why))));
}

PROPERTY(plan_reason) {
        char why[256] = "";

        (void) machine_plan(userdata, why, sizeof(why));
        return bus_append_text(reply, why);
}

PROPERTY(lacks) {
        const Machine *m = userdata;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{ss}");
        for (int i = 0; r >= 0 && i < SUSPENDD_ACT_MAX; i++) {
                if (!m->why_not[i])
                        continue;
                r = sd_bus_message_open_container(reply, 'e', "ss");
                if (r >= 0)
                        r = sd_bus_message_append(reply, "s", act_names[i]);
                if (r >= 0)
                        r = bus_append_text(reply, m->why_not[i]);
                if (r >= 0)
                        r = sd_bus_message_close_container(reply);
        }
        if (r < 0)
                return r;
        return sd_bus_message_close_container(reply);
}

PROPERTY(asked) {
        const MachineReport *report = userdata;

        return bus_append_text(reply, report->is_part ? bus_act_name(report->asked) : "");
}

/* An uncertainty without limit says that the clock was not read. */
PROPERTY(before_uncertainty) {
        const CorrectionReport *t = userdata;

        return sd_bus_message_append(
                        reply,
                        "t",
                        t->is_before_known ? (uint64_t) t->before_uncertainty_ns : UINT64_MAX);
}

PROPERTY(after_uncertainty) {
        const CorrectionReport *t = userdata;

        return sd_bus_message_append(
                        reply,
                        "t",
                        t->is_after_known ? (uint64_t) t->after_uncertainty_ns : UINT64_MAX);
}

PROPERTY(verdict) {
        return bus_append_text(
                        reply, correction_verdict_to_string(*(const CorrectionVerdict *) userdata));
}

PROPERTY(repaired_by) {
        return bus_append_text(
                        reply,
                        correction_repairer_to_string(*(const CorrectionRepairer *) userdata));
}

PROPERTY(page) {
        return bus_append_text(reply, machine_page(userdata));
}

/* What its guest answers by the page; empty if it does not. */
PROPERTY(answer) {
        struct suspendd_answer a;

        if (machine_answer(userdata, &a) <= 0)
                return sd_bus_message_append(reply, "a{sv}", 0);
        return sd_bus_message_append(
                        reply,
                        "a{sv}",
                        5,
                        "CorrectsRealtime",
                        "b",
                        a.corrects_realtime,
                        "CorrectsBoottime",
                        "b",
                        a.corrects_boottime,
                        "Current",
                        "b",
                        a.is_current,
                        "AppliedNSec",
                        "x",
                        a.applied_ns,
                        "RefusedNSec",
                        "x",
                        a.refused_ns);
}

static int append_entry(sd_bus_message *reply, const CorrectionEntry *e) {
        const CorrectionReport *t = &e->report;
        char stamp[TIME_STAMP_MAX];

        return sd_bus_message_append(
                        reply,
                        "a{sv}",
                        8,
                        "At",
                        "s",
                        time_stamp_format(stamp, e->at_realtime_ns),
                        "Cause",
                        "s",
                        correction_cause_to_string(e->cause),
                        "HostClockSteppedNSec",
                        "x",
                        e->host_stepped_ns,
                        "Verdict",
                        "s",
                        correction_verdict_to_string(t->verdict),
                        "OffsetBeforeNSec",
                        "x",
                        t->before_ns,
                        "ResidualNSec",
                        "x",
                        t->after_ns,
                        "ResidualUncertaintyNSec",
                        "t",
                        t->is_after_known ? (uint64_t) t->after_uncertainty_ns : UINT64_MAX,
                        "RepairedBy",
                        "s",
                        correction_repairer_to_string(t->repaired_by));
}

/* The corrections after the cycle's own, oldest first. */
PROPERTY(later) {
        const MachineReport *report = userdata;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        for (unsigned i = 1; r >= 0 && i < report->n_times; i++)
                r = append_entry(reply, &report->times[i]);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(reply);
}

/* acts */

static BusApi *current_api(sd_bus_message *message) {
        return sd_bus_slot_get_userdata(sd_bus_get_current_slot(sd_bus_message_get_bus(message)));
}

/* Reads the one argument; INVALID is "default". */
static int read_mode(sd_bus_message *message, const char *what, sd_bus_error *error, Mode *ret) {
        const char *name;
        int r;

        r = sd_bus_message_read(message, "s", &name);
        if (r < 0)
                return r;

        *ret = mode_from_string(name);
        if (*ret == MODE_INVALID && !str_equal(name, "default"))
                return bus_error_set(
                                error,
                                -EINVAL,
                                what,
                                "a mode is auto, suspend, pause, ignore, block or default");
        return 0;
}

static int method_set_mode(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        BusApi *b = current_api(message);
        Machine *m = userdata;
        const char *why = NULL;
        char what[256];
        Mode mode;
        int r;

        (void) snprintf(what, sizeof(what), "Cannot set the mode of %s", m->id);
        r = read_mode(message, what, error, &mode);
        if (r < 0)
                return r;
        r = bus_api_authorize(b, message, ACTION_SET_MODE, error);
        if (r != 0)
                return r;

        r = manager_set_mode(b->manager, m, mode, &why);
        if (r < 0)
                return bus_error_set(error, r, what, why);
        return sd_bus_reply_method_return(message, NULL);
}

static int store_error_set(sd_bus_error *error, const Machine *m, int r, const char *why) {
        char what[256], words[256];

        (void) snprintf(what, sizeof(what), "Cannot store the mode of %s", m->id);
        if (r == -EOPNOTSUPP && !why) {
                (void) snprintf(words,
                                sizeof(words),
                                "the VM's definition cannot be written by plugin %s; use suspendd.conf",
                                m->plugin->api->name);
                why = words;
        }
        return bus_error_set(error, r, what, why);
}

/* @userdata is the call, whose reply has been waited for. */
static void on_mode_stored(void *userdata, const Machine *m, int result, const char *why) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = userdata;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        if (result >= 0) {
                (void) sd_bus_reply_method_return(message, NULL);
                return;
        }
        (void) store_error_set(&error, m, result, why);
        (void) sd_bus_reply_method_error(message, &error);
}

static int method_store_mode(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        BusApi *b = current_api(message);
        Machine *m = userdata;
        const char *why = NULL;
        Mode mode;
        int r;

        r = read_mode(message, "Cannot store the mode", error, &mode);
        if (r < 0)
                return r;
        r = bus_api_authorize(b, message, ACTION_STORE_MODE, error);
        if (r != 0)
                return r;

        sd_bus_message_ref(message);
        r = manager_store_mode(b->manager, m, mode, on_mode_stored, message, &why);
        if (r >= 0)
                return 1; /* the reply comes by on_mode_stored() */
        sd_bus_message_unref(message);
        return store_error_set(error, m, r, why);
}

static int method_sync(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        BusApi *b = current_api(message);
        Machine *m = userdata;
        const char *why = NULL;
        char what[256];
        int r;

        r = bus_api_authorize(b, message, ACTION_SYNC_CLOCK, error);
        if (r != 0)
                return r;

        (void) snprintf(what, sizeof(what), "Cannot set the clock of %s", m->id);
        r = manager_sync(b->manager, m, &why);
        if (r < 0)
                return bus_error_set(error, r, what, why);
        return sd_bus_reply_method_return(message, NULL);
}

/* the table */

#define CONSTANT(_name, _type, _getter, _member)    \
        SD_BUS_PROPERTY(_name,                      \
                        _type,                      \
                        _getter,                    \
                        offsetof(Machine, _member), \
                        SD_BUS_VTABLE_PROPERTY_CONST)
#define CHANGING(_name, _type, _getter, _member)    \
        SD_BUS_PROPERTY(_name,                      \
                        _type,                      \
                        _getter,                    \
                        offsetof(Machine, _member), \
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)
#define WHOLE(_name, _type, _getter) \
        SD_BUS_PROPERTY(_name, _type, _getter, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

const sd_bus_vtable bus_machine_vtable[] = {
        SD_BUS_VTABLE_START(0),
        CONSTANT("Id", "s", property_text, id),
        CONSTANT("Name", "s", property_text, name),
        CONSTANT("UUID", "s", property_text, uuid),
        SD_BUS_PROPERTY("Plugin", "s", property_plugin, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        CHANGING("VMM", "s", property_text, vmm),
        CHANGING("Address", "s", property_text, address),
        CHANGING("RunState", "s", property_run_state, run_state),
        CHANGING("Detail", "s", property_text_array, detail),
        CHANGING("State", "s", property_state, state),
        CHANGING("Mode", "s", property_mode, policy.mode),
        CHANGING("ModeSource", "s", property_text, mode_source),
        CHANGING("TimeSync", "s", property_time_sync, policy.time_sync),
        WHOLE("Plan", "s", property_plan),
        WHOLE("PlanReason", "s", property_plan_reason),
        WHOLE("Lacks", "a{ss}", property_lacks),
        CHANGING("Distrust", "s", property_text, distrust),
        /* what became of it in the last cycle */
        CHANGING("Asked", "s", property_asked, report),
        CHANGING("Stood", "s", property_stood, report.stood),
        CHANGING("StoodAfterUSec", "t", NULL, report.stood_after_usec),
        CHANGING("RanAfterUSec", "t", NULL, report.ran_after_usec),
        CHANGING("StoppedNSec", "x", NULL, report.stopped_ns),
        CHANGING("SeenNSec", "x", NULL, report.seen_ns),
        CHANGING("UnseenNSec", "x", NULL, report.unseen_ns),
        CHANGING("Failed", "b", property_boolean, report.is_failed),
        CHANGING("LateSuspendUndone", "b", property_boolean, report.was_woken_late),
        CHANGING("Why", "s", property_text_array, report.why),
        /* what became of its clock */
        CHANGING("Verdict", "s", property_verdict, report.time.verdict),
        CHANGING("OffsetBeforeNSec", "x", NULL, report.time.before_ns),
        CHANGING("OffsetBeforeUncertaintyNSec", "t", property_before_uncertainty, report.time),
        CHANGING("ResidualNSec", "x", NULL, report.time.after_ns),
        CHANGING("ResidualUncertaintyNSec", "t", property_after_uncertainty, report.time),
        CHANGING("Corrections", "u", NULL, report.time.tries),
        CHANGING("RepairedBy", "s", property_repaired_by, report.time.repaired_by),
        CHANGING("Later", "aa{sv}", property_later, report),
        /* what its guest is told by, and answers; neither is told of when it changes */
        SD_BUS_PROPERTY("Page", "s", property_page, 0, 0),
        SD_BUS_PROPERTY("Answer", "a{sv}", property_answer, 0, 0),
        SD_BUS_METHOD_WITH_ARGS(
                        "SetMode",
                        SD_BUS_ARGS("s", mode),
                        SD_BUS_NO_RESULT,
                        method_set_mode,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "StoreMode",
                        SD_BUS_ARGS("s", mode),
                        SD_BUS_NO_RESULT,
                        method_store_mode,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "Sync",
                        SD_BUS_NO_ARGS,
                        SD_BUS_NO_RESULT,
                        method_sync,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};
