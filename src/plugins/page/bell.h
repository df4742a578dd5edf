/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Bell
 *
 * Rings eventfds that somebody else holds as well, and never waits. Whoever shares an eventfd can make
 * it a blocking one and fill it at any moment, and then write(2) to it does not return; that another
 * process' good will is no protection, a look beforehand neither. So the kernel rings it itself: as the
 * completion of an asynchronous read (io_submit(2), IOCB_FLAG_RESFD), which adds 1 and cannot wait.
 */

#include "common/macro.h"

typedef struct Bell Bell;

/* What the kernel lacks for it, it may have when it is rung. Returns: 0; a negative errno. */
int bell_new(Bell **ret);
Bell *bell_free(Bell *b);

DEFINE_CLEANUP(Bell *, bell_free);

/*
 * Adds 1 to @eventfd; one that is full stays full, for it is latched already.
 *
 * Returns: 0; -EBADF or -EINVAL if that is no eventfd; -ENOSYS if the kernel has no asynchronous I/O; -EAGAIN
 * if it has no room for more; -EIO.
 */
int bell_ring(Bell *b, int eventfd);
