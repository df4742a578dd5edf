/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Directory Watch
 *
 * The set of directories in which something that we wait for may come or go. The set is made anew at
 * each look round: begin, add all, end; what was not added again is watched no longer.
 */

#include <systemd/sd-event.h>
#include "common/macro.h"

typedef struct Watch Watch;

typedef struct WatchOps {
        /* Whether the appearing or changing of @name in any of the directories matters. */
        bool (*cares)(void *userdata, const char *name);
        /* Something that matters has changed. Comes in bursts. */
        void (*on_change)(void *userdata);
} WatchOps;

/* lifetime */

/* @description names the event source. Returns: 0; -ENOMEM; -EMFILE and the like without inotify. */
int watch_new(sd_event *event,
              const char *description,
              const WatchOps *ops,
              void *userdata,
              Watch **ret);
Watch *watch_free(Watch *w);

DEFINE_CLEANUP(Watch *, watch_free);

/* the set */

void watch_begin(Watch *w);

/* Returns: 0; -ENOENT and the like if @directory cannot be watched. */
int watch_add(Watch *w, const char *directory);
void watch_end(Watch *w);
