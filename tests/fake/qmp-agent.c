/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The guest agent: qemu-ga's answers, from a guest that runs.
 */

#include "qmp-fake.h"

#define SUSPEND_DEFAULT_MSEC 20

unsigned agent_delay_msec(const Channel *c) {
        const Machine *m = c->machine;

        if (m->agent_kind != AGENT_SLOW)
                return 0;
        return m->agent_arg > 0 ? m->agent_arg : 2000;
}

static void agent_sync(Channel *c, json_object *command, bool is_delimited) {
        json_object *arguments = json_object_object_get(command, "arguments");
        const char *id = json_object_get_string(json_object_object_get(arguments, "id"));

        static const char leftovers[] = "{\"return\": 17}\n{\"ret\xc3(\xfe";

        if (is_delimited && c->machine->agent_kind == AGENT_GARBAGE)
                channel_send(c, leftovers, sizeof(leftovers) - 1);
        if (is_delimited)
                channel_send(c, "\xff", 1);
        channel_reply(c, command, id ? id : "0");
}

static void agent_info(Channel *c, json_object *command) {
        static const char *const names[] = {
                "guest-sync-delimited", "guest-sync",     "guest-ping",
                "guest-info",           "guest-get-time", "guest-set-time",
        };
        char value[1024];
        int n;

        n = snprintf(value, sizeof(value), "{\"version\": \"7.2.22\", \"supported_commands\": [");
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                n += snprintf(value + n,
                              sizeof(value) - (size_t) n,
                              "{\"enabled\": true, \"name\": \"%s\", \"success-response\": true}, ",
                              names[i]);
        (void) snprintf(value + n,
                        sizeof(value) - (size_t) n,
                        "{\"enabled\": %s, \"name\": \"guest-suspend-ram\", \"success-response\": false}]}",
                        c->machine->agent_kind == AGENT_NOSUSPEND ? "false" : "true");
        channel_reply(c, command, value);
}

/* says nothing on success, as the real one */
static void agent_suspend(Channel *c, json_object *command) {
        Machine *m = c->machine;

        switch (m->agent_kind) {
        case AGENT_ERROR:
                channel_reply_error(
                                c,
                                command,
                                "GenericError",
                                "the requested suspend mode is not supported by the guest");
                return;
        case AGENT_NOSUSPEND:
                channel_reply_error(
                                c,
                                command,
                                "CommandNotFound",
                                "Command guest-suspend-ram has been disabled");
                return;
        case AGENT_LIE:
                return;
        case AGENT_LATE:
                machine_suspend_in(m, m->agent_arg > 0 ? m->agent_arg : 3000);
                return;
        default:
                machine_suspend_in(
                                m,
                                m->agent_kind == AGENT_GOOD && m->agent_arg > 0
                                                ? m->agent_arg
                                                : SUSPEND_DEFAULT_MSEC);
        }
}

static void agent_get_time(Channel *c, json_object *command) {
        char value[32];

        (void) snprintf(value, sizeof(value), "%lld", (long long) machine_get_clock(c->machine));
        channel_reply(c, command, value);
}

static void agent_set_time(Channel *c, json_object *command) {
        json_object *arguments = json_object_object_get(command, "arguments"), *time = NULL;
        Machine *m = c->machine;

        if (json_object_object_get_ex(arguments, "time", &time))
                machine_set_clock(m, json_object_get_int64(time));
        else /* from the RTC, which knows whole seconds */
                machine_set_clock(
                                m,
                                (machine_get_clock(m) - m->clock_offset_ns) / 1000000000 *
                                                1000000000);
        machine_emit(m, "RTC_CHANGE", "{\"offset\": 0, \"qom-path\": \"/machine/rtc\"}");
        channel_reply(c, command, "{}");
}

void agent_run(Channel *c, json_object *command) {
        const char *name = json_object_get_string(json_object_object_get(command, "execute"));

        if (str_equal(name, "guest-sync-delimited") || str_equal(name, "guest-sync"))
                agent_sync(c, command, str_equal(name, "guest-sync-delimited"));
        else if (str_equal(name, "guest-info"))
                agent_info(c, command);
        else if (str_equal(name, "guest-suspend-ram"))
                agent_suspend(c, command);
        else if (str_equal(name, "guest-get-time"))
                agent_get_time(c, command);
        else if (str_equal(name, "guest-set-time"))
                agent_set_time(c, command);
        else if (str_equal(name, "guest-ping"))
                channel_reply(c, command, "{}");
        else
                channel_reply_error(
                                c, command, "CommandNotFound", "The command has not been found");
}
