/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Fake logind
 *
 * org.freedesktop.login1 as a delay lock's holder sees it, on a private bus: locks, the signals
 * before and after a sleep, the delay's maximum. Beside it org.freedesktop.systemd1 with the sleep
 * services (units.c), and org.suspendd.FakeLogin1 at /org/suspendd/FakeLogin1, by which a test makes
 * it sleep, fail, vanish and come back. The bus is the one of DBUS_SYSTEM_BUS_ADDRESS.
 *
 * What a sleep was like is told as a JSON object with CLOCK_MONOTONIC stamps: by SleepAndWait, by
 * the property LastCycle, by the signal Finished.
 */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include "locks.h"
#include "record.h"
#include "units.h"

#define LOGIN1_NAME "org.freedesktop.login1"
#define LOGIN1_PATH "/org/freedesktop/login1"
#define LOGIN1_INTERFACE "org.freedesktop.login1.Manager"
#define CONTROL_NAME "org.suspendd.FakeLogin1"
#define CONTROL_PATH "/org/suspendd/FakeLogin1"
#define USEC_INFINITY UINT64_MAX

typedef struct Login1 Login1;

typedef enum Phase {
        PHASE_IDLE,
        PHASE_DELAYING,
        PHASE_ASLEEP,
} Phase;

static const char *const phase_names[] = { "idle", "delaying", "asleep" };

typedef struct Cycle {
        unsigned number;
        uint64_t sleep_usec;
        uint64_t delay_max_usec;
        unsigned n_locks;
        int64_t sent_true_ns;
        int64_t released_ns;
        int64_t asleep_ns;
        int64_t sent_false_ns;
        bool overrun;
        bool abandoned;
        char *overrun_who;
} Cycle;

struct Login1 {
        sd_event *event;
        sd_bus *bus;
        Locks locks;
        Record record;
        Phase phase;
        Cycle cycle;
        bool is_preparing, is_preparing_shutdown;
        uint64_t delay_max_usec;
        uint64_t suspend_usec; /* how long a Suspend() by the official interface lasts */
        char refusal[64]; /* the name of the error that each lock is refused with; empty: none */
        const char *unit;
        sd_event_source *timer;       /* ends the delay, then the sleep */
        sd_event_source *start_timer; /* SleepIn */
        uint64_t start_sleep_usec;
        sd_event_source *unit_timer; /* ends the sleep's unit, even where logind has vanished */
        sd_bus_message *waiter;      /* SleepAndWait, answered at the end */
        sd_bus_message *lock_waiter; /* WaitLocks */
        unsigned n_locks_awaited;
};

/* the record */

static char *cycle_to_json(const Cycle *c) {
        char *text = NULL;
        size_t n = 0;
        FILE *f = open_memstream(&text, &n);

        if (!f)
                return NULL;
        fprintf(f,
                "{\"cycle\":%u,\"sleep_usec\":%" PRIu64 ",\"delay_max_usec\":%" PRIu64
                ",\"locks\":%u,\"sent_true_ns\":%" PRIi64 ",\"released_ns\":%" PRIi64
                ",\"asleep_ns\":%" PRIi64 ",\"sent_false_ns\":%" PRIi64
                ",\"overrun\":%s,\"abandoned\":%s,\"overrun_who\":",
                c->number,
                c->sleep_usec,
                c->delay_max_usec,
                c->n_locks,
                c->sent_true_ns,
                c->released_ns,
                c->asleep_ns,
                c->sent_false_ns,
                c->overrun ? "true" : "false",
                c->abandoned ? "true" : "false");
        json_print_string(f, c->overrun_who ? c->overrun_who : "");
        fputc('}', f);
        return fclose(f) == 0 ? text : NULL;
}

static void login1_emit_bool(Login1 *l, const char *signal, bool value) {
        record_add(&l->record, signal, value ? "true" : "false");
        (void) sd_bus_emit_signal(l->bus, LOGIN1_PATH, LOGIN1_INTERFACE, signal, "b", (int) value);
        (void) sd_bus_flush(l->bus);
}

static void login1_answer_lock_waiter(Login1 *l) {
        if (!l->lock_waiter || locks_count(&l->locks, "sleep", true) != l->n_locks_awaited)
                return;

        (void) sd_bus_reply_method_return(l->lock_waiter, NULL);
        l->lock_waiter = sd_bus_message_unref(l->lock_waiter);
}

