/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Page
 *
 * The drift page as this guest has it: /dev/vmclock0, the memory of an ivshmem device by sysfs or by
 * vfio, or a file. Whatever is in it, and whatever becomes of it while it is read, ends in an error,
 * never in a signal.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/page-layout.h"

typedef enum PageCarrier {
        PAGE_CARRIER_FILE,
        PAGE_CARRIER_VMCLOCK,
        PAGE_CARRIER_IVSHMEM, /* by sysfs, without an interrupt */
        PAGE_CARRIER_VFIO,
        PAGE_CARRIER_MAX,
        PAGE_CARRIER_INVALID = -22,
} PageCarrier;

/* Which page. All zero: the best that there is. */
typedef struct PageChoice {
        const char *file;   /* this one */
        const char *device; /* this PCI device, "0000:00:05.0" */
        bool wants_vfio;    /* binds the device to vfio-pci if it has no driver */
        const char *root;   /* of /sys and /dev; "" but for tests */
} PageChoice;

typedef struct Page {
        PageCarrier carrier;
        char name[256]; /* the file, device node, or PCI address */
        void *map;      /* NULL for a file */
        size_t map_size;
        bool can_answer;
        int fds[3]; /* what keeps it open; -1: none */
        int wait_fd; /* readable when the host has published something; -1: nothing tells. One of fds, or its own */
        bool owns_wait_fd;
        uint32_t waited_sequence;
        unsigned n_idle_wakes;
} Page;

/* lifetime */

/*
 * Opens the page. The @why_size bytes at @ret_why are set to what stands against each that was there and
 * was not taken, "" if there was none; they can be cut off.
 *
 * Returns: 0; -ENOENT if there is none; another errno, of the first that was not taken.
 */
int page_open(const PageChoice *choice, Page *ret, char *ret_why, size_t why_size);
void page_close(Page *page);

/* reading */

/*
 * Reads the record. Returns: 0; -ENODATA: the page is not 4096 bytes long; -EBADMSG: there is no record
 * in it; -EPROTONOSUPPORT: one of another revision; -EBUSY: it keeps moving; -EFAULT: the memory is
 * gone; another errno.
 */
int page_read_record(Page *page, DriftRecord *ret);

/* Why it could not be read, in words. */
const char *page_error_text(int error);

/* "by vfio", …; for people. */
const char *page_carrier_text(PageCarrier carrier);

/* Writes the answer, if the page can be written. */
void page_answer(Page *page, const DriftAnswer *answer);

/* waiting */

/* Makes wait_fd ready for the next time; gives it up if it wakes us for nothing. */
void page_woken(Page *page);

/* After a suspend of the machine: has the device raise its interrupt again. */
void page_rearm(Page *page);
