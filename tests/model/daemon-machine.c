/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What machine.c does, without clocks: the functions have its names. */

#include "daemon.h"

static ModelMachine *machine(Play *p, unsigned i) {
        return &p->s.vms[i].m;
}

/* steps */

static void machine_cancel(Play *p, unsigned i) {
        ModelMachine *m = machine(p, i);
        uint8_t act = TAKE(m->step, STEP_NONE);

        if (act == STEP_NONE)
                return;
        m->is_stop_astray |= act == SUSPENDD_ACT_PAUSE;
        m->is_run_astray |= act == SUSPENDD_ACT_RESUME || act == SUSPENDD_ACT_WAKE;
        world_cancel(p, i, act);
}

static void machine_cancel_on(Play *p, unsigned i, MachineEvent event) {
        ModelMachine *m = machine(p, i);
        bool is_stopped = event == MACHINE_EVENT_PAUSED && !m->is_run_astray;
        bool is_run = event == MACHINE_EVENT_RUNNING && !m->is_stop_astray;

        machine_cancel(p, i);
        m->is_stop_astray &= !is_stopped;
        m->is_run_astray &= !is_run;
}

static bool machine_is_obsolete(const Play *p, const ModelMachine *m) {
        if (p->mistake == MISTAKE_OBSOLETE_TRUSTED)
                return false;
        if (m->run_state == SUSPENDD_STATE_PAUSED)
                return m->is_run_astray &&
                       (m->state == MACHINE_PAUSING || m->state == MACHINE_MISSED);
        return m->run_state == SUSPENDD_STATE_RUNNING && m->is_stop_astray &&
               m->state == MACHINE_WAKING;
}

static bool machine_can(const Play *p, unsigned i, enum suspendd_act act) {
        bool is_agents = act == SUSPENDD_ACT_SUSPEND || act == SUSPENDD_ACT_GET_TIME;

        return !is_agents || p->s.vms[i].has_agent;
}

static void machine_on_done(Play *p, unsigned i, uint8_t act, int result);

static void machine_ask(Play *p, unsigned i, enum suspendd_act act) {
        ModelMachine *m = machine(p, i);

        machine_cancel(p, i);
        m->step = (uint8_t) act;
        if (machine_can(p, i, act) && world_send(p, i, act))
                return;
        machine_on_done(p, i, (uint8_t) act, -EBUSY);
}

static void machine_ask_run(Play *p, unsigned i) {
        ModelMachine *m = machine(p, i);
        bool is_suspended = m->run_state == SUSPENDD_STATE_SUSPENDED ||
                            m->stood == SUSPENDD_STATE_SUSPENDED;

        if (m->step == SUSPENDD_ACT_WAKE)
                return;
        m->is_retry_due = false;
        m->is_timer_armed = true;
        if (p->mistake == MISTAKE_RESUME_SUSPENDED)
                is_suspended = false;
        machine_ask(p, i, is_suspended ? SUSPENDD_ACT_WAKE : SUSPENDD_ACT_RESUME);
}

/* what was seen */

static void machine_stand(Play *p, unsigned i) {
        ModelMachine *m = machine(p, i);

        if (m->run_state == SUSPENDD_STATE_SUSPENDED)
                m->is_suspend_owed = false;
        daemon_note(p, i, m->is_suspend_owed ? JOURNAL_NOTE_ASKED : JOURNAL_NOTE_HELD);
        if (p->s.cycle == CYCLE_PREPARING || p->s.cycle == CYCLE_SLEEPING)
                m->stood = m->run_state;
}

static void machine_leave(Play *p, unsigned i) {
        ModelMachine *m = machine(p, i);
        bool is_watched = m->is_suspend_owed && p->mistake != MISTAKE_WATCHED_FORGOTTEN;

        m->is_stop_astray = m->is_run_astray = false;
        daemon_note(p, i, is_watched ? JOURNAL_NOTE_WATCHED : JOURNAL_NOTE_NONE);
}

/* the clock: that it is read at the end, or is not, is all that matters here */

