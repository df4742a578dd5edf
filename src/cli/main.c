/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include "cli/verb.h"
#include "common/time-util.h"

#define LINES_DEFAULT 10
#define FOR_DEFAULT_USEC (5 * USEC_PER_SEC)
#define ANY UINT_MAX

/* Options that only some verbs take, as bits. */
typedef enum VerbOptions {
        TAKES_JSON = 1 << 0,
        TAKES_LINES = 1 << 1,
        TAKES_FOR = 1 << 2,
        TAKES_PLUGIN = 1 << 3,
        TAKES_NAME = 1 << 4,
        TAKES_NO_LEGEND = 1 << 5,
        TAKES_PERSISTENT = 1 << 6,
        TAKES_PAGE = 1 << 7,
        TAKES_NO_ASK = 1 << 8,
} VerbOptions;

typedef struct Verb {
        const char *name;
        const char *arguments;
        const char *help;
        unsigned arguments_min, arguments_max;
        unsigned options;
        int (*run)(Command *c);
} Verb;

#define TAKES_TABLE (TAKES_JSON | TAKES_NO_LEGEND)

/* The first is what is done when none is given. */
static const Verb verbs[] = {
        { "status", "", "How things are, on one screen", 0, 0, TAKES_TABLE, verb_status },
        { "list",
          "[GLOB…]",
          "Machines, and what a sleep does to them",
          0,
          ANY,
          TAKES_TABLE,
          verb_list },
        { "show", "[GLOB…]", "All that is known of machines", 0, ANY, TAKES_JSON, verb_show },
        { "history",
          "[NUMBER]",
          "The last cycles, or one of them in full",
          0,
          1,
          TAKES_TABLE | TAKES_LINES,
          verb_history },
        { "monitor", "", "What happens, as it happens", 0, 0, TAKES_JSON, verb_monitor },
        { "rehearse",
          "",
          "A whole cycle, but the host's sleep",
          0,
          0,
          TAKES_TABLE | TAKES_FOR | TAKES_NO_ASK,
          verb_rehearse },
        { "mode",
          "GLOB… MODE",
          "Set what a sleep does to machines",
          2,
          ANY,
          TAKES_TABLE | TAKES_PERSISTENT | TAKES_NO_ASK,
          verb_mode },
        { "sync",
          "[GLOB…]",
          "Set machines' clocks by the host's",
          0,
          ANY,
          TAKES_TABLE | TAKES_NO_ASK,
          verb_sync },
        { "register",
          "MONITOR [AGENT]",
          "Take care of a machine from now on",
          1,
          2,
          TAKES_PLUGIN | TAKES_NAME | TAKES_NO_ASK,
          verb_register },
        { "unregister",
          "MONITOR|NAME",
          "Forget a machine that was registered",
          1,
          1,
          TAKES_PLUGIN | TAKES_NO_ASK,
          verb_unregister },
        { "notify",
          "PLUGIN EVENT NAME",
          "Tell a plugin, from a hook, that a VM came or went",
          3,
          3,
          0,
          verb_notify },
        { "page",
          "[ACT] [NAME]",
          "Drift pages: create, list, show, remove",
          0,
          2,
          TAKES_TABLE | TAKES_PAGE | TAKES_NO_ASK,
          verb_page },
};

enum {
        OPTION_VERSION = 0x100,
        OPTION_JSON,
        OPTION_NO_LEGEND,
        OPTION_FOR,
        OPTION_PLUGIN,
        OPTION_NAME,
        OPTION_PERSISTENT,
        OPTION_NO_ASK,
        OPTION_OWNER,
        OPTION_VECTORS,
        OPTION_NOTIFY,
        OPTION_FORCE,
        OPTION_ACPI,
        OPTION_DEVICETREE,
        OPTION_ADDRESS,
};

static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, OPTION_VERSION },
        { "json", optional_argument, NULL, OPTION_JSON },
        { "no-legend", no_argument, NULL, OPTION_NO_LEGEND },
        { "lines", required_argument, NULL, 'n' },
        { "for", required_argument, NULL, OPTION_FOR },
        { "plugin", required_argument, NULL, OPTION_PLUGIN },
        { "name", required_argument, NULL, OPTION_NAME },
        { "persistent", no_argument, NULL, OPTION_PERSISTENT },
        { "no-ask-password", no_argument, NULL, OPTION_NO_ASK },
        { "owner", required_argument, NULL, OPTION_OWNER },
        { "vectors", required_argument, NULL, OPTION_VECTORS },
        { "notify", no_argument, NULL, OPTION_NOTIFY },
        { "force", no_argument, NULL, OPTION_FORCE },
        { "acpi", required_argument, NULL, OPTION_ACPI },
        { "devicetree", required_argument, NULL, OPTION_DEVICETREE },
        { "address", required_argument, NULL, OPTION_ADDRESS },
        { "quiet", no_argument, NULL, 'q' },
        { 0 },
};

