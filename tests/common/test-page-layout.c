/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "common/macro.h"
#include "common/page-layout.h"

static _Alignas(4096) uint8_t page[PAGE_SIZE_BYTES];

static const VmclockPage good_clock = {
        .magic = VMCLOCK_MAGIC,
        .size = PAGE_SIZE_BYTES,
        .version = VMCLOCK_VERSION,
        .sequence = 4,
        .disruption_marker = 7,
};

static const DriftRecord good_record = {
        .magic = DRIFT_MAGIC,
        .revision = DRIFT_REVISION,
        .size = sizeof(DriftRecord),
        .sequence = 6,
        .epoch = 1,
        .unseen_ns = 8,
        .publishings = 9,
};

static void put(const DriftRecord *record) {
        memcpy(page + DRIFT_OFFSET, record, sizeof(*record));
}

static void setup(void) {
        memset(page, 0, sizeof(page));
        memcpy(page + VMCLOCK_OFFSET, &good_clock, sizeof(good_clock));
        put(&good_record);
}

START_TEST(test_what_was_written_is_read) {
        DriftRecord record;
        VmclockPage clock;

        ck_assert_int_eq(page_read_drift(page, &record), PAGE_OK);
        ck_assert_mem_eq(&record, &good_record, sizeof(record));
        ck_assert_int_eq(page_read_vmclock(page, &clock), PAGE_OK);
        ck_assert_mem_eq(&clock, &good_clock, sizeof(clock));
}
END_TEST

/* An author of another guest relies on these, and finds them in suspendd-drift-page(7). */
START_TEST(test_offsets_are_those_of_the_manual) {
        ck_assert_uint_eq(offsetof(VmclockPage, sequence), 0x0c);
        ck_assert_uint_eq(offsetof(VmclockPage, disruption_marker), 0x10);
        ck_assert_uint_eq(offsetof(VmclockPage, flags), 0x18);
        ck_assert_uint_eq(offsetof(VmclockPage, clock_status), 0x22);
        ck_assert_uint_eq(offsetof(VmclockPage, counter_value), 0x28);
        ck_assert_uint_eq(offsetof(VmclockPage, time_sec), 0x48);
        ck_assert_uint_eq(offsetof(VmclockPage, vm_generation_counter), 0x68);
        ck_assert_uint_eq(offsetof(DriftRecord, sequence), 0x10);
        ck_assert_uint_eq(offsetof(DriftRecord, flags), 0x14);
        ck_assert_uint_eq(offsetof(DriftRecord, epoch), 0x18);
        ck_assert_uint_eq(offsetof(DriftRecord, cycles), 0x20);
        ck_assert_uint_eq(offsetof(DriftRecord, unseen_ns), 0x28);
        ck_assert_uint_eq(offsetof(DriftRecord, seen_ns), 0x30);
        ck_assert_uint_eq(offsetof(DriftRecord, last_unseen_ns), 0x38);
        ck_assert_uint_eq(offsetof(DriftRecord, last_seen_ns), 0x40);
        ck_assert_uint_eq(offsetof(DriftRecord, host_realtime_ns), 0x48);
        ck_assert_uint_eq(offsetof(DriftRecord, host_boottime_ns), 0x50);
        ck_assert_uint_eq(offsetof(DriftRecord, host_stepped_ns), 0x58);
        ck_assert_uint_eq(offsetof(DriftRecord, publishings), 0x60);
        ck_assert_uint_eq(offsetof(DriftAnswer, epoch), 0x08);
        ck_assert_uint_eq(offsetof(DriftAnswer, applied_ns), 0x10);
        ck_assert_uint_eq(offsetof(DriftAnswer, corrects), 0x18);
        ck_assert_uint_eq(offsetof(DriftAnswer, refused_ns), 0x20);
        ck_assert_uint_eq(offsetof(DriftAnswer, publishings), 0x28);
        /* What is written by whole words must lie on them. */
        ck_assert_uint_eq(sizeof(VmclockPage) % 8, 0);
        ck_assert_uint_eq(sizeof(DriftRecord) % 8, 0);
}
END_TEST

