/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/sleep-doubt.h"
#include <errno.h>
#include <systemd/sd-event.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/time-util.h"
#include "daemon/log.h"
#include "daemon/login1-bus.h"

#define PATIENCE_MIN_USEC (100 * USEC_PER_MSEC)
#define PAUSE_USEC (250 * USEC_PER_MSEC)
#define TIMEOUT_USEC (2 * USEC_PER_SEC)

static const char *const sleep_units[] = {
        "systemd-suspend.service",
        "systemd-hibernate.service",
        "systemd-hybrid-sleep.service",
        "systemd-suspend-then-hibernate.service",
};

enum {
        QUESTION_PREPARING = ARRAY_LEN(sleep_units), /* after one for each unit */
        N_QUESTIONS,
};

struct SleepDoubt {
        sd_bus *bus;
        SleepDoubtFn on_not_sleeping;
        void *userdata;
        bool is_present;
        bool is_active;
        uint64_t patience_usec;
        uint64_t no_since_usec; /* CLOCK_MONOTONIC; 0: the last answer was not no */
        sd_event_source *timer; /* to the next round */

        /* the round under way */
        sd_bus_slot *questions[N_QUESTIONS];
        unsigned n_open;
        bool is_yes; /* something sleeps, or somebody who should know did not say */
};

/* lifetime */

int sleep_doubt_new(sd_bus *bus, SleepDoubtFn on_not_sleeping, void *userdata, SleepDoubt **ret) {
        SleepDoubt *d = malloc(sizeof(*d));

        if (!d)
                return -ENOMEM;
        *d = (SleepDoubt){
                .bus = sd_bus_ref(bus),
                .on_not_sleeping = on_not_sleeping,
                .userdata = userdata,
        };
        *ret = d;
        return 0;
}

SleepDoubt *sleep_doubt_free(SleepDoubt *d) {
        if (!d)
                return NULL;

        sleep_doubt_end(d);
        sd_bus_unref(d->bus);
        free(d);
        return NULL;
}

/* a round of questions */

static void doubt_ask(SleepDoubt *d);

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        SleepDoubt *d = userdata;

        (void) s;
        (void) usec;
        d->timer = sd_event_source_disable_unref(d->timer);
        doubt_ask(d);
        return 0;
}

static void doubt_arm(SleepDoubt *d, uint64_t usec) {
        int r;

        d->timer = sd_event_source_disable_unref(d->timer);
        r = sd_event_add_time_relative(
                        sd_bus_get_event(d->bus), &d->timer, CLOCK_MONOTONIC, usec, 1, on_timer, d);
        if (r < 0)
                (void) log_error_errno(r, "Cannot go on asking whether the host sleeps");
        else
                (void) sd_event_source_set_description(d->timer, "sleep-doubt");
}

static void doubt_on_round(SleepDoubt *d) {
        uint64_t now_usec = clock_now_usec(CLOCK_MONOTONIC), no_usec;

        if (d->is_yes) {
                d->no_since_usec = 0;
                doubt_arm(d, PAUSE_USEC);
                return;
        }

        if (d->no_since_usec == 0)
                d->no_since_usec = now_usec;
        no_usec = now_usec - d->no_since_usec;
        if (no_usec < d->patience_usec) {
                doubt_arm(d, MIN(PAUSE_USEC, d->patience_usec - no_usec));
                return;
        }

        sleep_doubt_end(d);
        d->on_not_sleeping(d->userdata);
}

static void doubt_on_answer(SleepDoubt *d, unsigned question, bool yes) {
        d->questions[question] = sd_bus_slot_unref(d->questions[question]);
        d->is_yes = d->is_yes || yes;
        if (--d->n_open == 0)
                doubt_on_round(d);
}

static unsigned question_of(const SleepDoubt *d, sd_bus_message *m) {
        sd_bus_slot *slot = sd_bus_get_current_slot(sd_bus_message_get_bus(m));
        unsigned i = 0;

        while (i < N_QUESTIONS - 1 && d->questions[i] != slot)
                i++;
        return i;
}

