/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What cycle.c and cycle-host.c do, without clocks: the functions have their names. */

#include "daemon.h"

#define BIT(_s) (1U << (_s))
#define NOT_STANDING (BIT(MACHINE_SAMPLING) | BIT(MACHINE_SUSPENDING) | BIT(MACHINE_PAUSING))
#define HELD (NOT_STANDING | BIT(MACHINE_SUSPENDED) | BIT(MACHINE_PAUSED) | BIT(MACHINE_MISSED))
#define RESTORING (BIT(MACHINE_WAKING) | BIT(MACHINE_CORRECTING))

#define FOR_EACH_MACHINE(_p, _i)                        \
        for (unsigned _i = 0; _i < (_p)->s.n_vms; _i++) \
                if ((_p)->s.vms[_i].m.is_known)

bool daemon_effect(Play *p) {
        p->n_effects++;
        if (p->fuse != 0 && p->n_effects == p->fuse)
                p->is_dead = true;
        return !p->is_dead;
}

/* the journal */

static void note_write(Play *p, unsigned i, JournalNoteKind kind) {
        p->s.vms[i].note = (uint8_t) kind;
}

void daemon_note(Play *p, unsigned i, JournalNoteKind kind) {
        ModelMachine *m = &p->s.vms[i].m;

        if (m->noted == kind)
                return;
        if (daemon_effect(p))
                note_write(p, i, kind);
        m->noted = (uint8_t) kind;
}

/* whether a phase is over */

static bool is_any_in(const Play *p, unsigned states) {
        FOR_EACH_MACHINE(p, i)
        if (states & BIT(p->s.vms[i].m.state))
                return true;
        return false;
}

void daemon_enter(Play *p) {
        p->s.depth++;
}

void daemon_leave(Play *p) {
        if (--p->s.depth > 0 || p->s.is_enumerating)
                return;
        if (p->s.cycle == CYCLE_PREPARING && !is_any_in(p, NOT_STANDING))
                daemon_handle(p, CYCLE_EVENT_ALL_STAND);
        else if (p->s.cycle == CYCLE_RESTORING && !is_any_in(p, RESTORING))
                daemon_handle(p, CYCLE_EVENT_RESTORED);
}

/* the lock */

static void take_lock(Play *p) {
        if (!daemon_effect(p))
                return;
        p->s.is_lock_wanted = true;
        world_grant(&p->s);
}

static void let_go(Play *p) {
        if (daemon_effect(p))
                p->s.is_locked = p->s.is_lock_wanted = false;
}

/* preparing */

static void cycle_new_machine_report(ModelVm *vm) {
        vm->m.asked = vm->m.stood = STEP_NONE;
        vm->m.could_time = vm->has_agent;
        vm->m.is_time_known = false;
}

static void cycle_plan(ModelVm *vm) {
        ModelMachine *m = &vm->m;

        if (m->state == MACHINE_WAKING)
                m->asked = SUSPENDD_ACT_PAUSE;
        else if (m->run_state == SUSPENDD_STATE_RUNNING)
                m->asked = vm->has_agent && !m->is_suspend_owed ? SUSPENDD_ACT_SUSPEND
                                                                : SUSPENDD_ACT_PAUSE;
}

static JournalNoteKind cycle_intent(const ModelMachine *m) {
        return m->asked == SUSPENDD_ACT_SUSPEND || m->is_suspend_owed ? JOURNAL_NOTE_ASKED
                                                                      : JOURNAL_NOTE_HELD;
}

/* All with one write. */
static void cycle_write_intents(Play *p) {
        unsigned mask = 0;

        FOR_EACH_MACHINE(p, i)
        if (p->s.vms[i].m.asked != STEP_NONE && p->s.vms[i].m.noted != cycle_intent(&p->s.vms[i].m))
                mask |= BIT(i);
        if (mask == 0)
                return;
        if (!daemon_effect(p))
                return;
        FOR_EACH_MACHINE(p, i)
        if (mask & BIT(i)) {
                p->s.vms[i].m.noted = (uint8_t) cycle_intent(&p->s.vms[i].m);
                note_write(p, i, p->s.vms[i].m.noted);
        }
}

static void cycle_ask(Play *p, unsigned i) {
        ModelMachine *m = &p->s.vms[i].m;

        if (m->asked == STEP_NONE)
                return;
        if (p->s.is_relative && m->state != MACHINE_WAKING && m->could_time)
                daemon_machine_handle(p, i, MACHINE_EVENT_SAMPLE);
        else if (m->asked == SUSPENDD_ACT_SUSPEND)
                daemon_machine_handle(p, i, MACHINE_EVENT_SUSPEND);
        else
                daemon_machine_handle(p, i, MACHINE_EVENT_PAUSE);
}

