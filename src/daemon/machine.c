/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/machine.h"
#include <errno.h>
#include "common/text-escape.h"
#include "common/time-util.h"
#include "daemon/cycle-internal.h"
#include "daemon/log.h"
#include "daemon/machine-drift.h"
#include "daemon/plugin.h"

#define SAMPLE_LIMIT_USEC (300 * USEC_PER_MSEC)
#define RUN_LIMIT_USEC (2 * USEC_PER_SEC)
#define RETRY_MIN_USEC (250 * USEC_PER_MSEC)
#define RETRY_MAX_USEC (30 * USEC_PER_SEC)
#define TIME_LIMIT_USEC (1 * USEC_PER_SEC)
#define SET_LIMIT_USEC (5 * USEC_PER_SEC)
#define WATCH_USEC (30 * USEC_PER_SEC)
#define LOUD_TRIES 5

static void machine_why(Machine *m, const char *why) {
        (void) text_cut(m->report.why, sizeof(m->report.why), why);
}

static LogFields machine_fields(const Machine *m) {
        return (LogFields){
                .cycle_id = m->cycle->report.id,
                .machine = m->id,
                .plugin = m->plugin->api->name,
                .state = machine_state_to_string(m->state),
        };
}

static void machine_arm(Machine *m, uint64_t in_usec) {
        m->timer_usec = cycle_now_usec(m->cycle) + in_usec;
        cycle_arm(m->cycle, m->timer_usec);
}

/* steps */

static void machine_cancel(Machine *m) {
        uint64_t step = m->step;

        m->step = 0;
        if (step == 0)
                return;
        m->is_stop_astray |= m->step_act == SUSPENDD_ACT_PAUSE;
        m->is_run_astray |= m->step_act == SUSPENDD_ACT_RESUME || m->step_act == SUSPENDD_ACT_WAKE;
        if (m->plugin->api->cancel)
                m->plugin->api->cancel(m->vm, step);
}

/* The same where @event may be what the step was for: then nothing of it is left to come. */
static void machine_cancel_on(Machine *m, MachineEvent event) {
        bool is_stopped = event == MACHINE_EVENT_PAUSED && !m->is_run_astray;
        bool is_run = event == MACHINE_EVENT_RUNNING && !m->is_stop_astray;

        machine_cancel(m);
        m->is_stop_astray &= !is_stopped;
        m->is_run_astray &= !is_run;
}

/*
 * Acts are carried out in order, also those that were given up. While one of them may be under way, a
 * machine that is seen to stop or to run may be obeying that one; only the answer to the last tells.
 */
static bool machine_is_obsolete(const Machine *m) {
        switch (m->run_state) {
        case SUSPENDD_STATE_PAUSED:
                return m->is_run_astray &&
                       (m->state == MACHINE_PAUSING || m->state == MACHINE_MISSED);
        case SUSPENDD_STATE_RUNNING:
                return m->is_stop_astray && m->state == MACHINE_WAKING;
        default:
                return false;
        }
}

static int machine_call(Machine *m, enum suspendd_act act) {
        const struct suspendd_plugin *p = m->plugin->api;

        switch (act) {
        case SUSPENDD_ACT_SUSPEND:
                return p->suspend(m->vm, m->step);
        case SUSPENDD_ACT_PAUSE:
                return p->pause(m->vm, m->step);
        case SUSPENDD_ACT_RESUME:
                return p->resume(m->vm, m->step);
        case SUSPENDD_ACT_WAKE:
                return p->wake(m->vm, m->step);
        case SUSPENDD_ACT_GET_TIME:
                return p->get_time(m->vm, m->step);
        case SUSPENDD_ACT_SET_TIME:
                return p->set_time(m->vm, m->step, correction_lead_ns(&m->correction));
        default:
                return -EINVAL;
        }
}

static void machine_on_done(Machine *m, int result, const char *why);

/* Begins a step; a refusal comes back as if the plugin had answered so. */
static void machine_ask(Machine *m, enum suspendd_act act) {
        uint64_t step;
        int r;

        machine_cancel(m);
        step = m->step = cycle_step(m->cycle, m);
        m->step_act = act;
        r = machine_can(m, act) ? machine_call(m, act) : -EOPNOTSUPP;
        if (r >= 0 || m->step != step)
                return;
        machine_on_done(m, r, r == -EOPNOTSUPP ? m->why_not[act] : NULL);
}

