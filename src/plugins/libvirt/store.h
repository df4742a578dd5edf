/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Store
 *
 * Writes a mode into a domain's own metadata, in libvirt: of the running domain, and of its definition
 * where it has one that outlives its run.
 */

#include "plugins/libvirt/pool.h"
#include "plugins/plugin-api.h"

/* As the plugin's store_mode(). */
int store_mode(const struct suspendd_host *host,
               Pool *p,
               const unsigned char *uuid,
               uint64_t request,
               const char *mode);
