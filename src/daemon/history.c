/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/history.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include "common/json-view.h"
#include "daemon/log.h"

#define RECORD_SIZE_MAX (1024 * 1024)
#define FILES_MAX 200000 /* more than that are not ours */
#define NAME_SIZE 32

static const JsonLimits record_limits = {
        .size_max = RECORD_SIZE_MAX,
        .values_max = 200000,
        .depth_max = 16,
};

typedef struct HistoryFile {
        uint64_t number;
        uint64_t size;
} HistoryFile;

struct History {
        int fd; /* the directory */
        unsigned max_records;
        uint64_t max_bytes;
        HistoryFile *files; /* sorted by number */
        size_t n, n_allocated;
        uint64_t bytes;
};

/* names */

static void record_name(char buf[static NAME_SIZE], uint64_t number, const char *suffix) {
        (void) snprintf(buf, NAME_SIZE, "%" PRIu64 ".json%s", number, suffix);
}

/* Reads "NUMBER.json" in the one way in which it is written. */
static bool record_number(const char *name, uint64_t *ret) {
        char again[NAME_SIZE];
        uint64_t number = 0;

        for (const char *s = name; *s >= '0' && *s <= '9'; s++)
                if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
                    __builtin_add_overflow(number, (uint64_t) (*s - '0'), &number))
                        return false;
        if (number == 0 || number == UINT64_MAX)
                return false;

        record_name(again, number, "");
        *ret = number;
        return str_equal(name, again);
}

/* What a killed writer left. */
static bool is_left_aside(const char *name) {
        size_t n = strlen(name);

        return n > 9 && str_equal(name + n - 9, ".json.new");
}

/* what is there */

static int history_add(History *h, uint64_t number, uint64_t size) {
        if (h->n == h->n_allocated) {
                size_t n = MAX(2 * h->n_allocated, (size_t) 16);
                HistoryFile *files = realloc(h->files, n * sizeof(*files));

                if (!files)
                        return -ENOMEM;
                h->files = files;
                h->n_allocated = n;
        }

        h->files[h->n++] = (HistoryFile){ .number = number, .size = size };
        h->bytes += size;
        return 0;
}

static void closedirp(DIR **d) {
        if (*d)
                (void) closedir(*d);
}

static int compare_files(const void *a, const void *b) {
        const HistoryFile *x = a, *y = b;

        return (x->number > y->number) - (x->number < y->number);
}

