/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/event-loop.h"
#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/list.h"
#include "common/macro.h"
#include "common/time-util.h"
#include "plugins/libvirt/thread.h"

/* A handle or a timer of libvirt's. What is removed is freed by the loop, which may be calling it. */
typedef struct Source {
        List sources;
        int id;
        int fd; /* -1: a timer */
        short poll_events;
        int64_t period_ns; /* of a timer; negative: it is off */
        int64_t due_ns;
        bool is_removed;
        union {
                virEventHandleCallback on_handle;
                virEventTimeoutCallback on_timer;
        } fn;
        void *opaque;
        virFreeCallback free;
} Source;

static struct {
        pthread_mutex_t lock;
        List sources;
        size_t n;
        int last_id;
        int wake_fd;
        struct pollfd *fds; /* the loop's alone, as the next two */
        int *ids;
        size_t n_fds_max;
} loop = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake_fd = -1 };

static _Thread_local int is_served_here;

/* libvirt's view: from any thread */

static void loop_wake(void) {
        const uint64_t one = 1;

        (void) !write(loop.wake_fd, &one, sizeof(one));
}

static short poll_events_of(int events) {
        return (short) ((events & VIR_EVENT_HANDLE_READABLE ? POLLIN : 0) |
                        (events & VIR_EVENT_HANDLE_WRITABLE ? POLLOUT : 0));
}

static int handle_events_of(short events) {
        return (events & POLLIN ? VIR_EVENT_HANDLE_READABLE : 0) |
               (events & POLLOUT ? VIR_EVENT_HANDLE_WRITABLE : 0) |
               (events & POLLERR ? VIR_EVENT_HANDLE_ERROR : 0) |
               (events & POLLHUP ? VIR_EVENT_HANDLE_HANGUP : 0);
}

/* Takes over @s, or frees it. Returns: its id; -1. */
static int loop_add(Source *s) {
        int id;

        if (!is_served_here) {
                free(s);
                return -1;
        }
        (void) pthread_mutex_lock(&loop.lock);
        id = s->id = ++loop.last_id;
        list_append(&loop.sources, &s->sources);
        loop.n++;
        (void) pthread_mutex_unlock(&loop.lock);
        loop_wake();
        return id;
}

/* Under the lock. */
static Source *loop_find(int id) {
        LIST_FOREACH(i, &loop.sources) {
                Source *s = LIST_ENTRY(i, Source, sources);

                if (s->id == id && !s->is_removed)
                        return s;
        }
        return NULL;
}

static int add_handle(
                int fd,
                int events,
                virEventHandleCallback fn,
                void *opaque,
                virFreeCallback free_fn) {
        Source *s = calloc(1, sizeof(*s));

        if (!s)
                return -1;
        *s = (Source){
                .fd = fd,
                .poll_events = poll_events_of(events),
                .fn.on_handle = fn,
                .opaque = opaque,
                .free = free_fn,
        };
        return loop_add(s);
}

static void update_handle(int id, int events) {
        Source *s;

        (void) pthread_mutex_lock(&loop.lock);
        s = loop_find(id);
        if (s)
                s->poll_events = poll_events_of(events);
        (void) pthread_mutex_unlock(&loop.lock);
        loop_wake();
}

static int remove_source(int id) {
        Source *s;

        (void) pthread_mutex_lock(&loop.lock);
        s = loop_find(id);
        if (s)
                s->is_removed = true;
        (void) pthread_mutex_unlock(&loop.lock);
        loop_wake();
        return s ? 0 : -1;
}

static void source_set_period(Source *s, int msec) {
        s->period_ns = msec < 0 ? -1 : msec * NSEC_PER_MSEC;
        s->due_ns = clock_now_ns(CLOCK_MONOTONIC) + s->period_ns;
}

static int add_timer(int msec, virEventTimeoutCallback fn, void *opaque, virFreeCallback free_fn) {
        Source *s = calloc(1, sizeof(*s));

        if (!s)
                return -1;
        *s = (Source){ .fd = -1, .fn.on_timer = fn, .opaque = opaque, .free = free_fn };
        source_set_period(s, msec);
        return loop_add(s);
}

static void update_timer(int id, int msec) {
        Source *s;

        (void) pthread_mutex_lock(&loop.lock);
        s = loop_find(id);
        if (s)
                source_set_period(s, msec);
        (void) pthread_mutex_unlock(&loop.lock);
        loop_wake();
}

/* the loop */

/* Frees what was removed, without the lock: libvirt may come back from there. */
static void loop_bury(void) {
        List dead = LIST_INIT(dead);

        (void) pthread_mutex_lock(&loop.lock);
        LIST_FOREACH(i, &loop.sources) {
                if (!LIST_ENTRY(i, Source, sources)->is_removed)
                        continue;
                list_unlink(i);
                list_append(&dead, i);
                loop.n--;
        }
        (void) pthread_mutex_unlock(&loop.lock);
        LIST_FOREACH(i, &dead) {
                Source *s = LIST_ENTRY(i, Source, sources);

                if (s->free)
                        s->free(s->opaque);
                free(s);
        }
}

