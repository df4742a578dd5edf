/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host for one page
 *
 * The page plugin as it is, with a core that does nothing of its own accord: it tells a machine's guest what it
 * is told to on standard input, "PHASE RUN" with RUN the VMM's start or "-": "stopping"; "stood", now; "running",
 * having stood until now; "ran", now; "met". Each is answered by what the plugin then says of its page, one line of
 * JSON. Between them the plugin's own timers run.
 *
 * usage: bare-host DIRECTORY: the page is DIRECTORY/pages/bare
 */
#include <errno.h>
#include <stdarg.h>
#include <systemd/sd-event.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/macro.h"
#include "plugins/page/store.h"

#define PAGE "bare"

typedef struct Core {
        struct suspendd_host host;
        Store *store;
        int64_t stood_boottime_ns;
        uint64_t cycle;
} Core;

static const char *const phases[] = {
        [SUSPENDD_DRIFT_STOPPING] = "stopping", [SUSPENDD_DRIFT_STOOD] = "stood",
        [SUSPENDD_DRIFT_RUNNING] = "running",   [SUSPENDD_DRIFT_RAN] = "ran",
        [SUSPENDD_DRIFT_LOOK] = "look",         [SUSPENDD_DRIFT_MET] = "met",
};

/* what the plugin is offered */

static void host_log(
                _unused_ const struct suspendd_host *host,
                _unused_ int level,
                _unused_ const struct suspendd_machine *m,
                const char *format,
                ...) {
        va_list args;

        va_start(args, format);
        (void) vfprintf(stderr, format, args);
        va_end(args);
        (void) fputc('\n', stderr);
}

static int host_keep_fd(
                _unused_ const struct suspendd_host *host,
                _unused_ const char *name,
                _unused_ int fd) {
        return -EOPNOTSUPP;
}

static void host_drop_fd(_unused_ const struct suspendd_host *host, _unused_ const char *name) {
}

static void host_enumerated(_unused_ const struct suspendd_host *host) {
}

/* telling */

static int phase_of(const char *word) {
        for (size_t i = 0; i < ARRAY_LEN(phases); i++)
                if (str_equal(phases[i], word))
                        return (int) i;
        return -EINVAL;
}

static int tell(Core *c, enum suspendd_drift_phase phase, const char *run) {
        ClockSample now;
        struct suspendd_drift drift = {
                .size = sizeof(drift),
                .phase = phase,
                .name = PAGE,
                .run = str_equal(run, "-") ? NULL : run,
        };

        clock_sample_take(&now);
        drift.host_realtime_ns = now.realtime_ns;
        drift.host_boottime_ns = now.boottime_ns;
        if (phase == SUSPENDD_DRIFT_STOPPING)
                c->cycle++;
        if (phase == SUSPENDD_DRIFT_STOOD)
                c->stood_boottime_ns = now.boottime_ns;
        drift.cycle = c->cycle;
        drift.from_boottime_ns = c->stood_boottime_ns;
        drift.to_boottime_ns = c->stood_boottime_ns ? now.boottime_ns : 0;
        if (phase == SUSPENDD_DRIFT_RAN)
                c->stood_boottime_ns = 0;
        return store_drift(c->store, &drift);
}

static int serve_line(Core *c, char *line) {
        _cleanup_free_ char *list = NULL;
        char word[32], run[128];
        int r;

        if (sscanf(line, "%31s %127s", word, run) != 2)
                return -EINVAL;
        r = phase_of(word);
        if (r >= 0)
                r = tell(c, (enum suspendd_drift_phase) r, run);
        if (r < 0)
                return r;
        list = store_list(c->store);
        if (!list)
                return -ENOMEM;
        (void) puts(list);
        return fflush(stdout) == 0 ? 0 : -errno;
}

static int on_input(
                _unused_ sd_event_source *source,
                _unused_ int fd,
                _unused_ uint32_t events,
                void *userdata) {
        Core *c = userdata;
        char line[256];
        int r;

        /* Whoever writes waits for the answer, so there is one line at a time. */
        if (!fgets(line, sizeof(line), stdin))
                return sd_event_exit(c->host.event, 0);
        r = serve_line(c, line);
        return r < 0 ? sd_event_exit(c->host.event, r) : 0;
}

static int run(Core *c, const char *directory) {
        const char *why = NULL;
        int r;

        r = sd_event_default(&c->host.event);
        if (r >= 0)
                r = store_new(&c->host, directory, &c->store);
        if (r >= 0)
                r = store_load(c->store, NULL, 0);
        if (r >= 0)
                r = store_create(c->store, PAGE, NULL, 0, 0, &why);
        if (r >= 0)
                r = sd_event_add_io(c->host.event, NULL, STDIN_FILENO, EPOLLIN, on_input, c);
        if (r < 0)
                return r;
        (void) puts("ready");
        (void) fflush(stdout);
        return sd_event_loop(c->host.event);
}

int main(int argc, char **argv) {
        Core c = {
                .host = {
                        .abi = SUSPENDD_PLUGIN_ABI,
                        .size = sizeof(struct suspendd_host),
                        .enumerated = host_enumerated,
                        .keep_fd = host_keep_fd,
                        .drop_fd = host_drop_fd,
                        .log = host_log,
                },
        };
        int r;

        if (argc != 2)
                return 2;
        r = run(&c, argv[1]);
        if (r < 0)
                (void) fprintf(stderr, "bare-host: %s\n", strerror(-r));
        c.store = store_free(c.store);
        c.host.event = sd_event_unref(c.host.event);
        return r < 0;
}
