/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config-files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "common/safe-path.h"

#define MAIN_FILE "suspendd.conf"

const char *const config_directories[] = {
        "/etc/suspendd",
        "/run/suspendd",
        "/usr/lib/suspendd",
        NULL,
};

/* paths found so far; n does not count the NULL at the end */
typedef struct FileList {
        char **paths;
        size_t n;
} FileList;

char **config_files_free(char **files) {
        for (char **f = files; f && *f; f++)
                free(*f);
        free(files);
        return NULL;
}

static const char *base_name(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static bool file_list_has_name(const FileList *l, const char *name) {
        for (size_t i = 0; i < l->n; i++)
                if (str_equal(base_name(l->paths[i]), name))
                        return true;
        return false;
}

static int file_list_add(FileList *l, const char *directory, const char *name) {
        char *path, **paths;

        paths = realloc(l->paths, (l->n + 2) * sizeof(*paths));
        if (!paths)
                return -ENOMEM;
        l->paths = paths;

        if (asprintf(&path, "%s/%s", directory, name) < 0) {
                paths[l->n] = NULL;
                return -ENOMEM;
        }
        paths[l->n++] = path;
        paths[l->n] = NULL;
        return 0;
}

static bool is_drop_in(const char *name) {
        size_t n = strlen(name);

        return name[0] != '.' && n > 5 && str_equal(name + n - 5, ".conf");
}

static void closedirp(DIR **d) {
        if (*d)
                (void) closedir(*d);
}

static int add_drop_ins(FileList *l, const char *directory) {
        _cleanup_(closedirp) DIR *d = NULL;
        _cleanup_free_ char *path = NULL;
        const struct dirent *e;

        if (asprintf(&path, "%s/" MAIN_FILE ".d", directory) < 0) {
                path = NULL;
                return -ENOMEM;
        }

        /* A directory that cannot be read has no drop-ins, as one that is not there. */
        d = opendir(path);
        while (d && (e = readdir(d))) { /* NOLINT(concurrency-mt-unsafe): the stream is ours */
                int r;

                if (!is_drop_in(e->d_name) || file_list_has_name(l, e->d_name))
                        continue;
                r = file_list_add(l, path, e->d_name);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(base_name(*(char *const *) a), base_name(*(char *const *) b));
}

static int add_main_file(FileList *l, const char *const *directories) {
        for (const char *const *d = directories; *d; d++) {
                _cleanup_free_ char *path = NULL;

                if (asprintf(&path, "%s/" MAIN_FILE, *d) < 0) {
                        path = NULL;
                        return -ENOMEM;
                }
                if (access(path, F_OK) >= 0)
                        return file_list_add(l, *d, MAIN_FILE);
        }

        return 0;
}

int config_files_list(const char *const *directories, char ***ret) {
        _cleanup_(config_files_freep) char **paths = NULL;
        FileList drop_ins = { 0 }, list = { 0 };
        char **all;
        int r = 0;

        for (const char *const *d = directories; *d && r >= 0; d++)
                r = add_drop_ins(&drop_ins, *d);
        paths = drop_ins.paths;
        if (r < 0)
                return r;
        if (drop_ins.n > 0)
                qsort(paths, drop_ins.n, sizeof(*paths), compare_names);

        r = add_main_file(&list, directories);
        if (r < 0) {
                config_files_free(list.paths);
                return r;
        }

        all = realloc(list.paths, (list.n + drop_ins.n + 1) * sizeof(*all));
        if (!all) {
                config_files_free(list.paths);
                return -ENOMEM;
        }
        if (drop_ins.n > 0)
                memcpy(all + list.n, paths, drop_ins.n * sizeof(*all));
        all[list.n + drop_ins.n] = NULL;
        free(TAKE_PTR(paths)); /* the array alone, the strings have moved */
        *ret = all;
        return 0;
}

static int file_check(const SafePath *file, size_t *ret_size, const char **ret_why) {
        const struct stat *st = &file->st;

        if (S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3)) {
                *ret_size = 0;
                return 0;
        }
        if (!S_ISREG(st->st_mode))
                return -EINVAL;
        if (st->st_size > CONFIG_FILE_SIZE_MAX)
                return -EFBIG;
        *ret_size = (size_t) st->st_size;
        return safe_path_check_ours(file, ret_why);
}

int config_file_read(const char *path, char **ret_text, size_t *ret_size, const char **ret_why) {
        _cleanup_(safe_path_done) SafePath file = SAFE_PATH_NONE;
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -1;
        size_t size = 0, n = 0;
        SafePathName name;
        int r;

        r = safe_path_open(path, &file, ret_why);
        if (r >= 0)
                r = file_check(&file, &size, ret_why);
        if (r < 0)
                return r;
        name = safe_path_name(&file);
        fd = open(name.text, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;

        text = malloc(size + 1);
        if (!text)
                return -ENOMEM;
        while (n < size) {
                ssize_t k = read(fd, text + n, size - n);

                if (k < 0 && errno != EINTR)
                        return -errno;
                if (k == 0)
                        break;
                n += k > 0 ? (size_t) k : 0;
        }

        text[n] = 0;
        *ret_text = TAKE_PTR(text);
        *ret_size = n;
        return 0;
}