/* Room for all and for the eventfd. Under the lock. Returns: false without memory. */
static bool loop_reserve(void) {
        size_t n = (loop.n + 1) * 2;
        struct pollfd *fds;
        int *ids;

        if (loop.n + 1 <= loop.n_fds_max)
                return true;
        fds = reallocarray(loop.fds, n, sizeof(*fds));
        if (!fds)
                return false;
        loop.fds = fds;
        ids = reallocarray(loop.ids, n, sizeof(*ids));
        if (!ids)
                return false;
        loop.ids = ids;
        loop.n_fds_max = n;
        return true;
}

/* What is to be polled, and for how long at most. Returns: how many. */
static size_t loop_collect(int *ret_msec) {
        int64_t now_ns = clock_now_ns(CLOCK_MONOTONIC), next_ns = INT64_MAX;
        size_t n = 0;

        (void) pthread_mutex_lock(&loop.lock);
        if (loop_reserve()) {
                loop.ids[n] = 0;
                loop.fds[n++] = (struct pollfd){ .fd = loop.wake_fd, .events = POLLIN };
                LIST_FOREACH(i, &loop.sources) {
                        const Source *s = LIST_ENTRY(i, Source, sources);

                        if (s->fd < 0 && s->period_ns >= 0)
                                next_ns = MIN(next_ns, s->due_ns);
                        if (s->fd < 0 || s->poll_events == 0)
                                continue;
                        loop.ids[n] = s->id;
                        loop.fds[n++] = (struct pollfd){ .fd = s->fd, .events = s->poll_events };
                }
        }
        (void) pthread_mutex_unlock(&loop.lock);
        *ret_msec = next_ns == INT64_MAX ? -1
                                         : (int) ((MAX(next_ns - now_ns, INT64_C(0)) +
                                                   NSEC_PER_MSEC - 1) /
                                                  NSEC_PER_MSEC);
        return n;
}

static void loop_call_handle(const struct pollfd *p, int id) {
        Source s = { .fn.on_handle = NULL };
        const Source *found;

        (void) pthread_mutex_lock(&loop.lock);
        found = loop_find(id);
        if (found)
                s = *found;
        (void) pthread_mutex_unlock(&loop.lock);
        if (s.fn.on_handle)
                s.fn.on_handle(id, p->fd, handle_events_of(p->revents), s.opaque);
}

/* The first timer that is due, set to its next time. Returns: false if none is. */
static bool loop_take_due(Source *ret) {
        int64_t now_ns = clock_now_ns(CLOCK_MONOTONIC);
        bool is_due = false;

        (void) pthread_mutex_lock(&loop.lock);
        LIST_FOREACH(i, &loop.sources) {
                Source *s = LIST_ENTRY(i, Source, sources);

                if (is_due || s->fd >= 0 || s->is_removed || s->period_ns < 0 || s->due_ns > now_ns)
                        continue;
                s->due_ns = now_ns + MAX(s->period_ns, NSEC_PER_MSEC);
                *ret = *s;
                is_due = true;
        }
        (void) pthread_mutex_unlock(&loop.lock);
        return is_due;
}

static void *loop_run(void *userdata _unused_) {
        for (;;) {
                Source timer;
                uint64_t count;
                size_t n;
                int msec;

                loop_bury();
                n = loop_collect(&msec);
                (void) poll(loop.fds, n, n > 0 ? msec : 100);
                if (n > 0 && loop.fds[0].revents)
                        (void) !read(loop.wake_fd, &count, sizeof(count));
                for (size_t i = 1; i < n; i++)
                        if (loop.fds[i].revents)
                                loop_call_handle(&loop.fds[i], loop.ids[i]);
                while (loop_take_due(&timer))
                        timer.fn.on_timer(timer.id, timer.opaque);
        }
        return NULL;
}

/* libvirt prints each error to stderr, unless somebody takes it. */
static void take_error(void *userdata _unused_, virErrorPtr error _unused_) {
}

int event_loop_start(void) {
        static bool is_started; /* the daemon's loop's alone, as all calls of a plugin are */
        int r;

        if (is_started)
                return 0;
        if (loop.wake_fd < 0) {
                loop.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                if (loop.wake_fd < 0)
                        return -errno;
                list_init(&loop.sources);
                virSetErrorFunc(NULL, take_error);
                virEventRegisterImpl(
                                add_handle,
                                update_handle,
                                remove_source,
                                add_timer,
                                update_timer,
                                remove_source);
        }
        r = thread_start(loop_run, NULL, "libvirt-events");
        is_started = r >= 0;
        return r;
}

void event_loop_serve(int is_served) {
        is_served_here = is_served;
}