static void machine_ask_run(Machine *m) {
        bool is_suspended = m->run_state == SUSPENDD_STATE_SUSPENDED ||
                            m->report.stood == SUSPENDD_STATE_SUSPENDED;

        /* A wake lets it run whatever it is: asking for it again would only be one more command. */
        if (m->step != 0 && m->step_act == SUSPENDD_ACT_WAKE)
                return;
        m->is_retry_due = false;
        machine_arm(m, RUN_LIMIT_USEC);
        machine_drift_running(m);
        machine_ask(m, is_suspended ? SUSPENDD_ACT_WAKE : SUSPENDD_ACT_RESUME);
}

static void machine_retry(Machine *m) {
        uint64_t pause_usec = RETRY_MIN_USEC << MIN(m->wake_tries, 10U);
        LogFields fields = machine_fields(m);

        m->wake_tries += !m->cycle->private->is_early;
        m->is_retry_due = true;
        machine_arm(m, MIN(pause_usec, RETRY_MAX_USEC));
        if (m->wake_tries != LOUD_TRIES)
                return;
        m->report.is_failed = true;
        log_with(&fields,
                 LOG_ERR,
                 0,
                 "Machine %s does not run again (%s); it is asked on, every %u s at most",
                 m->name,
                 *m->report.why ? m->report.why : "no answer",
                 (unsigned) (RETRY_MAX_USEC / USEC_PER_SEC));
}

/* what was seen */

/* While logind waits, that it stands is not written for each alone: cycle_note_stands() does so for all. */
static JournalNoteKind machine_stand_note(const Machine *m) {
        if (m->is_suspend_owed)
                return JOURNAL_NOTE_ASKED;
        if (m->cycle->state == CYCLE_PREPARING && m->noted == JOURNAL_NOTE_HELD)
                return JOURNAL_NOTE_HELD;
        return m->stand.is_seen ? JOURNAL_NOTE_SUSPENDED : JOURNAL_NOTE_PAUSED;
}

static void machine_stand(Machine *m) {
        MachineReport *r = &m->report;

        if (m->run_state == SUSPENDD_STATE_SUSPENDED)
                m->is_suspend_owed = false;
        machine_drift_stood(m);
        (void) cycle_note(m->cycle, m, machine_stand_note(m));
        /* One that strikes after the wake stands as well, but not while the host slept. */
        if (m->cycle->state == CYCLE_IDLE || m->cycle->state == CYCLE_RESTORING)
                return;
        r->stood = m->run_state;
        if (m->policy.mode == MODE_SUSPEND && r->stood != SUSPENDD_STATE_SUSPENDED)
                r->is_failed = true;
        r->stood_after_usec = cycle_now_usec(m->cycle) -
                              (uint64_t) (m->cycle->report.began.monotonic_ns / NSEC_PER_USEC);
        cycle_milestone(m->cycle, CYCLE_MACHINE_STOOD, m);
}

static void machine_ran(Machine *m) {
        MachineReport *r = &m->report;

        r->ran_after_usec = MAX(
                        cycle_now_usec(m->cycle) - (uint64_t) (m->cycle->report.woke.monotonic_ns /
                                                               NSEC_PER_USEC),
                        UINT64_C(1));
        m->wake_tries = 0;
        machine_drift_ran(m);
        cycle_milestone(m->cycle, CYCLE_MACHINE_RAN, m);
}

/* It is no longer ours; what of it may strike is still noted. */
static void machine_leave(Machine *m) {
        JournalNoteKind kind = m->is_suspend_owed ? JOURNAL_NOTE_WATCHED : JOURNAL_NOTE_NONE;

        m->is_stop_astray = m->is_run_astray = false;
        (void) cycle_note(m->cycle, m, kind);
}

