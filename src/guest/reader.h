/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Reader
 *
 * The program proper: opens page, state and clocks, waits for what the host publishes and does what the
 * ledger says. It waits by poll(): for the page's interrupt where it has one, by a timer where not, and
 * for whoever sets the wall clock.
 */

#include <stdbool.h>
#include <stdint.h>
#include "guest/page.h"

/* What the program returns. */
typedef enum Status {
        STATUS_OK,
        STATUS_FAILED,
        STATUS_BAD_ARGUMENTS,
        STATUS_NO_PAGE,
        STATUS_BAD_PAGE, /* the page, or what it says, is not understood */
        STATUS_REFUSED,  /* by --once: a loss that this machine did not have */
        STATUS_BUSY,     /* another one is at it */
} Status;

typedef struct ReaderOptions {
        PageChoice choice;
        const char *state_directory;
        int64_t interval_ns;             /* between two looks where nothing tells */
        unsigned wait_sec;               /* for a page to appear */
        const char *const *hook_folders; /* NULL: no hooks */
        bool is_dry;                     /* says what it would do, and does not */
} ReaderOptions;

/* Looks once and does what is to be done. */
Status reader_once(const ReaderOptions *options);

/* The same for as long as it is let, by SIGTERM or SIGINT. */
Status reader_run(const ReaderOptions *options);