static int on_preparing(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        SleepDoubt *d = userdata;
        int preparing = true;

        (void) error;
        /* A logind that does not answer may go on with its sleep at any time. */
        if (!sd_bus_message_is_method_error(m, NULL) &&
            sd_bus_message_read(m, "v", "b", &preparing) < 0)
                preparing = true;
        doubt_on_answer(d, QUESTION_PREPARING, preparing);
        return 0;
}

/* Errors that mean there is no such unit, or no systemd. */
static bool error_means_absent(sd_bus_message *m) {
        static const char *const names[] = {
                SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER,
                SD_BUS_ERROR_UNKNOWN_OBJECT,  SD_BUS_ERROR_UNKNOWN_INTERFACE,
                SD_BUS_ERROR_UNKNOWN_METHOD,  SD_BUS_ERROR_UNKNOWN_PROPERTY,
                SD_BUS_ERROR_ACCESS_DENIED,   "org.freedesktop.systemd1.NoSuchUnit",
        };

        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                if (sd_bus_message_is_method_error(m, names[i]))
                        return true;
        return false;
}

static int on_unit(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        SleepDoubt *d = userdata;
        const char *state = NULL;
        bool yes = true;

        (void) error;
        if (error_means_absent(m))
                yes = false;
        else if (!sd_bus_message_is_method_error(m, NULL) &&
                 sd_bus_message_read(m, "v", "s", &state) >= 0)
                yes = !str_equal(state, "inactive") && !str_equal(state, "failed");
        doubt_on_answer(d, question_of(d, m), yes);
        return 0;
}

static int doubt_ask_unit(SleepDoubt *d, unsigned i) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", sleep_units[i], &path);
        if (r < 0)
                return r;
        return property_query(
                        d->bus,
                        &(PropertyQuery){
                                        .destination = "org.freedesktop.systemd1",
                                        .path = path,
                                        .interface = "org.freedesktop.systemd1.Unit",
                                        .name = "ActiveState",
                                        .timeout_usec = TIMEOUT_USEC,
                        },
                        on_unit,
                        d,
                        &d->questions[i]);
}

static int doubt_ask_preparing(SleepDoubt *d) {
        return property_query(
                        d->bus,
                        &(PropertyQuery){
                                        .destination = LOGIN1_NAME,
                                        .path = LOGIN1_PATH,
                                        .interface = LOGIN1_MANAGER,
                                        .name = "PreparingForSleep",
                                        .timeout_usec = TIMEOUT_USEC,
                        },
                        on_preparing,
                        d,
                        &d->questions[QUESTION_PREPARING]);
}

static void doubt_ask(SleepDoubt *d) {
        int r = 0;

        d->is_yes = false;
        d->n_open = 0;
        for (unsigned i = 0; i < ARRAY_LEN(sleep_units) && r >= 0; i++) {
                r = doubt_ask_unit(d, i);
                d->n_open += r >= 0;
        }
        if (d->is_present && r >= 0) {
                r = doubt_ask_preparing(d);
                d->n_open += r >= 0;
        }
        if (r >= 0)
                return;

        (void) log_error_errno(r, "Cannot ask whether the host sleeps");
        d->is_yes = true;
        if (d->n_open == 0)
                doubt_on_round(d);
}

/* the doubt */

void sleep_doubt_set_present(SleepDoubt *d, bool present) {
        d->is_present = present;
}

void sleep_doubt_begin(SleepDoubt *d, uint64_t patience_usec) {
        patience_usec = MAX(patience_usec, PATIENCE_MIN_USEC);
        if (d->is_active) {
                d->patience_usec = MIN(d->patience_usec, patience_usec);
                return;
        }

        d->is_active = true;
        d->patience_usec = patience_usec;
        d->no_since_usec = 0;
        doubt_ask(d);
}

void sleep_doubt_end(SleepDoubt *d) {
        d->is_active = false;
        d->n_open = 0;
        d->timer = sd_event_source_disable_unref(d->timer);
        for (unsigned i = 0; i < N_QUESTIONS; i++)
                d->questions[i] = sd_bus_slot_unref(d->questions[i]);
}
