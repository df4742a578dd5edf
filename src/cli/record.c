/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/record.h"
#include <inttypes.h>
#include "cli/clean.h"

static const Field summary_fields[] = {
        { "CYCLE", "number", FORMAT_COUNT, FIELD_RIGHT, NULL },
        { "WHEN", "began", FORMAT_STAMP, 0, NULL },
        { "KIND", "kind", FORMAT_TEXT, 0, NULL },
        { "SLEPT", "slept_ns", FORMAT_SPAN_NS, FIELD_RIGHT, NULL },
        { "RELEASED", "released_after_usec", FORMAT_SPAN_USEC, FIELD_RIGHT, NULL },
        { "SUSPENDED", "suspended", FORMAT_COUNT, FIELD_RIGHT, NULL },
        { "PAUSED", "paused", FORMAT_COUNT, FIELD_RIGHT, NULL },
        { "FAILED", "failed", FORMAT_COUNT, FIELD_RIGHT, NULL },
        { "WORST RESIDUAL",
          "worst_residual_ns",
          FORMAT_OFFSET_NS,
          FIELD_RIGHT,
          "worst_residual_uncertainty_ns" },
        { "ENDED", "ended", FORMAT_STATE, 0, NULL },
};

static const Field head_fields[] = {
        { "Cycle", "number", FORMAT_COUNT, 0, NULL },
        { "Began", "began", FORMAT_STAMP, 0, NULL },
        { "Kind", "kind", FORMAT_TEXT, 0, NULL },
        { "Ended", "ended", FORMAT_STATE, 0, NULL },
        { "Slept", "slept_ns", FORMAT_SPAN_NS, 0, NULL },
        { "In doubt because", "slept_doubt", FORMAT_TEXT, 0, NULL },
        { "Lock released after", "released_after_usec", FORMAT_SPAN_USEC, 0, NULL },
        { "Over budget", "overdue", FORMAT_YES_NO, FIELD_IF_SET, NULL },
        { "Budget", "budget_usec", FORMAT_SPAN_USEC, 0, NULL },
        { "logind waits", "delay_max_usec", FORMAT_LIMIT_USEC, 0, NULL },
        { "Host clock stepped", "host_clock_stepped_ns", FORMAT_OFFSET_NS, FIELD_IF_SET, NULL },
        { "Failed at", "suspend_stats.last_failed_step", FORMAT_TEXT, 0, NULL },
        { "Finished after", "finished_after_usec", FORMAT_SPAN_USEC, 0, NULL },
};

static const Field machine_fields[] = {
        { "NAME", "id", FORMAT_TEXT, FIELD_SHRINK, NULL },
        { "STOOD", "stood", FORMAT_TEXT, 0, NULL },
        { "AFTER", "stood_after_usec", FORMAT_SPAN_USEC, FIELD_RIGHT, NULL },
        { "STOPPED", "stopped_ns", FORMAT_SPAN_NS, FIELD_RIGHT, NULL },
        { "OFF BY", "time.before_ns", FORMAT_OFFSET_NS, FIELD_RIGHT, NULL },
        { "RESIDUAL", "time.after_ns", FORMAT_OFFSET_NS, FIELD_RIGHT, "time.after_uncertainty_ns" },
        { "SET", "time.tries", FORMAT_COUNT, FIELD_RIGHT, NULL },
        { "CLOCK", "time.verdict", FORMAT_STATE, 0, NULL },
        { "BY", "time.repaired_by", FORMAT_STATE, 0, NULL },
};

/* What is kept of a record in its summary. */
static const char *const kept[] = {
        "number",
        "id",
        "kind",
        "ended",
        "began",
        "budget_usec",
        "slept_ns",
        "host_slept",
        "released_after_usec",
        "overdue",
        "finished_after_usec",
};

typedef struct Counts {
        int64_t suspended, paused, failed;
        bool has_residual;
        int64_t worst_ns, worst_uncertainty_ns;
} Counts;

/* How its clock was left: what was done to it last. */
static int last_time(JsonObject *machine, JsonObject **ret) {
        JsonObject *later;
        size_t n;

        if (json_get_array(machine, "later", &later) >= 0 &&
            (n = json_object_array_length(later)) > 0 &&
            json_get_object(json_object_array_get_idx(later, n - 1), "time", ret) >= 0)
                return 0;
        return json_get_object(machine, "time", ret);
}

static void count_machine(Counts *counts, JsonObject *machine) {
        const char *stood = json_text(machine, "stood");
        int64_t after_ns, uncertainty_ns = 0;
        JsonObject *clock;
        bool failed;

        counts->suspended += str_equal(stood, "suspended");
        counts->paused += str_equal(stood, "paused");
        counts->failed += json_get_bool(machine, "failed", &failed) >= 0 && failed;

        if (last_time(machine, &clock) < 0 || json_get_int64(clock, "after_ns", &after_ns) < 0)
                return;
        if (counts->has_residual && llabs(after_ns) <= llabs(counts->worst_ns))
                return;

        (void) json_get_int64(clock, "after_uncertainty_ns", &uncertainty_ns);
        counts->has_residual = true;
        counts->worst_ns = after_ns;
        counts->worst_uncertainty_ns = uncertainty_ns;
}

static void count(JsonObject *record, Counts *ret) {
        JsonObject *machines;

        *ret = (Counts){ 0 };
        if (json_get_array(record, "machines", &machines) < 0)
                return;
        for (size_t i = 0; i < json_object_array_length(machines); i++)
                count_machine(ret, json_object_array_get_idx(machines, i));
}

