/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include "guest/hooks.h"
#include "guest/log.h"
#include "guest/reader.h"
#include "guest/show.h"
#include "guest/state.h"
#include "guest/util.h"

#define WAIT_SEC 30
#define INTERVAL_MIN_SEC 0.01
#define INTERVAL_MAX_SEC 3600.0

typedef struct Arguments {
        ReaderOptions reader;
        bool is_once;
        bool is_show;
        bool is_json;
} Arguments;

enum {
        OPTION_VERSION = 0x100,
        OPTION_PAGE,
        OPTION_DEVICE,
        OPTION_VFIO,
        OPTION_INTERVAL,
        OPTION_WAIT,
        OPTION_STATE,
        OPTION_NO_HOOKS,
        OPTION_ONCE,
        OPTION_SHOW,
        OPTION_JSON,
        OPTION_DRY_RUN,
        OPTION_DEBUG,
};

static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, OPTION_VERSION },
        { "page", required_argument, NULL, OPTION_PAGE },
        { "device", required_argument, NULL, OPTION_DEVICE },
        { "vfio", no_argument, NULL, OPTION_VFIO },
        { "interval", required_argument, NULL, OPTION_INTERVAL },
        { "wait", required_argument, NULL, OPTION_WAIT },
        { "state", required_argument, NULL, OPTION_STATE },
        { "no-hooks", no_argument, NULL, OPTION_NO_HOOKS },
        { "once", no_argument, NULL, OPTION_ONCE },
        { "show", no_argument, NULL, OPTION_SHOW },
        { "json", no_argument, NULL, OPTION_JSON },
        { "dry-run", no_argument, NULL, OPTION_DRY_RUN },
        { "debug", no_argument, NULL, OPTION_DEBUG },
        { 0 },
};

static void print_help(void) {
        (void) puts("suspend-guest [OPTIONS…]\n\n"
                    "Steps this machine's wall clock by what it has missed while its host held it.\n\n"
                    "  -h --help            Show this help\n"
                    "     --version         Show the version\n"
                    "     --once            Look once, do what is to be done, and leave\n"
                    "     --show            Print the page, and what would be done\n"
                    "     --json            Print that as JSON\n"
                    "     --dry-run         Say what would be done, and do not\n"
                    "     --page=FILE       The page is this file\n"
                    "     --device=ADDRESS  The page is the memory of this PCI device\n"
                    "     --vfio            Have vfio-pci take the device, for its interrupt\n"
                    "     --interval=SEC    Look so often where nothing tells of changes (1)\n"
                    "     --wait=SEC        Wait so long for a page to appear (30)\n"
                    "     --state=DIR       Keep what was applied there (" STATE_DIRECTORY ")\n"
                    "     --no-hooks        Run no hooks\n"
                    "     --debug           Say more\n\n"
                    "See suspend-guest(8) for more.");
}

/* A number of seconds. Returns: 0; -EINVAL. */
static int read_seconds(const char *s, double least, double most, double *ret) {
        double v;
        char *end;

        errno = 0;
        v = strtod(s, &end);
        if (errno != 0 || end == s || *end || !(v >= least && v <= most))
                return -EINVAL;
        *ret = v;
        return 0;
}

/* Options without a value. Returns: whether it was one. */
static bool take_flag(Arguments *a, int option) {
        switch (option) {
        case OPTION_VFIO:
                return a->reader.choice.wants_vfio = true;
        case OPTION_NO_HOOKS:
                a->reader.hook_folders = NULL;
                return true;
        case OPTION_ONCE:
                return a->is_once = true;
        case OPTION_SHOW:
                return a->is_show = true;
        case OPTION_JSON:
                return a->is_json = true;
        case OPTION_DRY_RUN:
                return a->reader.is_dry = true;
        case OPTION_DEBUG:
                log_set_max_level(LOG_LEVEL_DEBUG);
                return true;
        default:
                return false;
        }
}

static int take_value(Arguments *a, int option, const char *value) {
        double seconds;

        switch (option) {
        case OPTION_PAGE:
                a->reader.choice.file = value;
                return 0;
        case OPTION_DEVICE:
                a->reader.choice.device = value;
                return 0;
        case OPTION_STATE:
                a->reader.state_directory = value;
                return 0;
        case OPTION_WAIT:
                if (read_seconds(value, 0, 86400, &seconds) < 0)
                        return -EINVAL;
                a->reader.wait_sec = (unsigned) seconds;
                return 0;
        case OPTION_INTERVAL:
                if (read_seconds(value, INTERVAL_MIN_SEC, INTERVAL_MAX_SEC, &seconds) < 0)
                        return -EINVAL;
                a->reader.interval_ns = (int64_t) (seconds * 1e9);
                return 0;
        default:
                return -EINVAL;
        }
}

/* Returns: 0; -ECANCELED when that was all; -EINVAL, and the user has been told. */
static int read_arguments(Arguments *a, int argc, char **argv) {
        int option;

        /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
        while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
                if (option == '?')
                        return -EINVAL;
                if (option == 'h') {
                        print_help();
                        return -ECANCELED;
                }
                if (option == OPTION_VERSION) {
                        (void) puts("suspend-guest " SUSPENDD_VERSION);
                        return -ECANCELED;
                }
                if (!take_flag(a, option) && take_value(a, option, optarg) < 0) {
                        log_error("Not understood: %s", optarg);
                        return -EINVAL;
                }
        }
        if (optind < argc) {
                log_error("Not understood: %s", argv[optind]);
                return -EINVAL;
        }
        if ((a->is_json && !a->is_show) ||
            (a->reader.choice.file && (a->reader.choice.device || a->reader.choice.wants_vfio))) {
                log_error("%s",
                          a->is_json && !a->is_show ? "--json goes with --show"
                                                    : "--page goes with no device");
                return -EINVAL;
        }
        return 0;
}

int main(int argc, char **argv) {
        Arguments a = { .reader = { .choice = { .root = "" },
                                    .state_directory = STATE_DIRECTORY,
                                    .interval_ns = NSEC_PER_SEC,
                                    .wait_sec = WAIT_SEC,
                                    .hook_folders = hook_folders } };
        int r = read_arguments(&a, argc, argv);

        if (r < 0)
                return r == -ECANCELED ? STATUS_OK : STATUS_BAD_ARGUMENTS;
        if (a.reader.is_dry)
                a.reader.hook_folders = NULL;
        if (a.is_show)
                return (int) show(&a.reader, a.is_json);
        return (int) (a.is_once ? reader_once(&a.reader) : reader_run(&a.reader));
}
