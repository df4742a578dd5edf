/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/walk.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include "common/safe-path.h"

#define PATH_SIZE 512

/* @path is where it is; empty for the root. */
typedef struct Walk {
        const WalkOps *ops;
        void *userdata;
        bool is_literal;
        char path[PATH_SIZE];
        size_t length;
        unsigned n_matches; /* in the directories of the user at hand */
} Walk;

static void walk_on(Walk *w, const SafePath *at, const char *rest);

static void walk_fail(Walk *w, bool is_end, int error, const char *why) {
        w->ops->on_error(w->userdata, w->path, is_end, error, why);
}

static void walk_tell_directory(Walk *w, const SafePath *at) {
        SafePathName name = safe_path_name(at);

        w->ops->on_directory(w->userdata, name.text);
}

/*
 * Steps from @at to @name and goes on along @rest, which is empty at the end of the pattern; then steps back.
 *
 * Returns: whether there is a directory.
 */
static bool walk_into(Walk *w, const SafePath *at, const char *name, const char *rest) {
        _cleanup_(safe_path_done) SafePath next = SAFE_PATH_NONE;
        size_t length = w->length, size = strlen(name);
        bool is_directory = false;
        const char *why = NULL;
        char from[PATH_SIZE];
        int r;

        if (length + 1 + size >= sizeof(w->path))
                return false;
        (void) memcpy(from, w->path, length + 1);
        w->length += (size_t) snprintf(w->path + length, sizeof(w->path) - length, "/%s", name);
        r = safe_path_step(at, from, name, &next, &why);
        if (r < 0)
                walk_fail(w, !*rest, r, why);
        else if (!*rest)
                w->ops->on_found(w->userdata, w->path, &next.st);
        else if (S_ISDIR(next.st.st_mode)) {
                is_directory = true;
                walk_on(w, &next, rest);
        }
        w->length = length;
        w->path[length] = 0;
        return is_directory;
}

/* Returns: false if a user has made too many names. */
static bool walk_counts(Walk *w, const SafePath *at, unsigned n_read) {
        if (user_is_us(at->owner)) {
                w->n_matches = 0;
                return true;
        }
        if (n_read <= WALK_READ_MAX && w->n_matches <= WALK_MATCHES_MAX)
                return true;
        walk_fail(w, false, -E2BIG, "there are too many names in it, not all are looked at");
        return false;
}

static void walk_into_all(Walk *w, const SafePath *at, const char *part, const char *rest) {
        int fd = openat(at->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
        const struct dirent *e;
        unsigned n_read = 0;

        if (!directory) {
                walk_fail(w, false, -errno, NULL);
                closep(&fd);
                return;
        }
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours */
        while ((errno = 0, e = readdir(directory))) {
                bool is_match = !str_equal(e->d_name, ".") && !str_equal(e->d_name, "..") &&
                                fnmatch(part, e->d_name, FNM_PERIOD) == 0;

                w->n_matches += is_match;
                if (!walk_counts(w, at, ++n_read))
                        break;
                if (is_match)
                        (void) walk_into(w, at, e->d_name, rest);
        }
        if (!e && errno > 0)
                walk_fail(w, false, -errno, NULL);
        (void) closedir(directory);
}

/* Goes along @rest, a path relative to where the walk is, the directory @at. */
static void walk_on(Walk *w, const SafePath *at, const char *rest) {
        char part[PATH_SIZE];
        size_t size;

        rest += strspn(rest, "/");
        size = strcspn(rest, "/");
        if (size == 0 || size >= sizeof(part))
                return;
        (void) memcpy(part, rest, size);
        part[size] = 0;
        rest += size;
        if (!w->is_literal && strpbrk(part, "*?[")) {
                walk_tell_directory(w, at);
                walk_into_all(w, at, part, rest);
                return;
        }
        if (*rest && walk_into(w, at, part, rest))
                return;
        /* Watched before it is looked for again: it may have come just before that. */
        walk_tell_directory(w, at);
        (void) walk_into(w, at, part, rest);
}

void walk_along(const char *pattern, bool is_literal, const WalkOps *ops, void *userdata) {
        _cleanup_(safe_path_done) SafePath root = SAFE_PATH_NONE;
        Walk w = { .ops = ops, .userdata = userdata, .is_literal = is_literal };
        const char *why = NULL;
        int r;

        r = safe_path_open("/", &root, &why);
        if (r < 0)
                walk_fail(&w, false, r, why);
        else
                walk_on(&w, &root, pattern);
}
