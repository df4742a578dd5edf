/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/server-calls.h"
#include <errno.h>
#include <libvirt/virterror.h>
#include <time.h>
#include "common/clock-sample.h"

/* For all domains together. */
#define CONTROL_TRIES 100
#define CONTROL_PAUSE_USEC 10000

/* Returns: 0, also if it is gone; -1 with libvirt's error. */
static int find(virDomainPtr dom, bool with_facts, const char *state_directory, Found *ret) {
        int r = look_at_state(dom, &ret->reading);

        if (r < 0 || ret->reading.is_gone || !with_facts)
                return r;
        /* One that ends between the two questions is gone, and will be told of. */
        (void) look_at_facts(dom, state_directory, &ret->facts);
        return 0;
}

/*
 * A libvirt that was restarted tells what it had written down of a domain, until it has asked QEMU how
 * that really is; it holds the domain for the time being.
 */
static void await_control(virDomainPtr dom, int *tries) {
        virDomainControlInfo info;

        for (; *tries > 0; --*tries) {
                if (virDomainGetControlInfo(dom, &info, 0) < 0 ||
                    info.state == VIR_DOMAIN_CONTROL_OK)
                        return;
                (void) usleep(CONTROL_PAUSE_USEC);
        }
}

/* one domain */

static void look_run(Call *c, virConnectPtr conn) {
        LookCall *l = LIST_ENTRY(c, LookCall, call);
        virDomainPtr dom;
        virErrorPtr e;

        if (!conn)
                return;
        dom = l->with_facts ? call_domain_anew(c, l->uuid) : call_domain(c, l->uuid);
        e = dom ? NULL : virGetLastError();
        if (e && e->code == VIR_ERR_NO_DOMAIN)
                l->found.reading = (Reading){ .asked_ns = clock_now_ns(CLOCK_MONOTONIC),
                                              .is_gone = true };
        else if (!dom || find(dom, l->with_facts, l->state_directory, &l->found) < 0)
                call_fail(c, conn);
}

static void look_on_done(Call *c) {
        LookCall *l = LIST_ENTRY(c, LookCall, call);

        l->fn(l->userdata, l);
}

static void look_free(Call *c) {
        LookCall *l = LIST_ENTRY(c, LookCall, call);

        domain_facts_done(&l->found.facts);
        free(l->state_directory);
        free(l);
}

LookCall *look_call_new(const unsigned char *uuid, bool with_facts, const char *state_directory) {
        static const CallOps ops = { .run = look_run, .done = look_on_done, .free = look_free };
        LookCall *l = calloc(1, sizeof(*l));

        if (!l)
                return NULL;
        call_init(&l->call, &ops, CALL_LOOK);
        (void) memcpy(l->uuid, uuid, sizeof(l->uuid));
        l->with_facts = with_facts;
        if (str_replace(&l->state_directory, state_directory) < 0) {
                look_free(&l->call);
                return NULL;
        }
        return l;
}

/* all that run */

/* Not virConnectGetVersion(): for QEMU's, a libvirtd that was just started probes all its binaries. */
static void describe_vmm(ListCall *l, virConnectPtr conn) {
        const char *type = virConnectGetType(conn);
        unsigned long v = 0;

        l->is_qemu = str_equal(type, "QEMU");
        (void) virConnectGetLibVersion(conn, &v);
        (void) snprintf(l->vmm,
                        sizeof(l->vmm),
                        "%s by libvirt %lu.%lu.%lu",
                        type ?: "VMM",
                        v / 1000000,
                        v / 1000 % 1000,
                        v % 1000);
}

/* One domain that cannot be asked is left out; without the connection there are no others either. */
static void list_fail(ListCall *l, virConnectPtr conn) {
        call_fail(&l->call, conn);
        if (l->call.error != -ECONNRESET)
                l->call.error = 0;
}