static void machine_corrected(Play *p, unsigned i, bool is_known) {
        machine(p, i)->is_time_known = is_known;
        daemon_machine_handle(p, i, MACHINE_EVENT_CORRECTED);
}

static void machine_correct(Play *p, unsigned i) {
        ModelMachine *m = machine(p, i);

        if (!machine_can(p, i, SUSPENDD_ACT_GET_TIME) && !m->could_time) {
                machine_corrected(p, i, false);
                return;
        }
        m->is_timer_armed = true;
        if (machine_can(p, i, SUSPENDD_ACT_GET_TIME))
                machine_ask(p, i, SUSPENDD_ACT_GET_TIME);
}

static void machine_sampled(Play *p, unsigned i) {
        bool is_suspend = machine(p, i)->asked == SUSPENDD_ACT_SUSPEND;

        daemon_machine_handle(p, i, is_suspend ? MACHINE_EVENT_SUSPEND : MACHINE_EVENT_PAUSE);
}

static void machine_watch(Play *p, unsigned i) {
        ModelMachine *m = machine(p, i);

        if (!m->is_suspend_owed)
                daemon_machine_handle(p, i, MACHINE_EVENT_EXPIRED);
        else if (m->is_time_known)
                m->is_timer_armed = true;
}

/* the table */

static void machine_note_actions(Play *p, unsigned i, MachineEvent event, unsigned actions) {
        ModelMachine *m = machine(p, i);
        bool is_over = (event == MACHINE_EVENT_SUSPENDED && m->state == MACHINE_WAKING) ||
                       event == MACHINE_EVENT_EXPIRED;

        if (actions & MACHINE_CANCEL)
                machine_cancel_on(p, i, event);
        if (is_over && p->mistake != MISTAKE_SUSPEND_STAYS_OWED)
                m->is_suspend_owed = false;
        if (actions & MACHINE_STAND)
                machine_stand(p, i);
        if (actions & MACHINE_LEAVE)
                machine_leave(p, i);
}

static void machine_act(Play *p, unsigned i, unsigned actions) {
        ModelMachine *m = machine(p, i);

        if (actions & MACHINE_ASK_TIME) {
                m->is_timer_armed = true;
                machine_ask(p, i, SUSPENDD_ACT_GET_TIME);
        } else if (actions & MACHINE_ASK_SUSPEND)
                machine_ask(p, i, SUSPENDD_ACT_SUSPEND);
        else if (actions & MACHINE_ASK_PAUSE)
                machine_ask(p, i, SUSPENDD_ACT_PAUSE);
        else if (actions & MACHINE_ASK_RUN)
                machine_ask_run(p, i);
        else if (actions & MACHINE_RETRY)
                m->is_retry_due = m->is_timer_armed = true;
        else if (actions & MACHINE_CORRECT)
                machine_correct(p, i);
        else if (actions & MACHINE_WATCH)
                machine_watch(p, i);
}

void daemon_machine_handle(Play *p, unsigned i, MachineEvent event) {
        ModelMachine *m = machine(p, i);
        MachineRule rule = mistake_machine_rule(p->mistake, m->state, event);

        if (rule.actions & MACHINE_NEVER) {
                play_fault(p, "a machine met a cell of NEVER");
                return;
        }
        daemon_enter(p);
        if (rule.next != m->state)
                m->is_timer_armed = false;
        m->state = (uint8_t) rule.next;
        machine_note_actions(p, i, event, rule.actions);
        machine_act(p, i, rule.actions);
        daemon_leave(p);
}

/* what comes in */

static MachineEvent machine_event_of(const Play *p, const ModelMachine *m) {
        bool is_preparing = p->s.cycle == CYCLE_PREPARING;
        bool is_busy = m->state == MACHINE_CORRECTING || m->state == MACHINE_SAMPLING;
        bool is_awake = p->s.cycle == CYCLE_IDLE || p->s.cycle == CYCLE_RESTORING;

        switch (m->run_state) {
        case SUSPENDD_STATE_RUNNING:
                return m->state == MACHINE_SUSPENDED && (is_preparing || m->is_stop_astray)
                                       ? MACHINE_EVENT_WOKE_EARLY
                                       : MACHINE_EVENT_RUNNING;
        case SUSPENDD_STATE_PAUSED:
                return MACHINE_EVENT_PAUSED;
        case SUSPENDD_STATE_SUSPENDED:
                if (m->is_suspend_owed && (is_busy || (is_awake && m->state == MACHINE_WATCHED)) &&
                    p->mistake != MISTAKE_STRAGGLER_LEFT)
                        return MACHINE_EVENT_STRUCK;
                return MACHINE_EVENT_SUSPENDED;
        default:
                return MACHINE_EVENT_FOREIGN;
        }
}

