/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/cycle.h"
#include <errno.h>
#include <inttypes.h>
#include <sys/random.h>
#include "common/time-util.h"
#include "daemon/cycle-internal.h"
#include "daemon/log.h"
#include "daemon/machine-drift.h"

/* A machine that comes when less than this is left of the budget is too late. */
#define NEWCOMER_MIN_USEC (500 * USEC_PER_MSEC)
/* BOOTTIME and MONOTONIC of one reading are apart by less. */
#define SLEPT_MIN_NS (10 * NSEC_PER_MSEC)
/* How long after a wake a step of the host's clock is its repair after that sleep. */
#define STEP_WINDOW_USEC (600 * USEC_PER_SEC)
/* Zones are whole quarters of an hour apart; an RTC has whole seconds, and drifts. */
#define ZONE_NS (900 * NSEC_PER_SEC)
#define ZONE_TOLERANCE_NS (2 * NSEC_PER_SEC)
/* Until a note that could not be written is tried again. */
#define NOTE_RETRY_MIN_USEC (250 * USEC_PER_MSEC)
#define NOTE_RETRY_MAX_USEC (30 * USEC_PER_SEC)
#define RESTORE_GRACE_USEC (10 * USEC_PER_SEC)

/* small things that the parts share */

void cycle_sample(Cycle *c, ClockSample *ret) {
        c->private->ops->now(c->private->userdata, ret);
}

uint64_t cycle_now_usec(Cycle *c) {
        struct CyclePrivate *p = c->private;

        return (uint64_t) (p->ops->clock(p->userdata, CLOCK_MONOTONIC) / NSEC_PER_USEC);
}

void cycle_arm(Cycle *c, uint64_t usec) {
        struct CyclePrivate *p = c->private;

        if (p->armed_usec != 0 && usec >= p->armed_usec)
                return;
        p->armed_usec = usec;
        p->ops->arm(p->userdata, usec);
}

static void cycle_arm_one(Cycle *c, uint64_t *timer, uint64_t usec) {
        *timer = usec;
        cycle_arm(c, usec);
}

void cycle_count(Cycle *c, Machine *m, MachineState state) {
        c->private->n_in[m->state]--;
        m->state = state;
        c->private->n_in[m->state]++;
}

void cycle_milestone(Cycle *c, CycleMilestone milestone, Machine *m) {
        c->private->ops->on_milestone(c->private->userdata, milestone, m);
}

void cycle_changed(Cycle *c, Machine *m) {
        if (m->is_dirty)
                return;
        c->private->ops->on_machine_changed(c->private->userdata, m);
        m->is_dirty = true;
}

static void note_fill(
                JournalNote *note, const Machine *m, JournalNoteKind kind, int64_t boottime_ns) {
        *note = (JournalNote){ .kind = kind, .since_boottime_ns = boottime_ns };
        (void) memcpy(note->key, m->key, sizeof(note->key));
}

static int cycle_write_note(Cycle *c, Machine *m) {
        JournalNote note;
        int r = 0;

        if (m->noted == m->note_wanted)
                return 0;
        note_fill(&note, m, m->note_wanted, m->stand.since_boottime_ns ?: m->seen_boottime_ns);
        if (c->private->journal)
                r = journal_write(c->private->journal, &note, 1);
        if (r >= 0)
                m->noted = m->note_wanted;
        return r;
}

void cycle_note_later(Cycle *c) {
        struct CyclePrivate *p = c->private;
        uint64_t pause_usec = NOTE_RETRY_MIN_USEC << MIN(p->note_tries, 7U);

        if (p->notes_usec != 0)
                return;
        p->note_tries++;
        cycle_arm_one(c, &p->notes_usec, cycle_now_usec(c) + MIN(pause_usec, NOTE_RETRY_MAX_USEC));
}

/*
 * What could not be written in its time. A note that is left behind would have the next life run a
 * machine that its owner has paused since.
 */
static void cycle_write_owed(Cycle *c) {
        bool has_room = !c->private->is_room_owed || cycle_reserve_notes(c, c->n_machines) >= 0;

        LIST_FOREACH(i, &c->machines)
        if (cycle_write_note(c, LIST_ENTRY(i, Machine, machines)) < 0) {
                cycle_note_later(c);
                return;
        }
        if (has_room)
                c->private->note_tries = 0;
}

