/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/workers.h"
#include <errno.h>
#include <libvirt/libvirt-admin.h>
#include <string.h>
#include "plugins/libvirt/event-loop.h"

/* Returns: the server's limit; 0 with libvirt's error. */
static unsigned limit_get(virAdmServerPtr server) {
        virTypedParameterPtr params = NULL;
        unsigned limit = 0;
        int n = 0;

        if (virAdmServerGetThreadPoolParameters(server, &params, &n, 0) < 0)
                return 0;
        (void) virTypedParamsGetUInt(params, n, VIR_THREADPOOL_WORKERS_MAX, &limit);
        virTypedParamsFree(params, n);
        return limit;
}

/* Returns: 0; -1 with libvirt's error. */
static int limit_set(virAdmServerPtr server, unsigned limit) {
        virTypedParameterPtr params = NULL;
        int n = 0, n_max = 0, r;

        r = virTypedParamsAddUInt(&params, &n, &n_max, VIR_THREADPOOL_WORKERS_MAX, limit);
        if (r >= 0)
                r = virAdmServerSetThreadPoolParameters(server, params, n, 0);
        virTypedParamsFree(params, n);
        return r;
}

/* Returns: 0; -1 with libvirt's error. */
static int raise_limit(WorkersCall *w, virAdmServerPtr server) {
        w->n_now = w->n_before = limit_get(server);
        if (w->n_now == 0)
                return -1;
        if (w->n_now >= w->n_wanted)
                return 0;
        if (limit_set(server, w->n_wanted) < 0)
                return -1;
        w->n_now = w->n_wanted;
        return 0;
}

/* The server that clients connect to is called as the daemon, whose URI begins with that. */
static virAdmServerPtr find_server(virAdmConnectPtr admin, const char *uri) {
        char name[32];

        (void) snprintf(name, sizeof(name), "%.*s", (int) strcspn(uri, ":"), uri);
        return virAdmConnectLookupServer(admin, name, 0);
}

static void workers_run(Call *c, virConnectPtr conn) {
        WorkersCall *w = LIST_ENTRY(c, WorkersCall, call);
        virAdmConnectPtr admin;
        virAdmServerPtr server;

        if (!conn)
                return;
        event_loop_serve(false); /* it brings no events */
        admin = virAdmConnectOpen(w->uri, 0);
        server = admin ? find_server(admin, w->uri) : NULL;
        if (!server || raise_limit(w, server) < 0)
                call_fail(c, conn);
        if (server)
                (void) virAdmServerFree(server);
        if (admin)
                (void) virAdmConnectClose(admin);
}

static void workers_on_done(Call *c) {
        WorkersCall *w = LIST_ENTRY(c, WorkersCall, call);

        w->fn(w->userdata, w);
}

static void workers_free(Call *c) {
        free(LIST_ENTRY(c, WorkersCall, call));
}

WorkersCall *workers_call_new(const char *uri, unsigned n_wanted) {
        static const CallOps ops = { .run = workers_run,
                                     .done = workers_on_done,
                                     .free = workers_free };
        WorkersCall *w = calloc(1, sizeof(*w));

        if (!w)
                return NULL;
        call_init(&w->call, &ops, CALL_LOOK);
        w->call.is_last = true;
        w->uri = uri;
        w->n_wanted = n_wanted;
        return w;
}