static int history_scan(History *h) {
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;
        int fd, r;

        fd = openat(h->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        d = fdopendir(fd);
        if (!d) {
                r = -errno;
                (void) close(fd);
                return r;
        }

        while ((e = readdir(d)) && h->n < FILES_MAX) { /* NOLINT(concurrency-mt-unsafe) */
                struct stat st;
                uint64_t number;

                if (is_left_aside(e->d_name))
                        (void) unlinkat(h->fd, e->d_name, 0);
                if (!record_number(e->d_name, &number) ||
                    fstatat(h->fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
                        continue;
                r = history_add(h, number, (uint64_t) st.st_size);
                if (r < 0)
                        return r;
        }
        if (h->n > 0)
                qsort(h->files, h->n, sizeof(*h->files), compare_files);
        return 0;
}

/* Lets go of the oldest records while there are too many or they are too long; of the newest only where
 * none are wanted. */
static void history_trim(History *h, unsigned max_records, uint64_t max_bytes) {
        size_t n = 0;

        while (n < h->n && (h->n - n > max_records || (h->bytes > max_bytes && n + 1 < h->n))) {
                char name[NAME_SIZE];

                record_name(name, h->files[n].number, "");
                if (unlinkat(h->fd, name, 0) < 0 && errno != ENOENT)
                        (void) log_warning_errno(-errno, "Cannot remove history record %s", name);
                h->bytes -= h->files[n].size;
                n++;
        }

        if (n == 0)
                return;
        h->n -= n;
        memmove(h->files, h->files + n, h->n * sizeof(*h->files));
}

/* lifetime */

History *history_free(History *h) {
        if (!h)
                return NULL;

        closep(&h->fd);
        free(h->files);
        free(h);
        return NULL;
}

int history_open(const char *path, unsigned max_records, uint64_t max_bytes, History **ret) {
        _cleanup_(history_freep) History *h = NULL;
        int r;

        h = malloc(sizeof(*h));
        if (!h)
                return -ENOMEM;
        *h = (History){ .fd = -1 };

        if (mkdir(path, 0755) < 0 && errno != EEXIST)
                return -errno;
        h->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (h->fd < 0)
                return -errno;
        r = history_scan(h);
        if (r < 0)
                return r;

        history_set_limits(h, max_records, max_bytes);
        *ret = TAKE_PTR(h);
        return 0;
}

void history_set_limits(History *h, unsigned max_records, uint64_t max_bytes) {
        h->max_records = max_records;
        h->max_bytes = max_bytes;
        history_trim(h, max_records, max_bytes);
}

uint64_t history_next_number(const History *h) {
        return h->n > 0 ? h->files[h->n - 1].number + 1 : 1;
}

/* writing */

static int write_all(int fd, const char *text, size_t size) {
        while (size > 0) {
                ssize_t n = write(fd, text, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                text += n;
                size -= (size_t) n;
        }
        return 0;
}

/* Puts the file in its place as a whole. */
static int record_write(int directory, uint64_t number, const char *text, size_t size) {
        char name[NAME_SIZE], aside[NAME_SIZE];
        int fd, r;

        record_name(name, number, "");
        record_name(aside, number, ".new");
        (void) unlinkat(directory, aside, 0);
        fd = openat(directory, aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0)
                return -errno;

        r = write_all(fd, text, size);
        if (close(fd) < 0 && r >= 0)
                r = -errno;
        if (r >= 0 && renameat(directory, aside, directory, name) < 0)
                r = -errno;
        if (r < 0)
                (void) unlinkat(directory, aside, 0);
        return r;
}

/* A copy of the object without its arrays and objects, which are what makes a record long. */
static int record_head(const char *json, size_t size, JsonObject **ret) {
        _cleanup_json_ JsonObject *record = NULL, *head = NULL;
        const JsonLimits generous = {
                .size_max = 64 * 1024 * 1024,
                .values_max = 2000000,
                .depth_max = 16,
        };
        int r;

        r = json_bounded_parse(json, size, &generous, &record);
        if (r < 0)
                return r;
        if (!json_object_is_type(record, json_type_object))
                return -EBADMSG;
        head = json_object_new_object();
        if (!head)
                return -ENOMEM;

        json_object_object_foreach(record, key, value) {
                if (json_object_is_type(value, json_type_array) ||
                    json_object_is_type(value, json_type_object))
                        continue;
                if (json_object_object_add(head, key, json_object_get(value)) < 0)
                        return -ENOMEM;
        }
        if (json_object_object_add(head, "truncated", json_object_new_boolean(true)) < 0)
                return -ENOMEM;
        *ret = TAKE_PTR(head);
        return 0;
}

static void history_forget_number(History *h, uint64_t number) {
        size_t n = 0;

        for (size_t i = 0; i < h->n; i++) {
                if (h->files[i].number == number)
                        h->bytes -= h->files[i].size;
                else
                        h->files[n++] = h->files[i];
        }
        h->n = n;
}

static int history_append_text(History *h, uint64_t number, const char *text) {
        size_t size = strlen(text);
        int r;

        r = record_write(h->fd, number, text, size);
        if (r < 0)
                return r;

        history_forget_number(h, number);
        r = history_add(h, number, size);
        if (r < 0)
                return r;
        if (h->n > 1 && h->files[h->n - 2].number > number)
                qsort(h->files, h->n, sizeof(*h->files), compare_files);
        history_trim(h, h->max_records, h->max_bytes);
        return 0;
}

int history_append(History *h, uint64_t number, const char *json) {
        uint64_t size_max = MIN((uint64_t) RECORD_SIZE_MAX, h->max_bytes);
        _cleanup_json_ JsonObject *head = NULL;
        const char *text;
        int r;

        if (number == 0 || number == UINT64_MAX)
                return -EINVAL;
        if (h->max_records == 0)
                return 0;
        if (strlen(json) <= size_max)
                return history_append_text(h, number, json);

        r = record_head(json, strlen(json), &head);
        if (r < 0)
                return r;
        text = json_object_to_json_string_ext(head, JSON_C_TO_STRING_PLAIN);
        return text ? history_append_text(h, number, text) : -ENOMEM;
}

/* reading */

/* Returns: 0 and the record's text; -EFBIG; -EBADMSG; another errno. */
static int record_read(int directory, const char *name, char **ret) {
        _cleanup_view_ JsonView *record = NULL;
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -1;
        struct stat st;
        ssize_t n;
        int r;

        fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EBADMSG;
        if (st.st_size > RECORD_SIZE_MAX)
                return -EFBIG;

        text = malloc((size_t) st.st_size + 1);
        if (!text)
                return -ENOMEM;
        n = read(fd, text, (size_t) st.st_size);
        if (n < 0)
                return -errno;
        text[n] = 0;

        r = json_view_parse(text, (size_t) n, &record_limits, &record);
        if (r < 0)
                return r;
        if (json_view_kind(record) != JSON_KIND_OBJECT)
                return -EBADMSG;
        *ret = TAKE_PTR(text);
        return 0;
}

int history_read(History *h, unsigned max, char ***ret) {
        _cleanup_(history_records_freep) char **records = NULL;
        size_t first = h->n > max ? h->n - max : 0, n = 0;

        records = calloc(h->n - first + 1, sizeof(*records));
        if (!records)
                return -ENOMEM;

        for (size_t i = first; i < h->n; i++) {
                char name[NAME_SIZE];
                int r;

                record_name(name, h->files[i].number, "");
                r = record_read(h->fd, name, &records[n]);
                if (r == -ENOMEM)
                        return r;
                if (r < 0)
                        (void) log_warning_errno(r, "History record %s is left out", name);
                else
                        n++;
        }

        *ret = TAKE_PTR(records);
        return 0;
}

char **history_records_free(char **records) {
        for (char **r = records; r && *r; r++)
                free(*r);
        free(records);
        return NULL;
}
