/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Machine Drift
 *
 * The account of how long a machine stood by us, and the telling of its guest by whatever plugins
 * share a page with it. What the report says it was stopped for is what its guest was told, span by
 * span: counted up to where it is known to stand, never twice and never back. A plugin is told through
 * CycleOps, so that tests can listen; without one nothing is told, and the account is kept all the same.
 */

#include "daemon/machine.h"

/* Before it is asked to stand. */
void machine_drift_stopping(Machine *m);

/* It is seen to stand, and that is ours: since m->seen_boottime_ns, unless it stood before. */
void machine_drift_stood(Machine *m);

/* Before it is asked to run, each time. */
void machine_drift_running(Machine *m);

/* A run state was seen, and nothing has been made of it yet: one that runs, or that is not ours, ends the span. */
void machine_drift_saw(Machine *m);

/* Whether it stands by us, and is not on its way back. */
bool machine_drift_is_certain(const Machine *m);

/* It is known to run, and no longer ours: if it was told that it would, and never stood, it is told. */
void machine_drift_ran(Machine *m);

/* What an earlier life noted of it is over: nobody knows when. */
void machine_drift_forget(Machine *m);

/* It runs, and was not held: the host slept, or its clock was set. */
void machine_drift_look(Machine *m);
