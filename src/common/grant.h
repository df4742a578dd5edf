/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Granting a File
 *
 * Lets one more user read and write what is ours, by an ACL: giving it away would take a capability more,
 * and make him the one who sets its mode, its leases and its attributes.
 */

#include <sys/types.h>

/*
 * @user may read and write the file, its owner likewise, and nobody else, whatever group he is in. A link
 * is not followed. The mode shows it as 0660: the group's part is the mask of all that are named.
 *
 * Returns: 0; -EOPNOTSUPP if the file system has no ACLs; others as setxattr(2) has them.
 */
int grant_path(const char *path, uid_t user);
int grant_fd(int fd, uid_t user);

/* The user that has been granted it. Returns: 0; -ENODATA if nobody has; -EOPNOTSUPP; others likewise. */
int grant_holder(int fd, uid_t *ret);