static void machine_break_word(Machine *m) {
        LogFields fields = machine_fields(m);

        if (!m->is_suspend_owed) {
                machine_why(m, "the guest agent did not take the suspend in time");
                return;
        }
        machine_why(m, "it took the suspend and did not stand in time");
        if (str_replace(&m->distrust,
                        "it took a suspend before and did not stand; trusted again when the VM restarts") <
            0)
                return;
        log_with(&fields,
                 LOG_WARNING,
                 0,
                 "Machine %s took the suspend and did not stand in time; it is paused from now on",
                 m->name);
        m->cycle->private->ops->on_distrust(m->cycle->private->userdata, m);
}

/* the clock */

static CorrectionRepairer machine_repairer(Machine *m, CorrectionVerdict verdict) {
        bool is_right = verdict == CORRECTION_RIGHT || verdict == CORRECTION_NONE;
        struct suspendd_answer answer;

        if (verdict == CORRECTION_SET)
                return CORRECTION_BY_AGENT;
        /* What was read later was right at the wake, or was not made right by that. */
        if (!is_right || m->report.n_times > 0)
                return CORRECTION_BY_NONE;
        if (m->report.unseen_ns > 0 && machine_answer(m, &answer) > 0 && answer.is_current &&
            answer.corrects_realtime && answer.applied_ns > answer.refused_ns)
                return CORRECTION_BY_PAGE;
        return m->report.seen_ns > 0 && verdict == CORRECTION_RIGHT ? CORRECTION_BY_KERNEL
                                                                    : CORRECTION_BY_NONE;
}

static void machine_log_again(const Machine *m) {
        const CorrectionReport *t = &m->report.time;
        LogFields fields = machine_fields(m);
        char off[TIME_SPAN_MAX];

        (void) log_full(&fields,
                        LOG_INFO,
                        0,
                        "Machine %s: its clock was looked at again (%s): %s, off by %s",
                        m->name,
                        correction_cause_to_string(m->cause),
                        correction_verdict_to_string(t->verdict),
                        t->is_after_known ? time_offset_format(off, t->after_ns)
                                          : "an unknown time");
}

static void machine_corrected(Machine *m) {
        MachineReport *r = &m->report;
        CorrectionEntry *entry;
        ClockSample now = m->cycle->report.woke;

        r->time = m->correction.report;
        r->time.repaired_by = machine_repairer(m, r->time.verdict);
        m->is_time_owed |= r->time.verdict == CORRECTION_UNREACHABLE;
        if (r->is_part) {
                /* When the first was over nobody asks, and somebody may be waiting. */
                if (r->n_times > 0) {
                        cycle_sample(m->cycle, &now);
                        machine_log_again(m);
                }
                entry = &r->times[MIN(r->n_times, CORRECTION_ENTRIES_MAX - 1U)];
                *entry = (CorrectionEntry){
                        m->cause, now.realtime_ns, m->host_stepped_ns, r->time
                };
                r->n_times = MIN(r->n_times + 1, (unsigned) CORRECTION_ENTRIES_MAX);
                cycle_amend(m->cycle);
        }
        m->cause = CORRECTION_CAUSE_WAKE;
        m->host_stepped_ns = 0;
        machine_handle(m, MACHINE_EVENT_CORRECTED);
}

static void machine_correct_next(Machine *m, CorrectionNext next) {
        switch (next) {
        case CORRECTION_NEXT_READ:
                machine_arm(m, TIME_LIMIT_USEC);
                machine_ask(m, SUSPENDD_ACT_GET_TIME);
                break;
        case CORRECTION_NEXT_SET:
                machine_arm(m, SET_LIMIT_USEC);
                machine_ask(m, SUSPENDD_ACT_SET_TIME);
                break;
        case CORRECTION_NEXT_LOOK:
        case CORRECTION_NEXT_PAUSE:
                machine_arm(m, correction_pause_usec(&m->correction));
                break;
        case CORRECTION_NEXT_DONE:
                machine_corrected(m);
                break;
        }
}

/* Whoever puts its clock right by itself goes first. */
static void machine_correct_look(Machine *m) {
        bool is_possible = machine_can(m, SUSPENDD_ACT_GET_TIME) || m->report.could_time;
        struct suspendd_answer answer;
        bool has_answer = machine_answer(m, &answer) > 0;
        CorrectionNext next = correction_on_reader(
                        &m->correction, has_answer ? &answer : NULL, cycle_now_usec(m->cycle));

        if (next == CORRECTION_NEXT_READ && !is_possible)
                next = CORRECTION_NEXT_DONE;
        machine_correct_next(m, next);
}

