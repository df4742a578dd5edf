/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/kvm-clock.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include "common/macro.h"

/* More than KVM allows, so that what is read is bounded by more than the kernel's word. */
#define VMS_MAX 16
#define VCPUS_MAX 8192
#define FRAC_BITS_MAX 63
/* PROC_PID_INIT_INO in include/linux/proc_ns.h, which is a part of the kernel's promises. */
#define INITIAL_PID_NAMESPACE "pid:[4026531836]"

__extension__ typedef unsigned __int128 Wide;

static void closedirp(DIR **d) {
        if (*d)
                (void) closedir(*d);
}

static DIR *open_dir_at(int dir, const char *name) {
        _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

        if (d)
                (void) TAKE_FD(fd);
        return d;
}

/* One number, signed or not, on a line of its own. Returns: 0; -ENOENT; -EBADMSG; another errno. */
static int read_number(int dir, const char *name, uint64_t *ret) {
        _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
        char text[32], *end;
        ssize_t n;

        if (fd < 0)
                return -errno;
        n = read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return -errno;
        text[n] = 0;
        errno = 0;
        *ret = text[0] == '-' ? (uint64_t) strtoll(text, &end, 10) : strtoull(text, &end, 10);
        if (errno != 0 || end == text || !str_equal(end, "\n"))
                return -EBADMSG;
        return 0;
}

/* Both files of the scaling are there, or neither is. */
static int read_scaling(int vcpu, KvmClock *ret) {
        uint64_t ratio = 0, frac_bits = 0;
        int r = read_number(vcpu, "tsc-scaling-ratio", &ratio);

        if (r == -ENOENT) {
                ret->ratio = 1;
                ret->frac_bits = 0;
                return 0;
        }
        if (r < 0)
                return r;
        r = read_number(vcpu, "tsc-scaling-ratio-frac-bits", &frac_bits);
        if (r < 0)
                return r == -ENOENT ? -EBADMSG : r;
        if (ratio == 0 || frac_bits > FRAC_BITS_MAX)
                return -EBADMSG;
        ret->ratio = ratio;
        ret->frac_bits = (unsigned) frac_bits;
        return 0;
}

/* Older kernels do not tell whether a vCPU is in a guest of its own. */
static int read_guest_mode(int vcpu, uint64_t *ret) {
        int r = read_number(vcpu, "guest_mode", ret);

        if (r == -ENOENT) {
                *ret = 0;
                return 0;
        }
        return r;
}

/* Returns: 1; 0 if the vCPU is in a guest of its own; a negative errno. */
static int read_vcpu(int vm, const char *name, KvmClock *ret) {
        _cleanup_close_ int vcpu = openat(vm, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        uint64_t before, after;
        int r;

        if (vcpu < 0)
                return -errno;
        r = read_guest_mode(vcpu, &before);
        if (r >= 0)
                r = read_number(vcpu, "tsc-offset", &ret->offset);
        if (r >= 0)
                r = read_scaling(vcpu, ret);
        if (r >= 0)
                r = read_guest_mode(vcpu, &after);
        if (r < 0)
                return r;
        return before == 0 && after == 0;
}

typedef struct Reading {
        KvmClock clock;
        unsigned n_vcpus; /* that were read */
        unsigned n_used;  /* of these, that showed their own counter */
} Reading;

static int add_vcpu(int vm, const char *name, Reading *reading) {
        KvmClock clock = { 0 };
        int r;

        if (++reading->n_vcpus > VCPUS_MAX)
                return -EBADMSG;
        r = read_vcpu(vm, name, &clock);
        if (r <= 0)
                return r;
        if (reading->n_used++ == 0)
                reading->clock = clock;
        return kvm_clock_equal(&reading->clock, &clock) ? 0 : -EUCLEAN;
}

static int read_vm(int root, const char *name, Reading *reading) {
        _cleanup_(closedirp) DIR *vm = open_dir_at(root, name);
        struct dirent *entry;
        int r;

        if (!vm)
                return -errno;
        while ((entry = readdir(vm))) {
                if (strncmp(entry->d_name, "vcpu", 4) != 0)
                        continue;
                r = add_vcpu(dirfd(vm), entry->d_name, reading);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* All VMs of the process: which of them has the page is not known. */
static int read_vms(DIR *root, pid_t pid, Reading *reading) {
        struct dirent *entry;
        unsigned n_vms = 0;
        char prefix[16];
        int length, r;

        length = snprintf(prefix, sizeof(prefix), "%d-", (int) pid);
        rewinddir(root);
        while ((entry = readdir(root))) {
                if (strncmp(entry->d_name, prefix, (size_t) length) != 0)
                        continue;
                if (++n_vms > VMS_MAX)
                        return -EBADMSG;
                r = read_vm(dirfd(root), entry->d_name, reading);
                if (r < 0)
                        return r;
        }
        if (reading->n_vcpus == 0)
                return -ENODEV;
        return reading->n_used == 0 ? -EBUSY : 0;
}

static int fail(int r, const char **ret_why) {
        switch (r) {
        case -ENODEV:
        case -ENOENT: /* it went while it was read */
                *ret_why = "its VMM has no vCPU of KVM";
                return -ENOENT;
        case -EBUSY:
                *ret_why = "its vCPUs' counters cannot be seen just now";
                return r;
        case -EUCLEAN:
                *ret_why = "its vCPUs' counters differ";
                return r;
        case -EBADMSG:
                *ret_why = "KVM shows its counters in a way that is not known";
                return r;
        default:
                *ret_why = "its counters cannot be read in debugfs";
                return r;
        }
}

int kvm_clock_read(const char *root, pid_t pid, KvmClock *ret, const char **ret_why) {
        _cleanup_(closedirp) DIR *d = open_dir_at(AT_FDCWD, root);
        Reading first = { 0 }, second = { 0 };
        int r;

        if (!d) {
                r = -errno;
                *ret_why = r == -ENOENT ? "debugfs is not mounted, or KVM is not used"
                                        : "debugfs cannot be read";
                return r;
        }
        r = read_vms(d, pid, &first);
        /* A vCPU may have gone to a guest of its own and come back while it was read. */
        if (r >= 0)
                r = read_vms(d, pid, &second);
        if (r >= 0 && !kvm_clock_equal(&first.clock, &second.clock))
                r = -EBUSY;
        if (r < 0)
                return fail(r, ret_why);
        *ret = second.clock;
        return 0;
}

bool kvm_clock_knows_our_pids(const char *proc) {
        char path[256], text[64];
        ssize_t n;

        (void) snprintf(path, sizeof(path), "%s/self/ns/pid", proc);
        n = readlink(path, text, sizeof(text) - 1);
        if (n < 0)
                return false;
        text[n] = 0;
        return str_equal(text, INITIAL_PID_NAMESPACE);
}

uint64_t kvm_clock_guest(const KvmClock *k, uint64_t host) {
        return (uint64_t) ((Wide) host * k->ratio >> k->frac_bits) + k->offset;
}

bool kvm_clock_equal(const KvmClock *a, const KvmClock *b) {
        return a->offset == b->offset && a->ratio == b->ratio && a->frac_bits == b->frac_bits;
}
