/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/inhibitor.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <systemd/sd-event.h>
#include <time.h>
#include "common/text-escape.h"
#include "common/time-util.h"
#include "daemon/log.h"
#include "daemon/login1-bus.h"

#define PAUSE_MIN_USEC (250 * USEC_PER_MSEC)
#define PAUSE_MAX_USEC (30 * USEC_PER_SEC)

struct Inhibitor {
        sd_bus *bus;
        char *mode;
        InhibitorFn on_taken;
        void *userdata;
        char why[INHIBITOR_WHY_MAX]; /* what the lock is wanted for; empty: it is not wanted */
        int fd;                      /* the FIFO's end that is ours, or -1 */
        sd_bus_slot *call;           /* Inhibit(), not answered yet */
        sd_bus_slot *barrier;        /* what a logind that came back has not answered yet */
        sd_event_source *
                        retry; /* to the next try; had in advance, for that may be for lack of memory */
        uint64_t pause_usec;
        bool is_refusal_told;
};

static void inhibitor_ask(Inhibitor *i);

/* the FIFO */

/* Whether somebody has the other end open. */
static bool fifo_is_read(int fd) {
        struct pollfd p = { .fd = fd };

        return poll(&p, 1, 0) >= 0 && !(p.revents & (POLLERR | POLLHUP | POLLNVAL));
}

/* asking */

static int on_retry(sd_event_source *s, uint64_t usec, void *userdata) {
        Inhibitor *i = userdata;

        (void) s;
        (void) usec;
        inhibitor_ask(i);
        return 0;
}

static void inhibitor_retry_later(Inhibitor *i) {
        (void) sd_event_source_set_time_relative(i->retry, i->pause_usec);
        (void) sd_event_source_set_enabled(i->retry, SD_EVENT_ONESHOT);
        i->pause_usec = MIN(2 * i->pause_usec, PAUSE_MAX_USEC);
}

static void inhibitor_retry_never(Inhibitor *i) {
        (void) sd_event_source_set_enabled(i->retry, SD_EVENT_OFF);
}

static int inhibitor_make_retry(Inhibitor *i) {
        int r;

        r = sd_event_add_time(
                        sd_bus_get_event(i->bus), &i->retry, CLOCK_MONOTONIC, 0, 1, on_retry, i);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(i->retry, "inhibitor-retry");
        return sd_event_source_set_enabled(i->retry, SD_EVENT_OFF);
}

/* Tells a refusal once, and asks again later. */
static void inhibitor_refused(Inhibitor *i, int error) {
        inhibitor_retry_later(i);
        if (i->is_refusal_told)
                return;

        i->is_refusal_told = true;
        i->on_taken(i, error, i->userdata);
}

/* The lock's FIFO belongs to the message that brought it. Returns: our own; a negative errno. */
static int read_lock(sd_bus_message *m) {
        int fd, r;

        if (sd_bus_message_is_method_error(m, NULL)) {
                r = -sd_bus_message_get_errno(m);
                (void) log_debug(
                                "logind refuses the lock: %s",
                                sd_bus_message_get_error(m)->message);
                return r < 0 ? r : -EIO;
        }

        r = sd_bus_message_read(m, "h", &fd);
        if (r < 0)
                return r;
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return fd < 0 ? -errno : fd;
}

static int on_inhibit(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Inhibitor *i = userdata;
        int fd;

        (void) error;
        i->call = sd_bus_slot_unref(i->call);
        fd = read_lock(m);
        if (fd < 0) {
                inhibitor_refused(i, fd);
                return 0;
        }

        closep(&i->fd); /* the one that said something else */
        i->fd = fd;
        i->pause_usec = PAUSE_MIN_USEC;
        i->is_refusal_told = false;
        i->on_taken(i, 0, i->userdata);
        return 0;
}

static void inhibitor_ask(Inhibitor *i) {
        int r;

        inhibitor_retry_never(i);
        r = sd_bus_call_method_async(
                        i->bus,
                        &i->call,
                        LOGIN1_NAME,
                        LOGIN1_PATH,
                        LOGIN1_MANAGER,
                        "Inhibit",
                        on_inhibit,
                        i,
                        "ssss",
                        "sleep",
                        "suspendd",
                        i->why,
                        i->mode);
        if (r < 0) {
                (void) log_error_errno(r, "Cannot ask logind for the %s lock", i->mode);
                inhibitor_retry_later(i);
        }
}