static bool machine_is_held(const Play *p, const ModelMachine *m) {
        if (p->mistake == MISTAKE_RESUME_ANYBODY)
                return true;
        return m->noted != JOURNAL_NOTE_NONE &&
               (m->noted != JOURNAL_NOTE_WATCHED || p->mistake == MISTAKE_WATCHED_IS_HELD);
}

static void machine_adopt_owed(const Play *p, ModelMachine *m) {
        bool is_asked = m->noted == JOURNAL_NOTE_ASKED &&
                        m->run_state != SUSPENDD_STATE_SUSPENDED &&
                        p->mistake != MISTAKE_ASKED_FORGOTTEN;

        m->is_from_before = false;
        m->is_suspend_owed = m->noted == JOURNAL_NOTE_WATCHED || is_asked;
}

static bool machine_adopt(Play *p, unsigned i) {
        ModelMachine *m = machine(p, i);
        CycleState cycle = p->s.cycle;
        bool is_awake = cycle == CYCLE_IDLE || cycle == CYCLE_RESTORING;
        bool is_held = machine_is_held(p, m);
        bool is_running = m->run_state == SUSPENDD_STATE_RUNNING;
        bool is_standing = m->run_state == SUSPENDD_STATE_SUSPENDED ||
                           (m->run_state == SUSPENDD_STATE_PAUSED && is_held);

        if (!m->is_from_before || m->state != MACHINE_IDLE)
                return false;
        machine_adopt_owed(p, m);
        if (is_running && cycle == CYCLE_PREPARING)
                return false;
        if (is_standing || (is_running && is_held && cycle == CYCLE_SLEEPING)) {
                daemon_machine_handle(p, i, MACHINE_EVENT_ADOPT);
                daemon_machine_handle(p, i, machine_event_of(p, m));
                if (is_awake)
                        daemon_machine_handle(p, i, MACHINE_EVENT_WAKE);
                return true;
        }
        machine_leave(p, i);
        daemon_machine_handle(
                        p,
                        i,
                        is_running && is_awake ? MACHINE_EVENT_CORRECT : MACHINE_EVENT_CORRECTED);
        return true;
}

static void machine_on_seen(Play *p, unsigned i, enum suspendd_run_state before) {
        ModelMachine *m = machine(p, i);

        if (!machine_is_obsolete(p, m))
                daemon_machine_handle(p, i, machine_event_of(p, m));
        if (m->run_state == SUSPENDD_STATE_RUNNING && before != SUSPENDD_STATE_RUNNING)
                daemon_on_newcomer(p, i);
        if (m->state == MACHINE_IDLE && m->noted != JOURNAL_NOTE_NONE) {
                machine_leave(p, i);
                daemon_machine_handle(p, i, MACHINE_EVENT_CORRECTED);
        }
}

void daemon_on_state(Play *p, unsigned i, enum suspendd_run_state state) {
        ModelMachine *m = machine(p, i);
        enum suspendd_run_state before = m->run_state;

        m->run_state = (uint8_t) state;
        if (state == SUSPENDD_STATE_UNKNOWN)
                return;
        daemon_enter(p);
        if (before != SUSPENDD_STATE_UNKNOWN || !machine_adopt(p, i))
                machine_on_seen(p, i, before);
        if (state != before && m->state == MACHINE_WAKING && m->is_retry_due &&
            m->step == STEP_NONE)
                machine_ask_run(p, i);
        daemon_leave(p);
}

