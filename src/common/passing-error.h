/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Passing Errors
 *
 * What says nothing of the thing that was asked for, only that we lacked something to ask for it:
 * whoever tries again later may well succeed.
 */

#include <errno.h>
#include <stdbool.h>

/* @error is a negative errno. */
static inline bool error_is_passing(int error) {
        switch (error) {
        case -EAGAIN:
        case -EINTR:
        case -EIO:
        case -EMFILE:
        case -ENFILE:
        case -ENOBUFS:
        case -ENOMEM:
        case -ENOSPC:
                return true;
        default:
                return false;
        }
}
