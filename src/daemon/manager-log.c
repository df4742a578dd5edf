/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the journal is told of a cycle. Of single machines nothing is told while somebody waits. */

#include "common/time-util.h"
#include "daemon/log.h"
#include "daemon/manager-internal.h"
#include "daemon/messages.h"

static LogFields cycle_fields(const Manager *m, const char *message_id) {
        return (LogFields){ .message_id = message_id, .cycle_id = m->cycle->report.id };
}

static LogFields machine_fields(const Manager *m, const char *message_id, const Machine *machine) {
        return (LogFields){
                .message_id = message_id,
                .cycle_id = m->cycle->report.id,
                .machine = machine->id,
                .plugin = machine->plugin->api->name,
        };
}

static void log_started(const Manager *m) {
        const CycleReport *r = &m->cycle->report;
        LogFields fields = cycle_fields(m, SUSPENDD_MESSAGE_CYCLE_STARTED);

        (void) log_full(&fields,
                        LOG_INFO,
                        0,
                        "Cycle %llu (%s) begins",
                        (unsigned long long) r->number,
                        cycle_kind_to_string(r->kind));
}

static void log_stood(const Manager *m, const Machine *machine) {
        LogFields fields = machine_fields(m, SUSPENDD_MESSAGE_MACHINE_STOOD, machine);
        const MachineReport *r = &machine->report;
        bool is_suspended = r->stood == SUSPENDD_STATE_SUSPENDED;
        char after[TIME_SPAN_MAX];

        if (r->stood != SUSPENDD_STATE_PAUSED && !is_suspended)
                return;
        fields.elapsed_usec = r->stood_after_usec;
        (void) log_full(&fields,
                        LOG_INFO,
                        0,
                        "Machine %s is %s since %s after the beginning",
                        machine->id,
                        is_suspended ? "suspended" : "paused",
                        time_span_format(after, r->stood_after_usec));
}

static void log_released(const Manager *m) {
        const CycleReport *r = &m->cycle->report;
        LogFields fields = cycle_fields(m, SUSPENDD_MESSAGE_LOCK_RELEASED);
        const char *what = r->kind == CYCLE_KIND_REHEARSAL ? "the host could sleep now"
                                                           : "letting the host sleep";

        fields.elapsed_usec = r->released_after_usec;
        (void) log_full(&fields,
                        r->is_overdue ? LOG_WARNING : LOG_INFO,
                        0,
                        r->is_overdue ? "The time is over and not all machines stand; %s"
                                      : "All machines stand; %s",
                        what);
        LIST_FOREACH(i, &m->cycle->machines)
        log_stood(m, LIST_ENTRY(i, Machine, machines));
}

static void log_woke(const Manager *m) {
        const CycleReport *r = &m->cycle->report;
        LogFields fields = cycle_fields(m, SUSPENDD_MESSAGE_WOKE);
        char slept[TIME_SPAN_MAX];

        (void) time_span_format(slept, (uint64_t) (r->slept_ns / NSEC_PER_USEC));
        if (r->kind == CYCLE_KIND_REHEARSAL)
                (void) log_full(&fields, LOG_INFO, 0, "The rehearsal's sleep is over");
        else if (r->host_slept)
                (void) log_full(&fields,
                                LOG_INFO,
                                0,
                                "The host is awake, and has slept for %s%s%s%s",
                                slept,
                                r->slept_doubt ? " (in doubt: " : "",
                                r->slept_doubt ?: "",
                                r->slept_doubt ? ")" : "");
        else
                (void) log_full(&fields,
                                LOG_INFO,
                                0,
                                "The host is awake, and is not known to have slept");
}

static void log_ran(const Manager *m, const Machine *machine) {
        LogFields fields = machine_fields(m, SUSPENDD_MESSAGE_MACHINE_RAN, machine);
        const MachineReport *r = &machine->report;
        char stopped[TIME_SPAN_MAX], off[TIME_SPAN_MAX];
        bool is_read = r->time.is_after_known;

        if (r->ran_after_usec == 0)
                return;
        fields.elapsed_usec = r->ran_after_usec;
        (void) log_full(&fields,
                        LOG_INFO,
                        0,
                        "Machine %s runs again, stopped for %s; its clock %s%s",
                        machine->id,
                        time_span_format(stopped, (uint64_t) (r->stopped_ns / NSEC_PER_USEC)),
                        is_read ? "is off by " : "was not read",
                        is_read ? time_offset_format(off, r->time.after_ns) : "");
}

static void log_failed(const Manager *m, const Machine *machine) {
        LogFields fields = machine_fields(m, SUSPENDD_MESSAGE_MACHINE_FAILED, machine);
        const char *why = machine->report.why;

        if (machine->report.is_failed)
                (void) log_full(&fields,
                                LOG_WARNING,
                                0,
                                "Machine %s: %s",
                                machine->id,
                                *why ? why : "it does not run again");
}

static void log_finished(const Manager *m) {
        const CycleReport *r = &m->cycle->report;
        LogFields fields = cycle_fields(m, SUSPENDD_MESSAGE_CYCLE_FINISHED);
        size_t suspended = 0, paused = 0, failed = 0;

        LIST_FOREACH(i, &m->cycle->machines) {
                const Machine *machine = LIST_ENTRY(i, Machine, machines);

                suspended += machine->report.stood == SUSPENDD_STATE_SUSPENDED;
                paused += machine->report.stood == SUSPENDD_STATE_PAUSED;
                failed += machine->report.is_failed;
                log_ran(m, machine);
                log_failed(m, machine);
        }
        fields.elapsed_usec = r->finished_after_usec;
        (void) log_full(&fields,
                        LOG_NOTICE,
                        0,
                        "Cycle %llu (%s) is over, %s: %zu suspended, %zu paused, %zu failed",
                        (unsigned long long) r->number,
                        cycle_kind_to_string(r->kind),
                        r->ended ?: "woke",
                        suspended,
                        paused,
                        failed);
}

void manager_log_milestone(const Manager *m, CycleMilestone milestone) {
        switch (milestone) {
        case CYCLE_STARTED:
                log_started(m);
                break;
        case CYCLE_LOCK_RELEASED:
                log_released(m);
                break;
        case CYCLE_WOKE:
                log_woke(m);
                break;
        case CYCLE_FINISHED:
                log_finished(m);
                break;
        default:
                break;
        }
}