static void machine_correct(Machine *m) {
        CorrectionReport before = m->correction.report;
        bool is_restarted = m->correction.is_active && m->host_stepped_ns != 0;
        uint64_t now = cycle_now_usec(m->cycle);

        m->is_time_owed &= !machine_can(m, SUSPENDD_ACT_GET_TIME) && !m->report.could_time;
        correction_begin(&m->correction, now, now + m->cycle->time_limit_usec);
        /* The host's clock was set in the midst of it: what the guest's was off by is known already. */
        if (is_restarted) {
                m->correction.report = before;
                m->correction.report.tries = 0;
        }
        /* Whether a suspend is still to come, an agent's answer alone tells: then it is read, and left alone. */
        if (m->policy.time_sync == TIME_SYNC_OFF && !m->is_suspend_owed)
                machine_correct_next(m, CORRECTION_NEXT_DONE);
        else
                machine_correct_look(m);
}

void machine_correct_for(Machine *m, CorrectionCause cause, int64_t host_stepped_ns) {
        if (m->state != MACHINE_CORRECTING)
                m->cause = cause;
        m->host_stepped_ns += host_stepped_ns;
        machine_handle(m, MACHINE_EVENT_CORRECT);
}

/* Its clock before the stop was read, or could not be: on with the plan. */
static void machine_sampled(Machine *m) {
        bool is_suspend = m->plan == SUSPENDD_ACT_SUSPEND;

        machine_handle(m, is_suspend ? MACHINE_EVENT_SUSPEND : MACHINE_EVENT_PAUSE);
}

static void machine_watch(Machine *m) {
        if (!m->is_suspend_owed) {
                machine_handle(m, MACHINE_EVENT_EXPIRED);
                return;
        }
        /* An agent that has answered since has taken all that lay before in its channel. */
        if (m->report.time.is_after_known)
                machine_arm(m, WATCH_USEC);
}

/* the table */

static void machine_set_state(Machine *m, MachineState state, MachineEvent event) {
        LogFields fields = machine_fields(m);

        log_with(&fields,
                 LOG_DEBUG,
                 0,
                 "%s: %s → %s → %s",
                 m->id,
                 machine_state_to_string(m->state),
                 machine_event_to_string(event),
                 machine_state_to_string(state));
        if (state != m->state)
                m->timer_usec = 0;
        cycle_count(m->cycle, m, state);
        cycle_changed(m->cycle, m);
}

/* The ones that only note; those that ask may come back to machine_handle(), so one of them is last. */
static void machine_note_actions(Machine *m, MachineEvent event, unsigned actions) {
        if (actions & MACHINE_CANCEL)
                machine_cancel_on(m, event);
        if (actions & MACHINE_DISTRUST)
                machine_break_word(m);
        if (event == MACHINE_EVENT_STRUCK && m->state == MACHINE_WAKING) {
                LogFields fields = machine_fields(m);

                m->report.was_woken_late = true;
                log_with(&fields, LOG_NOTICE, 0, "Machine %s suspended late; waking it", m->name);
        }
        if (event == MACHINE_EVENT_SUSPENDED && m->state == MACHINE_WAKING)
                m->is_suspend_owed = false;
        if (event == MACHINE_EVENT_EXPIRED)
                m->is_suspend_owed = false;
        if (actions & MACHINE_STAND)
                machine_stand(m);
        if (actions & MACHINE_RAN)
                machine_ran(m);
        if (actions & MACHINE_LEAVE)
                machine_leave(m);
        /* It ran on, for all that was wanted of it. */
        if (event == MACHINE_EVENT_WAKE && (actions & MACHINE_CORRECT))
                machine_drift_look(m);
}

