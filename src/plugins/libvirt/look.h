/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Look
 *
 * One question to libvirt: how a domain is, and, if asked for, what it is. Blocking, so on workers alone;
 * what comes back is plain data that belongs to the loop.
 */

#include <libvirt/libvirt.h>
#include "plugins/libvirt/definition.h"
#include "plugins/libvirt/run-state.h"

/* What is known of a domain besides how it runs. */
typedef struct DomainFacts {
        unsigned char uuid[VIR_UUID_BUFLEN];
        char uuid_text[VIR_UUID_STRING_BUFLEN];
        char *name; /* NULL if it could not be had, or the definition */
        char *run;  /* "ID.PID.STARTTIME", or "ID" where the VMM's process is not known */
        Definition definition;
} DomainFacts;

void domain_facts_done(DomainFacts *f);

/* Asks how @dom is. Returns: 0, also if it is gone; -1 with libvirt's error. */
int look_at_state(virDomainPtr dom, Reading *ret);

/*
 * Asks what @dom is. @state_directory is where its driver keeps NAME.pid, or NULL.
 *
 * Returns: 0, also if of it no more than its run could be had; -ENOMEM, -EMFILE …: not even that, now.
 */
int look_at_facts(virDomainPtr dom, const char *state_directory, DomainFacts *ret);
