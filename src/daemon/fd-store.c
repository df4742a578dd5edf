/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/fd-store.h"
#include <ctype.h>
#include <errno.h>
#include <systemd/sd-daemon.h>
#include "common/list.h"
#include "daemon/log.h"

struct FdStore {
        List entries;
        size_t n_entries;
        size_t names_size; /* with what is between them */
        bool is_absence_told;
};

typedef struct FdEntry {
        List list;
        char *name;
        int fd; /* handed over, and not taken yet; else -1 */
} FdEntry;

/* entries */

static int entry_add(FdStore *s, const char *name, FdEntry **ret) {
        FdEntry *e = malloc(sizeof(*e));

        if (!e)
                return -ENOMEM;
        *e = (FdEntry){ .name = strdup(name), .fd = -1 };
        if (!e->name) {
                free(e);
                return -ENOMEM;
        }
        list_append(&s->entries, &e->list);
        s->n_entries++;
        s->names_size += strlen(name) + 1;
        *ret = e;
        return 0;
}

static void entry_remove(FdStore *s, FdEntry *e) {
        s->n_entries--;
        s->names_size -= strlen(e->name) + 1;
        list_unlink(&e->list);
        if (e->fd >= 0)
                (void) close(e->fd);
        free(e->name);
        free(e);
}

/* Should it fail, the next life gives it up. */
static void store_let_go(const char *name) {
        (void) sd_notifyf(false, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

/* names */

static bool is_plain(const char *text, size_t max, const char *marks) {
        size_t n = strlen(text);

        for (size_t i = 0; i < n; i++)
                if (!isalnum((unsigned char) text[i]) && !strchr(marks, text[i]))
                        return false;
        return n > 0 && n <= max;
}

/* A plugin with a dot in its name could be mistaken for another one. */
static int name_make(const char *plugin, const char *name, char **ret) {
        if (!is_plain(plugin, FD_STORE_NAME_MAX, "_-") || !is_plain(name, FD_STORE_NAME_MAX, "_.-"))
                return -EINVAL;
        if (strlen(plugin) + strlen(name) + 1 > 255) /* systemd's limit */
                return -EINVAL;
        return asprintf(ret, "%s.%s", plugin, name) < 0 ? -ENOMEM : 0;
}

/* Returns: the entry's name without that of the plugin; NULL if it is another one's. */
static const char *name_strip(const FdEntry *e, const char *plugin) {
        size_t n = strlen(plugin);

        return strncmp(e->name, plugin, n) == 0 && e->name[n] == '.' ? e->name + n + 1 : NULL;
}

/* use */

static int store_keep(FdStore *s, const char *name, int fd) {
        _cleanup_free_ char *text = NULL;
        FdEntry *e;
        int r;

        if (s->n_entries >= FD_STORE_MAX || s->names_size + strlen(name) >= FD_STORE_NAMES_MAX)
                return -ENOSPC;
        if (asprintf(&text, "FDSTORE=1\nFDNAME=%s", name) < 0) {
                text = NULL;
                return -ENOMEM;
        }
        r = entry_add(s, name, &e);
        if (r < 0)
                return r;
        r = sd_pid_notify_with_fds(0, false, text, &fd, 1);
        if (r > 0)
                return 0;
        entry_remove(s, e);
        return r < 0 ? r : -EOPNOTSUPP;
}

int fd_store_keep(FdStore *s, const char *plugin, const char *name, int fd) {
        _cleanup_free_ char *full = NULL;
        int r;

        r = name_make(plugin, name, &full);
        if (r < 0)
                return r;
        r = store_keep(s, full, fd);
        if (r == -EOPNOTSUPP && !s->is_absence_told) {
                s->is_absence_told = true;
                log_info("There is no service manager that would keep descriptors for the next start");
        }
        return r;
}

void fd_store_drop(FdStore *s, const char *plugin, const char *name) {
        _cleanup_free_ char *full = NULL;
        size_t n = s->n_entries;

        if (name_make(plugin, name, &full) < 0)
                return;
        LIST_FOREACH(i, &s->entries) {
                FdEntry *e = LIST_ENTRY(i, FdEntry, list);

                if (str_equal(e->name, full))
                        entry_remove(s, e);
        }
        if (s->n_entries < n)
                store_let_go(full);
}

static FdEntry *store_first_of(const FdStore *s, const char *plugin) {
        LIST_FOREACH(i, &s->entries) {
                FdEntry *e = LIST_ENTRY(i, FdEntry, list);

                if (e->fd >= 0 && name_strip(e, plugin))
                        return e;
        }
        return NULL;
}

void fd_store_hand_out(FdStore *s, const char *plugin, FdStoreFn fn, void *userdata) {
        FdEntry *e;

        /* From the beginning each time: @fn may drop any of them. */
        while ((e = store_first_of(s, plugin))) {
                _cleanup_free_ char *name = strdup(name_strip(e, plugin));

                if (!name)
                        return;
                fn(userdata, name, TAKE_FD(e->fd));
        }
}

size_t fd_store_settle(FdStore *s) {
        size_t n = s->n_entries;

        LIST_FOREACH(i, &s->entries) {
                FdEntry *e = LIST_ENTRY(i, FdEntry, list);

                if (e->fd < 0)
                        continue;
                store_let_go(e->name);
                entry_remove(s, e);
        }
        return n - s->n_entries;
}

/* lifetime */

int fd_store_new(FdStore **ret) {
        _cleanup_(fd_store_freep) FdStore *s = calloc(1, sizeof(*s));
        char **names = NULL;
        int n, r = 0;

        if (!s)
                return -ENOMEM;
        list_init(&s->entries);
        n = sd_listen_fds_with_names(true, &names);
        if (n < 0)
                (void) log_warning_errno(n, "What was kept for this start is lost");
        for (int i = 0; i < n; i++) {
                FdEntry *e;

                if (r >= 0)
                        r = entry_add(s, names[i], &e);
                if (r >= 0)
                        e->fd = SD_LISTEN_FDS_START + i;
                else
                        (void) close(SD_LISTEN_FDS_START + i);
                free(names[i]);
        }
        free(names);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

FdStore *fd_store_free(FdStore *s) {
        if (!s)
                return NULL;
        LIST_FOREACH(i, &s->entries)
        entry_remove(s, LIST_ENTRY(i, FdEntry, list));
        free(s);
        return NULL;
}
