/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * VM, From Inside
 *
 * The struct that vm.c (life, announcement, events) and vm-acts.c (acts and what ends them) share.
 *
 * The host may end a Vm in any call that is made to it. So whoever is called back holds a reference,
 * and after a call to the host looks whether the Vm is gone before it goes on.
 */

#include "common/clock-sample.h"
#include "plugins/qmp/agent.h"
#include "plugins/qmp/identity.h"
#include "plugins/qmp/monitor.h"
#include "plugins/qmp/retry.h"
#include "plugins/qmp/run-state.h"
#include "plugins/qmp/vm.h"

typedef struct VmStep {
        uint64_t id;
        bool pending;
} VmStep;

struct Vm {
        unsigned n_refs;
        bool gone;
        const struct suspendd_host *host;
        VmPlace place;
        const VmOps *ops;
        void *userdata;

        Monitor *monitor;
        Agent *agent;
        Retry agent_retry;
        int agent_error; /* the last that was logged, to log it once */
        sd_event_source *patience, *change;

        struct suspendd_machine *machine; /* the host's, or NULL */
        Identity identity;
        char *fallback_name;
        bool known, settled; /* who it is and how it runs; the owner has been told */
        const char *trouble; /* static: why nothing can be done while it is not known */

        RunState run;
        bool word_asked, word_again, devices_asked, devices_again;
        ClockSample stop_sent;   /* before the last one was */
        bool stop_is_marked;     /* a question went before it */
        bool was_stopped_before; /* our stop, and nothing has been seen of the machine since */
        bool word_is_early; /* the word under way was asked for when no stop of ours was on its way */
        int64_t stamp_boottime_ns;

        VmStep pause, resume, wake;
        int64_t stop_began_boottime_ns; /* QEMU came to our stop; 0: not known, or not asked */
        char *wake_why;
        bool no_rtc_reset;
};

Vm *vm_ref(Vm *vm);
Vm *vm_unref(Vm *vm);

DEFINE_CLEANUP(Vm *, vm_unref);

/* Asks for the run state in QEMU's words and tells the host, with the event's stamp or 0. */
void vm_ask_word(Vm *vm, int64_t stamp_boottime_ns);

/* Tells the host the run state, after the steps that it ends. */
void vm_tell_state(Vm *vm, int64_t boottime_ns);

/* Tells the host in the loop's next turn that what the machine can do has changed. */
void vm_changed(Vm *vm);

/* The machine that they were asked of is announced no more. */
void vm_forget_steps(Vm *vm);

/* What the agent ends, a part of AgentOps. */
void vm_on_agent_done(
                void *userdata, enum suspendd_act act, uint64_t step, int error, const char *why);
void vm_on_agent_time(void *userdata, uint64_t step, const struct suspendd_time *t);
