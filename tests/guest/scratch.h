/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Scratch Folder
 *
 * A folder of a test's own under /tmp, gone with all that is in it when the test is over.
 */

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include "guest/util.h"

static char scratch[64];

static inline void scratch_make(void) {
        (void) snprintf(scratch, sizeof(scratch), "/tmp/suspend-guest-test-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(scratch));
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

/* The path of a name in the folder, in one of eight buffers taken in turn. */
static inline const char *scratch_path(const char *name) {
        static char paths[8][256];
        static unsigned next;
        char *path = paths[next++ % ARRAY_LEN(paths)];

        (void) snprintf(path, sizeof(paths[0]), "%s/%s", scratch, name);
        return path;
}

/* Makes the folders of a path in the folder. */
static inline void scratch_folders(const char *name) {
        char path[256];

        (void) snprintf(path, sizeof(path), "%s/%s/", scratch, name);
        for (char *slash = path + strlen(scratch) + 1; (slash = strchr(slash, '/')); slash++) {
                *slash = 0;
                ck_assert(mkdir(path, 0755) == 0 || errno == EEXIST);
                *slash = '/';
        }
}

static inline void scratch_write(const char *name, const void *data, size_t size, mode_t mode) {
        _cleanup_close_ int fd =
                        open(scratch_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fchmod(fd, mode), 0);
        ck_assert_int_eq(write(fd, data, size), (ssize_t) size);
}

/* The text of a file, "" if there is none. */
static inline const char *scratch_read(const char *name) {
        static char text[8192];
        _cleanup_close_ int fd = open(scratch_path(name), O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

        ck_assert_int_ge(n, 0);
        text[n] = 0;
        return text;
}
