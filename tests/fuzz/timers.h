/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Timers
 *
 * Stand where sd-event's relative ones would, by the linker's --wrap, so that no time passes in a target: each is
 * held here, and is due when the input says so, be it before one that was to come earlier.
 */

#include "input.h"

/* Makes one of those that wait due at the loop's next turn. */
void timers_fire(Input *in);

void timers_done(void);
