/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/mman.h>
#include <sys/wait.h>
#include "guest/memory.h"
#include "guest/page.h"
#include "run.h"
#include "scratch.h"

static _Alignas(8) uint8_t bytes[PAGE_SIZE_BYTES];
static DriftRecord *record = (DriftRecord *) (void *) (bytes + DRIFT_OFFSET);
static VmclockPage *vmclock = (VmclockPage *) (void *) bytes;
static Page page;
static char why[1024];

static void setup(void) {
        scratch_make();
        memset(bytes, 0, sizeof(bytes));
        *record = (DriftRecord){
                .magic = DRIFT_MAGIC,
                .revision = DRIFT_REVISION,
                .size = sizeof(*record),
                .sequence = 2,
                .epoch = 7,
                .unseen_ns = 5,
                .publishings = 1,
        };
        *vmclock = (VmclockPage){
                .magic = VMCLOCK_MAGIC,
                .size = PAGE_SIZE_BYTES,
                .version = VMCLOCK_VERSION,
                .counter_id = VMCLOCK_COUNTER_INVALID,
                .sequence = 2,
        };
}

static void write_page(const char *name, size_t size) {
        scratch_write(name, bytes, size, 0600);
}

static int open_file(void) {
        const PageChoice choice = { .file = scratch_path("page"), .root = "" };

        return page_open(&choice, &page, why, sizeof(why));
}

static int open_found(const char *device, bool wants_vfio) {
        const PageChoice choice = { .device = device, .wants_vfio = wants_vfio, .root = scratch };

        return page_open(&choice, &page, why, sizeof(why));
}

/* files */

static int read_file(void) {
        DriftRecord found = { 0 };
        int r;

        ck_assert_int_eq(open_file(), 0);
        r = page_read_record(&page, &found);
        if (r == 0)
                ck_assert_uint_eq(found.unseen_ns, record->unseen_ns);
        page_close(&page);
        return r;
}

START_TEST(test_a_record_in_a_file_is_read) {
        write_page("page", sizeof(bytes));
        ck_assert_int_eq(read_file(), 0);
}
END_TEST

START_TEST(test_no_file_is_no_page) {
        ck_assert_int_eq(open_file(), -ENOENT);
        ck_assert_ptr_nonnull(strstr(why, "No such file"));
}
END_TEST

START_TEST(test_a_file_of_any_other_length_is_refused) {
        for (size_t n = 0; n < sizeof(bytes); n += 511) {
                write_page("page", n);
                ck_assert_int_eq(read_file(), -ENODATA);
        }
}
END_TEST

START_TEST(test_what_is_no_record_is_refused) {
        record->magic++;
        write_page("page", sizeof(bytes));
        ck_assert_int_eq(read_file(), -EBADMSG);
        record->magic--;
        record->epoch = 0;
        write_page("page", sizeof(bytes));
        ck_assert_int_eq(read_file(), -EBADMSG);
        memset(bytes, 0xff, sizeof(bytes));
        write_page("page", sizeof(bytes));
        ck_assert_int_lt(read_file(), 0);
}
END_TEST

START_TEST(test_another_revision_is_refused) {
        record->revision++;
        write_page("page", sizeof(bytes));
        ck_assert_int_eq(read_file(), -EPROTONOSUPPORT);
        record->revision = DRIFT_REVISION;
        record->size = UINT32_MAX;
        write_page("page", sizeof(bytes));
        ck_assert_int_eq(read_file(), -EPROTONOSUPPORT);
}
END_TEST

START_TEST(test_a_record_that_is_always_being_written_is_refused) {
        record->sequence = 3;
        write_page("page", sizeof(bytes));
        ck_assert_int_eq(read_file(), -EBUSY);
}
END_TEST

START_TEST(test_a_file_is_followed_by_its_name) {
        DriftRecord found;

        write_page("page", sizeof(bytes));
        ck_assert_int_eq(open_file(), 0);
        record->unseen_ns = 99;
        write_page("new", sizeof(bytes));
        ck_assert_int_eq(rename(scratch_path("new"), scratch_path("page")), 0);
        ck_assert_int_eq(page_read_record(&page, &found), 0);
        ck_assert_uint_eq(found.unseen_ns, 99);
        ck_assert_int_eq(truncate(scratch_path("page"), 100), 0);
        ck_assert_int_eq(page_read_record(&page, &found), -ENODATA);
        ck_assert_int_eq(unlink(scratch_path("page")), 0);
        ck_assert_int_eq(page_read_record(&page, &found), -ENOENT);
        page_close(&page);
}
END_TEST

