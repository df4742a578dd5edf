/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/record.h"
#include "cli/verb.h"

/* A machine's properties, what they are called in JSON, and how they read. */
static const struct {
        const char *property;
        Field field;
} rows[] = {
        { "Id", { "Id", "id", FORMAT_TEXT, 0, NULL } },
        { "Name", { "Name", "name", FORMAT_TEXT, 0, NULL } },
        { "UUID", { "UUID", "uuid", FORMAT_TEXT, 0, NULL } },
        { "Plugin", { "Plugin", "plugin", FORMAT_TEXT, 0, NULL } },
        { "VMM", { "VMM", "vmm", FORMAT_TEXT, 0, NULL } },
        { "Address", { "Address", "address", FORMAT_TEXT, 0, NULL } },
        { "RunState", { "State", "run_state", FORMAT_STATE, 0, NULL } },
        { "Detail", { "VMM says", "detail", FORMAT_TEXT, 0, NULL } },
        { "State", { "In the cycle", "state", FORMAT_STATE, 0, NULL } },
        { "Mode", { "Mode", "mode", FORMAT_STATE, 0, NULL } },
        { "ModeSource", { "Mode set by", "mode_source", FORMAT_TEXT, 0, NULL } },
        { "TimeSync", { "Clock policy", "time_sync", FORMAT_TEXT, 0, NULL } },
        { "Plan", { "At sleep", "at_sleep", FORMAT_STATE, 0, NULL } },
        { "PlanReason", { "Why", "why", FORMAT_TEXT, 0, NULL } },
        { "Distrust", { "Not trusted", "distrust", FORMAT_TEXT, 0, NULL } },
        { "Lacks", { "", "lacks", FORMAT_TEXT, 0, NULL } },
        { "Page", { "Page", "page", FORMAT_TEXT, 0, NULL } },
        { "Answer", { "", "answer", FORMAT_TEXT, 0, NULL } },
        { "Asked", { "Last asked to", "asked", FORMAT_TEXT, 0, NULL } },
        { "Stood", { "Stood", "stood", FORMAT_TEXT, 0, NULL } },
        { "StoodAfterUSec", { "Stood after", "stood_after_usec", FORMAT_SPAN_USEC, 0, NULL } },
        { "RanAfterUSec", { "Ran after wake", "ran_after_usec", FORMAT_SPAN_USEC, 0, NULL } },
        { "StoppedNSec", { "Stopped for", "stopped_ns", FORMAT_SPAN_NS, 0, NULL } },
        { "SeenNSec", { "Slept by itself", "seen_ns", FORMAT_SPAN_NS, FIELD_IF_SET, NULL } },
        { "UnseenNSec", { "Lacked", "unseen_ns", FORMAT_SPAN_NS, FIELD_IF_SET, NULL } },
        { "Failed", { "Failed", "failed", FORMAT_YES_NO, FIELD_IF_SET, NULL } },
        { "LateSuspendUndone",
          { "Late suspend undone", "late_suspend_undone", FORMAT_YES_NO, FIELD_IF_SET, NULL } },
        { "Why", { "Because", "cycle_why", FORMAT_TEXT, 0, NULL } },
        { "Verdict", { "Clock", "verdict", FORMAT_STATE, 0, NULL } },
        { "OffsetBeforeNSec",
          { "Offset before", "before_ns", FORMAT_OFFSET_NS, 0, "before_uncertainty_ns" } },
        { "OffsetBeforeUncertaintyNSec", { "", "before_uncertainty_ns", FORMAT_COUNT, 0, NULL } },
        { "ResidualNSec", { "Residual", "after_ns", FORMAT_OFFSET_NS, 0, "after_uncertainty_ns" } },
        { "ResidualUncertaintyNSec", { "", "after_uncertainty_ns", FORMAT_COUNT, 0, NULL } },
        { "Corrections", { "Times set", "tries", FORMAT_COUNT, 0, NULL } },
        { "RepairedBy", { "Repaired by", "repaired_by", FORMAT_STATE, 0, NULL } },
        { "Later", { "", "later", FORMAT_TEXT, 0, NULL } },
};

/* The members of its two properties that have any. */
static const struct {
        const char *member, *key;
} members[] = {
        { "CorrectsRealtime", "corrects_realtime" },
        { "CorrectsBoottime", "corrects_boottime" },
        { "Current", "current" },
        { "AppliedNSec", "applied_ns" },
        { "RefusedNSec", "refused_ns" },
        { "At", "at" },
        { "Cause", "cause" },
        { "HostClockSteppedNSec", "host_clock_stepped_ns" },
        { "Verdict", "verdict" },
        { "OffsetBeforeNSec", "before_ns" },
        { "ResidualNSec", "after_ns" },
        { "ResidualUncertaintyNSec", "after_uncertainty_ns" },
        { "RepairedBy", "repaired_by" },
};

