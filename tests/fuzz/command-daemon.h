/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Command's Daemon
 *
 * Stands for the bus and suspendd before suspendctl: takes the place of sd-bus' calls that would wait, and
 * answers, and sends signals, out of the input, until that is over. What suspendctl writes goes nowhere.
 */

#include "input.h"

/* @in and @argv are borrowed until the next call. */
void command_daemon_begin(Input *in, char **argv);

/* Whether @path is one of the arguments, or the end of one. */
bool command_daemon_was_told(const char *path);