static void login1_locks_changed(Login1 *l) {
        (void) sd_bus_emit_properties_changed(
                        l->bus,
                        LOGIN1_PATH,
                        LOGIN1_INTERFACE,
                        "BlockInhibited",
                        "DelayInhibited",
                        NULL);
        login1_answer_lock_waiter(l);
}

/* a sleep */

static void login1_set_timer(Login1 *l, uint64_t usec, sd_event_time_handler_t fn) {
        l->timer = sd_event_source_disable_unref(l->timer);
        if (usec == USEC_INFINITY)
                return;
        (void) sd_event_add_time_relative(l->event, &l->timer, CLOCK_MONOTONIC, usec, 1, fn, l);
}

static int login1_on_unit_end(sd_event_source *s, uint64_t usec, void *userdata) {
        Login1 *l = userdata;

        (void) s;
        (void) usec;
        (void) unit_set_state(l->bus, l->unit, "inactive");
        return 0;
}

static void login1_end_cycle(Login1 *l) {
        _cleanup_free_ char *text = cycle_to_json(&l->cycle);

        l->phase = PHASE_IDLE;
        l->is_preparing = false;
        l->timer = sd_event_source_disable_unref(l->timer);
        if (!text)
                return;

        (void) sd_bus_emit_signal(l->bus, CONTROL_PATH, CONTROL_NAME, "Finished", "s", text);
        if (l->waiter) {
                (void) sd_bus_reply_method_return(l->waiter, "s", text);
                l->waiter = sd_bus_message_unref(l->waiter);
        }
}

static int login1_on_wake(sd_event_source *s, uint64_t usec, void *userdata) {
        Login1 *l = userdata;

        (void) s;
        (void) usec;
        l->unit_timer = sd_event_source_disable_unref(l->unit_timer);
        (void) unit_set_state(l->bus, l->unit, "inactive");
        l->is_preparing = false;
        l->cycle.sent_false_ns = monotonic_ns();
        login1_emit_bool(l, "PrepareForSleep", false);
        login1_end_cycle(l);
        return 0;
}

static void login1_fall_asleep(Login1 *l) {
        l->phase = PHASE_ASLEEP;
        l->cycle.asleep_ns = monotonic_ns();
        record_add(&l->record, "asleep", l->cycle.overrun ? "overrun" : NULL);
        (void) unit_set_state(l->bus, l->unit, "activating");
        login1_set_timer(l, l->cycle.sleep_usec, login1_on_wake);
        l->unit_timer = sd_event_source_disable_unref(l->unit_timer);
        (void) sd_event_add_time_relative(
                        l->event,
                        &l->unit_timer,
                        CLOCK_MONOTONIC,
                        l->cycle.sleep_usec,
                        1,
                        login1_on_unit_end,
                        l);
}

static void login1_note_overrun(Login1 *l, const char *who) {
        free(l->cycle.overrun_who);
        l->cycle.overrun_who = strdup(who);
}

static int login1_on_delay_over(sd_event_source *s, uint64_t usec, void *userdata) {
        Login1 *l = userdata;

        (void) s;
        (void) usec;
        LIST_FOREACH(i, &l->locks.list) {
                const Lock *lock = LIST_ENTRY(i, Lock, link);

                if (lock->is_delay && what_contains(lock->what, "sleep"))
                        login1_note_overrun(l, lock->who);
        }
        l->cycle.overrun = true;
        record_add(&l->record, "overrun", l->cycle.overrun_who);
        login1_fall_asleep(l);
        return 0;
}

static void login1_on_lock_gone(Locks *locks, const Lock *gone, void *userdata) {
        Login1 *l = userdata;
        int64_t now = monotonic_ns();

        record_add(&l->record, "unlocked", gone->who);
        if (l->phase != PHASE_IDLE && l->cycle.released_ns == 0 && l->cycle.n_locks > 0 &&
            locks_count(locks, "sleep", true) == 0) {
                l->cycle.released_ns = now;
                if (l->phase == PHASE_DELAYING)
                        login1_fall_asleep(l);
        }
        login1_locks_changed(l);
}

