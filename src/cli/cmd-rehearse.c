/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/event.h"
#include "cli/record.h"
#include "cli/verb.h"
#include "common/time-util.h"

/* What a cycle may take beside the sleep: the budget, and what guests need to come back. */
#define GRACE_USEC (120 * USEC_PER_SEC)

typedef struct Rehearsal {
        const Command *command;
        int64_t number;
        bool is_shown; /* milestones, as they come */
        bool is_done, is_lost;
        JsonObject *record;
} Rehearsal;

static void on_event(JsonObject *event, void *userdata) {
        Rehearsal *r = userdata;
        const char *name = json_text(event, "event");
        JsonObject *record;
        int64_t number;

        if (r->is_shown) {
                _cleanup_free_ char *words = event_words(event);

                (void) printf("  %s\n", words ? words : "");
                (void) fflush(stdout);
        }

        if (str_equal(name, "suspendd-stopped"))
                r->is_done = r->is_lost = true;
        if (!str_equal(name, "cycle-finished") || json_get_int64(event, "number", &number) < 0 ||
            number != r->number)
                return;

        r->is_done = true;
        if (json_get_object(event, "record", &record) >= 0)
                r->record = json_object_get(record);
}

static int begin(Command *c, Rehearsal *rehearsal) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        uint64_t number;
        int r;

        r = client_subscribe(c->client, on_event, rehearsal);
        if (r != STATUS_OK)
                return r;
        r = client_call(c->client, NULL, "Rehearse", &reply, "t", c->for_usec);
        if (r != STATUS_OK)
                return r;
        if (sd_bus_message_read(reply, "t", &number) < 0)
                return fail(STATUS_FAILURE, "suspendd gave an answer that makes no sense.");

        rehearsal->number = (int64_t) number;
        return STATUS_OK;
}

static int report(Command *c, const Rehearsal *rehearsal) {
        JsonObject *record = rehearsal->record;

        if (c->output.json != JSON_STYLE_OFF)
                output_json(&c->output, record);
        else if (!c->is_quiet) {
                if (rehearsal->is_shown)
                        (void) putchar('\n');
                if (record_print(&c->output, record) < 0)
                        return fail(STATUS_FAILURE, "Cannot print the table.");
        }
        return record_is_wrong(record) ? STATUS_LEFT_WRONG : STATUS_OK;
}

int verb_rehearse(Command *c) {
        _cleanup_json_ JsonObject *record = NULL;
        Rehearsal rehearsal = {
                .command = c,
                .is_shown = c->output.json == JSON_STYLE_OFF && !c->is_quiet &&
                            isatty(STDOUT_FILENO),
        };
        int r;

        r = begin(c, &rehearsal);
        if (r != STATUS_OK)
                return r;

        r = client_wait(c->client, &rehearsal.is_done, c->for_usec + GRACE_USEC);
        record = rehearsal.record;
        if (r == STATUS_FAILURE)
                return fail(STATUS_FAILURE, "The rehearsal does not end; see suspendctl status.");
        if (r != STATUS_OK)
                return r;
        if (rehearsal.is_lost)
                return fail(STATUS_NOT_RUNNING, "suspendd went away during the rehearsal.");
        if (!record)
                return fail(STATUS_FAILURE, "The rehearsal is over, but left no record.");
        return report(c, &rehearsal);
}
