/* SPDX-License-Identifier: MIT-0 */
#pragma once

/*
 * Drift Page
 *
 * 4096 bytes that a host shares with one guest: that time has moved, and by how much. A VMClock page
 * by its own published rules, then suspendd's record, both written by the host; last an answer, which
 * the guest writes. All numbers are little-endian. suspendd-drift-page(7) says what each one promises.
 *
 * The header stands alone, also without a C library; a guest's author may take it as it is.
 */

#include <stddef.h>
#include <stdint.h>

#define PAGE_SIZE_BYTES 4096

#define VMCLOCK_OFFSET 0x000
#define VMCLOCK_MAGIC UINT32_C(0x4b4c4356) /* "VCLK" */
#define VMCLOCK_VERSION 1
#define VMCLOCK_COUNTER_ARM 0
#define VMCLOCK_COUNTER_TSC 1
#define VMCLOCK_COUNTER_INVALID 0xff
#define VMCLOCK_TIME_UTC 0
#define VMCLOCK_FLAG_TAI_OFFSET_VALID (UINT64_C(1) << 0)
#define VMCLOCK_FLAG_PERIOD_ESTERROR_VALID (UINT64_C(1) << 3)
#define VMCLOCK_FLAG_PERIOD_MAXERROR_VALID (UINT64_C(1) << 4)
#define VMCLOCK_FLAG_TIME_ESTERROR_VALID (UINT64_C(1) << 5)
#define VMCLOCK_FLAG_TIME_MAXERROR_VALID (UINT64_C(1) << 6)
#define VMCLOCK_FLAG_NOTIFICATION_PRESENT (UINT64_C(1) << 9)
#define VMCLOCK_STATUS_UNKNOWN 0
#define VMCLOCK_STATUS_SYNCHRONIZED 2
#define VMCLOCK_STATUS_FREERUNNING 3

#define DRIFT_OFFSET 0x800
#define DRIFT_MAGIC UINT64_C(0x5446524450535553) /* "SUSPDRFT" */
#define DRIFT_REVISION 1
/* The losses of the cycle at hand may still grow: the machine is about to run. */
#define DRIFT_FLAG_LOWER_BOUND (UINT32_C(1) << 0)
/* The machine is about to be brought to a stand: what the clocks say now is the base to check a loss by. */
#define DRIFT_FLAG_STOPPING (UINT32_C(1) << 1)

#define ANSWER_OFFSET 0xc00
#define ANSWER_MAGIC UINT64_C(0x4b43414450535553) /* "SUSPDACK" */
#define ANSWER_CORRECTS_NOTHING 0
#define ANSWER_CORRECTS_REALTIME 1
#define ANSWER_CORRECTS_ALL 2 /* CLOCK_BOOTTIME and CLOCK_REALTIME */

/* The sequence of either part is odd while it is being written. */
typedef struct VmclockPage {
        uint32_t magic;
        uint32_t size;
        uint16_t version;
        uint8_t counter_id;
        uint8_t time_type;
        uint32_t sequence;
        uint64_t disruption_marker;
        uint64_t flags;
        uint8_t pad[2];
        uint8_t clock_status;
        uint8_t leap_second_smearing_hint;
        int16_t tai_offset_sec;
        uint8_t leap_indicator;
        uint8_t counter_period_shift;
        uint64_t counter_value;
        uint64_t counter_period_frac_sec;
        uint64_t counter_period_esterror_rate_frac_sec;
        uint64_t counter_period_maxerror_rate_frac_sec;
        uint64_t time_sec;
        uint64_t time_frac_sec;
        uint64_t time_esterror_nanosec;
        uint64_t time_maxerror_nanosec;
        uint64_t vm_generation_counter;
} VmclockPage;

typedef struct DriftRecord {
        uint64_t magic;
        uint32_t revision;
        uint32_t size; /* of the record; a later revision only adds to its end */
        uint32_t sequence;
        uint32_t flags;
        uint64_t epoch;     /* random, not 0; another one: all totals have begun again at 0 */
        uint64_t cycles;    /* in which the machine was held, or suspended itself */
        uint64_t unseen_ns; /* total that the guest's clocks lack; only grows within an epoch */
        uint64_t seen_ns;   /* total that the guest slept through by its own suspend */
        uint64_t last_unseen_ns; /* of the last cycle alone */
        uint64_t last_seen_ns;
        int64_t host_realtime_ns; /* the host's clocks at this publishing */
        int64_t host_boottime_ns;
        int64_t host_stepped_ns; /* by how much the host's CLOCK_REALTIME was set, in total */
        uint64_t publishings;    /* how often the record was written in this epoch */
} DriftRecord;

