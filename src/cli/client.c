/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/client.h"
#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include "cli/clean.h"
#include "cli/event.h"
#include "common/clock-sample.h"
#include "common/text-escape.h"
#include "common/time-util.h"

#define DBUS_NAME "org.freedesktop.DBus"
#define BUS_NAME "org.suspendd1"
#define BUS_PATH "/org/suspendd1"
#define MANAGER_INTERFACE "org.suspendd1.Manager"
#define MACHINE_INTERFACE "org.suspendd1.Machine"
#define CALL_TIMEOUT_USEC (25 * USEC_PER_SEC)
#define ASK_TIMEOUT_USEC (120 * USEC_PER_SEC) /* as suspendd waits for polkit */

struct Client {
        sd_bus *bus;
        sd_bus_slot *signals, *presence;
        char owner[256]; /* suspendd's unique name; empty: it is not there */
        uint64_t timeout_usec;
        bool may_ask;
        ClientFn fn;
        void *userdata;
};

int fail(ExitStatus status, const char *format, ...) {
        _cleanup_free_ char *text = NULL, *clean = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        clean = text ? text_escape(text) : NULL;
        (void) fprintf(stderr, "suspendctl: %s\n", clean ?: strerror(ENOMEM));
        return (int) status;
}

/* lifetime */

static int fail_bus(int r) {
        return fail(STATUS_NOT_RUNNING, "Cannot reach the system bus: %s", strerror(-r));
}

int client_new(Client **ret) {
        _cleanup_(client_freep) Client *c = NULL;
        int r;

        c = calloc(1, sizeof(*c));
        if (!c)
                return fail(STATUS_FAILURE, "%s", strerror(ENOMEM));
        c->timeout_usec = CALL_TIMEOUT_USEC;

        r = sd_bus_open_system(&c->bus);
        if (r < 0)
                return fail_bus(r);

        *ret = TAKE_PTR(c);
        return STATUS_OK;
}

Client *client_free(Client *c) {
        if (!c)
                return NULL;

        sd_bus_slot_unref(c->signals);
        sd_bus_slot_unref(c->presence);
        sd_bus_flush_close_unref(c->bus);
        free(c);
        return NULL;
}

/* calls */

void client_set_timeout(Client *c, uint64_t usec) {
        c->timeout_usec = usec;
}

void client_let_ask(Client *c) {
        c->may_ask = true;
}

/* Names of D-Bus errors that mean something of their own to whoever called us. */
static int fail_call(const sd_bus_error *error, int r) {
        static const struct {
                const char *name;
                ExitStatus status;
        } names[] = {
                { SD_BUS_ERROR_SERVICE_UNKNOWN, STATUS_NOT_RUNNING },
                { SD_BUS_ERROR_NAME_HAS_NO_OWNER, STATUS_NOT_RUNNING },
                { SD_BUS_ERROR_ACCESS_DENIED, STATUS_REFUSED },
                { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, STATUS_REFUSED },
                { SD_BUS_ERROR_UNKNOWN_OBJECT, STATUS_NO_SUCH_MACHINE },
                { "org.suspendd1.Error.NoSuchMachine", STATUS_NO_SUCH_MACHINE },
                { SD_BUS_ERROR_INVALID_ARGS, STATUS_BAD_ARGUMENTS },
        };
        ExitStatus status = STATUS_FAILURE;

        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                if (sd_bus_error_has_name(error, names[i].name))
                        status = names[i].status;

        if (status == STATUS_NOT_RUNNING)
                return fail(status, "suspendd is not running (systemctl start suspendd.service)");
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_OBJECT))
                return fail(status, "The machine has just gone.");

        return fail(status, "%s", error->message ?: strerror(-r));
}

static int call(Client *c,
                const char *path,
                const char *interface,
                const char *method,
                sd_bus_message **ret_message) {
        int r = sd_bus_message_new_method_call(
                        c->bus, ret_message, BUS_NAME, path ? path : BUS_PATH, interface, method);

        if (r >= 0 && c->may_ask)
                r = sd_bus_message_set_allow_interactive_authorization(*ret_message, true);
        /* Who looks at a daemon that was stopped does not want it started. */
        return r < 0 ? r : sd_bus_message_set_auto_start(*ret_message, false);
}