int cycle_note(Cycle *c, Machine *m, JournalNoteKind kind) {
        int r;

        m->note_wanted = kind;
        r = cycle_write_note(c, m);
        if (r >= 0)
                return 0;
        cycle_note_later(c);
        return log_error_errno(r, "Cannot write down what becomes of machine %s", m->name);
}

/* whether a phase is over */

void cycle_enter(Cycle *c) {
        c->private->depth++;
}

void cycle_leave(Cycle *c) {
        const size_t *n = c->private->n_in;

        if (--c->private->depth > 0 || c->private->is_enumerating)
                return;
        if (c->state == CYCLE_PREPARING &&
            n[MACHINE_SAMPLING] + n[MACHINE_SUSPENDING] + n[MACHINE_PAUSING] == 0)
                cycle_handle(c, CYCLE_EVENT_ALL_STAND);
        else if (c->state == CYCLE_RESTORING && n[MACHINE_WAKING] + n[MACHINE_CORRECTING] == 0)
                cycle_handle(c, CYCLE_EVENT_RESTORED);
        else if (c->state == CYCLE_IDLE && c->private->is_amended && n[MACHINE_CORRECTING] == 0) {
                c->private->is_amended = false;
                cycle_milestone(c, CYCLE_AMENDED, NULL);
        }
}

void cycle_amend(Cycle *c) {
        c->private->is_amended = c->state == CYCLE_IDLE && c->report.number != 0;
}

size_t cycle_n_held(const Cycle *c) {
        size_t n = 0;

        for (int s = MACHINE_SUSPENDING; s <= MACHINE_WAKING; s++)
                n += c->private->n_in[s];
        return n;
}

bool cycle_is_urgent(const Cycle *c) {
        return c->state == CYCLE_PREPARING ||
               (c->state == CYCLE_RESTORING && c->private->n_in[MACHINE_WAKING] > 0);
}

/* beginning a cycle */

static int64_t sample_slept_ns(const ClockSample *s) {
        return s->boottime_ns - s->monotonic_ns;
}

/* What a later life of the daemon is to know the length of this sleep by; or what an earlier one has left us. */
static void cycle_mark_slept(Cycle *c) {
        Journal *j = c->private->journal;
        CycleReport *r = &c->report;

        if (j && (r->kind == CYCLE_KIND_SLEEP || r->kind == CYCLE_KIND_REHEARSAL))
                journal_set_slept(j, sample_slept_ns(&r->began));
        else if (j && r->kind == CYCLE_KIND_RECOVERY && journal_slept(j) >= 0)
                r->slept_before_ns = MAX(sample_slept_ns(&r->began) - journal_slept(j), INT64_C(0));
}

/* What is in the history now is not to be counted by a later life once more, if there is a note for it to find. */
static void cycle_mark_accounted(Cycle *c) {
        Journal *j = c->private->journal;

        if (!j)
                return;
        journal_set_slept(j, sample_slept_ns(&c->private->accounted));
        if (journal_write(j, NULL, 0) < 0)
                log_debug("Cannot write down how long the host has slept until now");
}

