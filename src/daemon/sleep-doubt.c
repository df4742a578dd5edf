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
/* Once the host has slept: the first pause, each of the next twice as long. */
#define SHORT_PAUSE_USEC (10 * USEC_PER_MSEC)
#define SLEEP_PROGRAM "/systemd-sleep"
#define TIMEOUT_USEC (2 * USEC_PER_SEC)

/* Of these, one for each unit comes first. */
enum {
        QUESTION_SUSPEND,
        QUESTION_PREPARING = 4,
        QUESTION_AGAIN, /* whether the service of a plain suspend may sleep more than once */
        N_QUESTIONS,
};

static const char *const sleep_units[] = {
        [QUESTION_SUSPEND] = "systemd-suspend.service",
        "systemd-hibernate.service",
        "systemd-hybrid-sleep.service",
        "systemd-suspend-then-hibernate.service",
};
_Static_assert(ARRAY_LEN(sleep_units) == QUESTION_PREPARING, "a question for each");

struct SleepDoubt {
        sd_bus *bus;
        SleepDoubtFn on_not_sleeping;
        SleepDoubtWokeFn on_woke;
        void *userdata;
        bool is_present;
        bool is_active;
        bool has_slept;
        uint64_t patience_usec;
        uint64_t pause_usec;    /* after the round under way */
        uint64_t no_since_usec; /* CLOCK_MONOTONIC; 0: the last answer was not no */
        sd_event_source *timer; /* to the next round; had in advance, for nobody else asks on */

        /* the round under way */
        sd_bus_slot *questions[N_QUESTIONS];
        unsigned n_open;
        unsigned yes; /* a bit for each question that was not answered with a no */
};

static void doubt_ask(SleepDoubt *d);

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        (void) s;
        (void) usec;
        doubt_ask(userdata);
        return 0;
}

/* lifetime */

static int doubt_make_timer(SleepDoubt *d) {
        int r;

        r = sd_event_add_time(
                        sd_bus_get_event(d->bus), &d->timer, CLOCK_MONOTONIC, 0, 1, on_timer, d);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(d->timer, "sleep-doubt");
        return sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
}

int sleep_doubt_new(
                sd_bus *bus,
                SleepDoubtFn on_not_sleeping,
                SleepDoubtWokeFn on_woke,
                void *userdata,
                SleepDoubt **ret) {
        _cleanup_(sleep_doubt_freep) SleepDoubt *d = NULL;
        int r;

        d = malloc(sizeof(*d));
        if (!d)
                return -ENOMEM;
        *d = (SleepDoubt){
                .bus = sd_bus_ref(bus),
                .on_not_sleeping = on_not_sleeping,
                .on_woke = on_woke,
                .userdata = userdata,
        };
        r = doubt_make_timer(d);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(d);
        return 0;
}

SleepDoubt *sleep_doubt_free(SleepDoubt *d) {
        if (!d)
                return NULL;

        sleep_doubt_end(d);
        sd_event_source_disable_unref(d->timer);
        sd_bus_unref(d->bus);
        free(d);
        return NULL;
}

/* a round of questions */

static void doubt_arm(SleepDoubt *d, uint64_t usec) {
        (void) sd_event_source_set_time_relative(d->timer, usec);
        (void) sd_event_source_set_enabled(d->timer, SD_EVENT_ONESHOT);
}

static bool doubt_is_yes(const SleepDoubt *d, unsigned question) {
        return d->yes & (1U << question);
}

/* A plain suspend sleeps once. What its service does after that, and logind then, is not waited for. */
static bool doubt_has_woken(const SleepDoubt *d) {
        if (!d->has_slept || !doubt_is_yes(d, QUESTION_SUSPEND) || doubt_is_yes(d, QUESTION_AGAIN))
                return false;
        for (unsigned i = 0; i < ARRAY_LEN(sleep_units); i++)
                if (i != QUESTION_SUSPEND && doubt_is_yes(d, i))
                        return false;
        return true;
}

