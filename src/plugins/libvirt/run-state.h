/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Run State
 *
 * What libvirt's state and reason of a domain mean for us. Only one that its user or we have paused is
 * paused; one that is stopped for any other reason, be it an I/O error, a migration or a snapshot, is
 * nobody's to touch.
 */

#include "common/macro.h"
#include "plugins/plugin-api.h"

/* One look at a domain. */
typedef struct Reading {
        int64_t asked_ns; /* CLOCK_MONOTONIC before libvirt was asked; 0: it was not, or did not tell */
        int64_t boottime_ns; /* CLOCK_BOOTTIME at which it came to be in the state, at the latest */
        bool is_gone;        /* there is no such domain, or it is shut off */
        int state, reason;   /* virDomainState and its reason */
} Reading;

/* *@ret_detail (static) says what it is if OTHER, else NULL. */
enum suspendd_run_state run_state_of(int state, int reason, const char **ret_detail);
