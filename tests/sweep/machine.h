/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Machine
 *
 * A QEMU as one sees it who stands beside suspendd, by a monitor of its own: whether it runs, and how
 * often it was stopped and run again.
 */

#include "common/macro.h"

typedef struct SweepMachine {
        const char *name;
        int fd;
        char *text; /* what was read and is not a whole line yet */
        size_t n;
        unsigned n_stops, n_resumes;
        char status[32]; /* as it was last asked for */
} SweepMachine;

/* Connects to the monitor at @path, NAME.mon. Returns: 0; a negative errno. */
int sweep_machine_open(SweepMachine *m, const char *path);
void sweep_machine_close(SweepMachine *m);

/* Asks for the run state, and reads all events that came before the answer. Returns: 0; a negative errno. */
int sweep_machine_look(SweepMachine *m);

/* "stop" or "cont", as its user would. Returns: 0; a negative errno. */
int sweep_machine_command(SweepMachine *m, const char *command);
