/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verb.h"
#include "common/clock-sample.h"
#include "common/time-util.h"

#define SYNC_MAX_USEC (60 * USEC_PER_SEC)
#define LOOK_USEC (50 * USEC_PER_MSEC)

static const Field fields[] = {
        { "NAME", "id", FORMAT_TEXT, FIELD_SHRINK, NULL },
        { "OFF BY", "before_ns", FORMAT_OFFSET_NS, FIELD_RIGHT, "before_uncertainty_ns" },
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

/* Whether the machine's clock can be set at all; who asks for all machines means these. */
static int can_sync(Client *c, const char *path, bool *ret) {
        _cleanup_json_ JsonObject *properties = NULL;
        JsonObject *lacks;
        int r;

        r = client_properties(c, path, &properties);
        if (r != STATUS_OK)
                return r;

        *ret = json_get_object(properties, "Lacks", &lacks) < 0 ||
               (!*json_text(lacks, "set-time") && !*json_text(lacks, "get-time"));
        return STATUS_OK;
}

/* Asks for it, and adds the machine to those to be awaited. */
static int begin(Command *c, JsonObject *machine, JsonObject *paths) {
        const char *path = json_text(machine, "path");
        bool is_able = true;
        int r;

        if (!*c->arguments) {
                r = can_sync(c->client, path, &is_able);
                if (r != STATUS_OK || !is_able)
                        return r;
        }

        r = client_call(c->client, path, "Sync", NULL, NULL);
        if (r == STATUS_OK)
                (void) json_object_array_add(paths, json_object_new_string(path));
        return r;
}

/* Returns: the worst of what became of them. */
static int await_all(Command *c, JsonObject *paths, JsonObject *results) {
        uint64_t end_usec = clock_now_usec(CLOCK_MONOTONIC) + SYNC_MAX_USEC;
        int status = STATUS_OK;

        for (size_t i = 0; i < json_object_array_length(paths); i++) {
                JsonObject *result = json_object_new_object();
                const char *path = json_object_get_string(json_object_array_get_idx(paths, i));
                int r;

                (void) json_object_array_add(results, result);
                r = await(c->client, path, end_usec, result);
                if (r != STATUS_OK)
                        return r;
                if (!is_right(result))
                        status = STATUS_LEFT_WRONG;
        }
        return status;
}

int verb_sync(Command *c) {
        _cleanup_json_ JsonObject *machines = NULL, *paths = json_object_new_array();
        _cleanup_json_ JsonObject *results = json_object_new_array();
        int r, status = STATUS_OK;

        r = client_machines(c->client, c->arguments, &machines);
        if (r != STATUS_OK)
                return r;

        for (size_t i = 0; i < json_object_array_length(machines); i++) {
                r = begin(c, json_object_array_get_idx(machines, i), paths);
                if (r == STATUS_NOT_RUNNING || r == STATUS_REFUSED)
                        return r;
                if (r != STATUS_OK)
                        status = r; /* it has been told; the others are none the worse for it */
        }

        r = await_all(c, paths, results);
        if (r != STATUS_OK)
                status = r;

        if (c->output.json != JSON_STYLE_OFF)
                output_json(&c->output, results);
        else if (!c->is_quiet && json_object_array_length(results) > 0 &&
                 output_table(&c->output, fields, ARRAY_LEN(fields), results) < 0)
                return fail(STATUS_FAILURE, "Cannot print the table.");
        return status;
}
