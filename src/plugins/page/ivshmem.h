/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * ivshmem's Server Protocol
 *
 * What QEMU's ivshmem-doorbell device is told over a unix stream socket, revision 0: messages of eight
 * bytes, little-endian, each with one descriptor at most. Only the server speaks. A newcomer is greeted
 * by the revision, its own number, the memory, and then a message for each of its vectors.
 *
 * A VMM is told of no other: the protocol would have it, so that guests can ring each other. Ours are to
 * be rung by the host alone; whoever gets hold of one VMM shall not reach another one's guest by us.
 */

#include <stdint.h>

#define IVSHMEM_REVISION 0
#define IVSHMEM_MEMORY (-1)
#define IVSHMEM_PEERS_MAX (UINT16_MAX + 1)

/*
 * Sends one message with @fd, or with none if it is negative, without waiting.
 *
 * Returns: 0; -EAGAIN if the socket takes no more now; -EPIPE if nobody is there any more; -ETOOMANYREFS
 * if too many descriptors are on their way; others as sendmsg(2) has them.
 */
int ivshmem_send(int socket, int64_t message, int fd);
