/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * KVM Clock
 *
 * What a guest of KVM on x86 reads as its TSC, in terms of the host's: scaled, and moved. The kernel
 * shows both for each vCPU in debugfs, below kvm/PID-FD/vcpuN/ (arch/x86/kvm/debugfs.c). Files are read
 * on each call; nothing is kept open, nothing is written.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define KVM_CLOCK_ROOT "/sys/kernel/debug/kvm"

/* guest = (host * ratio >> frac_bits) + offset, modulo 2^64 */
typedef struct KvmClock {
        uint64_t offset;
        uint64_t ratio;
        unsigned frac_bits; /* 0 with a ratio of 1 where the CPU cannot scale */
} KvmClock;

/*
 * Reads how the guest of the process @pid sees the counter. @root is KVM_CLOCK_ROOT but for tests.
 *
 * A vCPU that is in a guest of its own shows that one's counter, and is left out. All others have to agree.
 *
 * Returns: 0; a negative errno with the reason in *@ret_why (static): -ENOENT: debugfs or KVM's part of it is
 * not there, or no VM of that process; -EACCES; -EBUSY: all vCPUs are in guests of their own, or what they
 * show has changed meanwhile; -EUCLEAN: they differ; -EBADMSG: not what this kernel should show.
 */
int kvm_clock_read(const char *root, pid_t pid, KvmClock *ret, const char **ret_why);

/*
 * Whether debugfs names processes as we do: its PIDs are those of the initial PID namespace. In another
 * one the same number may be somebody else. @proc: where proc(5) is.
 */
bool kvm_clock_knows_our_pids(const char *proc);

/* What the guest reads when the host reads @host. */
uint64_t kvm_clock_guest(const KvmClock *k, uint64_t host);

bool kvm_clock_equal(const KvmClock *a, const KvmClock *b);
