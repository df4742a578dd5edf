/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Fake Engine
 *
 * Machines that do as their names say, behind the same headers as the real engine, so that the
 * bus interface above it is the real one: two good ones, one that calls itself things that no
 * terminal should see, one that blocks. A rehearsal tells all its milestones at once and ends when
 * its time is over; a machine of mode suspend that has no agent fails.
 */

#include "daemon/manager.h"

/* Makes the Manager, with @n_more machines more, connected to the system bus. */
int fake_manager_new(size_t n_more, Manager **ret);
