/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* suspendctl's page verb, to which the file system is closed: what the daemon says would remove files. */

#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "command-daemon.h"

static int open_nothing(const char *path, int flags, mode_t mode) {
        (void) flags;
        (void) mode;
        HOLDS(command_daemon_was_told(path));
        return memfd_create("written", MFD_CLOEXEC);
}

static int unlink_nothing(const char *path) {
        (void) path;
        return 0;
}

/* There is a file, and it is the same one afterwards. */
static int lstat_something(const char *path, struct stat *ret) {
        *ret = (struct stat){ .st_ino = *path ? 1 : 0 };
        return *path ? 0 : -1;
}

#define open(_path, _flags, _mode) open_nothing(_path, _flags, _mode)
#define unlink(_path) unlink_nothing(_path)
#define lstat(_path, _ret) lstat_something(_path, _ret)
#include "cli/cmd-page.c" /* NOLINT(bugprone-suspicious-include): for its calls */
