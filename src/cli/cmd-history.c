/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "cli/record.h"
#include "cli/verb.h"

static int read_number(const char *s, int64_t *ret) {
        char *end;

        errno = 0;
        *ret = strtoll(s, &end, 10);
        return errno != 0 || end == s || *end || *ret < 1 ? -EINVAL : 0;
}

static int show_record(Command *c, const char *argument) {
        _cleanup_json_ JsonObject *records = NULL;
        int64_t wanted, number;
        int r;

        if (read_number(argument, &wanted) < 0)
                return fail(STATUS_BAD_ARGUMENTS, "Not the number of a cycle: %s", argument);

        r = client_history(c->client, 0, &records);
        if (r != STATUS_OK)
                return r;

        for (size_t i = 0; i < json_object_array_length(records); i++) {
                JsonObject *record = json_object_array_get_idx(records, i);

                if (json_get_int64(record, "number", &number) < 0 || number != wanted)
                        continue;
                if (c->output.json != JSON_STYLE_OFF)
                        output_json(&c->output, record);
                else if (record_print(&c->output, record) < 0)
                        return fail(STATUS_FAILURE, "Cannot print the table.");
                return STATUS_OK;
        }

        return fail(STATUS_FAILURE, "The history has no cycle %s.", argument);
}

int verb_history(Command *c) {
        _cleanup_json_ JsonObject *records = NULL, *summaries = json_object_new_array();
        int r;

        if (*c->arguments)
                return show_record(c, *c->arguments);

        r = client_history(c->client, c->lines, &records);
        if (r != STATUS_OK)
                return r;
        for (size_t i = 0; i < json_object_array_length(records); i++)
                (void) json_object_array_add(
                                summaries, record_summary(json_object_array_get_idx(records, i)));

        if (c->output.json != JSON_STYLE_OFF)
                output_json(&c->output, summaries);
        else if (json_object_array_length(summaries) == 0) {
                if (!c->is_quiet)
                        (void) fputs("No cycles yet.\n", stderr);
        } else if (record_print_summaries(&c->output, summaries) < 0)
                return fail(STATUS_FAILURE, "Cannot print the table.");
        return STATUS_OK;
}
