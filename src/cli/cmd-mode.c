/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verb.h"
#include "common/time-util.h"

/* Longer than the daemon lets a plugin take. */
#define STORE_LIMIT_USEC (40 * USEC_PER_SEC)

int verb_mode(Command *c) {
        _cleanup_json_ JsonObject *machines = NULL, *changed = NULL;
        char **last = c->arguments;
        const char *method = c->is_persistent ? "StoreMode" : "SetMode";
        char *mode;
        int r;

        while (last[1])
                last++;
        mode = *last;
        *last = NULL; /* what is before are the patterns */

        r = client_machines(c->client, c->arguments, &machines);
        if (r != STATUS_OK)
                return r;

        client_set_timeout(c->client, STORE_LIMIT_USEC);
        for (size_t i = 0; i < json_object_array_length(machines); i++) {
                JsonObject *machine = json_object_array_get_idx(machines, i);

                r = client_call(c->client, json_text(machine, "path"), method, NULL, "s", mode);
                if (r != STATUS_OK)
                        return r; /* what one is refused, all are */
        }

        if (c->is_quiet)
                return STATUS_OK;
        r = client_machines(c->client, c->arguments, &changed);
        return r != STATUS_OK ? r : list_print(c, changed);
}
