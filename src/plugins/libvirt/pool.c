/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/pool.h"
#include <errno.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include "plugins/libvirt/event-loop.h"
#include "plugins/libvirt/thread.h"

#define LINKS_MAX 64
/* How many of a kind are opened before they are needed; the others when those that are open are busy. */
#define PREPARED_MAX 10

/* What a server with libvirt's own defaults bears. */
static const size_t links_default[CALL_KIND_MAX] = {
        [CALL_LOOK] = 3,
        [CALL_VCPU] = 20,
        [CALL_AGENT] = 15,
};

/* Asking for a domain anew each time would double the calls of a pause. */
#define DOMAINS_MAX 4096

/* One connection to the server. */
struct Link {
        List closing;
        virConnectPtr conn; /* NULL while it is being opened */
        bool is_busy, is_dead;
        virDomainPtr *domains; /* that were asked for here; of whoever has made it busy */
        size_t n_domains;
        const PoolOps *ops; /* of the one that brings events, else NULL */
        void *opened;       /* what on_open() has given */
};

typedef struct Queue {
        List calls;
        size_t n_workers;
        Link *links[LINKS_MAX];
        size_t n_wanted;  /* links that shall be open */
        size_t n_allowed; /* calls at a time */
        size_t n_max; /* links that may be open: as many, or fewer where the server lets in no more */
} Queue;

struct Pool {
        unsigned n_refs; /* by the owner, each worker and each call; under the lock */
        pthread_mutex_t lock;
        pthread_cond_t freed;
        Queue queues[CALL_KIND_MAX];
        bool is_ended;
        bool is_in_process; /* libvirt's test driver: another connection would be another world */
        char *uri;
        Mailbox *mailbox;
        const PoolOps *ops;
        void *userdata;
        size_t n_orphans; /* the loop's alone, as the next */
        unsigned epoch;
};

typedef struct Worker {
        Pool *pool;
        CallKind kind;
} Worker;

/* lifetime */

/* Under the lock, which is gone afterwards. */
static void pool_unref_and_unlock(Pool *p) {
        bool is_last = --p->n_refs == 0;

        (void) pthread_mutex_unlock(&p->lock);
        if (!is_last)
                return;
        p->ops->release(p->userdata);
        (void) mailbox_unref(p->mailbox);
        (void) pthread_cond_destroy(&p->freed);
        (void) pthread_mutex_destroy(&p->lock);
        free(p->uri);
        free(p);
}

int pool_new(const char *uri, Mailbox *mailbox, const PoolOps *ops, void *userdata, Pool **ret) {
        Pool *p = calloc(1, sizeof(*p));

        if (!p) {
                ops->release(userdata);
                return -ENOMEM;
        }
        *p = (Pool){ .n_refs = 1, .ops = ops, .userdata = userdata };
        (void) pthread_mutex_init(&p->lock, NULL);
        (void) pthread_cond_init(&p->freed, NULL);
        for (int k = 0; k < CALL_KIND_MAX; k++) {
                list_init(&p->queues[k].calls);
                p->queues[k].n_max = p->queues[k].n_allowed = links_default[k];
        }
        p->mailbox = mailbox_ref(mailbox);
        p->uri = strdup(uri);
        if (!p->uri) {
                (void) pool_free(p);
                return -ENOMEM;
        }
        *ret = p;
        return 0;
}

Pool *pool_free(Pool *p) {
        if (!p)
                return NULL;
        /* First, so that nothing is opened any more that nobody would close. */
        (void) pthread_mutex_lock(&p->lock);
        p->is_ended = true;
        (void) pthread_mutex_unlock(&p->lock);
        pool_hang_up(p);
        (void) pthread_mutex_lock(&p->lock);
        for (int k = 0; k < CALL_KIND_MAX; k++)
                LIST_FOREACH(i, &p->queues[k].calls) {
                        Call *c = LIST_ENTRY(i, Call, letter.letters);

                        list_unlink(i);
                        c->ops->free(c);
                        p->n_refs--;
                }
        pool_unref_and_unlock(p);
        return NULL;
}

/* connections: closing one asks the server, which may hang, so that is left to threads as well */

static void link_forget(Link *l) {
        for (size_t i = 0; i < l->n_domains; i++)
                (void) virDomainFree(l->domains[i]);
        l->n_domains = 0;
}

static void link_free(Link *l) {
        link_forget(l);
        free(l->domains);
        if (l->opened)
                l->ops->on_close(l->conn, l->opened);
        if (l->conn)
                (void) virConnectClose(l->conn);
        free(l);
}

