/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verb.h"

static const Field fields[] = {
        { "NAME", "id", FORMAT_TEXT, FIELD_SHRINK, NULL },
        { "STATE", "run_state", FORMAT_STATE, 0, NULL },
        { "MODE", "mode", FORMAT_STATE, 0, NULL },
        { "AT SLEEP", "at_sleep", FORMAT_STATE, 0, NULL },
        { "WHY", "why", FORMAT_TEXT, FIELD_WRAP, NULL },
};

int list_print(const Command *c, JsonObject *machines) {
        if (c->output.json != JSON_STYLE_OFF) {
                output_json(&c->output, machines);
                return STATUS_OK;
        }

        if (json_object_array_length(machines) == 0)
                return STATUS_OK;
        if (output_table(&c->output, fields, ARRAY_LEN(fields), machines) < 0)
                return fail(STATUS_FAILURE, "Cannot print the table.");
        return STATUS_OK;
}

int verb_list(Command *c) {
        _cleanup_json_ JsonObject *machines = NULL;
        int r;

        r = client_machines(c->client, c->arguments, &machines);
        if (r != STATUS_OK)
                return r;

        if (json_object_array_length(machines) == 0 && c->output.json == JSON_STYLE_OFF &&
            !c->is_quiet)
                (void) fputs("No machines.\n", stderr);
        return list_print(c, machines);
}
