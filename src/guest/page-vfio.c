/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * An ivshmem device that vfio-pci has, behind a virtual IOMMU: the only way in which user space gets
 * a PCI device's MSI-X. See Documentation/driver-api/vfio.rst of the kernel.
 */

#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "guest/page-kind.h"
#include "guest/util.h"

#define PCI_COMMAND_OFFSET 4
#define PCI_COMMAND_MEMORY_AND_MASTER 6

enum {
        FD_DEVICE,
        FD_GROUP,
        FD_CONTAINER,
};

/* The number of the device's IOMMU group, which is the name of its node. */
static int group_path(const PageChoice *choice, const char *address, char ret[PATH_MAX]) {
        char path[PATH_MAX], target[PATH_MAX];
        const char *name;
        ssize_t n;

        (void) snprintf(path,
                        sizeof(path),
                        "%s/sys/bus/pci/devices/%s/iommu_group",
                        choice->root,
                        address);
        n = readlink(path, target, sizeof(target) - 1);
        if (n <= 0)
                return -ENODEV;
        target[n] = 0;
        name = strrchr(target, '/');
        (void) snprintf(ret, PATH_MAX, "%s/dev/vfio/%.32s", choice->root, name ? name + 1 : target);
        return 0;
}

static int open_group(const PageChoice *choice, Page *page, PageWhy *why) {
        struct vfio_group_status status = { .argsz = sizeof(status) };
        char path[PATH_MAX];

        if (group_path(choice, page->name, path) < 0) {
                page_why_add(why,
                             "%s: in no IOMMU group: the VM needs a virtual IOMMU for interrupts",
                             page->name);
                return -ENODEV;
        }
        page->fds[FD_GROUP] = open(path, O_RDWR | O_CLOEXEC);
        if (page->fds[FD_GROUP] < 0 ||
            ioctl(page->fds[FD_GROUP], VFIO_GROUP_GET_STATUS, &status) < 0) {
                int r = -errno;

                page_why_add(why, "%s: %s: %s", page->name, path, strerror(-r));
                return r;
        }
        if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
                page_why_add(why,
                             "%s: another device in its IOMMU group has a driver of its own",
                             page->name);
                return -EPERM;
        }
        return 0;
}

static int open_device(const PageChoice *choice, Page *page) {
        char path[PATH_MAX];

        (void) snprintf(path, sizeof(path), "%s/dev/vfio/vfio", choice->root);
        page->fds[FD_CONTAINER] = open(path, O_RDWR | O_CLOEXEC);
        if (page->fds[FD_CONTAINER] < 0 ||
            ioctl(page->fds[FD_GROUP], VFIO_GROUP_SET_CONTAINER, &page->fds[FD_CONTAINER]) < 0)
                return -errno;
        if (ioctl(page->fds[FD_CONTAINER], VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0 &&
            ioctl(page->fds[FD_CONTAINER], VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU) < 0)
                return -errno;
        page->fds[FD_DEVICE] = ioctl(page->fds[FD_GROUP], VFIO_GROUP_GET_DEVICE_FD, page->name);
        return page->fds[FD_DEVICE] < 0 ? -errno : 0;
}

/* Has the device answer to accesses, and send its interrupts. */
static int enable(const Page *page) {
        struct vfio_region_info config = { .argsz = sizeof(config),
                                           .index = VFIO_PCI_CONFIG_REGION_INDEX };
        uint16_t command;
        off_t at;

        if (ioctl(page->fds[FD_DEVICE], VFIO_DEVICE_GET_REGION_INFO, &config) < 0)
                return -errno;
        at = (off_t) config.offset + PCI_COMMAND_OFFSET;
        if (pread(page->fds[FD_DEVICE], &command, sizeof(command), at) != sizeof(command))
                return -EIO;
        command |= PCI_COMMAND_MEMORY_AND_MASTER;
        return pwrite(page->fds[FD_DEVICE], &command, sizeof(command), at) == sizeof(command)
                               ? 0
                               : -EIO;
}

static int map_memory(Page *page) {
        struct vfio_region_info memory = { .argsz = sizeof(memory),
                                           .index = VFIO_PCI_BAR2_REGION_INDEX };
        void *map;

        if (ioctl(page->fds[FD_DEVICE], VFIO_DEVICE_GET_REGION_INFO, &memory) < 0)
                return -errno;
        if (memory.size < PAGE_SIZE_BYTES || !(memory.flags & VFIO_REGION_INFO_FLAG_MMAP))
                return -ENODATA;
        page->map_size = PAGE_SIZE_BYTES;
        map = mmap(NULL,
                   page->map_size,
                   PROT_READ | PROT_WRITE,
                   MAP_SHARED,
                   page->fds[FD_DEVICE],
                   (off_t) memory.offset);
        if (map == MAP_FAILED)
                return -errno;
        page->map = map;
        page->can_answer = true;
        return 0;
}

static int set_interrupt(const Page *page) {
        union {
                struct vfio_irq_set set;
                uint8_t bytes[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
        } irq = { .set = { .argsz = sizeof(irq.bytes),
                           .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                           .index = VFIO_PCI_MSIX_IRQ_INDEX,
                           .count = 1 } };
        int32_t fd = page->wait_fd;

        memcpy(irq.set.data, &fd, sizeof(fd));
        return ioctl(page->fds[FD_DEVICE], VFIO_DEVICE_SET_IRQS, &irq.set) < 0 ? -errno : 0;
}

/* ivshmem-plain has no interrupt: then there is none. */
static int open_interrupt(Page *page) {
        struct vfio_irq_info info = { .argsz = sizeof(info), .index = VFIO_PCI_MSIX_IRQ_INDEX };

        if (ioctl(page->fds[FD_DEVICE], VFIO_DEVICE_GET_IRQ_INFO, &info) < 0 || info.count == 0)
                return 0;
        page->wait_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (page->wait_fd < 0)
                return -errno;
        page->owns_wait_fd = true;
        return set_interrupt(page);
}

int page_vfio_open(const PageChoice *choice, const char *address, Page *page, PageWhy *why) {
        DriftRecord record;
        int r;

        page->carrier = PAGE_CARRIER_VFIO;
        (void) snprintf(page->name, sizeof(page->name), "%s", address);
        r = open_group(choice, page, why);
        if (r < 0)
                return r;
        r = open_device(choice, page);
        if (r >= 0)
                r = enable(page);
        if (r >= 0)
                r = map_memory(page);
        if (r >= 0)
                r = open_interrupt(page);
        if (r < 0) {
                page_why_add(why, "%s: vfio: %s", address, strerror(-r));
                return r;
        }
        if (page_read_record(page, &record) == -EBADMSG) {
                page_why_add(why, "%s: shared memory without suspendd's record", address);
                return -EBADMSG;
        }
        return 0;
}

/* A suspend of the machine resets the device, and its interrupts with it. */
void page_vfio_rearm(const Page *page) {
        (void) enable(page);
        if (page->wait_fd >= 0)
                (void) set_interrupt(page);
}