JsonObject *record_summary(JsonObject *record) {
        JsonObject *o = json_object_new_object(), *value;
        Counts counts;

        for (size_t i = 0; i < ARRAY_LEN(kept); i++)
                if (json_object_object_get_ex(record, kept[i], &value))
                        (void) json_object_object_add(o, kept[i], json_object_get(value));

        count(record, &counts);
        (void) json_object_object_add(o, "suspended", json_object_new_int64(counts.suspended));
        (void) json_object_object_add(o, "paused", json_object_new_int64(counts.paused));
        (void) json_object_object_add(o, "failed", json_object_new_int64(counts.failed));
        value = counts.has_residual ? json_object_new_int64(counts.worst_ns) : NULL;
        (void) json_object_object_add(o, "worst_residual_ns", value);
        value = counts.has_residual ? json_object_new_int64(counts.worst_uncertainty_ns) : NULL;
        (void) json_object_object_add(o, "worst_residual_uncertainty_ns", value);
        return o;
}

int record_print_summaries(const Output *o, JsonObject *summaries) {
        return output_table(o, summary_fields, ARRAY_LEN(summary_fields), summaries);
}

/* What the table has no room for: why a machine was treated as it was. */
static void print_reasons(const Output *o, JsonObject *machines) {
        bool is_first = true;

        for (size_t i = 0; i < json_object_array_length(machines); i++) {
                JsonObject *machine = json_object_array_get_idx(machines, i);
                const char *why = json_text(machine, "why");
                bool failed = false, is_late = false;

                (void) json_get_bool(machine, "failed", &failed);
                (void) json_get_bool(machine, "late_suspend_undone", &is_late);
                if (!*why && !failed && !is_late)
                        continue;

                (void) printf("%s%s: %s%s%s%s%s%s\n",
                              is_first ? "\n" : "",
                              json_text(machine, "id"),
                              failed && o->is_colourful ? "\x1b[31m" : "",
                              failed ? "failed" : json_text(machine, "asked"),
                              failed && o->is_colourful ? "\x1b[0m" : "",
                              *why ? ": " : "",
                              why,
                              is_late ? "; a late suspend was undone" : "");
                is_first = false;
        }
}

static void print_entry(const Output *o, JsonObject *entry, const char *head) {
        static const Field by = {
                "", "host_clock_stepped_ns", FORMAT_OFFSET_NS, FIELD_IF_SET, NULL
        };
        static const Field before = { "", "before_ns", FORMAT_OFFSET_NS, 0, NULL };
        static const Field after = { "", "after_ns", FORMAT_OFFSET_NS, 0, "after_uncertainty_ns" };
        static const Field at = { "", "at", FORMAT_STAMP, 0, NULL };
        _cleanup_free_ char *stamp = output_field(o, &at, entry);
        _cleanup_free_ char *stepped = output_field(o, &by, entry);
        _cleanup_free_ char *was = NULL, *is = NULL;
        JsonObject *time = NULL;

        /* The record has the reading in an object of its own, the bus beside the rest. */
        if (json_get_object(entry, "time", &time) < 0)
                time = entry;
        was = output_field(o, &before, time);
        is = output_field(o, &after, time);
        (void) printf("%s%s: clock %s (%s%s%s): off by %s, then %s\n",
                      head,
                      stamp ?: "-",
                      json_text(time, "verdict"),
                      json_text(entry, "cause"),
                      stepped ? " set by " : "",
                      stepped ?: "",
                      was ?: "-",
                      is ?: "-");
}

void record_print_later(const Output *o, JsonObject *machine, const char *head) {
        JsonObject *later;

        if (json_get_array(machine, "later", &later) < 0)
                return;
        for (size_t i = 0; i < json_object_array_length(later); i++)
                print_entry(o, json_object_array_get_idx(later, i), head);
}

static void print_all_later(const Output *o, JsonObject *machines) {
        for (size_t i = 0; i < json_object_array_length(machines); i++) {
                JsonObject *machine = json_object_array_get_idx(machines, i);
                _cleanup_free_ char *head = NULL;

                if (asprintf(&head, "%s, ", json_text(machine, "id")) < 0)
                        head = NULL;
                record_print_later(o, machine, head ?: "");
        }
}

static int compare_ids(const void *a, const void *b) {
        return strverscmp(
                        json_text(*(JsonObject *const *) a, "id"),
                        json_text(*(JsonObject *const *) b, "id"));
}

int record_print(const Output *o, JsonObject *record) {
        JsonObject *machines;
        int r;

        output_sheet(o, head_fields, ARRAY_LEN(head_fields), record);
        if (json_get_array(record, "machines", &machines) < 0 ||
            json_object_array_length(machines) == 0)
                return 0;

        json_object_array_sort(machines, compare_ids);
        (void) putchar('\n');
        r = output_table(o, machine_fields, ARRAY_LEN(machine_fields), machines);
        if (r >= 0) {
                print_reasons(o, machines);
                print_all_later(o, machines);
        }
        return r;
}

/* wrong? */

static bool machine_is_wrong(JsonObject *machine) {
        const char *verdict = "";
        JsonObject *clock;
        bool failed;

        if (json_get_bool(machine, "failed", &failed) >= 0 && failed)
                return true;
        if (last_time(machine, &clock) >= 0)
                verdict = json_text(clock, "verdict");
        return str_equal(verdict, "gave-up") || str_equal(verdict, "unreachable");
}

bool record_is_wrong(JsonObject *record) {
        JsonObject *machines;

        if (!str_equal(json_text(record, "ended"), "woke"))
                return true;
        if (json_get_array(record, "machines", &machines) < 0)
                return false;
        for (size_t i = 0; i < json_object_array_length(machines); i++)
                if (machine_is_wrong(json_object_array_get_idx(machines, i)))
                        return true;
        return false;
}
