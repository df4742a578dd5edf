/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/page.h"
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include "guest/memory.h"
#include "guest/page-kind.h"
#include "guest/util.h"

#define N_DEVICES 16

/* A driver that says that it is readable whenever it is asked is no use to wait for. */
#define IDLE_WAKES_MAX 20

void page_why_add(PageWhy *why, const char *format, ...) {
        size_t n = strnlen(why->text, why->size);
        va_list list;

        if (n > 0 && n + 2 < why->size) {
                memcpy(why->text + n, "; ", 3);
                n += 2;
        }
        va_start(list, format);
        (void) vsnprintf(why->text + n, why->size - n, format, list);
        va_end(list);
}

/* lifetime */

static void page_init(Page *page) {
        *page = (Page){ .fds = { -1, -1, -1 }, .wait_fd = -1 };
}

void page_close(Page *page) {
        if (page->map)
                (void) munmap(page->map, page->map_size);
        if (page->owns_wait_fd)
                closep(&page->wait_fd);
        for (size_t i = 0; i < ARRAY_LEN(page->fds); i++)
                closep(&page->fds[i]);
        page_init(page);
}

typedef struct Search {
        const PageChoice *choice;
        PciDevice devices[N_DEVICES];
        size_t n_devices;
        int error; /* of the first that was there and was not taken; 0: none */
        PageWhy why;
} Search;

static int note(Search *s, int r) {
        if (r < 0 && r != -ENOENT && s->error == 0)
                s->error = r;
        return r;
}

static void find_devices(Search *s) {
        size_t n = pci_find(s->choice, s->devices, N_DEVICES);

        for (size_t i = 0; i < n; i++) {
                PciDevice *device = &s->devices[i];

                if (s->choice->device && strcmp(s->choice->device, device->address) != 0)
                        continue;
                if (s->choice->wants_vfio && device->driver == PCI_DRIVER_NONE &&
                    pci_bind_vfio(s->choice, device->address) == 0)
                        device->driver = PCI_DRIVER_VFIO;
                /* A driver that reads the page in the kernel puts more clocks right than we could. */
                if (device->driver == PCI_DRIVER_OTHER)
                        page_why_add(&s->why,
                                     "%s: left to the driver %s",
                                     device->address,
                                     device->driver_name);
                else
                        s->devices[s->n_devices++] = *device;
        }
}

static int open_device(Search *s, PciDriver driver, Page *page) {
        int r = -ENOENT;

        for (size_t i = 0; i < s->n_devices && r < 0; i++) {
                const PciDevice *device = &s->devices[i];

                if (device->driver != driver)
                        continue;
                page_close(page);
                if (driver == PCI_DRIVER_VFIO)
                        r = note(s, page_vfio_open(s->choice, device->address, page, &s->why));
                else
                        r = note(s, page_ivshmem_open(s->choice, device->address, page, &s->why));
        }
        return r;
}

/* With an interrupt before without, and where that is equal, what can be answered first. */
static int open_best(Search *s, Page *page) {
        bool any = !s->choice->device && !s->choice->wants_vfio;
        int r;

        find_devices(s);
        r = open_device(s, PCI_DRIVER_VFIO, page);
        if (r < 0 && any)
                r = note(s, page_vmclock_open(s->choice, true, page, &s->why));
        if (r < 0 && !s->choice->wants_vfio)
                r = open_device(s, PCI_DRIVER_NONE, page);
        if (r < 0 && any)
                r = note(s, page_vmclock_open(s->choice, false, page, &s->why));
        return r < 0 && s->error < 0 ? s->error : r;
}

int page_open(const PageChoice *choice, Page *ret, char *ret_why, size_t why_size) {
        Search search = { .choice = choice, .why = { .text = ret_why, .size = why_size } };
        Page page;
        int r;

        page_init(&page);
        ret_why[0] = 0;
        if (choice->file) {
                (void) snprintf(page.name, sizeof(page.name), "%s", choice->file);
                r = strlen(choice->file) < sizeof(page.name)
                                    ? page_file_open(choice, &page, &search.why)
                                    : -ENAMETOOLONG;
        } else
                r = open_best(&search, &page);
        if (r < 0) {
                page_close(&page);
                return r;
        }
        *ret = page;
        return 0;
}

