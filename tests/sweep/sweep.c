/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Sweep
 *
 * Kills suspendd at its n-th system call, or has that call fail, for each n of each scenario, and looks
 * whether the promises are kept (world.h). Without --seconds= all points are tried; with it, as many as
 * that time allows, spread evenly by a seed. "./dev sweep" makes the world and runs it.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/time-util.h"
#include "scenarios.h"

#define REST_USEC (8 * USEC_PER_MSEC)
#define VIOLATIONS_MAX 20 /* then it is broken in a way of which more points tell nothing */
#define LOG_TAIL 1600
#define EXIT_RIG 2   /* the rig has failed, or was not understood */
#define EXIT_SKIP 77 /* it may not follow a process here */

/* Points that differ in n alone. */
typedef struct Row {
        const Scenario *scenario;
        Fault fault;
        bool is_lasting;
        unsigned n_possible; /* as seen without a fault */
        unsigned n_tried, n_ended, n_violations;
        uint64_t spent_usec;
} Row;

typedef struct Sweep {
        World world;
        Row rows[64];
        size_t n_rows;
        const char *scenario; /* NULL: all */
        Fault fault;          /* FAULT_INVALID: all */
        unsigned nth;         /* 0: all */
        uint64_t seconds;     /* 0: no limit */
        unsigned seed;
        unsigned n_violations;
} Sweep;

/* one point */

/* Whether a daemon that has lived through it does its work the next time. */
static const char *prove(World *w) {
        if (world_fall_asleep(w) < 0)
                return "the next sleep did not begin";
        if (!world_stands(w))
                return "the next sleep began with machines running that are ours";
        if (world_wake(w) < 0)
                return "the next sleep did not end";
        return world_settle_daemon(w);
}

static const char *try_scenario(World *w, const Scenario *s, const Tracer *t) {
        const char *why;
        int r;

        r = s->act(w, t);
        why = r < 0 ? "logind, or the daemon, did not come to the next step in its time"
                    : world_settle(w);
        if (w->broken[0])
                why = w->broken;
        scenario_rest(t, REST_USEC);
        return why;
}

/*
 * Returns: 0, and the promise that was broken or NULL; an errno if the rig has failed.
 */
static int try_point(
                World *w, const Row *row, unsigned nth, TracerReport *ret, const char **ret_why) {
        const Scenario *s = row->scenario;
        const char *why;
        Tracer t;
        int r;

        world_begin(w);
        r = s->prepare ? s->prepare(w) : 0;
        if (r >= 0)
                r =
                                tracer_start(&t,
                                             &(const TracerOrder){
                                                             .process = w->pid,
                                                             .fault = row->fault,
                                                             .nth = nth,
                                                             .from_start = s->from_start,
                                                             .is_lasting = row->is_lasting,
                                             });
        if (r < 0)
                return r;
        w->is_kill_due = row->fault == FAULT_DEATH;
        why = try_scenario(w, s, &t);
        *ret = tracer_stop(&t);
        /* It may have been struck when all seemed to be over. */
        if (ret->is_struck && w->is_kill_due)
                world_wait_end(w);
        w->is_kill_due = false;
        if (!why)
                why = world_settle_daemon(w);
        if (!why && ret->is_struck && row->fault != FAULT_DEATH)
                why = prove(w);
        *ret_why = why;
        return 0;
}

/* telling */

static void print_log(const World *w) {
        char path[512], text[LOG_TAIL + 1];
        _cleanup_fclose_ FILE *f = NULL;
        size_t n;

        (void) snprintf(path, sizeof(path), "%s/log", w->folder);
        f = fopen(path, "re");
        if (!f)
                return;
        if (fseek(f, -LOG_TAIL, SEEK_END) < 0)
                rewind(f);
        n = fread(text, 1, LOG_TAIL, f);
        text[n] = 0;
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
                (void) printf("    | %s\n", line);
}

static void clear_log(const World *w) {
        _cleanup_fclose_ FILE *f = NULL;
        char path[512];

        (void) snprintf(path, sizeof(path), "%s/log", w->folder);
        f = fopen(path, "we");
}

static const char *row_fault(const Row *row, char buf[static 32]) {
        (void) snprintf(buf,
                        32,
                        "%s%s",
                        fault_to_string(row->fault),
                        row->is_lasting ? ", lasting" : "");
        return buf;
}

