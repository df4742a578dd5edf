/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/journal-format.h"
#include <errno.h>

#define BATCH_MAGIC 0x4a505553u /* "SUPJ" */
#define SLOT_SIZE_MIN 4096
#define SLOT_SIZE_MAX (64 * 1024 * 1024)

static const uint8_t file_magic[8] = { 'S', 'U', 'S', 'P', 'D', 'J', 'N', 'L' };

typedef struct BatchHeader {
        uint32_t magic;
        uint32_t index;
        uint64_t sequence;
        uint32_t size; /* with this header; a multiple of 8 */
        uint32_t n_notes;
        uint64_t slept_ns_or_0; /* and 1: 0 is not known, as where an earlier version wrote it */
        uint64_t checksum;      /* of the batch with this field 0 */
} BatchHeader;

_Static_assert(sizeof(BatchHeader) == JOURNAL_BATCH_HEADER_SIZE, "no padding");

typedef struct NoteHeader {
        uint32_t size; /* with this header; a multiple of 8 */
        uint32_t kind;
        int64_t since_boottime_ns;
        /* the key follows, with at least one NUL */
} NoteHeader;

_Static_assert(sizeof(NoteHeader) + JOURNAL_KEY_MAX == JOURNAL_NOTE_SIZE_MAX, "no padding");

/* Eight bytes at a step, for this is on the way of a sleep; @size is a multiple of 8. */
static uint64_t checksum(uint64_t h, const void *data, size_t size) {
        const uint8_t *p = data;
        uint64_t word;

        for (size_t i = 0; i < size; i += sizeof(word)) {
                memcpy(&word, p + i, sizeof(word));
                h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
                h ^= h >> 29;
        }
        return h ^ h >> 32;
}

static uint64_t batch_checksum(uint64_t salt, const BatchHeader *header, const void *notes) {
        BatchHeader h = *header;

        h.checksum = 0;
        return checksum(checksum(salt, &h, sizeof(h)), notes, h.size - sizeof(h));
}

size_t journal_slot_size(size_t n_notes) {
        size_t size = 2 * (sizeof(BatchHeader) + n_notes * JOURNAL_NOTE_SIZE_MAX);

        return (size + SLOT_SIZE_MIN - 1) / SLOT_SIZE_MIN * SLOT_SIZE_MIN;
}

size_t journal_slot_capacity(size_t slot_size) {
        return (slot_size / 2 - sizeof(BatchHeader)) / JOURNAL_NOTE_SIZE_MAX;
}

/* file header */

void journal_file_header_make(JournalFileHeader *ret, uint32_t slot_size, uint64_t salt) {
        *ret = (JournalFileHeader){
                .version = JOURNAL_VERSION,
                .slot_size = slot_size,
                .salt = salt,
        };
        memcpy(ret->magic, file_magic, sizeof(file_magic));
        journal_file_header_seal(ret);
}

void journal_file_header_seal(JournalFileHeader *h) {
        h->checksum = 0;
        h->checksum = checksum(0, h, sizeof(*h));
}

int journal_file_header_check(const JournalFileHeader *h) {
        JournalFileHeader copy = *h;

        if (memcmp(h->magic, file_magic, sizeof(file_magic)) != 0)
                return -EBADMSG;
        if (h->version > JOURNAL_VERSION)
                return -EPROTONOSUPPORT;

        copy.checksum = 0;
        if (h->version != JOURNAL_VERSION || checksum(0, &copy, sizeof(copy)) != h->checksum)
                return -EBADMSG;
        if (h->slot_size < SLOT_SIZE_MIN || h->slot_size > SLOT_SIZE_MAX ||
            h->slot_size % SLOT_SIZE_MIN != 0)
                return -EBADMSG;
        return 0;
}

/* batches */

static size_t note_size(const JournalNote *note) {
        return sizeof(NoteHeader) + (strlen(note->key) + 1 + 7) / 8 * 8;
}

static void note_make(uint8_t *p, const JournalNote *note, size_t size) {
        NoteHeader h = {
                .size = (uint32_t) size,
                .kind = (uint32_t) note->kind,
                .since_boottime_ns = note->since_boottime_ns,
        };

        memset(p + size - 8, 0, 8);
        memcpy(p, &h, sizeof(h));
        memcpy(p + sizeof(h), note->key, strlen(note->key));
}

