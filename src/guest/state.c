/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/state.h"
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "guest/util.h"

#define HEAD "suspend-guest 1"
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

/* Numbers that are signed are times. */
typedef struct Field {
        const char *name;
        size_t offset;
        bool is_signed;
} Field;

#define UNSIGNED(_name) \
        { #_name, offsetof(Ledger, _name), false }
#define SIGNED(_name) \
        { #_name, offsetof(Ledger, _name), true }

static const Field fields[] = {
        UNSIGNED(epoch),
        UNSIGNED(publishings),
        UNSIGNED(cycles),
        UNSIGNED(applied_ns),
        UNSIGNED(refused_ns),
        UNSIGNED(seen_ns),
        SIGNED(wall_ns),
        SIGNED(pending_ns),
        SIGNED(looked_boottime_ns),
        SIGNED(rest),
        SIGNED(is_open),
        SIGNED(base_host_boottime_ns),
        SIGNED(base_boottime_ns),
        SIGNED(base_slept_ns),
};

static void *field_of(Ledger *l, const Field *f) {
        return (uint8_t *) l + f->offset;
}

static ssize_t read_file(const char *path, char *buf, size_t size) {
        _cleanup_close_ int fd =
                        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
        ssize_t n;

        if (fd < 0)
                return -errno;
        n = read(fd, buf, size - 1);
        if (n < 0)
                return -errno;
        buf[n] = 0;
        return n;
}

/* the folder */

void state_peek(State *s, const char *directory) {
        ssize_t n;

        *s = (State){ .directory = directory, .lock_fd = -1 };
        n = read_file(BOOT_ID, s->boot_id, sizeof(s->boot_id));
        if (n <= 0)
                s->boot_id[0] = 0;
        s->boot_id[strcspn(s->boot_id, "\n")] = 0;
}

int state_open(State *s, const char *directory) {
        char path[PATH_MAX];

        state_peek(s, directory);
        s->directory = NULL;
        if (mkdir(directory, 0700) < 0 && errno != EEXIST)
                return -errno;
        (void) snprintf(path, sizeof(path), "%s/lock", directory);
        s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (s->lock_fd < 0)
                return -errno;
        if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                int r = errno == EWOULDBLOCK ? -EBUSY : -errno;

                state_close(s);
                return r;
        }
        s->directory = directory;
        return 0;
}

void state_close(State *s) {
        closep(&s->lock_fd);
        s->directory = NULL;
}

/* reading */

static bool read_number(const char *text, const Field *f, Ledger *l) {
        char *end;

        errno = 0;
        if (f->is_signed) {
                intmax_t v = strtoimax(text, &end, 10);

                *(int64_t *) field_of(l, f) = v;
                return errno == 0 && end != text && *end == 0 && v >= -STATE_NS_MAX &&
                       v <= STATE_NS_MAX;
        }
        *(uint64_t *) field_of(l, f) = strtoumax(text, &end, 10);
        return errno == 0 && end != text && *end == 0 && *text != '-';
}

static bool read_line(char *line, size_t i, const char *boot_id, Ledger *l, bool *ret_is_old) {
        size_t length;

        if (i == 0)
                return strcmp(line, HEAD) == 0;
        if (i == 1) {
                *ret_is_old = strncmp(line, "boot ", 5) != 0 || strcmp(line + 5, boot_id) != 0;
                return true;
        }
        if (i - 2 >= ARRAY_LEN(fields))
                return false;
        length = strlen(fields[i - 2].name);
        return strncmp(line, fields[i - 2].name, length) == 0 && line[length] == ' ' &&
               read_number(line + length + 1, &fields[i - 2], l);
}

int state_parse(char *text, const char *boot_id, Ledger *l) {
        size_t i = 0;

        for (char *line = text, *next; *line; line = next, i++) {
                bool is_old = false;

                next = strchr(line, '\n');
                if (!next)
                        return -EBADMSG;
                *next++ = 0;
                if (!read_line(line, i, boot_id, l, &is_old))
                        return -EBADMSG;
                if (is_old)
                        return 0;
        }
        if (i != ARRAY_LEN(fields) + 2 || l->rest < 0 || l->rest >= LEDGER_REST_MAX ||
            l->refused_ns > l->applied_ns)
                return -EBADMSG;
        return 1;
}

int state_load(const State *s, Ledger *ret, bool *ret_is_damaged) {
        char path[PATH_MAX], text[STATE_MAX_BYTES];
        Ledger l = { 0 };
        ssize_t n;
        int r;

        *ret = (Ledger){ 0 };
        *ret_is_damaged = false;
        if (!s->directory)
                return 0;
        (void) snprintf(path, sizeof(path), "%s/state", s->directory);
        n = read_file(path, text, sizeof(text));
        if (n == -ENOENT)
                return 0;
        r = n < 0 || strlen(text) != (size_t) n ? -EBADMSG : state_parse(text, s->boot_id, &l);
        *ret_is_damaged = r < 0;
        if (r != 1)
                return 0;
        *ret = l;
        return 1;
}

/* writing */

size_t state_print(char *text, size_t size, const char *boot_id, const Ledger *l) {
        size_t n = (size_t) snprintf(text, size, HEAD "\nboot %s\n", boot_id);

        for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
                const uint8_t *at = (const uint8_t *) l + fields[i].offset;
                const char *name = fields[i].name;

                if (fields[i].is_signed)
                        n += (size_t) snprintf(
                                        text + n,
                                        size - n,
                                        "%s %" PRId64 "\n",
                                        name,
                                        *(const int64_t *) (const void *) at);
                else
                        n += (size_t) snprintf(
                                        text + n,
                                        size - n,
                                        "%s %" PRIu64 "\n",
                                        name,
                                        *(const uint64_t *) (const void *) at);
        }
        return n;
}

int state_save(const State *s, const Ledger *l) {
        char path[PATH_MAX], new_path[PATH_MAX], text[STATE_MAX_BYTES];
        _cleanup_close_ int fd = -1;
        size_t size;

        if (!s->directory)
                return 0;
        (void) snprintf(path, sizeof(path), "%s/state", s->directory);
        (void) snprintf(new_path, sizeof(new_path), "%s/state.new", s->directory);
        fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        size = state_print(text, sizeof(text), s->boot_id, l);
        errno = EIO;
        if (write(fd, text, size) != (ssize_t) size || rename(new_path, path) < 0)
                return -errno;
        return 0;
}
