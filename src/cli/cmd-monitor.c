/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/event.h"
#include "cli/verb.h"
#include "common/time-util.h"

static void on_event(JsonObject *event, void *userdata) {
        static const Field stamp = { "TIME", "time", FORMAT_STAMP, 0, NULL };
        const Command *c = userdata;
        _cleanup_free_ char *words = NULL, *when = NULL;

        if (c->output.json != JSON_STYLE_OFF)
                output_json(&c->output, event);
        else {
                words = event_words(event);
                when = output_field(&c->output, &stamp, event);
                (void) printf("%s  %s\n", when ? when : "", words ? words : "");
        }
        (void) fflush(stdout); /* whoever reads it, reads it as it happens */
}

int verb_monitor(Command *c) {
        static const bool never = false;
        int r;

        /* One line an event, whatever the style, so that a reader needs no parser for the stream. */
        if (c->output.json == JSON_STYLE_PRETTY)
                c->output.json = JSON_STYLE_SHORT;

        r = client_subscribe(c->client, on_event, c);
        if (r != STATUS_OK)
                return r;
        return client_wait(c->client, &never, USEC_INFINITY);
}
