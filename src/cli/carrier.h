/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Carriers
 *
 * The ways in which a page gets into a guest, in the words that QEMU and libvirt want: arguments, XML, and
 * the device-tree node by which an arm64 guest's own driver finds it.
 */

#include "common/json-bounded.h"

/* Where a page is mapped if nobody says otherwise. */
#define CARRIER_ACPI_ADDRESS UINT64_C(0x280000000)
#define CARRIER_TREE_ADDRESS UINT64_C(0x7ffff000)

/* Where QEMU's "virt" has its memory. */
#define CARRIER_VIRT_RAM UINT64_C(0x40000000)

typedef struct CarrierPage {
        const char *path;
        const char *socket; /* of its doorbell, or NULL */
        unsigned vectors;
        const char *acpi, *tree; /* files that are, or will be, written for it; NULL: any name */
        uint64_t address;        /* 0: the carrier's own */
} CarrierPage;

/*
 * All that there are for the page, an array of objects: the carrier's "name", "what" it is and asks for,
 * "qemu" with arguments and "libvirt" with XML, a line each piece. Returns: a new reference; NULL without
 * memory.
 */
JsonObject *carrier_list(const CarrierPage *page);

/* The device-tree source of a page at @address, to be freed by the caller; NULL without memory. */
char *carrier_tree(uint64_t address);

/*
 * Whether a page can be at @address: a whole one, and in a tree above the begin of QEMU's memory.
 *
 * Returns: NULL, or why not.
 */
const char *carrier_check_address(uint64_t address, bool is_tree);
