/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bare-metal guest
 *
 * Reads the drift page by nothing but its published rules, and says what it reads: no operating
 * system, no C library, 32-bit protected mode without paging, started by multiboot. The page is
 * the BAR 2 of an ivshmem device that begins with VMClock's magic; the report goes into the BAR 2
 * of another one, and ten times a second as a line to the debug console. All numbers are
 * hexadecimal: without a C library there is no division of 64 bits.
 */
#include "common/page-layout.h"
#include "report.h"

#define PCI_ADDRESS 0xcf8
#define PCI_DATA 0xcfc
#define PCI_BAR2 0x18
#define IVSHMEM_ID 0x11101af4
#define DEBUG_CONSOLE 0xe9
#define PM_TIMER_HZ 3579545
#define PM_TIMER_MASK 0xffffff
#define PM_TIMER_OF_PC 0x608 /* where SeaBIOS puts it on QEMU's pc, should there be no FADT */
#define KVM_SIGNATURE 0x40000000
#define KVM_FEATURE_CLOCK (1U << 3)
#define MSR_KVM_SYSTEM_TIME 0x4b564d01

/* kvm-clock's page (Linux, Documentation/virt/kvm/x86/msr.rst). */
typedef struct KvmClockPage {
        uint32_t version, pad;
        uint64_t tsc_timestamp, system_time;
        uint32_t tsc_to_system_mul;
        int8_t tsc_shift;
        uint8_t flags, pad2[2];
} KvmClockPage;

static const struct {
        uint32_t magic, flags, checksum;
} multiboot __attribute__((section(".multiboot"), used)) = { 0x1badb002, 0, -0x1badb002U };

static volatile KvmClockPage kvm_clock __attribute__((aligned(64)));
static uint16_t pm_timer_port = PM_TIMER_OF_PC;
static void *page;
static Report *report;

/* the stack, flat segments, then start() */
__asm__(".lcomm stack, 16384\n"
        ".globl _start\n"
        "_start: mov $stack + 16384, %esp\n"
        "        lgdt gdt_register\n"
        "        ljmp $8, $1f\n"
        "1:      mov $16, %ax\n"
        "        mov %ax, %ds\n"
        "        mov %ax, %es\n"
        "        mov %ax, %ss\n"
        "        call start\n"
        ".align 8\n"
        "gdt: .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff\n"
        "gdt_register: .word 23\n"
        "        .long gdt\n");

void start(void);

/* the machine */

static inline void out8(uint16_t port, uint8_t value) {
        __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value) {
        __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint32_t in32(uint16_t port) {
        uint32_t value;

        __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
        return value;
}

static inline uint64_t read_tsc(void) {
        uint32_t low, high;

        __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high)::"memory");
        return (uint64_t) high << 32 | low;
}

static inline void cpuid(uint32_t leaf, uint32_t ret[4]) {
        __asm__ volatile("cpuid"
                         : "=a"(ret[0]), "=b"(ret[1]), "=c"(ret[2]), "=d"(ret[3])
                         : "0"(leaf), "2"(0));
}

static uint32_t pm_timer(void) {
        return in32(pm_timer_port) & PM_TIMER_MASK;
}

/*
 * What page_write_answer() stores by, which a C library would bring: on 32 bits without a
 * coprocessor the compiler leaves a store of 64 bits to libatomic.
 */
void __atomic_store_8(volatile void *p, unsigned long long value, int order);
void __atomic_store_8(volatile void *p, unsigned long long value, int order) {
        volatile uint64_t *at = p;
        uint64_t old = *at;

        (void) order;
        __asm__ volatile("1: lock cmpxchg8b %0\n\tjne 1b"
                         : "+m"(*at), "+A"(old)
                         : "b"((uint32_t) value), "c"((uint32_t) (value >> 32))
                         : "cc", "memory");
}

/* the console */

static void print(const char *s) {
        for (; *s; s++)
                out8(DEBUG_CONSOLE, (uint8_t) *s);
}

static void print_value(const char *name, uint64_t value) {
        int i = 60;

        print(name);
        while (i > 0 && !(value >> i))
                i -= 4;
        for (; i >= 0; i -= 4)
                out8(DEBUG_CONSOLE, (uint8_t) "0123456789abcdef"[(value >> i) & 15]);
}

/* finding things */

