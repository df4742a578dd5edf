/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A Record Shown, Fuzzed
 *
 * Any bytes as a record that suspendctl is handed: it shows it as a line, as a sheet and as JSON, or not at all,
 * and no control character of it reaches the terminal.
 */

#include <locale.h>
#include "cli/clean.h"
#include "cli/record.h"
#include "input.h"
#include "screen.h"

static void expect_clean(JsonObject *o) {
        if (json_object_is_type(o, json_type_string))
                HOLDS(text_is_clean(json_object_get_string(o)));
        if (json_object_is_type(o, json_type_array))
                for (size_t i = 0; i < json_object_array_length(o); i++)
                        expect_clean(json_object_array_get_idx(o, i));
        if (json_object_is_type(o, json_type_object)) {
                json_object_object_foreach(o, key, value) {
                        HOLDS(text_is_clean(key));
                        expect_clean(value);
                }
        }
}

/* With colours and UTF-8, or on a terminal that has neither. */
static void show(JsonObject *record, bool is_colourful) {
        _cleanup_json_ JsonObject *summaries = json_object_new_array();
        const char *locale = setlocale(LC_CTYPE, is_colourful ? "C.UTF-8" : "C");
        Output o = { .is_colourful = is_colourful,
                     .has_legend = true,
                     .is_utf8 = locale && is_colourful };
        Screen screen;

        (void) json_object_array_add(summaries, record_summary(record));
        (void) screen_begin(&screen, &stdout);
        HOLDS(record_print_summaries(&o, summaries) >= 0);
        HOLDS(record_print(&o, record) >= 0);
        o.json = is_colourful ? JSON_STYLE_PRETTY : JSON_STYLE_SHORT;
        output_json(&o, record);
        output_json(&o, summaries);
        screen_end(&screen, is_colourful);
        (void) record_is_wrong(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input in = input_begin(data, size);
        JsonObject *record = NULL;

        if (json_clean_record(input_text(&in), &record) >= 0) {
                expect_clean(record);
                show(record, false);
                show(record, true);
                (void) json_object_put(record);
        }
        input_done(&in);
        return 0;
}
