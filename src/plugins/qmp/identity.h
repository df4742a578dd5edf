/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Identity
 *
 * Who a machine is, by QEMU's own testimony and its process, and what in its hardware forbids a
 * suspend. The process is part of it: a VM that was started anew is another machine.
 *
 * An Identity is embedded in its Vm.
 */

#include <sys/types.h>
#include "common/json-view.h"
#include "common/macro.h"
#include "plugins/qmp/monitor.h"

typedef void (*IdentityFn)(void *userdata);

typedef struct Identity {
        char *name; /* as QEMU was told it, or NULL */
        char *uuid; /* or NULL */
        char *run;  /* as process_run_string() gives it, or NULL */
        char *vmm;  /* "QEMU 7.2.22" */
        bool no_wakeup;
        const char *device, *device_found; /* static: what cannot be suspended with; last look's */
        IdentityFn on_known;
        void *userdata;
        int error; /* why the above is not all; by less, a machine that we hold would not be known again */
} Identity;

void identity_done(Identity *i);

/*
 * Finds out the process behind @m, there may be none to be seen: who listens there, and once it has greeted who speaks.
 *
 * Returns: 0; -EMFILE …: it cannot be told now, and without it a machine that we hold would not be known again.
 */
int identity_see_process(Identity *i, Monitor *m);

/* Asks for all else, then calls on_known(). Returns: 0; -ENOMEM; as monitor_send(). */
int identity_ask(Identity *i, Monitor *m, const JsonView *greeting);

/* Looks at the devices again, then calls on_known(). Returns: as monitor_send(). */
int identity_ask_devices(Identity *i, Monitor *m);

/* A name for the machine behind the socket @path: "/run/vms/web.qmp" is web, "/run/web/qmp.sock" too. */
int identity_name_from_path(const char *path, char **ret);
