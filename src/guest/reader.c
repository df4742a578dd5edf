/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/reader.h"
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include "guest/clock.h"
#include "guest/hooks.h"
#include "guest/log.h"
#include "guest/state.h"

/* A look that had to be given up is made again soon, then at the interval. */
#define BUSY_RETRY_NS (100 * NSEC_PER_MSEC)

/* A lower bound is followed by the rest within the time that a VMM takes to let a machine run. */
#define REST_RETRY_NS (50 * NSEC_PER_MSEC)
#define REST_WAIT_NS (2 * NSEC_PER_SEC)

/* Steps that others' settings cross are taken back and made again; not for ever. */
#define STEPS_MAX 8

#define OUTCOME_ENDED 1

typedef struct Reader {
        const ReaderOptions *options;
        Page page;
        State state;
        Ledger ledger;
        DriftRecord record; /* of the last look */
        LedgerNews news;
        bool has_looked; /* the one before this was a look, too */
        bool has_interrupt;
        bool is_state_told;
        int error;      /* of the last look */
        int64_t dry_ns; /* by how much the clock would have been stepped */
        int64_t slept_ns;
        int64_t rest_since_ns; /* when the lower bound was seen; 0: none is */

        HookEvent event;
        int64_t hooks_due_ns;
        pid_t runner;

        int watch_fd;
        int signal_fd;
} Reader;