static void cycle_budget(Play *p) {
        p->s.budget = 1;
        p->s.is_overtake_armed = p->s.is_deadline_armed = true;
}

static void cycle_prepare(Play *p, bool is_rehearsal) {
        bool is_late = p->mistake == MISTAKE_ACT_BEFORE_NOTE;

        p->s.kind = is_rehearsal ? KIND_REHEARSAL : KIND_SLEEP;
        p->s.is_released = p->s.is_restored_armed = false;
        cycle_budget(p);
        FOR_EACH_MACHINE(p, i) {
                cycle_new_machine_report(&p->s.vms[i]);
                cycle_plan(&p->s.vms[i]);
        }
        if (!is_late)
                cycle_write_intents(p);
        FOR_EACH_MACHINE(p, i)
        cycle_ask(p, i);
        if (is_late)
                cycle_write_intents(p);
}

void daemon_on_newcomer(Play *p, unsigned i) {
        ModelMachine *m = &p->s.vms[i].m;

        if (p->s.cycle != CYCLE_PREPARING || m->asked != STEP_NONE ||
            (m->state != MACHINE_IDLE && m->state != MACHINE_WATCHED))
                return;
        cycle_new_machine_report(&p->s.vms[i]);
        cycle_plan(&p->s.vms[i]);
        if (m->asked != STEP_NONE)
                daemon_note(p, i, cycle_intent(m));
        cycle_ask(p, i);
}

static void cycle_tell(Play *p, unsigned states, MachineEvent event) {
        FOR_EACH_MACHINE(p, i)
        if (states & BIT(p->s.vms[i].m.state))
                daemon_machine_handle(p, i, event);
}

static void cycle_let_go(Play *p) {
        if (p->s.kind != KIND_REHEARSAL)
                let_go(p);
        p->s.is_overtake_armed = p->s.is_deadline_armed = false;
        p->s.budget = 0;
        if (p->s.is_released || p->s.kind == KIND_OTHER)
                return;
        p->s.is_released = true;
        p->s.is_wake_armed = p->s.kind == KIND_REHEARSAL;
}

/* coming back */

static void cycle_measure(Play *p, CycleEvent event) {
        bool is_cut = p->s.kind == KIND_SLEEP &&
                      (event == CYCLE_EVENT_QUIT || event == CYCLE_EVENT_SHUTDOWN) &&
                      p->mistake != MISTAKE_LOCK_KEPT_ON_QUIT;

        if (p->mistake != MISTAKE_LOCK_NOT_TAKEN_AGAIN)
                take_lock(p);
        p->s.is_overtake_armed = p->s.is_wake_armed = false;
        p->s.is_deadline_armed &= is_cut;
        if (!p->s.is_deadline_armed)
                p->s.budget = 0;
}

static void cycle_restore(Play *p) {
        bool is_lost_time = p->s.kind != KIND_REHEARSAL;

        cycle_tell(p, BIT(MACHINE_CORRECTING), MACHINE_EVENT_CORRECT);
        cycle_tell(p, HELD, MACHINE_EVENT_WAKE);
        FOR_EACH_MACHINE(p, i) {
                ModelMachine *m = &p->s.vms[i].m;

                if ((m->state == MACHINE_IDLE || m->state == MACHINE_WATCHED) &&
                    m->run_state == SUSPENDD_STATE_RUNNING &&
                    (is_lost_time || m->asked != STEP_NONE))
                        daemon_machine_handle(p, i, MACHINE_EVENT_CORRECT);
        }
        p->s.is_restored_armed = true;
}

static void cycle_begin(Play *p) {
        p->s.kind = KIND_OTHER;
        p->s.is_released = false;
        FOR_EACH_MACHINE(p, i)
        if (p->s.vms[i].m.noted == JOURNAL_NOTE_NONE)
                cycle_new_machine_report(&p->s.vms[i]);
}

static void cycle_make_real(Play *p) {
        if (p->s.kind != KIND_REHEARSAL)
                return;
        p->s.kind = KIND_SLEEP;
        p->s.is_wake_armed = false;
        if (p->s.cycle == CYCLE_PREPARING)
                cycle_budget(p);
}

static void cycle_protect(Play *p) {
        p->s.is_deadline_armed = false;
        p->s.budget = 0;
        take_lock(p);
}

/* the table */

static void cycle_act(Play *p, CycleEvent event, unsigned actions, bool is_rehearsal) {
        if (actions & CYCLE_PROTECT)
                cycle_protect(p);
        if (actions & CYCLE_RECORD)
                p->s.is_restored_armed = false;
        if (actions & CYCLE_BEGIN)
                cycle_begin(p);
        if (actions & CYCLE_REAL)
                cycle_make_real(p);
        if (actions & CYCLE_PREPARE)
                cycle_prepare(p, is_rehearsal);
        if (actions & CYCLE_OVERTAKE)
                cycle_tell(p,
                           BIT(MACHINE_SAMPLING) | BIT(MACHINE_SUSPENDING),
                           MACHINE_EVENT_OVERTAKE);
        if (actions & CYCLE_EXPIRE)
                cycle_tell(p, NOT_STANDING, MACHINE_EVENT_DEADLINE);
        if (actions & CYCLE_LET_GO)
                cycle_let_go(p);
        if (actions & CYCLE_MEASURE)
                cycle_measure(p, event);
        if (actions & CYCLE_RESTORE)
                cycle_restore(p);
}

