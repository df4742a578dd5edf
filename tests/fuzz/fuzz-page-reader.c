/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Page Reader, Fuzzed
 *
 * Any bytes as a row of pages that a guest is shown one after another, and any state to begin with: what
 * is no record is an error, what is one steps the clock by at most what it says is owed, and no more than a year; what
 * is taken note of never falls within an epoch; the answer and the state file say the same.
 */

#include "common/page-layout.h"
#include "fuzz.h"
#include "guest/state.h"

#define YEAR_NS (INT64_C(366) * 86400 * 1000000000)

/* What of a record the bytes decide; the head that nearly all of them would fail at is put right. */
static size_t take_record(uint8_t *page, const uint8_t *data, size_t size) {
        DriftRecord *record = (DriftRecord *) (void *) (page + DRIFT_OFFSET);
        const size_t head = offsetof(DriftRecord, flags);
        size_t n = sizeof(*record) - head;

        n = size < n ? size : n;
        memcpy((uint8_t *) record + head, data, n);
        record->magic = DRIFT_MAGIC;
        record->revision = DRIFT_REVISION;
        record->size = sizeof(*record);
        return n;
}

static void check_state(const Ledger *l) {
        char text[STATE_MAX_BYTES];
        Ledger again = { 0 };

        HOLDS(state_print(text, sizeof(text), "boot", l) < sizeof(text));
        HOLDS(state_parse(text, "boot", &again) == 1);
        HOLDS(memcmp(&again, l, sizeof(again)) == 0);
}

static void look(Ledger *l, const DriftRecord *record, GuestClocks *now) {
        const Ledger before = *l;
        DriftAnswer answer;
        LedgerNews news;

        ledger_look(l, record, now, &news);
        HOLDS(l->epoch == record->epoch && l->refused_ns <= l->applied_ns);
        HOLDS(before.epoch != l->epoch || l->applied_ns >= before.applied_ns);
        HOLDS(l->pending_ns >= 0 && l->pending_ns <= YEAR_NS);
        HOLDS((l->pending_ns > 0) == (news.verdict == LEDGER_APPLY));
        HOLDS(l->pending_ns == 0 || news.owed_ns == (uint64_t) l->pending_ns);
        check_state(l);
        if (l->pending_ns > 0) {
                now->wall_ns += l->pending_ns;
                HOLDS(ledger_stepped(l, now->wall_ns) == 0);
        }
        ledger_look(l, record, now, &news);
        HOLDS(l->pending_ns == 0 &&
              (news.verdict == LEDGER_NOTHING || news.verdict == LEDGER_FELL_BACK));
        ledger_answer(l, &answer);
        HOLDS(answer.epoch == record->epoch && answer.applied_ns == l->applied_ns);
}

static void read_pages(const uint8_t *data, size_t size) {
        static _Alignas(8) uint8_t page[PAGE_SIZE_BYTES];
        GuestClocks now = { .boottime_ns = INT64_C(1000000000000),
                            .wall_ns = INT64_C(1700000000000000000) };
        Ledger l = { 0 };

        while (size > 0) {
                size_t n = take_record(page, data, size);
                DriftRecord record;

                now.boottime_ns += INT64_C(1000000) * data[0];
                now.late_ns = data[0] % 3 == 0   ? 0
                              : data[0] % 3 == 1 ? INT64_C(1250000000)
                                                 : INT64_MAX;
                data += n;
                size -= n;
                ((DriftRecord *) (void *) (page + DRIFT_OFFSET))->sequence &= ~UINT32_C(1);
                if (page_read_drift(page, &record) == PAGE_OK)
                        look(&l, &record, &now);
        }
}

static void read_raw(const uint8_t *data, size_t size) {
        static _Alignas(8) uint8_t page[PAGE_SIZE_BYTES];
        VmclockPage clock;
        DriftRecord record;

        memset(page, 0, sizeof(page));
        memcpy(page + DRIFT_OFFSET, data, size < DRIFT_OFFSET ? size : DRIFT_OFFSET);
        if (page_read_drift(page, &record) == PAGE_OK)
                HOLDS(record.epoch != 0 && record.size >= sizeof(record));
        memcpy(page, data, size < PAGE_SIZE_BYTES ? size : PAGE_SIZE_BYTES);
        if (page_read_vmclock(page, &clock) == PAGE_OK)
                HOLDS(clock.magic == VMCLOCK_MAGIC);
}

static void read_state(const uint8_t *data, size_t size) {
        char text[STATE_MAX_BYTES];
        Ledger l = { 0 };

        if (size >= sizeof(text))
                return;
        memcpy(text, data, size);
        text[size] = 0;
        if (state_parse(text, "boot", &l) == 1)
                check_state(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        read_raw(data, size);
        read_pages(data, size);
        read_state(data, size);
        return 0;
}
