/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Fuzzer's Folder
 *
 * A folder of the process' own, in memory where there is such a place, for targets whose code wants files.
 * It is emptied between two inputs, so that none depends on the one before, and gone at the end.
 */

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuzz.h"

static char folder[64];

static inline int folder_remove_one(
                const char *path, const struct stat *st, int type, struct FTW *ftw) {
        (void) st;
        (void) type;
        return ftw->level > 0 ? remove(path) : 0;
}

static inline void folder_empty(void) {
        HOLDS(nftw(folder, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

static inline void folder_remove(void) {
        folder_empty();
        (void) rmdir(folder);
}

/* Makes it the first time. */
static inline void folder_make(void) {
        if (*folder)
                return;
        (void) snprintf(folder,
                        sizeof(folder),
                        "%s/suspendd-fuzz-XXXXXX",
                        access("/dev/shm", W_OK) >= 0 ? "/dev/shm" : "/tmp");
        HOLDS(mkdtemp(folder));
        HOLDS(atexit(folder_remove) == 0);
}

/* The path of @name in it, in one of four buffers taken in turn. */
static inline const char *folder_path(const char *name) {
        static char paths[4][512];
        static unsigned next;
        char *path = paths[next++ % 4];

        HOLDS((size_t) snprintf(path, sizeof(paths[0]), "%s/%s", folder, name) < sizeof(paths[0]));
        return path;
}

static inline void folder_write(const char *name, const void *data, size_t size) {
        FILE *f = fopen(folder_path(name), "we");

        HOLDS(f);
        HOLDS(fwrite(data, 1, size, f) == size);
        HOLDS(fclose(f) == 0);
}
