/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "daemon/journal-format.h"
#include "daemon/journal.h"
#include "daemon/log.h"

static char directory[64], path[96];

static void setup(void) {
        /* in memory, as the real one, where there is such a place */
        (void) snprintf(directory,
                        sizeof(directory),
                        "%s/suspendd-journal-XXXXXX",
                        access("/dev/shm", W_OK) >= 0 ? "/dev/shm" : "/tmp");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        (void) snprintf(path, sizeof(path), "%s/cycle", directory);
        log_set_max_level(LOG_CRIT);
}

/* The name under which the journal keeps what it did not read. */
static const char *unread(unsigned i) {
        static char name[128];

        (void) snprintf(name, sizeof(name), "%s.unread-%u", path, i);
        return name;
}

/* Removes what was kept. Returns: how many. */
static unsigned remove_unread(void) {
        unsigned n = 0;

        while (remove(unread(n)) == 0)
                n++;
        return n;
}

static void teardown(void) {
        (void) unlink(path);
        (void) remove_unread();
        ck_assert_int_eq(rmdir(directory), 0); /* nothing else was left in it */
}

static JournalNote note(JournalNoteKind kind, unsigned i) {
        JournalNote n = { .kind = kind, .since_boottime_ns = 1000 + (int64_t) i };

        (void) snprintf(n.key, sizeof(n.key), "qmp/guest-%u/4c4c4544-0000/%u.77", i, 1000 + i);
        return n;
}

static void write_one(Journal *j, JournalNoteKind kind, unsigned i) {
        JournalNote n = note(kind, i);

        ck_assert_int_eq(journal_write(j, &n, 1), 0);
}

static Journal *open_journal(void) {
        Journal *j = NULL;

        ck_assert_int_eq(journal_open(path, &j), 0);
        return j;
}

/* The kind of the note @i, NONE if there is none; a note must be as it was written. */
static JournalNoteKind kind_of(const Journal *j, unsigned i) {
        JournalNote wanted = note(JOURNAL_NOTE_NONE, i);
        const JournalNote *notes;
        size_t n = journal_notes(j, &notes);

        for (size_t k = 0; k < n; k++)
                if (str_equal(notes[k].key, wanted.key)) {
                        ck_assert_int_eq(notes[k].since_boottime_ns, wanted.since_boottime_ns);
                        return notes[k].kind;
                }
        return JOURNAL_NOTE_NONE;
}

static size_t count(const Journal *j) {
        const JournalNote *notes;

        return journal_notes(j, &notes);
}

typedef struct Bytes {
        uint8_t *data;
        size_t size;
} Bytes;

static Bytes file_read_at(const char *name) {
        _cleanup_close_ int fd = open(name, O_RDONLY | O_CLOEXEC);
        struct stat st;
        Bytes b;

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fstat(fd, &st), 0);
        b.size = (size_t) st.st_size;
        b.data = malloc(b.size);
        ck_assert_int_eq(read(fd, b.data, b.size), (ssize_t) b.size);
        return b;
}

static Bytes file_read(void) {
        return file_read_at(path);
}

static void file_write(const uint8_t *data, size_t size) {
        _cleanup_close_ int fd = -1;

        (void) unlink(path);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, data, size), (ssize_t) size);
}

/* The first and last byte in which the files differ. */
static void diff(const Bytes *a, const Bytes *b, size_t *ret_first, size_t *ret_end) {
        ck_assert_uint_eq(a->size, b->size);
        *ret_first = SIZE_MAX;
        *ret_end = 0;
        for (size_t i = 0; i < a->size; i++)
                if (a->data[i] != b->data[i]) {
                        *ret_first = MIN(*ret_first, i);
                        *ret_end = i + 1;
                }
        ck_assert_uint_lt(*ret_first, *ret_end);
}

