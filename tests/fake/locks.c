/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "locks.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

static Lock *lock_free(Lock *l) {
        if (!l)
                return NULL;

        list_unlink(&l->link);
        sd_event_source_disable_unref(l->source);
        closep(&l->fd);
        free(l->what);
        free(l->who);
        free(l->why);
        free(l->sender);
        free(l);
        return NULL;
}

DEFINE_CLEANUP(Lock *, lock_free);

void locks_init(Locks *locks, sd_event *event, LocksFn on_gone, void *userdata) {
        *locks = (Locks){ .event = event, .on_gone = on_gone, .userdata = userdata };
        list_init(&locks->list);
}

void locks_clear(Locks *locks) {
        LIST_FOREACH(i, &locks->list)
        lock_free(LIST_ENTRY(i, Lock, link));
}

static int lock_on_hangup(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Lock *l = userdata;

        (void) s;
        (void) fd;
        (void) revents;

        list_unlink(&l->link);
        l->locks->on_gone(l->locks, l, l->locks->userdata);
        lock_free(l);
        return 0;
}

int locks_add(Locks *locks,
              const char *const strings[static 3],
              bool is_delay,
              Lock **ret_lock,
              int *ret_fd) {
        _cleanup_(lock_freep) Lock *l = NULL;
        _cleanup_close_ int holder = -1;
        int fds[2], r;

        l = malloc(sizeof(*l));
        if (!l)
                return -ENOMEM;
        *l = (Lock){ .locks = locks, .is_delay = is_delay, .fd = -1 };
        list_init(&l->link);

        l->what = strdup(strings[0]);
        l->who = strdup(strings[1]);
        l->why = strdup(strings[2]);
        if (!l->what || !l->who || !l->why)
                return -ENOMEM;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        l->fd = fds[0];
        holder = fds[1];

        /* EPOLLHUP is always reported; asking for nothing else keeps writes of the holder unseen */
        r = sd_event_add_io(locks->event, &l->source, l->fd, 0, lock_on_hangup, l);
        if (r < 0)
                return r;

        /* before the bus, so that a release is stamped before anything that came with it */
        (void) sd_event_source_set_priority(l->source, SD_EVENT_PRIORITY_IMPORTANT);
        list_append(&locks->list, &l->link);
        *ret_lock = TAKE_PTR(l);
        *ret_fd = TAKE_FD(holder);
        return 0;
}

bool what_contains(const char *what, const char *word) {
        size_t n = strlen(word);

        for (const char *p = what; *p; p += strcspn(p, ":"), p += *p == ':')
                if (strcspn(p, ":") == n && memcmp(p, word, n) == 0)
                        return true;
        return false;
}

unsigned locks_count(const Locks *locks, const char *what, bool is_delay) {
        unsigned n = 0;

        LIST_FOREACH(i, &locks->list) {
                const Lock *l = LIST_ENTRY(i, Lock, link);

                n += l->is_delay == is_delay && what_contains(l->what, what);
        }
        return n;
}
