/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/doorbells.h"
#include <errno.h>
#include <syslog.h>

int doorbells_new(const struct suspendd_host *host, const char *directory, Doorbells **ret) {
        _cleanup_(doorbells_freep) Doorbells *d = calloc(1, sizeof(*d));
        int r;

        if (!d)
                return -ENOMEM;
        d->host = host;
        d->directory = strdup(directory);
        if (!d->directory)
                return -ENOMEM;
        r = kept_new(host, &d->kept);
        if (r < 0)
                return r;
        r = bell_new(&d->bell);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(d);
        return 0;
}

Doorbells *doorbells_free(Doorbells *d) {
        if (!d)
                return NULL;
        kept_free(d->kept);
        bell_free(d->bell);
        free(d->directory);
        free(d);
        return NULL;
}

bool doorbells_restore(Doorbells *d, const char *fd_name, int fd) {
        return kept_restore(d->kept, fd_name, fd);
}

void doorbells_settle(Doorbells *d) {
        size_t n = kept_settle(d->kept, NULL);

        if (n > 0)
                d->host->log(d->host,
                             LOG_NOTICE,
                             NULL,
                             "%zu descriptors of pages that are no longer there are given up",
                             n);
}
