/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Page State
 *
 * The host's own truth about a page, in a file that is root's alone. The guest can write to all of its
 * page, so nothing but its answer is ever read from there: each publishing is made anew from this. It is
 * written by one pwrite() within one page of the file, which a SIGKILL does not tear, before the page is.
 */

#include "plugins/page/drift-count.h"

/* As it is stored, but for what tells a whole one from others. */
typedef struct PageState {
        uint32_t owner; /* the user that the VMM runs as */
        uint32_t vectors;
        uint32_t notifies; /* whether the VMClock part says that the guest is told of changes */
        uint32_t flags;    /* DRIFT_FLAG_… */
        uint32_t sequence; /* of both parts; even */
        uint32_t padding;
        uint64_t epoch;
        uint64_t publishings;
        uint64_t disruption_marker;
        int64_t host_stepped_ns;
        DriftCount count;
} PageState;

/* Makes one, with a new epoch and all else 0. Returns: 0; a negative errno if there is no randomness. */
int page_state_init(PageState *ret, uint32_t owner, uint32_t vectors, bool notifies);

/*
 * Reads the state @name in the directory @directory.
 *
 * Returns: 0; -ENOENT; -EBADMSG if it is damaged, or counts into the future, as one of another boot
 * does; another errno.
 */
int page_state_read(int directory, const char *name, int64_t now_boottime_ns, PageState *ret);

/* Opens the file for writing, and makes it if it is not there. Returns: a descriptor; a negative errno. */
int page_state_open(int directory, const char *name);

/* Writes it to what page_state_open() returned. Returns: 0; a negative errno. */
int page_state_write(int fd, const PageState *state);
