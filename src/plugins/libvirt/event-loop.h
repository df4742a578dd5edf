/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Event Loop For libvirt
 *
 * libvirt's client wants an event loop to bring what a connection tells by itself. This is one, on a
 * thread of its own, for libvirt's default one serves every connection of the process: on each, the
 * server would then ask every five seconds whether we still live, and wake us and itself. Here only
 * connections that are to tell something are served; the others do without, and are quicker for it.
 */

/* Starts it, once for the process and for ever; before the first connection is opened. Returns: 0; -EAGAIN; -errno. */
int event_loop_start(void);

/* From now on, connections that this thread opens are served, or not. The default is not. */
void event_loop_serve(int is_served);
