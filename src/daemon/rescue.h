/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Rescue
 *
 * What is left to do where the daemon cannot be started: runs the machines that the journal names, by the
 * same engine and rules as the daemon's own start, with as little as that takes: no bus name, no lock, no
 * history, no configuration that must be right. Each plugin has a process of its own, so that one
 * that is missing or crashes costs no other's machines anything.
 */

#include "daemon/manager.h"

/*
 * The file in the runtime directory in which the daemon keeps the configuration that it holds machines by:
 * the one of today may be what it cannot be started with, or may no longer tell where they are.
 */
#define RESCUE_CONFIG "rescue.conf"

/*
 * Runs all that is held, waiting for the host to be awake. Returns: 0 if nothing is held any more, or a daemon
 * is at work; 1 if something still is.
 */
int rescue_run(const ManagerOptions *options);

/*
 * Opens the journal at @journal, which a rescue holds: ends it, at any instant, for what it has not done is the
 * daemon's to do. Waits for two seconds at most.
 *
 * Returns: 0; -EBUSY if it is no rescue that holds it, as is seen in half a second, or it does not end; what
 * journal_open() returns.
 */
int rescue_end(const char *runtime_dir, const char *journal, Journal **ret);
