/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Domain
 *
 * One start of a libvirt domain, announced to the host as a machine. It has two lanes, in each of which
 * one call is under way at most: what concerns its vCPUs is carried out in order, so that a resume never
 * overtakes a pause that hangs; and what goes by its guest's agent, so that an agent that hangs is in
 * nobody's way.
 *
 * Events only make it look; what counts is the state and reason that are read. A reading that was asked
 * for before another one that is known already is thrown away.
 *
 * A Domain belongs to its Server. While that is away, the machine stays announced, its state unknown; a
 * pause that was under way is taken up again afterwards, and a resume that was asked for is carried out.
 */

#include "plugins/libvirt/act.h"

typedef struct Server Server;

typedef enum EventAnswer {
        EVENT_IS_NEWS,    /* it must be looked at */
        EVENT_IS_ECHO,    /* most likely of what was just done: no haste */
        EVENT_IS_COVERED, /* a call is under way that looks later than that */
} EventAnswer;

/* lifetime */

/* Announces it. @f is moved from. Returns: 0; as the host's machine_add(). */
int domain_new(Server *s, DomainFacts *f, Domain **ret);

/* Unlinks it and removes its machine; its calls under way become orphans. */
Domain *domain_free(Domain *d);

/* The same of one that has ended for certain: nothing of it is left to undo. */
void domain_end(Domain *d);

DEFINE_CLEANUP(Domain *, domain_free);

/* The host wants to hear of it no more. */
void domain_abandon(Domain *d);

/* in the list of its owner */

void domain_link(Domain *d, List *head);
Domain *domain_from_link(List *link);
bool domain_is(const Domain *d, const unsigned char uuid[static VIR_UUID_BUFLEN]);
const unsigned char *domain_uuid(const Domain *d);
bool domain_has_agent(const Domain *d);

/* Whether it waits to be looked at later, a mark of its owner's. */
bool *domain_is_dirty(Domain *d);

/* what is seen of it */

/* Whether @run is another start of it than this. */
bool domain_is_other_run(const Domain *d, const char *run);

/* Takes over what it is now; @f is moved from. */
void domain_know(Domain *d, DomainFacts *f);

/* Takes over how it is. */
void domain_see(Domain *d, const Reading *r);

/* Whether an act on its vCPUs is under way. */
bool domain_is_acting(const Domain *d);

/* Whether such an act is done, and the domain must be looked at for it to end, and is not yet. */
bool domain_is_unseen(const Domain *d);
void domain_set_asked(Domain *d, bool is_asked);

/* What that look has found; NULL if it could not be had. */
void domain_on_seen(Domain *d, const Reading *r);

/* When what is known of how it is was asked for, by CLOCK_MONOTONIC; 0: never. */
int64_t domain_read_ns(const Domain *d);

/* libvirt has told of a change, at that time of CLOCK_MONOTONIC, to @told if that is known. */
EventAnswer domain_on_event(Domain *d, int64_t at_ns, enum suspendd_run_state told);

/* QEMU says when its vCPUs were stopped or run; CLOCK_BOOTTIME. */
void domain_on_stamp(Domain *d, int64_t boottime_ns);

/* The server is away; is there, or back, and this was read of it. */
void domain_lose(Domain *d);
void domain_find(Domain *d, const Reading *r);

/* Whether its VMM has ended for certain, as far as can be told without libvirt. */
bool domain_has_ended(const Domain *d);

/* The acts, as struct suspendd_plugin has them. */
int domain_suspend(void *userdata, uint64_t step);
int domain_pause(void *userdata, uint64_t step);
int domain_resume(void *userdata, uint64_t step);
int domain_wake(void *userdata, uint64_t step);
int domain_get_time(void *userdata, uint64_t step);
int domain_set_time(void *userdata, uint64_t step, int64_t lead_ns);
void domain_cancel(void *userdata, uint64_t step);
int domain_store_mode(void *userdata, uint64_t request, const char *mode);
