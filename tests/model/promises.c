/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What is promised:
 *
 * 1. Every machine that we stopped runs again in the end.
 * 2. None that we did not stop is started, and none that does not run is stopped.
 * 3. The lock is never held past the deadline, and is held when the host is awake.
 * 4. No cell of NEVER is met; the journal is empty in the end; everything comes to rest.
 *
 * 2 and 3 are looked at with each move. 1 and 4 speak of the end, so from every state there is a way
 * there on which all cooperate.
 */

#include "model.h"

#define SETTLE_MOVES_MAX 120

void play_fault(Play *p, const char *fault) {
        if (!p->fault)
                p->fault = fault;
}

/* at any time */

void promise_check(Play *p) {
        if (p->s.depth != 0)
                play_fault(p, "the daemon never left what it entered");
        if (p->s.is_announced && p->s.is_locked && p->s.waited >= 2)
                play_fault(p, "the lock is held past the deadline");
}

static const char *judge_stop(const ModelVm *vm) {
        if (vm->is_murky || vm->is_doubtful || vm->is_asked || vm->is_owed)
                return NULL;
        if (world_run_state(vm) != SUSPENDD_STATE_RUNNING)
                return "a machine that others had stopped was asked to stop";
        return NULL;
}

/* Of a machine that suspended for us and was paused on top nobody can tell the one from the other. */
static const char *judge_run(const ModelVm *vm) {
        bool may_be_ours = vm->suspended_by & BY_US || vm->is_owed;

        if (vm->is_in_error)
                return "a machine with an I/O error was asked to run";
        if (vm->is_murky || vm->is_doubtful)
                return NULL;
        if (vm->is_paused && !(vm->paused_by & BY_US) && !(vm->is_suspended && may_be_ours) &&
            !world_is_pause_queued(vm) && !vm->is_unsure)
                return "a machine that its user had paused was asked to run";
        if (vm->is_suspended && !vm->is_paused && !may_be_ours)
                return "a machine that had suspended itself was asked to run";
        if (world_run_state(vm) == SUSPENDD_STATE_RUNNING && !vm->is_asked &&
            vm->note == JOURNAL_NOTE_NONE)
                return "a machine that nobody stopped was asked to run";
        return NULL;
}

void promise_judge(Play *p, const ModelVm *vm, enum suspendd_act act) {
        const char *fault = NULL;

        if (act == SUSPENDD_ACT_SUSPEND || act == SUSPENDD_ACT_PAUSE)
                fault = judge_stop(vm);
        if (act == SUSPENDD_ACT_RESUME || act == SUSPENDD_ACT_WAKE)
                fault = judge_run(vm);
        if (fault)
                play_fault(p, fault);
}

/* in the end */

static bool settle_play(Play *p, MoveKind kind, unsigned vm) {
        return world_play(p, (Move){ (uint8_t) kind, (uint8_t) vm, 0 });
}

static bool settle_host(Play *p) {
        bool is_away = p->s.cycle == CYCLE_PREPARING || p->s.cycle == CYCLE_SLEEPING;
        bool is_rehearsal = p->s.kind == KIND_REHEARSAL;

        if (!p->s.is_alive)
                return settle_play(p, MOVE_START, 0);
        if (p->s.is_announced)
                return settle_play(p, MOVE_WAKE, 0);
        if (p->s.is_forgotten || (is_away && !is_rehearsal))
                return settle_play(p, MOVE_NOT_SLEEPING, 0);
        return false;
}

static bool settle_vm(Play *p, unsigned i, bool strikes) {
        return settle_play(p, MOVE_CARRY_OUT, i) || settle_play(p, MOVE_TAKE, i) ||
               settle_play(p, strikes ? MOVE_STRIKE : MOVE_FIZZLE, i) ||
               settle_play(p, MOVE_TIME_READ, i) || settle_play(p, MOVE_TIMER, i);
}

static bool settle_step(Play *p, bool strikes) {
        if (settle_host(p))
                return true;
        for (unsigned i = 0; i < p->s.n_vms; i++)
                if (settle_vm(p, i, strikes))
                        return true;
        return settle_play(p, MOVE_REHEARSED, 0) || settle_play(p, MOVE_TIME, 0) ||
               settle_play(p, MOVE_RESTORED, 0);
}

static void check_rest(Play *p, const ModelVm *vm) {
        const ModelMachine *m = &vm->m;

        if (!vm->is_here || vm->is_murky)
                return;
        if (vm->is_paused && vm->paused_by == BY_US)
                play_fault(p, "a machine that we paused stays paused");
        if (vm->is_suspended && !vm->is_paused && !vm->is_in_error && vm->suspended_by == BY_US)
                play_fault(p, "a machine that suspended for us stays so");
        if (m->state != MACHINE_IDLE && m->state != MACHINE_WATCHED)
                play_fault(p, "a machine does not come to rest");
        if (m->noted != (m->is_suspend_owed ? JOURNAL_NOTE_WATCHED : JOURNAL_NOTE_NONE))
                play_fault(p, "a note is left behind in the journal");
        if (m->state == MACHINE_IDLE && m->is_suspend_owed)
                play_fault(p, "nobody watches for a late suspend");
}

void promise_settle(const Play *from, bool strikes, Play *ret) {
        unsigned n = 0;

        *ret = *from;
        while (!ret->fault && settle_step(ret, strikes))
                if (++n == SETTLE_MOVES_MAX) {
                        play_fault(ret, "it does not come to rest");
                        return;
                }
        if (ret->s.cycle != CYCLE_IDLE)
                play_fault(ret, "the cycle does not end");
        if (!ret->s.is_locked && !ret->s.is_quitting)
                play_fault(ret, "the lock is not held while the host is awake");
        for (unsigned i = 0; i < ret->s.n_vms; i++)
                check_rest(ret, &ret->s.vms[i]);
}