static virDomainPtr *link_find(Link *l, const unsigned char *uuid) {
        unsigned char its[VIR_UUID_BUFLEN];

        for (size_t i = 0; i < l->n_domains; i++)
                if (virDomainGetUUID(l->domains[i], its) == 0 &&
                    memcmp(its, uuid, sizeof(its)) == 0)
                        return &l->domains[i];
        return NULL;
}

/* Keeps @dom, or frees it. */
static virDomainPtr link_keep(Link *l, virDomainPtr dom) {
        virDomainPtr *domains;

        domains = reallocarray(l->domains, l->n_domains + 1, sizeof(virDomainPtr));
        if (!domains) {
                (void) virDomainFree(dom);
                return NULL;
        }
        l->domains = domains;
        l->domains[l->n_domains++] = dom;
        return dom;
}

static void *run_closer(void *userdata) {
        List *dead = userdata;

        LIST_FOREACH(i, dead)
        link_free(LIST_ENTRY(i, Link, closing));
        free(dead);
        return NULL;
}

/* Takes all links out of use; those that nobody uses go to @dead. */
static void queue_hang_up(Queue *q, size_t n_allowed, List *dead) {
        q->n_wanted = 0;
        q->n_max = q->n_allowed = n_allowed;
        for (size_t i = 0; i < LINKS_MAX; i++) {
                Link *l = TAKE_PTR(q->links[i]);

                if (!l)
                        continue;
                l->is_dead = true;
                if (!l->is_busy)
                        list_append(dead, &l->closing);
        }
}

void pool_hang_up(Pool *p) {
        List *dead = malloc(sizeof(*dead));

        p->epoch++;
        if (!dead)
                return;
        list_init(dead);
        (void) pthread_mutex_lock(&p->lock);
        for (int k = 0; k < CALL_KIND_MAX; k++)
                queue_hang_up(&p->queues[k], links_default[k], dead);
        /* Who waits for one of them opens one anew. */
        (void) pthread_cond_broadcast(&p->freed);
        (void) pthread_mutex_unlock(&p->lock);
        if (list_is_empty(dead) || thread_start(run_closer, dead, "libvirt-close") < 0)
                free(dead); /* without a thread they stay open, and that is all */
}

unsigned pool_epoch(const Pool *p) {
        return p->epoch;
}

bool pool_is_alive(Pool *p) {
        const Link *l;
        bool is_alive;

        (void) pthread_mutex_lock(&p->lock);
        l = p->queues[CALL_LOOK].links[0];
        is_alive = l && l->conn && virConnectIsAlive(l->conn) == 1;
        (void) pthread_mutex_unlock(&p->lock);
        return is_alive;
}

/* Opens a link in an empty slot, with the lock let go of meanwhile. Returns: NULL if it cannot be had. */
static Link *pool_open(Pool *p, Link **slot) {
        bool brings_events = slot == &p->queues[CALL_LOOK].links[0], is_in_process;
        Link *l = calloc(1, sizeof(*l));
        virConnectPtr conn;

        if (!l)
                return NULL;
        list_init(&l->closing);
        l->is_busy = true;
        *slot = l;
        (void) pthread_mutex_unlock(&p->lock);
        event_loop_serve(brings_events);
        conn = virConnectOpen(p->uri);
        if (conn && brings_events) {
                l->ops = p->ops;
                l->opened = p->ops->on_open(conn, p->userdata);
        }
        if (conn && brings_events && !l->opened) {
                (void) virConnectClose(conn);
                conn = NULL;
        }
        /* Without the lock, as it asks the server: one that is silent must not keep the loop from it. */
        is_in_process = conn && str_equal(virConnectGetType(conn), "TEST");
        (void) pthread_mutex_lock(&p->lock);
        l->conn = conn;
        p->is_in_process |= is_in_process;
        (void) pthread_cond_broadcast(&p->freed);
        if (conn)
                return l;
        if (!l->is_dead)
                *slot = NULL;
        free(l);
        return NULL;
}

/* A link that is open and idle; else NULL, and an empty slot or NULL. Returns: how many links there are. */
static size_t queue_survey(Queue *q, size_t max, Link **ret_idle, Link ***ret_slot) {
        size_t n = 0;

        *ret_idle = NULL;
        *ret_slot = NULL;
        for (size_t i = LINKS_MAX; i-- > 0;) {
                n += q->links[i] != NULL;
                if (!q->links[i])
                        *ret_slot = &q->links[i];
                else if (!q->links[i]->is_busy)
                        *ret_idle = q->links[i];
        }
        if (n >= max)
                *ret_slot = NULL;
        return n;
}

/* The server lets in no more: what is open must do. Returns: whether anything is. */
static bool queue_is_full_now(Queue *q) {
        size_t n_open = 0;

        for (size_t i = 0; i < LINKS_MAX; i++)
                n_open += q->links[i] && q->links[i]->conn;
        if (n_open > 0)
                q->n_max = q->n_wanted = n_open;
        return n_open > 0;
}

