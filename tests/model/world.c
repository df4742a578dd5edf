/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What may happen around the daemon, and what its commands do to VMs. */

#include "model.h"

/* what a VM is */

enum suspendd_run_state world_run_state(const ModelVm *vm) {
        if (vm->is_in_error)
                return SUSPENDD_STATE_OTHER;
        if (vm->is_paused)
                return SUSPENDD_STATE_PAUSED;
        return vm->is_suspended ? SUSPENDD_STATE_SUSPENDED : SUSPENDD_STATE_RUNNING;
}

static bool vm_is_running(const ModelVm *vm) {
        return vm->is_here && world_run_state(vm) == SUSPENDD_STATE_RUNNING;
}

bool world_is_pause_queued(const ModelVm *vm) {
        for (unsigned i = 0; i < vm->n_monitor; i++)
                if ((vm->monitor[i] & COMMAND_ACT) == SUSPENDD_ACT_PAUSE)
                        return true;
        return false;
}

/* What runs, with nothing of ours to come, is its user's alone. */
static void vm_forget(ModelVm *vm) {
        if (vm_is_running(vm) && !world_is_pause_queued(vm) && vm->agent == AGENT_NOTHING &&
            !vm->is_unsure)
                vm->is_asked = vm->is_murky = false;
}

/* what the daemon hears */

static bool can_hear(const Play *p, unsigned i) {
        return p->s.is_alive && !p->is_dead && p->s.vms[i].m.is_known;
}

static void vm_tell(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];
        enum suspendd_run_state state = world_run_state(vm);

        if (!can_hear(p, i) || state == vm->m.run_state)
                return;
        /* Whoever connects anew is told only when what was sent before is through. */
        if (vm->m.run_state == SUSPENDD_STATE_UNKNOWN && vm->n_monitor > 0)
                return;
        daemon_on_state(p, i, state);
}

static void vm_moved(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (vm_is_running(vm))
                vm->paused_by = vm->suspended_by = 0;
        vm_forget(vm);
        vm_tell(p, i);
}

static void vm_answer(Play *p, unsigned i, uint8_t act, int result) {
        ModelVm *vm = &p->s.vms[i];

        if (!can_hear(p, i) || vm->m.step != act)
                return;
        if (act != SUSPENDD_ACT_SUSPEND)
                vm->is_unsure = act == SUSPENDD_ACT_PAUSE && result >= 0 && !vm->is_paused;
        daemon_on_answer(p, i, result);
        vm_forget(vm);
}

/* what the daemon asks for */

bool world_send(Play *p, unsigned i, enum suspendd_act act) {
        ModelVm *vm = &p->s.vms[i];
        bool is_stop = act == SUSPENDD_ACT_SUSPEND || act == SUSPENDD_ACT_PAUSE;

        if (!daemon_effect(p))
                return true;
        promise_judge(p, vm, act);
        vm->is_asked |= is_stop;
        if (act == SUSPENDD_ACT_GET_TIME)
                return true;
        if (act == SUSPENDD_ACT_SUSPEND) {
                if (vm->agent != AGENT_NOTHING)
                        return false;
                vm->agent = AGENT_ASKED;
                return true;
        }
        if (vm->n_monitor == MODEL_QUEUE_MAX) {
                vm->is_unsure |= act == SUSPENDD_ACT_PAUSE;
                return false;
        }
        vm->monitor[vm->n_monitor++] = (uint8_t) act | COMMAND_STEP;
        return true;
}

/* A suspend that was not answered is taken back; what is in a monitor's channel stays there. */
void world_cancel(Play *p, unsigned i, uint8_t act) {
        ModelVm *vm = &p->s.vms[i];

        if (p->is_dead)
                return;
        if (act == SUSPENDD_ACT_SUSPEND && vm->agent == AGENT_ASKED)
                vm->agent = AGENT_NOTHING;
        for (unsigned k = 0; k < vm->n_monitor; k++)
                vm->monitor[k] &= (uint8_t) ~COMMAND_STEP;
        vm->is_unsure |= act == SUSPENDD_ACT_PAUSE && world_is_pause_queued(vm);
}

void world_announce(Play *p, unsigned i) {
        daemon_add(p, i);
        vm_tell(p, i);
}

/* VMMs and agents */

