/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/run-state.h"
#include <libvirt/libvirt.h>

static const char *const paused_reasons[] = {
        [VIR_DOMAIN_PAUSED_UNKNOWN] = "stopped for unknown",
        [VIR_DOMAIN_PAUSED_USER] = NULL,
        [VIR_DOMAIN_PAUSED_MIGRATION] = "migrated away",
        [VIR_DOMAIN_PAUSED_SAVE] = "being saved",
        [VIR_DOMAIN_PAUSED_DUMP] = "being dumped",
        [VIR_DOMAIN_PAUSED_IOERROR] = "I/O error",
        [VIR_DOMAIN_PAUSED_WATCHDOG] = "watchdog",
        [VIR_DOMAIN_PAUSED_FROM_SNAPSHOT] = "from a snapshot",
        [VIR_DOMAIN_PAUSED_SHUTTING_DOWN] = "shutting down",
        [VIR_DOMAIN_PAUSED_SNAPSHOT] = "in a snapshot",
        [VIR_DOMAIN_PAUSED_CRASHED] = "crashed",
        [VIR_DOMAIN_PAUSED_STARTING_UP] = "starting up",
        [VIR_DOMAIN_PAUSED_POSTCOPY] = "post-copy migration",
        [VIR_DOMAIN_PAUSED_POSTCOPY_FAILED] = "post-copy failed",
};

static enum suspendd_run_state run_state_of_pause(int reason, const char **ret_detail) {
        if (reason == VIR_DOMAIN_PAUSED_USER)
                return SUSPENDD_STATE_PAUSED;
        *ret_detail = reason >= 0 && (size_t) reason < ARRAY_LEN(paused_reasons)
                                      ? paused_reasons[reason]
                                      : paused_reasons[VIR_DOMAIN_PAUSED_UNKNOWN];
        return SUSPENDD_STATE_OTHER;
}

enum suspendd_run_state run_state_of(int state, int reason, const char **ret_detail) {
        *ret_detail = NULL;
        switch (state) {
        case VIR_DOMAIN_RUNNING:
        case VIR_DOMAIN_BLOCKED:
                return SUSPENDD_STATE_RUNNING;
        case VIR_DOMAIN_PAUSED:
                return run_state_of_pause(reason, ret_detail);
        case VIR_DOMAIN_PMSUSPENDED:
                return SUSPENDD_STATE_SUSPENDED;
        case VIR_DOMAIN_SHUTDOWN:
                *ret_detail = "shutting down";
                return SUSPENDD_STATE_OTHER;
        case VIR_DOMAIN_SHUTOFF:
                *ret_detail = "shut off";
                return SUSPENDD_STATE_OTHER;
        case VIR_DOMAIN_CRASHED:
                *ret_detail = "crashed";
                return SUSPENDD_STATE_OTHER;
        default:
                return SUSPENDD_STATE_UNKNOWN;
        }
}