static void tell_violation(
                const World *w, const Row *row, unsigned nth, long number, const char *why) {
        char fault[32];

        (void) printf("VIOLATION: %s, %s, call %u (%s): %s\n",
                      row->scenario->name,
                      row_fault(row, fault),
                      nth,
                      call_name(number),
                      why);
        print_log(w);
}

static void tell_rows(const Sweep *s) {
        unsigned n_tried = 0;
        char fault[32];

        (void) printf("%-14s %-20s %8s %8s %8s %10s %10s\n",
                      "scenario",
                      "fault",
                      "calls",
                      "points",
                      "ended",
                      "violations",
                      "seconds");
        for (size_t i = 0; i < s->n_rows; i++) {
                const Row *row = &s->rows[i];

                n_tried += row->n_tried;
                (void) printf("%-14s %-20s %8u %8u %8u %10u %10.1f\n",
                              row->scenario->name,
                              row_fault(row, fault),
                              row->n_possible,
                              row->n_tried,
                              row->n_ended,
                              row->n_violations,
                              (double) row->spent_usec / (double) USEC_PER_SEC);
        }
        (void) printf("%u injection points, %u violations\n", n_tried, s->n_violations);
}

/* many points */

/* Returns: 1 if the point was reached; 0 if the daemon makes no such call; a negative errno. */
static int sweep_try(Sweep *s, Row *row, unsigned nth) {
        uint64_t began_usec = clock_now_usec(CLOCK_MONOTONIC);
        World *w = &s->world;
        TracerReport report;
        const char *why;
        int r;

        clear_log(w);
        r = try_point(w, row, nth, &report, &why);
        if (r < 0)
                return r;
        row->n_tried += report.is_struck;
        row->n_ended += w->n_ends > 0;
        if (why) {
                tell_violation(w, row, nth, report.number, why);
                row->n_violations++;
                s->n_violations++;
                r = world_mend(w);
        }
        row->spent_usec += clock_now_usec(CLOCK_MONOTONIC) - began_usec;
        if (r < 0 || s->n_violations >= VIOLATIONS_MAX)
                return r < 0 ? r : -ECANCELED;
        return report.is_struck;
}

static int sweep_all(Sweep *s) {
        for (size_t i = 0; i < s->n_rows; i++) {
                Row *row = &s->rows[i];
                int r = 1;

                /* How many calls there are changes a little from one time to the next. */
                for (unsigned nth = 1; r > 0 || nth <= row->n_possible; nth++) {
                        r = sweep_try(s, row, nth);
                        if (r < 0)
                                return r;
                }
                (void) fprintf(stderr,
                               "%s, %s: %u points\n",
                               row->scenario->name,
                               fault_to_string(row->fault),
                               row->n_tried);
        }
        return 0;
}

/* Points by the golden ratio: evenly spread, however many there are time for. */
static int sweep_sample(Sweep *s) {
        uint64_t end_usec = clock_now_usec(CLOCK_MONOTONIC) + s->seconds * USEC_PER_SEC;
        double ratio = 0.6180339887498949, x = (double) (s->seed % 1000003) / 1000003;
        unsigned n_all = 0;

        for (size_t i = 0; i < s->n_rows; i++)
                n_all += s->rows[i].n_possible;
        while (clock_now_usec(CLOCK_MONOTONIC) < end_usec) {
                unsigned n = (unsigned) (x * n_all);
                size_t i = 0;
                int r;

                while (i + 1 < s->n_rows && n >= s->rows[i].n_possible)
                        n -= s->rows[i++].n_possible;
                r = sweep_try(s, &s->rows[i], n + 1);
                if (r < 0)
                        return r;
                x += ratio;
                x -= x >= 1;
        }
        return 0;
}

/* what there is to be tried */

static void sweep_add(
                Sweep *s, const Scenario *scenario, const TracerReport *seen, bool is_lasting) {
        for (int f = 0; f < FAULT_MAX; f++) {
                if ((s->fault != FAULT_INVALID && s->fault != (Fault) f) ||
                    (scenario->death_only && f != FAULT_DEATH) ||
                    (is_lasting && !fault_lasts((Fault) f)) || s->n_rows == ARRAY_LEN(s->rows))
                        continue;
                s->rows[s->n_rows++] = (Row){
                        .scenario = scenario,
                        .fault = (Fault) f,
                        .is_lasting = is_lasting,
                        .n_possible = seen->n_possible[f],
                };
        }
}