static void vm_obey(Play *p, unsigned i, uint8_t act) {
        ModelVm *vm = &p->s.vms[i];

        if (act == SUSPENDD_ACT_PAUSE) {
                if (vm->is_in_error || vm->is_paused || (vm->is_suspended && !p->s.is_stacking))
                        return;
                vm->is_paused = true;
                vm->paused_by |= BY_US;
        } else {
                vm->is_paused = vm->is_in_error = false;
                vm->paused_by = 0;
                if (act == SUSPENDD_ACT_WAKE)
                        vm->is_suspended = false;
        }
        vm_moved(p, i);
}

static uint8_t vm_take_command(ModelVm *vm) {
        uint8_t first = vm->monitor[0];

        vm->n_monitor--;
        (void) memmove(vm->monitor, vm->monitor + 1, vm->n_monitor);
        vm->monitor[vm->n_monitor] = 0;
        return first;
}

static bool vm_carry_out(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];
        uint8_t c;

        if (vm->n_monitor == 0)
                return false;
        c = vm_take_command(vm);
        vm_obey(p, i, c & COMMAND_ACT);
        /* Its event may have ended the step. */
        if (c & COMMAND_STEP)
                vm_answer(p, i, c & COMMAND_ACT, 0);
        vm_forget(vm);
        vm_tell(p, i);
        return true;
}

static bool vm_answer_first(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (vm->n_monitor == 0 || !(vm->monitor[0] & COMMAND_STEP))
                return false;
        vm->monitor[0] = (vm->monitor[0] & COMMAND_ACT) | COMMAND_ANSWERED;
        vm_answer(p, i, vm->monitor[0] & COMMAND_ACT, 0);
        return true;
}

static bool vm_refuse(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];
        uint8_t c;

        if (vm->n_monitor == 0 || vm->monitor[0] & COMMAND_ANSWERED)
                return false;
        c = vm_take_command(vm);
        if (c & COMMAND_STEP)
                vm_answer(p, i, c & COMMAND_ACT, -EIO);
        vm_forget(vm);
        vm_tell(p, i);
        return true;
}

static bool vm_agent_answers(Play *p, unsigned i, int result) {
        ModelVm *vm = &p->s.vms[i];
        bool is_waited_for = vm->agent == AGENT_ASKED;

        if (!vm_is_running(vm) || (!is_waited_for && vm->agent != AGENT_ASKED_OLD))
                return false;
        vm->agent = result < 0 ? AGENT_NOTHING : AGENT_TOOK;
        vm->is_owed |= result >= 0;
        if (is_waited_for)
                vm_answer(p, i, SUSPENDD_ACT_SUSPEND, result);
        vm_forget(vm);
        return true;
}

static bool vm_strike(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (vm->agent != AGENT_TOOK || !vm_is_running(vm))
                return false;
        vm->agent = AGENT_NOTHING;
        vm->is_owed &= !can_hear(p, i) || vm->m.run_state == SUSPENDD_STATE_UNKNOWN;
        vm->is_suspended = true;
        vm->suspended_by |= BY_US;
        vm_moved(p, i);
        return true;
}

static bool vm_fizzle(ModelVm *vm) {
        if (vm->agent != AGENT_TOOK)
                return false;
        vm->agent = AGENT_NOTHING;
        vm_forget(vm);
        return true;
}

/* users and guests */

static void vm_touch(ModelVm *vm) {
        vm->is_murky |= world_is_pause_queued(vm) || vm->is_unsure;
}

static bool vm_user_pause(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (vm->is_paused || vm->is_in_error || (vm->is_suspended && !p->s.is_stacking))
                return false;
        vm_touch(vm);
        vm->is_paused = true;
        vm->paused_by |= BY_OTHERS;
        vm_moved(p, i);
        return true;
}

static bool vm_user_resume(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (!vm->is_paused && !vm->is_in_error)
                return false;
        vm_touch(vm);
        vm->is_paused = vm->is_in_error = false;
        vm->paused_by = 0;
        vm_moved(p, i);
        return true;
}

static bool vm_guest_suspend(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (!vm_is_running(vm))
                return false;
        vm_touch(vm);
        vm->is_murky |= vm->agent != AGENT_NOTHING || vm->is_owed;
        vm->is_suspended = true;
        vm->suspended_by |= BY_OTHERS;
        vm_moved(p, i);
        return true;
}

static bool vm_guest_wake(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (!vm->is_suspended || vm->is_paused || vm->is_in_error)
                return false;
        vm->is_suspended = false;
        vm_moved(p, i);
        return true;
}

static bool vm_fail(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (!vm_is_running(vm))
                return false;
        vm_touch(vm);
        vm->is_in_error = true;
        vm_moved(p, i);
        return true;
}

/* coming and going */

