/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Doorbell's Socket
 *
 * The unix stream socket that a page's VMM connects to, its user's alone: by its mode and ACL in the
 * file system, and by what the kernel says of who has connected.
 */

#include <stdbool.h>
#include <sys/types.h>

/*
 * Listens at "DIRECTORY/NAME.sock", which only @owner and root can connect to from the moment that it is
 * there; it takes the place of what an earlier life left. Nobody but us may write @directory.
 *
 * Returns: 0 and a non-blocking socket; -ENAMETOOLONG if nobody could connect to such a path; others as
 * bind(2), grant_path(), rename(2) have them.
 */
int doorbell_socket_listen(const char *directory, const char *name, uid_t owner, int *ret_fd);

/*
 * Takes up @fd, which listened there in an earlier life, for @owner.
 *
 * Returns: 0; -ENOENT if it cannot be connected to any more; -ENOTSOCK; others as grant_path() has them.
 */
int doorbell_socket_adopt(const char *directory, const char *name, uid_t owner, int fd);

/* Removes it from the file system. */
void doorbell_socket_remove(const char *directory, const char *name);

/*
 * Takes one who wants in.
 *
 * Returns: 1 and its connection; 0 if nobody is there; -EACCES if that is neither @owner nor root, who
 * has been turned away; others as accept(2) has them.
 */
int doorbell_socket_accept(int fd, uid_t owner, int *ret_connection);
