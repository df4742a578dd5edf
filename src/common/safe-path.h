/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Safe Path
 *
 * A path that others may have a hand in, walked part by part: what is examined is what is then used,
 * by its descriptor, whoever renames what meanwhile. Root and our own user have a say in all. From the
 * first part on that is another user's, that user alone has one: he can lead us to what is his, and to
 * nobody else's. Symbolic links are followed where root made them, in directories that are root's.
 */

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>
#include "common/macro.h"

typedef struct SafePath {
        int fd; /* O_PATH */
        uid_t owner; /* who has a say in what it leads to: one of us, or the first other user on the way */
        struct stat st;
} SafePath;

#define SAFE_PATH_NONE   \
        (SafePath) {     \
                .fd = -1 \
        }

/* Whether that is root or we ourselves. */
bool user_is_us(uid_t user);

/*
 * Goes along @path to its end.
 *
 * Returns: 0; -EPERM with the reason in *@ret_why (static) if that is not safe; -ELOOP; -ENAMETOOLONG;
 * others as openat(2) has them, without a reason.
 */
int safe_path_open(const char *path, SafePath *ret, const char **ret_why);

/*
 * The same for @name, one part of a path, in the directory @at. Where @name is a link, or .., its way begins at
 * @at_path, which is where @at is.
 */
int safe_path_step(
                const SafePath *at,
                const char *at_path,
                const char *name,
                SafePath *ret,
                const char **ret_why);

/*
 * Whether what is there can be believed as our own: nobody else has a say in it, nor may write it.
 *
 * Returns: 0; -EPERM with the reason in *@ret_why (static).
 */
int safe_path_check_ours(const SafePath *p, const char **ret_why);

void safe_path_done(SafePath *p);

/* For a system call that takes a path and no descriptor. */
typedef struct SafePathName {
        char text[32];
} SafePathName;

SafePathName safe_path_name(const SafePath *p);
