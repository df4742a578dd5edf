/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/server.h"
#include <errno.h>
#include <limits.h>
#include <syslog.h>
#include "common/time-util.h"
#include "plugins/libvirt/libvirtd-workers.h"
#include "plugins/libvirt/presence.h"
#include "plugins/libvirt/server-calls.h"
#include "plugins/libvirt/subscription.h"

#define RETRY_MIN_USEC (50 * USEC_PER_MSEC)
#define RETRY_MAX_USEC (5 * USEC_PER_SEC)
/* How long a connection without domains is kept: they come and go together. */
#define LINGER_USEC (2 * USEC_PER_SEC)
#define CLOSED "libvirt has closed the connection"
#define LATER_USEC (100 * USEC_PER_MSEC)
#define SEE_PATIENCE_USEC (5 * USEC_PER_MSEC)
/* The second is for those that are done while the first is under way. */
#define SEES_MAX 2
/* Of what it carries out at a time, for calls that no guest can hold up. */
#define SPARE_WORKERS 5
#define WORKERS_DEFAULT 20

struct Server {
        List servers;
        const struct suspendd_host *host;
        Mailbox *mailbox;
        char *uri;
        const ServerOps *ops;
        void *userdata;

        Presence *presence;
        Subscription *subscription;
        Pool *pool;
        /* All are had from the beginning: what is tried again for lack of memory must not need any. */
        sd_event_source *retry;    /* to look round again */
        sd_event_source *linger;   /* to hang up */
        sd_event_source *later;    /* to look at those that are dirty */
        sd_event_source *patience; /* to look at those that are done, whatever the others do */
        uint64_t retry_usec;

        List domains;
        size_t n_domains;
        char vmm[64];
        char why[160]; /* it cannot be connected to, in libvirt's words */
        bool is_qemu;
        bool is_up, is_settled;
        bool is_listing, shall_list_again;
        bool is_parting; /* the list is to tell whether it may be let go of */
        unsigned n_seeing;
        bool is_patience_over;
        unsigned max_workers; /* that it may be asked to have */
        unsigned n_workers;   /* that it has been asked to have, this connection; 0: not yet */
        bool is_raising;      /* their number */
};

/* small things */

static void server_settle(Server *s) {
        if (s->is_settled)
                return;
        s->is_settled = true;
        s->ops->on_settled(s->userdata);
}

static Domain *server_find(const Server *s, const unsigned char *uuid) {
        LIST_FOREACH(i, &((Server *) s)->domains)
        if (domain_is(domain_from_link(i), uuid))
                return domain_from_link(i);
        return NULL;
}

