/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/store.h"
#include <errno.h>

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
        dom = call_domain_anew(c, s->uuid);
        if (!dom || store_in(dom, s->xml) < 0)
                call_fail(c, conn);
        else
                (void) look_at_facts(dom, s->state_directory, &s->facts);
}

static void store_on_done(Call *c) {
        StoreCall *s = LIST_ENTRY(c, StoreCall, call);

        if (s->domain)
                domain_on_store(s->domain, s);
}

static void store_free(Call *c) {
        StoreCall *s = LIST_ENTRY(c, StoreCall, call);

        domain_facts_done(&s->facts);
        free(s->state_directory);
        free(s->xml);
        free(s);
}

StoreCall *store_call_new(
                const unsigned char *uuid, const char *mode, const char *state_directory) {
        static const CallOps ops = { .run = store_run, .done = store_on_done, .free = store_free };
        StoreCall *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return NULL;
        call_init(&s->call, &ops, CALL_VCPU);
        (void) memcpy(s->uuid, uuid, sizeof(s->uuid));
        r = str_replace(&s->state_directory, state_directory);
        if (r >= 0 && mode)
                r = definition_mode_xml(mode, &s->xml);
        if (r < 0) {
                store_free(&s->call);
                return NULL;
        }
        return s;
}