static void list_run(Call *c, virConnectPtr conn) {
        ListCall *l = LIST_ENTRY(c, ListCall, call);
        int n, tries = CONTROL_TRIES;
        virDomainPtr *doms;

        if (!conn)
                return;
        l->asked_ns = clock_now_ns(CLOCK_MONOTONIC);
        describe_vmm(l, conn);
        n = virConnectListAllDomains(conn, &doms, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
        if (n < 0) {
                call_fail(c, conn);
                return;
        }
        l->found = calloc((size_t) n + 1, sizeof(*l->found));
        for (int i = 0; i < n; i++) {
                Found *f = l->found ? &l->found[l->n_found] : NULL;

                if (l->is_first && c->error == 0)
                        await_control(doms[i], &tries);
                if (f) {
                        /* The place of one that is gone is the next one's. */
                        f->reading = (Reading){ 0 };
                        (void) virDomainGetUUID(doms[i], f->facts.uuid);
                }
                if (f && c->error == 0 && find(doms[i], true, l->state_directory, f) < 0)
                        list_fail(l, conn);
                if (f && !f->reading.is_gone)
                        l->n_found++;
                (void) virDomainFree(doms[i]);
        }
        if (!l->found)
                c->error = -ENOMEM;
        free(doms);
}

static void list_on_done(Call *c) {
        ListCall *l = LIST_ENTRY(c, ListCall, call);

        l->fn(l->userdata, l);
}

static void list_free(Call *c) {
        ListCall *l = LIST_ENTRY(c, ListCall, call);

        for (size_t i = 0; i < l->n_found; i++)
                domain_facts_done(&l->found[i].facts);
        free(l->found);
        free(l->state_directory);
        free(l);
}

ListCall *list_call_new(const char *state_directory) {
        static const CallOps ops = { .run = list_run, .done = list_on_done, .free = list_free };
        ListCall *l = calloc(1, sizeof(*l));

        if (!l)
                return NULL;
        call_init(&l->call, &ops, CALL_LOOK);
        if (str_replace(&l->state_directory, state_directory) < 0) {
                list_free(&l->call);
                return NULL;
        }
        return l;
}

/* how some are */

static void reading_of_stats(Reading *r, const virDomainStatsRecord *record) {
        if (virTypedParamsGetInt(record->params, record->nparams, "state.state", &r->state) != 1 ||
            virTypedParamsGetInt(record->params, record->nparams, "state.reason", &r->reason) != 1)
                return;
        r->is_gone = r->state == VIR_DOMAIN_SHUTOFF;
}

/* Returns: 0; -1 with libvirt's error. */
static int see_together(SeeCall *s, virDomainPtr *doms) {
        virDomainStatsRecordPtr *records;
        int n;

        n = virDomainListGetStats(doms, VIR_DOMAIN_STATS_STATE, &records, 0);
        for (int k = 0; k < n; k++) {
                unsigned char uuid[VIR_UUID_BUFLEN];

                (void) virDomainGetUUID(records[k]->dom, uuid);
                for (size_t i = 0; i < s->n_seen; i++)
                        if (memcmp(s->seen[i].uuid, uuid, sizeof(uuid)) == 0)
                                reading_of_stats(&s->seen[i].reading, records[k]);
        }
        if (n >= 0)
                virDomainStatsRecordListFree(records);
        return n < 0 ? -1 : 0;
}

/* Finds those that are there still, and takes the others for gone. Returns: how many; -1 with libvirt's error. */
static int see_find(SeeCall *s, virDomainPtr *doms) {
        int64_t asked_ns = clock_now_ns(CLOCK_MONOTONIC);
        int n = 0;

        for (size_t i = 0; i < s->n_seen; i++) {
                virDomainPtr dom = call_domain(&s->call, s->seen[i].uuid);
                virErrorPtr e = dom ? NULL : virGetLastError();

                s->seen[i].reading = (Reading){ .asked_ns = asked_ns, .is_gone = true };
                if (dom)
                        doms[n++] = dom;
                else if (!e || e->code != VIR_ERR_NO_DOMAIN)
                        return -1;
        }
        return n;
}

/* One after the other, where there is only one, or a driver cannot tell of several. */
static int see_each(SeeCall *s) {
        for (size_t i = 0; i < s->n_seen; i++) {
                virDomainPtr dom = call_domain(&s->call, s->seen[i].uuid);

                if (dom && look_at_state(dom, &s->seen[i].reading) < 0)
                        return -1;
        }
        return 0;
}

static void see_run(Call *c, virConnectPtr conn) {
        SeeCall *s = LIST_ENTRY(c, SeeCall, call);
        _cleanup_free_ virDomainPtr *doms = calloc(s->n_seen + 1, sizeof(*doms));
        int n;

        if (!conn)
                return;
        if (!doms) {
                c->error = -ENOMEM;
                return;
        }
        n = see_find(s, doms);
        if (n > 1 && see_together(s, doms) >= 0)
                return;
        if (n < 0 || see_each(s) < 0)
                call_fail(c, conn);
}

static void see_on_done(Call *c) {
        SeeCall *s = LIST_ENTRY(c, SeeCall, call);

        s->fn(s->userdata, s);
}

static void see_free(Call *c) {
        SeeCall *s = LIST_ENTRY(c, SeeCall, call);

        free(s->seen);
        free(s);
}

SeeCall *see_call_new(size_t n) {
        static const CallOps ops = { .run = see_run, .done = see_on_done, .free = see_free };
        SeeCall *s = calloc(1, sizeof(*s));

        if (!s)
                return NULL;
        call_init(&s->call, &ops, CALL_LOOK);
        s->seen = calloc(n, sizeof(*s->seen));
        s->n_seen = n;
        if (!s->seen) {
                see_free(&s->call);
                return NULL;
        }
        return s;
}