/* A link for a call of @kind, made busy; NULL if none can be had. Under the lock. */
static Link *pool_link(Pool *p, CallKind kind) {
        for (;;) {
                Queue *q = &p->queues[p->is_in_process ? CALL_LOOK : kind];
                size_t max = p->is_in_process ? 1 : q->n_max;
                Link *idle, **slot, *opened;
                size_t n;

                n = queue_survey(q, max, &idle, &slot);
                if (slot && !p->is_ended && (!idle || n < q->n_wanted)) {
                        opened = pool_open(p, slot);
                        if (opened || !queue_is_full_now(q))
                                return opened;
                        continue;
                }
                if (idle) {
                        idle->is_busy = true;
                        return idle;
                }
                if (p->is_ended)
                        return NULL;
                (void) pthread_cond_wait(&p->freed, &p->lock);
        }
}

/* Gives a link back; one that is dead is closed, with the lock let go of meanwhile. */
static void pool_unlink(Pool *p, Link *l) {
        l->is_busy = false;
        (void) pthread_cond_broadcast(&p->freed);
        if (!l->is_dead)
                return;
        (void) pthread_mutex_unlock(&p->lock);
        link_free(l);
        (void) pthread_mutex_lock(&p->lock);
}

/* calls */

void call_init(Call *c, const CallOps *ops, CallKind kind) {
        *c = (Call){ .ops = ops, .kind = kind };
        list_init(&c->letter.letters);
}

virDomainPtr call_domain(Call *c, const unsigned char *uuid) {
        virDomainPtr *found = link_find(c->link, uuid);

        return found ? *found : call_domain_anew(c, uuid);
}

virDomainPtr call_domain_anew(Call *c, const unsigned char *uuid) {
        virDomainPtr *found = link_find(c->link, uuid), dom;

        if (found) {
                (void) virDomainFree(*found);
                *found = c->link->domains[--c->link->n_domains];
        }
        dom = virDomainLookupByUUID(c->link->conn, uuid);
        return dom ? link_keep(c->link, dom) : NULL;
}

void call_fail(Call *c, virConnectPtr conn) {
        virErrorPtr e = virGetLastError();
        int code = e ? e->code : VIR_ERR_INTERNAL_ERROR;

        (void) snprintf(c->why,
                        sizeof(c->why),
                        "%s",
                        e && e->message ? e->message : "unknown error");
        if (!conn || virConnectIsAlive(conn) != 1)
                c->error = -ECONNRESET;
        else if (code == VIR_ERR_NO_DOMAIN)
                c->error = -ESRCH;
        else if (code == VIR_ERR_OPERATION_TIMEOUT)
                c->error = -EBUSY;
        else if (code == VIR_ERR_AGENT_UNRESPONSIVE)
                c->error = -ENOTCONN;
        else if (code == VIR_ERR_NO_SUPPORT || code == VIR_ERR_OPERATION_UNSUPPORTED ||
                 code == VIR_ERR_ARGUMENT_UNSUPPORTED || code == VIR_ERR_CONFIG_UNSUPPORTED)
                c->error = -EOPNOTSUPP;
        else
                c->error = -EIO;
}

void call_end(Call *c) {
        Pool *p = c->pool;

        c->ops->free(c);
        (void) pthread_mutex_lock(&p->lock);
        pool_unref_and_unlock(p);
}

static void call_deliver(Letter *l) {
        Call *c = LIST_ENTRY(l, Call, letter);
        bool is_ended;

        c->is_back = true;
        if (c->is_counted)
                c->pool->n_orphans--;
        (void) pthread_mutex_lock(&c->pool->lock);
        is_ended = c->pool->is_ended;
        (void) pthread_mutex_unlock(&c->pool->lock);
        if (!is_ended)
                c->ops->done(c);
        if (!c->is_kept)
                call_end(c);
}

static void call_drop(Letter *l) {
        call_end(LIST_ENTRY(l, Call, letter));
}

static Call *queue_take(Queue *q) {
        Call *c;

        if (list_is_empty(&q->calls))
                return NULL;
        c = LIST_ENTRY(q->calls.next, Call, letter.letters);
        list_unlink(&c->letter.letters);
        return c;
}

/* With the lock let go of meanwhile. */
static void worker_run(Pool *p, Call *c, Link *l) {
        (void) pthread_mutex_unlock(&p->lock);
        c->link = l;
        if (l && l->n_domains > DOMAINS_MAX)
                link_forget(l);
        atomic_store(&c->has_begun, true);
        if (!l)
                call_fail(c, NULL);
        if (atomic_load(&c->is_given_up))
                c->error = -ECANCELED;
        else
                c->ops->run(c, l ? l->conn : NULL);
        (void) pthread_mutex_lock(&p->lock);
        if (l)
                pool_unlink(p, l);
        (void) pthread_mutex_unlock(&p->lock);
        mailbox_post(p->mailbox, &c->letter);
        (void) pthread_mutex_lock(&p->lock);
}