static int64_t now_ns(void) {
        struct timespec t = { 0 };

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

static void read_clocks(const Reader *r, GuestClocks *ret) {
        clock_read(ret);
        ret->wall_ns += r->dry_ns;
        if (!r->has_looked)
                ret->late_ns = INT64_MAX;
        else
                ret->late_ns = r->page.wait_fd >= 0 ? 0
                                                    : r->options->interval_ns +
                                                                      r->options->interval_ns / 4;
}

static void save(Reader *r) {
        int e = r->options->is_dry ? 0 : state_save(&r->state, &r->ledger);

        if (e < 0 && !r->is_state_told)
                log_warning("The state cannot be written to %s: %s",
                            r->state.directory,
                            strerror(-e));
        r->is_state_told = e < 0;
}

/* a look */

static int make_steps(Reader *r) {
        GuestClocks now = { 0 };

        for (int i = 0; r->ledger.pending_ns != 0; i++) {
                int64_t step = r->ledger.pending_ns;
                int e;

                save(r);
                if (i > STEPS_MAX) {
                        log_error("Somebody sets CLOCK_REALTIME all the time; left as it is");
                        r->ledger.pending_ns = 0;
                        return 0;
                }
                if (r->options->is_dry)
                        r->dry_ns += step;
                else {
                        e = clock_step(step);
                        if (e < 0) {
                                log_error("CLOCK_REALTIME cannot be stepped by %s: %s",
                                          log_ns(step),
                                          strerror(-e));
                                return e;
                        }
                }
                read_clocks(r, &now);
                if (ledger_stepped(&r->ledger, now.wall_ns) != 0)
                        log_notice("Somebody else has set CLOCK_REALTIME in the same moment; taken back");
        }
        return 0;
}

static void tell_news(const Reader *r) {
        const char *owed = log_ns((int64_t) r->news.owed_ns);

        switch (r->news.verdict) {
        case LEDGER_BEGUN:
                log_info("%s, %s: epoch %016" PRIx64 ", counting from here; nothing applied",
                         r->page.name,
                         page_carrier_text(r->page.carrier),
                         r->ledger.epoch);
                break;
        case LEDGER_APPLY:
                log_notice("%s CLOCK_REALTIME by %s, which this machine has missed",
                           r->options->is_dry ? "Would have stepped" : "Stepped",
                           owed);
                break;
        case LEDGER_NOTED:
                log_notice("Missed %s, but somebody has set CLOCK_REALTIME already; left as it is",
                           owed);
                break;
        case LEDGER_REFUSED:
                log_warning("Said to have missed %s, but this machine's clock ran on; refused",
                            owed);
                break;
        case LEDGER_IMPLAUSIBLE:
                log_error("Said to have missed more than a year; refused, CLOCK_REALTIME is left as it is");
                break;
        case LEDGER_FELL_BACK:
                log_debug("The total has fallen back; waiting until it has grown again");
                break;
        default:
                break;
        }
        if (r->news.seen_ns > 0)
                log_info("Slept for %s by itself; its kernel has made that good",
                         log_ns((int64_t) r->news.seen_ns));
}

static void tell_error(Reader *r, int e) {
        if (e == r->error)
                return;
        if (e < 0)
                log_error("%s: refused: %s. The clock is left alone",
                          r->page.name,
                          page_error_text(e));
        else
                log_info("%s: read again", r->page.name);
        r->error = e;
}

/* Returns: 0; 1: the page could not be used now; a negative errno when there is no use in going on. */
static int look(Reader *r) {
        const uint64_t publishings = r->ledger.publishings, epoch = r->ledger.epoch;
        GuestClocks now = { 0 };
        DriftAnswer answer;
        int64_t wall;
        int e;

        e = page_read_record(&r->page, &r->record);
        tell_error(r, e);
        if (e < 0) {
                r->has_looked = false;
                return e == -EFAULT ? e : 1;
        }
        read_clocks(r, &now);
        wall = r->ledger.wall_ns;
        ledger_look(&r->ledger, &r->record, &now, &r->news);
        e = make_steps(r);
        if (e < 0)
                return e;

        /* A look that has brought nothing is not written down. */
        if (r->ledger.publishings != publishings || r->ledger.epoch != epoch || !r->has_looked ||
            ns_abs(ns_between(r->ledger.wall_ns, wall)) > NSEC_PER_MSEC) {
                ledger_answer(&r->ledger, &answer);
                if (!r->options->is_dry)
                        page_answer(&r->page, &answer);
                save(r);
        }
        r->has_looked = true;
        tell_news(r);
        hook_event_add(&r->event, &r->record, &r->news);
        return 0;
}

/* life */

static Status open_state(Reader *r) {
        GuestClocks now = { 0 };
        bool is_damaged;
        int e;

        if (r->options->is_dry)
                state_peek(&r->state, r->options->state_directory);
        else {
                e = state_open(&r->state, r->options->state_directory);
                if (e == -EBUSY) {
                        log_error("Another suspend-guest is at work (%s)",
                                  r->options->state_directory);
                        return STATUS_BUSY;
                }
                if (e < 0)
                        log_warning("No state is kept in %s: %s",
                                    r->options->state_directory,
                                    strerror(-e));
        }
        (void) state_load(&r->state, &r->ledger, &is_damaged);
        if (is_damaged)
                log_warning("The state in %s is not understood; begun anew",
                            r->options->state_directory);
        read_clocks(r, &now);
        if (ledger_recover(&r->ledger, now.wall_ns) != 0 && make_steps(r) < 0)
                return STATUS_FAILED;
        return STATUS_OK;
}

static Status open_page(Reader *r, bool is_last_try) {
        char why[1024];
        int e = page_open(&r->options->choice, &r->page, why, sizeof(why));

        if (e >= 0) {
                page_woken(&r->page);
                return STATUS_OK;
        }
        if (is_last_try)
                log_error("No drift page here%s%s", why[0] ? ": " : "", why);
        return e == -ENOENT || e == -EBADMSG ? STATUS_NO_PAGE : STATUS_FAILED;
}

static void reader_init(Reader *r, const ReaderOptions *options) {
        *r = (Reader){
                .options = options,
                .page = { .fds = { -1, -1, -1 }, .wait_fd = -1 },
                .state = { .lock_fd = -1 },
                .watch_fd = -1,
                .signal_fd = -1,
        };
}

static void reader_done(Reader *r) {
        page_close(&r->page);
        state_close(&r->state);
        closep(&r->watch_fd);
        closep(&r->signal_fd);
}

static Status status_of(int outcome, int error) {
        if (outcome < 0)
                return STATUS_FAILED;
        if (outcome == 0)
                return STATUS_OK;
        return error == -ENODATA || error == -EBADMSG || error == -EPROTONOSUPPORT ||
                                               error == -EBUSY
                               ? STATUS_BAD_PAGE
                               : STATUS_FAILED;
}

static Status once(Reader *r) {
        Status status = open_page(r, true);
        int outcome;

        if (status != STATUS_OK)
                return status;
        status = open_state(r);
        if (status != STATUS_OK)
                return status;
        outcome = look(r);
        status = status_of(outcome, r->error);
        if (status != STATUS_OK)
                return status;
        if (r->event.is_set && r->options->hook_folders) {
                pid_t runner = hooks_start(r->options->hook_folders, &r->event);

                if (runner > 0)
                        (void) waitpid(runner, NULL, 0);
        }
        if (r->news.verdict == LEDGER_IMPLAUSIBLE)
                return STATUS_BAD_PAGE;
        return r->news.verdict == LEDGER_REFUSED ? STATUS_REFUSED : STATUS_OK;
}

Status reader_once(const ReaderOptions *options) {
        Status status;
        Reader r;

        reader_init(&r, options);
        status = once(&r);
        reader_done(&r);
        return status;
}

/* the loop */

/* Starts the hooks when there is something to tell, and the cycle's loss is known as a whole. */
static void maybe_start_hooks(Reader *r) {
        bool is_open = r->record.flags & DRIFT_FLAG_LOWER_BOUND;

        if (!r->event.is_set || !r->options->hook_folders)
                return;
        if (r->hooks_due_ns == 0)
                r->hooks_due_ns = now_ns() + (is_open ? NSEC_PER_SEC : 0);
        if (r->runner > 0 || (is_open && now_ns() < r->hooks_due_ns))
                return;
        r->runner = hooks_start(r->options->hook_folders, &r->event);
        if (r->runner < 0)
                log_warning("Hooks are not run: %s", strerror(-r->runner));
        r->event = (HookEvent){ 0 };
        r->hooks_due_ns = 0;
}

static int64_t sooner(int64_t a, int64_t b) {
        return a < 0 || b < a ? b : a;
}

/* How long there is nothing to do; negative: until somebody tells. */
static int64_t idle_ns(Reader *r, int outcome) {
        bool is_open = r->record.flags & DRIFT_FLAG_LOWER_BOUND;
        int64_t idle = -1;

        if (outcome > 0)
                return r->error == -EBUSY ? BUSY_RETRY_NS : r->options->interval_ns;
        if (r->page.wait_fd < 0) {
                idle = r->options->interval_ns;
                if (!is_open)
                        r->rest_since_ns = 0;
                else if (r->rest_since_ns == 0)
                        r->rest_since_ns = now_ns();
                if (is_open && now_ns() - r->rest_since_ns < REST_WAIT_NS)
                        idle = sooner(idle, REST_RETRY_NS);
        }
        if (r->event.is_set && r->hooks_due_ns > 0 && r->runner <= 0) {
                int64_t left = r->hooks_due_ns - now_ns();

                idle = sooner(idle, left > 0 ? left : 0);
        }
        return idle;
}

/* Returns: 0; OUTCOME_ENDED. */
static int take_signal(Reader *r) {
        struct signalfd_siginfo info;

        if (read(r->signal_fd, &info, sizeof(info)) != (ssize_t) sizeof(info))
                return 0;
        if (info.ssi_signo != SIGCHLD)
                return OUTCOME_ENDED;
        if (r->runner > 0 && waitpid(r->runner, NULL, WNOHANG) == r->runner)
                r->runner = 0;
        return 0;
}

static void take_clock_set(Reader *r) {
        GuestClocks now = { 0 };

        clock_watch_rearm(r->watch_fd);
        clock_read(&now);
        if (now.slept_ns - r->slept_ns > NSEC_PER_MSEC)
                page_rearm(&r->page);
        r->slept_ns = now.slept_ns;
}

/* Waits until there is a reason to look. Returns: 0; OUTCOME_ENDED. */
static int wait_for_reason(Reader *r, int64_t idle) {
        struct pollfd fds[] = {
                { .fd = r->signal_fd, .events = POLLIN },
                { .fd = r->watch_fd, .events = POLLIN },
                { .fd = r->page.wait_fd, .events = POLLIN },
        };
        const struct timespec timeout = { .tv_sec = idle / NSEC_PER_SEC,
                                          .tv_nsec = idle % NSEC_PER_SEC };

        if (ppoll(fds, ARRAY_LEN(fds), idle < 0 ? NULL : &timeout, NULL) <= 0)
                return 0;
        if (fds[1].revents)
                take_clock_set(r);
        if (fds[2].revents)
                page_woken(&r->page);
        return fds[0].revents ? take_signal(r) : 0;
}

static int open_signals(void) {
        sigset_t set;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) sigaddset(&set, SIGINT);
        (void) sigaddset(&set, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static Status wait_for_page(Reader *r) {
        int64_t end = now_ns() + r->options->wait_sec * NSEC_PER_SEC;
        Status status = STATUS_OK;
        bool is_last;

        do {
                is_last = now_ns() >= end;
                status = open_page(r, is_last);
                if (status != STATUS_OK &&
                    wait_for_reason(r, is_last ? 0 : NSEC_PER_SEC) == OUTCOME_ENDED)
                        return status;
        } while (status != STATUS_OK && !is_last);
        return status;
}

static void tell_way(Reader *r) {
        bool has = r->page.wait_fd >= 0;

        if (r->has_looked && has == r->has_interrupt)
                return;
        r->has_interrupt = has;
        if (has)
                log_info("%s, %s: waiting for its interrupt",
                         r->page.name,
                         page_carrier_text(r->page.carrier));
        else
                log_info("%s, %s: looked at every %s, for it has no interrupt",
                         r->page.name,
                         page_carrier_text(r->page.carrier),
                         log_ns(r->options->interval_ns));
}

static Status run(Reader *r) {
        Status status;
        int outcome;

        r->signal_fd = open_signals();
        r->watch_fd = clock_watch_open();
        if (r->signal_fd < 0 || r->watch_fd < 0) {
                log_error("Nothing to wait by: %s",
                          strerror(errno)); /* NOLINT(concurrency-mt-unsafe) */
                return STATUS_FAILED;
        }
        status = wait_for_page(r);
        if (status == STATUS_OK)
                status = open_state(r);
        if (status != STATUS_OK)
                return status;
        (void) prctl(PR_SET_TIMERSLACK, (unsigned long) (r->options->interval_ns / 4), 0, 0, 0);
        do {
                tell_way(r);
                outcome = look(r);
                if (outcome < 0)
                        return STATUS_FAILED;
                maybe_start_hooks(r);
        } while (wait_for_reason(r, idle_ns(r, outcome)) != OUTCOME_ENDED);
        return STATUS_OK;
}

Status reader_run(const ReaderOptions *options) {
        Status status;
        Reader r;

        reader_init(&r, options);
        status = run(&r);
        reader_done(&r);
        return status;
}
