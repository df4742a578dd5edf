/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Engine Rig
 *
 * The real engine and the fake plugin under a clock of our own, with what stands around them: logind
 * (an announced sleep, the delay lock, its limit), the host's clocks, the kernel's count of sleeps.
 * After each thing that happens the promises are looked at that hold at any time; the first that is
 * broken stays in Rig.fault. Nothing here takes real time.
 */

#include "daemon/cycle-internal.h"
#include "daemon/plugin.h"
#include "fake-plugin.h"

#define RIG_MACHINES_MAX 4

typedef struct RigOptions {
        const char *journal_path; /* NULL: no journal */
        uint64_t delay_max_usec;
        uint64_t time_limit_usec; /* 0: as the engine has it */
} RigOptions;

typedef struct RigPolicy {
        const char *name;
        Policy policy;
} RigPolicy;

typedef struct Rig {
        RigOptions options;
        FakeWorld world;
        ClockSample clock;
        Journal *journal;
        Cycle *cycle;
        Plugin *plugin;
        RigPolicy policies[RIG_MACHINES_MAX];

        /* logind and the kernel, as the engine sees them */
        bool is_announced, is_awake /* from an announced sleep */, is_locked, is_lock_wanted,
                        is_quitting;
        uint64_t announced_usec;
        uint64_t limit_told_usec; /* when InhibitDelayMaxSec was changed last */
        SuspendStats stats;

        /* what the engine has done */
        uint64_t armed_usec;
        unsigned n_milestones[CYCLE_MILESTONE_MAX];
        unsigned n_distrusted, n_changed;
        uint64_t locked_usec, released_usec; /* when the lock was taken or let go last */
        ClockSample accounted; /* by then, as the manager keeps it for its next life */
        CycleReport finished;  /* of the cycle that ended last */
        char *record;          /* of the same, if wanted */
        bool wants_records;

        /* a crash: after so many more calls from the engine nothing that it does has any effect */
        long fuse;      /* 0: none */
        long next_fuse; /* the same for the next start */
        bool is_dead;

        char fault[160];
} Rig;

/* lifetime */

void rig_init(Rig *r, const RigOptions *options);
void rig_done(Rig *r);

/* A machine that will have this policy; start it by fake_vm_start(). */
FakeVm *rig_add(Rig *r, const char *name, const Policy *policy);
Machine *rig_machine(Rig *r, const FakeVm *vm);

/* The engine ends without a word; another one starts, on the same journal and machines. */
void rig_crash(Rig *r);
void rig_start(Rig *r);

/* what happens */

void rig_sleep(Rig *r); /* logind announces it, or says it again */
void rig_sleep_dead(
                Rig *r,
                uint64_t slept_usec);       /* the host has slept, and no engine lives to see it */
void rig_wake(Rig *r, uint64_t slept_usec); /* and says that it is over, after so much sleep */
/* The host is awake after so much sleep; whether the engine learns of it before it is told: only of a plain suspend. */
void rig_wake_early(Rig *r, uint64_t slept_usec);
void rig_not_sleeping(Rig *r); /* it was given up, and nobody said so */
void rig_handle(Rig *r, CycleEvent event);
void rig_jump(Rig *r,
              uint64_t slept_usec,
              int64_t stepped_ns); /* unannounced, or the clock is set */
void rig_delay_max(Rig *r, uint64_t usec);
void rig_answer(Rig *r);
void rig_lose(Rig *r, FakeVm *vm); /* it is out of the plugin's reach, and found again */

/* Goes to whatever is due next and does it. Returns: false if nothing is. */
bool rig_next(Rig *r);
/* Lets @usec go by, and all that is due on the way. */
void rig_pass(Rig *r, uint64_t usec);

uint64_t rig_now_usec(const Rig *r);

/*
 * The host is awake and every machine answers: lets everything come to rest, and looks at the
 * promises that hold at the end.
 */
void rig_settle(Rig *r);

/* Looks at the promises that hold at any time. */
void rig_check(Rig *r);
void rig_fault(Rig *r, const char *format, ...) _printf_(2, 3);
