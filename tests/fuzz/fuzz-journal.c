/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Journal, Fuzzed
 *
 * Any bytes of a slot: as they are, and with the checksums and sequences put right that would keep
 * nearly all of them from being looked at. What comes out of it are notes that could have been written, and that
 * are the same when they are written and read again.
 */

#include "daemon/journal-format.c" /* NOLINT(bugprone-suspicious-include): for its checksum */
#include "fuzz.h"

#define N_NOTES 64
#define SALT 0x1234
#define SEQUENCE 7

/* Makes a row of batches of what is there, as far as the sizes in it go. */
static void put_right(uint8_t *slot, size_t size) {
        BatchHeader h;

        for (uint32_t index = 0; size >= sizeof(h); index++) {
                memcpy(&h, slot, sizeof(h));
                h.magic = BATCH_MAGIC;
                h.index = index;
                h.sequence = SEQUENCE;
                h.size = h.size % 1024 / 8 * 8;
                if (h.size < sizeof(h) || h.size > size)
                        h.size = (uint32_t) (size / 8 * 8);
                h.checksum = batch_checksum(SALT, &h, slot + sizeof(h));
                memcpy(slot, &h, sizeof(h));
                slot += h.size;
                size -= h.size;
        }
}

static void check_notes(const NoteSet *set) {
        HOLDS(set->n <= N_NOTES);
        for (size_t i = 0; i < set->n; i++) {
                const JournalNote *note = &set->notes[i];
                size_t length = strnlen(note->key, JOURNAL_KEY_MAX);

                HOLDS(length > 0 && length < JOURNAL_KEY_MAX);
                HOLDS(note->kind > JOURNAL_NOTE_NONE && note->kind < JOURNAL_NOTE_MAX);
                HOLDS(note_set_find(set, note->key) == note);
        }
}

/* What was read can be written, and is read back. */
static void check_again(const NoteSet *set) {
        const JournalSeed seed = { .salt = SALT, .sequence = SEQUENCE };
        static uint8_t buf[JOURNAL_BATCH_HEADER_SIZE + N_NOTES * JOURNAL_NOTE_SIZE_MAX];
        NoteSet again;
        ssize_t n;

        HOLDS(note_set_init(&again, N_NOTES) == 0);
        n = journal_batch_make(buf, sizeof(buf), &seed, set->slept_ns, set->notes, set->n);
        HOLDS(n > 0);
        journal_slot_read(buf, (size_t) n, SALT, &again);
        HOLDS(again.n == set->n && again.slept_ns == set->slept_ns);
        for (size_t i = 0; i < set->n; i++) {
                const JournalNote *note = note_set_find(&again, set->notes[i].key);

                HOLDS(note && note->kind == set->notes[i].kind);
                HOLDS(note->since_boottime_ns == set->notes[i].since_boottime_ns);
        }
        note_set_done(&again);
}

static void read_slot(const uint8_t *slot, size_t size) {
        NoteSet set;

        HOLDS(note_set_init(&set, N_NOTES) == 0);
        journal_slot_read(slot, size, SALT, &set);
        check_notes(&set);
        check_again(&set);
        note_set_done(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ uint8_t *slot = NULL;
        JournalFileHeader header;

        if (size >= sizeof(header)) {
                memcpy(&header, data, sizeof(header));
                (void) journal_file_header_check(&header);
        }
        read_slot(data, size);

        slot = malloc(size > 0 ? size : 1);
        HOLDS(slot);
        if (size > 0)
                memcpy(slot, data, size);
        put_right(slot, size);
        read_slot(slot, size);
        return 0;
}