START_TEST(test_notes_outlive_their_writer) {
        Journal *j = open_journal();
        const JournalNote batch[] = {
                note(JOURNAL_NOTE_HELD, 1),
                note(JOURNAL_NOTE_HELD, 2),
                note(JOURNAL_NOTE_WATCHED, 3),
        };

        ck_assert_uint_eq(count(j), 0);
        ck_assert_int_eq(journal_write(j, batch, 3), 0);
        write_one(j, JOURNAL_NOTE_WATCHED, 2);
        write_one(j, JOURNAL_NOTE_NONE, 1);
        write_one(j, JOURNAL_NOTE_NONE, 99); /* nobody knows it: nothing happens */

        for (int life = 0; life < 3; life++) {
                ck_assert_uint_eq(count(j), 2);
                ck_assert_int_eq(kind_of(j, 1), JOURNAL_NOTE_NONE);
                ck_assert_int_eq(kind_of(j, 2), JOURNAL_NOTE_WATCHED);
                ck_assert_int_eq(kind_of(j, 3), JOURNAL_NOTE_WATCHED);
                journal_free(j);
                j = open_journal();
        }
        journal_free(j);
}
END_TEST

START_TEST(test_how_long_the_host_had_slept_outlives_the_writer) {
        Journal *j = open_journal();

        ck_assert_int_eq(journal_slept(j), -1);
        journal_set_slept(j, 0);
        ck_assert_int_eq(journal_write(j, NULL, 0), 0); /* there is nothing that it is of */
        journal_free(j);
        j = open_journal();
        ck_assert_int_eq(journal_slept(j), -1);

        write_one(j, JOURNAL_NOTE_HELD, 1);
        for (int64_t slept_ns = 0; slept_ns < 200;
             slept_ns++) { /* in more than one slot, and into the next life */
                journal_set_slept(j, slept_ns);
                if (slept_ns % 2)
                        write_one(j, JOURNAL_NOTE_HELD, 2);
                else
                        ck_assert_int_eq(journal_write(j, NULL, 0), 0);
                if (slept_ns == 100)
                        ck_assert_int_eq(journal_reserve(j, 1000), 0);
                if (slept_ns % 10 == 0) {
                        journal_free(j);
                        j = open_journal();
                }
                ck_assert_int_eq(journal_slept(j), slept_ns);
                ck_assert_int_eq(kind_of(j, 1), JOURNAL_NOTE_HELD);
        }
        journal_free(j);
}
END_TEST

START_TEST(test_second_daemon_is_refused) {
        Journal *j = open_journal(), *other = NULL;

        ck_assert_int_eq(journal_open(path, &other), -EBUSY);
        ck_assert_int_eq(journal_reserve(j, 1000), 0); /* another file with the lock on it */
        ck_assert_int_eq(journal_open(path, &other), -EBUSY);
        ck_assert_ptr_null(other);
        journal_free(j);
        journal_free(open_journal());
}
END_TEST

/* All or none, whatever byte of the last write is missing or wrong, in an append and in a new slot. */
static void check_torn(bool new_slot) {
        JournalNote last[] = { note(JOURNAL_NOTE_HELD, 7),
                               note(JOURNAL_NOTE_NONE, 1),
                               note(JOURNAL_NOTE_HELD, 8) };
        Journal *j = open_journal();
        Bytes before, after;
        size_t first, end;

        write_one(j, JOURNAL_NOTE_HELD, 1);
        write_one(j, JOURNAL_NOTE_WATCHED, 2);
        if (new_slot) { /* a journal just opened goes on in the other slot */
                journal_free(j);
                j = open_journal();
        }
        before = file_read();
        ck_assert_int_eq(journal_write(j, last, ARRAY_LEN(last)), 0);
        journal_free(j);
        after = file_read();
        diff(&before, &after, &first, &end);

        for (size_t i = first; i <= end; i++) {
                Bytes torn = { .data = malloc(after.size), .size = after.size };

                for (int how = 0; how < 3; how++) {
                        size_t size = after.size;
                        bool is_whole;

                        memcpy(torn.data, after.data, after.size);
                        if (how == 0) /* written up to here */
                                memcpy(torn.data + i, before.data + i, end - i);
                        else if (how == 1) /* one bit */
                                torn.data[MIN(i, end - 1)] ^= 1;
                        else /* the file ends here */
                                size = i;
                        is_whole = memcmp(torn.data, after.data, size) == 0 && size >= end;
                        file_write(torn.data, size);

                        j = open_journal();
                        ck_assert_int_eq(
                                        kind_of(j, 1),
                                        is_whole ? JOURNAL_NOTE_NONE : JOURNAL_NOTE_HELD);
                        ck_assert_int_eq(kind_of(j, 2), JOURNAL_NOTE_WATCHED);
                        ck_assert_int_eq(
                                        kind_of(j, 7),
                                        is_whole ? JOURNAL_NOTE_HELD : JOURNAL_NOTE_NONE);
                        ck_assert_uint_eq(count(j), is_whole ? 3 : 2);

                        /* and it goes on from there */
                        write_one(j, JOURNAL_NOTE_HELD, 9);
                        journal_free(j);
                        j = open_journal();
                        ck_assert_int_eq(kind_of(j, 9), JOURNAL_NOTE_HELD);
                        ck_assert_uint_eq(count(j), is_whole ? 4 : 3);
                        journal_free(j);
                }
                free(torn.data);
        }
        free(before.data);
        free(after.data);
}