static uint32_t pci_read(uint32_t device, uint32_t offset) {
        out32(PCI_ADDRESS, 0x80000000U | device << 11 | offset);
        return in32(PCI_DATA);
}

/* The firmware has given the BARs their addresses; memory is switched on here. */
static void *ivshmem_memory(uint32_t device) {
        if (pci_read(device, 0) != IVSHMEM_ID)
                return NULL;
        out32(PCI_ADDRESS, 0x80000000U | device << 11 | 4);
        out32(PCI_DATA, pci_read(device, 4) | 2);
        return (void *) (uintptr_t) (pci_read(device, PCI_BAR2) & ~15U);
}

static void find_memories(void) {
        for (uint32_t device = 0; device < 32; device++) {
                void *memory = ivshmem_memory(device);

                if (memory && *(volatile uint32_t *) memory == VMCLOCK_MAGIC)
                        page = memory;
                else if (memory)
                        report = memory;
        }
}

/* ACPI: the RSDP's RSDT, its FADT ("FACP"), there the timer's port. */
static void find_pm_timer(void) {
        const uint32_t *rsdt = NULL;

        for (uint32_t at = 0xe0000; at < 0x100000 && !rsdt; at += 16) {
                const uint32_t *p = (const uint32_t *) (uintptr_t) at;

                if (p[0] == 0x20445352 && p[1] == 0x20525450)
                        rsdt = (const uint32_t *) (uintptr_t) p[4];
        }
        for (uint32_t i = 9; rsdt && i < rsdt[1] / 4; i++) {
                const uint32_t *table = (const uint32_t *) (uintptr_t) rsdt[i];

                if (table[0] == 0x50434146)
                        pm_timer_port = (uint16_t) table[19];
        }
}

static void start_kvm_clock(void) {
        uint32_t r[4];

        cpuid(KVM_SIGNATURE, r);
        if (r[1] != 0x4b4d564b || r[2] != 0x564b4d56 || r[3] != 0x4d)
                return;
        cpuid(KVM_SIGNATURE + 1, r);
        if (!(r[0] & KVM_FEATURE_CLOCK))
                return;
        __asm__ volatile(
                        "wrmsr" ::"c"(MSR_KVM_SYSTEM_TIME),
                        "a"((uint32_t) (uintptr_t) &kvm_clock | 1),
                        "d"(0));
}

/* clocks */

/* The 128 bits of a product, from four of 32 by 32. */
static void multiply(uint64_t a, uint64_t b, uint64_t *ret_high, uint64_t *ret_low) {
        uint64_t a0 = (uint32_t) a, a1 = a >> 32, b0 = (uint32_t) b, b1 = b >> 32;
        uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), other = a0 * b1 + (uint32_t) middle;

        *ret_low = other << 32 | (uint32_t) low;
        *ret_high = a1 * b1 + (middle >> 32) + (other >> 32);
}

typedef struct Stamp {
        uint64_t tsc, tsc_after;
} Stamp;

/*
 * Reads the TSC and says so, in as few instructions as can be: each takes a microsecond where KVM has to
 * emulate them. So the host can tell when that was.
 */
static Stamp take_stamp(uint32_t number) {
        uint32_t low, high, low_after, high_after;

        __asm__ volatile("rdtsc\n\t"
                         "movl %5, %0\n\t"
                         "movl %%eax, %1\n\t"
                         "movl %%edx, %2\n\t"
                         "rdtsc"
                         : "=m"(report->stamped),
                           "=&r"(low),
                           "=&r"(high),
                           "=&a"(low_after),
                           "=&d"(high_after)
                         : "r"(number)
                         : "memory");
        return (Stamp){
                .tsc = (uint64_t) high << 32 | low,
                .tsc_after = (uint64_t) high_after << 32 | low_after,
        };
}

static int claims_time(const VmclockPage *clock) {
        return clock->counter_id == VMCLOCK_COUNTER_TSC &&
               (clock->clock_status == VMCLOCK_STATUS_SYNCHRONIZED ||
                clock->clock_status == VMCLOCK_STATUS_FREERUNNING);
}

