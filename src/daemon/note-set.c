/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/note-set.h"
#include <errno.h>

/* FNV-1a */
static uint32_t key_hash(const char *key) {
        uint32_t h = 2166136261u;

        for (; *key; key++)
                h = (h ^ (unsigned char) *key) * 16777619u;
        return h ^ h >> 15;
}

static uint32_t *bucket_of(const NoteSet *s, const char *key) {
        return &s->buckets[key_hash(key) & (s->n_buckets - 1)];
}

int note_set_init(NoteSet *s, size_t n_max) {
        NoteSet set = { .n_max = n_max, .n_buckets = 16, .slept_ns = -1 };

        while (set.n_buckets < n_max)
                set.n_buckets *= 2;

        set.notes = calloc(n_max, sizeof(*set.notes));
        set.next = calloc(n_max, sizeof(*set.next));
        set.buckets = calloc(set.n_buckets, sizeof(*set.buckets));
        if (!set.notes || !set.next || !set.buckets) {
                note_set_done(&set);
                return -ENOMEM;
        }
        *s = set;
        return 0;
}

void note_set_done(NoteSet *s) {
        free(s->notes);
        free(s->next);
        free(s->buckets);
        *s = (NoteSet){ 0 };
}

/* The link, in a bucket or in a note before it, that leads to the note under @key or ends in 0. */
static uint32_t *link_to(const NoteSet *s, const char *key) {
        uint32_t *link = bucket_of(s, key);

        while (*link != 0 && !str_equal(s->notes[*link - 1].key, key))
                link = &s->next[*link - 1];
        return link;
}

const JournalNote *note_set_find(const NoteSet *s, const char *key) {
        uint32_t i = *link_to(s, key);

        return i != 0 ? &s->notes[i - 1] : NULL;
}

static void note_set_remove(NoteSet *s, uint32_t *link) {
        uint32_t hole = *link - 1, last = (uint32_t) s->n - 1;

        *link = s->next[hole];
        if (hole != last) {
                *link_to(s, s->notes[last].key) = hole + 1;
                s->notes[hole] = s->notes[last];
                s->next[hole] = s->next[last];
        }
        s->n--;
}

int note_set_put(NoteSet *s, const JournalNote *note) {
        uint32_t *link = link_to(s, note->key);

        if (note->kind == JOURNAL_NOTE_NONE) {
                if (*link != 0)
                        note_set_remove(s, link);
                return 0;
        }

        if (*link == 0) {
                if (s->n == s->n_max)
                        return -ENOSPC;
                s->next[s->n] = 0;
                *link = (uint32_t) ++s->n;
        }
        s->notes[*link - 1] = *note;
        return 0;
}

void note_set_copy(NoteSet *s, const NoteSet *from) {
        s->n = from->n;
        s->slept_ns = from->slept_ns;
        if (from->n > 0)
                memcpy(s->notes, from->notes, from->n * sizeof(*s->notes));
        memset(s->buckets, 0, s->n_buckets * sizeof(*s->buckets));

        for (size_t i = 0; i < s->n; i++) {
                uint32_t *bucket = bucket_of(s, s->notes[i].key);

                s->next[i] = *bucket;
                *bucket = (uint32_t) i + 1;
        }
}
