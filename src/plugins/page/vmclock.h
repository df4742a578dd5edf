/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * VMClock Part
 *
 * The first bytes of a page, by VMClock's published rules: a page that claims no time of its own (no
 * counter, status unknown), whose disruption marker moves when the guest's clocks have been disrupted.
 * Where the relation of the guest's counter to UTC is known, the time is filled in on top of this.
 */

#include <stdbool.h>
#include "common/page-layout.h"

/*
 * All of the part. @notifies: something tells the guest of changes (an ACPI table that sends Notify; a
 * driver that finds the flag set and no such thing refuses the page). @sequence is even.
 */
void vmclock_compose(
                VmclockPage *ret, uint32_t sequence, uint64_t disruption_marker, bool notifies);
