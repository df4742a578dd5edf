/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Journal Format
 *
 * The bytes of a crash journal: a file header, then two slots of equal size. A slot is a row of
 * batches, each what one write brought: a header with a checksum over the whole batch, so that it
 * counts as a whole or not at all, and its notes. The first batch of a slot holds all notes that
 * counted then; the ones after it change them. Of two slots the one with the higher sequence counts,
 * if its first batch is whole. All in the byte order of the machine, for the file dies with the boot.
 */

#include "daemon/note-set.h"

#define JOURNAL_VERSION 1

typedef struct JournalFileHeader {
        uint8_t magic[8];
        uint32_t version;
        uint32_t slot_size;
        uint64_t salt; /* random: seeds the checksums, so that nothing in a key can pass for a batch */
        uint64_t checksum;
        uint8_t reserved[32];
} JournalFileHeader;

_Static_assert(sizeof(JournalFileHeader) == 64, "the file header has no padding");

/* What batches of one slot have in common; @index counts them. */
typedef struct JournalSeed {
        uint64_t salt;
        uint64_t sequence; /* of the slot; 0 is none */
        uint32_t index;
} JournalSeed;

#define JOURNAL_BATCH_HEADER_SIZE 40
#define JOURNAL_NOTE_SIZE_MAX (16 + JOURNAL_KEY_MAX)

/* How much room a slot for @n_notes needs: all of them twice, so that few writes change the slot. */
size_t journal_slot_size(size_t n_notes);
/* How many notes a slot of that size is for. */
size_t journal_slot_capacity(size_t slot_size);

void journal_file_header_make(JournalFileHeader *ret, uint32_t slot_size, uint64_t salt);

/* Gives it the checksum of what it holds. */
void journal_file_header_seal(JournalFileHeader *h);

/* Returns: 0; -EBADMSG if it is none; -EPROTONOSUPPORT if it is a newer version's. */
int journal_file_header_check(const JournalFileHeader *h);

/*
 * Writes a batch of @notes into @buf, with @slept_ns as in a NoteSet. Returns: its size; -ENOSPC if it is longer than @size.
 */
ssize_t journal_batch_make(
                void *buf,
                size_t size,
                const JournalSeed *seed,
                int64_t slept_ns,
                const JournalNote *notes,
                size_t n);

/* Returns: the sequence of the slot whose bytes are at @slot; 0 if its first batch is not whole. */
uint64_t journal_slot_sequence(const void *slot, size_t size, uint64_t salt);

/* Puts what the slot tells into @set, up to the first batch that is not whole. */
void journal_slot_read(const void *slot, size_t size, uint64_t salt, NoteSet *set);
