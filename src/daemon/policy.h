/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Machine Policy
 *
 * What the administrator wants for a machine: what to do with it when the host sleeps, and what to
 * do with its clock afterwards.
 */

#include <errno.h>
#include <stdint.h>
#include "common/string-table.h"

typedef enum Mode {
        MODE_AUTO,    /* suspend where it can be trusted, else pause */
        MODE_SUSPEND, /* the same, and a failure if it fell back to pause */
        MODE_PAUSE,
        MODE_IGNORE, /* hands off; its clock is repaired all the same */
        MODE_BLOCK,  /* the host may not sleep while it runs */
        MODE_MAX,
        MODE_INVALID = -EINVAL,
} Mode;

typedef enum TimeSync {
        TIME_SYNC_OFF,
        TIME_SYNC_RELATIVE, /* it keeps the offset from the host's clock that it had before the sleep */
        TIME_SYNC_ABSOLUTE, /* it is set to the host's clock */
        TIME_SYNC_MAX,
        TIME_SYNC_INVALID = -EINVAL,
} TimeSync;

typedef struct Policy {
        Mode mode;
        TimeSync time_sync;
        int64_t time_threshold_ns; /* a guest's clock is left alone when it is off by less */
        int64_t backward_max_ns;   /* steps backwards are made up to this; 0: none */
} Policy;

#define POLICY_DEFAULT                                              \
        ((Policy){                                                  \
                        .mode = MODE_AUTO,                          \
                        .time_sync = TIME_SYNC_ABSOLUTE,            \
                        .time_threshold_ns = 2 * INT64_C(1000000),  \
                        .backward_max_ns = 2 * INT64_C(1000000000), \
        })

DECLARE_STRING_TABLE(mode, Mode);
DECLARE_STRING_TABLE(time_sync, TimeSync);
