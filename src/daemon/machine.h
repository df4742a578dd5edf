/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Machine
 *
 * One VM: who it is, what it can do, what its policy is, and where it stands in the cycle at hand.
 * Its behaviour is the table in machine-table.c; this carries out the table's actions through the
 * plugin that announced it. At most one step is under way at a time.
 *
 * A Machine belongs to the Cycle engine and lives from its plugin's machine_add() to its
 * machine_remove(). The fields are read by the bus and the history, and written here alone.
 */

#include "common/list.h"
#include "daemon/correction.h"
#include "daemon/journal.h"
#include "daemon/machine-table.h"
#include "daemon/policy.h"
#include "plugins/plugin-api.h"

typedef struct Cycle Cycle;
typedef struct Machine Machine;
typedef struct Plugin Plugin;

/* One of a machine's corrections. */
typedef struct CorrectionEntry {
        CorrectionCause cause;
        int64_t at_realtime_ns;  /* when it was over; the first: the wake */
        int64_t host_stepped_ns; /* what the host's clock was set by since the one before */
        CorrectionReport report;
} CorrectionEntry;

/* The first one of a cycle, and so many later ones: of more than that, the newest is kept. */
#define CORRECTION_ENTRIES_MAX 5

/* What became of a machine in one cycle. */
typedef struct MachineReport {
        bool is_part;                  /* it was there when the cycle began, or came in time */
        bool could_time;               /* its clock could be read then */
        enum suspendd_act asked;       /* SUSPEND, PAUSE; INVALID: left alone */
        enum suspendd_run_state stood; /* SUSPENDED, PAUSED; UNKNOWN: never seen to stand */
        uint64_t stood_after_usec;     /* from the beginning of the cycle, MONOTONIC */
        uint64_t ran_after_usec;       /* from the wake, MONOTONIC; 0: not seen */
        int64_t stopped_ns; /* from its stand to its running again, as far as it was ours: */
        int64_t seen_ns, unseen_ns; /* its own kernel makes up for the one, and not for the other */
        bool was_woken_late;        /* a late suspend struck and was undone */
        bool is_failed;             /* what was wanted did not come about */
        char why[160];              /* why it was left alone, fell back, or failed */
        CorrectionReport time;      /* the last one */
        CorrectionEntry times[CORRECTION_ENTRIES_MAX];
        unsigned n_times;
} MachineReport;

/* The span that it stands at a time. */
typedef struct MachineStand {
        int64_t since_boottime_ns;   /* 0: it does not stand by us */
        int64_t counted_boottime_ns; /* up to here it is in the report; 0: nothing is */
        int64_t asked_boottime_ns; /* when it was asked to run, if it may be obeying; 0: it was not */
        bool is_seen;              /* it suspended itself, maybe with a pause on top */
        bool is_doubtful;          /* paused, and maybe suspended beneath that */
} MachineStand;

struct Machine {
        List machines; /* in the Cycle's list */
        Cycle *cycle;
        const Plugin *plugin;
        void *vm; /* the plugin's */

        /* identity: an id is a name, made unique among the machines of the day */
        char *id, *name, *uuid, *run, *vmm, *address;
        char key[JOURNAL_KEY_MAX];

        /* what it can do, and what was seen of it */
        char *why_not[SUSPENDD_ACT_MAX];
        char *distrust; /* why it is no longer asked to suspend */
        enum suspendd_run_state run_state;
        char detail[24];          /* the VMM's word for the run state */
        int64_t seen_boottime_ns; /* when it came to be in it */

        /* what is wanted of it */
        Policy policy;
        char *mode_source; /* "default", "FILE:LINE", the plugin's words, "command" */
        char *own_mode;    /* the word of the VM's own definition; NULL: it has none to say */
        char *own_mode_source;

        /* where it stands */
        MachineState state;
        enum suspendd_act plan; /* what to ask for once its clock has been read */
        uint32_t slot;          /* in the engine's table of machines, part of its steps' ids */
        uint64_t step;          /* id of the step under way, or 0 */
        enum suspendd_act step_act;
        uint64_t timer_usec; /* CLOCK_MONOTONIC; 0: none */
        unsigned wake_tries;
        bool is_retry_due;   /* the timer is for asking again, not for an answer */
        bool is_stop_astray; /* a pause was given up, and may be carried out yet */
        bool is_run_astray;  /* the same of a resume or a wake */
        bool is_suspended;   /* it suspended itself, and has not run since; maybe paused on top */
        bool is_from_before; /* noted by an earlier life, and not seen since */
        bool is_time_owed;   /* its clock is to be read once its agent answers */
        bool is_suspend_owed; /* an agent has taken a suspend that we have not seen; it is not asked for another */
        JournalNoteKind noted;       /* what the journal says of it */
        JournalNoteKind note_wanted; /* what it shall say, and will once it can be written */
        MachineStand stand;
        Correction correction;
        CorrectionCause cause;   /* of that one, or the next */
        int64_t host_stepped_ns; /* since the last one */
        MachineReport report;    /* of the cycle at hand, or of the last one */
        bool is_dirty;           /* changed since the bus was told */
};

/* lifetime: machine-info.c */

int machine_new(Cycle *c,
                const Plugin *plugin,
                void *vm,
                const struct suspendd_machine_info *info,
                Machine **ret);
Machine *machine_free(Machine *m);

DEFINE_CLEANUP(Machine *, machine_free);

/* what it is */

/* Takes over what the plugin tells of it. Returns: 0; -ENOMEM, with some of it as before. */
int machine_set_info(Machine *m, const struct suspendd_machine_info *info);
bool machine_can(const Machine *m, enum suspendd_act act);

/* The page that is shared with its guest, borrowed until the next call; NULL: none is. */
const char *machine_page(const Machine *m);
/* What its guest answers by that. Returns: 1; 0 if it has not. */
int machine_answer(const Machine *m, struct suspendd_answer *ret);

/* Whether the machine stands because of us. */
bool machine_is_held(const Machine *m);

/*
 * What would be done with it if the host slept now: SUSPEND, PAUSE, or INVALID if nothing. The reason
 * for it not being the best in words, or an empty string, in the @size > 4 bytes at @why.
 */
enum suspendd_act machine_plan(const Machine *m, char *why, size_t size);

/* what happens to it: machine.c */

/* Puts its clock right, for a reason of its own; one that is under way begins anew and keeps its own. */
void machine_correct_for(Machine *m, CorrectionCause cause, int64_t host_stepped_ns);

/* Feeds the table: the next state, its actions, the trace line. */
void machine_handle(Machine *m, MachineEvent event);

/* A run state was seen; turned into an event of the table. */
void machine_on_state(
                Machine *m, enum suspendd_run_state state, const char *detail, int64_t boottime_ns);

/* A step has ended, by the plugin's word. */
void machine_on_answer(Machine *m, int result, const char *why);
void machine_on_time(Machine *m, const struct suspendd_time *t);

/* The timer is due. */
void machine_on_timer(Machine *m);
