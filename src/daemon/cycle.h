/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Cycle Engine
 *
 * One host sleep after another: feeds the cycle table, carries out its actions, and owns the
 * machines. It knows neither bus nor event loop: what happens comes in by calls, what it wants done
 * goes out by CycleOps, and time is one deadline that its owner arms. So tests can run it through
 * millions of sleeps by a clock of their own.
 */

#include "common/clock-sample.h"
#include "daemon/budget.h"
#include "daemon/clock-watch.h"
#include "daemon/cycle-table.h"
#include "daemon/journal.h"
#include "daemon/machine.h"

typedef enum CycleKind {
        CYCLE_KIND_SLEEP,
        CYCLE_KIND_REHEARSAL,
        CYCLE_KIND_UNANNOUNCED, /* the host slept and nobody told us before */
        CYCLE_KIND_RECOVERY,    /* begun by an earlier life of the daemon */
        CYCLE_KIND_MAX,
        CYCLE_KIND_INVALID = -EINVAL,
} CycleKind;

typedef enum CycleMilestone {
        CYCLE_STARTED,       /* the record has number, id, kind */
        CYCLE_MACHINE_STOOD, /* of one machine: m is given */
        CYCLE_LOCK_RELEASED,
        CYCLE_WOKE,
        CYCLE_MACHINE_RAN,
        CYCLE_FINISHED, /* the record is whole */
        CYCLE_AMENDED,  /* a clock has been put right again since then; the record says so */
        CYCLE_MILESTONE_MAX,
        CYCLE_MILESTONE_INVALID = -EINVAL,
} CycleMilestone;

/* The cycle at hand, or the last one. Spans in µs count from the beginning, MONOTONIC. */
typedef struct CycleReport {
        uint64_t number; /* 0: there has been none */
        char id[33];     /* 128 random bits in hex */
        CycleKind kind;
        Budget budget;
        uint64_t delay_max_usec;
        ClockSample began, released, woke;
        bool is_released, is_woken, is_overdue; /* overdue: the lock went by the deadline */
        uint64_t released_after_usec;
        int64_t slept_before_ns; /* of slept_ns, before this life of the daemon */
        int64_t slept_ns;
        int64_t stepped_ns; /* of the host's wall clock, from the beginning to the wake */
        bool host_slept;
        const char *slept_doubt; /* why slept_ns may not be how long it was, in words; NULL: it is */
        SuspendStats stats_before, stats_after;
        const char *ended; /* "woke", "failed", "lost" (logind never said), "shutdown", "stopped", "interrupted" */
        uint64_t finished_after_usec;
} CycleReport;

typedef struct CycleOps {
        void (*now)(void *userdata, ClockSample *ret);
        /* One of the clocks alone, CLOCK_MONOTONIC or CLOCK_BOOTTIME, in ns: asked for with each event. */
        int64_t (*clock)(void *userdata, int clock);
        void (*stats)(void *userdata, SuspendStats *ret);
        void (*take_lock)(void *userdata);
        void (*let_go)(void *userdata);
        /* To be called back by cycle_on_timer() at @usec of CLOCK_MONOTONIC; USEC_INFINITY: no more. */
        void (*arm)(void *userdata, uint64_t usec);
        void (*on_milestone)(void *userdata, CycleMilestone milestone, Machine *m);
        void (*on_machine_added)(void *userdata, Machine *m);
        void (*on_machine_removed)(void *userdata, Machine *m);
        void (*on_machine_changed)(
                        void *userdata, Machine *m); /* m->is_dirty was false until now */
        /*
         * The policy of a machine, and what is remembered of it (m->distrust); at its announcement, and
         * when the VM's own definition says something else.
         */
        void (*fill_policy)(void *userdata, Machine *m);
        void (*on_distrust)(void *userdata, Machine *m);
        /* Whether the machine with this machine_key(), which is not announced, has ended for certain. */
        bool (*has_ended)(void *userdata, const char *key);
        /* A plugin's keep_fd() and drop_fd(); NULL: nobody keeps anything. */
        int (*keep_fd)(void *userdata, const Plugin *p, const char *name, int fd);
        void (*drop_fd)(void *userdata, const Plugin *p, const char *name);
        void (*on_enumerated)(void *userdata); /* a plugin has looked at all that it was told of */
        /* A plugin's answer to store_mode(). */
        void (*on_stored)(
                        void *userdata,
                        const Plugin *p,
                        uint64_t request,
                        int result,
                        const char *why);
        void (*on_trouble)(void *userdata, const Plugin *p); /* p->trouble has changed */
        /* Tells a machine's guest, by all plugins that can; called only if Cycle.has_drift. */
        void (*drift)(void *userdata, const struct suspendd_drift *drift);
        /* What its guest answers, and the page that is shared with it; likewise. Returns: 1; 0 if there is none. */
        int (*answer)(void *userdata, const Machine *m, struct suspendd_answer *ret);
        const char *(*page_name)(void *userdata, const Machine *m);
} CycleOps;

