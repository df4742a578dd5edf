/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * History, Fuzzed
 *
 * Any bytes as the file of a record: the daemon reads it, or leaves it out; what it hands on, suspendctl
 * shows as a line, as a sheet and as JSON, and no control character of it reaches the terminal. The daemon
 * goes on counting behind it, and writes it back as it was.
 */

#include <locale.h>
#include "cli/clean.h"
#include "cli/record.h"
#include "daemon/history.h"
#include "daemon/log.h"
#include "folder.h"
#include "screen.h"

#define NUMBER 41

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

static void use(const char *text) {
        _cleanup_json_ JsonObject *record = NULL;

        if (json_clean_record(text, &record) < 0)
                return;
        expect_clean(record);
        show(record, false);
        show(record, true);
}

static void keep_again(History *h, const char *text) {
        _cleanup_(history_records_freep) char **records = NULL;

        HOLDS(history_append(h, NUMBER + 1, text) == 0);
        HOLDS(history_next_number(h) == NUMBER + 2);
        HOLDS(history_read(h, 1, &records) == 0);
        HOLDS(records[0] && !records[1] && str_equal(records[0], text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(history_records_freep) char **records = NULL;
        _cleanup_(history_freep) History *h = NULL;

        folder_make();
        log_set_max_level(LOG_EMERG);
        HOLDS(mkdir(folder_path("history"), 0700) == 0);
        folder_write("history/41.json", data, size);
        HOLDS(history_open(folder_path("history"), 100, 4 << 20, &h) == 0);
        HOLDS(history_next_number(h) == NUMBER + 1);
        HOLDS(history_read(h, UINT32_MAX, &records) == 0);
        if (records[0]) {
                HOLDS(!records[1] && strlen(records[0]) <= size);
                use(records[0]);
                keep_again(h, records[0]);
        }
        folder_empty();
        return 0;
}