static void cycle_new_report(Cycle *c, CycleKind kind) {
        struct CyclePrivate *p = c->private;
        CycleReport *r = &c->report;
        uint64_t random[2];

        if (getrandom(random, sizeof(random), GRND_NONBLOCK) != sizeof(random)) {
                random[0] = (uint64_t) clock_now_ns(CLOCK_REALTIME);
                random[1] = p->next_number;
        }
        p->is_amended = p->is_early = false;
        *r = (CycleReport){
                .number = p->next_number++,
                .kind = kind,
                .delay_max_usec = c->delay_max_usec,
        };
        (void) snprintf(r->id, sizeof(r->id), "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
        cycle_sample(c, &r->began);
        cycle_mark_slept(c);
}

/* What a machine starts a cycle with. */
static void cycle_new_machine_report(Machine *m) {
        m->report = (MachineReport){
                .is_part = true,
                .could_time = machine_can(m, SUSPENDD_ACT_GET_TIME),
                .asked = SUSPENDD_ACT_INVALID,
        };
        m->correction.is_ahead_known = false;
}

/* planning and asking */

static void cycle_plan(Cycle *c, Machine *m) {
        MachineReport *r = &m->report;

        r->asked = m->plan = machine_plan(m, r->why, sizeof(r->why));
        if (r->asked == SUSPENDD_ACT_SUSPEND && !c->report.budget.is_protected) {
                r->asked = m->plan = SUSPENDD_ACT_PAUSE;
                (void) snprintf(r->why,
                                sizeof(r->why),
                                "logind does not wait (InhibitDelayMaxSec=0)");
        }
        /* A machine that runs and cannot be stopped is a failure, unless that is what its owner wants. */
        if (r->asked == SUSPENDD_ACT_INVALID && m->policy.mode != MODE_IGNORE)
                r->is_failed = m->run_state == SUSPENDD_STATE_RUNNING ||
                               m->run_state == SUSPENDD_STATE_UNKNOWN;
}

/* What the journal shall say of a machine that is about to be asked. */
static JournalNoteKind cycle_intent(const Machine *m) {
        bool may_strike = m->report.asked == SUSPENDD_ACT_SUSPEND || m->is_suspend_owed;

        if (may_strike)
                return JOURNAL_NOTE_ASKED;
        /* Once suspended it may still be, beneath a pause; once paused it may have run in between. */
        if (m->stand.since_boottime_ns != 0 && m->stand.is_seen)
                return JOURNAL_NOTE_SUSPENDED;
        if (machine_drift_is_certain(m))
                return JOURNAL_NOTE_PAUSED;
        return JOURNAL_NOTE_HELD;
}

/* One write for all, before the first is asked. Without it nobody is: whoever cannot be run again … */
static bool cycle_write_intents(Cycle *c) {
        struct CyclePrivate *p = c->private;
        size_t n = 0;
        int r = 0;

        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (m->report.asked == SUSPENDD_ACT_INVALID || m->noted == cycle_intent(m))
                        continue;
                if (n >= p->n_notes_max)
                        r = -ENOSPC;
                else
                        note_fill(&p->notes[n++],
                                  m,
                                  cycle_intent(m),
                                  m->stand.since_boottime_ns ?: c->report.began.boottime_ns);
        }
        if (r >= 0 && p->journal) {
                r = journal_write(p->journal, p->notes, n);
                if (n == 0)
                        r = 0; /* of how long the host has slept, nobody's run depends on it */
        }
        if (r < 0) {
                log_error_errno(r, "Cannot write down what is about to be stopped; nothing is");
                return false;
        }
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (m->report.asked != SUSPENDD_ACT_INVALID)
                        m->noted = m->note_wanted = cycle_intent(m);
        }
        return true;
}

static void cycle_ask(Machine *m) {
        bool is_relative = m->policy.time_sync == TIME_SYNC_RELATIVE;
        bool is_waking = m->state == MACHINE_WAKING;

        if (m->report.asked == SUSPENDD_ACT_INVALID)
                return;
        if (is_relative && !is_waking && m->report.could_time &&
            m->cycle->report.budget.is_protected)
                machine_handle(m, MACHINE_EVENT_SAMPLE);
        else if (m->report.asked == SUSPENDD_ACT_SUSPEND)
                machine_handle(m, MACHINE_EVENT_SUSPEND);
        else
                machine_handle(m, MACHINE_EVENT_PAUSE);
}

static void cycle_unwritten(Cycle *c) {
        LIST_FOREACH(i, &c->machines) {
                MachineReport *r = &LIST_ENTRY(i, Machine, machines)->report;

                if (r->asked == SUSPENDD_ACT_INVALID)
                        continue;
                r->asked = SUSPENDD_ACT_INVALID;
                r->is_failed = true;
                (void) snprintf(r->why, sizeof(r->why), "it could not be written down first");
        }
}

static void cycle_budget(Cycle *c) {
        struct CyclePrivate *p = c->private;
        Budget *b = &c->report.budget;

        budget_compute(b, c->delay_max_usec, c->cap_usec, c->suspend_share);
        c->report.delay_max_usec = c->delay_max_usec;
        cycle_arm_one(c, &p->overtake_usec, p->announced_usec + b->overtake_usec);
        cycle_arm_one(c, &p->deadline_usec, p->announced_usec + b->deadline_usec);
}