START_TEST(test_torn_append_counts_as_not_written) {
        check_torn(false);
}
END_TEST

START_TEST(test_torn_slot_leaves_the_other) {
        check_torn(true);
}
END_TEST

START_TEST(test_full_slots_keep_what_counts) {
        Journal *j = open_journal();
        Bytes before, after;

        ck_assert_int_eq(journal_reserve(j, 20), 0);
        write_one(j, JOURNAL_NOTE_WATCHED, 1000);
        before = file_read();
        for (unsigned i = 0; i < 5000; i++) {
                write_one(j, JOURNAL_NOTE_HELD, i % 19);
                if (i % 3 == 0)
                        write_one(j, JOURNAL_NOTE_NONE, i % 19);
                if (i % 501 == 0) {
                        size_t n = count(j);

                        journal_free(j);
                        j = open_journal();
                        ck_assert_uint_eq(count(j), n);
                }
                ck_assert_int_eq(kind_of(j, 1000), JOURNAL_NOTE_WATCHED);
                ck_assert_int_eq(kind_of(j, i % 19) == JOURNAL_NOTE_NONE, i % 3 == 0);
        }
        after = file_read();
        ck_assert_uint_eq(before.size, after.size); /* no space was asked for */
        free(before.data);
        free(after.data);
        journal_free(j);
}
END_TEST

START_TEST(test_no_room_is_told_and_changes_nothing) {
        Journal *j = open_journal();
        JournalNote many[64];
        Bytes before, after;
        size_t n = 0;

        for (unsigned i = 0; i < ARRAY_LEN(many); i++)
                many[i] = note(JOURNAL_NOTE_HELD, i);
        while (n < ARRAY_LEN(many) && journal_write(j, many, n + 1) == 0)
                n++;
        ck_assert_uint_gt(n, 0);
        ck_assert_uint_lt(n, ARRAY_LEN(many));

        before = file_read();
        ck_assert_int_eq(journal_write(j, many, n + 1), -ENOSPC);
        after = file_read();
        ck_assert_mem_eq(before.data, after.data, before.size);
        ck_assert_uint_eq(count(j), n);
        free(before.data);
        free(after.data);

        ck_assert_int_eq(journal_reserve(j, 64), 0);
        ck_assert_int_eq(journal_write(j, many, 64), 0);
        ck_assert_uint_eq(count(j), 64);
        journal_free(j);
}
END_TEST

START_TEST(test_longest_keys_fit_as_often_as_reserved) {
        Journal *j = open_journal();
        JournalNote many[100];

        ck_assert_int_eq(journal_reserve(j, ARRAY_LEN(many)), 0);
        for (unsigned i = 0; i < ARRAY_LEN(many); i++) {
                many[i] = (JournalNote){ .kind = JOURNAL_NOTE_HELD, .since_boottime_ns = i };
                memset(many[i].key, 'x', JOURNAL_KEY_MAX - 1);
                many[i].key[0] = (char) ('A' + i % 26);
                many[i].key[1] = (char) ('A' + i / 26);
        }
        for (int round = 0; round < 10; round++)
                ck_assert_int_eq(journal_write(j, many, ARRAY_LEN(many)), 0);
        journal_free(j);
        j = open_journal();
        ck_assert_uint_eq(count(j), ARRAY_LEN(many));

        many[0].key[JOURNAL_KEY_MAX - 1] = 'x'; /* without an end */
        ck_assert_int_eq(journal_write(j, many, 1), -EINVAL);
        many[0].key[0] = 0;
        ck_assert_int_eq(journal_write(j, many, 1), -EINVAL);
        journal_free(j);
}
END_TEST

