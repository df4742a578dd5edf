/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Engine Internals
 *
 * What the parts of the engine (cycle.c, cycle-host.c, machine.c) share and nobody else sees.
 */

#include "daemon/cycle.h"

struct CyclePrivate {
        const CycleOps *ops;
        void *userdata;
        Journal *journal;   /* borrowed */
        JournalNote *notes; /* room for one of each machine: nothing is allocated in a cycle */
        size_t n_notes_max;
        Machine **slots; /* machines by Machine.slot */
        size_t n_slots;
        uint64_t last_step; /* the serial number of the last step */
        unsigned depth;     /* inside how many calls that move machines */
        unsigned n_bugs;    /* NEVER cells that were met */
        size_t n_in[MACHINE_STATE_MAX];
        uint64_t next_number;
        uint64_t rehearse_usec; /* how long the sleep of a rehearsal takes */
        bool is_rehearsal_due;  /* the next SLEEP is a rehearsal's */
        bool is_room_owed;      /* there was none in the journal for a note of each machine */
        bool is_enumerating; /* machines are still being found, or found again: no phase ends by all having done */
        bool is_amended; /* the last cycle's record says less than is known by now */
        bool is_early;   /* cycle_wake_early(), and logind has not said so yet */
        CycleEvent ended_by;

        /* CLOCK_MONOTONIC, 0: none */
        uint64_t announced_usec;
        uint64_t overtake_usec, deadline_usec, wake_usec, restored_usec;
        uint64_t notes_usec; /* when notes, and room for them, that could not be had are tried again */
        unsigned note_tries;
        uint64_t armed_usec;

        ClockSample born;          /* when the engine began */
        ClockSample accounted;     /* up to here, all sleep has been measured */
        uint64_t step_window_usec; /* until then, a step of the host's clock is passed on */
};

void cycle_sample(Cycle *c, ClockSample *ret);
uint64_t cycle_now_usec(Cycle *c);

/* Makes sure that cycle_on_timer() is called at @usec. */
void cycle_arm(Cycle *c, uint64_t usec);

/* Between these, machines are moved; the second looks whether that ends a phase. */
void cycle_enter(Cycle *c);
void cycle_leave(Cycle *c);

/* A clock has been put right again since the last cycle ended: its record is told anew. */
void cycle_amend(Cycle *c);

/* Moves @m to @state in the counts. */
void cycle_count(Cycle *c, Machine *m, MachineState state);

/* A new step's id for @m. */
uint64_t cycle_step(Cycle *c, Machine *m);
/* The machine whose step @id is under way; NULL: late, twice, or never given. */
Machine *cycle_step_machine(Cycle *c, uint64_t id);

/* Writes what the journal shall say of one machine. Returns: 0; the journal's error, and it is tried again. */
int cycle_note(Cycle *c, Machine *m, JournalNoteKind kind);

/*
 * Makes room for notes of @n machines, here and in the journal. What is refused is asked for again, in a while and
 * before the next sleep. Returns: 0; -ENOMEM; the journal's error.
 */
int cycle_reserve_notes(Cycle *c, size_t n);
void cycle_note_later(Cycle *c);

void cycle_milestone(Cycle *c, CycleMilestone milestone, Machine *m);
void cycle_changed(Cycle *c, Machine *m);

/* A machine has come to run that the cycle has not planned for. */
void cycle_on_newcomer(Cycle *c, Machine *m);

Machine *cycle_find_key(Cycle *c, const char *key);
int cycle_insert(Cycle *c, Machine *m);
void cycle_remove(Cycle *c, Machine *m);