static void cycle_prepare(Cycle *c) {
        struct CyclePrivate *p = c->private;
        bool is_rehearsal = p->is_rehearsal_due;

        p->is_rehearsal_due = false;
        cycle_new_report(c, is_rehearsal ? CYCLE_KIND_REHEARSAL : CYCLE_KIND_SLEEP);
        p->announced_usec = (uint64_t) (c->report.began.monotonic_ns / NSEC_PER_USEC);
        p->restored_usec = 0;
        cycle_budget(c);

        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                cycle_new_machine_report(m);
                cycle_plan(c, m);
        }
        if (p->is_room_owed)
                (void) cycle_reserve_notes(c, c->n_machines);
        if (!cycle_write_intents(c))
                cycle_unwritten(c);
        LIST_FOREACH(i, &c->machines)
        cycle_ask(LIST_ENTRY(i, Machine, machines));
        /* What can wait until all are asked: only the sleep itself, which waits for us, changes it. */
        p->ops->stats(p->userdata, &c->report.stats_before);
        cycle_milestone(c, CYCLE_STARTED, NULL);
}

void cycle_on_newcomer(Cycle *c, Machine *m) {
        struct CyclePrivate *p = c->private;

        if (c->state != CYCLE_PREPARING || m->report.asked != SUSPENDD_ACT_INVALID ||
            (m->state != MACHINE_IDLE && m->state != MACHINE_WATCHED))
                return;

        cycle_new_machine_report(m);
        if (cycle_now_usec(c) + NEWCOMER_MIN_USEC > p->deadline_usec) {
                (void) snprintf(m->report.why, sizeof(m->report.why), "it came too late");
                m->report.is_failed = m->policy.mode != MODE_IGNORE;
                return;
        }
        cycle_plan(c, m);
        if (m->report.asked != SUSPENDD_ACT_INVALID && cycle_note(c, m, cycle_intent(m)) < 0)
                return;
        cycle_ask(m);
}

/* Feeds @event to the machines that are in one of the states of the mask. */
static void cycle_tell(Cycle *c, unsigned states, MachineEvent event) {
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (states & (1U << m->state))
                        machine_handle(m, event);
        }
}

static void cycle_expire(Cycle *c) {
        const unsigned late =
                        1U << MACHINE_SAMPLING | 1U << MACHINE_SUSPENDING | 1U << MACHINE_PAUSING;

        c->report.is_overdue = true;
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (!(late & (1U << m->state)))
                        continue;
                m->report.is_failed = true;
                /* Why it was not even asked to suspend is no longer what matters. */
                if (!*m->report.why || m->report.asked == SUSPENDD_ACT_PAUSE)
                        (void) snprintf(m->report.why,
                                        sizeof(m->report.why),
                                        "it did not stand in time");
        }
        cycle_tell(c, late, MACHINE_EVENT_DEADLINE);
}

static bool machine_is_unwritten(const Machine *m) {
        return m->noted == JOURNAL_NOTE_HELD && machine_drift_is_certain(m);
}

static JournalNoteKind machine_stand_kind(const Machine *m) {
        return m->stand.is_seen ? JOURNAL_NOTE_SUSPENDED : JOURNAL_NOTE_PAUSED;
}

/* Since when each of them stands, for the next life; one write for all, when nobody waits for it. */
static void cycle_note_stands(Cycle *c) {
        struct CyclePrivate *p = c->private;
        size_t n = 0;
        int r;

        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (machine_is_unwritten(m) && n < p->n_notes_max)
                        note_fill(&p->notes[n++],
                                  m,
                                  machine_stand_kind(m),
                                  m->stand.since_boottime_ns);
        }
        r = p->journal && n > 0 ? journal_write(p->journal, p->notes, n) : 0;
        if (r < 0) {
                (void) log_warning_errno(r, "Cannot write down since when machines stand");
                return;
        }
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (machine_is_unwritten(m))
                        m->noted = m->note_wanted = machine_stand_kind(m);
        }
}

static void cycle_let_go(Cycle *c) {
        struct CyclePrivate *p = c->private;
        bool is_rehearsal = c->report.kind == CYCLE_KIND_REHEARSAL;

        if (!is_rehearsal)
                p->ops->let_go(p->userdata);
        p->overtake_usec = p->deadline_usec = 0;
        /* What an earlier life let go of is not let go of again. */
        if (c->report.is_released || c->report.kind == CYCLE_KIND_RECOVERY)
                return;
        cycle_sample(c, &c->report.released);
        c->report.is_released = true;
        c->report.released_after_usec =
                        (uint64_t) ((c->report.released.monotonic_ns -
                                     c->report.began.monotonic_ns) /
                                    NSEC_PER_USEC);
        if (is_rehearsal)
                cycle_arm_one(c, &p->wake_usec, cycle_now_usec(c) + p->rehearse_usec);
        cycle_note_stands(c);
        cycle_milestone(c, CYCLE_LOCK_RELEASED, NULL);
}

