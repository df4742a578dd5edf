/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * qmp-fake --dir DIR NAME=MONITOR[:ARG][+AGENT[:ARG]]...
 *
 * Serves fake QEMUs (qmp-fake.h names the behaviours) at DIR/NAME.qmp and DIR/NAME.qga. NAME may be
 * NAME*COUNT for NAME0 ... . Prints "ready", then a line for each command that it gets and each
 * change of a run state: CLOCK_MONOTONIC ns, machine, "monitor" | "agent" | "state", what.
 *
 * On stdin, a line each, what happens to a machine from elsewhere:
 *   NAME stop | cont | suspend | wake | die | drop (its clients) | blurt
 *   NAME state STATE | event EVENT | monitor KIND | agent KIND | clock OFFSET_NS
 *   add SPEC
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include "qmp-fake.h"

typedef struct Fake {
        sd_event *event;
        const char *dir;
        List machines;
        char line[512];
        size_t n_line;
} Fake;

static int fake_add(Fake *f, const char *spec) {
        Machine *m;
        int r;

        r = machine_new(f->event, f->dir, spec, &m);
        if (r < 0) {
                fprintf(stderr, "qmp-fake: %s: %s\n", spec, strerror(-r));
                return r;
        }
        list_append(&f->machines, &m->link);
        return 0;
}

static int fake_add_many(Fake *f, const char *spec) {
        const char *star = strchr(spec, '*'), *equals = strchr(spec, '=');
        unsigned n;
        int r;

        if (!star || !equals || star > equals)
                return fake_add(f, spec);

        n = (unsigned) strtoul(star + 1, NULL, 10);
        for (unsigned i = 0; i < n; i++) {
                _cleanup_free_ char *one = NULL;

                if (asprintf(&one, "%.*s%u%s", (int) (star - spec), spec, i, equals) < 0)
                        return -ENOMEM;
                r = fake_add(f, one);
                if (r < 0)
                        return r;
        }
        return 0;
}

static Machine *fake_find(Fake *f, const char *name) {
        LIST_FOREACH(i, &f->machines) {
                Machine *m = LIST_ENTRY(i, Machine, link);

                if (str_equal(m->name, name))
                        return m;
        }
        return NULL;
}

/* commands with an argument */
static bool machine_order_with(Machine *m, const char *verb, const char *arg) {
        if (str_equal(verb, "state"))
                machine_set_state(m, arg);
        else if (str_equal(verb, "event"))
                machine_emit(m, arg, NULL);
        else if (str_equal(verb, "monitor") && monitor_kind_from_string(arg) >= 0)
                m->monitor_kind = monitor_kind_from_string(arg);
        else if (str_equal(verb, "agent") && agent_kind_from_string(arg) >= 0)
                m->agent_kind = agent_kind_from_string(arg);
        else if (str_equal(verb, "clock"))
                m->clock_offset_ns = strtoll(arg, NULL, 10);
        else
                return false;
        channel_process(&m->agent);
        return true;
}

static bool machine_order(Machine *m, const char *verb) {
        if (str_equal(verb, "stop"))
                machine_stop(m);
        else if (str_equal(verb, "cont"))
                machine_cont(m);
        else if (str_equal(verb, "suspend"))
                machine_suspend_in(m, 0);
        else if (str_equal(verb, "wake"))
                (void) machine_wake(m);
        else if (str_equal(verb, "blurt"))
                monitor_blurt(&m->monitor);
        else if (str_equal(verb, "die"))
                machine_free(m);
        else if (str_equal(verb, "drop")) {
                if (m->monitor.path)
                        channel_drop_client(&m->monitor);
                if (m->agent.path)
                        channel_drop_client(&m->agent);
        } else
                return false;
        return true;
}

static void fake_obey(Fake *f, char *line) {
        char *save = NULL, *name = strtok_r(line, " ", &save), *verb = strtok_r(NULL, " ", &save);
        char *arg = strtok_r(NULL, " ", &save);
        Machine *m;
        bool ok = false;

        if (!name || !verb)
                return;
        if (str_equal(name, "add")) {
                (void) fake_add_many(f, verb);
                return;
        }
        m = fake_find(f, name);
        if (m)
                ok = arg ? machine_order_with(m, verb, arg) : machine_order(m, verb);
        if (!ok)
                fprintf(stderr, "qmp-fake: not understood: %s %s\n", name, verb);
}

static int fake_on_stdin(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Fake *f = userdata;
        ssize_t n;
        char *end;

        (void) revents;
        n = read(fd, f->line + f->n_line, sizeof(f->line) - 1 - f->n_line);
        if (n <= 0) {
                (void) sd_event_source_set_enabled(s, SD_EVENT_OFF);
                return 0;
        }
        f->n_line += (size_t) n;
        while ((end = memchr(f->line, '\n', f->n_line))) {
                size_t n_used = (size_t) (end + 1 - f->line);

                *end = 0;
                fake_obey(f, f->line);
                f->n_line -= n_used;
                memmove(f->line, end + 1, f->n_line);
        }
        if (f->n_line == sizeof(f->line) - 1)
                f->n_line = 0;
        return 0;
}

static int fake_run(Fake *f, char **specs) {
        int r;

        for (; *specs; specs++) {
                r = fake_add_many(f, *specs);
                if (r < 0)
                        return r;
        }
        r = sd_event_add_signal(f->event, NULL, SIGTERM, NULL, NULL);
        if (r < 0)
                return r;
        r = sd_event_add_signal(f->event, NULL, SIGINT, NULL, NULL);
        if (r < 0)
                return r;
        r = sd_event_add_io(f->event, NULL, STDIN_FILENO, EPOLLIN, fake_on_stdin, f);
        if (r < 0 && r != -EPERM) /* a file, /dev/null: nobody will say anything */
                return r;
        printf("ready\n");
        return sd_event_loop(f->event);
}

int main(int argc, char **argv) {
        Fake f = {};
        sigset_t set;
        int r;

        if (argc < 3 || !str_equal(argv[1], "--dir")) {
                fprintf(stderr, "usage: qmp-fake --dir DIR NAME=MONITOR[:ARG][+AGENT[:ARG]]...\n");
                return EXIT_FAILURE;
        }
        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGINT);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        (void) setvbuf(stdout, NULL, _IOLBF, 0);

        list_init(&f.machines);
        f.dir = argv[2];
        r = sd_event_default(&f.event);
        if (r >= 0)
                r = fake_run(&f, argv + 3);
        LIST_FOREACH(i, &f.machines)
        machine_free(LIST_ENTRY(i, Machine, link));
        sd_event_unref(f.event);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
