/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Autogroup
 *
 * Where the kernel shares the CPU out among sessions (sched(7), "The autogroup feature"), a nice value counts
 * within a session alone, and that of a service's unit for nothing. Such a group has a nice value of its own.
 */

#include <systemd/sd-event.h>

/*
 * Gives the session of this process, if it leads one, the nice value that it has itself. One below 0 takes
 * RLIMIT_NICE, or CAP_SYS_NICE. The kernel takes one in 0.1 s from all processes together; of one that came
 * too soon it is asked again while the loop runs.
 *
 * Returns: 1; 0 if there is nothing to give, no such group, or it is asked again; -EPERM or another errno, which is
 * logged, too.
 */
int autogroup_take_nice(sd_event *event);