/* coming back */

static const char *cycle_how_ended(const Cycle *c) {
        const CycleReport *r = &c->report;

        switch (c->private->ended_by) {
        case CYCLE_EVENT_NOT_SLEEPING:
                return r->host_slept ? "woke" : "lost";
        case CYCLE_EVENT_SHUTDOWN:
                return "shutdown";
        case CYCLE_EVENT_QUIT:
                return "stopped";
        default:
                /* A sleep that left no trace where the kernel would have told has failed. */
                return r->kind == CYCLE_KIND_SLEEP && !r->host_slept && r->stats_after.success >= 0
                                       ? "failed"
                                       : "woke";
        }
}

static void cycle_measure(Cycle *c) {
        struct CyclePrivate *p = c->private;
        CycleReport *r = &c->report;

        if (!p->is_early)
                p->ops->take_lock(p->userdata);
        p->overtake_usec = p->wake_usec = 0;
        /* If it is we or the host that end, not the sleep, logind still waits: the lock goes in time. */
        if (c->report.kind != CYCLE_KIND_SLEEP ||
            (p->ended_by != CYCLE_EVENT_QUIT && p->ended_by != CYCLE_EVENT_SHUTDOWN))
                p->deadline_usec = 0;
        cycle_sample(c, &r->woke);
        p->ops->stats(p->userdata, &r->stats_after);
        if (r->kind == CYCLE_KIND_UNANNOUNCED)
                r->began = p->accounted;
        r->is_woken = true;
        r->slept_ns = r->slept_before_ns + clock_sample_slept_ns(&r->began, &r->woke);
        r->stepped_ns = clock_sample_stepped_ns(&r->began, &r->woke);
        r->host_slept = r->slept_ns >= SLEPT_MIN_NS ||
                        (r->stats_before.success >= 0 &&
                         r->stats_after.success > r->stats_before.success);
        /* A sleep of less than an RTC's second, an RTC that stands, or a sleep in which the clocks ran on. */
        r->slept_doubt = r->host_slept && r->slept_ns < SLEPT_MIN_NS
                                         ? "the kernel counted the sleep and no time for it"
                                         : NULL;
        r->ended = cycle_how_ended(c);
        p->accounted = r->woke;
        p->step_window_usec = cycle_now_usec(c) + STEP_WINDOW_USEC;
}

/* Its clock, and what its guest knows of it, after something that it was not held through. */
static void cycle_look(Machine *m) {
        machine_drift_look(m);
        machine_handle(m, MACHINE_EVENT_CORRECT);
}

static void cycle_limit_restore(Cycle *c) {
        cycle_arm_one(c,
                      &c->private->restored_usec,
                      cycle_now_usec(c) + c->time_limit_usec + RESTORE_GRACE_USEC);
}

static void cycle_restore(Cycle *c) {
        bool is_lost_time = c->report.kind != CYCLE_KIND_REHEARSAL;

        /* What was read of a clock before the sleep is no longer true: it is read anew. */
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (m->state == MACHINE_CORRECTING)
                        cycle_look(m);
        }

        /* First all that stand, then the clocks of those that never did. */
        cycle_tell(c,
                   1U << MACHINE_SAMPLING | 1U << MACHINE_SUSPENDING | 1U << MACHINE_PAUSING |
                                   1U << MACHINE_SUSPENDED | 1U << MACHINE_PAUSED |
                                   1U << MACHINE_MISSED,
                   MACHINE_EVENT_WAKE);
        cycle_milestone(c, CYCLE_WOKE, NULL);
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if ((m->state == MACHINE_IDLE || m->state == MACHINE_WATCHED) &&
                    m->run_state == SUSPENDD_STATE_RUNNING &&
                    (is_lost_time || m->report.asked != SUSPENDD_ACT_INVALID))
                        cycle_look(m);
        }
        cycle_limit_restore(c);
}

static void cycle_finish(Cycle *c) {
        CycleReport *r = &c->report;

        c->private->restored_usec = 0;
        r->finished_after_usec =
                        cycle_now_usec(c) - (uint64_t) (r->began.monotonic_ns / NSEC_PER_USEC);
        if (c->private->ended_by == CYCLE_EVENT_SLEEP)
                r->ended = "interrupted";
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (m->state == MACHINE_WAKING)
                        m->report.is_failed = true;
        }
        cycle_mark_accounted(c);
        cycle_milestone(c, CYCLE_FINISHED, NULL);
}

