/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A Vm's Host
 *
 * The core and the Entry around one Vm, which do what the input says, also in the middle of whatever they are
 * called for (but for log() and is_told(), which only look), and hold the Vm to what plugin-api.h promises: each
 * step is answered at most once, not from within the act nor after its cancel or the machine's end; a
 * machine stays who it is; one whose VMM lives is not removed but out of reach; nothing is heard of a Vm that
 * is gone. There is one Host at a time.
 */

#include "input.h"
#include "plugins/qmp/vm.h"

/* lifetime */

/* Takes over @fd. @agent_path is borrowed. */
void vm_host_begin(int fd, const char *name, const char *agent_path);
void vm_host_end(void);

/* The Vm is freed; there is nothing more to do. */
bool vm_host_is_over(void);

/* what happens */

/* Runs the loop until nothing moves. */
void vm_host_turn(void);

/* An act is asked for; a step is cancelled. */
void vm_host_act(Input *in);
void vm_host_cancel(Input *in);

/* In one of the next calls to it the host acts, cancels or frees. */
void vm_host_meddle(Input *in);

/* What it will answer to machine_add() and is_told(). */
void vm_host_opine(Input *in);

/* The Entry looks for the agent, or frees the Vm: lost, abandoned or as if its VMM had ended. */
void vm_host_own(Input *in);