/* A writer that died in the middle leaves it so for good. */
START_TEST(test_reader_gives_up_where_nobody_finishes) {
        DriftRecord record = good_record, untouched = good_record;
        VmclockPage clock;

        record.sequence++;
        put(&record);
        page[VMCLOCK_OFFSET + offsetof(VmclockPage, sequence)]++;
        ck_assert_int_eq(page_read_drift(page, &untouched), PAGE_KEEPS_MOVING);
        ck_assert_mem_eq(&untouched, &good_record, sizeof(untouched));
        ck_assert_int_eq(page_read_vmclock(page, &clock), PAGE_KEEPS_MOVING);
}
END_TEST

START_TEST(test_nothing_but_a_record_is_one) {
        DriftRecord record;

        for (int byte = 0; byte <= 0xff; byte++) {
                memset(page, byte, sizeof(page));
                ck_assert_int_ne(page_read_drift(page, &record), PAGE_OK);
        }

        record = good_record;
        record.magic++;
        put(&record);
        ck_assert_int_eq(page_read_drift(page, &record), PAGE_NO_RECORD);
        record = good_record;
        record.epoch = 0;
        put(&record);
        ck_assert_int_eq(page_read_drift(page, &record), PAGE_NO_RECORD);
}
END_TEST

START_TEST(test_another_kind_is_refused_and_a_longer_record_is_read) {
        DriftRecord record;

        record = good_record;
        record.revision++;
        put(&record);
        ck_assert_int_eq(page_read_drift(page, &record), PAGE_OTHER_KIND);
        record = good_record;
        record.size--;
        put(&record);
        ck_assert_int_eq(page_read_drift(page, &record), PAGE_OTHER_KIND);
        record = good_record;
        record.size = ANSWER_OFFSET - DRIFT_OFFSET + 1;
        put(&record);
        ck_assert_int_eq(page_read_drift(page, &record), PAGE_OTHER_KIND);

        record = good_record;
        record.size = ANSWER_OFFSET - DRIFT_OFFSET;
        put(&record);
        ck_assert_int_eq(page_read_drift(page, &record), PAGE_OK);
}
END_TEST

START_TEST(test_vmclock_of_another_kind_is_refused) {
        VmclockPage clock = good_clock;

        clock.version++;
        memcpy(page, &clock, sizeof(clock));
        ck_assert_int_eq(page_read_vmclock(page, &clock), PAGE_OTHER_KIND);
        clock = good_clock;
        clock.size = sizeof(clock) - 1;
        memcpy(page, &clock, sizeof(clock));
        ck_assert_int_eq(page_read_vmclock(page, &clock), PAGE_OTHER_KIND);
        clock = good_clock;
        clock.magic = 0;
        memcpy(page, &clock, sizeof(clock));
        ck_assert_int_eq(page_read_vmclock(page, &clock), PAGE_NO_RECORD);
}
END_TEST

START_TEST(test_answer_is_written_to_its_place_alone) {
        static const DriftAnswer answer = {
                .magic = ANSWER_MAGIC,
                .epoch = 1,
                .applied_ns = 2,
                .corrects = ANSWER_CORRECTS_ALL,
                .refused_ns = 4,
                .publishings = 5,
        };
        uint8_t before[PAGE_SIZE_BYTES];

        memcpy(before, page, sizeof(page));
        page_write_answer(page, &answer);
        ck_assert_mem_eq(page + ANSWER_OFFSET, &answer, sizeof(answer));
        ck_assert_mem_eq(page, before, ANSWER_OFFSET);
        ck_assert_mem_eq(
                        page + ANSWER_OFFSET + sizeof(answer),
                        before + ANSWER_OFFSET + sizeof(answer),
                        sizeof(page) - ANSWER_OFFSET - sizeof(answer));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("page-layout");
        TCase *tcase = tcase_create("page-layout");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        tcase_add_checked_fixture(tcase, setup, NULL);
        tcase_add_test(tcase, test_what_was_written_is_read);
        tcase_add_test(tcase, test_offsets_are_those_of_the_manual);
        tcase_add_test(tcase, test_reader_gives_up_where_nobody_finishes);
        tcase_add_test(tcase, test_nothing_but_a_record_is_one);
        tcase_add_test(tcase, test_another_kind_is_refused_and_a_longer_record_is_read);
        tcase_add_test(tcase, test_vmclock_of_another_kind_is_refused);
        tcase_add_test(tcase, test_answer_is_written_to_its_place_alone);
        suite_add_tcase(suite, tcase);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