START_TEST(test_the_answer_is_written_where_it_belongs) {
        const DriftAnswer answer = {
                .magic = ANSWER_MAGIC, .epoch = 7, .applied_ns = 3, .publishings = 9
        };
        uint8_t after[PAGE_SIZE_BYTES];
        _cleanup_close_ int fd = -1;

        write_page("page", sizeof(bytes));
        ck_assert_int_eq(open_file(), 0);
        ck_assert(page.can_answer);
        page_answer(&page, &answer);
        page_close(&page);

        fd = open(scratch_path("page"), O_RDONLY | O_CLOEXEC);
        ck_assert_int_eq(read(fd, after, sizeof(after)), sizeof(after));
        ck_assert_mem_eq(after + ANSWER_OFFSET, &answer, sizeof(answer));
        memset(after + ANSWER_OFFSET, 0, sizeof(answer));
        ck_assert_mem_eq(after, bytes, sizeof(bytes));
}
END_TEST

START_TEST(test_no_total_is_torn_under_a_writer) {
        DriftRecord found = { 0 };
        uint8_t *map;
        pid_t writer;
        int n = 0;

        write_page("page", sizeof(bytes));
        ck_assert_int_eq(open_file(), 0);
        writer = fork();
        if (writer == 0) {
                int fd = open(scratch_path("page"), O_RDWR | O_CLOEXEC);
                DriftRecord *at;

                map = mmap(NULL, sizeof(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                at = (DriftRecord *) (void *) (map + DRIFT_OFFSET);
                for (uint64_t i = 1;; i++) {
                        __atomic_store_n(&at->sequence, at->sequence + 1, __ATOMIC_SEQ_CST);
                        __atomic_store_n(&at->unseen_ns, i, __ATOMIC_SEQ_CST);
                        __atomic_store_n(&at->publishings, i, __ATOMIC_SEQ_CST);
                        __atomic_store_n(&at->sequence, at->sequence + 1, __ATOMIC_SEQ_CST);
                        for (int j = 0; j < 2000; j++)
                                page_relax();
                }
        }
        for (int i = 0; i < 20000; i++)
                if (page_read_record(&page, &found) == 0 && found.publishings != 1) {
                        ck_assert_uint_eq(found.unseen_ns, found.publishings);
                        n++;
                }
        (void) kill(writer, SIGKILL);
        (void) waitpid(writer, NULL, 0);
        ck_assert_int_gt(n, 100);
        page_close(&page);
}
END_TEST

/* devices, in a tree as the kernel's */

static void make_device(const char *address, const char *vendor, const char *device) {
        char name[128];

        (void) snprintf(name, sizeof(name), "sys/bus/pci/devices/%s", address);
        scratch_folders(name);
        (void) snprintf(name, sizeof(name), "sys/bus/pci/devices/%s/vendor", address);
        scratch_write(name, vendor, strlen(vendor), 0644);
        (void) snprintf(name, sizeof(name), "sys/bus/pci/devices/%s/device", address);
        scratch_write(name, device, strlen(device), 0644);
        (void) snprintf(name, sizeof(name), "sys/bus/pci/devices/%s/enable", address);
        scratch_write(name, "0\n", 2, 0644);
}

static void make_memory(const char *address) {
        char name[128];

        (void) snprintf(name, sizeof(name), "sys/bus/pci/devices/%s/resource2", address);
        write_page(name, sizeof(bytes));
}

static void make_driver(const char *address, const char *driver) {
        char name[128], target[128];

        (void) snprintf(name, sizeof(name), "sys/bus/pci/devices/%s/driver", address);
        (void) snprintf(target, sizeof(target), "../../../../bus/pci/drivers/%s", driver);
        ck_assert_int_eq(symlink(target, scratch_path(name)), 0);
}

static void make_ivshmem(const char *address) {
        make_device(address, "0x1af4\n", "0x1110\n");
        make_memory(address);
}

START_TEST(test_shared_memory_with_our_record_is_found_and_enabled) {
        DriftRecord found;

        make_device("0000:00:01.0", "0x1af4\n", "0x1000\n");
        make_memory("0000:00:01.0");
        make_device("0000:00:02.0", "0x8086\n", "0x1110\n");
        make_memory("0000:00:02.0");
        record->magic++;
        make_ivshmem("0000:00:03.0");
        record->magic--;
        make_ivshmem("0000:00:04.0");
        ck_assert_int_eq(open_found(NULL, false), 0);
        ck_assert_str_eq(page.name, "0000:00:04.0");
        ck_assert_int_eq(page.carrier, PAGE_CARRIER_IVSHMEM);
        ck_assert_int_lt(page.wait_fd, 0);
        ck_assert(page.can_answer);
        ck_assert_str_eq(scratch_read("sys/bus/pci/devices/0000:00:04.0/enable"), "1\n");
        ck_assert_int_eq(page_read_record(&page, &found), 0);
        ck_assert_uint_eq(found.unseen_ns, 5);
        page_close(&page);
}
END_TEST

START_TEST(test_others_shared_memory_is_refused_by_name) {
        record->magic++;
        make_ivshmem("0000:00:03.0");
        ck_assert_int_eq(open_found(NULL, false), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(why, "0000:00:03.0: shared memory without"));
}
END_TEST

START_TEST(test_a_device_can_be_chosen) {
        make_ivshmem("0000:00:03.0");
        make_ivshmem("0000:00:04.0");
        ck_assert_int_eq(open_found("0000:00:04.0", false), 0);
        ck_assert_str_eq(page.name, "0000:00:04.0");
        page_close(&page);
        ck_assert_int_eq(open_found("0000:00:05.0", false), -ENOENT);
}
END_TEST

START_TEST(test_a_device_with_a_driver_is_left_to_it) {
        make_ivshmem("0000:00:03.0");
        make_driver("0000:00:03.0", "suspendd_drift");
        ck_assert_int_eq(open_found(NULL, false), -ENOENT);
        ck_assert_ptr_nonnull(strstr(why, "left to the driver suspendd_drift"));
}
END_TEST

START_TEST(test_vfio_without_an_iommu_says_so_and_another_carrier_is_taken) {
        make_ivshmem("0000:00:03.0");
        make_driver("0000:00:03.0", "vfio-pci");
        ck_assert_int_lt(open_found(NULL, false), 0);
        ck_assert_ptr_nonnull(strstr(why, "virtual IOMMU"));
        make_ivshmem("0000:00:04.0");
        ck_assert_int_eq(open_found(NULL, false), 0);
        ck_assert_str_eq(page.name, "0000:00:04.0");
        page_close(&page);
        ck_assert_int_lt(open_found(NULL, true), 0);
}
END_TEST

START_TEST(test_memory_smaller_than_a_page_is_refused) {
        make_device("0000:00:03.0", "0x1af4\n", "0x1110\n");
        write_page("sys/bus/pci/devices/0000:00:03.0/resource2", 256);
        ck_assert_int_lt(open_found(NULL, false), 0);
        ck_assert_ptr_nonnull(strstr(why, "0000:00:03.0"));
}
END_TEST

START_TEST(test_a_vmclock_with_our_record_is_found) {
        scratch_folders("dev");
        write_page("dev/vmclock0", sizeof(bytes));
        ck_assert_int_eq(open_found(NULL, false), 0);
        ck_assert_int_eq(page.carrier, PAGE_CARRIER_VMCLOCK);
        ck_assert_int_lt(page.wait_fd, 0);
        ck_assert(!page.can_answer);
        page_close(&page);

        vmclock->flags = VMCLOCK_FLAG_NOTIFICATION_PRESENT;
        write_page("dev/vmclock1", sizeof(bytes));
        ck_assert_int_eq(open_found(NULL, false), 0);
        ck_assert_ptr_nonnull(strstr(page.name, "/dev/vmclock1"));
        ck_assert_int_ge(page.wait_fd, 0);
        page_close(&page);
}
END_TEST

START_TEST(test_another_hypervisors_vmclock_is_refused) {
        memset(record, 0, sizeof(*record));
        scratch_folders("dev");
        write_page("dev/vmclock0", sizeof(bytes));
        ck_assert_int_eq(open_found(NULL, false), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(why, "a clock without"));
}
END_TEST

START_TEST(test_a_clock_that_tells_before_memory_before_a_clock_that_does_not) {
        scratch_folders("dev");
        make_ivshmem("0000:00:03.0");
        write_page("dev/vmclock0", sizeof(bytes));
        ck_assert_int_eq(open_found(NULL, false), 0);
        ck_assert_int_eq(page.carrier, PAGE_CARRIER_IVSHMEM);
        page_close(&page);
        vmclock->flags = VMCLOCK_FLAG_NOTIFICATION_PRESENT;
        write_page("dev/vmclock0", sizeof(bytes));
        ck_assert_int_eq(open_found(NULL, false), 0);
        ck_assert_int_eq(page.carrier, PAGE_CARRIER_VMCLOCK);
        page_close(&page);
}
END_TEST

START_TEST(test_a_device_that_wakes_for_nothing_is_no_longer_waited_for) {
        scratch_folders("dev");
        vmclock->flags = VMCLOCK_FLAG_NOTIFICATION_PRESENT;
        write_page("dev/vmclock0", sizeof(bytes));
        ck_assert_int_eq(open_found(NULL, false), 0);
        for (int i = 0; i < 50; i++) {
                vmclock->sequence += 2;
                write_page("dev/vmclock0", sizeof(bytes));
                page_woken(&page);
                ck_assert_int_ge(page.wait_fd, 0);
        }
        for (int i = 0; i < 50; i++)
                page_woken(&page);
        ck_assert_int_lt(page.wait_fd, 0);
        page_close(&page);
}
END_TEST

START_TEST(test_memory_that_goes_away_is_an_error_and_no_end) {
        const DriftAnswer answer = { .magic = ANSWER_MAGIC };
        DriftRecord found;

        make_ivshmem("0000:00:03.0");
        ck_assert_int_eq(open_found(NULL, false), 0);
        ck_assert_int_eq(
                        truncate(scratch_path("sys/bus/pci/devices/0000:00:03.0/resource2"), 0), 0);
        for (int i = 0; i < 3; i++) {
                ck_assert_int_eq(page_read_record(&page, &found), -EFAULT);
                page_answer(&page, &answer);
        }
        page_close(&page);
}
END_TEST

START_TEST(test_carriers_and_errors_have_texts) {
        for (PageCarrier c = 0; c < PAGE_CARRIER_MAX; c++)
                ck_assert_ptr_nonnull(page_carrier_text(c));
        ck_assert_ptr_null(page_carrier_text(PAGE_CARRIER_INVALID));
        ck_assert_str_eq(page_error_text(-EBUSY), "it keeps moving");
}
END_TEST

int main(void) {
        const TTest *const tests[] = {
                test_a_record_in_a_file_is_read,
                test_no_file_is_no_page,
                test_a_file_of_any_other_length_is_refused,
                test_what_is_no_record_is_refused,
                test_another_revision_is_refused,
                test_a_record_that_is_always_being_written_is_refused,
                test_a_file_is_followed_by_its_name,
                test_the_answer_is_written_where_it_belongs,
                test_no_total_is_torn_under_a_writer,
                test_shared_memory_with_our_record_is_found_and_enabled,
                test_others_shared_memory_is_refused_by_name,
                test_a_device_can_be_chosen,
                test_a_device_with_a_driver_is_left_to_it,
                test_vfio_without_an_iommu_says_so_and_another_carrier_is_taken,
                test_memory_smaller_than_a_page_is_refused,
                test_a_vmclock_with_our_record_is_found,
                test_another_hypervisors_vmclock_is_refused,
                test_a_clock_that_tells_before_memory_before_a_clock_that_does_not,
                test_a_device_that_wakes_for_nothing_is_no_longer_waited_for,
                test_memory_that_goes_away_is_an_error_and_no_end,
                test_carriers_and_errors_have_texts,
        };

        return run_tests("guest-page", tests, ARRAY_LEN(tests), setup, scratch_remove);
}
