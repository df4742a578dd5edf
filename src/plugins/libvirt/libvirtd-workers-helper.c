/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * suspendd-libvirt-workers URI N
 *
 * Has the libvirt daemon whose admin interface is at URI carry out N calls at a time, unless it carries out more
 * already; prints how many it did before, and does now. A program of its own, for libvirt's admin library and the other
 * one know the same types by the same names, and cannot both be used by one process (seen with 9.0).
 */

#include <libvirt/libvirt-admin.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
static int raise_limit(virAdmServerPtr server, unsigned wanted) {
        unsigned before = limit_get(server), now = before > wanted ? before : wanted;

        if (before == 0 || (now > before && limit_set(server, now) < 0))
                return -1;
        (void) printf("%u %u\n", before, now);
        return 0;
}

/* The server that clients connect to is called as the daemon, whose URI begins with that. */
static virAdmServerPtr find_server(virAdmConnectPtr admin, const char *uri) {
        char name[32];

        (void) snprintf(name, sizeof(name), "%.*s", (int) strcspn(uri, ":"), uri);
        return virAdmConnectLookupServer(admin, name, 0);
}

/* It is told once, at the end. */
static void take_error(void *userdata, virErrorPtr error) {
        (void) userdata;
        (void) error;
}

int main(int argc, char *argv[]) {
        virAdmConnectPtr admin;
        virAdmServerPtr server;
        virErrorPtr e;

        if (argc != 3) {
                (void) fprintf(stderr, "usage: %s URI N\n", argv[0]);
                return EXIT_FAILURE;
        }
        virSetErrorFunc(NULL, take_error);
        admin = virAdmConnectOpen(argv[1], 0);
        server = admin ? find_server(admin, argv[1]) : NULL;
        if (server && raise_limit(server, (unsigned) strtoul(argv[2], NULL, 10)) >= 0)
                return EXIT_SUCCESS;
        e = virGetLastError();
        (void) fprintf(stderr, "%s\n", e && e->message ? e->message : "unknown error");
        return EXIT_FAILURE;
}