static void doubt_on_round(SleepDoubt *d) {
        uint64_t now_usec = clock_now_usec(CLOCK_MONOTONIC), no_usec;

        if (doubt_has_woken(d) && d->on_woke(d->userdata)) {
                sleep_doubt_end(d);
                return;
        }
        if (d->yes & ~(1U << QUESTION_AGAIN)) {
                d->no_since_usec = 0;
                doubt_arm(d, d->pause_usec);
                d->pause_usec = MIN(2 * d->pause_usec, PAUSE_USEC);
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
        d->yes |= (unsigned) yes << question;
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

/* Whether ExecStart is "systemd-sleep suspend" and no more: an admin may have given the service another one. */
static bool is_plain_suspend(sd_bus_message *m) {
        const char *word, *words[2] = { NULL };
        unsigned n = 0, n_words = 0;
        int r;

        if (sd_bus_message_enter_container(m, 'v', "a(sasbttttuii)") <= 0 ||
            sd_bus_message_enter_container(m, 'a', "(sasbttttuii)") <= 0)
                return false;
        while ((r = sd_bus_message_enter_container(m, 'r', "sasbttttuii")) > 0) {
                n++;
                if (sd_bus_message_skip(m, "s") < 0 ||
                    sd_bus_message_enter_container(m, 'a', "s") < 0)
                        return false;
                for (; (r = sd_bus_message_read(m, "s", &word)) > 0; n_words++)
                        words[MIN(n_words, 1U)] = word;
                if (r < 0 || sd_bus_message_exit_container(m) < 0 ||
                    sd_bus_message_skip(m, "bttttuii") < 0 || sd_bus_message_exit_container(m) < 0)
                        return false;
        }
        return r == 0 && n == 1 && n_words == 2 &&
               str_equal(strrchr(words[0], '/'), SLEEP_PROGRAM) && str_equal(words[1], "suspend");
}

static int on_command(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        (void) error;
        doubt_on_answer(userdata,
                        QUESTION_AGAIN,
                        sd_bus_message_is_method_error(m, NULL) || !is_plain_suspend(m));
        return 0;
}

/* @property is of the interface of units of that @kind: "Unit", "Service". */
static int doubt_ask_unit(
                SleepDoubt *d,
                unsigned question,
                const char *unit,
                const char *kind,
                const char *property,
                sd_bus_message_handler_t on_reply) {
        _cleanup_free_ char *path = NULL, *interface = NULL;
        int r;

        r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &path);
        if (r < 0)
                return r;
        if (asprintf(&interface, "org.freedesktop.systemd1.%s", kind) < 0)
                return -ENOMEM;
        return property_query(
                        d->bus,
                        &(PropertyQuery){
                                        .destination = "org.freedesktop.systemd1",
                                        .path = path,
                                        .interface = interface,
                                        .name = property,
                                        .timeout_usec = TIMEOUT_USEC,
                        },
                        on_reply,
                        d,
                        &d->questions[question]);
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

/* Asks them all. Returns: 0; a negative errno, and perhaps some are asked. */
static int doubt_ask_all(SleepDoubt *d) {
        int r = 0;

        for (unsigned i = 0; i < ARRAY_LEN(sleep_units) && r >= 0; i++) {
                r = doubt_ask_unit(d, i, sleep_units[i], "Unit", "ActiveState", on_unit);
                d->n_open += r >= 0;
        }
        if (d->is_present && r >= 0) {
                r = doubt_ask_preparing(d);
                d->n_open += r >= 0;
        }
        if (d->has_slept && r >= 0) {
                r =
                                doubt_ask_unit(d,
                                               QUESTION_AGAIN,
                                               sleep_units[QUESTION_SUSPEND],
                                               "Service",
                                               "ExecStart",
                                               on_command);
                d->n_open += r >= 0;
        }
        return r;
}

static void doubt_ask(SleepDoubt *d) {
        int r;

        d->yes = 0;
        d->n_open = 0;
        r = doubt_ask_all(d);
        if (r >= 0)
                return;

        (void) log_error_errno(r, "Cannot ask whether the host sleeps");
        d->yes = ~0U;
        if (d->n_open == 0)
                doubt_on_round(d);
}

/* the doubt */

void sleep_doubt_set_present(SleepDoubt *d, bool present) {
        d->is_present = present;
}

static void doubt_stop_round(SleepDoubt *d) {
        (void) sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
        for (unsigned i = 0; i < N_QUESTIONS; i++)
                d->questions[i] = sd_bus_slot_unref(d->questions[i]);
}

static void doubt_restart(SleepDoubt *d) {
        doubt_stop_round(d);
        d->pause_usec = d->has_slept ? SHORT_PAUSE_USEC : PAUSE_USEC;
        doubt_ask(d);
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
        doubt_restart(d);
}

void sleep_doubt_slept(SleepDoubt *d, uint64_t patience_usec) {
        bool was_active = d->is_active;

        d->has_slept = true;
        sleep_doubt_begin(d, patience_usec);
        if (was_active)
                doubt_restart(d);
}

void sleep_doubt_end(SleepDoubt *d) {
        d->is_active = d->has_slept = false;
        doubt_stop_round(d);
}