START_TEST(test_newer_version_is_not_read_and_kept) {
        Journal *j = open_journal();
        JournalFileHeader header;
        Bytes b, kept;

        write_one(j, JOURNAL_NOTE_HELD, 1);
        journal_free(j);
        b = file_read();
        memcpy(&header, b.data, sizeof(header));
        header.version++;
        journal_file_header_seal(&header);
        ck_assert_int_eq(journal_file_header_check(&header), -EPROTONOSUPPORT);
        memcpy(b.data, &header, sizeof(header));
        file_write(b.data, b.size);

        j = open_journal();
        ck_assert_uint_eq(count(j), 0);
        kept = file_read_at(unread(0));
        ck_assert_uint_eq(kept.size, b.size);
        ck_assert_mem_eq(kept.data, b.data, b.size);
        free(kept.data);

        /* Given back, it is what it was; here as a version that is known. */
        header.version--;
        journal_file_header_seal(&header);
        memcpy(b.data, &header, sizeof(header));
        write_one(j, JOURNAL_NOTE_HELD, 2);
        journal_free(j);
        j = open_journal();
        ck_assert_uint_eq(count(j), 1);
        journal_free(j);
        file_write(b.data, b.size);
        free(b.data);
        j = open_journal();
        ck_assert_int_eq(kind_of(j, 1), JOURNAL_NOTE_HELD);
        journal_free(j);
        ck_assert_uint_eq(remove_unread(), 1);
}
END_TEST

/* What is no file, or not ours alone, is put aside as it is and never followed. */
static const char *const intruders[] = { "directory", "link",     "dangling",
                                         "fifo",      "writable", "foreign" };

static void make_intruder(const char *what, const char *victim) {
        Journal *j = open_journal();

        write_one(j, JOURNAL_NOTE_HELD, 1);
        journal_free(j);
        if (str_equal(what, "writable")) {
                ck_assert_int_eq(chmod(path, 0622), 0);
                return;
        }
        if (str_equal(what, "foreign")) {
                ck_assert_int_eq(chown(path, 65534, 65534), 0);
                return;
        }
        if (str_equal(what, "link"))
                ck_assert_int_eq(rename(path, victim), 0);
        else
                ck_assert_int_eq(unlink(path), 0);
        if (str_equal(what, "directory"))
                ck_assert_int_eq(mkdir(path, 0700), 0);
        else if (str_equal(what, "fifo"))
                ck_assert_int_eq(mkfifo(path, 0600), 0);
        else
                ck_assert_int_eq(symlink(victim, path), 0);
}

START_TEST(test_intruder_is_not_read_and_kept) {
        const char *what = intruders[_i];
        struct stat before, kept, victim;
        char target[128];
        Journal *j;

        if (str_equal(what, "foreign") && geteuid() != 0)
                return; /* nobody else's files can be made */
        (void) snprintf(target, sizeof(target), "%s/victim", directory);
        make_intruder(what, target);
        ck_assert_int_eq(lstat(path, &before), 0);

        j = open_journal();
        ck_assert_uint_eq(count(j), 0);
        write_one(j, JOURNAL_NOTE_HELD, 2);
        journal_free(j);
        j = open_journal();
        ck_assert_uint_eq(count(j), 1);
        ck_assert_int_eq(kind_of(j, 2), JOURNAL_NOTE_HELD);
        journal_free(j);

        ck_assert_int_eq(lstat(unread(0), &kept), 0);
        ck_assert_uint_eq(kept.st_ino, before.st_ino);
        ck_assert_uint_eq(kept.st_mode, before.st_mode);
        if (str_equal(what, "link"))
                ck_assert_int_eq(stat(target, &victim), 0);
        ck_assert_int_eq(unlink(target), str_equal(what, "link") ? 0 : -1);
        ck_assert_uint_eq(remove_unread(), 1);
}
END_TEST