static void machine_act(Machine *m, unsigned actions) {
        if (actions & (MACHINE_ASK_SUSPEND | MACHINE_ASK_PAUSE))
                machine_drift_stopping(m);
        if (actions & MACHINE_ASK_TIME) {
                machine_arm(m, SAMPLE_LIMIT_USEC);
                machine_ask(m, SUSPENDD_ACT_GET_TIME);
        } else if (actions & MACHINE_ASK_SUSPEND)
                machine_ask(m, SUSPENDD_ACT_SUSPEND);
        else if (actions & MACHINE_ASK_PAUSE)
                machine_ask(m, SUSPENDD_ACT_PAUSE);
        else if (actions & MACHINE_ASK_RUN)
                machine_ask_run(m);
        else if (actions & MACHINE_RETRY)
                machine_retry(m);
        else if (actions & MACHINE_CORRECT)
                machine_correct(m);
        else if (actions & MACHINE_WATCH)
                machine_watch(m);
}

void machine_handle(Machine *m, MachineEvent event) {
        const MachineRule *rule = machine_rule(m->state, event);
        Cycle *c = m->cycle;

        if (rule->actions & MACHINE_NEVER) {
                LogFields fields = machine_fields(m);

                c->private->n_bugs++;
                log_with(&fields,
                         LOG_ERR,
                         0,
                         "Bug: machine %s got %s in state %s; left as it is",
                         m->id,
                         machine_event_to_string(event),
                         machine_state_to_string(m->state));
                return;
        }

        cycle_enter(c);
        if (event == MACHINE_EVENT_WAKE)
                m->wake_tries = 0;
        machine_set_state(m, rule->next, event);
        machine_note_actions(m, event, rule->actions);
        machine_act(m, rule->actions);
        cycle_leave(c);
}

/* what comes in */

static MachineEvent machine_event_of(const Machine *m) {
        bool is_preparing = m->cycle->state == CYCLE_PREPARING;
        bool is_busy = m->state == MACHINE_CORRECTING || m->state == MACHINE_SAMPLING;
        bool is_awake = m->cycle->state == CYCLE_IDLE || m->cycle->state == CYCLE_RESTORING;

        switch (m->run_state) {
        case SUSPENDD_STATE_RUNNING:
                return m->state == MACHINE_SUSPENDED && (is_preparing || m->is_stop_astray)
                                       ? MACHINE_EVENT_WOKE_EARLY
                                       : MACHINE_EVENT_RUNNING;
        case SUSPENDD_STATE_PAUSED:
                return MACHINE_EVENT_PAUSED;
        case SUSPENDD_STATE_SUSPENDED:
                if (m->is_suspend_owed && (is_busy || (is_awake && m->state == MACHINE_WATCHED)))
                        return MACHINE_EVENT_STRUCK;
                return MACHINE_EVENT_SUSPENDED;
        default:
                return MACHINE_EVENT_FOREIGN;
        }
}

/* What an earlier life of the daemon has noted, met with what the machine is seen to be. */
static bool machine_adopt(Machine *m) {
        CycleState cycle = m->cycle->state;
        bool is_awake = cycle == CYCLE_IDLE || cycle == CYCLE_RESTORING;
        bool is_held = m->noted != JOURNAL_NOTE_NONE && m->noted != JOURNAL_NOTE_WATCHED;
        bool is_running = m->run_state == SUSPENDD_STATE_RUNNING;
        bool is_standing = m->run_state == SUSPENDD_STATE_SUSPENDED ||
                           (m->run_state == SUSPENDD_STATE_PAUSED && is_held);
        LogFields fields = machine_fields(m);

        if (!m->is_from_before || m->state != MACHINE_IDLE)
                return false;
        m->is_from_before = false;
        m->is_suspend_owed = m->noted == JOURNAL_NOTE_WATCHED ||
                             (m->noted == JOURNAL_NOTE_ASKED &&
                              m->run_state != SUSPENDD_STATE_SUSPENDED);
        if (!is_standing)
                machine_drift_forget(m);
        if (is_running && cycle == CYCLE_PREPARING)
                return false; /* planned for as any other that comes late */

        m->report.is_part = true;
        m->is_time_owed = true; /* its agent is not known to answer yet */
        /* While a sleep is under way, a pause of the earlier life may still be on its way as well. */
        if (is_standing || (is_running && is_held && cycle == CYCLE_SLEEPING)) {
                machine_handle(m, MACHINE_EVENT_ADOPT);
                machine_handle(m, machine_event_of(m));
                if (!is_awake)
                        return true;
                log_with(&fields,
                         LOG_NOTICE,
                         0,
                         "Machine %s was left stopped; running it again",
                         m->name);
                machine_handle(m, MACHINE_EVENT_WAKE);
                return true;
        }
        machine_drift_look(m);
        machine_leave(m);
        machine_handle(m, is_running && is_awake ? MACHINE_EVENT_CORRECT : MACHINE_EVENT_CORRECTED);
        return true;
}

