/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Configuration, Fuzzed
 *
 * Any bytes of a configuration file, or of several: the main one and, each behind a byte of 0x1e, drop-ins of
 * any name, which begin with it. It loads, what is kept is within its bounds, and each line that a plugin is
 * given is one of a file.
 */

#include "common/time-util.h"
#include "daemon/config-files.h"
#include "daemon/config.h"
#include "daemon/log.h"
#include "folder.h"

#define SEPARATOR 0x1e

static void use_policy(const Config *c) {
        const char *source = NULL;
        Policy p;

        config_policy(c, "web-1", "4c4c4544-0042-3510-8052-b4c04f503132", &p, &source);
        HOLDS(p.mode >= 0 && p.mode < MODE_MAX);
        HOLDS(p.time_sync >= 0 && p.time_sync < TIME_SYNC_MAX);
        HOLDS(p.time_threshold_ns >= 0 && p.backward_max_ns >= 0);
        HOLDS(str_equal(source, "default") || strchr(source, ':'));
}

static void use(const Config *c, size_t lines_max) {
        const struct suspendd_setting *settings;
        size_t n;

        HOLDS(c->budget_max_usec > 0 && c->time_limit_usec > 0);
        HOLDS(c->suspend_share <= 90 && c->history_max <= 100000);
        for (char **p = c->plugins; *p; p++)
                HOLDS(**p && !strchr(*p, '/') && !strchr(*p, '.'));

        use_policy(c);
        n = config_plugin_settings(c, "qmp", &settings);
        for (size_t i = 0; i < n; i++) {
                HOLDS(*settings[i].key && settings[i].value && *settings[i].file);
                HOLDS(settings[i].line > 0 && settings[i].line <= lines_max);
        }
}

/* Writes one drop-in: its name up to the first end of a line, which is one in a folder, and its text. */
static void write_drop_in(const char *directory, const uint8_t *data, size_t size) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t n = end ? (size_t) (end - data) : 0;
        char path[320];

        if (n == 0 || n > 200 || memchr(data, '/', n) || memchr(data, 0, n) || data[0] == '.')
                return;
        (void) snprintf(path, sizeof(path), "%s/suspendd.conf.d/%.*s", directory, (int) n, data);
        folder_write(path, data + n + 1, size - n - 1);
}

/* The drop-ins go into one directory and the other, by turns. */
static void write_files(const uint8_t *data, size_t size) {
        static const char *const directories[] = { "etc", "run" };
        unsigned turn = 0;

        for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
                char path[32];

                (void) snprintf(path, sizeof(path), "%s/suspendd.conf.d", directories[i]);
                HOLDS(mkdir(folder_path(directories[i]), 0700) == 0);
                HOLDS(mkdir(folder_path(path), 0700) == 0);
        }
        for (const uint8_t *end = data + size; data < end; turn++) {
                const uint8_t *next = memchr(data, SEPARATOR, (size_t) (end - data));
                size_t n = (size_t) ((next ? next : end) - data);

                if (turn == 0)
                        folder_write("etc/suspendd.conf", data, n);
                else
                        write_drop_in(directories[turn % 2], data, n);
                data += next ? n + 1 : n;
        }
}

static void load_files(const uint8_t *data, size_t size) {
        _cleanup_(config_files_freep) char **files = NULL;
        _cleanup_(config_freep) Config *c = NULL;
        char etc[128], run[128];
        const char *const directories[] = { etc, run, NULL };

        folder_make();
        (void) strcpy(etc, folder_path("etc"));
        (void) strcpy(run, folder_path("run"));
        write_files(data, size);
        HOLDS(config_files_list(directories, &files) == 0);
        for (char **f = files; *f && f[1]; f++)
                HOLDS(!str_equal(strrchr(*f, '/'), strrchr(f[1], '/')));
        HOLDS(config_load_directories(directories, &c) == 0);
        use(c, size + 1);
        folder_empty();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(config_freep) Config *c = NULL;

        log_set_max_level(LOG_EMERG);
        HOLDS(config_load_text("f", (const char *) data, size, &c) == 0);
        use(c, size + 1);
        if (size > 0 && memchr(data, SEPARATOR, size))
                load_files(data, size);
        return 0;
}
