/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The monitor: QEMU 7.2's answers to what a power manager asks, and the misbehaviours.
 */

#include "qmp-fake.h"

typedef void (*CommandFn)(Channel *c, json_object *command);

typedef struct Command {
        const char *name;
        CommandFn run;
        const char *value; /* the answer, where it is always the same */
} Command;

void monitor_greet(Channel *c) {
        static const char greeting[] =
                        "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, "
                        "\"package\": \"fake\"}, \"capabilities\": [\"oob\"]}}\r\n";

        channel_send(c, greeting, sizeof(greeting) - 1);
}

/* misbehaviour */

static void send_repeated(Channel *c, const char *head, char fill, size_t n, const char *tail) {
        _cleanup_free_ char *line = malloc(strlen(head) + n + strlen(tail));

        if (!line)
                return;
        memcpy(line, head, strlen(head));
        memset(line + strlen(head), fill, n);
        memcpy(line + strlen(head) + n, tail, strlen(tail));
        channel_send(c, line, strlen(head) + n + strlen(tail));
}

void monitor_blurt(Channel *c) {
        unsigned arg = c->machine->monitor_arg;

        switch (c->machine->monitor_kind) {
        case MONITOR_LONG:
                send_repeated(c,
                              "{\"event\": \"X\", \"data\": {\"s\": \"",
                              'a',
                              (size_t) (arg > 0 ? arg : 10) * 1024 * 1024,
                              "\"}}\r\n");
                break;
        case MONITOR_DEEP:
                send_repeated(c, "{\"event\": \"X\", \"data\": ", '[', 1000000, "\r\n");
                break;
        case MONITOR_BADUTF8:
                send_repeated(c,
                              "{\"event\": \"X\", \"data\": {\"s\": \"\xc3\x28",
                              '\xfe',
                              8,
                              "\"}}\r\n");
                break;
        case MONITOR_GARBAGE:
                send_repeated(c, "(qemu) info status\r\nVM status: ", '?', 8, "\r\n");
                break;
        default:
                break;
        }
}

void monitor_refill(Channel *c) {
        static const char event[] =
                        "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": "
                        "\"RTC_CHANGE\", \"data\": {\"offset\": 0, \"qom-path\": \"/machine/rtc\"}}\r\n";
        static char block[(sizeof(event) - 1) * 512];

        for (size_t i = 0; block[0] == 0 && i < 512; i++)
                memcpy(block + (511 - i) * (sizeof(event) - 1), event, sizeof(event) - 1);
        channel_send(c, block, sizeof(block));
}

unsigned monitor_delay_msec(const Channel *c, json_object *command) {
        const char *name = json_object_get_string(json_object_object_get(command, "execute"));

        if (c->machine->monitor_kind != MONITOR_GOOD)
                return 0;
        return str_equal(name, "stop") || str_equal(name, "cont") ? c->machine->monitor_arg : 0;
}

/* commands */

static void run_stop(Channel *c, json_object *command) {
        Machine *m = c->machine;

        switch (m->monitor_kind) {
        case MONITOR_HUNG:
                return;
        case MONITOR_LIE:
                break;
        case MONITOR_NOREPLY:
                machine_stop(m);
                return;
        case MONITOR_DIES:
                machine_log(m, "state", "dead");
                machine_die(m);
                return;
        default:
                monitor_blurt(c);
                machine_stop(m);
        }
        channel_reply(c, command, "{}");
}

static void run_cont(Channel *c, json_object *command) {
        machine_cont(c->machine);
        channel_reply(c, command, "{}");
}

static void run_wakeup(Channel *c, json_object *command) {
        if (machine_wake(c->machine))
                channel_reply(c, command, "{}");
        else
                channel_reply_error(
                                c,
                                command,
                                "GenericError",
                                "Unable to wake up: guest is not in suspended state");
}

