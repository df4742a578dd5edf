/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * VM
 *
 * One machine behind one monitor: it is greeted, asked who it is, announced to the host, followed by
 * its events, and acted upon, with the guest's agent beside it where there is one. A monitor that
 * another client holds is announced as well, with what cannot be done and why, and its connection is
 * left pending: QEMU greets us when the other one leaves.
 *
 * A Vm lives as long as its monitor's connection and belongs to an Entry, which may free it at any
 * time, also from within the host's calls that it makes.
 */

#include <systemd/sd-event.h>
#include "common/macro.h"
#include "plugins/plugin-api.h"

typedef struct Vm Vm;

/* Where it is; borrowed for the Vm's life. */
typedef struct VmPlace {
        const char *name;       /* as the administrator calls it, or NULL */
        const char *path;       /* the monitor's socket */
        const char *agent_path; /* the agent's, or NULL */
} VmPlace;

typedef struct VmOps {
        /* It is announced, or known to be none of ours; called once. */
        void (*on_settled)(void *userdata);
        /*
         * The connection is over, free it: 0 if QEMU closed it; -EEXIST if the machine is announced
         * already; else what was wrong, with the reason in words.
         */
        void (*on_end)(void *userdata, int error, const char *why);
} VmOps;

/* lifetime */

/* Takes over @fd, connected to the monitor, also where it fails. */
int vm_new(const struct suspendd_host *host,
           int fd,
           const VmPlace *place,
           const VmOps *ops,
           void *userdata,
           Vm **ret);

/* Removes the machine at the host. */
Vm *vm_free(Vm *vm);

/* Tells the host that it is out of reach, before it is freed with its VMM perhaps alive. */
void vm_lose(Vm *vm);

/* Whether its VMM has ended, as far as can be told: it may have closed one connection, and live. */
bool vm_has_ended(const Vm *vm);

/* The host wants to hear of it no more: not even that it is gone. */
void vm_abandon(Vm *vm);

DEFINE_CLEANUP(Vm *, vm_free);

/* Sockets have come: the agent's may be among them. */
void vm_look_for_agent(Vm *vm);

/* The acts, as struct suspendd_plugin has them. */
int vm_suspend(void *userdata, uint64_t step);
int vm_pause(void *userdata, uint64_t step);
int vm_resume(void *userdata, uint64_t step);
int vm_wake(void *userdata, uint64_t step);
int vm_get_time(void *userdata, uint64_t step);
int vm_set_time(void *userdata, uint64_t step, int64_t lead_ns);
void vm_cancel(void *userdata, uint64_t step);