/* reading */

typedef struct Reading {
        const void *map;
        DriftRecord record;
        PageError error;
} Reading;

static void read_map(void *data) {
        Reading *r = data;

        r->error = page_read_drift(r->map, &r->record);
}

int page_error_errno(PageError error) {
        switch (error) {
        case PAGE_OK:
                return 0;
        case PAGE_NO_RECORD:
                return -EBADMSG;
        case PAGE_OTHER_KIND:
                return -EPROTONOSUPPORT;
        case PAGE_KEEPS_MOVING:
                return -EBUSY;
        }
        return -EBADMSG;
}

int page_read_record(Page *page, DriftRecord *ret) {
        Reading reading = { .map = page->map };
        int r;

        if (page->carrier == PAGE_CARRIER_FILE)
                return page_file_read(page, ret);
        r = memory_touch(read_map, &reading);
        if (r < 0)
                return r;
        r = page_error_errno(reading.error);
        if (r == 0)
                *ret = reading.record;
        return r;
}

const char *page_error_text(int error) {
        switch (error) {
        case -ENODATA:
                return "it is shorter than a page of 4096 bytes";
        case -EBADMSG:
                return "there is no record of suspendd in it";
        case -EPROTONOSUPPORT:
                return "its record is of a revision that this program does not know";
        case -EBUSY:
                return "it keeps moving";
        case -EFAULT:
                return "its memory is gone";
        default:
                return strerror(-error); /* NOLINT(concurrency-mt-unsafe): one thread */
        }
}

const char *page_carrier_text(PageCarrier carrier) {
        static const char *const texts[PAGE_CARRIER_MAX] = {
                [PAGE_CARRIER_FILE] = "a file",
                [PAGE_CARRIER_VMCLOCK] = "a VMClock device",
                [PAGE_CARRIER_IVSHMEM] = "an ivshmem device by sysfs",
                [PAGE_CARRIER_VFIO] = "an ivshmem device by vfio",
        };

        return carrier >= 0 && carrier < PAGE_CARRIER_MAX ? texts[carrier] : NULL;
}

typedef struct Writing {
        void *map;
        const DriftAnswer *answer;
} Writing;

static void write_map(void *data) {
        Writing *w = data;

        page_write_answer(w->map, w->answer);
}

static void answer_in_file(const Page *page, const DriftAnswer *answer) {
        _cleanup_close_ int fd = open(page->name, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        const size_t last = offsetof(DriftAnswer, publishings);

        if (fd < 0)
                return;
        /* The number of the publishing says that the rest is there. */
        if (pwrite(fd, answer, last, ANSWER_OFFSET) == (ssize_t) last)
                (void) !pwrite(fd,
                               &answer->publishings,
                               sizeof(answer->publishings),
                               ANSWER_OFFSET + (off_t) last);
}

void page_answer(Page *page, const DriftAnswer *answer) {
        Writing w = { .map = page->map, .answer = answer };

        if (!page->can_answer)
                return;
        if (page->carrier == PAGE_CARRIER_FILE)
                answer_in_file(page, answer);
        else
                (void) memory_touch(write_map, &w);
}

/* waiting */

static void vmclock_woken(Page *page) {
        VmclockPage clock = { 0 };
        uint32_t sequence;

        /* What poll() compares is what was read last. */
        if (pread(page->wait_fd, &clock, sizeof(clock), 0) < (ssize_t) sizeof(clock)) {
                page->wait_fd = -1;
                return;
        }
        sequence = clock.sequence;
        page->n_idle_wakes = sequence == page->waited_sequence ? page->n_idle_wakes + 1 : 0;
        page->waited_sequence = sequence;
        if (page->n_idle_wakes > IDLE_WAKES_MAX)
                page->wait_fd = -1;
}

void page_woken(Page *page) {
        uint64_t n;

        if (page->wait_fd < 0)
                return;
        if (page->carrier == PAGE_CARRIER_VMCLOCK)
                vmclock_woken(page);
        else
                (void) !read(page->wait_fd, &n, sizeof(n));
}

void page_rearm(Page *page) {
        if (page->carrier == PAGE_CARRIER_VFIO)
                page_vfio_rearm(page);
}
