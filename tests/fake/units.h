/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Fake Units
 *
 * As much of org.freedesktop.systemd1 as one needs to ask whether a sleep job is running: GetUnit,
 * LoadUnit, and of the four sleep services ActiveState and ExecStart. A unit that is inactive is not
 * loaded, so GetUnit does not know it, as with the real manager.
 */

#include <systemd/sd-bus.h>

/* Registers the objects on @bus, for as long as the bus lives. Returns: 0; negative errno. */
int units_register(sd_bus *bus);

/* Sets the ActiveState of the unit @name and tells who listens. Returns: 0; -ENOENT; -EINVAL. */
int unit_set_state(sd_bus *bus, const char *name, const char *state);

/* Sets its command, of two words. Returns: 0; -ENOENT; -EINVAL. */
int unit_set_command(const char *name, const char *program, const char *word);