static int send_call(Client *c, sd_bus_message *m, sd_bus_message **ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        /* Of root nobody wants a password. */
        uint64_t more_usec = c->may_ask && geteuid() != 0 ? ASK_TIMEOUT_USEC : 0;
        int r = sd_bus_call(c->bus, m, c->timeout_usec + more_usec, &error, ret);

        return r < 0 ? fail_call(&error, r) : STATUS_OK;
}

static int fail_local(int r) {
        return fail(STATUS_FAILURE, "Cannot speak to suspendd: %s", strerror(-r));
}

int client_call(Client *c,
                const char *path,
                const char *method,
                sd_bus_message **ret,
                const char *types,
                ...) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        va_list ap;
        int r;

        r = call(c, path, path ? MACHINE_INTERFACE : MANAGER_INTERFACE, method, &m);
        if (r >= 0 && types) {
                va_start(ap, types);
                r = sd_bus_message_appendv(m, types, ap);
                va_end(ap);
        }
        /* What cannot be said on a bus, such as broken UTF-8, came from the command line. */
        if (r == -EINVAL)
                return fail(STATUS_BAD_ARGUMENTS, "An argument is not valid UTF-8 text.");
        if (r < 0)
                return fail_local(r);

        return send_call(c, m, ret);
}

int client_properties(Client *c, const char *path, JsonObject **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        int r;

        r = call(c, path, "org.freedesktop.DBus.Properties", "GetAll", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", path ? MACHINE_INTERFACE : MANAGER_INTERFACE);
        if (r < 0)
                return fail_local(r);

        r = send_call(c, m, &reply);
        if (r != STATUS_OK)
                return r;

        r = json_from_message(reply, "a{sv}", ret);
        return r < 0 ? fail_local(r) : STATUS_OK;
}

/* machines */

static int read_machine(sd_bus_message *m, JsonObject **ret) {
        static const char *const keys[] = { "id",     "path",      "name",   "uuid",
                                            "plugin", "run_state", "detail", "state",
                                            "mode",   "at_sleep",  "why" };
        _cleanup_json_ JsonObject *o = NULL;
        int r;

        r = sd_bus_message_enter_container(m, 'r', "sosssssssss");
        if (r <= 0)
                return r;

        o = json_object_new_object();
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
                JsonObject *value = NULL;

                r = json_from_message(m, i == 1 ? "o" : "s", &value);
                if (r < 0)
                        return r;
                (void) json_object_object_add(o, keys[i], value);
        }

        r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(o);
        return 1;
}

static bool machine_matches(JsonObject *machine, const char *pattern) {
        static const char *const keys[] = { "id", "name", "uuid" };

        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
                const char *s = json_text(machine, keys[i]);

                if (*s && (str_equal(s, pattern) || fnmatch(pattern, s, 0) == 0))
                        return true;
        }
        return false;
}

static bool any_matches(JsonObject *machine, char **patterns) {
        for (char **p = patterns; *p; p++)
                if (machine_matches(machine, *p))
                        return true;
        return false;
}

/* Each pattern must be good for something, so that a slip of the finger is not taken for success. */
static int check_patterns(JsonObject *machines, char **patterns) {
        for (char **p = patterns; *p; p++) {
                bool is_matched = false;

                for (size_t i = 0; i < json_object_array_length(machines); i++)
                        is_matched |= machine_matches(json_object_array_get_idx(machines, i), *p);
                if (!is_matched)
                        return fail(STATUS_NO_SUCH_MACHINE, "No machine is called %s.", *p);
        }
        return STATUS_OK;
}

static int compare_ids(const void *a, const void *b) {
        return strverscmp(
                        json_text(*(JsonObject *const *) a, "id"),
                        json_text(*(JsonObject *const *) b, "id"));
}

int client_machines(Client *c, char **patterns, JsonObject **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_json_ JsonObject *all = json_object_new_array(), *some = json_object_new_array();
        JsonObject *machine = NULL;
        int r;

        r = client_call(c, NULL, "ListMachines", &reply, NULL);
        if (r != STATUS_OK)
                return r;

        r = sd_bus_message_enter_container(reply, 'a', "(sosssssssss)");
        if (r < 0)
                return fail_local(r);
        while ((r = read_machine(reply, &machine)) > 0)
                (void) json_object_array_add(all, machine);
        if (r < 0)
                return fail_local(r);

        json_object_array_sort(all, compare_ids);
        if (!patterns || !*patterns) {
                *ret = TAKE_PTR(all);
                return STATUS_OK;
        }

        r = check_patterns(all, patterns);
        if (r != STATUS_OK)
                return r;

        for (size_t i = 0; i < json_object_array_length(all); i++) {
                machine = json_object_array_get_idx(all, i);
                if (any_matches(machine, patterns))
                        (void) json_object_array_add(some, json_object_get(machine));
        }

        *ret = TAKE_PTR(some);
        return STATUS_OK;
}