static bool vm_end(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];
        bool has_note;

        if (p->s.is_alive)
                daemon_remove(p, i);
        has_note = vm->note != JOURNAL_NOTE_NONE;
        *vm = (ModelVm){ .has_agent = vm->has_agent,
                         .has_stale_note = vm->has_stale_note || has_note,
                         .m = vm->m };
        return true;
}

static bool vm_begin(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (vm->is_here)
                return false;
        vm->is_here = true;
        if (p->s.is_alive)
                world_announce(p, i);
        return true;
}

static bool is_held_note(uint8_t note) {
        return note == JOURNAL_NOTE_HELD || note == JOURNAL_NOTE_ASKED;
}

/* What was written before it was done may not have been done: nobody can tell afterwards. */
static void vm_doubt(ModelVm *vm) {
        vm->is_owed |= vm->note == JOURNAL_NOTE_ASKED || vm->note == JOURNAL_NOTE_WATCHED;
        if (is_held_note(vm->note))
                vm->is_asked = vm->is_doubtful = true;
        if (vm->agent == AGENT_ASKED)
                vm->agent = AGENT_ASKED_OLD;
        for (unsigned k = 0; k < vm->n_monitor; k++)
                vm->monitor[k] &= (uint8_t) ~COMMAND_STEP;
        vm->is_unsure |= world_is_pause_queued(vm);
}

/* What the daemon has taken back it is sure of. */
static void vm_learn(ModelVm *vm) {
        bool is_owed_note = vm->note == JOURNAL_NOTE_ASKED || vm->note == JOURNAL_NOTE_WATCHED;

        vm->is_doubtful &= is_held_note(vm->note);
        vm->is_owed &= is_owed_note || vm->agent != AGENT_NOTHING;
}

static bool vm_lose(Play *p, unsigned i) {
        if (!p->s.is_alive || !p->s.vms[i].m.is_known)
                return false;
        vm_doubt(&p->s.vms[i]);
        daemon_on_state(p, i, SUSPENDD_STATE_UNKNOWN);
        daemon_remove(p, i);
        if (!p->is_dead)
                world_announce(p, i);
        return true;
}

/* the daemon's timers, and its clients */

static bool vm_timer(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (!can_hear(p, i) || !vm->m.is_timer_armed)
                return false;
        /* What an agent has taken strikes while it is watched for, or never. */
        if (vm->m.state == MACHINE_WATCHED && vm->agent != AGENT_NOTHING)
                return false;
        daemon_on_timer(p, i);
        return true;
}

/* An agent that tells the time has taken, or refused, what came before. */
static bool vm_time_read(Play *p, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (!can_hear(p, i) || vm->m.step != SUSPENDD_ACT_GET_TIME || !vm_is_running(vm) ||
            vm->agent == AGENT_ASKED || vm->agent == AGENT_ASKED_OLD)
                return false;
        daemon_on_time(p, i);
        return true;
}

static bool vm_sync(Play *p, unsigned i) {
        const ModelVm *vm = &p->s.vms[i];

        if (!can_hear(p, i) || (p->s.cycle != CYCLE_IDLE && p->s.cycle != CYCLE_RESTORING) ||
            vm->m.run_state != SUSPENDD_STATE_RUNNING || !vm->has_agent)
                return false;
        daemon_sync(p, i);
        return true;
}

static bool vm_play(Play *p, MoveKind kind, unsigned i) {
        ModelVm *vm = &p->s.vms[i];

        if (!vm->is_here && kind != MOVE_BEGIN)
                return false;
        switch (kind) {
        case MOVE_CARRY_OUT:
                return vm_carry_out(p, i);
        case MOVE_ANSWER:
                return vm_answer_first(p, i);
        case MOVE_REFUSE:
                return vm_refuse(p, i);
        case MOVE_TAKE:
                return vm_agent_answers(p, i, 0);
        case MOVE_AGENT_REFUSE:
                return vm_agent_answers(p, i, -EIO);
        case MOVE_STRIKE:
                return vm_strike(p, i);
        case MOVE_FIZZLE:
                return vm_fizzle(vm);
        case MOVE_USER_PAUSE:
                return vm_user_pause(p, i);
        case MOVE_USER_RESUME:
                return vm_user_resume(p, i);
        case MOVE_GUEST_SUSPEND:
                return vm_guest_suspend(p, i);
        case MOVE_GUEST_WAKE:
                return vm_guest_wake(p, i);
        case MOVE_ERROR:
                return vm_fail(p, i);
        case MOVE_END:
                return vm_end(p, i);
        case MOVE_BEGIN:
                return vm_begin(p, i);
        case MOVE_LOSE:
                return vm_lose(p, i);
        case MOVE_AGENT_TOGGLE:
                vm->has_agent = !vm->has_agent;
                return true;
        case MOVE_TIMER:
                return vm_timer(p, i);
        case MOVE_TIME_READ:
                return vm_time_read(p, i);
        case MOVE_SYNC:
                return vm_sync(p, i);
        default:
                return false;
        }
}

