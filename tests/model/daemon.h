/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Model Daemon
 *
 * What the two halves of the model's daemon, daemon-machine.c and daemon-cycle.c, share.
 */

#include "model.h"

void daemon_enter(Play *p);
void daemon_leave(Play *p);
void daemon_note(Play *p, unsigned i, JournalNoteKind kind);
void daemon_on_newcomer(Play *p, unsigned i);
void daemon_machine_handle(Play *p, unsigned i, MachineEvent event);
