/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Sleep Doubt
 *
 * Whether a sleep is still under way though nobody says that it is over: no, once logind prepares
 * nothing and none of systemd's sleep services is at work, for as long as wanted. Once the host has slept,
 * a plain suspend is over as well while its service still runs hooks. There is a timer, and there are
 * questions on the bus, only while in doubt.
 */

#include <systemd/sd-bus.h>
#include "common/macro.h"

typedef struct SleepDoubt SleepDoubt;
typedef void (*SleepDoubtFn)(void *userdata);
/* Returns: whether it is so; else it is asked on. */
typedef bool (*SleepDoubtWokeFn)(void *userdata);

/* lifetime */

int sleep_doubt_new(
                sd_bus *bus,
                SleepDoubtFn on_not_sleeping,
                SleepDoubtWokeFn on_woke,
                void *userdata,
                SleepDoubt **ret);
SleepDoubt *sleep_doubt_free(SleepDoubt *d);

DEFINE_CLEANUP(SleepDoubt *, sleep_doubt_free);

/* the doubt */

/* Whether logind is on the bus to be asked. One that is not prepares nothing. */
void sleep_doubt_set_present(SleepDoubt *d, bool present);

/*
 * Asks until the answer has been no for @patience_usec without a break, and for 100 ms at least, as a
 * service whose start was asked for just now is not yet starting; then on_not_sleeping() is called
 * once. While in doubt already, less patience shortens it.
 */
void sleep_doubt_begin(SleepDoubt *d, uint64_t patience_usec);

/*
 * The same, and the clocks say that the host has slept since it was announced: where what is at work is
 * systemd-suspend.service alone, and as systemd has it, on_woke() is called, again and again until it agrees.
 */
void sleep_doubt_slept(SleepDoubt *d, uint64_t patience_usec);

void sleep_doubt_end(SleepDoubt *d);
