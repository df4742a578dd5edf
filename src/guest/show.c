/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/show.h"
#include <inttypes.h>
#include <string.h>
#include "guest/clock.h"
#include "guest/log.h"
#include "guest/state.h"

typedef struct Picture {
        Page page;
        DriftRecord record;
        Ledger before; /* as it was left */
        Ledger ledger; /* as it would be */
        LedgerNews news;
        bool has_state;
} Picture;

/* What can stand in a path, as JSON has it. */
static void print_quoted(const char *s) {
        (void) putchar('"');
        for (; *s; s++)
                if (*s == '"' || *s == '\\')
                        (void) printf("\\%c", *s);
                else if ((unsigned char) *s < ' ' || (unsigned char) *s > '~')
                        (void) putchar('?');
                else
                        (void) putchar(*s);
        (void) putchar('"');
}

static void print_json_number(const char *name, uint64_t value) {
        (void) printf(",\"%s\":%" PRIu64, name, value);
}

static void print_json_time(const char *name, int64_t value) {
        (void) printf(",\"%s\":%" PRId64, name, value);
}

static void print_json(const Picture *p) {
        const DriftRecord *r = &p->record;

        (void) fputs("{\"page\":", stdout);
        print_quoted(p->page.name);
        (void) printf(",\"carrier\":\"%s\"", page_carrier_text(p->page.carrier));
        (void) printf(",\"interrupt\":%s", p->page.wait_fd >= 0 ? "true" : "false");
        (void) printf(",\"answers\":%s", p->page.can_answer ? "true" : "false");
        (void) printf(",\"epoch\":\"%016" PRIx64 "\"",
                      r->epoch); /* more than a number of JSON holds */
        print_json_number("publishings", r->publishings);
        print_json_number("flags", r->flags);
        print_json_number("cycles", r->cycles);
        print_json_number("unseen_ns", r->unseen_ns);
        print_json_number("seen_ns", r->seen_ns);
        print_json_number("last_unseen_ns", r->last_unseen_ns);
        print_json_number("last_seen_ns", r->last_seen_ns);
        print_json_time("host_realtime_ns", r->host_realtime_ns);
        print_json_time("host_boottime_ns", r->host_boottime_ns);
        print_json_time("host_stepped_ns", r->host_stepped_ns);
        (void) printf(",\"state\":%s", p->has_state ? "true" : "false");
        print_json_number("applied_ns", p->before.applied_ns);
        print_json_number("refused_ns", p->before.refused_ns);
        (void) printf(",\"verdict\":\"%s\"", ledger_verdict_to_string(p->news.verdict));
        print_json_number("owed_ns", p->news.owed_ns);
        print_json_time("step_ns", p->ledger.pending_ns);
        (void) puts("}");
}

static const char *would(LedgerVerdict verdict) {
        static const char *const texts[LEDGER_VERDICT_MAX] = {
                [LEDGER_NOTHING] = "do nothing: nothing is owed",
                [LEDGER_BEGUN] = "begin to count here, and apply nothing",
                [LEDGER_APPLY] = "step CLOCK_REALTIME",
                [LEDGER_NOTED] = "take note: somebody has set CLOCK_REALTIME already",
                [LEDGER_REFUSED] = "refuse it: this machine's clock ran on",
                [LEDGER_IMPLAUSIBLE] = "refuse it: more than a year",
                [LEDGER_FELL_BACK] = "wait: the total has fallen back",
        };

        return texts[verdict];
}

static void print_text(const Picture *p) {
        const DriftRecord *r = &p->record;

        (void) printf("Page      %s, %s\n", p->page.name, page_carrier_text(p->page.carrier));
        (void) printf("          %s, %s\n",
                      p->page.wait_fd >= 0 ? "tells of changes" : "to be looked at by a timer",
                      p->page.can_answer ? "takes answers" : "takes no answers");
        (void) printf("Epoch     %016" PRIx64 ", %" PRIu64 " publishings, %" PRIu64 " cycles%s%s\n",
                      r->epoch,
                      r->publishings,
                      r->cycles,
                      r->flags & DRIFT_FLAG_LOWER_BOUND ? ", the last one's loss may still grow"
                                                        : "",
                      r->flags & DRIFT_FLAG_STOPPING ? ", about to stand" : "");
        (void) printf("Unseen    %s, %s of it in the last cycle\n",
                      log_ns((int64_t) r->unseen_ns),
                      log_ns((int64_t) r->last_unseen_ns));
        (void) printf("Seen      %s, %s of it in the last cycle\n",
                      log_ns((int64_t) r->seen_ns),
                      log_ns((int64_t) r->last_seen_ns));
        (void) printf("Host      clock stepped by %s\n", log_ns(r->host_stepped_ns));
        if (p->has_state)
                (void) printf("Applied   %s, %s of it refused\n",
                              log_ns((int64_t) p->before.applied_ns),
                              log_ns((int64_t) p->before.refused_ns));
        else
                (void) puts("Applied   nothing is known");
        (void) printf("Would     %s\n", would(p->news.verdict));
        if (p->news.owed_ns > 0)
                (void) printf("Owed      %s\n", log_ns((int64_t) p->news.owed_ns));
}

static Status show_page(const ReaderOptions *options, bool is_json, Picture *p) {
        GuestClocks now = { .late_ns = INT64_MAX };
        bool is_damaged;
        State state;
        int e;

        e = page_read_record(&p->page, &p->record);
        if (e < 0) {
                log_error("%s: refused: %s", p->page.name, page_error_text(e));
                return STATUS_BAD_PAGE;
        }
        state_peek(&state, options->state_directory);
        p->has_state = state_load(&state, &p->before, &is_damaged) > 0;
        clock_read(&now);
        p->ledger = p->before;
        if (ledger_recover(&p->ledger, now.wall_ns) == 0)
                ledger_look(&p->ledger, &p->record, &now, &p->news);
        if (is_json)
                print_json(p);
        else
                print_text(p);
        return STATUS_OK;
}

Status show(const ReaderOptions *options, bool is_json) {
        Picture p = { 0 };
        char why[1024];
        Status status;
        int e;

        e = page_open(&options->choice, &p.page, why, sizeof(why));
        if (e < 0) {
                log_error("No drift page here%s%s", why[0] ? ": " : "", why);
                return e == -ENOENT || e == -EBADMSG ? STATUS_NO_PAGE : STATUS_FAILED;
        }
        status = show_page(options, is_json, &p);
        page_close(&p.page);
        return fflush(stdout) == 0 ? status : STATUS_FAILED;
}
