/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Verbs
 *
 * A verb of suspendctl is a row of the table in main.c and a function in a file of its own. It gets
 * the Command, which main() has filled from the command line, and returns an exit status.
 */

#include "cli/clean.h"
#include "cli/client.h"
#include "cli/output.h"

/* What only `page` is told. */
typedef struct PageOptions {
        const char *owner, *acpi, *tree;
        uint64_t address; /* 0: not given */
        unsigned vectors;
        bool has_vectors, notifies, force;
} PageOptions;

typedef struct Command {
        Output output;
        Client *client;
        char **arguments; /* what follows the verb, NULL-terminated */
        bool is_quiet, is_persistent;
        unsigned lines;    /* -n, 0: all */
        uint64_t for_usec; /* --for */
        const char *plugin, *name;
        PageOptions page;
} Command;

int verb_status(Command *c);
int verb_list(Command *c);
int verb_show(Command *c);
int verb_history(Command *c);
int verb_monitor(Command *c);
int verb_rehearse(Command *c);
int verb_mode(Command *c);
int verb_sync(Command *c);
int verb_register(Command *c);
int verb_unregister(Command *c);
int verb_notify(Command *c);
int verb_page(Command *c);

/* shared by some of them */

/* The table of `suspendctl list`. Returns: an ExitStatus. */
int list_print(const Command *c, JsonObject *machines);
