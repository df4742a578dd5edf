/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Server
 *
 * One libvirt URI: it is connected to while something runs there and no longer, asked once for all
 * domains, followed by its events, and tried again when it goes away.
 *
 * A Server belongs to Servers and owns its Domains.
 */

#include "plugins/libvirt/domain.h"
#include "plugins/libvirt/pool.h"

typedef struct ServerOps {
        void (*on_settled)(
                        void *userdata); /* it has been looked at once, or there is nothing to look at */
        void (*on_trouble)(
                        void *userdata); /* what server_trouble() says may be something else now */
} ServerOps;

/* lifetime */

int server_new(const struct suspendd_host *host,
               Mailbox *mailbox,
               const char *uri,
               const ServerOps *ops,
               void *userdata,
               Server **ret);

/* Unlinks it; its domains leave the host as being out of reach. */
Server *server_free(Server *s);

DEFINE_CLEANUP(Server *, server_free);

/* The host wants to hear of its domains no more. */
void server_abandon(Server *s);

/* in the list of its owner */

void server_link(Server *s, List *head);
void server_unlink(Server *s);
Server *server_from_link(List *link);
bool server_is_settled(const Server *s);

/* Up to how many calls at a time it may be made to carry out, where its agents are more than its own limit bears. */
void server_set_max_workers(Server *s, unsigned n);

/* Looks whether something runs there; connects, or asks for all anew. */
void server_look_round(Server *s);

/* Somebody has seen a domain come or go: the same, unless events tell of it. */
void server_hint(Server *s);

/* What is wrong, in words; false if nothing is. */
bool server_trouble(const Server *s, char *buf, size_t size);

/* for its domains */

const struct suspendd_host *server_host(const Server *s);
Mailbox *server_mailbox(const Server *s);
Pool *server_pool(const Server *s);
const char *server_uri(const Server *s);
const char *server_vmm(const Server *s);
const char *server_state_directory(const Server *s);
bool server_can_agents(const Server *s);

/* Looks at the domain, and at what it is if @with_facts. */
void server_look(Server *s, const unsigned char *uuid, bool with_facts);

/* Looks at all domains on which an act is done, with one question. */
void server_see(Server *s);

/* As server_look(), but without haste, together with others. */
void server_look_later(Server *s, Domain *d);

/* A call has come back without its connection. */
void server_on_break(Server *s, const Call *c);

/* The number of calls that nobody waits for may be another. */
void server_on_calls(Server *s);
