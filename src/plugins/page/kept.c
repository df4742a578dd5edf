/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/kept.h"
#include <errno.h>
#include "common/list.h"

#define NAME_MAX_CHARS 200 /* the host's limit */

struct Kept {
        const struct suspendd_host *host;
        List restored;
};

typedef struct KeptFd {
        List list;
        char *page;
        KeptKind kind;
        uint16_t id;
        int fd;
} KeptFd;

/* names */

static int name_format(
                char name[static NAME_MAX_CHARS + 1],
                const char *page,
                KeptKind kind,
                uint16_t id) {
        char number[8] = "";
        int n;

        if (kind != KEPT_SOCKET)
                (void) snprintf(number, sizeof(number), "%u", id);
        n = snprintf(name, NAME_MAX_CHARS + 1, "%s.%c%s", page, kind, number);
        return n > NAME_MAX_CHARS ? -ENAMETOOLONG : 0;
}

/* Reads what is behind the last dot. Returns: 0; -EINVAL. */
static int suffix_parse(const char *text, KeptKind *ret_kind, uint16_t *ret_id) {
        unsigned id = 0;
        size_t end;

        if (text[0] == KEPT_SOCKET && text[1] == '\0') {
                *ret_kind = KEPT_SOCKET;
                *ret_id = 0;
                return 0;
        }
        if (text[0] != KEPT_CONNECTION && text[0] != KEPT_EVENTFD)
                return -EINVAL;
        for (end = 1; text[end] >= '0' && text[end] <= '9' && id <= UINT16_MAX; end++)
                id = id * 10 + (unsigned) (text[end] - '0');
        if (end == 1 || text[end] != '\0' || id > UINT16_MAX)
                return -EINVAL;
        *ret_kind = (KeptKind) text[0];
        *ret_id = (uint16_t) id;
        return 0;
}

/* one of the last life */

static KeptFd *kept_fd_free(KeptFd *f) {
        if (!f)
                return NULL;
        list_unlink(&f->list);
        if (f->fd >= 0)
                (void) close(f->fd);
        free(f->page);
        free(f);
        return NULL;
}

DEFINE_CLEANUP(KeptFd *, kept_fd_free);

bool kept_restore(Kept *k, const char *fd_name, int fd) {
        _cleanup_(kept_fd_freep) KeptFd *f = NULL;
        const char *dot = strrchr(fd_name, '.');
        KeptKind kind;
        uint16_t id;

        if (!dot || dot == fd_name || suffix_parse(dot + 1, &kind, &id) < 0)
                return false;
        f = malloc(sizeof(*f));
        if (!f)
                return false;
        *f = (KeptFd){
                .page = strndup(fd_name, (size_t) (dot - fd_name)), .kind = kind, .id = id, .fd = -1
        };
        list_init(&f->list);
        if (!f->page)
                return false;
        f->fd = fd;
        list_append(&k->restored, &f->list);
        f = NULL;
        return true;
}

int kept_take(Kept *k, const char *page, KeptKind kind, uint16_t id) {
        LIST_FOREACH(i, &k->restored) {
                KeptFd *f = LIST_ENTRY(i, KeptFd, list);
                int fd;

                if (f->kind != kind || f->id != id || !str_equal(f->page, page))
                        continue;
                fd = TAKE_FD(f->fd);
                kept_fd_free(f);
                return fd;
        }
        return -ENOENT;
}

int kept_next_peer(const Kept *k, const char *page) {
        LIST_FOREACH(i, &k->restored) {
                const KeptFd *f = LIST_ENTRY(i, KeptFd, list);

                if (f->kind == KEPT_CONNECTION && str_equal(f->page, page))
                        return f->id;
        }
        return -ENOENT;
}

size_t kept_settle(Kept *k, const char *page) {
        size_t n = 0;

        LIST_FOREACH(i, &k->restored) {
                KeptFd *f = LIST_ENTRY(i, KeptFd, list);

                if (page && !str_equal(f->page, page))
                        continue;
                kept_drop(k, f->page, f->kind, f->id);
                kept_fd_free(f);
                n++;
        }
        return n;
}

/* for the next life */

int kept_add(Kept *k, const char *page, KeptKind kind, uint16_t id, int fd) {
        char name[NAME_MAX_CHARS + 1];
        int r;

        r = name_format(name, page, kind, id);
        return r < 0 ? r : k->host->keep_fd(k->host, name, fd);
}

void kept_drop(Kept *k, const char *page, KeptKind kind, uint16_t id) {
        char name[NAME_MAX_CHARS + 1];

        if (name_format(name, page, kind, id) >= 0)
                k->host->drop_fd(k->host, name);
}

/* lifetime */

int kept_new(const struct suspendd_host *host, Kept **ret) {
        Kept *k = malloc(sizeof(*k));

        if (!k)
                return -ENOMEM;
        *k = (Kept){ .host = host };
        list_init(&k->restored);
        *ret = k;
        return 0;
}

Kept *kept_free(Kept *k) {
        if (!k)
                return NULL;
        LIST_FOREACH(i, &k->restored)
        kept_fd_free(LIST_ENTRY(i, KeptFd, list));
        free(k);
        return NULL;
}
