/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Scratch Folder
 *
 * A folder of a test's own under /tmp, gone with all that is in it when the test is over, and the
 * one way in which a suite of one test case is run. For tests that use libcheck.
 */

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <syslog.h>
#include "common/macro.h"

/* Two users, where a test that root runs needs some. */
#define JOE 65533
#define EVE 65534

/* The daemon's, in tests that it is a part of: what they do to it is not to be told on the screen. */
void log_set_max_level(int level) __attribute__((weak));

static char scratch[64];

static inline void scratch_make(void) {
        (void) snprintf(scratch, sizeof(scratch), "/tmp/suspendd-test-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(scratch));
        if (log_set_max_level)
                log_set_max_level(LOG_CRIT);
}

static inline int scratch_remove_one(
                const char *path, const struct stat *st, int type, struct FTW *ftw) {
        (void) st;
        (void) type;
        (void) ftw;
        return remove(path);
}

static inline void scratch_remove(void) {
        ck_assert_int_eq(nftw(scratch, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* The path of @name in the folder, in one of four buffers taken in turn. */
static inline const char *scratch_path(const char *name) {
        static char paths[4][256];
        static unsigned next;
        char *path = paths[next++ % 4];

        (void) snprintf(path, sizeof(paths[0]), "%s/%s", scratch, name);
        return path;
}

static inline void scratch_write_bytes(const char *name, const void *data, size_t size) {
        _cleanup_close_ int fd = -1;

        fd = open(scratch_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, data, size), (ssize_t) size);
}

static inline void scratch_write(const char *name, const char *text) {
        scratch_write_bytes(name, text, strlen(text));
}

/* The file's bytes with a NUL behind them, to be freed by the caller. */
static inline char *scratch_read(const char *name, size_t *ret_size) {
        _cleanup_close_ int fd = open(scratch_path(name), O_RDONLY | O_CLOEXEC);
        struct stat st;
        char *text;

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fstat(fd, &st), 0);
        text = malloc((size_t) st.st_size + 1);
        ck_assert_ptr_nonnull(text);
        ck_assert_int_eq(read(fd, text, (size_t) st.st_size), st.st_size);
        text[st.st_size] = 0;
        if (ret_size)
                *ret_size = (size_t) st.st_size;
        return text;
}

/* How many files are in the folder. */
static inline unsigned scratch_count(void) {
        DIR *d = opendir(scratch);
        const struct dirent *e;
        unsigned n = 0;

        ck_assert_ptr_nonnull(d);
        while ((e = readdir(d)))
                n += e->d_name[0] != '.';
        ck_assert_int_eq(closedir(d), 0);
        return n;
}

/* Runs the one test case of a suite. Returns: what main() is to return. */
static inline int scratch_run(TCase *tcase, const char *name) {
        Suite *suite = suite_create(name);
        SRunner *runner = srunner_create(suite);
        int n_failed;

        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
