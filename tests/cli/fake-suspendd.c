/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* fake-suspendd [N]: serves org.suspendd1 with the fake engine and N machines more, until it is killed. */

#include <stdlib.h>
#include "fake-engine.h"

int main(int argc, char **argv) {
        Manager *m;
        int r;

        r = fake_manager_new(argc > 1 ? strtoul(argv[1], NULL, 10) : 0, &m);
        if (r >= 0)
                r = sd_bus_request_name(m->bus, "org.suspendd1", 0);
        if (r >= 0)
                r = sd_event_loop(m->event);
        if (r < 0)
                (void) fprintf(stderr, "fake-suspendd: %s\n", strerror(-r));
        return r < 0;
}
