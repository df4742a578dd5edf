/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/watch.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#define EVENTS_SELF (IN_DELETE_SELF | IN_MOVE_SELF)
#define EVENTS_INSIDE (IN_CREATE | IN_MOVED_TO | IN_ATTRIB)
#define EVENTS_LOST (IN_Q_OVERFLOW | IN_UNMOUNT)
#define READ_BYTES 4096

/* The kernel gives the same number for the same directory, so it need not be kept by name. */
typedef struct Directory {
        int number;
        bool is_wanted;
} Directory;

struct Watch {
        const WatchOps *ops;
        void *userdata;
        int fd;
        sd_event_source *io;
        Directory *directories;
        size_t n;
};

static int watch_on_io(sd_event_source *s, int fd, uint32_t events, void *userdata) {
        char buffer[READ_BYTES] __attribute__((aligned(__alignof__(struct inotify_event))));
        const struct inotify_event *e;
        bool matters = false;
        Watch *w = userdata;
        ssize_t size;

        (void) s;
        (void) events;
        size = read(fd, buffer, sizeof(buffer));
        for (const char *p = buffer; size > 0 && p < buffer + size; p += sizeof(*e) + e->len) {
                e = (const struct inotify_event *) (const void *) p;
                /* without a name its own mode has changed, or owner */
                if ((e->mask & (EVENTS_SELF | EVENTS_LOST)) ||
                    ((e->mask & IN_ATTRIB) && e->len == 0))
                        matters = true;
                else if (!matters && e->len > 0)
                        matters = w->ops->cares(w->userdata, e->name);
        }
        if (matters)
                w->ops->on_change(w->userdata);
        return 0;
}

int watch_new(sd_event *event,
              const char *description,
              const WatchOps *ops,
              void *userdata,
              Watch **ret) {
        _cleanup_(watch_freep) Watch *w = calloc(1, sizeof(*w));
        int r;

        if (!w)
                return -ENOMEM;
        *w = (Watch){ .ops = ops, .userdata = userdata };
        w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (w->fd < 0)
                return -errno;
        r = sd_event_add_io(event, &w->io, w->fd, EPOLLIN, watch_on_io, w);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(w->io, description);
        (void) sd_event_source_set_priority(w->io, SD_EVENT_PRIORITY_IDLE);
        *ret = TAKE_PTR(w);
        return 0;
}

Watch *watch_free(Watch *w) {
        if (!w)
                return NULL;
        sd_event_source_disable_unref(w->io);
        if (w->fd >= 0)
                (void) close(w->fd);
        free(w->directories);
        free(w);
        return NULL;
}

void watch_begin(Watch *w) {
        for (size_t i = 0; i < w->n; i++)
                w->directories[i].is_wanted = false;
}

int watch_add(Watch *w, const char *directory) {
        Directory *directories;
        int number;

        number = inotify_add_watch(w->fd, directory, EVENTS_SELF | EVENTS_INSIDE | IN_ONLYDIR);
        if (number < 0)
                return -errno;
        for (size_t i = 0; i < w->n; i++)
                if (w->directories[i].number == number) {
                        w->directories[i].is_wanted = true;
                        return 0;
                }
        directories = reallocarray(w->directories, w->n + 1, sizeof(*directories));
        if (!directories) {
                (void) inotify_rm_watch(w->fd, number);
                return -ENOMEM;
        }
        w->directories = directories;
        w->directories[w->n++] = (Directory){ .number = number, .is_wanted = true };
        return 0;
}

void watch_end(Watch *w) {
        size_t kept = 0;

        for (size_t i = 0; i < w->n; i++) {
                if (w->directories[i].is_wanted)
                        w->directories[kept++] = w->directories[i];
                else /* fails where the directory has gone, and the kernel's watch with it */
                        (void) inotify_rm_watch(w->fd, w->directories[i].number);
        }
        w->n = kept;
}
