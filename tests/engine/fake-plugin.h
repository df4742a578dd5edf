/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Fake Plugin
 *
 * A plugin by the real contract whose machines live in memory. A FakeWorld holds the machines and a
 * clock; it outlives the plugin's instance, as VMs outlive the daemon, so that an engine can be
 * stopped at any point and another one started on the same machines. There is one world at a time,
 * given by fake_world_use() before the plugin is opened.
 *
 * Each machine has two channels, a monitor's (pause, resume, wake) and an agent's (suspend, the
 * clock), that carry out commands in order, as QEMU's do: what is stuck is carried out before what
 * came later, whether or not anyone still waits for it. The agent answers only while the guest runs.
 * How each act is answered is a FakeAnswer. Answers are always given, also to steps that are over, for
 * those must do nothing.
 *
 * A machine keeps testimony of who stopped it, and of acts that no engine should have sent.
 */

#include "common/clock-sample.h"
#include "common/list.h"
#include "common/macro.h"
#include "plugins/plugin-api.h"

#define FAKE_RUN_MAX 48
#define FAKE_QUEUE_MAX 32

/* What the plugin is called; as another's name, it stands in for that one. */
#ifndef FAKE_NAME
#define FAKE_NAME "fake"
#endif

typedef enum FakeAnswer {
        FAKE_NOW,    /* carried out and answered within the call */
        FAKE_LATER,  /* after latency_usec */
        FAKE_NEVER,  /* stuck, with all that comes after it, until fake_vm_answer() */
        FAKE_TWICE,  /* as LATER, and answered once more */
        FAKE_ERROR,  /* answered with an error after latency_usec, and not carried out */
        FAKE_REFUSE, /* the call itself fails */
        FAKE_LIE,    /* answered 0 after latency_usec, and not carried out */
        FAKE_LATE,   /* answered 0 after latency_usec, carried out late_usec after that */
        FAKE_BOUNCE, /* as LATER, and undone by the guest itself late_usec after that */
        FAKE_ANSWER_MAX,
} FakeAnswer;

/* Who stopped a machine; may be both. */
enum {
        FAKE_BY_US = 1 << 0,
        FAKE_BY_OTHERS = 1 << 1,
};

typedef struct FakeWorld FakeWorld;
typedef struct FakeVm FakeVm;

typedef struct FakeCommand {
        enum suspendd_act act;
        uint64_t step;
        int64_t lead_ns;
        int64_t sent_realtime_ns;
        uint64_t due_usec;
        FakeAnswer answer;
        bool is_answered; /* carried out later than that */
} FakeCommand;

typedef struct FakeChannel {
        FakeCommand commands[FAKE_QUEUE_MAX];
        size_t n;
} FakeChannel;

/* What the guest makes of what it is told, by a program of its own. */
typedef struct FakeReader {
        bool is_there;
        bool is_stuck;      /* it has answered once, and does not any more */
        bool is_guarding;   /* it applies nothing to a clock that somebody has set meanwhile */
        uint64_t late_usec; /* how long after it was told */
        int64_t error_ns;   /* of what it applies */
} FakeReader;

/* A page by the rules for drift(): spans are counted once, whatever is told twice, and by whom. */
typedef struct FakePage {
        bool is_missing; /* nothing is shared with it */
        unsigned n_told[SUSPENDD_DRIFT_MAX];
        struct suspendd_drift told; /* the last; its strings are not */
        int64_t counted_boottime_ns, stood_boottime_ns;
        int64_t unseen_ns, seen_ns;
        bool has_gap; /* an engine has ended, or lost sight of it, in the midst of something */
        bool is_due;  /* a stop of ours was asked for or carried out that no RAN has been told of */
        FakeReader reader;
        struct suspendd_answer answer;
        int64_t taken_ns;  /* of unseen_ns, by the reader */
        uint64_t due_usec; /* when it has taken note; 0: it has, or never will */
        unsigned n_sets;   /* set_time acts up to then */
} FakePage;

struct FakeVm {
        List vms;
        FakeWorld *world;
        char name[32];
        unsigned run;                     /* which start of its VMM */
        struct suspendd_machine *machine; /* NULL: not announced */

