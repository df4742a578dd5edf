/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/run-state.h"
#include <time.h>
#include "common/clock-sample.h"
#include "common/time-util.h"

#define STAMP_TRUSTED_NS (50 * NSEC_PER_MSEC)

static RunVerdict run_state_set(RunState *s, enum suspendd_run_state state) {
        s->state = state;
        s->word[0] = 0;
        return RUN_TELL;
}

static RunVerdict on_stop(RunState *s, const JsonView *event) {
        (void) event;
        s->ran = s->state == SUSPENDD_STATE_RUNNING;
        if (!s->stop_sent || s->cause)
                return RUN_ASK;
        return run_state_set(s, SUSPENDD_STATE_PAUSED);
}

static RunVerdict on_resume(RunState *s, const JsonView *event) {
        (void) event;
        s->cause = false;
        /* Our stop is yet to come, and nothing of ours behind it: what was seen before was another's. */
        if (s->stop_sent && !s->cont_sent)
                return RUN_ASK;
        /* QEMU since 9.0 goes back to the suspend that a stop came on top of */
        if (s->state != SUSPENDD_STATE_PAUSED || !s->ran)
                return RUN_ASK;
        return run_state_set(s, SUSPENDD_STATE_RUNNING);
}

static RunVerdict on_suspend(RunState *s, const JsonView *event) {
        (void) event;
        if (s->state != SUSPENDD_STATE_RUNNING)
                return RUN_ASK;
        return run_state_set(s, SUSPENDD_STATE_SUSPENDED);
}

static RunVerdict on_wakeup(RunState *s, const JsonView *event) {
        (void) event;
        if (s->state != SUSPENDD_STATE_SUSPENDED)
                return RUN_ASK;
        return run_state_set(s, SUSPENDD_STATE_RUNNING);
}

/* BLOCK_IO_ERROR and WATCHDOG tell what QEMU does about it, and before it does it. */
static RunVerdict on_trouble(RunState *s, const JsonView *event) {
        const char *action;
        const JsonView *data;

        if (json_view_get_object(event, "data", &data) < 0 ||
            json_view_get_string(data, "action", &action) < 0)
                return RUN_NOTHING;
        if (!str_equal(action, "stop") && !str_equal(action, "pause"))
                return RUN_NOTHING;
        s->cause = true;
        return RUN_NOTHING;
}

static RunVerdict on_panic(RunState *s, const JsonView *event) {
        (void) event;
        s->cause = true;
        return RUN_ASK;
}

static RunVerdict on_other(RunState *s, const JsonView *event) {
        (void) s;
        (void) event;
        return RUN_ASK;
}

static const struct {
        const char *name;
        RunVerdict (*on_event)(RunState *s, const JsonView *event);
} run_events[] = {
        { "STOP", on_stop },
        { "RESUME", on_resume },
        { "SUSPEND", on_suspend },
        { "WAKEUP", on_wakeup },
        { "BLOCK_IO_ERROR", on_trouble },
        { "WATCHDOG", on_trouble },
        { "GUEST_PANICKED", on_panic },
        { "GUEST_CRASHLOADED", on_other },
        { "SUSPEND_DISK", on_other },
        { "SHUTDOWN", on_other },
        { "RESET", on_other },
        { "MIGRATION", on_other },
        { "COLO_EXIT", on_other },
};

RunVerdict run_state_on_event(RunState *s, const char *name, const JsonView *event) {
        for (size_t i = 0; i < ARRAY_LEN(run_events); i++)
                if (str_equal(run_events[i].name, name))
                        return run_events[i].on_event(s, event);
        return RUN_NOTHING;
}

void run_state_on_word(RunState *s, const char *word) {
        s->cause = false;
        if (!word)
                (void) run_state_set(s, SUSPENDD_STATE_UNKNOWN);
        else if (str_equal(word, "running"))
                (void) run_state_set(s, SUSPENDD_STATE_RUNNING);
        else if (str_equal(word, "paused"))
                (void) run_state_set(s, SUSPENDD_STATE_PAUSED);
        else if (str_equal(word, "suspended"))
                (void) run_state_set(s, SUSPENDD_STATE_SUSPENDED);
        else {
                (void) run_state_set(s, SUSPENDD_STATE_OTHER);
                (void) snprintf(s->word, sizeof(s->word), "%s", word);
        }
}

int64_t run_state_realtime(const JsonView *event) {
        int64_t seconds, microseconds;
        const JsonView *stamp;

        if (json_view_get_object(event, "timestamp", &stamp) < 0 ||
            json_view_get_int64(stamp, "seconds", &seconds) < 0 ||
            json_view_get_int64(stamp, "microseconds", &microseconds) < 0)
                return -1;
        if (seconds < 0 || seconds > INT64_MAX / NSEC_PER_SEC - 1 || microseconds < 0 ||
            microseconds >= (int64_t) USEC_PER_SEC)
                return -1;
        return seconds * NSEC_PER_SEC + microseconds * NSEC_PER_USEC;
}

int64_t run_state_stamp(const JsonView *event) {
        int64_t realtime_ns = run_state_realtime(event);
        ClockSample now;
        int64_t age_ns;

        clock_sample_take(&now);
        age_ns = now.realtime_ns - realtime_ns;
        if (realtime_ns < 0 || age_ns < 0 || age_ns > STAMP_TRUSTED_NS)
                return now.boottime_ns;
        return now.boottime_ns - age_ns;
}