static int server_add_timer(
                Server *s, sd_event_source **ret, sd_event_time_handler_t fn, const char *name) {
        int r;

        r = sd_event_add_time(s->host->event, ret, CLOCK_MONOTONIC, 0, 1, fn, s);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(*ret, name);
        return sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

static void timer_arm(sd_event_source *timer, uint64_t usec) {
        (void) sd_event_source_set_time_relative(timer, usec);
        (void) sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static bool timer_is_armed(sd_event_source *timer) {
        return sd_event_source_get_enabled(timer, NULL) > 0;
}

static void server_list(Server *s);

static int server_on_retry(
                sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata) {
        Server *s = userdata;

        if (s->is_up)
                server_list(s);
        else
                server_look_round(s);
        return 0;
}

static void server_retry(Server *s) {
        s->retry_usec = s->retry_usec == 0 ? RETRY_MIN_USEC
                                           : MIN(s->retry_usec * 2, RETRY_MAX_USEC);
        timer_arm(s->retry, s->retry_usec);
}

/* For what could not be had, though it is connected: nobody would bring it. One try is for all. */
static void server_ask_again(Server *s) {
        if (!timer_is_armed(s->retry))
                server_retry(s);
}

/* domains */

static void server_prepare(Server *s);

static void server_report_workers(Server *s, const WorkersCall *w) {
        if (w->call.error < 0 && w->call.error != -ECONNRESET)
                s->host->log(s->host,
                             LOG_INFO,
                             NULL,
                             "%s cannot be had to carry out %u calls at a time: %s",
                             w->uri,
                             w->n_wanted,
                             w->call.why);
        else if (w->n_now > w->n_before)
                s->host->log(s->host,
                             LOG_INFO,
                             NULL,
                             "%s carries out %u calls at a time now, for its domains' agents (%u before)",
                             w->uri,
                             w->n_now,
                             w->n_before);
}

static void server_on_workers(void *userdata, WorkersCall *w) {
        Server *s = userdata;

        s->is_raising = false;
        if (w->call.epoch == pool_epoch(s->pool)) {
                server_report_workers(s, w);
                /* One that refuses is not asked again. */
                s->n_workers = w->call.error < 0 ? UINT_MAX : w->n_wanted;
                if (w->n_now > SPARE_WORKERS)
                        pool_allow(s->pool, CALL_AGENT, w->n_now - SPARE_WORKERS);
        }
        if (s->is_up)
                server_prepare(s); /* there may be more by now */
}

/* Each agent shall be asked at once, even if all the others hang. */
static void server_want_workers(Server *s, size_t n_agents) {
        unsigned n = (unsigned) MIN(n_agents + SPARE_WORKERS, (size_t) s->max_workers);
        const char *uri = presence_admin_uri(s->presence);
        WorkersCall *w;

        if (!uri || s->is_raising || n <= MAX(s->n_workers, (unsigned) WORKERS_DEFAULT))
                return;
        w = workers_call_new(uri, n);
        if (!w)
                return;
        w->fn = server_on_workers;
        w->userdata = s;
        s->is_raising = pool_submit(s->pool, &w->call) >= 0;
        if (!s->is_raising)
                w->call.ops->free(&w->call);
}

static void server_prepare(Server *s) {
        size_t n_agents = 0;

        LIST_FOREACH(i, &s->domains)
        n_agents += s->is_qemu && domain_has_agent(domain_from_link(i));
        pool_prepare(s->pool, CALL_VCPU, s->n_domains);
        pool_prepare(s->pool, CALL_AGENT, n_agents);
        server_want_workers(s, n_agents);
}

static void server_end_domain(Server *s, Domain *d) {
        s->n_domains--;
        domain_end(d);
}

static Domain *server_add(Server *s, DomainFacts *f) {
        Domain *d;
        int r;

        r = domain_new(s, f, &d);
        if (r < 0) {
                s->host->log(s->host,
                             r == -EEXIST ? LOG_INFO : LOG_WARNING,
                             NULL,
                             "A domain of %s is left out: %s",
                             s->uri,
                             r == -EEXIST ? "it is known already" : strerror(-r));
                return NULL;
        }
        domain_link(d, &s->domains);
        s->n_domains++;
        return d;
}

/*
 * Takes over what a look with facts has found. Without its run it may be another start, which is not to be
 * taken for the one that is known; without its definition it is as it is known.
 *
 * Returns: whether nothing was lacking.
 */
static bool server_meet(Server *s, Found *f) {
        Domain *d = server_find(s, f->facts.uuid);
        bool is_whole = f->facts.name;

        if (!f->facts.run)
                return false;
        if (d && domain_is_other_run(d, f->facts.run)) {
                server_end_domain(s, d);
                d = NULL;
        }
        if (d && is_whole)
                domain_know(d, &f->facts);
        else if (is_whole)
                d = server_add(s, &f->facts);
        if (d)
                domain_find(d, &f->reading);
        return is_whole;
}

/* up and down */

static void server_hang_up(Server *s) {
        s->is_up = false;
        s->n_workers = 0;
        pool_hang_up(s->pool);
}

/* Nothing runs there, as far as is known: neither connected nor tried, until something comes. */
static void server_rest(Server *s) {
        if (s->is_up)
                server_hang_up(s);
        s->retry_usec = 0;
        s->why[0] = 0;
        presence_watch(s->presence, true);
        server_settle(s);
        s->ops->on_trouble(s->userdata);
}

static void server_go_down(Server *s, const char *why) {
        bool was_up = s->is_up;

        (void) snprintf(s->why, sizeof(s->why), "%s", why);
        server_hang_up(s);
        if (was_up)
                s->retry_usec = 0;
        LIST_FOREACH(i, &s->domains)
        domain_lose(domain_from_link(i));
        presence_watch(s->presence, true);
        server_retry(s);
        server_settle(s);
        s->ops->on_trouble(s->userdata);
}

static void server_come_up(Server *s, const ListCall *l) {
        s->is_qemu = l->is_qemu;
        (void) memcpy(s->vmm, l->vmm, sizeof(s->vmm));
        if (s->is_up)
                return;
        s->is_up = true;
        s->retry_usec = 0;
        (void) sd_event_source_set_enabled(s->retry, SD_EVENT_OFF);
        s->why[0] = 0;
        presence_watch(s->presence, false);
        s->host->log(s->host, LOG_INFO, NULL, "Connected to %s (%s)", s->uri, s->vmm);
}

/* From now on whatever comes is seen in its folder; so once it has been asked for once more, it may go. */
static int server_on_linger(
                sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata) {
        Server *s = userdata;

        if (!s->is_up || s->n_domains > 0)
                return 0;
        presence_watch(s->presence, true);
        s->is_parting = true;
        server_list(s);
        return 0;
}

/* Whatever its folder says, it has been asked, and nothing runs there: it is let go of after a while. */
static void server_linger(Server *s) {
        if (presence_can_tell(s->presence))
                timer_arm(s->linger, LINGER_USEC);
}

/* asking for all */

/* Those that were not found, though they were known before it was asked. */
static void server_weed(Server *s, const ListCall *l) {
        LIST_FOREACH(i, &s->domains) {
                Domain *d = domain_from_link(i);
                bool is_found = domain_read_ns(d) >= l->asked_ns;

                for (size_t k = 0; !is_found && k < l->n_found; k++)
                        is_found = domain_is(d, l->found[k].facts.uuid);
                if (!is_found)
                        server_end_domain(s, d);
        }
}

/* What is to follow when all have been asked for. */
static void server_go_on(Server *s, bool is_whole) {
        if (is_whole)
                s->retry_usec = 0;
        if (TAKE(s->shall_list_again, false))
                server_list(s);
        else if (!is_whole)
                server_ask_again(s);
        else if (TAKE(s->is_parting, false) && s->n_domains == 0)
                server_rest(s);
        else if (s->n_domains == 0)
                server_linger(s);
}

static void server_on_list(void *userdata, ListCall *l) {
        Server *s = userdata;
        bool is_whole = true;

        s->is_listing = false;
        if (l->call.epoch != pool_epoch(s->pool)) {
                server_list(s); /* of a connection that has been given up since */
                return;
        }
        if (l->call.error < 0 || !pool_is_alive(s->pool)) {
                server_go_down(s, l->call.error < 0 ? l->call.why : CLOSED);
                return;
        }
        server_come_up(s, l);
        server_weed(s, l);
        for (size_t i = 0; i < l->n_found; i++)
                is_whole &= server_meet(s, &l->found[i]);
        server_prepare(s);
        server_settle(s);
        s->ops->on_trouble(s->userdata);
        server_go_on(s, is_whole);
}

static void server_list(Server *s) {
        ListCall *l;

        if (s->is_listing) {
                s->shall_list_again = true;
                return;
        }
        l = list_call_new(presence_state_directory(s->presence));
        if (!l) {
                server_retry(s);
                return;
        }
        l->is_first = !s->is_up;
        l->fn = server_on_list;
        l->userdata = s;
        s->is_listing = pool_submit(s->pool, &l->call) >= 0;
        if (s->is_listing)
                return;
        l->call.ops->free(&l->call);
        server_retry(s);
}

/* Whether there is something to ask for, and somebody to answer. */
static bool server_is_worth_asking(const Server *s) {
        bool is_there = presence_has_machines(s->presence);

        if (s->is_up)
                return is_there || s->n_domains > 0;
        return is_there && presence_has_server(s->presence);
}

void server_look_round(Server *s) {
        LIST_FOREACH(i, &s->domains)
        if (!s->is_up && domain_has_ended(domain_from_link(i)))
                server_end_domain(s, domain_from_link(i));
        if (server_is_worth_asking(s))
                server_list(s);
        else if (!s->is_up && s->n_domains > 0)
                server_retry(s);
        else
                server_rest(s);
}

void server_hint(Server *s) {
        if (!s->is_up)
                server_look_round(s);
}

/* looking at one */

static void server_on_look(void *userdata, LookCall *l) {
        Server *s = userdata;
        Domain *d = server_find(s, l->uuid);

        if (l->call.error == -ECONNRESET)
                server_on_break(s, &l->call);
        else if (l->call.error < 0)
                server_ask_again(s);
        if (l->call.error < 0)
                return;
        if (l->with_facts && !l->found.reading.is_gone) {
                if (!server_meet(s, &l->found))
                        server_ask_again(s);
                server_prepare(s);
        } else if (d && l->found.reading.is_gone &&
                   l->found.reading.asked_ns >= domain_read_ns(d)) {
                server_end_domain(s, d);
                if (s->n_domains == 0)
                        server_linger(s);
        } else if (d)
                domain_see(d, &l->found.reading);
}

void server_look(Server *s, const unsigned char *uuid, bool with_facts) {
        LookCall *l;

        if (!s->is_up)
                return;
        l = look_call_new(uuid, with_facts, presence_state_directory(s->presence));
        if (!l) {
                server_ask_again(s);
                return;
        }
        l->fn = server_on_look;
        l->userdata = s;
        if (pool_submit(s->pool, &l->call) >= 0)
                return;
        l->call.ops->free(&l->call);
        server_ask_again(s);
}

static void server_arm_later(Server *s) {
        if (!timer_is_armed(s->later))
                timer_arm(s->later, LATER_USEC);
}

/*
 * Looking at those on which an act is done: at all together when the last one is, for each question
 * costs libvirtd as much as an act. One that hangs keeps the others waiting only so long.
 */

static void server_on_seen(void *userdata, SeeCall *c) {
        bool is_broken = c->call.error == -ECONNRESET;
        Server *s = userdata;

        s->n_seeing--;
        if (is_broken)
                server_on_break(s, &c->call);
        for (size_t i = 0; i < c->n_seen; i++) {
                Domain *d = server_find(s, c->seen[i].uuid);

                if (d && is_broken)
                        domain_set_asked(d, false);
                else if (d)
                        domain_on_seen(d, c->call.error == 0 ? &c->seen[i].reading : NULL);
        }
        server_see(s);
}

static int server_on_patience(
                sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata) {
        Server *s = userdata;

        s->is_patience_over = true;
        server_see(s);
        s->is_patience_over = false;
        return 0;
}

/* Returns: how many are to be looked at now. */
static size_t server_n_unseen(Server *s) {
        size_t n = 0, n_acting = 0;

        LIST_FOREACH(i, &s->domains) {
                const Domain *d = domain_from_link(i);

                n += domain_is_unseen(d);
                n_acting += domain_is_acting(d);
        }
        if (n == 0 || n_acting == 0 || s->is_patience_over)
                return n;
        if (!timer_is_armed(s->patience))
                timer_arm(s->patience, SEE_PATIENCE_USEC);
        return 0;
}

void server_see(Server *s) {
        size_t n = s->is_up && s->n_seeing < SEES_MAX ? server_n_unseen(s) : 0, k = 0;
        SeeCall *c = n > 0 ? see_call_new(n) : NULL;

        if (n > 0 && !c)
                server_arm_later(s);
        if (!c)
                return;
        LIST_FOREACH(i, &s->domains)
        if (k < n && domain_is_unseen(domain_from_link(i)))
                (void) memcpy(c->seen[k++].uuid, domain_uuid(domain_from_link(i)), VIR_UUID_BUFLEN);
        c->fn = server_on_seen;
        c->userdata = s;
        if (pool_submit(s->pool, &c->call) < 0) {
                c->call.ops->free(&c->call);
                server_arm_later(s);
                return;
        }
        s->n_seeing++;
        LIST_FOREACH(i, &s->domains)
        if (domain_is_unseen(domain_from_link(i)))
                domain_set_asked(domain_from_link(i), true);
}

static int server_on_later(
                sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata) {
        Server *s = userdata;

        LIST_FOREACH(i, &s->domains) {
                Domain *d = domain_from_link(i);

                if (TAKE(*domain_is_dirty(d), false))
                        server_look(s, domain_uuid(d), false);
        }
        server_see(s);
        return 0;
}

void server_look_later(Server *s, Domain *d) {
        *domain_is_dirty(d) = true;
        server_arm_later(s);
}

/* what it tells */

static enum suspendd_run_state news_state(NewsKind kind) {
        switch (kind) {
        case NEWS_PAUSED:
                return SUSPENDD_STATE_PAUSED;
        case NEWS_RESUMED:
                return SUSPENDD_STATE_RUNNING;
        default:
                return SUSPENDD_STATE_UNKNOWN;
        }
}

static void server_on_news(
                void *userdata, NewsKind kind, const unsigned char *uuid, int64_t at_ns) {
        Server *s = userdata;
        Domain *d = server_find(s, uuid);

        if (kind == NEWS_CLOSED) {
                if (s->is_up && !pool_is_alive(s->pool))
                        server_go_down(s, CLOSED);
                return;
        }
        /* What comes while all are being asked for may not be among them. */
        if (!s->is_up) {
                s->shall_list_again |= s->is_listing;
                return;
        }
        if (kind == NEWS_STAMP) {
                if (d)
                        domain_on_stamp(d, at_ns);
                return;
        }
        if (kind == NEWS_RUN || kind == NEWS_DEFINITION || !d) {
                server_look(s, uuid, true);
                return;
        }
        switch (domain_on_event(d, at_ns, news_state(kind))) {
        case EVENT_IS_NEWS:
                server_look(s, uuid, false);
                break;
        case EVENT_IS_ECHO:
                server_look_later(s, d);
                break;
        default:
                break;
        }
}

void server_on_break(Server *s, const Call *c) {
        if (s->is_up && c->epoch == pool_epoch(s->pool))
                server_go_down(s, c->why);
}

void server_on_calls(Server *s) {
        s->ops->on_trouble(s->userdata);
}

bool server_trouble(const Server *s, char *buf, size_t size) {
        size_t n_orphans = pool_n_orphans(s->pool);

        if (!s->is_up && s->why[0] && (s->n_domains > 0 || !presence_can_tell(s->presence)))
                (void) snprintf(buf,
                                size,
                                "%s is out of reach with %zu machines: %s",
                                s->uri,
                                s->n_domains,
                                s->why);
        else if (!s->is_up && s->why[0])
                (void) snprintf(buf, size, "%s cannot be connected to: %s", s->uri, s->why);
        else if (n_orphans > 0)
                (void) snprintf(buf,
                                size,
                                "%s owes %zu answers that nobody waits for",
                                s->uri,
                                n_orphans);
        else
                return false;
        return true;
}

/* lifetime */

static void server_on_presence(void *userdata) {
        Server *s = userdata;

        /* What has come shall not wait for the next try. */
        if (s->is_listing)
                s->shall_list_again = true;
        else
                server_look_round(s);
}

static int server_add_timers(Server *s) {
        int r;

        r = server_add_timer(s, &s->retry, server_on_retry, "libvirt-retry");
        if (r >= 0)
                r = server_add_timer(s, &s->linger, server_on_linger, "libvirt-linger");
        if (r >= 0)
                r = server_add_timer(s, &s->later, server_on_later, "libvirt-later");
        if (r >= 0)
                r = server_add_timer(s, &s->patience, server_on_patience, "libvirt-patience");
        return r;
}

static void *pool_on_open(virConnectPtr conn, void *userdata) {
        return subscription_open(userdata, conn);
}

static void pool_release(void *userdata) {
        (void) subscription_unref(userdata);
}

int server_new(const struct suspendd_host *host,
               Mailbox *mailbox,
               const char *uri,
               const ServerOps *ops,
               void *userdata,
               Server **ret) {
        static const PoolOps pool_ops = {
                .on_open = pool_on_open,
                .on_close = subscription_close,
                .release = pool_release,
        };
        _cleanup_(server_freep) Server *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return -ENOMEM;
        *s = (Server){ .host = host, .ops = ops, .userdata = userdata };
        list_init(&s->servers);
        list_init(&s->domains);
        s->mailbox = mailbox_ref(mailbox);
        s->uri = strdup(uri);
        if (!s->uri)
                return -ENOMEM;
        r = server_add_timers(s);
        if (r >= 0)
                r = presence_new(host->event, uri, server_on_presence, s, &s->presence);
        if (r >= 0)
                r = subscription_new(mailbox, server_on_news, s, &s->subscription);
        if (r >= 0)
                r = pool_new(uri, mailbox, &pool_ops, subscription_ref(s->subscription), &s->pool);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

Server *server_free(Server *s) {
        if (!s)
                return NULL;
        list_unlink(&s->servers);
        LIST_FOREACH(i, &s->domains) {
                domain_lose(domain_from_link(i));
                domain_free(domain_from_link(i));
        }
        if (s->subscription)
                subscription_end(s->subscription);
        (void) subscription_unref(s->subscription);
        pool_free(s->pool);
        presence_free(s->presence);
        sd_event_source_disable_unref(s->retry);
        sd_event_source_disable_unref(s->linger);
        sd_event_source_disable_unref(s->later);
        sd_event_source_disable_unref(s->patience);
        (void) mailbox_unref(s->mailbox);
        free(s->uri);
        free(s);
        return NULL;
}

void server_abandon(Server *s) {
        LIST_FOREACH(i, &s->domains)
        domain_abandon(domain_from_link(i));
}

void server_link(Server *s, List *head) {
        list_append(head, &s->servers);
}

void server_unlink(Server *s) {
        list_unlink(&s->servers);
}

Server *server_from_link(List *link) {
        return LIST_ENTRY(link, Server, servers);
}

void server_set_max_workers(Server *s, unsigned n) {
        s->max_workers = n;
}

bool server_is_settled(const Server *s) {
        return s->is_settled;
}

/* for its domains */

const struct suspendd_host *server_host(const Server *s) {
        return s->host;
}

Mailbox *server_mailbox(const Server *s) {
        return s->mailbox;
}

Pool *server_pool(const Server *s) {
        return s->pool;
}

const char *server_uri(const Server *s) {
        return s->uri;
}

const char *server_vmm(const Server *s) {
        return s->vmm;
}

const char *server_state_directory(const Server *s) {
        return presence_state_directory(s->presence);
}

bool server_can_agents(const Server *s) {
        return s->is_qemu;
}