/* A reading whose uncertainty is not known was never made. */
static void drop_unread(JsonObject *o, const char *key, const char *uncertainty) {
        JsonObject *value = NULL;

        if (!json_object_object_get_ex(o, uncertainty, &value) || !value)
                (void) json_object_object_add(o, key, NULL);
}

static JsonObject *describe_members(JsonObject *dictionary) {
        JsonObject *o = json_object_new_object(), *value;

        for (size_t i = 0; i < ARRAY_LEN(members); i++)
                if (json_object_object_get_ex(dictionary, members[i].member, &value))
                        (void) json_object_object_add(o, members[i].key, json_object_get(value));
        return o;
}

/* What its guest answers, or null; and its later corrections. */
static void describe_clock(JsonObject *o, JsonObject *properties) {
        JsonObject *answer, *later, *described = json_object_new_array();

        if (json_get_object(properties, "Answer", &answer) < 0 ||
            json_object_object_length(answer) == 0)
                answer = NULL;
        (void) json_object_object_add(o, "answer", answer ? describe_members(answer) : NULL);

        if (json_get_array(properties, "Later", &later) < 0)
                later = NULL;
        for (size_t i = 0; later && i < json_object_array_length(later); i++)
                (void) json_object_array_add(
                                described, describe_members(json_object_array_get_idx(later, i)));
        (void) json_object_object_add(o, "later", described);
}

static JsonObject *describe(JsonObject *properties) {
        JsonObject *o = json_object_new_object(), *value;

        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
                if (json_object_object_get_ex(properties, rows[i].property, &value))
                        (void) json_object_object_add(o, rows[i].field.key, json_object_get(value));
        describe_clock(o, properties);

        drop_unread(o, "before_ns", "before_uncertainty_ns");
        drop_unread(o, "after_ns", "after_uncertainty_ns");
        return o;
}

static void print_answer(const Output *o, JsonObject *machine) {
        static const Field fields[] = {
                { "Its reader corrects the wall clock",
                  "corrects_realtime",
                  FORMAT_YES_NO,
                  0,
                  NULL },
                { "Its reader corrects CLOCK_BOOTTIME",
                  "corrects_boottime",
                  FORMAT_YES_NO,
                  0,
                  NULL },
                { "Its reader is up to date", "current", FORMAT_YES_NO, 0, NULL },
                { "Its reader applied", "applied_ns", FORMAT_SPAN_NS, FIELD_IF_SET, NULL },
                { "Its reader refused", "refused_ns", FORMAT_SPAN_NS, FIELD_IF_SET, NULL },
        };
        JsonObject *answer;

        if (json_get_object(machine, "answer", &answer) >= 0)
                output_sheet(o, fields, ARRAY_LEN(fields), answer);
}

static void print(const Output *o, JsonObject *machine) {
        Field fields[ARRAY_LEN(rows)];
        bool had_cycle = *json_text(machine, "asked");
        JsonObject *lacks;
        size_t n = 0;

        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                if (str_equal(rows[i].property, "Asked") && !had_cycle)
                        break; /* the rest is of the last cycle */
                if (*rows[i].field.title)
                        fields[n++] = rows[i].field;
        }

        output_heading(o, "%s", json_text(machine, "id"));
        output_sheet(o, fields, n, machine);
        if (had_cycle)
                record_print_later(o, machine, "");
        print_answer(o, machine);

        if (json_get_object(machine, "lacks", &lacks) < 0)
                return;
        json_object_object_foreach(lacks, act, why)(void)
                        printf("Cannot %s: %s\n", act, json_object_get_string(why));
}

int verb_show(Command *c) {
        _cleanup_json_ JsonObject *machines = NULL, *shown = json_object_new_array();
        int r;

        r = client_machines(c->client, c->arguments, &machines);
        if (r != STATUS_OK)
                return r;

        for (size_t i = 0; i < json_object_array_length(machines); i++) {
                _cleanup_json_ JsonObject *properties = NULL;
                JsonObject *machine = json_object_array_get_idx(machines, i);

                r = client_properties(c->client, json_text(machine, "path"), &properties);
                if (r != STATUS_OK)
                        return r;
                (void) json_object_array_add(shown, describe(properties));
        }

        if (c->output.json != JSON_STYLE_OFF) {
                output_json(&c->output, shown);
                return STATUS_OK;
        }

        for (size_t i = 0; i < json_object_array_length(shown); i++) {
                if (i > 0)
                        (void) putchar('\n');
                print(&c->output, json_object_array_get_idx(shown, i));
        }
        return STATUS_OK;
}
