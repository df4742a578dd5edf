/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Tracer
 *
 * Follows all threads of a process by ptrace(2) and puts a fault in the place of its n-th system call.
 * Only calls at which the fault is possible are counted: from the moment the tracer is attached, or
 * from the process's first epoll_create1() on, before which there is the loader at work alone. It is a child of ours that waits for the tracee alone; what it sees
 * stands in memory that is shared with it.
 */

#include "faults.h"

typedef struct TracerOrder {
        pid_t process;
        Fault fault;
        unsigned nth;    /* counted from 1; UINT_MAX: none */
        bool from_start; /* the process waits before its execve() */
        bool is_lasting; /* for a tenth of a second the calls behind it meet the same fault */
} TracerOrder;

typedef struct TracerReport {
        bool is_ready;
        unsigned n_calls;               /* all that it made */
        unsigned n_possible[FAULT_MAX]; /* at which each fault could have come, since it counts */
        bool is_struck;
        long number; /* of the call that was struck first */
} TracerReport;

typedef struct Tracer {
        pid_t pid;
        TracerReport *shared;
} Tracer;

/* Returns: 0 when all threads are followed; -ESRCH if there is no such process; -EPERM …. */
int tracer_start(Tracer *t, const TracerOrder *order);

/* What it has seen until now. */
TracerReport tracer_report(const Tracer *t);

/* Lets the process go on by itself, if it is still there. Returns: what was seen in the end. */
TracerReport tracer_stop(Tracer *t);