static MachineEvent machine_unpaused(const ModelMachine *m) {
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

static void machine_on_stop_done(Play *p, unsigned i, uint8_t act, int result) {
        ModelMachine *m = machine(p, i);

        if (result < 0 && act == SUSPENDD_ACT_PAUSE)
                daemon_machine_handle(p, i, machine_unpaused(m));
        else if (result < 0)
                daemon_machine_handle(p, i, MACHINE_EVENT_FAILED);
        else if (m->run_state == SUSPENDD_STATE_SUSPENDED)
                daemon_machine_handle(p, i, MACHINE_EVENT_SUSPENDED);
        else if (m->run_state == SUSPENDD_STATE_PAUSED && act == SUSPENDD_ACT_PAUSE)
                daemon_machine_handle(p, i, MACHINE_EVENT_PAUSED);
}

static void machine_on_run_done(Play *p, unsigned i, int result) {
        ModelMachine *m = machine(p, i);

        bool is_running = m->run_state == SUSPENDD_STATE_RUNNING;

        if (m->state != MACHINE_WAKING)
                return;
        if (is_running && (result >= 0 || !m->is_stop_astray))
                daemon_machine_handle(p, i, MACHINE_EVENT_RUNNING);
        else if (result < 0)
                daemon_machine_handle(p, i, MACHINE_EVENT_FAILED);
}

static void machine_on_done(Play *p, unsigned i, uint8_t act, int result) {
        ModelMachine *m = machine(p, i);

        if (result < 0 || act != SUSPENDD_ACT_SUSPEND)
                m->step = STEP_NONE;
        daemon_enter(p);
        if (act == SUSPENDD_ACT_SUSPEND)
                m->is_suspend_owed |= result >= 0 && m->run_state != SUSPENDD_STATE_SUSPENDED;
        if (act == SUSPENDD_ACT_SUSPEND || act == SUSPENDD_ACT_PAUSE)
                machine_on_stop_done(p, i, act, result);
        else if (act == SUSPENDD_ACT_RESUME || act == SUSPENDD_ACT_WAKE)
                machine_on_run_done(p, i, result);
        else if (m->state == MACHINE_SAMPLING)
                machine_sampled(p, i);
        daemon_leave(p);
}

void daemon_on_answer(Play *p, unsigned i, int result) {
        ModelMachine *m = machine(p, i);
        uint8_t act = m->step;
        bool is_stop = act == SUSPENDD_ACT_PAUSE;
        bool is_run = act == SUSPENDD_ACT_RESUME || act == SUSPENDD_ACT_WAKE;

        if (is_stop || is_run) {
                m->is_stop_astray = is_stop && result >= 0 && m->run_state != SUSPENDD_STATE_PAUSED;
                m->is_run_astray = is_run && result >= 0 && m->run_state != SUSPENDD_STATE_RUNNING;
        }
        machine_on_done(p, i, act, result);
}

void daemon_on_time(Play *p, unsigned i) {
        ModelMachine *m = machine(p, i);

        m->step = STEP_NONE;
        daemon_enter(p);
        if (m->state == MACHINE_SAMPLING)
                machine_sampled(p, i);
        else if (m->state == MACHINE_CORRECTING)
                machine_corrected(p, i, true);
        daemon_leave(p);
}

void daemon_on_timer(Play *p, unsigned i) {
        ModelMachine *m = machine(p, i);

        daemon_enter(p);
        m->is_timer_armed = false;
        if (m->state == MACHINE_SAMPLING) {
                machine_cancel(p, i);
                machine_sampled(p, i);
        } else if (m->state == MACHINE_WAKING && m->is_retry_due)
                machine_ask_run(p, i);
        else if (m->state == MACHINE_WAKING)
                daemon_machine_handle(p, i, MACHINE_EVENT_FAILED);
        else if (m->state == MACHINE_CORRECTING) {
                machine_cancel(p, i);
                machine_corrected(p, i, false);
        } else if (m->state == MACHINE_WATCHED && m->run_state == SUSPENDD_STATE_RUNNING)
                daemon_machine_handle(p, i, MACHINE_EVENT_EXPIRED);
        daemon_leave(p);
}
