/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/policy.h"

static const char *const mode_table[] = {
        [MODE_AUTO] = "auto",     [MODE_SUSPEND] = "suspend", [MODE_PAUSE] = "pause",
        [MODE_IGNORE] = "ignore", [MODE_BLOCK] = "block",
};

static const char *const time_sync_table[] = {
        [TIME_SYNC_OFF] = "off",
        [TIME_SYNC_RELATIVE] = "relative",
        [TIME_SYNC_ABSOLUTE] = "absolute",
};

DEFINE_STRING_TABLE(mode, Mode, MODE);
DEFINE_STRING_TABLE(time_sync, TimeSync, TIME_SYNC);
