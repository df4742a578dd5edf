/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Note Set
 *
 * The notes of a journal that count, in an array without gaps and a hash table of its indices, so
 * that one is found, replaced and removed by its key in constant time. All memory is had at once, by
 * note_set_init(); nothing is allocated afterwards.
 */

#include "daemon/journal.h"

typedef struct NoteSet {
        JournalNote *notes;
        size_t n, n_max;
        uint32_t *next;    /* of a note with the same hash: its index + 1, 0 at the end */
        uint32_t *buckets; /* index + 1, 0 if empty */
        size_t n_buckets;  /* a power of two */
        int64_t slept_ns;  /* as journal_set_slept() has it; -1: not known */
} NoteSet;

int note_set_init(NoteSet *s, size_t n_max);
void note_set_done(NoteSet *s);

/* Returns: the note under @key, borrowed until the next change; NULL. */
const JournalNote *note_set_find(const NoteSet *s, const char *key);

/* Puts @note in place of what is under its key; one of the kind NONE removes it. Returns: 0; -ENOSPC. */
int note_set_put(NoteSet *s, const JournalNote *note);

/* Makes @s hold what @from holds, whose n_max is not greater. */
void note_set_copy(NoteSet *s, const NoteSet *from);
