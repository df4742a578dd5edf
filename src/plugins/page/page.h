/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Page
 *
 * One drift page (common/page-layout.h): the file that a VMM maps, and the one writer of its two parts.
 *
 * The file belongs to the VMM's user, who may at any moment truncate it, grow it, or hold its inode's
 * lock for ever. None of that may harm the daemon: no byte is stored to the mapping or loaded from it
 * by our own instructions, and nothing is called that waits for that lock. page.c says how.
 */

#include <sys/types.h>
#include "common/macro.h"
#include "common/page-layout.h"

typedef struct Page Page;

/* lifetime */

/*
 * Makes a page in the directory @directory, which only root can write to; it has another name until
 * page_appear(), and is root's. @scratch is a file of the daemon's own, PAGE_SIZE_BYTES long, that is
 * borrowed by the Page for as long as it lives; many may share it.
 *
 * Returns: 0; a negative errno.
 */
int page_create(int directory, const char *name, int scratch, Page **ret);

/* Grants it to @owner (common/grant.h), and gives it its name. Returns: 0; -EEXIST; another errno. */
int page_appear(Page *p, int directory, const char *name, uid_t owner);

/*
 * Takes over one that is there: a regular file with one name, of a page or more, that its owner alone
 * can use. Links are not followed.
 *
 * Returns: 0; -ENOENT; another errno, with the reason in *@ret_why (static).
 */
int page_open(int directory, const char *name, int scratch, Page **ret, const char **ret_why);

/* Lets go of it; the file stays. */
Page *page_free(Page *p);

DEFINE_CLEANUP(Page *, page_free);

/* Its descriptor, borrowed: open for reading and writing. */
int page_fd(const Page *p);

/* Whose file it is now. Returns: 0; a negative errno. */
int page_owner(const Page *p, uid_t *ret);

/* writing: wholly, as a reader sees it; the sequence in it is even, and another one than before */

/*
 * Returns: 0; -EFAULT if the file was truncated; another errno. After an error readers find the part in
 * the middle of being written until it is written again.
 */
int page_write_vmclock(Page *p, const VmclockPage *clock);
int page_write_drift(Page *p, const DriftRecord *record);

/* reading */

/* What the guest has written, which may be anything. Returns: 1; 0 if there is no answer. */
int page_read_answer(const Page *p, DriftAnswer *ret);
