/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Guest Agent
 *
 * The guest's end is not to be trusted: it may be absent, hang, lie, flood, or answer what a client
 * before us has asked. So each exchange begins with guest-sync-delimited and an id nobody can guess;
 * all that comes before its answer is thrown away unread, and the command itself is written only then.
 * A hung agent therefore never has a command of ours lying in its channel, but one that hangs between
 * the two may: a cancelled command cannot be called back.
 *
 * "The agent answers" means that it has answered the last sync. The first one is sent on connecting
 * and simply left there, without a timer, until somebody opens the port and answers.
 *
 * An Agent belongs to a Vm, which may free it from within on_done(), on_time() and on_end().
 * Source: QEMU's qga/qapi-schema.json.
 */

#include <systemd/sd-event.h>
#include "common/macro.h"
#include "plugins/plugin-api.h"

typedef struct Agent Agent;

typedef struct AgentOps {
        /* agent_why_not() answers anew. Not to free the agent in, for it may come from any call. */
        void (*on_change)(void *userdata);
        void (*on_done)(void *userdata,
                        enum suspendd_act act,
                        uint64_t step,
                        int error,
                        const char *why);
        void (*on_time)(void *userdata, uint64_t step, const struct suspendd_time *t);
        void (*on_end)(void *userdata, int error);
} AgentOps;

/* lifetime */

/* Probes the agent behind @fd, a connected socket that it owns on success. */
int agent_new(sd_event *event, int fd, const AgentOps *ops, void *userdata, Agent **ret);

/* What is under way is forgotten, not answered. */
Agent *agent_free(Agent *a);

DEFINE_CLEANUP(Agent *, agent_free);

/* use */

/* Why the agent cannot do @act: a static string; NULL if it can. */
const char *agent_why_not(const Agent *a, enum suspendd_act act);

/*
 * Does SUSPEND, GET_TIME or SET_TIME (to CLOCK_REALTIME when it is written plus @lead_ns) after
 * whatever is under way. Ends in on_done() or on_time(). A suspend is done as soon as its command is
 * written, for it has no answer where it succeeds; a refusal that comes later ends it once more.
 *
 * Returns: SUSPENDD_PENDING; -EBUSY if too much waits; others if the socket is broken.
 */
int agent_start(Agent *a, enum suspendd_act act, uint64_t step, int64_t lead_ns);

/* Forgets the step. One whose sync was not answered shows that the agent does not answer. */
void agent_cancel(Agent *a, uint64_t step);

/* The guest runs again: probes an agent that was silent, in case that its sync was lost. */
void agent_revive(Agent *a);

/* The guest's port was opened or closed: asks anew whether somebody answers, and what it can. */
void agent_probe(Agent *a);
