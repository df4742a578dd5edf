/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * doorbell-wait ADDRESS
 *
 * Waits for the interrupts of the ivshmem-doorbell at that PCI address, through the stock driver vfio-pci and
 * a virtual IOMMU: no driver of ours. Prints "ready N" with the number of vectors, then a line for each
 * interrupt: "vector N count N unseen NS at MONOTONIC", where unseen is what the page in its memory says then.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "common/page-layout.h"

#define VECTORS_MAX 16
#define PCI_COMMAND 4
#define PCI_COMMAND_MEMORY_AND_MASTER 6

static void fail(const char *what) {
        printf("error %s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
}

static void write_file(
                const char *folder, const char *address, const char *name, const char *text) {
        char path[256];
        int fd;

        (void) snprintf(path,
                        sizeof(path),
                        "%s/%s%s%s",
                        folder,
                        address,
                        *address ? "/" : "",
                        name);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, text, strlen(text)) < 0)
                fail(path);
        close(fd);
}

/* Gives the device to vfio-pci; returns its group. */
static int bind_device(const char *address) {
        char path[256], target[256];
        ssize_t n;

        write_file("/sys/bus/pci/devices", address, "driver_override", "vfio-pci");
        write_file("/sys/bus/pci", "", "drivers_probe", address);
        (void) snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
        n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
                fail(path);
        target[n] = 0;
        return atoi(strrchr(target, '/') + 1);
}

static int open_device(const char *address, int group_number) {
        struct vfio_group_status status = { .argsz = sizeof(status) };
        int container, group, device;
        char path[64];

        container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
        (void) snprintf(path, sizeof(path), "/dev/vfio/%d", group_number);
        group = open(path, O_RDWR | O_CLOEXEC);
        if (container < 0 || group < 0)
                fail(path);
        if (ioctl(group, VFIO_GROUP_GET_STATUS, &status) < 0 ||
            !(status.flags & VFIO_GROUP_FLAGS_VIABLE))
                fail("the group is not viable");
        if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0 ||
            ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU) < 0)
                fail("container");
        device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address);
        if (device < 0)
                fail("device");
        return device;
}

static uint64_t region_offset(int device, unsigned index) {
        struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

        if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) < 0)
                fail("region");
        return info.offset;
}

/* Memory decoding and bus mastering on; returns the page. */
static const void *enable_device(int device) {
        off_t at = (off_t) region_offset(device, VFIO_PCI_CONFIG_REGION_INDEX) + PCI_COMMAND;
        uint16_t command;
        void *map;

        if (pread(device, &command, sizeof(command), at) != sizeof(command))
                fail("command");
        command |= PCI_COMMAND_MEMORY_AND_MASTER;
        if (pwrite(device, &command, sizeof(command), at) != sizeof(command))
                fail("command");
        map = mmap(NULL,
                   PAGE_SIZE_BYTES,
                   PROT_READ | PROT_WRITE,
                   MAP_SHARED,
                   device,
                   (off_t) region_offset(device, VFIO_PCI_BAR2_REGION_INDEX));
        if (map == MAP_FAILED)
                fail("BAR2");
        return map;
}

/* An eventfd for each vector of MSI-X. Returns how many. */
static unsigned take_vectors(int device, int fds[static VECTORS_MAX]) {
        struct vfio_irq_info info = { .argsz = sizeof(info), .index = VFIO_PCI_MSIX_IRQ_INDEX };
        char buffer[sizeof(struct vfio_irq_set) + VECTORS_MAX * sizeof(int)];
        struct vfio_irq_set *set = (struct vfio_irq_set *) buffer;

        if (ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0 || info.count < 1 ||
            info.count > VECTORS_MAX)
                fail("vectors");
        for (unsigned i = 0; i < info.count; i++)
                fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        *set = (struct vfio_irq_set){
                .argsz = sizeof(*set) + info.count * sizeof(int),
                .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                .index = VFIO_PCI_MSIX_IRQ_INDEX,
                .count = info.count,
        };
        memcpy(set->data, fds, info.count * sizeof(int));
        if (ioctl(device, VFIO_DEVICE_SET_IRQS, set) < 0)
                fail("interrupts");
        return info.count;
}

static void tell(const void *page, unsigned vector, uint64_t count) {
        struct timespec ts;
        DriftRecord record;
        long long unseen = -1;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        if (page_read_drift(page, &record) == PAGE_OK)
                unseen = (long long) record.unseen_ns;
        printf("vector %u count %llu unseen %lld at %lld\n",
               vector,
               (unsigned long long) count,
               unseen,
               ts.tv_sec * 1000000000LL + ts.tv_nsec);
        fflush(stdout);
}

int main(int argc, char **argv) {
        struct pollfd p[VECTORS_MAX];
        int device, fds[VECTORS_MAX];
        const void *page;
        unsigned n;

        if (argc != 2)
                return EXIT_FAILURE;
        device = open_device(argv[1], bind_device(argv[1]));
        page = enable_device(device);
        n = take_vectors(device, fds);
        for (unsigned i = 0; i < n; i++)
                p[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
        printf("ready %u\n", n);
        fflush(stdout);
        while (poll(p, n, -1) > 0)
                for (unsigned i = 0; i < n; i++) {
                        uint64_t count;

                        if (p[i].revents && read(fds[i], &count, sizeof(count)) == sizeof(count))
                                tell(page, i, count);
                }
        return EXIT_FAILURE;
}