static void print_help(void) {
        (void) puts("suspendctl [OPTIONS…] [VERB] [ARGUMENTS…]\n\n"
                    "Shows and steers suspendd, which puts VMs to sleep with their host.\n\n"
                    "Verbs:");
        for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
                /* Bytes are not columns: the ellipsis has three bytes and one column. */
                int wider = strstr(verbs[i].arguments, "…") ? 2 : 0;

                (void) printf("  %-10s %-*s  %s%s\n",
                              verbs[i].name,
                              17 + wider,
                              verbs[i].arguments,
                              verbs[i].help,
                              i == 0 ? " (the default)" : "");
        }
        (void) puts("\nOptions:\n"
                    "  -h --help              Show this help\n"
                    "     --version           Show the version\n"
                    "     --json[=STYLE]      Print JSON: pretty (the default), short, off\n"
                    "     --no-legend         Print no headings of columns\n"
                    "  -n --lines=N           history: how many cycles, 0 for all (10)\n"
                    "     --for=TIME          rehearse: how long the sleep takes (5s)\n"
                    "     --plugin=NAME       register, unregister: what reaches the machine (qmp)\n"
                    "     --name=NAME         register: what to call it\n"
                    "     --persistent        mode: write it into the VMs' own definitions\n"
                    "     --no-ask-password   Fail rather than have polkit ask for one\n"
                    "     --owner=USER        page create: whom its VMM runs as (root)\n"
                    "     --vectors=N         page create: its doorbell's, 0 for none (1)\n"
                    "     --notify            page create: its ACPI table looks each second\n"
                    "     --acpi=FILE         page create, show: write the ACPI table (x86)\n"
                    "     --devicetree=FILE   page create, show: write the tree's node (arm64)\n"
                    "     --address=ADDRESS   page create, show: where it is in the guest\n"
                    "     --force             page remove: although it is used\n"
                    "  -q --quiet             Print nothing that was not asked for\n\n"
                    "See suspendctl(1) for more.");
}

/* options */

static int read_lines(const char *s, unsigned *ret) {
        unsigned long v;
        char *end;

        errno = 0;
        v = strtoul(s, &end, 10);
        if (errno != 0 || end == s || *end || *s == '-' || v > INT_MAX)
                return -EINVAL;
        *ret = (unsigned) v;
        return 0;
}

static int read_address(const char *s, uint64_t *ret) {
        char *end;

        errno = 0;
        *ret = strtoull(s, &end, 0);
        return errno != 0 || end == s || *end || *s == '-' || *ret == 0 ? -EINVAL : 0;
}

/* Takes one of `page`. Returns: as take_option(). */
static int take_page_option(PageOptions *p, int option, const char *value) {
        switch (option) {
        case OPTION_OWNER:
                p->owner = value;
                break;
        case OPTION_VECTORS:
                p->has_vectors = true;
                return read_lines(value, &p->vectors) < 0 ? -EINVAL : TAKES_PAGE;
        case OPTION_NOTIFY:
                p->notifies = true;
                break;
        case OPTION_FORCE:
                p->force = true;
                break;
        case OPTION_ACPI:
                p->acpi = value;
                break;
        case OPTION_DEVICETREE:
                p->tree = value;
                break;
        default:
                return read_address(value, &p->address) < 0 ? -EINVAL : TAKES_PAGE;
        }
        return TAKES_PAGE;
}

