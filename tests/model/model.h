/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Model
 *
 * The daemon, its journal and the world around them, so small that each state they can come to is
 * looked at: a State is a few bytes, without a clock, and there are finitely many of it. The daemon
 * (daemon.h) follows the engine's own tables, which it is linked with, and carries out their actions
 * as machine.c and cycle.c do; test-same.c holds it against those, step by step. The world (world.c)
 * is whatever may happen: VMMs that answer late or never, agents that suspend when nobody waits any
 * more, users, a daemon that dies between any two of its effects. explore.h goes through it all.
 *
 * What is promised is in promises.c. mistakes.h has what the promises are known to catch.
 */

#include "daemon/cycle-table.h"
#include "daemon/journal.h"
#include "daemon/machine-table.h"
#include "mistakes.h"
#include "plugins/plugin-api.h"

#define MODEL_VMS_MAX 2
#define MODEL_QUEUE_MAX 2

/* Who stopped a VM. */
#define BY_US 1
#define BY_OTHERS 2

/* A command in a monitor's channel: the act, and these. */
#define COMMAND_ACT 0x0f
#define COMMAND_STEP 0x10     /* the daemon waits for its answer */
#define COMMAND_ANSWERED 0x20 /* answered, and still to be carried out */

#define STEP_NONE 0xff /* an act otherwise */

/* What is in an agent's channel. */
typedef enum ModelAgent {
        AGENT_NOTHING,
        AGENT_ASKED,     /* to suspend, and somebody waits for the answer */
        AGENT_ASKED_OLD, /* the same, by a daemon that is gone */
        AGENT_TOOK,      /* it will suspend */
} ModelAgent;

/* A machine as the daemon has it; all zero and unknown while it runs not. */
typedef struct ModelMachine {
        uint8_t is_known;
        uint8_t state; /* MachineState */
        uint8_t run_state;
        uint8_t step; /* an act, or STEP_NONE */
        uint8_t asked, stood;
        uint8_t noted; /* HELD stands for PAUSED and SUSPENDED as well, which differ in time alone */
        uint8_t is_suspend_owed, is_stop_astray, is_run_astray;
        uint8_t is_from_before, is_retry_due, is_timer_armed;
        uint8_t could_time, is_time_known;
} ModelMachine;

/* A VM as it is. */
typedef struct ModelVm {
        uint8_t is_here, is_paused, is_suspended, is_in_error, has_agent;
        uint8_t paused_by, suspended_by;
        uint8_t n_monitor, monitor[MODEL_QUEUE_MAX];
        uint8_t agent;
        uint8_t note, has_stale_note; /* what the journal says of it, and of an earlier one of its name */
        /* what the daemon cannot know, so that it is not blamed for it */
        uint8_t is_asked;  /* it was asked to stop, and may obey yet */
        uint8_t is_owed;   /* its agent took a suspend, and was not seen to do it */
        uint8_t is_unsure; /* an answer that it does not get says whether a pause is still to come */
        uint8_t is_murky;  /* others touched it while a stop of ours was under way */
        uint8_t is_doubtful; /* a daemon died on it: what it wrote that it would do, it may have done */
        ModelMachine m;
} ModelVm;

typedef enum ModelKind {
        KIND_SLEEP,
        KIND_REHEARSAL,
        KIND_OTHER, /* unannounced, or begun by an earlier life */
} ModelKind;

typedef struct State {
        /* the daemon's cycle */
        uint8_t is_alive, cycle, kind, is_enumerating, is_released, is_quitting;
        uint8_t is_overtake_armed, is_deadline_armed, is_wake_armed, is_restored_armed;
        uint8_t budget; /* 0: no budget runs; 1: suspends have time; 2: they have none; then it is over */
        uint8_t depth;
        /* logind */
        uint8_t is_announced, is_locked, is_lock_wanted;
        uint8_t is_forgotten; /* it knows no more of what it announced, and the daemon does not know that */
        uint8_t waited; /* since the announcement, in steps of the budget: at 2 it is over */
        /* the machines; what they are like does not change */
        uint8_t n_vms, is_relative, is_stacking;
        ModelVm vms[MODEL_VMS_MAX];
} State;

/* One move played: the state, and what came of it. */
typedef struct Play {
        State s;
        Mistake mistake;
        unsigned n_effects; /* what of the daemon can be seen from outside */
        unsigned fuse;      /* it dies before this effect of it; 0: it does not */
        bool is_dead;
        const char *fault; /* the first promise that was broken */
} Play;

