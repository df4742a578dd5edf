/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * This Machine's Clocks
 *
 * Read as the ledger wants them, stepped by an offset, and watched for whoever else sets them.
 */

#include "guest/ledger.h"

/* Reads the clocks; late_ns is the caller's. */
void clock_read(GuestClocks *ret);

/*
 * Steps CLOCK_REALTIME by @ns, without any absolute time: what it was off before it is off after.
 * Returns: 0; -EPERM without CAP_SYS_TIME; another errno.
 */
int clock_step(int64_t ns);

/*
 * A descriptor that is readable after each setting of CLOCK_REALTIME, and after a suspend; it wakes
 * nobody otherwise. Returns: it; a negative errno.
 */
int clock_watch_open(void);

/* Makes it wait for the next one. */
void clock_watch_rearm(int fd);