static void *worker_main(void *userdata) {
        Worker w = *(Worker *) userdata;
        Queue *q = &w.pool->queues[w.kind];
        Call *c;

        free(userdata);
        (void) pthread_mutex_lock(&w.pool->lock);
        while ((c = queue_take(q)))
                worker_run(w.pool, c, pool_link(w.pool, w.kind));
        q->n_workers--;
        pool_unref_and_unlock(w.pool);
        return NULL;
}

/* Under the lock. */
static int pool_start_worker(Pool *p, CallKind kind) {
        Worker *w = malloc(sizeof(*w));
        int r;

        if (!w)
                return -ENOMEM;
        *w = (Worker){ .pool = p, .kind = kind };
        r = thread_start(worker_main, w, "libvirt-call");
        if (r < 0) {
                free(w);
                return r;
        }
        p->n_refs++;
        p->queues[kind].n_workers++;
        return 0;
}

static void queue_insert(Queue *q, Call *c) {
        List *before = &q->calls;

        /* Those that go last stand together at the end. */
        while (!c->is_last && before->prev != &q->calls &&
               LIST_ENTRY(before->prev, Call, letter.letters)->is_last)
                before = before->prev;
        list_append(before, &c->letter.letters);
}

int pool_submit(Pool *p, Call *c) {
        Queue *q = &p->queues[c->kind];
        int r = 0;

        c->pool = p;
        c->epoch = p->epoch;
        c->letter.deliver = call_deliver;
        c->letter.drop = call_drop;
        (void) pthread_mutex_lock(&p->lock);
        queue_insert(q, c);
        /* One worker more: those under way may hang. */
        if (q->n_workers < q->n_allowed)
                r = pool_start_worker(p, c->kind);
        if (r < 0 && q->n_workers > 0)
                r = 0;
        if (r < 0)
                list_unlink(&c->letter.letters);
        else
                p->n_refs++;
        (void) pthread_mutex_unlock(&p->lock);
        return r;
}

void call_give_up(Call *c) {
        atomic_store(&c->is_given_up, true);
        if (c->is_counted || c->is_back || !atomic_load(&c->has_begun))
                return;
        c->is_counted = true;
        c->pool->n_orphans++;
}

size_t pool_n_orphans(const Pool *p) {
        return p->n_orphans;
}

/* opening links before they are needed */

/* The domains that are there now, too: those the first call on them need not ask for. */
static void prepare_run(Call *c, virConnectPtr conn) {
        virDomainPtr *domains;
        int n;

        if (!conn)
                return;
        n = virConnectListAllDomains(conn, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
        if (n < 0)
                return;
        link_forget(c->link);
        for (int i = 0; i < n; i++)
                (void) link_keep(c->link, domains[i]);
        free(domains);
}

static void prepare_done(Call *c _unused_) {
}

static void prepare_free(Call *c) {
        free(c);
}

void pool_allow(Pool *p, CallKind kind, size_t n) {
        Queue *q = &p->queues[kind];

        (void) pthread_mutex_lock(&p->lock);
        q->n_max = q->n_allowed = MIN(MAX(n, links_default[kind]), (size_t) LINKS_MAX);
        /* For those that wait; what the server would not let in before is tried once more. */
        LIST_FOREACH(i, &q->calls)
        if (q->n_workers < q->n_allowed)
                (void) pool_start_worker(p, kind);
        (void) pthread_cond_broadcast(&p->freed);
        (void) pthread_mutex_unlock(&p->lock);
}

void pool_prepare(Pool *p, CallKind kind, size_t n) {
        static const CallOps prepare_ops = { .run = prepare_run,
                                             .done = prepare_done,
                                             .free = prepare_free };
        size_t n_wanted = MIN(n, (size_t) PREPARED_MAX);
        size_t n_before;

        (void) pthread_mutex_lock(&p->lock);
        n_before = p->queues[kind].n_wanted;
        p->queues[kind].n_wanted = n_wanted;
        (void) pthread_mutex_unlock(&p->lock);
        for (size_t i = n_before; i < n_wanted; i++) {
                Call *c = malloc(sizeof(*c));

                if (!c)
                        return;
                call_init(c, &prepare_ops, kind);
                c->is_last = true; /* whoever has a machine to run again goes first */
                if (pool_submit(p, c) < 0)
                        free(c);
        }
}
