/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "command-daemon.h"
#include <errno.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>

#define MACHINES_MAX 4
#define SIGNALS_MAX 16
#define MACHINE_PREFIX "/org/suspendd1/machine"
#define MANAGER_INTERFACE "org.suspendd1.Manager"
#define OWNER ":1.1" /* of suspendd's name */

static Input *in;
static char **arguments;
static int far_end = -1;
static uint64_t n_messages;
static unsigned n_signals;
static sd_bus_message_handler_t on_signal;
static void *on_signal_userdata;

void command_daemon_begin(Input *input, char **argv) {
        in = input;
        arguments = argv;
        n_messages = 0;
        n_signals = 0;
        on_signal = NULL;
}

bool command_daemon_was_told(const char *path) {
        for (char **a = arguments + 1; *a; a++) {
                size_t n = strlen(*a), k = strlen(path);

                if (k <= n && str_equal(*a + n - k, path))
                        return true;
        }
        return false;
}

/* messages: what no bus would pass on, text that is not UTF-8 above all, comes out as an error */

static int append_machine_path(sd_bus_message *m) {
        _cleanup_free_ char *path = NULL;

        HOLDS(sd_bus_path_encode(MACHINE_PREFIX, input_text(in), &path) >= 0);
        return sd_bus_message_append(m, "o", path);
}

