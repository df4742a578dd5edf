/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Memory That May Go
 *
 * A device can be unplugged, a file truncated, while it is mapped: a touch of it is a SIGBUS then.
 */

/*
 * Calls @act with @data. Not to be nested; @act may hold nothing that would have to be given back.
 * Returns: 0; -EFAULT if it touched memory that is gone, at which point it ended.
 */
int memory_touch(void (*act)(void *data), void *data);
