/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/record.h"
#include "cli/verb.h"

/* The Manager's properties, and what they are called here. */
static const struct {
        const char *property, *key;
} names[] = {
        { "Version", "version" },
        { "Status", "status" },
        { "State", "state" },
        { "LockHeld", "lock_held" },
        { "BudgetUSec", "budget_usec" },
        { "DelayMaxUSec", "delay_max_usec" },
        { "NMachines", "machines_known" },
        { "NHeld", "machines_held" },
        { "Blocking", "blocking" },
        { "Troubles", "troubles" },
        { "CycleNumber", "cycle_number" },
};

static const Field fields[] = {
        { "State", "state", FORMAT_STATE, 0, NULL },
        { "Lock held", "lock_held", FORMAT_YES_NO, 0, NULL },
        { "Budget", "budget_usec", FORMAT_SPAN_USEC, 0, NULL },
        { "logind waits", "delay_max_usec", FORMAT_LIMIT_USEC, 0, NULL },
        { "Machines", "machines_known", FORMAT_COUNT, 0, NULL },
        { "Held by us", "machines_held", FORMAT_COUNT, FIELD_IF_SET, NULL },
        { "Sleep blocked by", "blocking", FORMAT_LIST, 0, NULL },
        { "Trouble", "troubles", FORMAT_LIST, 0, NULL },
};

static const Field last_fields[] = {
        { "Cycle", "number", FORMAT_COUNT, 0, NULL },
        { "Began", "began", FORMAT_STAMP, 0, NULL },
        { "Kind", "kind", FORMAT_TEXT, 0, NULL },
        { "Ended", "ended", FORMAT_STATE, 0, NULL },
        { "Slept", "slept_ns", FORMAT_SPAN_NS, 0, NULL },
        { "Lock released", "released_after_usec", FORMAT_SPAN_USEC, 0, NULL },
        { "Suspended", "suspended", FORMAT_COUNT, 0, NULL },
        { "Paused", "paused", FORMAT_COUNT, 0, NULL },
        { "Failed", "failed", FORMAT_COUNT, 0, NULL },
        { "Worst residual",
          "worst_residual_ns",
          FORMAT_OFFSET_NS,
          0,
          "worst_residual_uncertainty_ns" },
};

static int gather(Command *c, JsonObject *ret) {
        _cleanup_json_ JsonObject *properties = NULL, *records = NULL;
        JsonObject *machines, *value;
        size_t n;
        int r;

        r = client_properties(c->client, NULL, &properties);
        if (r != STATUS_OK)
                return r;
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                if (json_object_object_get_ex(properties, names[i].property, &value))
                        (void) json_object_object_add(ret, names[i].key, json_object_get(value));

        r = client_machines(c->client, NULL, &machines);
        if (r != STATUS_OK)
                return r;
        (void) json_object_object_add(ret, "machines", machines);

        r = client_history(c->client, 1, &records);
        if (r != STATUS_OK)
                return r;
        n = json_object_array_length(records);
        value = n > 0 ? record_summary(json_object_array_get_idx(records, n - 1)) : NULL;
        (void) json_object_object_add(ret, "last_cycle", value);
        return STATUS_OK;
}

int verb_status(Command *c) {
        _cleanup_json_ JsonObject *status = json_object_new_object();
        JsonObject *machines, *last;
        int r;

        r = gather(c, status);
        if (r != STATUS_OK)
                return r;
        if (c->output.json != JSON_STYLE_OFF) {
                output_json(&c->output, status);
                return STATUS_OK;
        }

        output_heading(&c->output,
                       "suspendd %s: %s",
                       json_text(status, "version"),
                       json_text(status, "status"));
        output_sheet(&c->output, fields, ARRAY_LEN(fields), status);

        if (json_get_array(status, "machines", &machines) >= 0 &&
            json_object_array_length(machines) > 0) {
                output_heading(&c->output, "\nMachines");
                r = list_print(c, machines);
                if (r != STATUS_OK)
                        return r;
        }

        if (json_get_object(status, "last_cycle", &last) < 0)
                return STATUS_OK;
        output_heading(&c->output, "\nLast cycle");
        output_sheet(&c->output, last_fields, ARRAY_LEN(last_fields), last);
        return STATUS_OK;
}
