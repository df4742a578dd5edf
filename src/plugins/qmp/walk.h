/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Walk
 *
 * Goes along a pattern from the root to the sockets that match it, by safe paths alone
 * (common/safe-path.h). Where a user's directory is gone through, it is so only for a bounded number of
 * names: he may make as many as he likes.
 */

#include <stdbool.h>
#include <sys/stat.h>

/* Of a user's directories: how many names are read in each, and how many in all may match a part of the pattern. */
#define WALK_READ_MAX 8192
#define WALK_MATCHES_MAX 512

typedef struct WalkOps {
        /*
         * A directory in which a next part of the pattern may appear, before it is looked into; not those
         * on the way to one that is there, which would tell of others' comings and goings. @path is good for
         * a system call, as long as the callback lasts.
         */
        void (*on_directory)(void *userdata, const char *path);
        /* Something is at the end of the pattern. */
        void (*on_found)(void *userdata, const char *path, const struct stat *st);
        /*
         * It does not get on at @path, which is the end of the pattern or on the way there, for @error: of -EPERM and
         * -E2BIG the reason is @why, else NULL.
         */
        void (*on_error)(void *userdata, const char *path, bool is_end, int error, const char *why);
} WalkOps;

/* Goes along @pattern, an absolute path; *, ? and […] stand for parts of a name unless @is_literal. */
void walk_along(const char *pattern, bool is_literal, const WalkOps *ops, void *userdata);