int client_history(Client *c, unsigned max, JsonObject **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_json_ JsonObject *records = json_object_new_array();
        const char *text;
        int r;

        r = client_call(c, NULL, "GetHistory", &reply, "u", (uint32_t) max);
        if (r != STATUS_OK)
                return r;

        r = sd_bus_message_enter_container(reply, 'a', "s");
        while (r >= 0 && (r = sd_bus_message_read_basic(reply, 's', &text)) > 0) {
                JsonObject *record;

                if (json_clean_record(text, &record) >= 0)
                        (void) json_object_array_add(records, record);
        }
        if (r < 0)
                return fail_local(r);

        *ret = TAKE_PTR(records);
        return STATUS_OK;
}

/* signals; what is sent to us alone passes any match by a well-known sender, whoever sends it */

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Client *c = userdata;
        _cleanup_json_ JsonObject *event = NULL;

        (void) error;
        if (!str_equal(sd_bus_message_get_sender(m), c->owner))
                return 0;
        if (event_from_signal(m, &event) >= 0)
                c->fn(event, c->userdata);
        return 0;
}

static void client_set_owner(Client *c, const char *owner) {
        (void) snprintf(c->owner, sizeof(c->owner), "%s", owner);
}

static int on_presence(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Client *c = userdata;
        _cleanup_json_ JsonObject *event = NULL;
        const char *name, *old_owner, *new_owner;

        (void) error;
        if (!str_equal(sd_bus_message_get_sender(m), DBUS_NAME) ||
            sd_bus_message_read(m, "sss", &name, &old_owner, &new_owner) < 0)
                return 0;

        client_set_owner(c, new_owner);
        event = event_from_presence(*new_owner);
        c->fn(event, c->userdata);
        return 0;
}

/* Asked once the bus tells of changes, so that none is missed. */
static int client_find_owner(Client *c) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *owner;
        int r;

        r = sd_bus_call_method(
                        c->bus,
                        DBUS_NAME,
                        "/org/freedesktop/DBus",
                        DBUS_NAME,
                        "GetNameOwner",
                        &error,
                        &reply,
                        "s",
                        BUS_NAME);
        if (sd_bus_error_has_name(&error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return 0;
        if (r >= 0)
                r = sd_bus_message_read(reply, "s", &owner);
        if (r >= 0)
                client_set_owner(c, owner);
        return r;
}

int client_subscribe(Client *c, ClientFn fn, void *userdata) {
        int r;

        c->fn = fn;
        c->userdata = userdata;

        r = sd_bus_match_signal(
                        c->bus,
                        &c->signals,
                        BUS_NAME,
                        BUS_PATH,
                        MANAGER_INTERFACE,
                        NULL,
                        on_signal,
                        c);
        if (r >= 0)
                r = sd_bus_add_match(
                                c->bus,
                                &c->presence,
                                "type='signal',sender='" DBUS_NAME "',"
                                "member='NameOwnerChanged',arg0='" BUS_NAME "'",
                                on_presence,
                                c);
        if (r >= 0)
                r = client_find_owner(c);
        return r < 0 ? fail_local(r) : STATUS_OK;
}

int client_wait(Client *c, const bool *done, uint64_t timeout_usec) {
        uint64_t now = clock_now_usec(CLOCK_MONOTONIC), end;
        int r;

        if (__builtin_add_overflow(now, timeout_usec, &end))
                end = USEC_INFINITY;

        while (!*done) {
                r = sd_bus_process(c->bus, NULL);
                if (r < 0)
                        return fail_bus(r);
                if (r > 0)
                        continue;

                now = clock_now_usec(CLOCK_MONOTONIC);
                if (now >= end)
                        return STATUS_FAILURE;
                r = sd_bus_wait(c->bus, end == USEC_INFINITY ? UINT64_MAX : end - now);
                if (r < 0 && r != -EINTR)
                        return fail_bus(r);
        }
        return STATUS_OK;
}
