/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Faults
 *
 * What may happen to a process in the place of one of its system calls: its death, or one of five
 * errors. Death may come at any call; an error only at those that can return it, by the manual pages
 * and by the kinds of files there are. Numbers and arguments are those of x86-64.
 */

#include <errno.h>
#include <sys/types.h>
#include "common/string-table.h"

typedef enum Fault {
        FAULT_DEATH,
        FAULT_ENOSPC,
        FAULT_EMFILE,
        FAULT_ENOMEM,
        FAULT_EIO,
        FAULT_EINTR,
        FAULT_MAX,
        FAULT_INVALID = -EINVAL,
} Fault;

/* A system call that a process is about to make. */
typedef struct Call {
        pid_t process;
        long number;
        uint64_t arguments[6];
} Call;

/* Returns: the errno; 0 for death. */
int fault_error(Fault f);

/* Whether a fault that is still there would be met again by the calls that follow: a full disk, no memory. */
bool fault_lasts(Fault f);

bool fault_is_possible(Fault f, const Call *c);

/* Whether an error does not undo what the call does: a close() that fails has closed all the same. */
bool call_is_done_all_the_same(long number);

/* Returns: its name; "another call" of one that returns none of the errors. */
const char *call_name(long number);

DECLARE_STRING_TABLE(fault, Fault);