/* logind, the kernel, and who starts the daemon */

/* While a sleep is announced logind gives no lock; it is asked again until it does. */
void world_grant(State *s) {
        s->is_locked |= s->is_lock_wanted && !s->is_announced;
}

static bool is_cycle(const State *s, CycleState a, CycleState b) {
        return s->is_alive && (s->cycle == a || s->cycle == b);
}

static bool host_sleep(Play *p) {
        State *s = &p->s;

        if (s->is_quitting)
                return false;
        if (!s->is_announced || !is_cycle(s, CYCLE_PREPARING, CYCLE_SLEEPING) ||
            s->kind != KIND_SLEEP)
                s->waited = 0;
        s->is_announced = true;
        s->is_forgotten = false;
        if (s->is_alive)
                daemon_handle(p, CYCLE_EVENT_SLEEP);
        return true;
}

static bool host_awake(Play *p, CycleEvent event) {
        p->s.is_announced = p->s.is_forgotten = false;
        p->s.waited = 0;
        world_grant(&p->s);
        if (p->s.is_alive)
                daemon_handle(p, event);
        return true;
}

static bool host_forget(Play *p) {
        if (!p->s.is_announced)
                return false;
        p->s.is_announced = false;
        p->s.is_forgotten = p->s.is_alive;
        p->s.waited = 0;
        world_grant(&p->s);
        return true;
}

static bool host_time(Play *p) {
        if (p->s.waited >= 2 && p->s.budget == 0)
                return false;
        if (!p->s.is_announced && p->s.budget == 0)
                return false;
        p->s.waited += p->s.is_announced && p->s.waited < 2;
        if (p->s.budget != 0)
                daemon_budget_over(p);
        return true;
}

static bool host_tell(Play *p, bool can, CycleEvent event) {
        if (!p->s.is_alive || !can)
                return false;
        daemon_handle(p, event);
        return true;
}

static bool host_rehearse(Play *p) {
        if (!is_cycle(&p->s, CYCLE_IDLE, CYCLE_IDLE) || p->s.is_announced || p->s.is_quitting)
                return false;
        daemon_rehearse(p);
        return true;
}

static bool host_quit(Play *p) {
        if (!p->s.is_alive || p->s.is_quitting)
                return false;
        p->s.is_quitting = true;
        daemon_handle(p, CYCLE_EVENT_QUIT);
        return true;
}

static bool host_crash(Play *p) {
        if (!p->s.is_alive)
                return false;
        p->is_dead = true;
        return true;
}

static bool host_start(Play *p) {
        if (p->s.is_alive)
                return false;
        daemon_start(p);
        return true;
}

static bool host_play(Play *p, MoveKind kind) {
        State *s = &p->s;

        switch (kind) {
        case MOVE_SLEEP:
                return host_sleep(p);
        case MOVE_WAKE:
                return host_awake(p, CYCLE_EVENT_WAKE);
        case MOVE_FORGET:
                return host_forget(p);
        case MOVE_NOT_SLEEPING:
                return s->is_alive && !s->is_announced && host_awake(p, CYCLE_EVENT_NOT_SLEEPING);
        case MOVE_WOKE:
                return host_tell(
                                p,
                                s->is_announced && s->cycle == CYCLE_SLEEPING &&
                                                s->kind == KIND_SLEEP,
                                CYCLE_EVENT_WAKE);
        case MOVE_UNANNOUNCED:
                return host_tell(
                                p,
                                !s->is_announced && is_cycle(s, CYCLE_IDLE, CYCLE_RESTORING),
                                CYCLE_EVENT_UNANNOUNCED);
        case MOVE_TIME:
                return host_time(p);
        case MOVE_RESTORED:
                return host_tell(
                                p,
                                s->cycle == CYCLE_RESTORING && TAKE(s->is_restored_armed, false),
                                CYCLE_EVENT_RESTORED);
        case MOVE_REHEARSE:
                return host_rehearse(p);
        case MOVE_REHEARSED:
                return host_tell(
                                p,
                                s->cycle == CYCLE_SLEEPING && TAKE(s->is_wake_armed, false),
                                CYCLE_EVENT_WAKE);
        case MOVE_SHUTDOWN:
                return host_tell(p, true, CYCLE_EVENT_SHUTDOWN);
        case MOVE_QUIT:
                return host_quit(p);
        case MOVE_CRASH:
                return host_crash(p);
        case MOVE_START:
                return host_start(p);
        default:
                return false;
        }
}