/* what may happen */

typedef enum MoveKind {
        MOVE_SLEEP,        /* logind announces a sleep, or says so again */
        MOVE_WAKE,         /* and that it is over */
        MOVE_FORGET,       /* logind is restarted amidst one, and tells nobody */
        MOVE_NOT_SLEEPING, /* which is found out */
        MOVE_WOKE,         /* a plain suspend is over, and its hooks are at work */
        MOVE_UNANNOUNCED,  /* the host has slept, and nobody says so */
        MOVE_TIME,         /* a part of the budget goes by */
        MOVE_RESTORED,     /* the time to restore is over */
        MOVE_REHEARSE,
        MOVE_REHEARSED, /* the rehearsal's sleep is over */
        MOVE_SHUTDOWN,
        MOVE_QUIT,
        MOVE_CRASH,
        MOVE_START,
        /* of one VM each */
        MOVE_CARRY_OUT, /* its VMM carries out the oldest command, and answers */
        MOVE_ANSWER,    /* answers that, and carries it out later */
        MOVE_REFUSE,
        MOVE_TAKE,         /* its agent takes the suspend */
        MOVE_AGENT_REFUSE, /* or does not */
        MOVE_STRIKE,       /* what it has taken strikes */
        MOVE_FIZZLE,       /* or never will */
        MOVE_USER_PAUSE,
        MOVE_USER_RESUME,
        MOVE_GUEST_SUSPEND,
        MOVE_GUEST_WAKE,
        MOVE_ERROR,
        MOVE_END,
        MOVE_BEGIN, /* another VMM under the same name */
        MOVE_LOSE,  /* out of the daemon's reach and back */
        MOVE_AGENT_TOGGLE,
        MOVE_TIMER,     /* the machine's timer is due */
        MOVE_TIME_READ, /* its agent tells the time */
        MOVE_SYNC,      /* somebody has its clock put right */
        MOVE_MAX,
        MOVE_INVALID = -EINVAL,
} MoveKind;

typedef struct Move {
        uint8_t kind, vm, fuse;
} Move;

DECLARE_STRING_TABLE(move, MoveKind);

static inline bool move_is_of_vm(MoveKind kind) {
        return kind >= MOVE_CARRY_OUT;
}

/* world.c */

void world_init(State *s, unsigned n_vms, bool is_relative, bool is_stacking);

/* Plays a move, by the daemon's death amidst it if @move says so. Returns: false if it cannot happen. */
bool world_play(Play *p, Move move);

/* What the daemon's commands do to a VM: called by the daemon. Returns: whether there was room. */
bool world_send(Play *p, unsigned i, enum suspendd_act act);
/* The daemon no longer waits for the step. */
void world_cancel(Play *p, unsigned i, uint8_t act);
/* The daemon comes to know the VM. */
void world_announce(Play *p, unsigned i);
enum suspendd_run_state world_run_state(const ModelVm *vm);
bool world_is_pause_queued(const ModelVm *vm);
void world_grant(State *s);

/* promises.c */

/* Looks at what holds at any time. */
void promise_check(Play *p);
/* Whether the VM may be asked so now. */
void promise_judge(Play *p, const ModelVm *vm, enum suspendd_act act);
/* From here on all cooperate: looks at what everything comes to. @strikes: also an agent that is late. */
void promise_settle(const Play *from, bool strikes, Play *ret);

void play_fault(Play *p, const char *fault);

/* daemon-cycle.c, daemon-machine.c */

void daemon_start(Play *p);
void daemon_crash(Play *p);
void daemon_handle(Play *p, CycleEvent event);
void daemon_rehearse(Play *p);
void daemon_budget_over(Play *p); /* a part of it: see State.budget */
void daemon_add(Play *p, unsigned i);
void daemon_remove(Play *p, unsigned i);
void daemon_on_state(Play *p, unsigned i, enum suspendd_run_state state);
void daemon_on_answer(Play *p, unsigned i, int result);
void daemon_on_time(Play *p, unsigned i);
void daemon_on_timer(Play *p, unsigned i);
void daemon_sync(Play *p, unsigned i);
/* Whether its act may have an effect; if not, the daemon is dead. */
bool daemon_effect(Play *p);