static int login1_sleep(Login1 *l, uint64_t sleep_usec, sd_bus_error *error) {
        if (l->phase != PHASE_IDLE)
                return sd_bus_error_set(
                                error,
                                "org.freedesktop.login1.OperationInProgress",
                                "There's already a shutdown or sleep operation in progress");

        freep(&l->cycle.overrun_who);
        l->cycle = (Cycle){
                .number = l->cycle.number + 1,
                .sleep_usec = sleep_usec,
                .delay_max_usec = l->delay_max_usec,
                .n_locks = locks_count(&l->locks, "sleep", true),
        };
        l->phase = PHASE_DELAYING;
        l->is_preparing = true;
        l->cycle.sent_true_ns = monotonic_ns();
        login1_emit_bool(l, "PrepareForSleep", true);

        if (l->cycle.n_locks == 0 || l->delay_max_usec == 0)
                login1_fall_asleep(l);
        else
                login1_set_timer(l, l->delay_max_usec, login1_on_delay_over);
        return 0;
}

/* org.freedesktop.login1.Manager */

static int login1_refuse_lock(Login1 *l, const char *what, const char *mode, sd_bus_error *error) {
        bool sleep = what_contains(what, "sleep"), shutdown = what_contains(what, "shutdown");

        if (!str_equal(mode, "delay") && !str_equal(mode, "block"))
                return sd_bus_error_setf(
                                error,
                                SD_BUS_ERROR_INVALID_ARGS,
                                "Invalid mode specification %s",
                                mode);
        if (str_equal(mode, "delay") && !sleep && !shutdown)
                return sd_bus_error_set(
                                error,
                                SD_BUS_ERROR_INVALID_ARGS,
                                "Delay inhibitors only supported for shutdown and sleep");
        if ((l->phase != PHASE_IDLE && sleep) || (l->is_preparing_shutdown && shutdown))
                return sd_bus_error_set(
                                error,
                                "org.freedesktop.login1.OperationInProgress",
                                "The operation inhibition has been requested for is already running");
        if (*l->refusal)
                return sd_bus_error_set(error, l->refusal, "No lock for you");
        return 0;
}

static int method_inhibit(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_close_ int fd = -1;
        Login1 *l = userdata;
        const char *s[3], *mode;
        Lock *lock;
        int r;

        r = sd_bus_message_read(m, "ssss", &s[0], &s[1], &s[2], &mode);
        if (r < 0)
                return r;
        r = login1_refuse_lock(l, s[0], mode, error);
        if (r < 0) {
                record_add(&l->record, "refused", s[1]);
                return r;
        }
        r = locks_add(&l->locks, s, str_equal(mode, "delay"), &lock, &fd);
        if (r < 0)
                return r;
        lock->sender = strdup(sd_bus_message_get_sender(m));
        record_add(&l->record, lock->is_delay ? "locked" : "blocked", lock->who);
        r = sd_bus_reply_method_return(m, "h", fd);
        login1_locks_changed(l);
        return r;
}

/* who holds it is asked of the bus when somebody wants to know, not while a lock is waited for */
static int login1_append_lock(Login1 *l, sd_bus_message *reply, const Lock *k) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        pid_t pid = 0;
        uid_t uid = 0;

        if (k->sender &&
            sd_bus_get_name_creds(
                            l->bus, k->sender, SD_BUS_CREDS_PID | SD_BUS_CREDS_EUID, &creds) >= 0) {
                (void) sd_bus_creds_get_pid(creds, &pid);
                (void) sd_bus_creds_get_euid(creds, &uid);
        }
        return sd_bus_message_append(
                        reply,
                        "(ssssuu)",
                        k->what,
                        k->who,
                        k->why,
                        k->is_delay ? "delay" : "block",
                        (uint32_t) uid,
                        (uint32_t) pid);
}

