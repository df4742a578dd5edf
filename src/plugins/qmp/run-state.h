/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Run State
 *
 * What QEMU's run state is, from its own word for it and from events in between. An event alone does
 * not say why a machine stopped; where its meaning is not certain, the word has to be asked for. Only
 * the two that time is short for, the answer to our own stop and to our own cont, are taken from the
 * event. Pure data: embedded in its Vm.
 *
 * Source: QEMU's qapi/run-state.json; what 7.2 and 11.1 do was seen to differ once S3 and stop meet.
 */

#include "common/json-view.h"
#include "plugins/plugin-api.h"

#define RUN_WORD_MAX 24

typedef enum RunVerdict {
        RUN_NOTHING, /* the state is what it was, or does not hang on this */
        RUN_TELL,    /* the state is known anew */
        RUN_ASK,     /* only query-status knows */
        RUN_VERDICT_MAX,
} RunVerdict;

typedef struct RunState {
        enum suspendd_run_state state;
        char word[RUN_WORD_MAX]; /* QEMU's, where the state is OTHER */
        bool ran;                /* before it was paused; else cont may bring back something else */
        bool stop_sent;          /* by us, and not answered yet */
        bool cont_sent;          /* the same, after that */
        bool cause;              /* what was just told is a cause of its own to stop */
} RunState;

/* What the event @name means for @s. */
RunVerdict run_state_on_event(RunState *s, const char *name, const JsonView *event);

/* Takes query-status' @word; NULL if it does not tell. */
void run_state_on_word(RunState *s, const char *word);

/* When @event happened, by its own stamp: CLOCK_REALTIME in nanoseconds; -1 without one, or with one that is absurd. */
int64_t run_state_realtime(const JsonView *event);

/*
 * When @event happened, by its own stamp (CLOCK_REALTIME, microseconds), as CLOCK_BOOTTIME; now, if
 * that is more than 50 ms from now: then the clock was set in between.
 */
int64_t run_state_stamp(const JsonView *event);
