/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/safe-path.h"
#include <errno.h>
#include <fcntl.h>

#define RESTARTS_MAX 32

bool user_is_us(uid_t user) {
        return user == 0 || user == geteuid();
}

void safe_path_done(SafePath *p) {
        closep(&p->fd);
}

SafePathName safe_path_name(const SafePath *p) {
        SafePathName name;

        (void) snprintf(name.text, sizeof(name.text), "/proc/self/fd/%d", p->fd);
        return name;
}

/* one part */

/* The group's part is also what an ACL allows to others. */
static bool others_may_write(const struct stat *st) {
        return (st->st_mode & S_IWOTH) || ((st->st_mode & S_IWGRP) && st->st_gid != 0);
}

/* Why @st, in the directory @at, is not to be used; NULL if it may be. */
static const char *objection(const SafePath *at, const struct stat *st) {
        if (!user_is_us(at->owner)) {
                if (S_ISLNK(st->st_mode))
                        return "it is a symbolic link in another user's directory";
                if (st->st_uid != at->owner && !user_is_us(st->st_uid))
                        return "it belongs to another user than the directory that it is in";
                return NULL;
        }
        if (others_may_write(&at->st) && !(at->st.st_mode & S_ISVTX))
                return "others may write to the directory that it is in";
        if (others_may_write(&at->st) && !user_is_us(st->st_uid))
                return "it is another user's, in a directory where all may put what they like";
        if (S_ISLNK(st->st_mode) && !user_is_us(st->st_uid))
                return "it is another user's symbolic link";
        return NULL;
}

/* Returns: 0; 1 if it is a link to be followed; a negative errno. */
static int step(const SafePath *at, const char *name, SafePath *ret, const char **ret_why) {
        _cleanup_close_ int fd = -1;
        struct stat st;
        const char *why;

        fd = openat(at->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        why = objection(at, &st);
        if (why) {
                *ret_why = why;
                return -EPERM;
        }
        *ret = (SafePath){ .owner = user_is_us(at->owner) ? st.st_uid : at->owner, .st = st };
        ret->fd = TAKE_FD(fd);
        return S_ISLNK(st.st_mode);
}

/* the whole */

static int open_root(SafePath *ret) {
        _cleanup_close_ int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        *ret = (SafePath){ .owner = st.st_uid, .st = st };
        ret->fd = TAKE_FD(fd);
        return 0;
}

/* Puts "BASE/TARGET/REST", or "TARGET/REST" where that is absolute, into @path. */
static int rewrite(
                char path[static PATH_MAX],
                const char *base,
                const char *target,
                const char *rest) {
        char text[PATH_MAX];
        int n;

        n = snprintf(text, sizeof(text), "%s/%s/%s", *target == '/' ? "" : base, target, rest);
        if (n < 0 || (size_t) n >= sizeof(text))
                return -ENAMETOOLONG;
        memcpy(path, text, (size_t) n + 1);
        return 1;
}

/* Rewrites @path, which is "BASE/LINK/REST", so that it goes where the link leads. */
static int follow(
                char path[static PATH_MAX],
                const char *base,
                const SafePath *link,
                const char *rest) {
        char target[PATH_MAX];
        ssize_t n;

        n = readlinkat(link->fd, "", target, sizeof(target));
        if (n < 0)
                return -errno;
        if ((size_t) n >= sizeof(target))
                return -ENAMETOOLONG;
        target[n] = 0;
        return rewrite(path, base, target, rest);
}

/* Rewrites "BASE/PART/../REST"; there is no link in the base. */
static int go_up(char path[static PATH_MAX], char *base, const char *rest) {
        char *slash = strrchr(base, '/');

        if (slash)
                *slash = 0;
        return rewrite(path, base, ".", rest);
}

/* Returns: 0 at the end of @path; 1 if it has been rewritten and is to be gone along anew; a negative errno. */
static int walk(char path[static PATH_MAX], SafePath *ret, const char **ret_why) {
        _cleanup_(safe_path_done) SafePath at = SAFE_PATH_NONE, next = SAFE_PATH_NONE;
        char base[PATH_MAX] = "", name[NAME_MAX + 1];
        const char *rest = path;
        int r;

        r = open_root(&at);
        if (r < 0)
                return r;
        for (rest += strspn(rest, "/"); *rest; rest += strspn(rest, "/")) {
                size_t size = strcspn(rest, "/");

                if (size >= sizeof(name))
                        return -ENAMETOOLONG;
                memcpy(name, rest, size);
                name[size] = 0;
                rest += size;
                if (str_equal(name, "."))
                        continue;
                if (str_equal(name, ".."))
                        return go_up(path, base, rest);
                r = step(&at, name, &next, ret_why);
                if (r > 0)
                        return follow(path, base, &next, rest);
                if (r < 0)
                        return r;
                (void) strcat(strcat(base, "/"), name); /* a part of @path */
                safe_path_done(&at);
                at = next;
                next.fd = -1;
        }
        *ret = at;
        at.fd = -1;
        return 0;
}

int safe_path_open(const char *path, SafePath *ret, const char **ret_why) {
        char text[PATH_MAX];

        if (*path == '/')
                *text = 0;
        else if (!getcwd(text, sizeof(text)))
                return -errno;
        if (strlen(text) + 1 + strlen(path) >= sizeof(text))
                return -ENAMETOOLONG;
        (void) strcat(strcat(text, "/"), path);
        for (unsigned i = 0; i < RESTARTS_MAX; i++) {
                int r = walk(text, ret, ret_why);

                if (r <= 0)
                        return r;
        }
        return -ELOOP;
}

int safe_path_step(
                const SafePath *at,
                const char *at_path,
                const char *name,
                SafePath *ret,
                const char **ret_why) {
        _cleanup_(safe_path_done) SafePath next = SAFE_PATH_NONE;
        char text[PATH_MAX];
        int r;

        r = str_equal(name, "..") ? 1 : step(at, name, &next, ret_why);
        if (r > 0) {
                if (snprintf(text, sizeof(text), "%s/%s", at_path, name) >= (int) sizeof(text))
                        return -ENAMETOOLONG;
                return safe_path_open(text, ret, ret_why);
        }
        if (r < 0)
                return r;
        *ret = next;
        next.fd = -1;
        return 0;
}

int safe_path_check_ours(const SafePath *p, const char **ret_why) {
        if (!user_is_us(p->owner))
                *ret_why = "it is not root's";
        else if (p->st.st_mode & (S_IWGRP | S_IWOTH))
                *ret_why = "others may write to it";
        else
                return 0;
        return -EPERM;
}