static int method_list_inhibitors(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Login1 *l = userdata;
        int r;

        (void) error;
        r = sd_bus_message_new_method_return(m, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "(ssssuu)");
        if (r < 0)
                return r;
        LIST_FOREACH(i, &l->locks.list) {
                r = login1_append_lock(l, reply, LIST_ENTRY(i, Lock, link));
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}

static int method_can_suspend(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        (void) userdata;
        (void) error;
        return sd_bus_reply_method_return(m, "s", "yes");
}

static int method_suspend(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        int r;

        if (locks_count(&l->locks, "sleep", false) > 0) {
                record_add(&l->record, "suspend-refused", NULL);
                return sd_bus_error_set(
                                error,
                                SD_BUS_ERROR_ACCESS_DENIED,
                                "Operation denied due to active block inhibitor");
        }
        r = login1_sleep(l, l->suspend_usec, error);
        if (r < 0)
                return r;
        return sd_bus_reply_method_return(m, NULL);
}

static int property_login1(
                sd_bus *bus,
                const char *path,
                const char *interface,
                const char *property,
                sd_bus_message *reply,
                void *userdata,
                sd_bus_error *error) {
        Login1 *l = userdata;

        (void) bus;
        (void) path;
        (void) interface;
        (void) error;
        if (str_equal(property, "InhibitDelayMaxUSec"))
                return sd_bus_message_append(reply, "t", l->delay_max_usec);
        if (str_equal(property, "PreparingForSleep"))
                return sd_bus_message_append(reply, "b", (int) l->is_preparing);
        return sd_bus_message_append(reply, "b", (int) l->is_preparing_shutdown);
}

static int property_inhibited(
                sd_bus *bus,
                const char *path,
                const char *interface,
                const char *property,
                sd_bus_message *reply,
                void *userdata,
                sd_bus_error *error) {
        bool is_delay = str_equal(property, "DelayInhibited");
        Login1 *l = userdata;
        bool sleep = locks_count(&l->locks, "sleep", is_delay) > 0;
        bool shutdown = locks_count(&l->locks, "shutdown", is_delay) > 0;

        (void) bus;
        (void) path;
        (void) interface;
        (void) error;
        return sd_bus_message_append(
                        reply,
                        "s",
                        shutdown && sleep ? "shutdown:sleep"
                        : shutdown        ? "shutdown"
                        : sleep           ? "sleep"
                                          : "");
}

/* the test's interface */

static int method_sleep(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        uint64_t usec;
        int r;

        r = sd_bus_message_read(m, "t", &usec);
        if (r < 0)
                return r;
        r = login1_sleep(l, usec, error);
        if (r < 0)
                return r;
        if (sd_bus_message_is_method_call(m, NULL, "SleepAndWait")) {
                l->waiter = sd_bus_message_ref(m);
                return 1;
        }
        return sd_bus_reply_method_return(m, "u", l->cycle.number);
}

/* the sleep is over now, or called off while locks are waited for; of one that logind forgot the unit ends */
static int method_wake(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;

        (void) error;
        if (l->phase != PHASE_IDLE)
                (void) login1_on_wake(NULL, 0, l);
        else
                (void) unit_set_state(l->bus, l->unit, "inactive");
        return sd_bus_reply_method_return(m, NULL);
}

static int login1_on_start(sd_event_source *s, uint64_t usec, void *userdata) {
        Login1 *l = userdata;

        (void) s;
        (void) usec;
        (void) login1_sleep(l, l->start_sleep_usec, NULL);
        return 0;
}

/* a sleep that begins when the caller is out of the way: for measurements */
static int method_sleep_in(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        uint64_t delay_usec;
        int r;

        (void) error;
        r = sd_bus_message_read(m, "tt", &delay_usec, &l->start_sleep_usec);
        if (r < 0)
                return r;
        l->start_timer = sd_event_source_disable_unref(l->start_timer);
        r = sd_event_add_time_relative(
                        l->event,
                        &l->start_timer,
                        CLOCK_MONOTONIC,
                        delay_usec,
                        1,
                        login1_on_start,
                        l);
        if (r < 0)
                return r;
        return sd_bus_reply_method_return(m, NULL);
}

static int method_emit(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        bool shutdown = sd_bus_message_is_method_call(m, NULL, "EmitShutdown");
        Login1 *l = userdata;
        int value, r;

        (void) error;
        r = sd_bus_message_read(m, "b", &value);
        if (r < 0)
                return r;
        if (shutdown)
                l->is_preparing_shutdown = value;
        else
                l->is_preparing = value;
        login1_emit_bool(l, shutdown ? "PrepareForShutdown" : "PrepareForSleep", value);
        return sd_bus_reply_method_return(m, NULL);
}

static int method_set_preparing(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        int value, r;

        (void) error;
        r = sd_bus_message_read(m, "b", &value);
        if (r < 0)
                return r;
        l->is_preparing = value;
        return sd_bus_reply_method_return(m, NULL);
}

static int method_set_usec(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        bool is_delay = sd_bus_message_is_method_call(m, NULL, "SetDelayMax");
        Login1 *l = userdata;
        uint64_t usec;
        int r;

        (void) error;
        r = sd_bus_message_read(m, "t", &usec);
        if (r < 0)
                return r;
        *(is_delay ? &l->delay_max_usec : &l->suspend_usec) = usec;
        return sd_bus_reply_method_return(m, NULL);
}

/* logind goes: no signal will end the cycle; with @keep_locks it will know its locks again */
static int method_drop(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        int keep_locks, r;

        (void) error;
        r = sd_bus_message_read(m, "b", &keep_locks);
        if (r < 0)
                return r;
        r = sd_bus_release_name(l->bus, LOGIN1_NAME);
        if (r < 0)
                return r;

        record_add(&l->record, "dropped", keep_locks ? "locks kept" : "locks forgotten");
        if (!keep_locks)
                locks_clear(&l->locks);
        if (l->phase != PHASE_IDLE) {
                l->cycle.abandoned = true;
                login1_end_cycle(l);
        }
        return sd_bus_reply_method_return(m, NULL);
}

static int method_retake(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        int r;

        (void) error;
        r = sd_bus_request_name(l->bus, LOGIN1_NAME, 0);
        if (r < 0)
                return r;
        record_add(&l->record, "retaken", NULL);
        return sd_bus_reply_method_return(m, NULL);
}

static int method_refuse(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        const char *name;
        int r;

        (void) error;
        r = sd_bus_message_read(m, "s", &name);
        if (r < 0)
                return r;
        (void) snprintf(l->refusal, sizeof(l->refusal), "%s", name);
        return sd_bus_reply_method_return(m, NULL);
}

static int method_set_unit(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *name, *state;
        Login1 *l = userdata;
        int r;

        (void) error;
        r = sd_bus_message_read(m, "ss", &name, &state);
        if (r < 0)
                return r;
        r = unit_set_state(l->bus, name, state);
        if (r < 0)
                return r;
        return sd_bus_reply_method_return(m, NULL);
}

static int method_set_command(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *name, *program, *word;
        int r;

        (void) userdata;
        (void) error;
        r = sd_bus_message_read(m, "sss", &name, &program, &word);
        if (r < 0)
                return r;
        r = unit_set_command(name, program, word);
        if (r < 0)
                return r;
        return sd_bus_reply_method_return(m, NULL);
}

static int method_wait_locks(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        uint32_t n;
        int r;

        r = sd_bus_message_read(m, "u", &n);
        if (r < 0)
                return r;
        if (l->lock_waiter)
                return sd_bus_error_set(
                                error, SD_BUS_ERROR_LIMITS_EXCEEDED, "Someone waits already");

        l->lock_waiter = sd_bus_message_ref(m);
        l->n_locks_awaited = n;
        login1_answer_lock_waiter(l);
        return 1;
}

/* one who waits for locks may give up: its call must not keep the next one out */
static int method_forget(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;

        (void) error;
        l->lock_waiter = sd_bus_message_unref(l->lock_waiter);
        record_clear(&l->record);
        return sd_bus_reply_method_return(m, NULL);
}

static int property_control(
                sd_bus *bus,
                const char *path,
                const char *interface,
                const char *property,
                sd_bus_message *reply,
                void *userdata,
                sd_bus_error *error) {
        _cleanup_free_ char *text = NULL;
        Login1 *l = userdata;
        size_t n = 0;
        FILE *f;

        (void) bus;
        (void) path;
        (void) interface;
        (void) error;
        if (str_equal(property, "Phase"))
                return sd_bus_message_append(reply, "s", phase_names[l->phase]);
        if (str_equal(property, "LastCycle")) {
                text = cycle_to_json(&l->cycle);
                return text ? sd_bus_message_append(reply, "s", text) : -ENOMEM;
        }

        f = open_memstream(&text, &n);
        if (!f)
                return -ENOMEM;
        record_print(&l->record, f);
        if (fclose(f) != 0)
                return -ENOMEM;
        return sd_bus_message_append(reply, "s", text);
}

static const sd_bus_vtable login1_vtable[] = {
        SD_BUS_VTABLE_START(SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Inhibit", "ssss", "h", method_inhibit, 0),
        SD_BUS_METHOD("ListInhibitors", NULL, "a(ssssuu)", method_list_inhibitors, 0),
        SD_BUS_METHOD("CanSuspend", NULL, "s", method_can_suspend, 0),
        SD_BUS_METHOD("Suspend", "b", NULL, method_suspend, 0),
        /* said to be constant, as the real one says, and like it is not */
        SD_BUS_PROPERTY("InhibitDelayMaxUSec",
                        "t",
                        property_login1,
                        0,
                        SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("PreparingForSleep", "b", property_login1, 0, 0),
        SD_BUS_PROPERTY("PreparingForShutdown", "b", property_login1, 0, 0),
        SD_BUS_PROPERTY("BlockInhibited",
                        "s",
                        property_inhibited,
                        0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("DelayInhibited",
                        "s",
                        property_inhibited,
                        0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_SIGNAL("PrepareForSleep", "b", 0),
        SD_BUS_SIGNAL("PrepareForShutdown", "b", 0),
        SD_BUS_VTABLE_END,
};

static const sd_bus_vtable control_vtable[] = {
        SD_BUS_VTABLE_START(SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Sleep", "t", "u", method_sleep, 0),
        SD_BUS_METHOD("SleepAndWait", "t", "s", method_sleep, 0),
        SD_BUS_METHOD("SleepIn", "tt", NULL, method_sleep_in, 0),
        SD_BUS_METHOD("Wake", NULL, NULL, method_wake, 0),
        SD_BUS_METHOD("Emit", "b", NULL, method_emit, 0),
        SD_BUS_METHOD("EmitShutdown", "b", NULL, method_emit, 0),
        SD_BUS_METHOD("SetPreparing", "b", NULL, method_set_preparing, 0),
        SD_BUS_METHOD("SetDelayMax", "t", NULL, method_set_usec, 0),
        SD_BUS_METHOD("SetSuspendLength", "t", NULL, method_set_usec, 0),
        SD_BUS_METHOD("Drop", "b", NULL, method_drop, 0),
        SD_BUS_METHOD("Retake", NULL, NULL, method_retake, 0),
        SD_BUS_METHOD("Refuse", "s", NULL, method_refuse, 0),
        SD_BUS_METHOD("SetUnit", "ss", NULL, method_set_unit, 0),
        SD_BUS_METHOD("SetCommand", "sss", NULL, method_set_command, 0),
        SD_BUS_METHOD("WaitLocks", "u", NULL, method_wait_locks, 0),
        SD_BUS_METHOD("Forget", NULL, NULL, method_forget, 0),
        SD_BUS_PROPERTY("Phase", "s", property_control, 0, 0),
        SD_BUS_PROPERTY("LastCycle", "s", property_control, 0, 0),
        SD_BUS_PROPERTY("Log", "s", property_control, 0, 0),
        SD_BUS_SIGNAL("Finished", "s", 0),
        SD_BUS_VTABLE_END,
};

static int login1_setup(Login1 *l) {
        static const char *const names[] = { LOGIN1_NAME,
                                             "org.freedesktop.systemd1",
                                             CONTROL_NAME };
        int r;

        r = sd_event_default(&l->event);
        if (r < 0)
                return r;
        locks_init(&l->locks, l->event, login1_on_lock_gone, l);
        r = sd_bus_open_system(&l->bus);
        if (r < 0)
                return r;
        r = sd_bus_attach_event(l->bus, l->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return r;
        (void) sd_bus_set_exit_on_disconnect(l->bus, true);

        r = sd_bus_add_object_vtable(l->bus, NULL, LOGIN1_PATH, LOGIN1_INTERFACE, login1_vtable, l);
        if (r < 0)
                return r;
        r = sd_bus_add_object_vtable(l->bus, NULL, CONTROL_PATH, CONTROL_NAME, control_vtable, l);
        if (r < 0)
                return r;
        r = units_register(l->bus);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                r = sd_bus_request_name(l->bus, names[i], 0);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void login1_done(Login1 *l) {
        locks_clear(&l->locks);
        record_clear(&l->record);
        freep(&l->cycle.overrun_who);
        sd_event_source_disable_unref(l->timer);
        sd_event_source_disable_unref(l->start_timer);
        sd_event_source_disable_unref(l->unit_timer);
        sd_bus_message_unref(l->waiter);
        sd_bus_message_unref(l->lock_waiter);
        sd_bus_flush_close_unref(l->bus);
        sd_event_unref(l->event);
}

int main(void) {
        Login1 l = {
                .delay_max_usec = 5000000,
                .suspend_usec = 1000000,
                .unit = "systemd-suspend.service",
        };
        sigset_t set;
        int r;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGINT);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);

        list_init(&l.locks.list);
        r = login1_setup(&l);
        if (r >= 0)
                r = sd_event_add_signal(l.event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(l.event, NULL, SIGINT, NULL, NULL);
        if (r >= 0) {
                (void) sd_notify(false, "READY=1");
                r = sd_event_loop(l.event);
        }
        login1_done(&l);
        if (r < 0) {
                fprintf(stderr, "fake-login1: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        return EXIT_SUCCESS;
}
