/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define TEXT_MAX (256 * 1024)
#define LIMIT_MSEC 10000

/* Returns: the next line, which is valid until the next call; NULL if nothing comes. */
static char *machine_line(SweepMachine *m) {
        static char line[TEXT_MAX];

        for (;;) {
                char *end = memchr(m->text, '\n', m->n);
                struct pollfd p = { .fd = m->fd, .events = POLLIN };
                ssize_t size;

                if (end) {
                        size_t n = (size_t) (end - m->text);

                        memcpy(line, m->text, n);
                        line[n] = 0;
                        m->n -= n + 1;
                        memmove(m->text, end + 1, m->n);
                        return line;
                }
                if (m->n == TEXT_MAX || poll(&p, 1, LIMIT_MSEC) <= 0)
                        return NULL;
                size = recv(m->fd, m->text + m->n, TEXT_MAX - m->n, 0);
                if (size <= 0)
                        return NULL;
                m->n += (size_t) size;
        }
}

static void machine_take_status(SweepMachine *m, const char *line) {
        static const char key[] = "\"status\": \"";
        const char *word = strstr(line, key);

        if (!word)
                return;
        word += strlen(key);
        (void) snprintf(m->status, sizeof(m->status), "%.*s", (int) strcspn(word, "\""), word);
}

/* Reads to the answer to what was sent last. */
static int machine_read_answer(SweepMachine *m) {
        const char *line;

        while ((line = machine_line(m))) {
                m->n_stops += strstr(line, "\"event\": \"STOP\"") != NULL;
                m->n_resumes += strstr(line, "\"event\": \"RESUME\"") != NULL;
                if (strstr(line, "\"error\": {"))
                        return -EREMOTEIO;
                if (strstr(line, "\"return\": ")) {
                        machine_take_status(m, line);
                        return 0;
                }
        }
        return -ETIMEDOUT;
}

int sweep_machine_command(SweepMachine *m, const char *command) {
        char text[128];
        int n;

        n = snprintf(text, sizeof(text), "{\"execute\": \"%s\"}\n", command);
        if (send(m->fd, text, (size_t) n, MSG_NOSIGNAL) != n)
                return -EIO;
        return machine_read_answer(m);
}

int sweep_machine_look(SweepMachine *m) {
        m->status[0] = 0;
        return sweep_machine_command(m, "query-status");
}

int sweep_machine_open(SweepMachine *m, const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        const char *name = strrchr(path, '/');

        *m = (SweepMachine){ .fd = -1, .name = name ? name + 1 : path };
        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, path, strlen(path));
        m->text = malloc(TEXT_MAX);
        if (!m->text)
                return -ENOMEM;
        m->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (m->fd < 0 || connect(m->fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        if (!machine_line(m)) /* the greeting */
                return -ETIMEDOUT;
        return sweep_machine_command(m, "qmp_capabilities");
}

void sweep_machine_close(SweepMachine *m) {
        closep(&m->fd);
        m->fd = -1;
        free(TAKE_PTR(m->text));
}
