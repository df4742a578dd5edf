/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <getopt.h>
#include "daemon/log.h"
#include "daemon/manager.h"
#include "daemon/rescue.h"

#define EXIT_INVALID_ARGUMENT 2 /* systemd.exec(5) */

static void help(void) {
        (void) puts("suspendd [OPTIONS…]\n\n"
                    "Puts VMs to sleep with their host and wakes them knowing how long it was.\n\n"
                    "  -h --help            Show this text\n"
                    "     --version         Show the version\n"
                    "     --config=FILE     Read FILE instead of suspendd.conf and its drop-ins\n"
                    "     --plugin-dir=DIR  Load plugins from DIR\n"
                    "     --rescue          Run machines again that are held, and exit\n"
                    "     --debug           Log each step of the state machines\n\n"
                    "See suspendd(8) and suspendd.conf(5); suspendctl(1) shows and steers it.");
}

/* Returns: 1 to go on; 0 if all is done; -EINVAL. */
static int parse_arguments(int argc, char **argv, ManagerOptions *o, bool *ret_is_rescue) {
        enum {
                OPTION_VERSION = 0x100,
                OPTION_CONFIG,
                OPTION_PLUGIN_DIR,
                OPTION_RESCUE,
                OPTION_DEBUG
        };
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, OPTION_VERSION },
                { "config", required_argument, NULL, OPTION_CONFIG },
                { "plugin-dir", required_argument, NULL, OPTION_PLUGIN_DIR },
                { "rescue", no_argument, NULL, OPTION_RESCUE },
                { "debug", no_argument, NULL, OPTION_DEBUG },
                { NULL, 0, NULL, 0 },
        };
        int c;

        /* Before there is a thread but this one. */
        while ((c = getopt_long(argc, argv, "h", options, NULL)) >=
               0) /* NOLINT(concurrency-mt-unsafe) */
                switch (c) {
                case 'h':
                        help();
                        return 0;
                case OPTION_VERSION:
                        (void) puts("suspendd " SUSPENDD_VERSION);
                        return 0;
                case OPTION_CONFIG:
                        o->config_file = optarg;
                        break;
                case OPTION_PLUGIN_DIR:
                        o->plugin_dir = optarg;
                        break;
                case OPTION_RESCUE:
                        *ret_is_rescue = true;
                        break;
                case OPTION_DEBUG:
                        log_set_max_level(LOG_DEBUG);
                        break;
                default:
                        return -EINVAL;
                }
        if (optind < argc) {
                (void) fprintf(stderr, "suspendd: takes no argument '%s'\n", argv[optind]);
                return -EINVAL;
        }
        return 1;
}

int main(int argc, char **argv) {
        _cleanup_(manager_freep) Manager *m = NULL;
        const char *runtime_dir = getenv("RUNTIME_DIRECTORY"); /* NOLINT(concurrency-mt-unsafe) */
        const char *state_dir = getenv("STATE_DIRECTORY");     /* NOLINT(concurrency-mt-unsafe) */
        ManagerOptions options = {
                .plugin_dir = SUSPENDD_PLUGIN_DIR,
                .runtime_dir = runtime_dir ?: "/run/suspendd",
                .state_dir = state_dir ?: "/var/lib/suspendd",
        };
        bool is_rescue = false;
        int r;

        r = parse_arguments(argc, argv, &options, &is_rescue);
        if (r <= 0)
                return r < 0 ? EXIT_INVALID_ARGUMENT : EXIT_SUCCESS;
        if (is_rescue)
                return rescue_run(&options);

        r = manager_new(&options, &m);
        if (r >= 0)
                r = manager_run(m);
        return r != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
