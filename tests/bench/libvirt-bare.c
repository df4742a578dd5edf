/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * libvirt-bare URI
 *
 * The least client that is connected to libvirt and hears of its domains' events: what the memory of
 * one that does more is compared with. Prints "ready", and stays.
 */

#include <libvirt/libvirt.h>
#include <stdio.h>
#include <stdlib.h>

static int on_lifecycle(
                virConnectPtr conn, virDomainPtr domain, int event, int detail, void *userdata) {
        (void) conn;
        (void) domain;
        (void) event;
        (void) detail;
        (void) userdata;
        return 0;
}

int main(int argc, char **argv) {
        virConnectPtr conn;

        if (argc != 2 || virEventRegisterDefaultImpl() < 0)
                return EXIT_FAILURE;
        conn = virConnectOpen(argv[1]);
        if (!conn || virConnectDomainEventRegisterAny(
                                     conn,
                                     NULL,
                                     VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                     VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle),
                                     NULL,
                                     NULL) < 0)
                return EXIT_FAILURE;
        puts("ready");
        (void) fflush(stdout);
        while (virEventRunDefaultImpl() >= 0)
                ;
        return EXIT_SUCCESS;
}