/* A hint to the host. The guest writes publishings last, when all before it is there. */
typedef struct DriftAnswer {
        uint64_t magic;
        uint64_t epoch;       /* of the record that is answered */
        uint64_t applied_ns;  /* of unseen_ns: taken note of; given to the clocks, or found there */
        uint64_t corrects;    /* ANSWER_CORRECTS_… */
        uint64_t refused_ns;  /* of applied_ns: not given, for the clocks had not lost it */
        uint64_t publishings; /* of the record that is answered */
} DriftAnswer;

_Static_assert(sizeof(VmclockPage) == 112, "VMClock's published size");
_Static_assert(sizeof(DriftRecord) == 104, "the size of revision 1");
_Static_assert(sizeof(DriftAnswer) == 48, "the size of the answer");

typedef enum PageError {
        PAGE_OK = 0,
        PAGE_NO_RECORD = -1,   /* other bytes than a record, or less than a whole one */
        PAGE_OTHER_KIND = -2,  /* a revision or a size that this reader does not know */
        PAGE_KEEPS_MOVING = -3 /* it was being written whenever it was looked at */
} PageError;

#define PAGE_READ_TRIES 10000

/* A pause between two looks, for the other side's sake. */
static inline void page_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield" ::: "memory");
#endif
}

/* A word of whatever is copied, also for a compiler that goes by types. */
typedef uint32_t __attribute__((may_alias)) PageWord;

/* Copies whole words, each by one load: what is torn between words the sequence tells. */
static inline void page_copy(PageWord *to, const PageWord *from, size_t n_words) {
        for (size_t i = 0; i < n_words; i++)
                to[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
}

/*
 * Copies @n_words words at @from whose sequence is the word at @i_sequence, as they were at one
 * moment. Returns: PAGE_OK; PAGE_KEEPS_MOVING.
 */
static inline PageError page_copy_whole(
                PageWord *to, const PageWord *from, size_t n_words, size_t i_sequence) {
        for (unsigned i = 0; i < PAGE_READ_TRIES; i++) {
                uint32_t before = __atomic_load_n(from + i_sequence, __ATOMIC_ACQUIRE);

                if (!(before & 1)) {
                        page_copy(to, from, n_words);
                        __atomic_thread_fence(__ATOMIC_ACQUIRE);
                        if (__atomic_load_n(from + i_sequence, __ATOMIC_RELAXED) == before) {
                                to[i_sequence] = before;
                                return PAGE_OK;
                        }
                }
                page_relax();
        }
        return PAGE_KEEPS_MOVING;
}

/* Reads the record of the page at @page, PAGE_SIZE_BYTES of memory. Never spins for ever. */
static inline PageError page_read_drift(const void *page, DriftRecord *ret) {
        const uint8_t *at = (const uint8_t *) page + DRIFT_OFFSET;
        DriftRecord record;
        PageError r;

        r =
                        page_copy_whole((PageWord *) &record,
                                        (const PageWord *) (const void *) at,
                                        sizeof(record) / sizeof(uint32_t),
                                        offsetof(DriftRecord, sequence) / sizeof(uint32_t));
        if (r != PAGE_OK)
                return r;
        if (record.magic != DRIFT_MAGIC || record.epoch == 0)
                return PAGE_NO_RECORD;
        if (record.revision != DRIFT_REVISION || record.size < sizeof(record) ||
            record.size > ANSWER_OFFSET - DRIFT_OFFSET)
                return PAGE_OTHER_KIND;
        *ret = record;
        return PAGE_OK;
}

/* Reads the VMClock part, likewise. */
static inline PageError page_read_vmclock(const void *page, VmclockPage *ret) {
        VmclockPage clock;
        PageError r;

        r =
                        page_copy_whole((PageWord *) &clock,
                                        (const PageWord *) page,
                                        sizeof(clock) / sizeof(uint32_t),
                                        offsetof(VmclockPage, sequence) / sizeof(uint32_t));
        if (r != PAGE_OK)
                return r;
        if (clock.magic != VMCLOCK_MAGIC)
                return PAGE_NO_RECORD;
        if (clock.version != VMCLOCK_VERSION || clock.size < sizeof(clock))
                return PAGE_OTHER_KIND;
        *ret = clock;
        return PAGE_OK;
}

/* Writes the guest's answer. */
static inline void page_write_answer(void *page, const DriftAnswer *answer) {
        DriftAnswer *at = (DriftAnswer *) (void *) ((uint8_t *) page + ANSWER_OFFSET);

        __atomic_store_n(&at->magic, answer->magic, __ATOMIC_RELAXED);
        __atomic_store_n(&at->epoch, answer->epoch, __ATOMIC_RELAXED);
        __atomic_store_n(&at->applied_ns, answer->applied_ns, __ATOMIC_RELAXED);
        __atomic_store_n(&at->corrects, answer->corrects, __ATOMIC_RELAXED);
        __atomic_store_n(&at->refused_ns, answer->refused_ns, __ATOMIC_RELAXED);
        __atomic_store_n(&at->publishings, answer->publishings, __ATOMIC_RELEASE);
}
