/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include "guest/memory.h"
#include "guest/page-kind.h"
#include "guest/util.h"

#define N_DEVICES 4

typedef struct Probe {
        const void *map;
        VmclockPage clock;
        DriftRecord record;
        PageError vmclock, drift;
} Probe;

static void probe(void *data) {
        Probe *p = data;

        p->vmclock = page_read_vmclock(p->map, &p->clock);
        p->drift = page_read_drift(p->map, &p->record);
}

static int open_one(Page *page, bool notifies, PageWhy *why) {
        Probe p = { 0 };

        page->fds[0] = open(page->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (page->fds[0] < 0) {
                int r = -errno;

                if (r != -ENOENT && !notifies)
                        page_why_add(why, "%s: %s", page->name, strerror(-r));
                return r;
        }
        /* The driver wants exactly one page, of the kernel's size. */
        page->map_size = (size_t) sysconf(_SC_PAGESIZE);
        p.map = mmap(NULL, page->map_size, PROT_READ, MAP_SHARED, page->fds[0], 0);
        if (p.map == MAP_FAILED) {
                int r = -errno;

                if (!notifies)
                        page_why_add(why, "%s: cannot be mapped: %s", page->name, strerror(-r));
                return r;
        }
        page->map = (void *) p.map;
        if (memory_touch(probe, &p) < 0 || p.drift == PAGE_NO_RECORD) {
                if (!notifies)
                        page_why_add(why, "%s: a clock without suspendd's record", page->name);
                return -EBADMSG;
        }
        if (notifies !=
            (p.vmclock == PAGE_OK && (p.clock.flags & VMCLOCK_FLAG_NOTIFICATION_PRESENT)))
                return -ENOENT;
        if (notifies)
                page->wait_fd = page->fds[0];
        return 0;
}

int page_vmclock_open(const PageChoice *choice, bool notifies, Page *page, PageWhy *why) {
        int error = -ENOENT;

        for (unsigned i = 0; i < N_DEVICES; i++) {
                int r;

                page_close(page);
                page->carrier = PAGE_CARRIER_VMCLOCK;
                (void) snprintf(page->name,
                                sizeof(page->name),
                                "%s/dev/vmclock%u",
                                choice->root,
                                i);
                r = open_one(page, notifies, why);
                if (r >= 0)
                        return r;
                if (r != -ENOENT)
                        error = r;
        }
        return error;
}