        /* how it behaves */
        FakeAnswer answers[SUSPENDD_ACT_MAX];
        const char *why_not[SUSPENDD_ACT_MAX];
        char mode[16];              /* what its own definition says; empty: nothing */
        char process[FAKE_RUN_MAX]; /* its VMM, "PID.STARTTIME"; empty: of none */
        FakeAnswer store;           /* to having it written: NOW, LATER, NEVER, ERROR, REFUSE */
        uint64_t latency_usec, late_usec;
        bool is_stacking; /* a pause goes on top of a suspend (QEMU >= 9) */
        bool is_shy;      /* announced without a run state: fake_vm_tell() tells it */
        int64_t rtt_ns, set_error_ns;

        /* what it is */
        bool is_here, is_paused, is_suspended, is_in_error;
        enum suspendd_run_state told;
        int64_t offset_ns;              /* its wall clock against the host's, while it runs */
        int64_t held_since_boottime_ns; /* its clock lacks what has gone by since; 0: it runs */
        int64_t lost_ns;                /* all that its clock has lacked so far, but for that */
        FakePage page;
        unsigned n_strikes;   /* suspends that were taken and are still to be carried out */
        uint64_t strike_usec; /* the first of them strikes then; 0: there is none */
        uint64_t bounce_usec;
        FakeChannel monitor, agent;
        uint64_t store_request, store_due_usec; /* 0: none */
        char store_mode[16];

        /* testimony */
        unsigned paused_by, suspended_by;
        bool is_asked;   /* asked to stop by us, and not seen to run by itself or by us since */
        unsigned n_owed; /* suspends that were taken and have not been seen */
        bool is_touched; /* others had a hand in it at all */
        bool is_murky;   /* others touched it while a stop of ours was under way: nobody can tell */
        bool is_stop_astray; /* a pause was given up, and nothing after it has been answered */
        uint64_t step;       /* the one that is neither answered nor cancelled */
        enum suspendd_act step_act;
        unsigned n_acts[SUSPENDD_ACT_MAX];
        int64_t last_lead_ns;
        const char *trespass; /* the first act that should not have been sent */
};

struct FakeWorld {
        List vms;
        void (*now)(void *userdata, ClockSample *ret);
        void (*arm)(void *userdata);      /* something may be due earlier; may be NULL */
        bool (*is_alive)(void *userdata); /* whether acts still reach the machines; may be NULL */
        /* settings, and the end of the instance; may be NULL */
        int (*load)(FakeWorld *w, const struct suspendd_setting *settings, size_t n_settings);
        int (*notify)(FakeWorld *w, const char *event, const char *name);
        void (*detach)(FakeWorld *w);
        void *userdata;
        const struct suspendd_host *host; /* of the instance that is attached; NULL: none */
};

/* the world */

void fake_world_use(FakeWorld *w);
void fake_world_done(FakeWorld *w);

/* When something is due next on CLOCK_MONOTONIC; UINT64_MAX: nothing is. */
uint64_t fake_world_next(const FakeWorld *w);

/* Does what is due. */
void fake_world_run(FakeWorld *w);

/* machines */

/* A machine that is not there yet: set how it behaves, then fake_vm_start(). */
FakeVm *fake_vm_new(FakeWorld *w, const char *name);

/* Its VMM starts, and is announced if a plugin is attached; ends; is out of reach for the plugin. */
void fake_vm_start(FakeVm *vm);
void fake_vm_end(FakeVm *vm);
void fake_vm_lose(FakeVm *vm);
void fake_vm_find(FakeVm *vm);

/* Tells what it is (and can) to the attached plugin's host. */
void fake_vm_tell(FakeVm *vm);
void fake_vm_change(FakeVm *vm);
enum suspendd_run_state fake_vm_state(const FakeVm *vm);
int64_t fake_vm_clock_offset_ns(const FakeVm *vm);
/* How long its clock has stood, by whomever. */
int64_t fake_vm_lost_ns(const FakeVm *vm);

/* What happens to it without us; each returns whether there was anything to it. */
bool fake_vm_answer(FakeVm *vm); /* all that is pending is carried out and answered */
bool fake_vm_strike(FakeVm *vm); /* the suspend that was taken */
bool fake_vm_user_pause(FakeVm *vm);
bool fake_vm_user_resume(FakeVm *vm);
bool fake_vm_fail(FakeVm *vm); /* an I/O error stops it */
bool fake_vm_guest_suspend(FakeVm *vm);
bool fake_vm_guest_wake(FakeVm *vm);

extern const struct suspendd_plugin fake_plugin;
