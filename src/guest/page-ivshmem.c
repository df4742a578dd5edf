/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "guest/memory.h"
#include "guest/page-kind.h"
#include "guest/util.h"

#define VENDOR "0x1af4"
#define DEVICE "0x1110"
#define TEXT_MAX 32
#define PCI_PATH "sys/bus/pci"

/* sysfs, a line at a time */

static void device_path(
                const PageChoice *choice,
                const char *address,
                const char *file,
                char ret[PATH_MAX]) {
        (void) snprintf(ret,
                        PATH_MAX,
                        "%s/" PCI_PATH "/devices/%s/%s",
                        choice->root,
                        address,
                        file);
}

static bool device_says(
                const PageChoice *choice, const char *address, const char *file, const char *text) {
        char path[PATH_MAX], buf[TEXT_MAX];
        _cleanup_close_ int fd = -1;
        ssize_t n;

        device_path(choice, address, file, path);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));
        return n > 0 && (size_t) n >= strlen(text) && strncmp(buf, text, strlen(text)) == 0 &&
               ((size_t) n == strlen(text) || buf[strlen(text)] == '\n');
}

static int write_text(const char *path, const char *text) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* finding */

static void find_driver(const PageChoice *choice, PciDevice *device) {
        char path[PATH_MAX], target[PATH_MAX];
        const char *name;
        ssize_t n;

        device_path(choice, device->address, "driver", path);
        n = readlink(path, target, sizeof(target) - 1);
        device->driver = PCI_DRIVER_NONE;
        if (n <= 0)
                return;
        target[n] = 0;
        name = strrchr(target, '/');
        (void) snprintf(device->driver_name,
                        sizeof(device->driver_name),
                        "%.63s",
                        name ? name + 1 : target);
        device->driver = strcmp(device->driver_name, "vfio-pci") == 0 ? PCI_DRIVER_VFIO
                                                                      : PCI_DRIVER_OTHER;
}

static int by_address(const void *a, const void *b) {
        return strcmp(((const PciDevice *) a)->address, ((const PciDevice *) b)->address);
}

size_t pci_find(const PageChoice *choice, PciDevice *ret, size_t n) {
        char path[PATH_MAX];
        const struct dirent *e;
        size_t n_found = 0;
        DIR *d;

        (void) snprintf(path, sizeof(path), "%s/" PCI_PATH "/devices", choice->root);
        d = opendir(path);
        if (!d)
                return 0;
        while (n_found < n && (e = readdir(d))) { /* NOLINT(concurrency-mt-unsafe): one thread */
                PciDevice *device = ret + n_found;

                if (e->d_name[0] == '.' || strlen(e->d_name) >= DEVICE_NAME_MAX ||
                    !device_says(choice, e->d_name, "vendor", VENDOR) ||
                    !device_says(choice, e->d_name, "device", DEVICE))
                        continue;
                *device = (PciDevice){ 0 };
                (void) snprintf(device->address, sizeof(device->address), "%s", e->d_name);
                find_driver(choice, device);
                n_found++;
        }
        (void) closedir(d);
        qsort(ret, n_found, sizeof(*ret), by_address);
        return n_found;
}

int pci_bind_vfio(const PageChoice *choice, const char *address) {
        char path[PATH_MAX];
        int r;

        device_path(choice, address, "driver_override", path);
        r = write_text(path, "vfio-pci");
        if (r < 0)
                return r;
        (void) snprintf(path, sizeof(path), "%s/" PCI_PATH "/drivers_probe", choice->root);
        return write_text(path, address);
}

/* the memory by sysfs */

typedef struct Probe {
        const void *map;
        DriftRecord record;
        PageError error;
} Probe;

static void probe(void *data) {
        Probe *p = data;

        p->error = page_read_drift(p->map, &p->record);
}

static int map_memory(const char *path, Page *page) {
        struct stat st;
        void *map;

        page->fds[0] = open(path, O_RDWR | O_CLOEXEC);
        if (page->fds[0] < 0 || fstat(page->fds[0], &st) < 0)
                return -errno;
        if (st.st_size < PAGE_SIZE_BYTES)
                return -ENODATA;
        page->map_size = PAGE_SIZE_BYTES;
        map = mmap(NULL, page->map_size, PROT_READ | PROT_WRITE, MAP_SHARED, page->fds[0], 0);
        if (map == MAP_FAILED)
                return -errno;
        page->map = map;
        page->can_answer = true;
        return 0;
}

int page_ivshmem_open(const PageChoice *choice, const char *address, Page *page, PageWhy *why) {
        char path[PATH_MAX];
        Probe p = { 0 };
        int r;

        page->carrier = PAGE_CARRIER_IVSHMEM;
        (void) snprintf(page->name, sizeof(page->name), "%s", address);
        if (!device_says(choice, address, "enable", "1")) {
                device_path(choice, address, "enable", path);
                (void) write_text(path, "1"); /* what is wrong then shows when it is read */
        }
        device_path(choice, address, "resource2", path);
        r = map_memory(path, page);
        if (r < 0) {
                page_why_add(why, "%s: its memory cannot be mapped: %s", address, strerror(-r));
                return r;
        }
        p.map = page->map;
        if (memory_touch(probe, &p) < 0 || p.error == PAGE_NO_RECORD) {
                page_why_add(why, "%s: shared memory without suspendd's record", address);
                return -EBADMSG;
        }
        return 0;
}