static int append_machines(sd_bus_message *m) {
        unsigned n = input_choice(in, MACHINES_MAX);
        int r;

        r = sd_bus_message_open_container(m, 'a', "(sosssssssss)");
        for (unsigned i = 0; r >= 0 && i < n; i++) {
                r = sd_bus_message_open_container(m, 'r', "sosssssssss");
                if (r >= 0)
                        r = sd_bus_message_append(m, "s", input_text(in));
                if (r >= 0)
                        r = append_machine_path(m);
                for (unsigned k = 0; r >= 0 && k < 9; k++)
                        r = sd_bus_message_append(m, "s", input_text(in));
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_variant(sd_bus_message *m) {
        switch (input_choice(in, 8)) {
        case 0:
                return sd_bus_message_append(m, "v", "t", input_number(in));
        case 1:
                return sd_bus_message_append(m, "v", "x", (int64_t) input_number(in));
        case 2:
                return sd_bus_message_append(m, "v", "u", (uint32_t) input_byte(in));
        case 3:
                return sd_bus_message_append(m, "v", "b", input_byte(in) & 1);
        case 4:
                return sd_bus_message_append(m, "v", "as", 2, input_text(in), input_text(in));
        case 5:
                return sd_bus_message_append(m, "v", "a{ss}", 1, input_text(in), input_text(in));
        case 6:
                return sd_bus_message_append(
                                m,
                                "v",
                                "aa{sv}",
                                1,
                                2,
                                input_text(in),
                                "s",
                                input_text(in),
                                input_text(in),
                                "x",
                                (int64_t) input_number(in));
        default:
                return sd_bus_message_append(m, "v", "s", input_text(in));
        }
}

/* Those that are looked for, and any. */
static const char *take_property(void) {
        static const char *const names[] = {
                "Id",           "State",      "Answer",   "Later",      "Lacks",
                "Verdict",      "Asked",      "Address",  "Plugin",     "OffsetBeforeNSec",
                "ResidualNSec", "Status",     "Blocking", "Troubles",   "ResidualUncertaintyNSec",
                "Corrections",  "RepairedBy", "Distrust", "PlanReason", "Why",
        };
        unsigned i = input_choice(in, ARRAY_LEN(names) + 1);

        return i < ARRAY_LEN(names) ? names[i] : input_text(in);
}

static int append_properties(sd_bus_message *m) {
        unsigned n = input_choice(in, 32);
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        for (unsigned i = 0; r >= 0 && i < n; i++) {
                r = sd_bus_message_open_container(m, 'e', "sv");
                if (r >= 0)
                        r = sd_bus_message_append(m, "s", take_property());
                if (r >= 0)
                        r = append_variant(m);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_texts(sd_bus_message *m) {
        unsigned n = input_choice(in, 4);
        int r;

        r = sd_bus_message_open_container(m, 'a', "s");
        for (unsigned i = 0; r >= 0 && i < n; i++)
                r = sd_bus_message_append(m, "s", input_text(in));
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_answer(sd_bus_message *m, const char *method) {
        if (str_equal(method, "ListMachines"))
                return append_machines(m);
        if (str_equal(method, "GetAll"))
                return append_properties(m);
        if (str_equal(method, "GetHistory"))
                return append_texts(m);
        if (str_equal(method, "ListPages"))
                return sd_bus_message_append(m, "s", input_text(in));
        if (str_equal(method, "Rehearse"))
                return sd_bus_message_append(m, "t", input_number(in));
        return 0;
}

static int message_finish(sd_bus_message *m) {
        int r = sd_bus_message_seal(m, ++n_messages, 0);

        return r < 0 ? r : sd_bus_message_rewind(m, true);
}

static int refuse(sd_bus_error *error) {
        static const char *const names[] = {
                SD_BUS_ERROR_SERVICE_UNKNOWN,        SD_BUS_ERROR_ACCESS_DENIED,
                SD_BUS_ERROR_UNKNOWN_OBJECT,         SD_BUS_ERROR_INVALID_ARGS,
                "org.suspendd1.Error.NoSuchMachine", "org.suspendd1.Error.Failed",
        };

        return sd_bus_error_set(error, names[input_choice(in, ARRAY_LEN(names))], input_text(in));
}

/* in the place of sd-bus' own */

int sd_bus_open_system(sd_bus **ret) {
        int fds[2];

        HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
        far_end = fds[1];
        HOLDS(sd_bus_new(ret) >= 0);
        HOLDS(sd_bus_set_fd(*ret, fds[0], fds[0]) >= 0);
        HOLDS(sd_bus_start(*ret) >= 0);
        return 0;
}

sd_bus *sd_bus_flush_close_unref(sd_bus *bus) {
        closep(&far_end);
        far_end = -1;
        return sd_bus_close_unref(bus);
}

int sd_bus_call(sd_bus *bus,
                sd_bus_message *m,
                uint64_t usec,
                sd_bus_error *error,
                sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        int r;

        (void) usec;
        if (input_is_over(in) || input_byte(in) < 16)
                return refuse(error);
        r = sd_bus_message_new(bus, &answer, SD_BUS_MESSAGE_METHOD_RETURN);
        if (r >= 0)
                r = append_answer(answer, sd_bus_message_get_member(m));
        if (r >= 0)
                r = message_finish(answer);
        if (r < 0)
                return refuse(error);
        if (ret)
                *ret = TAKE_PTR(answer);
        return 1;
}

/* NOLINTNEXTLINE(readability-function-size): sd-bus has so many parameters */
int sd_bus_call_method(
                sd_bus *bus,
                const char *destination,
                const char *path,
                const char *interface,
                const char *member,
                sd_bus_error *error,
                sd_bus_message **ret,
                const char *types,
                ...) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;

        (void) destination, (void) path, (void) interface, (void) error, (void) types;
        HOLDS(str_equal(member, "GetNameOwner")); /* nothing else is asked like this */
        HOLDS(sd_bus_message_new(bus, &answer, SD_BUS_MESSAGE_METHOD_RETURN) >= 0);
        HOLDS(sd_bus_message_append(answer, "s", OWNER) >= 0);
        HOLDS(message_finish(answer) >= 0);
        *ret = TAKE_PTR(answer);
        return 1;
}

/* NOLINTNEXTLINE(readability-function-size): sd-bus has so many parameters */
int sd_bus_match_signal(
                sd_bus *bus,
                sd_bus_slot **ret,
                const char *sender,
                const char *path,
                const char *interface,
                const char *member,
                sd_bus_message_handler_t callback,
                void *userdata) {
        (void) bus, (void) sender, (void) path, (void) interface, (void) member;
        on_signal = callback;
        on_signal_userdata = userdata;
        *ret = NULL;
        return 0;
}

int sd_bus_add_match(
                sd_bus *bus,
                sd_bus_slot **ret,
                const char *match,
                sd_bus_message_handler_t callback,
                void *userdata) {
        (void) bus, (void) match, (void) callback, (void) userdata;
        *ret = NULL;
        return 0;
}

static const struct {
        const char *member, *types;
} signals[] = {
        { "CycleStarted", "tss" }, { "MachineStood", "ost" },  { "LockReleased", "tt" },
        { "Woke", "tx" },          { "MachineRan", "ox" },     { "CycleFinished", "tss" },
        { "MachineAdded", "so" },  { "MachineRemoved", "so" }, { "Unheard", "s" },
};

static int signal_make(sd_bus *bus, sd_bus_message **ret) {
        unsigned i = input_choice(in, ARRAY_LEN(signals));
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_signal(
                        bus, &m, "/org/suspendd1", MANAGER_INTERFACE, signals[i].member);
        if (r >= 0)
                r = sd_bus_message_set_sender(m, OWNER);
        for (const char *type = signals[i].types; r >= 0 && *type; type++) {
                if (*type == 's')
                        r = sd_bus_message_append(m, "s", input_text(in));
                else if (*type == 'o')
                        r = append_machine_path(m);
                else
                        r = sd_bus_message_append(
                                        m, (const char[]){ *type, '\0' }, input_number(in));
        }
        if (r >= 0)
                r = message_finish(m);
        if (r >= 0)
                *ret = TAKE_PTR(m);
        return r;
}

int sd_bus_process(sd_bus *bus, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        (void) ret;
        if (!on_signal || input_is_over(in) || n_signals++ == SIGNALS_MAX)
                return -ECONNRESET;
        if (signal_make(bus, &m) >= 0)
                (void) on_signal(m, on_signal_userdata, &error);
        return 1;
}

int sd_bus_wait(sd_bus *bus, uint64_t usec) {
        (void) bus;
        (void) usec;
        return 0;
}