ssize_t journal_batch_make(
                void *buf,
                size_t size,
                const JournalSeed *seed,
                int64_t slept_ns,
                const JournalNote *notes,
                size_t n) {
        size_t used = sizeof(BatchHeader);
        uint8_t *p = buf;
        BatchHeader h;

        for (size_t i = 0; i < n; i++) {
                size_t k = note_size(&notes[i]);

                if (k > size || used > size - k)
                        return -ENOSPC;
                note_make(p + used, &notes[i], k);
                used += k;
        }
        if (used > size)
                return -ENOSPC;

        h = (BatchHeader){
                .magic = BATCH_MAGIC,
                .index = seed->index,
                .sequence = seed->sequence,
                .size = (uint32_t) used,
                .n_notes = (uint32_t) n,
                .slept_ns_or_0 = (uint64_t) slept_ns + 1,
        };
        h.checksum = batch_checksum(seed->salt, &h, p + sizeof(h));
        memcpy(p, &h, sizeof(h));
        return (ssize_t) used;
}

/* Returns: whether a whole batch of that @seed stands at @p; its header in *@ret. */
static bool batch_check(const uint8_t *p, size_t size, const JournalSeed *seed, BatchHeader *ret) {
        if (size < sizeof(*ret))
                return false;

        memcpy(ret, p, sizeof(*ret));
        return ret->magic == BATCH_MAGIC && ret->index == seed->index &&
               ret->sequence == seed->sequence && ret->size >= sizeof(*ret) && ret->size <= size &&
               ret->size % 8 == 0 &&
               batch_checksum(seed->salt, ret, p + sizeof(*ret)) == ret->checksum;
}

/* Reads the note at @p. Returns: its size; -EBADMSG, which a right checksum all but excludes. */
static ssize_t note_read(const uint8_t *p, size_t size, JournalNote *ret) {
        NoteHeader h;
        size_t length;

        if (size < sizeof(h))
                return -EBADMSG;
        memcpy(&h, p, sizeof(h));
        if (h.size <= sizeof(h) || h.size > size || h.size > JOURNAL_NOTE_SIZE_MAX ||
            h.size % 8 != 0 || h.kind >= JOURNAL_NOTE_MAX)
                return -EBADMSG;
        length = strnlen((const char *) p + sizeof(h), h.size - sizeof(h));
        if (length == 0 || length == h.size - sizeof(h))
                return -EBADMSG;

        *ret = (JournalNote){
                .kind = (JournalNoteKind) h.kind,
                .since_boottime_ns = h.since_boottime_ns,
        };
        memcpy(ret->key, p + sizeof(h), length);
        return (ssize_t) h.size;
}

static int batch_read(const uint8_t *p, const BatchHeader *h, NoteSet *set) {
        size_t used = sizeof(*h);

        for (uint32_t i = 0; i < h->n_notes; i++) {
                JournalNote note;
                ssize_t k = note_read(p + used, h->size - used, &note);

                if (k < 0)
                        return (int) k;
                if (note_set_put(set, &note) < 0)
                        return -EBADMSG;
                used += (size_t) k;
        }
        set->slept_ns = (int64_t) (h->slept_ns_or_0 - 1);
        return 0;
}

uint64_t journal_slot_sequence(const void *slot, size_t size, uint64_t salt) {
        JournalSeed seed = { .salt = salt };
        BatchHeader h;

        if (size < sizeof(h))
                return 0;
        memcpy(&h, slot, sizeof(h));
        seed.sequence = h.sequence;
        return batch_check(slot, size, &seed, &h) ? h.sequence : 0;
}

void journal_slot_read(const void *slot, size_t size, uint64_t salt, NoteSet *set) {
        JournalSeed seed = { .salt = salt };
        const uint8_t *p = slot;
        BatchHeader h;

        seed.sequence = journal_slot_sequence(slot, size, salt);
        if (seed.sequence == 0)
                return;

        for (; batch_check(p, size, &seed, &h); seed.index++) {
                if (batch_read(p, &h, set) < 0)
                        return;
                p += h.size;
                size -= h.size;
        }
}
