/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/store.h"
#include <errno.h>
#include "plugins/libvirt/definition.h"

typedef struct StoreCall {
        Call call;
        const struct suspendd_host *host;
        uint64_t request;
        unsigned char uuid[VIR_UUID_BUFLEN];
        char *xml; /* NULL: take it out */
} StoreCall;

static int store_in(virDomainPtr dom, const char *xml) {
        unsigned flags = VIR_DOMAIN_AFFECT_LIVE;

        if (virDomainIsPersistent(dom) == 1)
                flags |= VIR_DOMAIN_AFFECT_CONFIG;
        return virDomainSetMetadata(
                        dom,
                        VIR_DOMAIN_METADATA_ELEMENT,
                        xml,
                        DEFINITION_PREFIX,
                        DEFINITION_NAMESPACE,
                        flags);
}

static void store_run(Call *c, virConnectPtr conn) {
        StoreCall *s = LIST_ENTRY(c, StoreCall, call);
        virDomainPtr dom;

        if (!conn)
                return;
        dom = virDomainLookupByUUID(conn, s->uuid);
        if (!dom || store_in(dom, s->xml) < 0)
                call_fail(c, conn);
        if (dom)
                (void) virDomainFree(dom);
}

static void store_on_done(Call *c) {
        StoreCall *s = LIST_ENTRY(c, StoreCall, call);

        s->host->stored(s->host, s->request, c->error, c->error < 0 ? c->why : NULL);
}

static void store_free(Call *c) {
        StoreCall *s = LIST_ENTRY(c, StoreCall, call);

        free(s->xml);
        free(s);
}

int store_mode(const struct suspendd_host *host,
               Pool *p,
               const unsigned char *uuid,
               uint64_t request,
               const char *mode) {
        static const CallOps ops = { .run = store_run, .done = store_on_done, .free = store_free };
        StoreCall *s = calloc(1, sizeof(*s));
        int r = 0;

        if (!s)
                return -ENOMEM;
        call_init(&s->call, &ops, CALL_VCPU);
        s->host = host;
        s->request = request;
        (void) memcpy(s->uuid, uuid, sizeof(s->uuid));
        if (mode)
                r = definition_mode_xml(mode, &s->xml);
        if (r >= 0)
                r = pool_submit(p, &s->call);
        if (r < 0) {
                store_free(&s->call);
                return r;
        }
        return SUSPENDD_PENDING;
}