static void cycle_handle(Play *p, CycleEvent event, bool is_rehearsal) {
        CycleRule rule = mistake_cycle_rule(p->mistake, p->s.cycle, event);

        if (rule.actions & CYCLE_NEVER) {
                play_fault(p, "the cycle met a cell of NEVER");
                return;
        }
        daemon_enter(p);
        p->s.cycle = (uint8_t) rule.next;
        cycle_act(p, event, rule.actions, is_rehearsal);
        daemon_leave(p);
}

void daemon_handle(Play *p, CycleEvent event) {
        cycle_handle(p, event, false);
}

void daemon_rehearse(Play *p) {
        cycle_handle(p, CYCLE_EVENT_SLEEP, true);
}

void daemon_budget_over(Play *p) {
        if (TAKE(p->s.is_overtake_armed, false) && p->s.cycle == CYCLE_PREPARING)
                daemon_handle(p, CYCLE_EVENT_OVERTAKE);
        if (p->s.budget == 1) {
                p->s.budget = 2;
                return;
        }
        p->s.budget = 0;
        if (!TAKE(p->s.is_deadline_armed, false))
                return;
        if (p->s.cycle == CYCLE_PREPARING)
                daemon_handle(p, CYCLE_EVENT_DEADLINE);
        else
                let_go(p);
}

/* machines that come and go */

void daemon_add(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (p->mistake == MISTAKE_NOTE_BY_NAME && vm->has_stale_note) {
                vm->note = JOURNAL_NOTE_HELD;
                vm->has_stale_note = false;
        }
        vm->m = (ModelMachine){
                .is_known = true,
                .step = STEP_NONE,
                .asked = STEP_NONE,
                .noted = vm->note,
                .is_from_before = vm->note != JOURNAL_NOTE_NONE ||
                                  p->mistake == MISTAKE_RESUME_ANYBODY,
        };
}

void daemon_remove(Play *p, unsigned i) {
        ModelMachine *m = &p->s.vms[i].m;
        bool is_lost = m->run_state == SUSPENDD_STATE_UNKNOWN &&
                       p->mistake != MISTAKE_NOTE_ENDS_WITH_US;

        daemon_enter(p);
        if (!is_lost)
                daemon_note(p, i, JOURNAL_NOTE_NONE);
        *m = (ModelMachine){ .step = STEP_NONE, .asked = STEP_NONE };
        daemon_leave(p);
}

void daemon_sync(Play *p, unsigned i) {
        daemon_machine_handle(p, i, MACHINE_EVENT_CORRECT);
}

/* lifetime */

static bool journal_has_notes(const State *s) {
        for (unsigned i = 0; i < s->n_vms; i++)
                if (s->vms[i].note != JOURNAL_NOTE_NONE || s->vms[i].has_stale_note)
                        return true;
        return false;
}

static void cycle_on_enumerated(Play *p) {
        daemon_enter(p);
        p->s.is_enumerating = false;
        for (unsigned i = 0; i < p->s.n_vms; i++)
                if (p->s.vms[i].has_stale_note && daemon_effect(p))
                        p->s.vms[i].has_stale_note = false;
        daemon_leave(p);
}

void daemon_start(Play *p) {
        State *s = &p->s;

        s->is_alive = s->is_enumerating = true;
        take_lock(p);
        if (journal_has_notes(s))
                daemon_handle(p,
                              s->is_announced ? CYCLE_EVENT_ADOPT_ASLEEP : CYCLE_EVENT_ADOPT_AWAKE);
        for (unsigned i = 0; i < s->n_vms; i++)
                if (s->vms[i].is_here)
                        world_announce(p, i);
        cycle_on_enumerated(p);
}

void daemon_crash(Play *p) {
        State *s = &p->s;

        s->is_alive = s->cycle = s->kind = s->is_enumerating = s->is_released = s->is_quitting = 0;
        s->is_overtake_armed = s->is_deadline_armed = s->is_wake_armed = s->is_restored_armed = 0;
        s->budget = s->depth = 0;
        s->is_locked = s->is_lock_wanted = s->is_forgotten = false;
        for (unsigned i = 0; i < s->n_vms; i++)
                s->vms[i].m = (ModelMachine){ .step = STEP_NONE, .asked = STEP_NONE };
}