/* Takes one option. Returns: the bit that a verb must have for it, or 0; -EINVAL for a bad value. */
static int take_option(Command *c, int option, const char *value) {
        if (option >= OPTION_OWNER)
                return take_page_option(&c->page, option, value);
        switch (option) {
        case OPTION_JSON:
                c->output.json = json_style_from_string(value);
                return c->output.json == JSON_STYLE_INVALID ? -EINVAL : TAKES_JSON;
        case OPTION_NO_LEGEND:
                c->output.has_legend = false;
                return TAKES_NO_LEGEND;
        case 'n':
                return read_lines(value, &c->lines) < 0 ? -EINVAL : TAKES_LINES;
        case OPTION_FOR:
                if (time_span_parse(value, &c->for_usec) < 0 || c->for_usec == USEC_INFINITY)
                        return -EINVAL;
                return TAKES_FOR;
        case OPTION_PLUGIN:
                c->plugin = value;
                return TAKES_PLUGIN;
        case OPTION_NAME:
                c->name = value;
                return TAKES_NAME;
        case OPTION_PERSISTENT:
                c->is_persistent = true;
                return TAKES_PERSISTENT;
        case OPTION_NO_ASK:
                return TAKES_NO_ASK;
        default:
                c->is_quiet = true;
                return 0;
        }
}

/* Tells of the one that getopt did not take; its own words would have it as it is. */
static int fail_option(char **argv) {
        if (optopt != 0 && optopt <= UCHAR_MAX)
                return fail(STATUS_BAD_ARGUMENTS, "Not understood: -%c", optopt);
        return fail(STATUS_BAD_ARGUMENTS, "Not understood: %s", argv[optind - 1]);
}

/*
 * Reads the options; what is left of the command line begins at optind.
 *
 * Returns: the options that were given, as bits; -ECANCELED when help or version was all that was
 * asked for; -EINVAL, and the user has been told.
 */
static int read_options(Command *c, int argc, char **argv) {
        int option, given = 0;

        opterr = 0;
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
        while ((option = getopt_long(argc, argv, "hn:q", options, NULL)) >= 0) {
                int bit;

                if (option == '?') {
                        (void) fail_option(argv);
                        return -EINVAL;
                }
                if (option == 'h') {
                        print_help();
                        return -ECANCELED;
                }
                if (option == OPTION_VERSION) {
                        (void) puts("suspendd " SUSPENDD_VERSION);
                        return -ECANCELED;
                }

                bit = take_option(c, option, optarg);
                if (bit < 0) {
                        (void) fail(STATUS_BAD_ARGUMENTS, "Not understood: %s", optarg);
                        return -EINVAL;
                }
                given |= bit;
        }
        return given;
}

/* verbs */

static const Verb *verb_find(const char *name) {
        if (!name)
                return &verbs[0];
        for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
                if (str_equal(verbs[i].name, name))
                        return &verbs[i];
        return NULL;
}

static int verb_check(const Verb *v, unsigned n_arguments, unsigned given) {
        if (n_arguments < v->arguments_min)
                return fail(STATUS_BAD_ARGUMENTS,
                            "Too few arguments: suspendctl %s %s",
                            v->name,
                            v->arguments);
        if (n_arguments > v->arguments_max)
                return fail(STATUS_BAD_ARGUMENTS,
                            "Too many arguments: suspendctl %s %s",
                            v->name,
                            v->arguments);
        if (given & ~v->options)
                return fail(STATUS_BAD_ARGUMENTS, "An option has no meaning for %s.", v->name);
        return STATUS_OK;
}

int main(int argc, char **argv) {
        _cleanup_(client_freep) Client *client = NULL;
        Command c = { .lines = LINES_DEFAULT,
                      .for_usec = FOR_DEFAULT_USEC,
                      .page = { .vectors = 1 } };
        const Verb *verb;
        int given, r;

        output_init(&c.output);
        given = read_options(&c, argc, argv);
        if (given == -ECANCELED)
                return STATUS_OK;
        if (given < 0)
                return STATUS_BAD_ARGUMENTS;

        verb = verb_find(argv[optind]);
        if (!verb)
                return fail(STATUS_BAD_ARGUMENTS,
                            "There is no verb %s; see suspendctl --help.",
                            argv[optind]);
        if (optind < argc)
                optind++;

        r = verb_check(verb, (unsigned) (argc - optind), (unsigned) given);
        if (r != STATUS_OK)
                return r;

        r = client_new(&client);
        if (r != STATUS_OK)
                return r;

        if (verb->options & TAKES_NO_ASK && !(given & TAKES_NO_ASK))
                client_let_ask(client);
        c.client = client;
        c.arguments = argv + optind;
        r = verb->run(&c);
        if (fflush(stdout) != 0 || ferror(stdout))
                return fail(STATUS_FAILURE, "Cannot write: %s", strerror(errno));
        return r;
}