/* a logind that comes back */

/* It has answered, so it has opened all FIFOs again that it knows of. */
static int on_barrier(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Inhibitor *i = userdata;

        (void) error;
        i->barrier = sd_bus_slot_unref(i->barrier);
        /* Gone again: the next change of owner tells. */
        if (sd_bus_message_is_method_error(m, NULL) || i->fd < 0 || fifo_is_read(i->fd))
                return 0;

        (void) log_warning("logind came back without our %s lock: taking it anew", i->mode);
        closep(&i->fd);
        if (!i->call)
                inhibitor_ask(i);
        return 0;
}

/* lifetime */

int inhibitor_new(
                sd_bus *bus,
                const char *mode,
                InhibitorFn on_taken,
                void *userdata,
                Inhibitor **ret) {
        _cleanup_(inhibitor_freep) Inhibitor *i = NULL;
        int r;

        i = malloc(sizeof(*i));
        if (!i)
                return -ENOMEM;
        *i = (Inhibitor){
                .bus = sd_bus_ref(bus),
                .on_taken = on_taken,
                .userdata = userdata,
                .fd = -1,
                .pause_usec = PAUSE_MIN_USEC,
        };
        i->mode = strdup(mode);
        if (!i->mode)
                return -ENOMEM;
        r = inhibitor_make_retry(i);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(i);
        return 0;
}

Inhibitor *inhibitor_free(Inhibitor *i) {
        if (!i)
                return NULL;

        inhibitor_drop(i);
        sd_event_source_disable_unref(i->retry);
        sd_bus_unref(i->bus);
        free(i->mode);
        free(i);
        return NULL;
}

/* the lock */

int inhibitor_take(Inhibitor *i, const char *why) {
        if (*i->why) {
                /* Refused until now, and whoever wants it now has seen something change. */
                if (sd_event_source_get_enabled(i->retry, NULL) > 0) {
                        i->pause_usec = PAUSE_MIN_USEC;
                        inhibitor_ask(i);
                }
                return -EALREADY;
        }
        if (sd_bus_is_open(i->bus) <= 0)
                return -ENOTCONN;

        (void) text_cut(i->why, sizeof(i->why), why);
        inhibitor_ask(i);
        return 0;
}

int inhibitor_reword(Inhibitor *i, const char *why) {
        if (!*i->why)
                return inhibitor_take(i, why);
        if (sd_bus_is_open(i->bus) <= 0)
                return -ENOTCONN;

        (void) text_cut(i->why, sizeof(i->why), why);
        i->call = sd_bus_slot_unref(i->call);
        i->pause_usec = PAUSE_MIN_USEC;
        inhibitor_ask(i);
        return 0;
}

void inhibitor_drop(Inhibitor *i) {
        closep(&i->fd);
        i->call = sd_bus_slot_unref(i->call);
        i->barrier = sd_bus_slot_unref(i->barrier);
        inhibitor_retry_never(i);
        i->pause_usec = PAUSE_MIN_USEC;
        i->is_refusal_told = false;
        *i->why = '\0';
}

void inhibitor_on_logind_came(Inhibitor *i) {
        int r;

        if (!*i->why)
                return;
        if (i->fd < 0) {
                i->pause_usec = PAUSE_MIN_USEC;
                if (!i->call)
                        inhibitor_ask(i);
                return;
        }

        /* It owns its name before it has opened the FIFOs: what it answers comes after. */
        i->barrier = sd_bus_slot_unref(i->barrier);
        r = sd_bus_call_method_async(
                        i->bus,
                        &i->barrier,
                        LOGIN1_NAME,
                        LOGIN1_PATH,
                        LOGIN1_MANAGER,
                        "ListInhibitors",
                        on_barrier,
                        i,
                        NULL);
        if (r < 0)
                (void) log_error_errno(r, "Cannot ask logind whether it has our lock");
}

bool inhibitor_is_held(const Inhibitor *i) {
        return i->fd >= 0;
}
