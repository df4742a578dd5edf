/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Crash Journal
 *
 * What we are about to do to machines, written before it is done, so that the next start can undo
 * it whatever ends this one. A note says of a machine, by its key, that it is held by us or watched
 * for a late suspend; a note of NONE takes it back.
 *
 * One preallocated file under the runtime directory with two slots. A slot is a header and notes
 * appended to it, each with a sequence number and a checksum, so that whatever was torn by a crash
 * is not there. When the slot is full, the notes that still count are written to the other one,
 * which then has the higher sequence. Nothing is allocated and no space is asked for in a cycle,
 * but what was refused before.
 */

#include "common/macro.h"

#define JOURNAL_KEY_MAX 192

typedef enum JournalNoteKind {
        JOURNAL_NOTE_NONE,
        JOURNAL_NOTE_HELD, /* running, about to be stopped by us: to be run again */
        JOURNAL_NOTE_WATCHED, /* runs; a suspend that we asked for may still strike: to be woken then */
        JOURNAL_NOTE_ASKED,  /* held, and asked to suspend: should it run, that may still strike */
        JOURNAL_NOTE_PAUSED, /* held, and seen to stand */
        JOURNAL_NOTE_SUSPENDED, /* held, and seen to have suspended itself, also beneath a pause */
        JOURNAL_NOTE_MAX,
        JOURNAL_NOTE_INVALID = -22,
} JournalNoteKind;

typedef struct JournalNote {
        JournalNoteKind kind;
        char key[JOURNAL_KEY_MAX]; /* machine_key(); NUL-terminated */
        int64_t since_boottime_ns; /* since when it stands, if it was seen to; when it was written */
} JournalNote;

/* In the runtime directory. */
#define JOURNAL_FILE "cycle"

typedef struct Journal Journal;

/* lifetime */

/*
 * Opens the journal at @path, made with room for some machines if it is not there, and reads what
 * an earlier life has left. What is broken, a newer version's, or could have been written by another
 * user counts as empty, which is logged, and is kept beside it as PATH.unread-N, never deleted. Takes a
 * lock on the file for as long as it is open.
 *
 * Returns: 0; -EBUSY if another daemon holds it; -ENOSPC if too much is kept already; another errno
 * if there is no file to be had.
 */
int journal_open(const char *path, Journal **ret);
Journal *journal_free(Journal *j);

DEFINE_CLEANUP(Journal *, journal_free);

/* notes */

/* Makes room for @n_machines at once. Called when machines come, and again where it was refused. Returns: 0; -ENOSPC …; */
int journal_reserve(Journal *j, size_t n_machines);

/*
 * Writes the notes with one write; each replaces what is there under its key. All or none. Without any, it writes
 * what journal_set_slept() was given, if there are notes that it is of and it is not written yet.
 *
 * Returns: 0; -ENOSPC without room; -EIO ….
 */
int journal_write(Journal *j, const JournalNote *notes, size_t n);

/* The notes that count now, borrowed until the next change. Returns: how many. */
size_t journal_notes(const Journal *j, const JournalNote **ret);

/*
 * How long the host had slept since it was booted, by its clocks (BOOTTIME - MONOTONIC, ns), as far as that is in the
 * history already: what a later life finds more is of the sleep that the notes are of. Written with the next
 * journal_write(). -1: not known.
 */
void journal_set_slept(Journal *j, int64_t slept_ns);
int64_t journal_slept(const Journal *j);