static void run_query_status(Channel *c, json_object *command) {
        char value[128];

        (void) snprintf(value,
                        sizeof(value),
                        "{\"status\": \"%s\", \"singlestep\": false, \"running\": %s}",
                        c->machine->state,
                        machine_is_running(c->machine) ? "true" : "false");
        channel_reply(c, command, value);
}

static void run_query_name(Channel *c, json_object *command) {
        char value[256];

        (void) snprintf(value, sizeof(value), "{\"name\": \"%s\"}", c->machine->name);
        channel_reply(c, command, value);
}

/* a UUID from the name (FNV-1a), so that a machine that comes again is the same one */
static void run_query_uuid(Channel *c, json_object *command) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325);
        char value[128];

        for (const char *p = c->machine->name; *p; p++)
                hash = (hash ^ (unsigned char) *p) * UINT64_C(0x100000001b3);
        (void) snprintf(value,
                        sizeof(value),
                        "{\"UUID\": \"%08x-0000-4000-8000-%012llx\"}",
                        (unsigned) (hash >> 32),
                        (unsigned long long) (hash & UINT64_C(0xffffffffffff)));
        channel_reply(c, command, value);
}

static void run_query_chardev(Channel *c, json_object *command) {
        bool has_agent = c->machine->agent_kind != AGENT_NONE;
        char value[1024];

        (void) snprintf(value,
                        sizeof(value),
                        "[{\"frontend-open\": true, \"filename\": \"unix:%s,server=on\", "
                        "\"label\": \"compat_monitor0\"}%s%s%s]",
                        c->path,
                        has_agent ? ", {\"frontend-open\": true, \"filename\": \"disconnected:unix:"
                                  : "",
                        has_agent ? c->machine->agent.path : "",
                        has_agent ? ",server=on\", \"label\": \"qga0\"}" : "");
        channel_reply(c, command, value);
}

static const Command commands[] = {
        { "stop", run_stop, NULL },
        { "cont", run_cont, NULL },
        { "system_wakeup", run_wakeup, NULL },
        { "query-status", run_query_status, NULL },
        { "query-name", run_query_name, NULL },
        { "query-uuid", run_query_uuid, NULL },
        { "query-chardev", run_query_chardev, NULL },
        { "query-version",
          NULL,
          "{\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": \"fake\"}" },
        { "query-current-machine", NULL, "{\"wakeup-suspend-support\": true}" },
        { "query-target", NULL, "{\"arch\": \"x86_64\"}" },
        { "query-kvm", NULL, "{\"enabled\": false, \"present\": true}" },
        { "query-pci", NULL, "[]" },
        { "query-migrate", NULL, "{}" },
        { "qom-list", NULL, "[{\"name\": \"type\", \"type\": \"string\"}]" },
        { "rtc-reset-reinjection", NULL, "{}" },
};

static void monitor_negotiate(Channel *c, json_object *command, const char *name) {
        if (!str_equal(name, "qmp_capabilities")) {
                channel_reply_error(
                                c,
                                command,
                                "CommandNotFound",
                                "Expecting capabilities negotiation with 'qmp_capabilities'");
                return;
        }
        channel_reply(c, command, "{}");
        c->is_negotiated = true;
        if (c->machine->monitor_kind == MONITOR_FLOOD)
                monitor_refill(c);
}

void monitor_run(Channel *c, json_object *command) {
        const char *name = json_object_get_string(json_object_object_get(command, "execute"));

        if (c->machine->monitor_kind == MONITOR_DEAF || c->machine->monitor_kind == MONITOR_MUTE)
                return;
        if (!c->is_negotiated) {
                monitor_negotiate(c, command, name);
                return;
        }
        for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
                if (!str_equal(commands[i].name, name))
                        continue;
                if (commands[i].run)
                        commands[i].run(c, command);
                else
                        channel_reply(c, command, commands[i].value);
                return;
        }
        channel_reply_error(c, command, "CommandNotFound", "The command has not been found");
}