START_TEST(test_nothing_that_is_kept_is_overwritten) {
        Journal *j = NULL;
        Bytes b;

        for (uint8_t i = 0; i < 16; i++) {
                const uint8_t bad[] = { 'b', 'a', 'd', i };

                file_write(bad, sizeof(bad));
                journal_free(open_journal());
        }
        file_write((const uint8_t *) "last", 4);
        ck_assert_int_eq(journal_open(path, &j), -ENOSPC);
        b = file_read();
        ck_assert_uint_eq(b.size, 4);
        free(b.data);
        for (uint8_t i = 0; i < 16; i++) {
                b = file_read_at(unread(i));
                ck_assert_uint_eq(b.size, 4);
                ck_assert_uint_eq(b.data[3], i);
                free(b.data);
        }
        ck_assert_uint_eq(remove_unread(), 16);
}
END_TEST

START_TEST(test_foreign_contents_count_as_empty) {
        uint8_t junk[9000];
        Journal *j;

        for (size_t i = 0; i < sizeof(junk); i++)
                junk[i] = (uint8_t) (i * 7 + i / 256);
        for (size_t size = 0; size < sizeof(junk); size += size < 80 ? 1 : 997) {
                file_write(junk, size);
                j = open_journal();
                ck_assert_uint_eq(count(j), 0);
                write_one(j, JOURNAL_NOTE_HELD, 1);
                journal_free(j);
                ck_assert_uint_eq(remove_unread(), size > 0);
        }
        file_write((const uint8_t *) "", 0);
        journal_free(open_journal());
        ck_assert_uint_eq(remove_unread(), 0); /* there was nothing to keep */
}
END_TEST

/* Whatever byte of the whole file is wrong: it opens, and nothing is there that was never written. */
START_TEST(test_any_wrong_byte_is_survived) {
        Journal *j = open_journal();
        Bytes b;

        for (unsigned i = 0; i < 30; i++)
                write_one(j, i % 4 ? JOURNAL_NOTE_HELD : JOURNAL_NOTE_NONE, i % 5);
        journal_free(j);
        b = file_read();

        for (size_t i = 0; i < b.size; i++) {
                const JournalNote *notes;

                b.data[i] ^= 0x41;
                file_write(b.data, b.size);
                b.data[i] ^= 0x41;
                j = open_journal();
                for (size_t k = journal_notes(j, &notes); k-- > 0;)
                        ck_assert_int_eq(strncmp(notes[k].key, "qmp/guest-", 10), 0);
                journal_free(j);
                (void) remove_unread();
        }
        free(b.data);
}
END_TEST

/* Neither an append nor a new slot can be written: all is as it was, in memory and for the next life. */
START_TEST(test_failed_write_changes_nothing) {
        struct rlimit saved, small = { .rlim_cur = 100 };
        JournalNote more[] = { note(JOURNAL_NOTE_HELD, 2), note(JOURNAL_NOTE_NONE, 1) };
        Journal *j = open_journal();

        write_one(j, JOURNAL_NOTE_HELD, 1);
        if (_i == 1) { /* a journal just opened goes on in the other slot */
                journal_free(j);
                j = open_journal();
        }
        ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &saved), 0);
        small.rlim_max = saved.rlim_max;
        (void) signal(SIGXFSZ, SIG_IGN);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
        ck_assert_int_lt(journal_write(j, more, ARRAY_LEN(more)), 0);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &saved), 0);

        ck_assert_uint_eq(count(j), 1);
        ck_assert_int_eq(kind_of(j, 1), JOURNAL_NOTE_HELD);
        write_one(j, JOURNAL_NOTE_WATCHED, 3);
        for (int life = 0; life < 2; life++) {
                ck_assert_uint_eq(count(j), 2);
                ck_assert_int_eq(kind_of(j, 1), JOURNAL_NOTE_HELD);
                ck_assert_int_eq(kind_of(j, 3), JOURNAL_NOTE_WATCHED);
                journal_free(j);
                j = open_journal();
        }
        journal_free(j);
}
END_TEST