/* It has been silent, and speaks again: it is not left waiting for the next time that it would be asked. */
static void machine_on_sign_of_life(Machine *m) {
        if (m->state == MACHINE_WAKING && m->is_retry_due && m->step == 0)
                machine_ask_run(m);
}

void machine_on_state(
                Machine *m,
                enum suspendd_run_state state,
                const char *detail,
                int64_t boottime_ns) {
        enum suspendd_run_state before = m->run_state;
        struct CyclePrivate *p = m->cycle->private;
        int64_t now_boottime_ns = p->ops->clock(p->userdata, CLOCK_BOOTTIME);

        m->seen_boottime_ns = boottime_ns > 0 ? MIN(boottime_ns, now_boottime_ns) : now_boottime_ns;
        m->run_state = state;
        /* Whoever is told of a change reads it at once: of another one it must be told again. */
        if (state != before)
                m->is_dirty = false;
        (void) snprintf(m->detail, sizeof(m->detail), "%s", detail ?: "");
        cycle_changed(m->cycle, m);
        if (state == SUSPENDD_STATE_UNKNOWN)
                return;

        cycle_enter(m->cycle);
        machine_drift_saw(m, before);
        if (before != SUSPENDD_STATE_UNKNOWN || !machine_adopt(m)) {
                if (!machine_is_obsolete(m))
                        machine_handle(m, machine_event_of(m));
                if (state == SUSPENDD_STATE_RUNNING && before != SUSPENDD_STATE_RUNNING)
                        cycle_on_newcomer(m->cycle, m);
                /* It came too late to be stopped: what is noted is not of this cycle. */
                if (m->state == MACHINE_IDLE && m->noted != JOURNAL_NOTE_NONE) {
                        machine_leave(m);
                        machine_handle(m, MACHINE_EVENT_CORRECTED);
                }
        }
        if (state != before)
                machine_on_sign_of_life(m);
        cycle_leave(m->cycle);
}

/* A pause has failed. One that was on its way back from an earlier stop may stand all the same. */
static MachineEvent machine_unpaused(const Machine *m) {
        if (m->state != MACHINE_PAUSING)
                return MACHINE_EVENT_FAILED;
        switch (m->run_state) {
        case SUSPENDD_STATE_SUSPENDED:
                return MACHINE_EVENT_SUSPENDED;
        case SUSPENDD_STATE_PAUSED:
                return m->is_run_astray || m->is_stop_astray ? MACHINE_EVENT_DEADLINE
                                                             : MACHINE_EVENT_PAUSED;
        default:
                return m->is_stop_astray ? MACHINE_EVENT_DEADLINE : MACHINE_EVENT_FAILED;
        }
}

static void machine_on_stop_done(Machine *m, int result) {
        if (result < 0 && m->step_act == SUSPENDD_ACT_PAUSE) {
                MachineEvent event = machine_unpaused(m);

                m->report.is_failed |=
                                event == MACHINE_EVENT_FAILED || event == MACHINE_EVENT_DEADLINE;
                machine_handle(m, event);
        } else if (result < 0)
                machine_handle(m, MACHINE_EVENT_FAILED);
        else if (m->run_state == SUSPENDD_STATE_SUSPENDED)
                machine_handle(m, MACHINE_EVENT_SUSPENDED);
        else if (m->run_state == SUSPENDD_STATE_PAUSED && m->step_act == SUSPENDD_ACT_PAUSE)
                machine_handle(m, MACHINE_EVENT_PAUSED);
}

static void machine_on_run_done(Machine *m, int result) {
        bool is_running = m->run_state == SUSPENDD_STATE_RUNNING;

        if (m->state != MACHINE_WAKING)
                return;
        /* Refused because it never stood: who stops it from now on is somebody else. */
        if (is_running && (result >= 0 || !m->is_stop_astray))
                machine_handle(m, MACHINE_EVENT_RUNNING);
        else if (result < 0)
                machine_handle(m, MACHINE_EVENT_FAILED);
}

