/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * ACPI Table
 *
 * The table (SSDT) that tells an x86 guest where its page is, as VMClock's rules have it: a device with
 * _HID AMZNC10C, whose one resource is the page. In the bytes of ACPI's machine language, so that no
 * compiler is needed where it is used.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACPI_TABLE_SIZE_MAX 512

/*
 * Writes the table of a page at the guest-physical @address, of a whole page. @notifies: the guest itself
 * looks once a second whether the page has changed, by a thermal zone that it polls, and whenever it wakes
 * from a sleep of its own; its driver wakes whoever waits for that.
 *
 * Returns: its size in bytes.
 */
size_t acpi_table_write(uint8_t buf[static ACPI_TABLE_SIZE_MAX], uint64_t address, bool notifies);
