/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * History, Fuzzed
 *
 * Any bytes as the file of a record: the daemon reads it, or leaves it out; what it hands on is the file's text
 * and an object of JSON. It goes on counting behind it, and writes it back as it was.
 */

#include "common/json-view.h"
#include "daemon/history.h"
#include "daemon/log.h"
#include "folder.h"

#define NUMBER 41

static void expect_object(const char *text) {
        const JsonLimits limits = { .size_max = 1 << 20, .values_max = SIZE_MAX, .depth_max = 16 };
        _cleanup_view_ JsonView *v = NULL;

        HOLDS(json_view_parse(text, strlen(text), &limits, &v) == 0);
        HOLDS(json_view_kind(v) == JSON_KIND_OBJECT);
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
                HOLDS(!records[1] && strlen(records[0]) == size);
                expect_object(records[0]);
                keep_again(h, records[0]);
        }
        folder_empty();
        return 0;
}