/* VMClock's rule: the reference time, and the period times the ticks since. */
static void utc_of_page(
                const VmclockPage *clock, uint64_t tsc, uint64_t *ret_sec, uint64_t *ret_frac_sec) {
        uint64_t high, low;

        multiply(tsc - clock->counter_value, clock->counter_period_frac_sec, &high, &low);
        if (clock->counter_period_shift > 0) {
                low = low >> clock->counter_period_shift |
                      high << (64 - clock->counter_period_shift);
                high >>= clock->counter_period_shift;
        }
        *ret_frac_sec = clock->time_frac_sec + low;
        *ret_sec = clock->time_sec + high + (*ret_frac_sec < low);
}

static uint64_t read_kvm_clock(void) {
        uint64_t high, low, ticks, ns;
        uint32_t version;

        if (kvm_clock.version == 0)
                return 0;
        do {
                version = kvm_clock.version;
                __asm__ volatile("" ::: "memory");
                ticks = read_tsc() - kvm_clock.tsc_timestamp;
                ticks = kvm_clock.tsc_shift >= 0 ? ticks << kvm_clock.tsc_shift
                                                 : ticks >> -kvm_clock.tsc_shift;
                multiply(ticks, kvm_clock.tsc_to_system_mul, &high, &low);
                ns = kvm_clock.system_time + (high << 32 | low >> 32);
                __asm__ volatile("" ::: "memory");
        } while ((version & 1) || version != kvm_clock.version);
        return ns;
}

/* samples */

static void answer(const DriftRecord *record) {
        DriftAnswer a = {
                .magic = ANSWER_MAGIC,
                .epoch = record->epoch,
                .applied_ns = record->unseen_ns,
                .corrects = ANSWER_CORRECTS_NOTHING,
                .publishings = record->publishings,
        };

        page_write_answer(page, &a);
}

static void note_change(const DriftRecord *record, uint32_t timer, uint32_t number) {
        if (record->unseen_ns == report->unseen_ns)
                return;
        report->before_pm_timer = report->pm_timer;
        report->changed_pm_timer = timer;
        report->changed_unseen_ns = record->unseen_ns;
        report->changed_at = number;
        answer(record);
}

/* The page is read first, then the counter: what is computed is later than the reference time. */
static void sample_clock(uint32_t number) {
        VmclockPage clock;
        uint64_t sec = 0, frac_sec = 0;
        PageError r = page_read_vmclock(page, &clock);
        Stamp stamp = take_stamp(number);

        if (r == PAGE_OK && claims_time(&clock))
                utc_of_page(&clock, stamp.tsc, &sec, &frac_sec);
        report->tsc = stamp.tsc;
        report->tsc_after = stamp.tsc_after;
        report->utc_sec = sec;
        report->utc_frac_sec = frac_sec;
}

/* The record before all else, for nothing is to come between a stop and it. */
static void take_sample(uint32_t number) {
        DriftRecord record;
        uint32_t timer;

        __atomic_store_n(&report->begun, number, __ATOMIC_SEQ_CST);
        if (page_read_drift(page, &record) != PAGE_OK) {
                report->n_bad++;
                return;
        }
        timer = pm_timer();
        note_change(&record, timer, number);
        report->unseen_ns = record.unseen_ns;
        report->publishings = record.publishings;
        report->pm_timer = timer;
        report->kvm_clock_ns = read_kvm_clock();
        sample_clock(number);
        __atomic_store_n(&report->done, number, __ATOMIC_SEQ_CST);
}

static void print_sample(void) {
        print_value("sample=", report->done);
        print_value(" tsc=", report->tsc);
        print_value(" utc_sec=", report->utc_sec);
        print_value(" utc_frac=", report->utc_frac_sec);
        print_value(" pm=", report->pm_timer);
        print_value(" kvmclock=", report->kvm_clock_ns);
        print_value(" unseen=", report->unseen_ns);
        print_value(" publishings=", report->publishings);
        print_value(" bad=", report->n_bad);
        print("\n");
}

__attribute__((used)) void start(void) {
        uint32_t last;

        find_memories();
        find_pm_timer();
        if (!page || !report) {
                print("no page\n");
                for (;;)
                        __asm__ volatile("hlt");
        }
        start_kvm_clock();
        last = pm_timer();
        report->ready = REPORT_READY;
        for (uint32_t number = 1;; number++) {
                take_sample(number);
                if (((report->pm_timer - last) & PM_TIMER_MASK) > PM_TIMER_HZ / 10) {
                        last = report->pm_timer;
                        print_sample();
                }
        }
}
