/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Threads
 *
 * libvirt's calls block, and may never return. So the threads that make them are detached: nobody
 * waits for one, and they end with the process. No signal is ever delivered to them.
 */

/* Starts @fn(@userdata) on a detached thread. Returns: 0; -EAGAIN. */
int thread_start(void *(*fn)(void *userdata), void *userdata, const char *name);
