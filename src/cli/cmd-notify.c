/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verb.h"
#include "common/time-util.h"

/* Whoever runs hooks waits for them, often with all VMs; a hint is not worth that. */
#define NOTIFY_LIMIT_USEC (5 * USEC_PER_SEC)

int verb_notify(Command *c) {
        client_set_timeout(c->client, NOTIFY_LIMIT_USEC);
        return client_call(
                        c->client,
                        NULL,
                        "Notify",
                        NULL,
                        "sss",
                        c->arguments[0],
                        c->arguments[1],
                        c->arguments[2]);
}
