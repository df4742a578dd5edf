/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verb.h"
#include "common/clock-sample.h"
#include "common/time-util.h"

#define SYNC_MAX_USEC (60 * USEC_PER_SEC)
#define LOOK_USEC (50 * USEC_PER_MSEC)

static const Field fields[] = {
        { "NAME", "id", FORMAT_TEXT, FIELD_SHRINK, NULL },
        { "OFFSET BEFORE", "before_ns", FORMAT_OFFSET_NS, FIELD_RIGHT, "before_uncertainty_ns" },
        { "RESIDUAL", "after_ns", FORMAT_OFFSET_NS, FIELD_RIGHT, "after_uncertainty_ns" },
        { "TRIES", "tries", FORMAT_COUNT, FIELD_RIGHT, NULL },
        { "CLOCK", "verdict", FORMAT_STATE, 0, NULL },
};

static void copy(JsonObject *to, const char *key, JsonObject *from, const char *property) {
        JsonObject *value;

        if (json_object_object_get_ex(from, property, &value))
                (void) json_object_object_add(to, key, json_object_get(value));
}

/* A reading and its uncertainty; one of unknown uncertainty was never made. */
static void copy_reading(JsonObject *to, const char *name, JsonObject *from, const char *property) {
        char key[48], source[48];
        JsonObject *uncertainty;

        (void) snprintf(source, sizeof(source), "%sUncertaintyNSec", property);
        if (!json_object_object_get_ex(from, source, &uncertainty) || !uncertainty)
                return;

        (void) snprintf(key, sizeof(key), "%s_uncertainty_ns", name);
        copy(to, key, from, source);
        (void) snprintf(key, sizeof(key), "%s_ns", name);
        (void) snprintf(source, sizeof(source), "%sNSec", property);
        copy(to, key, from, source);
}

/* Waits until the machine's clock is no longer being corrected, and adds what came of it to @o. */
static int await(Client *c, const char *path, uint64_t end_usec, JsonObject *o) {
        static const bool never = false;

        for (;;) {
                _cleanup_json_ JsonObject *properties = NULL;
                int r = client_properties(c, path, &properties);

                if (r != STATUS_OK)
                        return r;

                if (!str_equal(json_text(properties, "State"), "correcting")) {
                        copy(o, "id", properties, "Id");
                        copy_reading(o, "before", properties, "OffsetBefore");
                        copy_reading(o, "after", properties, "Residual");
                        copy(o, "tries", properties, "Corrections");
                        copy(o, "verdict", properties, "Verdict");
                        return STATUS_OK;
                }

                if (clock_now_usec(CLOCK_MONOTONIC) >= end_usec)
                        return fail(STATUS_FAILURE, "The correction does not end.");
                r = client_wait(c, &never, LOOK_USEC);
                if (r != STATUS_FAILURE)
                        return r;
        }
}

static bool is_right(JsonObject *o) {
        const char *verdict = json_text(o, "verdict");

        return str_equal(verdict, "right") || str_equal(verdict, "set");
}

int verb_sync(Command *c) {
        _cleanup_json_ JsonObject *machines = NULL, *results = json_object_new_array();
        uint64_t end_usec = clock_now_usec(CLOCK_MONOTONIC) + SYNC_MAX_USEC;
        bool all_right = true;
        int r;

        r = client_machines(c->client, c->arguments, &machines);
        if (r != STATUS_OK)
                return r;

        for (size_t i = 0; i < json_object_array_length(machines); i++) {
                JsonObject *machine = json_object_array_get_idx(machines, i);

                r = client_call(c->client, json_text(machine, "path"), "Sync", NULL, NULL);
                if (r != STATUS_OK)
                        return r;
        }

        for (size_t i = 0; i < json_object_array_length(machines); i++) {
                JsonObject *machine = json_object_array_get_idx(machines, i);
                JsonObject *result = json_object_new_object();

                (void) json_object_array_add(results, result);
                r = await(c->client, json_text(machine, "path"), end_usec, result);
                if (r != STATUS_OK)
                        return r;
                all_right = all_right && is_right(result);
        }

        if (c->output.json != JSON_STYLE_OFF)
                output_json(&c->output, results);
        else if (!c->is_quiet && json_object_array_length(results) > 0 &&
                 output_table(&c->output, fields, ARRAY_LEN(fields), results) < 0)
                return fail(STATUS_FAILURE, "Cannot print the table.");
        return all_right ? STATUS_OK : STATUS_LEFT_WRONG;
}
