/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Page's Owner
 *
 * The user that a VMM runs as, by name or number.
 */

#include <sys/types.h>

/*
 * @text NULL or empty: root. A name is looked up, which may take its time.
 *
 * Returns: 0; -EINVAL if it is neither a number nor a user; -ENOMEM; -EIO if it cannot be looked up.
 */
int owner_parse(const char *text, uid_t *ret);
