/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/journal.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/safe-path.h"
#include "daemon/journal-format.h"
#include "daemon/log.h"
#include "daemon/messages.h"

#define CAPACITY_MIN 9 /* a page a slot */
#define CAPACITY_MAX 100000
#define OPEN_TRIES 16
#define ASIDE_MAX 16

struct Journal {
        char *path;
        int fd;
        size_t slot_size;
        unsigned slot;    /* in use, 0 or 1 */
        size_t offset;    /* in it, of the next batch; slot_size: go to the other one */
        JournalSeed seed; /* of the next batch */
        NoteSet live;
        int64_t written_slept_ns;
        NoteSet shadow; /* what was live, while it is not sure that it can be written */
        uint8_t *buf;   /* a batch with all notes */
        size_t buf_size;
};

/* lifetime */

Journal *journal_free(Journal *j) {
        if (!j)
                return NULL;

        note_set_done(&j->live);
        note_set_done(&j->shadow);
        closep(&j->fd);
        free(j->buf);
        free(j->path);
        free(j);
        return NULL;
}

/* Gets all memory that a slot of @slot_size can make use of; what is live stays. */
static int journal_allocate(Journal *j, size_t slot_size) {
        size_t n_max = journal_slot_capacity(slot_size);
        NoteSet live = { 0 }, shadow = { 0 };
        uint8_t *buf;
        int r;

        buf = malloc(slot_size / 2);
        if (!buf)
                return -ENOMEM;
        r = note_set_init(&live, n_max);
        if (r >= 0)
                r = note_set_init(&shadow, n_max);
        if (r < 0) {
                note_set_done(&live);
                free(buf);
                return r;
        }

        note_set_copy(&live, &j->live);
        note_set_done(&j->live);
        note_set_done(&j->shadow);
        free(j->buf);
        j->live = live;
        j->shadow = shadow;
        j->buf = buf;
        j->buf_size = slot_size / 2;
        return 0;
}

/* the file */

/*
 * Opens the file that stands at the path with its lock taken. A daemon that makes a larger file puts
 * it in the place of the one it has locked, so what was locked may not stand there any more.
 *
 * Returns: 0; -EBUSY; -EUCLEAN if what stands there is no file that we have made; -errno.
 */
static int file_open(const char *path, int *ret_fd) {
        for (int i = 0; i < OPEN_TRIES; i++) {
                _cleanup_close_ int fd = -1;
                struct stat opened, there;

                fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
                if (fd < 0)
                        return errno == EISDIR || errno == ELOOP || errno == ENXIO ? -EUCLEAN
                                                                                   : -errno;
                if (fstat(fd, &opened) < 0)
                        return -errno;
                /* Whoever else could have written it could have machines run that are not ours to run. */
                if (!S_ISREG(opened.st_mode) || !user_is_us(opened.st_uid) ||
                    (opened.st_mode & (S_IWGRP | S_IWOTH)))
                        return -EUCLEAN;
                if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                        return errno == EWOULDBLOCK ? -EBUSY : -errno;

                if (stat(path, &there) >= 0 && there.st_ino == opened.st_ino &&
                    there.st_dev == opened.st_dev) {
                        *ret_fd = TAKE_FD(fd);
                        return 0;
                }
        }

        return -EBUSY;
}

/* Gives what stands at the path a name beside it under which it stays. Returns: 0; -EEXIST; -errno. */
static int file_move_aside(const char *path, const char *aside) {
        struct stat st;

        if (lstat(path, &st) < 0)
                return -errno;
        /* Our file, whose lock we have, keeps its own name as well until another is in its place. */
        if (S_ISREG(st.st_mode))
                return link(path, aside) < 0 ? -errno : 0;
        return renameat2(AT_FDCWD, path, AT_FDCWD, aside, RENAME_NOREPLACE) < 0 ? -errno : 0;
}

/*
 * Keeps what stands at the path and is not understood: it may name machines that stand, and it is all
 * that does. Returns: 0; -errno, and it is still there.
 */
static int file_set_aside(const char *path, const char *what) {
        for (unsigned i = 0; i < ASIDE_MAX; i++) {
                _cleanup_free_ char *aside = NULL;
                int r;

                if (asprintf(&aside, "%s.unread-%u", path, i) < 0) {
                        aside = NULL;
                        return -ENOMEM;
                }
                r = file_move_aside(path, aside);
                if (r == -EEXIST)
                        continue;
                if (r < 0)
                        return log_error_errno(r, "%s %s and cannot be kept aside", path, what);
                (void) log_full(&(LogFields){ .message_id = SUSPENDD_MESSAGE_UNREAD },
                                LOG_ERR,
                                0,
                                "%s %s: no machine is run by it. It is kept as %s. "
                                "Machines that it may name stand until somebody runs them",
                                path,
                                what,
                                aside);
                return 0;
        }
        return log_error_errno(
                        -ENOSPC, "%s %s and %u such are kept already", path, what, ASIDE_MAX);
}