static void world_bury(Play *p) {
        for (unsigned i = 0; i < p->s.n_vms; i++)
                if (p->s.vms[i].is_here)
                        vm_doubt(&p->s.vms[i]);
        daemon_crash(p);
        p->is_dead = false;
}

/* What nobody reads before it is written anew makes no two states of one. */
static void world_forget(State *s) {
        if (!s->is_announced)
                s->waited = 0;
        if (s->cycle != CYCLE_IDLE)
                return;
        s->kind = s->is_released = 0;
        for (unsigned i = 0; i < s->n_vms; i++) {
                ModelMachine *m = &s->vms[i].m;

                if (m->state == MACHINE_IDLE && m->noted == JOURNAL_NOTE_NONE) {
                        m->asked = m->stood = STEP_NONE;
                        m->could_time = m->is_time_known = false;
                }
        }
}

bool world_play(Play *p, Move move) {
        bool has_happened;

        p->fuse = move.fuse;
        p->n_effects = 0;
        p->is_dead = false;
        has_happened = move_is_of_vm(move.kind) ? vm_play(p, move.kind, move.vm)
                                                : host_play(p, move.kind);
        if (!has_happened)
                return false;
        if (p->is_dead)
                world_bury(p);
        for (unsigned i = 0; i < p->s.n_vms; i++)
                vm_learn(&p->s.vms[i]);
        promise_check(p);
        world_forget(&p->s);
        return true;
}

void world_init(State *s, unsigned n_vms, bool is_relative, bool is_stacking) {
        Play p = { .mistake = MISTAKE_NONE };

        (void) memset(&p.s, 0, sizeof(p.s));
        p.s.n_vms = (uint8_t) n_vms;
        p.s.is_relative = is_relative;
        p.s.is_stacking = is_stacking;
        for (unsigned i = 0; i < n_vms; i++) {
                p.s.vms[i].is_here = p.s.vms[i].has_agent = true;
                p.s.vms[i].m.step = p.s.vms[i].m.asked = STEP_NONE;
        }
        daemon_start(&p);
        *s = p.s;
}

static const char *const move_table[] = {
        [MOVE_SLEEP] = "sleep",
        [MOVE_WAKE] = "wake",
        [MOVE_FORGET] = "logind-forgets",
        [MOVE_NOT_SLEEPING] = "not-sleeping",
        [MOVE_WOKE] = "wake-of-the-kernel",
        [MOVE_UNANNOUNCED] = "unannounced-sleep",
        [MOVE_TIME] = "time-goes-by",
        [MOVE_RESTORED] = "time-to-restore-is-over",
        [MOVE_REHEARSE] = "rehearse",
        [MOVE_REHEARSED] = "rehearsal-is-over",
        [MOVE_SHUTDOWN] = "shutdown",
        [MOVE_QUIT] = "quit",
        [MOVE_CRASH] = "daemon-dies",
        [MOVE_START] = "daemon-starts",
        [MOVE_CARRY_OUT] = "vmm-obeys",
        [MOVE_ANSWER] = "vmm-answers-and-obeys-later",
        [MOVE_REFUSE] = "vmm-refuses",
        [MOVE_TAKE] = "agent-takes-suspend",
        [MOVE_AGENT_REFUSE] = "agent-refuses",
        [MOVE_STRIKE] = "guest-suspends-for-us",
        [MOVE_FIZZLE] = "guest-forgets-to-suspend",
        [MOVE_USER_PAUSE] = "user-pauses",
        [MOVE_USER_RESUME] = "user-resumes",
        [MOVE_GUEST_SUSPEND] = "guest-suspends-itself",
        [MOVE_GUEST_WAKE] = "guest-wakes",
        [MOVE_ERROR] = "io-error",
        [MOVE_END] = "vmm-ends",
        [MOVE_BEGIN] = "vmm-begins",
        [MOVE_LOSE] = "vmm-out-of-reach-and-back",
        [MOVE_AGENT_TOGGLE] = "agent-comes-or-goes",
        [MOVE_TIMER] = "machine-timer",
        [MOVE_TIME_READ] = "agent-tells-time",
        [MOVE_SYNC] = "sync",
};

DEFINE_STRING_TABLE(move, MoveKind, MOVE);
