/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The record of a cycle: what the history keeps and what suspendctl shows. */

#include <json-c/json.h>
#include "common/json-bounded.h"
#include "common/text-escape.h"
#include "common/time-util.h"
#include "daemon/cycle.h"
#include "daemon/plugin.h"

#define RECORD_VERSION 1

/*
 * json-c takes a value over only where it succeeds, and asserts that there is an object. Where memory is
 * lacking the record lacks something; the machines are run again all the same.
 */
static void put(JsonObject *o, const char *key, JsonObject *value) {
        if (!o || json_object_object_add(o, key, value) < 0)
                (void) json_object_put(value);
}

static void append(JsonObject *array, JsonObject *value) {
        if (!array || json_object_array_add(array, value) < 0)
                (void) json_object_put(value);
}

/* Clean, as all that is told of machines: JSON itself lets control characters above ASCII through. */
static void put_string(JsonObject *o, const char *key, const char *s) {
        _cleanup_free_ char *clean = s ? text_escape(s) : NULL;

        put(o, key, clean ? json_object_new_string(clean) : NULL);
}

static void put_uint(JsonObject *o, const char *key, uint64_t v) {
        put(o, key, json_object_new_uint64(v));
}

static void put_int(JsonObject *o, const char *key, int64_t v) {
        put(o, key, json_object_new_int64(v));
}

static void put_bool(JsonObject *o, const char *key, bool v) {
        put(o, key, json_object_new_boolean(v));
}

/* A value that may not be known: null then. */
static void put_int_if(JsonObject *o, const char *key, bool is_known, int64_t v) {
        put(o, key, is_known ? json_object_new_int64(v) : NULL);
}

static JsonObject *record_time(const CorrectionReport *t) {
        JsonObject *o = json_object_new_object();

        put_string(o, "repaired_by", correction_repairer_to_string(t->repaired_by));

        put_string(o, "verdict", correction_verdict_to_string(t->verdict));
        put_int_if(o, "before_ns", t->is_before_known, t->before_ns);
        put_int_if(o, "before_uncertainty_ns", t->is_before_known, t->before_uncertainty_ns);
        put_int_if(o, "after_ns", t->is_after_known, t->after_ns);
        put_int_if(o, "after_uncertainty_ns", t->is_after_known, t->after_uncertainty_ns);
        put_uint(o, "tries", t->tries);
        put_int_if(o, "set_after_usec", t->tries > 0, (int64_t) t->set_after_usec);
        return o;
}

/* The cycle's own; of a machine that went before it was over, what there is. */
static JsonObject *record_first_time(const MachineReport *r) {
        const CorrectionEntry *first = &r->times[0];
        JsonObject *o = record_time(r->n_times > 0 ? &first->report : &r->time);

        put_int(o, "host_clock_stepped_ns", r->n_times > 0 ? first->host_stepped_ns : 0);
        return o;
}

static JsonObject *record_later(const MachineReport *r) {
        JsonObject *later = json_object_new_array();

        for (unsigned i = 1; i < r->n_times; i++) {
                const CorrectionEntry *e = &r->times[i];
                JsonObject *o = json_object_new_object();
                char stamp[TIME_STAMP_MAX];

                put_string(o, "at", time_stamp_format(stamp, e->at_realtime_ns));
                put_string(o, "cause", correction_cause_to_string(e->cause));
                put_int(o, "host_clock_stepped_ns", e->host_stepped_ns);
                put(o, "time", record_time(&e->report));
                append(later, o);
        }
        return later;
}

static JsonObject *record_answer(const Machine *m) {
        struct suspendd_answer answer;
        JsonObject *o;

        if (machine_answer(m, &answer) <= 0)
                return NULL;
        o = json_object_new_object();
        put_bool(o, "corrects_realtime", answer.corrects_realtime);
        put_bool(o, "corrects_boottime", answer.corrects_boottime);
        put_bool(o, "current", answer.is_current);
        put_int(o, "applied_ns", answer.applied_ns);
        put_int(o, "refused_ns", answer.refused_ns);
        return o;
}

