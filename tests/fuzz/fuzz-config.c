/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Configuration, Fuzzed
 *
 * Any bytes of a configuration file: it loads, what is kept is within its bounds, and each line that
 * a plugin is given is one of the file.
 */

#include "common/time-util.h"
#include "daemon/config.h"
#include "daemon/log.h"
#include "fuzz.h"

static void use_policy(const Config *c) {
        const char *source = NULL;
        Policy p;

        config_policy(c, "web-1", "4c4c4544-0042-3510-8052-b4c04f503132", &p, &source);
        HOLDS(p.mode >= 0 && p.mode < MODE_MAX);
        HOLDS(p.time_sync >= 0 && p.time_sync < TIME_SYNC_MAX);
        HOLDS(p.time_threshold_ns >= 0 && p.backward_max_ns >= 0);
        HOLDS(str_equal(source, "default") || strncmp(source, "f:", 2) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const struct suspendd_setting *settings;
        _cleanup_(config_freep) Config *c = NULL;
        size_t n;

        log_set_max_level(LOG_EMERG);
        HOLDS(config_load_text("f", (const char *) data, size, &c) == 0);
        HOLDS(c->budget_max_usec > 0 && c->time_limit_usec > 0);
        HOLDS(c->suspend_share <= 90 && c->history_max <= 100000);
        for (char **p = c->plugins; *p; p++)
                HOLDS(**p && !strchr(*p, '/') && !strchr(*p, '.'));

        use_policy(c);
        n = config_plugin_settings(c, "qmp", &settings);
        for (size_t i = 0; i < n; i++) {
                HOLDS(*settings[i].key && settings[i].value);
                HOLDS(settings[i].line > 0 && settings[i].line <= size + 1);
        }
        return 0;
}
