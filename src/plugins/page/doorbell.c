/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A doorbell that nobody hears. */

#include "plugins/page/doorbell.h"
#include <errno.h>

struct Doorbells {
        const struct suspendd_host *host;
};

struct Doorbell {
        unsigned n_rung;
};

int doorbells_new(const struct suspendd_host *host, const char *directory, Doorbells **ret) {
        Doorbells *d = malloc(sizeof(*d));

        (void) directory;
        if (!d)
                return -ENOMEM;
        d->host = host;
        *ret = d;
        return 0;
}

Doorbells *doorbells_free(Doorbells *d) {
        free(d);
        return NULL;
}

bool doorbells_restore(Doorbells *d, const char *fd_name, int fd) {
        (void) d;
        (void) fd_name;
        (void) fd;
        return false;
}

void doorbells_settle(Doorbells *d) {
        (void) d;
}

int doorbell_new(
                Doorbells *all,
                const char *name,
                int page_fd,
                uid_t owner,
                unsigned n_vectors,
                Doorbell **ret) {
        Doorbell *d = calloc(1, sizeof(*d));

        (void) all;
        (void) name;
        (void) page_fd;
        (void) owner;
        (void) n_vectors;
        if (!d)
                return -ENOMEM;
        *ret = d;
        return 0;
}

Doorbell *doorbell_free(Doorbell *d) {
        free(d);
        return NULL;
}

Doorbell *doorbell_remove(Doorbell *d) {
        return doorbell_free(d);
}

void doorbell_ring(Doorbell *d) {
        d->n_rung++;
}

size_t doorbell_n_peers(const Doorbell *d) {
        (void) d;
        return 0;
}