static void cycle_begin(Cycle *c, CycleEvent event) {
        cycle_new_report(
                        c,
                        event == CYCLE_EVENT_UNANNOUNCED ? CYCLE_KIND_UNANNOUNCED
                                                         : CYCLE_KIND_RECOVERY);
        c->private->ops->stats(c->private->userdata, &c->report.stats_before);
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (m->noted == JOURNAL_NOTE_NONE)
                        cycle_new_machine_report(m);
        }
        cycle_milestone(c, CYCLE_STARTED, NULL);
}

/* logind's signal, twice or while we rehearse: the time for it counts from now. */
static void cycle_make_real(Cycle *c) {
        struct CyclePrivate *p = c->private;

        if (c->report.kind != CYCLE_KIND_REHEARSAL)
                return;
        c->report.kind = CYCLE_KIND_SLEEP;
        p->wake_usec = 0;
        if (c->state != CYCLE_PREPARING)
                return;
        p->announced_usec = cycle_now_usec(c);
        cycle_budget(c);
}

/* No sleep is announced any more: the lock is there for the next one. */
static void cycle_protect(Cycle *c) {
        struct CyclePrivate *p = c->private;

        p->deadline_usec = 0;
        p->ops->take_lock(p->userdata);
        if (p->is_early && c->state == CYCLE_RESTORING)
                cycle_limit_restore(c);
        p->is_early = false;
}

/* the table */

static void cycle_act(Cycle *c, CycleEvent event, unsigned actions) {
        if (actions & CYCLE_PROTECT)
                cycle_protect(c);
        if (actions & CYCLE_RECORD)
                cycle_finish(c);
        if (actions & CYCLE_BEGIN)
                cycle_begin(c, event);
        if (actions & CYCLE_REAL)
                cycle_make_real(c);
        if (actions & CYCLE_PREPARE)
                cycle_prepare(c);
        if (actions & CYCLE_OVERTAKE)
                cycle_tell(c,
                           1U << MACHINE_SAMPLING | 1U << MACHINE_SUSPENDING,
                           MACHINE_EVENT_OVERTAKE);
        if (actions & CYCLE_EXPIRE)
                cycle_expire(c);
        if (actions & CYCLE_LET_GO)
                cycle_let_go(c);
        if (actions & CYCLE_MEASURE)
                cycle_measure(c);
        if (actions & CYCLE_RESTORE)
                cycle_restore(c);
}

void cycle_handle(Cycle *c, CycleEvent event) {
        const CycleRule *rule = cycle_rule(c->state, event);

        log_debug("cycle: %s → %s → %s",
                  cycle_state_to_string(c->state),
                  cycle_event_to_string(event),
                  cycle_state_to_string(rule->next));
        if (rule->actions & CYCLE_NEVER) {
                c->private->n_bugs++;
                log_error("Bug: the cycle got %s in state %s; left as it is",
                          cycle_event_to_string(event),
                          cycle_state_to_string(c->state));
                return;
        }

        cycle_enter(c);
        c->private->ended_by = event;
        c->state = rule->next;
        cycle_act(c, event, rule->actions);
        cycle_leave(c);
}

/* what happens */

void cycle_wake_early(Cycle *c) {
        if (c->state != CYCLE_SLEEPING)
                return;
        c->private->is_early = true;
        cycle_handle(c, CYCLE_EVENT_WAKE);
}

void cycle_set_delay_max(Cycle *c, uint64_t usec) {
        CycleReport *r = &c->report;

        if (c->delay_max_usec == usec)
                return;
        c->delay_max_usec = usec;
        if (c->private->deadline_usec != 0) {
                log_notice("InhibitDelayMaxSec has changed; this cycle's budget with it");
                cycle_budget(c);
        } else if (c->state == CYCLE_SLEEPING && r->kind == CYCLE_KIND_SLEEP) {
                /* All stood before the answer was there: the record tells what the cycle really had. */
                r->delay_max_usec = usec;
                budget_compute(&r->budget, usec, c->cap_usec, c->suspend_share);
        }
}

int cycle_rehearse(Cycle *c, uint64_t for_usec) {
        if (c->state != CYCLE_IDLE || c->private->is_early)
                return -EBUSY;
        c->private->rehearse_usec = for_usec;
        c->private->is_rehearsal_due = true;
        cycle_handle(c, CYCLE_EVENT_SLEEP);
        return 0;
}