struct Cycle {
        CycleState state;
        CycleReport report;
        List machines;
        size_t n_machines;
        uint64_t delay_max_usec; /* as last read */
        uint64_t cap_usec;       /* from the configuration, as the next two */
        unsigned suspend_share;
        uint64_t time_limit_usec;
        bool has_drift; /* a plugin tells guests what their clocks lack */
        struct CyclePrivate *private;
};

/* lifetime */

int cycle_new(const CycleOps *ops,
              void *userdata,
              Journal *journal,
              uint64_t next_number,
              Cycle **ret);
Cycle *cycle_free(Cycle *c);

DEFINE_CLEANUP(Cycle *, cycle_free);

/* The host table for plugins, to be given to plugin_load() with @c as the owner; its event loop is the caller's to set. */
struct suspendd_host cycle_host(void);

/* what happens */

void cycle_handle(Cycle *c, CycleEvent event);

/*
 * The host is awake after the one sleep of a plain suspend; a CYCLE_EVENT_WAKE follows when its hooks are done, and
 * logind gives no lock before that. VMMs of users may be frozen until then: none is given up.
 */
void cycle_wake_early(Cycle *c);

void cycle_set_delay_max(Cycle *c, uint64_t usec);

/* Begins a rehearsal whose sleep takes @for_usec. Returns: 0; -EBUSY in a cycle, or while logind is still in one. */
int cycle_rehearse(Cycle *c, uint64_t for_usec);

/*
 * Up to when all sleep of the host has been measured: since the engine began, or the last cycle ended. What an
 * earlier life knew may be told before machines are; once these are known, what the host has slept since then is
 * an unannounced sleep. One that cannot be is left out.
 */
const ClockSample *cycle_accounted(const Cycle *c);
void cycle_set_accounted(Cycle *c, const ClockSample *accounted);

/*
 * The clock watch has fired: an unannounced sleep is made up for; after a step of the host's wall
 * clock, the clocks that were corrected by it are looked at once more.
 */
void cycle_on_clock_jump(Cycle *c, int64_t stepped_ns);

void cycle_on_timer(Cycle *c);

/* All plugins have looked at all that they were told of: what is noted and has ended is forgotten. */
void cycle_on_enumerated(Cycle *c);

/* The same at any time, of those that went out of reach while they were held. */
void cycle_forget_ended(Cycle *c);

/* Corrects a machine's clock now. Returns: 0; -EOPNOTSUPP if it cannot; -EBUSY in a cycle. */
int cycle_sync(Cycle *c, Machine *m);

/* what is there */

Machine *cycle_find(Cycle *c, const char *id);
/* How many machines stand because of us, or are on the way there or back. */
size_t cycle_n_held(const Cycle *c);

/* Whether somebody waits for us: logind for its lock, or a machine for being run again. */
bool cycle_is_urgent(const Cycle *c);

/* The cycle's record for the history: one JSON object, to be freed by the caller. */
char *cycle_record(const Cycle *c);

DECLARE_STRING_TABLE(cycle_kind, CycleKind);
