/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/mailbox.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

struct Mailbox {
        atomic_uint n_refs;
        pthread_mutex_t lock;
        List letters;
        bool is_closed;
        int fd;
        sd_event_source *io;
};

static Letter *mailbox_take(Mailbox *m) {
        Letter *l = NULL;

        (void) pthread_mutex_lock(&m->lock);
        if (!list_is_empty(&m->letters)) {
                l = LIST_ENTRY(m->letters.next, Letter, letters);
                list_unlink(&l->letters);
        }
        (void) pthread_mutex_unlock(&m->lock);
        return l;
}

static int mailbox_on_io(
                sd_event_source *s _unused_, int fd, uint32_t events _unused_, void *userdata) {
        Mailbox *m = mailbox_ref(userdata);
        uint64_t n;
        Letter *l;

        /* First the counter, then the letters: one that comes in between rings once more. */
        (void) !read(fd, &n, sizeof(n));
        while ((l = mailbox_take(m)))
                l->deliver(l);
        (void) mailbox_unref(m);
        return 0;
}

int mailbox_new(sd_event *event, Mailbox **ret) {
        Mailbox *m = malloc(sizeof(*m));
        int r;

        if (!m)
                return -ENOMEM;
        *m = (Mailbox){ .n_refs = 1, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
        (void) pthread_mutex_init(&m->lock, NULL);
        list_init(&m->letters);
        r = m->fd < 0 ? -errno : sd_event_add_io(event, &m->io, m->fd, EPOLLIN, mailbox_on_io, m);
        if (r < 0) {
                (void) mailbox_unref(m);
                return r;
        }
        (void) sd_event_source_set_description(m->io, "libvirt-mailbox");
        *ret = m;
        return 0;
}

Mailbox *mailbox_ref(Mailbox *m) {
        (void) atomic_fetch_add(&m->n_refs, 1);
        return m;
}

Mailbox *mailbox_unref(Mailbox *m) {
        if (!m || atomic_fetch_sub(&m->n_refs, 1) > 1)
                return NULL;
        sd_event_source_disable_unref(m->io);
        closep(&m->fd);
        (void) pthread_mutex_destroy(&m->lock);
        free(m);
        return NULL;
}

void mailbox_close(Mailbox *m) {
        Letter *l;

        (void) pthread_mutex_lock(&m->lock);
        m->is_closed = true;
        (void) pthread_mutex_unlock(&m->lock);
        m->io = sd_event_source_disable_unref(m->io);
        while ((l = mailbox_take(m)))
                l->drop(l);
}

void mailbox_post(Mailbox *m, Letter *l) {
        const uint64_t one = 1;
        bool is_closed;

        (void) pthread_mutex_lock(&m->lock);
        is_closed = m->is_closed;
        if (!is_closed)
                list_append(&m->letters, &l->letters);
        (void) pthread_mutex_unlock(&m->lock);
        if (is_closed)
                l->drop(l);
        else
                (void) !write(m->fd, &one, sizeof(one));
}