static bool is_between_zones(int64_t stepped_ns) {
        int64_t off_ns = llabs(stepped_ns) % ZONE_NS;

        return llabs(stepped_ns) > ZONE_NS / 2 &&
               (off_ns <= ZONE_TOLERANCE_NS || off_ns >= ZONE_NS - ZONE_TOLERANCE_NS);
}

/* The kernel had the length of the sleep from an RTC that somebody, another system perhaps, had set meanwhile. */
static void cycle_doubt_slept(Cycle *c, int64_t stepped_ns) {
        if (!c->report.host_slept || !is_between_zones(stepped_ns))
                return;
        log_warning("The host's clock was set by %lld s, as if to another time zone: it may have slept "
                    "for as much longer or shorter",
                    (long long) (stepped_ns / NSEC_PER_SEC));
        c->report.slept_doubt = "its clock was set by whole quarters of an hour after it";
        cycle_amend(c);
}

void cycle_on_clock_jump(Cycle *c, int64_t stepped_ns) {
        struct CyclePrivate *p = c->private;
        ClockSample now;
        bool is_repair;

        cycle_sample(c, &now);
        if (c->state == CYCLE_PREPARING || c->state == CYCLE_SLEEPING)
                return;
        if (clock_sample_slept_ns(&p->accounted, &now) >= SLEPT_MIN_NS) {
                cycle_handle(c, CYCLE_EVENT_UNANNOUNCED);
                return;
        }
        if (stepped_ns == 0)
                return;
        is_repair = cycle_now_usec(c) < p->step_window_usec;
        cycle_enter(c);
        if (is_repair)
                cycle_doubt_slept(c, stepped_ns);

        /* Clocks that we set after the wake were set to a host clock that has been repaired since. */
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                machine_drift_look(m);
                if (!is_repair)
                        continue;
                if (m->state == MACHINE_CORRECTING || (m->run_state == SUSPENDD_STATE_RUNNING &&
                                                       m->report.time.verdict != CORRECTION_NONE))
                        machine_correct_for(m, CORRECTION_CAUSE_HOST_CLOCK, stepped_ns);
        }
        cycle_leave(c);
}

int cycle_sync(Cycle *c, Machine *m) {
        if (c->state == CYCLE_PREPARING || c->state == CYCLE_SLEEPING)
                return -EBUSY;
        if (!machine_can(m, SUSPENDD_ACT_SET_TIME) || m->run_state != SUSPENDD_STATE_RUNNING)
                return -EOPNOTSUPP;
        machine_correct_for(m, CORRECTION_CAUSE_COMMAND, 0);
        return 0;
}

/* The note at or behind @i of a machine that is not there and has ended for certain. */
static size_t cycle_find_ended(Cycle *c, const JournalNote *notes, size_t n, size_t i) {
        const CycleOps *ops = c->private->ops;

        while (i < n && (cycle_find_key(c, notes[i].key) ||
                         !ops->has_ended(c->private->userdata, notes[i].key)))
                i++;
        return i;
}

void cycle_forget_ended(Cycle *c) {
        JournalNote gone = { .kind = JOURNAL_NOTE_NONE };
        Journal *j = c->private->journal;
        const JournalNote *notes;
        size_t i = 0, n;

        while (j && (n = journal_notes(j, &notes)) > 0) {
                i = cycle_find_ended(c, notes, n, i);
                if (i == n)
                        break;
                (void) memcpy(gone.key, notes[i].key, sizeof(gone.key));
                log_notice("%s was held out of our reach, and has ended since", gone.key);
                if (journal_write(j, &gone, 1) < 0)
                        break;
                i = 0;
        }
}

const ClockSample *cycle_accounted(const Cycle *c) {
        return &c->private->accounted;
}

void cycle_set_accounted(Cycle *c, const ClockSample *accounted) {
        const ClockSample *now = &c->private->accounted;

        /* The clocks are not read at once: without a sleep either may be ahead. */
        if (accounted->monotonic_ns >= 0 && accounted->boottime_ns >= 0 &&
            accounted->monotonic_ns <= now->monotonic_ns &&
            accounted->boottime_ns <= now->boottime_ns &&
            accounted->monotonic_ns - accounted->boottime_ns < SLEPT_MIN_NS)
                c->private->accounted = *accounted;
}