static int write_at(int fd, const void *data, size_t size, off_t offset) {
        ssize_t n;

        do
                n = pwrite(fd, data, size, offset);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        return (size_t) n == size ? 0 : -EIO;
}

static off_t slot_offset(size_t slot_size, unsigned slot) {
        return (off_t) (sizeof(JournalFileHeader) + slot * slot_size);
}

static int file_preallocate(int fd, size_t slot_size) {
        return -posix_fallocate(fd, 0, slot_offset(slot_size, 2));
}

/* Makes the file anew beside the one that is there, with all that is live, and puts it in its place. */
static int journal_replace(Journal *j) {
        JournalSeed seed = { .sequence = 1 };
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -1;
        JournalFileHeader header;
        ssize_t size;
        int r;

        if (asprintf(&path, "%s.new", j->path) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        if (getrandom(&seed.salt, sizeof(seed.salt), 0) < 0)
                return -errno;
        journal_file_header_make(&header, (uint32_t) j->slot_size, seed.salt);
        size = journal_batch_make(
                        j->buf, j->buf_size, &seed, j->live.slept_ns, j->live.notes, j->live.n);
        if (size < 0)
                return (int) size;

        (void) unlink(path);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        r = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
        if (r >= 0)
                r = file_preallocate(fd, j->slot_size);
        if (r >= 0)
                r = write_at(fd, &header, sizeof(header), 0);
        if (r >= 0)
                r = write_at(fd, j->buf, (size_t) size, slot_offset(j->slot_size, 0));
        if (r >= 0 && rename(path, j->path) < 0)
                r = -errno;
        if (r < 0) {
                (void) unlink(path);
                return r;
        }

        closep(&j->fd);
        j->fd = TAKE_FD(fd);
        j->slot = 0;
        j->written_slept_ns = j->live.slept_ns;
        j->offset = (size_t) size;
        j->seed = seed;
        j->seed.index++;
        return 0;
}

/* Returns: 0; -ENODATA for an empty file; -EBADMSG; -EPROTONOSUPPORT; -ENOMEM …. */
static int journal_read(Journal *j) {
        _cleanup_free_ uint8_t *slots = NULL;
        JournalFileHeader header;
        uint64_t sequence[2];
        ssize_t n;
        int r;

        n = pread(j->fd, &header, sizeof(header), 0);
        if (n <= 0)
                return n < 0 ? -errno : -ENODATA;
        r = (size_t) n < sizeof(header) ? -EBADMSG : journal_file_header_check(&header);
        if (r < 0)
                return r;

        /* Zeros stand for what a file cut short lacks. */
        slots = calloc(2, header.slot_size);
        if (!slots)
                return -ENOMEM;
        if (pread(j->fd, slots, 2 * (size_t) header.slot_size, sizeof(header)) < 0)
                return -errno;
        for (unsigned i = 0; i < 2; i++)
                sequence[i] = journal_slot_sequence(
                                slots + i * header.slot_size, header.slot_size, header.salt);
        if (sequence[0] == 0 && sequence[1] == 0)
                return -EBADMSG;

        r = journal_allocate(j, header.slot_size);
        if (r < 0)
                return r;
        j->slot_size = header.slot_size;
        j->slot = sequence[1] > sequence[0];
        j->seed = (JournalSeed){ .salt = header.salt, .sequence = sequence[j->slot] };
        journal_slot_read(slots + j->slot * j->slot_size, j->slot_size, header.salt, &j->live);

        j->written_slept_ns = j->live.slept_ns;

        /* What stands behind the last whole batch is not known: go on in the other slot. */
        j->offset = j->slot_size;
        return 0;
}

static int journal_load(Journal *j) {
        int r;

        r = journal_read(j);
        if (r >= 0)
                r = file_preallocate(j->fd, j->slot_size);
        if (r >= 0)
                return 0;

        if (r == -EPROTONOSUPPORT)
                r = file_set_aside(j->path, "was written by a newer version");
        else if (r == -EBADMSG)
                r = file_set_aside(j->path, "is broken or no journal of ours");
        else if (r == -ENODATA)
                r = 0;
        if (r < 0)
                return r;

        j->slot_size = journal_slot_size(CAPACITY_MIN);
        r = journal_allocate(j, j->slot_size);
        if (r < 0)
                return r;
        return journal_replace(j);
}

int journal_open(const char *path, Journal **ret) {
        _cleanup_(journal_freep) Journal *j = NULL;
        int r;

        j = malloc(sizeof(*j));
        if (!j)
                return -ENOMEM;
        *j = (Journal){ .fd = -1, .live.slept_ns = -1 };
        j->path = strdup(path);
        if (!j->path)
                return -ENOMEM;

        r = file_open(path, &j->fd);
        if (r == -EUCLEAN) {
                r = file_set_aside(path, "is no file of ours alone");
                if (r >= 0)
                        r = unlink(path) < 0 && errno != ENOENT ? -errno : file_open(path, &j->fd);
        }
        if (r < 0)
                return r;
        r = journal_load(j);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(j);
        return 0;
}

int journal_reserve(Journal *j, size_t n_machines) {
        size_t old_size = j->slot_size, wanted;
        int r;

        if (n_machines > CAPACITY_MAX)
                return -ENOSPC;
        /* Notes of an earlier life may be of machines that have not come, and may never come. */
        wanted = n_machines + j->live.n;
        if (wanted <= j->live.n_max)
                return 0;

        /* Doubled, so that machines that come one by one do not make a file each. */
        wanted = MIN(MAX(wanted, 2 * j->live.n_max), (size_t) CAPACITY_MAX);
        r = journal_allocate(j, journal_slot_size(wanted));
        if (r < 0)
                return r;

        j->slot_size = journal_slot_size(wanted);
        r = journal_replace(j);
        if (r < 0) {
                /* The old file still stands and is written as before; the larger memory does no harm
                 * but must not promise more than the file holds. */
                j->slot_size = old_size;
                j->live.n_max = journal_slot_capacity(old_size);
                j->buf_size = old_size / 2;
        }
        return r;
}

/* notes */

static int notes_check(const Journal *j, const JournalNote *notes, size_t n) {
        size_t n_more = 0;

        for (size_t i = 0; i < n; i++) {
                size_t length = strnlen(notes[i].key, JOURNAL_KEY_MAX);

                if (length == 0 || length == JOURNAL_KEY_MAX || (int) notes[i].kind < 0 ||
                    notes[i].kind >= JOURNAL_NOTE_MAX)
                        return -EINVAL;
                if (notes[i].kind != JOURNAL_NOTE_NONE && !note_set_find(&j->live, notes[i].key))
                        n_more++;
        }

        /* Two new notes under one key are counted twice, which nobody does. */
        return j->live.n + n_more > j->live.n_max || n > j->live.n_max ? -ENOSPC : 0;
}

static void notes_put(Journal *j, const JournalNote *notes, size_t n) {
        for (size_t i = 0; i < n; i++)
                (void) note_set_put(&j->live, &notes[i]); /* there is room: notes_check() */
}

static int journal_append(Journal *j, size_t size) {
        int r;

        r = write_at(j->fd, j->buf, size, slot_offset(j->slot_size, j->slot) + (off_t) j->offset);
        if (r < 0)
                return r;

        j->offset += size;
        j->seed.index++;
        return 0;
}

/* Writes all that counts, the new notes among it, as the other slot's first batch. */
static int journal_switch(Journal *j, const JournalNote *notes, size_t n) {
        JournalSeed seed = { .salt = j->seed.salt, .sequence = j->seed.sequence + 1 };
        ssize_t size;
        int r;

        note_set_copy(&j->shadow, &j->live);
        notes_put(j, notes, n);

        size = journal_batch_make(
                        j->buf, j->buf_size, &seed, j->live.slept_ns, j->live.notes, j->live.n);
        r = size < 0 ? (int) size
                     : write_at(j->fd, j->buf, (size_t) size, slot_offset(j->slot_size, !j->slot));
        if (r < 0) {
                note_set_copy(&j->live, &j->shadow);
                return r;
        }

        j->slot = !j->slot;
        j->written_slept_ns = j->live.slept_ns;
        j->offset = (size_t) size;
        j->seed = seed;
        j->seed.index++;
        return 0;
}

int journal_write(Journal *j, const JournalNote *notes, size_t n) {
        size_t room;
        ssize_t size;
        int r;

        if (n == 0 && (j->live.n == 0 || j->live.slept_ns == j->written_slept_ns))
                return 0;
        r = notes_check(j, notes, n);
        if (r < 0)
                return r;

        room = MIN(j->slot_size - j->offset, j->buf_size);
        size = journal_batch_make(j->buf, room, &j->seed, j->live.slept_ns, notes, n);
        if (size < 0)
                return journal_switch(j, notes, n);

        r = journal_append(j, (size_t) size);
        if (r < 0)
                return r;
        notes_put(j, notes, n);
        j->written_slept_ns = j->live.slept_ns;
        return 0;
}

size_t journal_notes(const Journal *j, const JournalNote **ret) {
        *ret = j->live.notes;
        return j->live.n;
}

void journal_set_slept(Journal *j, int64_t slept_ns) {
        j->live.slept_ns = slept_ns;
}

int64_t journal_slept(const Journal *j) {
        return j->live.slept_ns;
}