static const char *record_asked(const MachineReport *r) {
        switch (r->asked) {
        case SUSPENDD_ACT_SUSPEND:
                return "suspend";
        case SUSPENDD_ACT_PAUSE:
                return "pause";
        default:
                return "nothing";
        }
}

static const char *record_stood(const MachineReport *r) {
        switch (r->stood) {
        case SUSPENDD_STATE_SUSPENDED:
                return "suspended";
        case SUSPENDD_STATE_PAUSED:
                return "paused";
        default:
                return NULL;
        }
}

static JsonObject *record_machine(const Machine *m) {
        const MachineReport *r = &m->report;
        bool has_stood = record_stood(r), has_run = r->ran_after_usec != 0;
        bool has_stopped = has_run || r->stopped_ns > 0; /* another hand may have run it */
        JsonObject *o = json_object_new_object();

        put_string(o, "id", m->id);
        put_string(o, "name", m->name);
        put_string(o, "uuid", m->uuid);
        put_string(o, "plugin", m->plugin->api->name);
        put_string(o, "mode", mode_to_string(m->policy.mode));
        put_string(o, "asked", record_asked(r));
        put_string(o, "stood", record_stood(r));
        put_int_if(o, "stood_after_usec", has_stood, (int64_t) r->stood_after_usec);
        put_int_if(o, "ran_after_usec", has_run, (int64_t) r->ran_after_usec);
        put_int_if(o, "stopped_ns", has_stopped, r->stopped_ns);
        put_int_if(o, "seen_ns", has_stopped, r->seen_ns);
        put_int_if(o, "unseen_ns", has_stopped, r->unseen_ns);
        put_bool(o, "late_suspend_undone", r->was_woken_late);
        put_bool(o, "failed", r->is_failed);
        put_string(o, "why", r->why);
        put_string(o, "page", machine_page(m));
        put(o, "answer", record_answer(m));
        put(o, "time", record_first_time(r));
        put(o, "later", record_later(r));
        return o;
}

static JsonObject *record_stats(const CycleReport *r) {
        JsonObject *o;

        if (r->stats_before.success < 0 || r->stats_after.success < 0)
                return NULL;
        o = json_object_new_object();
        put_int(o, "success", r->stats_after.success - r->stats_before.success);
        put_int(o, "fail", r->stats_after.fail - r->stats_before.fail);
        put_string(o, "last_failed_step", r->stats_after.last_failed_step);
        return o;
}

char *cycle_record(const Cycle *c) {
        _cleanup_json_ JsonObject *o = json_object_new_object();
        const CycleReport *r = &c->report;
        JsonObject *machines = json_object_new_array();
        const char *text;
        char stamp[TIME_STAMP_MAX];

        put_int(o, "version", RECORD_VERSION);
        put_uint(o, "number", r->number);
        put_string(o, "id", r->id);
        put_string(o, "kind", cycle_kind_to_string(r->kind));
        put_string(o, "ended", r->ended);
        put_string(o, "began", time_stamp_format(stamp, r->began.realtime_ns));
        put_uint(o, "budget_usec", r->budget.total_usec);
        put_int_if(o,
                   "delay_max_usec",
                   r->delay_max_usec != USEC_INFINITY,
                   (int64_t) r->delay_max_usec);
        put_bool(o, "protected", r->budget.is_protected);
        put_int_if(o, "released_after_usec", r->is_released, (int64_t) r->released_after_usec);
        put_bool(o, "overdue", r->is_overdue);
        put_int(o, "slept_ns", r->slept_ns);
        put_bool(o, "host_slept", r->host_slept);
        put_string(o, "slept_doubt", r->slept_doubt);
        put_int(o, "host_clock_stepped_ns", r->stepped_ns);
        put(o, "suspend_stats", record_stats(r));
        put_uint(o, "finished_after_usec", r->finished_after_usec);

        LIST_FOREACH(i, &c->machines) {
                const Machine *m = LIST_ENTRY(i, Machine, machines);

                if (m->report.is_part)
                        append(machines, record_machine(m));
        }
        put(o, "machines", machines);
        text = o ? json_object_to_json_string_ext(
                                   o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
                 : NULL;
        return text ? strdup(text) : NULL;
}
