/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Kinds of Pages
 *
 * How each carrier's page is opened, for page.c. Each is given a page without anything in it, fills it
 * in, and may leave it half done: page_close() takes it. The reason goes to @why.
 */

#include "guest/page.h"

#define DEVICE_NAME_MAX 64

/* Where a reason is gathered. */
typedef struct PageWhy {
        char *text;
        size_t size;
} PageWhy;

/* Appends one reason, "NAME: …". */
void page_why_add(PageWhy *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The layout's errors as page_read_record() has them. */
int page_error_errno(PageError error);

int page_file_open(const PageChoice *choice, Page *page, PageWhy *why);
int page_file_read(const Page *page, DriftRecord *ret);

/* The VMClock driver's: one that tells of changes, or one that does not, and then with the reasons. */
int page_vmclock_open(const PageChoice *choice, bool notifies, Page *page, PageWhy *why);

int page_ivshmem_open(const PageChoice *choice, const char *address, Page *page, PageWhy *why);
int page_vfio_open(const PageChoice *choice, const char *address, Page *page, PageWhy *why);
void page_vfio_rearm(const Page *page);

/* PCI devices with shared memory */

typedef enum PciDriver {
        PCI_DRIVER_NONE,
        PCI_DRIVER_VFIO,
        PCI_DRIVER_OTHER,
        PCI_DRIVER_MAX,
        PCI_DRIVER_INVALID = -22,
} PciDriver;

typedef struct PciDevice {
        char address[DEVICE_NAME_MAX];
        PciDriver driver;
        char driver_name[DEVICE_NAME_MAX];
} PciDevice;

/* Finds up to @n ivshmem devices, by address. Returns: how many. */
size_t pci_find(const PageChoice *choice, PciDevice *ret, size_t n);

/* Has vfio-pci take a device without a driver. Returns: 0; a negative errno. */
int pci_bind_vfio(const PageChoice *choice, const char *address);