/* Each scenario once without a fault, which also tells how many calls there are. */
static int sweep_plan(Sweep *s) {
        for (size_t i = 0; i < n_scenarios; i++) {
                const Row row = { .scenario = &scenarios[i] };
                TracerReport seen;
                const char *why;
                int r;

                if (s->scenario && !str_equal(s->scenario, scenarios[i].name))
                        continue;
                clear_log(&s->world);
                r = try_point(&s->world, &row, UINT_MAX, &seen, &why);
                if (r < 0)
                        return r;
                if (why) {
                        (void) printf("%s without a fault: %s\n", scenarios[i].name, why);
                        print_log(&s->world);
                        return -EIO;
                }
                (void) printf("%s (%s): %u calls\n",
                              scenarios[i].name,
                              scenarios[i].what,
                              seen.n_possible[FAULT_DEATH]);
                sweep_add(s, &scenarios[i], &seen, false);
                sweep_add(s, &scenarios[i], &seen, true);
        }
        return s->n_rows > 0 ? 0 : -EINVAL;
}

static int sweep_run(Sweep *s) {
        const char *why;
        int r;

        world_begin(&s->world);
        why = world_settle_daemon(&s->world);
        if (why) {
                (void) printf("at the start: %s\n", why);
                print_log(&s->world);
                return -EIO;
        }
        r = sweep_plan(s);
        if (r < 0)
                return r;
        if (s->nth > 0) {
                for (size_t i = 0; i < s->n_rows && r >= 0; i++)
                        r = sweep_try(s, &s->rows[i], s->nth);
                return MIN(r, 0);
        }
        return s->seconds > 0 ? sweep_sample(s) : sweep_all(s);
}

/* Returns: 0; -EINVAL. */
static int parse_arguments(Sweep *s, int argc, char **argv) {
        static const struct option options[] = {
                { "daemon", required_argument, NULL, 'd' },
                { "plugin-dir", required_argument, NULL, 'p' },
                { "config", required_argument, NULL, 'c' },
                { "folder", required_argument, NULL, 'f' },
                { "seconds", required_argument, NULL, 's' },
                { "seed", required_argument, NULL, 'r' },
                { "scenario", required_argument, NULL, 'S' },
                { "fault", required_argument, NULL, 'F' },
                { "nth", required_argument, NULL, 'n' },
                { NULL, 0, NULL, 0 },
        };
        World *w = &s->world;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >=
               0) /* NOLINT(concurrency-mt-unsafe) */
                switch (c) {
                case 'd':
                        w->daemon = optarg;
                        break;
                case 'p':
                        w->plugin_dir = optarg;
                        break;
                case 'c':
                        w->config = optarg;
                        break;
                case 'f':
                        w->folder = optarg;
                        break;
                case 's':
                        s->seconds = strtoul(optarg, NULL, 10);
                        break;
                case 'r':
                        s->seed = (unsigned) strtoul(optarg, NULL, 10);
                        break;
                case 'S':
                        s->scenario = optarg;
                        break;
                case 'F':
                        s->fault = fault_from_string(optarg);
                        if (s->fault == FAULT_INVALID)
                                return -EINVAL;
                        break;
                case 'n':
                        s->nth = (unsigned) strtoul(optarg, NULL, 10);
                        break;
                default:
                        return -EINVAL;
                }
        return w->daemon && w->plugin_dir && w->config && w->folder ? 0 : -EINVAL;
}

int main(int argc, char **argv) {
        Sweep s = { .fault = FAULT_INVALID };
        int r;

        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        if (parse_arguments(&s, argc, argv) < 0) {
                (void) fprintf(stderr,
                               "usage: sweep --daemon= --plugin-dir= --config= --folder= [--seconds=] [--seed=] "
                               "[--scenario=] [--fault=] [--nth=] MONITOR... THEIR-MONITOR\n");
                return EXIT_RIG;
        }
        r = world_open(&s.world, argv + optind, (size_t) (argc - optind));
        if (r >= 0)
                r = sweep_run(&s);
        world_close(&s.world);
        if (s.n_rows > 0)
                tell_rows(&s);
        if (s.n_violations > 0)
                return EXIT_FAILURE;
        if (r < 0)
                (void) fprintf(stderr, "sweep: the rig has failed: %s\n", strerror(-r));
        return r == -EPERM ? EXIT_SKIP : r < 0 ? EXIT_RIG : EXIT_SUCCESS;
}