void cycle_on_enumerated(Cycle *c) {
        if (!c->private->is_enumerating)
                return;
        cycle_enter(c);
        c->private->is_enumerating = false;
        cycle_forget_ended(c);
        cycle_leave(c);
        cycle_on_clock_jump(c, 0);
}

/* time */

static bool is_due(uint64_t *timer, uint64_t now) {
        if (*timer == 0 || *timer > now)
                return false;
        *timer = 0;
        return true;
}

static void cycle_rearm(Cycle *c) {
        struct CyclePrivate *p = c->private;
        const uint64_t own[] = {
                p->overtake_usec, p->deadline_usec, p->wake_usec, p->restored_usec, p->notes_usec
        };
        uint64_t next = USEC_INFINITY;

        for (size_t i = 0; i < ARRAY_LEN(own); i++)
                if (own[i] != 0)
                        next = MIN(next, own[i]);
        LIST_FOREACH(i, &c->machines) {
                uint64_t timer = LIST_ENTRY(i, Machine, machines)->timer_usec;

                if (timer != 0)
                        next = MIN(next, timer);
        }
        p->armed_usec = next == USEC_INFINITY ? 0 : next;
        p->ops->arm(p->userdata, next);
}

static void cycle_on_deadline(Cycle *c) {
        if (c->state == CYCLE_PREPARING)
                cycle_handle(c, CYCLE_EVENT_DEADLINE);
        else
                c->private->ops->let_go(c->private->userdata);
}

void cycle_on_timer(Cycle *c) {
        struct CyclePrivate *p = c->private;
        uint64_t now = cycle_now_usec(c);

        p->armed_usec = 0;
        if (is_due(&p->overtake_usec, now) && c->state == CYCLE_PREPARING)
                cycle_handle(c, CYCLE_EVENT_OVERTAKE);
        if (is_due(&p->deadline_usec, now))
                cycle_on_deadline(c);
        if (is_due(&p->wake_usec, now) && c->state == CYCLE_SLEEPING)
                cycle_handle(c, CYCLE_EVENT_WAKE);
        if (is_due(&p->restored_usec, now) && c->state == CYCLE_RESTORING) {
                if (p->is_early)
                        cycle_limit_restore(c);
                else
                        cycle_handle(c, CYCLE_EVENT_RESTORED);
        }

        if (is_due(&p->notes_usec, now))
                cycle_write_owed(c);

        cycle_enter(c);
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (is_due(&m->timer_usec, now))
                        machine_on_timer(m);
        }
        cycle_leave(c);
        cycle_rearm(c);
}

/* lifetime */

int cycle_new(const CycleOps *ops,
              void *userdata,
              Journal *journal,
              uint64_t next_number,
              Cycle **ret) {
        _cleanup_(cycle_freep) Cycle *c = NULL;

        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        list_init(&c->machines);
        c->private = calloc(1, sizeof(*c->private));
        if (!c->private)
                return -ENOMEM;
        c->private->ops = ops;
        c->private->userdata = userdata;
        c->private->journal = journal;
        c->private->next_number = next_number;
        c->private->is_enumerating = true;
        c->cap_usec = 10 * USEC_PER_SEC;
        c->suspend_share = 60;
        c->time_limit_usec = 20 * USEC_PER_SEC;
        cycle_sample(c, &c->private->accounted);
        c->private->born = c->private->accounted;

        *ret = TAKE_PTR(c);
        return 0;
}

Cycle *cycle_free(Cycle *c) {
        if (!c)
                return NULL;
        if (c->private) {
                /* Machines that end with us still stand, if they do: what is noted of them stays. */
                c->private->journal = NULL;
                c->private->is_enumerating = true;
                LIST_FOREACH(i, &c->machines)
                machine_free(LIST_ENTRY(i, Machine, machines));
                free(c->private->notes);
                free(c->private->slots);
        }
        free(c->private);
        free(c);
        return NULL;
}

static const char *const cycle_kind_table[] = {
        [CYCLE_KIND_SLEEP] = "sleep",
        [CYCLE_KIND_REHEARSAL] = "rehearsal",
        [CYCLE_KIND_UNANNOUNCED] = "unannounced",
        [CYCLE_KIND_RECOVERY] = "recovery",
};

DEFINE_STRING_TABLE(cycle_kind, CycleKind, CYCLE_KIND);