static void machine_on_done(Machine *m, int result, const char *why) {
        uint64_t now = cycle_now_usec(m->cycle);

        /* A suspend that was taken may be refused yet: its step ends when it stands or is given up. */
        if (result < 0 || m->step_act != SUSPENDD_ACT_SUSPEND)
                m->step = 0;
        if (result < 0 && m->step_act <= SUSPENDD_ACT_WAKE)
                machine_why(m, why ?: strerror(-result));

        cycle_enter(m->cycle);
        switch (m->step_act) {
        case SUSPENDD_ACT_SUSPEND:
                m->is_suspend_owed |= result >= 0 && m->run_state != SUSPENDD_STATE_SUSPENDED;
                machine_on_stop_done(m, result);
                break;
        case SUSPENDD_ACT_PAUSE:
                machine_on_stop_done(m, result);
                break;
        case SUSPENDD_ACT_RESUME:
        case SUSPENDD_ACT_WAKE:
                machine_on_run_done(m, result);
                break;
        case SUSPENDD_ACT_GET_TIME:
                if (m->state == MACHINE_SAMPLING)
                        machine_sampled(m);
                else if (m->state == MACHINE_CORRECTING)
                        machine_correct_next(m, correction_on_failure(&m->correction, now));
                break;
        case SUSPENDD_ACT_SET_TIME:
                if (m->state == MACHINE_CORRECTING)
                        machine_correct_next(m, correction_on_set(&m->correction, result, now));
                break;
        default:
                break;
        }
        cycle_leave(m->cycle);
}

void machine_on_answer(Machine *m, int result, const char *why) {
        bool is_stop = m->step_act == SUSPENDD_ACT_PAUSE;
        bool is_run = m->step_act == SUSPENDD_ACT_RESUME || m->step_act == SUSPENDD_ACT_WAKE;

        /* What was asked for before it has been carried out before it; it alone may be yet to come. */
        if (is_stop || is_run) {
                m->is_stop_astray = is_stop && result >= 0 && m->run_state != SUSPENDD_STATE_PAUSED;
                m->is_run_astray = is_run && result >= 0 && m->run_state != SUSPENDD_STATE_RUNNING;
        }
        machine_on_done(m, result, why);
}

void machine_on_time(Machine *m, const struct suspendd_time *t) {
        Correction *k = &m->correction;
        int64_t uncertainty;

        if (m->step_act != SUSPENDD_ACT_GET_TIME)
                return;
        m->step = 0;
        cycle_enter(m->cycle);
        if (m->state == MACHINE_SAMPLING) {
                correction_offset(t, &k->ahead_ns, &uncertainty);
                k->is_ahead_known = true;
                machine_sampled(m);
        } else if (m->state == MACHINE_CORRECTING)
                machine_correct_next(
                                m, correction_on_time(k, &m->policy, t, cycle_now_usec(m->cycle)));
        cycle_leave(m->cycle);
}

void machine_on_timer(Machine *m) {
        uint64_t now = cycle_now_usec(m->cycle);

        m->timer_usec = 0;
        switch (m->state) {
        case MACHINE_SAMPLING:
                machine_cancel(m);
                machine_sampled(m);
                break;
        case MACHINE_WAKING:
                if (m->is_retry_due)
                        machine_ask_run(m);
                else
                        machine_handle(m, MACHINE_EVENT_FAILED);
                break;
        case MACHINE_CORRECTING:
                if (m->correction.is_looking)
                        machine_correct_look(m);
                else if (m->step == 0)
                        machine_correct_next(m, CORRECTION_NEXT_READ);
                else {
                        machine_cancel(m);
                        machine_correct_next(m, correction_on_failure(&m->correction, now));
                }
                break;
        case MACHINE_WATCHED:
                /* Nothing strikes while it is held; its time is counted when it runs again. */
                if (m->run_state == SUSPENDD_STATE_RUNNING)
                        machine_handle(m, MACHINE_EVENT_EXPIRED);
                break;
        default:
                break;
        }
}
