/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A QMP Machine, Fuzzed
 *
 * One Vm between a VMM and a guest agent that say anything, or what is right, hear what they are asked or leave
 * it, and hang up. vm-host.h is the rest of its world, and says what must hold; what it writes are commands.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "common/clock-sample.h"
#include "common/time-util.h"
#include "folder.h"
#include "timers.h"
#include "vm-host.h"

#define OPS_MAX 96
#define LINE_SIZE 256

typedef struct Peer {
        int fd;
        char heard[4096];
        size_t n_heard;
} Peer;

static Peer vmm, agent;
static const char *word; /* QEMU's run state */
static int listener = -1;

/* the lines */

static void say(const Peer *p, const char *text, size_t size) {
        if (p->fd >= 0)
                (void) send(p->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void say_text(const Peer *p, const char *text) {
        say(p, text, strlen(text));
}

static void hang_up(Peer *p) {
        closep(&p->fd);
        *p = (Peer){ .fd = -1 };
}

/* Returns: false if there is nothing to be heard. */
static bool hear(Peer *p, char line[static LINE_SIZE]) {
        ssize_t n = recv(p->fd, p->heard + p->n_heard, sizeof(p->heard) - p->n_heard, MSG_DONTWAIT);
        const char *end;
        size_t size;

        if (n > 0)
                p->n_heard += (size_t) n;
        end = memchr(p->heard, '\n', p->n_heard);
        if (!end)
                return false;
        size = (size_t) (end - p->heard) + 1;
        HOLDS(size < LINE_SIZE);
        memcpy(line, p->heard, size);
        line[size] = 0;
        p->n_heard -= size;
        memmove(p->heard, p->heard + size, p->n_heard);
        return true;
}

/* the VMM and the agent */

static const struct {
        const char *command, *value;
} answers[] = {
        { "query-name", "{\"name\": \"web\"}" },
        { "query-uuid", "{\"UUID\": \"5a5ba0a4-6c5b-4ac9-a8a9-9c3a8a5a2d6e\"}" },
        { "query-current-machine", "{\"wakeup-suspend-support\": true}" },
        { "qom-list", "[{\"name\": \"net\", \"type\": \"child<virtio-net-pci>\"}]" },
        { "guest-get-time", "1700000000000000000" },
        { "guest-info",
          "{\"supported_commands\": [{\"name\": \"guest-suspend-ram\", \"enabled\": true},"
          "{\"name\": \"guest-get-time\", \"enabled\": true},"
          "{\"name\": \"guest-set-time\", \"enabled\": true}]}" },
};

static const char *const errors[] = {
        "{\"error\": {\"class\": \"GenericError\", \"desc\": \"odd\"}",
        "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Resetting is required\"}",
        "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"unknown\"}",
        "{\"error\": {}",
};

static const char *const words[] = {
        "running", "paused", "suspended", "io-error", "guest-panicked", "shutdown", "",
};

static const char *const events[] = {
        "STOP", "RESUME",          "SUSPEND",        "WAKEUP",         "SHUTDOWN", "RESET",
        "NONE", "VSERPORT_CHANGE", "DEVICE_DELETED", "GUEST_PANICKED", "WATCHDOG", "POWERDOWN",
};

/* The value that is right for the command in @line. */
static void say_value(const Peer *p, const char *line) {
        const char *value = "{}";
        char text[64];

        if (strstr(line, "\"query-status\"")) {
                (void) snprintf(text, sizeof(text), "{\"status\": \"%s\"}", word);
                value = text;
        }
        for (size_t i = 0; i < ARRAY_LEN(answers); i++)
                if (strstr(line, answers[i].command))
                        value = answers[i].value;
        say_text(p, value);
}

/* Answers @line: @how 0 as it should be, 1 with the input's words, or with an error. */
static void answer(const Peer *p, const char *line, unsigned how, Input *in) {
        const char *id = strstr(line, "\"id\":");
        int id_length = id ? (int) strcspn(id, ",}") : 0;
        char rest[64];

        if (*line == '\n')
                return;
        HOLDS(strstr(line, "{\"execute\":\"") && strstr(line, "}\n"));
        if (strstr(line, "guest-sync-delimited") && how == 0) {
                (void) snprintf(rest,
                                sizeof(rest),
                                "\xff{\"return\": %.*s}\n",
                                id_length - 5,
                                id + 5);
                say_text(p, rest);
                return;
        }
        if (how >= 2)
                say_text(p, errors[how - 2]);
        else
                say_text(p, "{\"return\": ");
        if (how == 0)
                say_value(p, line);
        else if (how == 1)
                say_text(p, input_text(in));
        (void) snprintf(rest, sizeof(rest), "%s%.*s}\r\n", id ? ", " : "", id_length, id ?: "");
        say_text(p, rest);
}

static Peer *input_peer(Input *in) {
        return input_byte(in) & 1 ? &agent : &vmm;
}

/* what happens */

static void op_say(Input *in) {
        const Peer *p = input_peer(in);

        say_text(p, input_text(in));
        say(p, "\n", 1);
}

static void op_greet(Input *in) {
        (void) in;
        say_text(&vmm,
                 "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}}, "
                 "\"capabilities\": []}}\r\n");
}

/* One command is read, and perhaps answered; or answered unread. */
static void op_answer(Input *in) {
        Peer *p = input_peer(in);
        unsigned how = input_choice(in, 8);
        char line[LINE_SIZE];

        if (how == 7)
                say_text(p, "{\"return\": {}}\n");
        else if (hear(p, line) && how < 6)
                answer(p, line, how, in);
}

/* All is answered as it should be. */
static void op_serve(Input *in) {
        Peer *p = input_peer(in);
        char line[LINE_SIZE];

        for (unsigned i = 0; i < 16 && hear(p, line); i++, vm_host_turn())
                answer(p, line, 0, in);
}

/* QEMU's stamp is of just now, of a moment ago, or there is none. */
static void op_event(Input *in) {
        const char *name = events[input_choice(in, ARRAY_LEN(events))];
        unsigned how = input_byte(in);
        int64_t usec = clock_now_ns(CLOCK_REALTIME) / NSEC_PER_USEC - (how & 1 ? 10000 : 0);
        char text[192], stamp[96] = "";

        if (how & 3)
                (void) snprintf(stamp,
                                sizeof(stamp),
                                "\"timestamp\": {\"seconds\": %" PRIi64
                                ", \"microseconds\": %" PRIi64 "}, ",
                                usec / (int64_t) USEC_PER_SEC,
                                usec % (int64_t) USEC_PER_SEC);
        (void) snprintf(text,
                        sizeof(text),
                        "{%s\"event\": \"%s\", \"data\": {\"action\": \"%s\"}}\r\n",
                        stamp,
                        name,
                        how & 4 ? "reset" : "pause");
        say_text(&vmm, text);
}

static void op_hang_up(Input *in) {
        hang_up(input_peer(in));
}

static void op_word(Input *in) {
        word = words[input_choice(in, ARRAY_LEN(words))];
}

static void op_flood(Input *in) {
        static char flood[16 * 1024];

        memset(flood, '\n', sizeof(flood));
        say(input_peer(in), flood, sizeof(flood));
}

static void (*const ops[])(Input *in) = {
        op_greet,       op_serve,      op_answer,      op_event,    op_word,
        vm_host_act,    vm_host_act,   vm_host_cancel, timers_fire, op_say,
        vm_host_meddle, vm_host_opine, vm_host_own,    op_hang_up,  op_flood,
};

/* the sockets */

static void listen_once(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        if (listener >= 0)
                return;
        folder_make();
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", folder_path("base.qga"));
        folder_write("none.qga", "", 0);
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        HOLDS(listener >= 0);
        HOLDS(bind(listener, (struct sockaddr *) &address, sizeof(address)) == 0);
        HOLDS(listen(listener, 64) == 0);
}

static void accept_agent(void) {
        if (agent.fd < 0)
                agent.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

/* A small buffer, so that what is not read is soon kept; it may be full already, with empty lines. */
static void begin(unsigned how) {
        int fds[2], little = 1;

        word = words[0];
        agent = (Peer){ .fd = -1 };
        HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
        vmm = (Peer){ .fd = fds[0] };
        HOLDS(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)) == 0);
        while (how & 8 && send(fds[1], "\n", 1, MSG_DONTWAIT) == 1)
                ;
        vm_host_begin(fds[1],
                      how & 1 ? "named" : NULL,
                      how & 2 ? NULL : folder_path(how & 4 ? "none.qga" : "base.qga"));
}

static int lowest_fd(void) {
        int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

        HOLDS(close(fd) == 0);
        return fd;
}

/* The upper bit of an operation leaves it in the socket: the next one comes in the same turn. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input in = input_begin(data, size);
        int fd;

        listen_once();
        fd = lowest_fd();
        begin(input_byte(&in));
        for (unsigned i = 0; i < OPS_MAX && !input_is_over(&in) && !vm_host_is_over(); i++) {
                unsigned op = input_byte(&in);

                ops[(op & 0x7f) % ARRAY_LEN(ops)](&in);
                if (op & 0x80)
                        continue;
                vm_host_turn();
                accept_agent();
        }
        vm_host_end();
        hang_up(&vmm);
        for (accept_agent(); agent.fd >= 0; accept_agent())
                hang_up(&agent);
        HOLDS(lowest_fd() == fd);
        input_done(&in);
        return 0;
}
