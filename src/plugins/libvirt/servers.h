/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Servers
 *
 * The libvirt URIs that the configuration names, qemu:///system if it names none. They are looked at
 * side by side; what is wrong with any is told as one text.
 */

#include "plugins/libvirt/server.h"

typedef struct Servers Servers;

/* lifetime */

int servers_new(const struct suspendd_host *host, Servers **ret);

/* Ends all, and tells the host nothing more. */
Servers *servers_free(Servers *s);

DEFINE_CLEANUP(Servers *, servers_free);

/* As the plugin's load() and notify(). */
int servers_load(Servers *s, const struct suspendd_setting *settings, size_t n);
int servers_notify(Servers *s, const char *event, const char *name);
