/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Mailbox
 *
 * The one way from other threads to the loop: whoever has something to tell posts a Letter, and the
 * loop delivers it. A letter is embedded in what it carries; by posting it, that passes to the mailbox.
 *
 * A Mailbox is closed by its owner on the loop and lives on until the last thread that may post has
 * given up its reference; what is posted after the closing is dropped.
 */

#include <systemd/sd-event.h>
#include "common/list.h"
#include "common/macro.h"

typedef struct Letter Letter;
typedef struct Mailbox Mailbox;

struct Letter {
        List letters;
        void (*deliver)(Letter *l); /* on the loop; ends the letter */
        void (*drop)(Letter *l);    /* instead, on any thread, once the mailbox is closed */
};

/* lifetime */

/* Returns: 0; -ENOMEM; -EMFILE and the like. */
int mailbox_new(sd_event *event, Mailbox **ret);
Mailbox *mailbox_ref(Mailbox *m);
Mailbox *mailbox_unref(Mailbox *m);

/* Delivers no more; on the loop, before the last mailbox_unref(). */
void mailbox_close(Mailbox *m);

/* letters, from any thread */

void mailbox_post(Mailbox *m, Letter *l);
