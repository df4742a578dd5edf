/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verb.h"

int verb_mode(Command *c) {
        _cleanup_json_ JsonObject *machines = NULL, *changed = NULL;
        char **last = c->arguments;
        char *mode;
        int r;

        while (last[1])
                last++;
        mode = *last;
        *last = NULL; /* what is before are the patterns */

        r = client_machines(c->client, c->arguments, &machines);
        if (r != STATUS_OK)
                return r;

        for (size_t i = 0; i < json_object_array_length(machines); i++) {
                JsonObject *machine = json_object_array_get_idx(machines, i);

                r = client_call(c->client, json_text(machine, "path"), "SetMode", NULL, "s", mode);
                if (r != STATUS_OK)
                        return r; /* what one is refused, all are */
        }

        if (c->is_quiet)
                return STATUS_OK;
        r = client_machines(c->client, c->arguments, &changed);
        return r != STATUS_OK ? r : list_print(c, changed);
}