/* No space for a larger file: the one that is there goes on. */
START_TEST(test_reserve_without_space_keeps_the_journal) {
        struct rlimit saved, small = { .rlim_cur = 16384, .rlim_max = RLIM_INFINITY };
        Journal *j = open_journal();

        write_one(j, JOURNAL_NOTE_HELD, 1);
        ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &saved), 0);
        small.rlim_max = saved.rlim_max;
        (void) signal(SIGXFSZ, SIG_IGN);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
        ck_assert_int_eq(journal_reserve(j, 1000), -EFBIG);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &saved), 0);

        for (unsigned i = 0; i < 300; i++)
                write_one(j, JOURNAL_NOTE_HELD, i % 5);
        journal_free(j);
        j = open_journal();
        ck_assert_uint_eq(count(j), 5);
        ck_assert_int_eq(journal_reserve(j, 1000), 0);
        ck_assert_uint_eq(count(j), 5);
        journal_free(j);
        j = open_journal();
        ck_assert_uint_eq(count(j), 5);
        journal_free(j);
}
END_TEST

/* Killed at an instant of nobody's choosing: what journal_write() had answered for is there. */
START_TEST(test_killed_writer_leaves_whole_notes) {
        for (int round = 0; round < 40; round++) {
                int told[2];
                uint32_t n, last = 0;
                Journal *j;
                pid_t pid;

                (void) unlink(path);
                ck_assert_int_eq(pipe(told), 0);
                pid = fork();
                if (pid == 0) {
                        j = open_journal();
                        for (uint32_t i = 1;; i++) {
                                JournalNote pair[2] = { note(JOURNAL_NOTE_HELD, 1),
                                                        note(JOURNAL_NOTE_HELD, 2) };

                                pair[0].since_boottime_ns = pair[1].since_boottime_ns = i;
                                if (journal_write(j, pair, 2) < 0 ||
                                    write(told[1], &i, sizeof(i)) < 0)
                                        _exit(1);
                        }
                }
                ck_assert_int_gt(pid, 0);
                (void) close(told[1]);
                while (last < (uint32_t) round * 17 + 1 &&
                       read(told[0], &n, sizeof(n)) == sizeof(n))
                        last = n;
                ck_assert_int_eq(kill(pid, SIGKILL), 0);
                ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
                while (read(told[0], &n, sizeof(n)) == sizeof(n))
                        last = n;
                (void) close(told[0]);

                {
                        const JournalNote *notes;

                        j = open_journal();
                        ck_assert_uint_eq(journal_notes(j, &notes), 2);
                        ck_assert_int_ge(notes[0].since_boottime_ns, last);
                        ck_assert_int_le(notes[0].since_boottime_ns, last + 1);
                        ck_assert_int_eq(notes[0].since_boottime_ns, notes[1].since_boottime_ns);
                        journal_free(j);
                }
        }
}
END_TEST

int main(void) {
        Suite *s = suite_create("journal");
        TCase *c = tcase_create("journal");
        SRunner *runner;
        int n_failed;

        tcase_set_timeout(c, 60);
        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, test_notes_outlive_their_writer);
        tcase_add_test(c, test_how_long_the_host_had_slept_outlives_the_writer);
        tcase_add_test(c, test_second_daemon_is_refused);
        tcase_add_test(c, test_torn_append_counts_as_not_written);
        tcase_add_test(c, test_torn_slot_leaves_the_other);
        tcase_add_test(c, test_full_slots_keep_what_counts);
        tcase_add_test(c, test_no_room_is_told_and_changes_nothing);
        tcase_add_test(c, test_longest_keys_fit_as_often_as_reserved);
        tcase_add_test(c, test_newer_version_is_not_read_and_kept);
        tcase_add_loop_test(c, test_intruder_is_not_read_and_kept, 0, ARRAY_LEN(intruders));
        tcase_add_test(c, test_nothing_that_is_kept_is_overwritten);
        tcase_add_test(c, test_foreign_contents_count_as_empty);
        tcase_add_test(c, test_any_wrong_byte_is_survived);
        tcase_add_loop_test(c, test_failed_write_changes_nothing, 0, 2);
        tcase_add_test(c, test_reserve_without_space_keeps_the_journal);
        tcase_add_test(c, test_killed_writer_leaves_whole_notes);
        suite_add_tcase(s, c);

        runner = srunner_create(s);
        srunner_run_all(runner, CK_NORMAL);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
