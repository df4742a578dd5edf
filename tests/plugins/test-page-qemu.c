/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A page's doorbell before real QEMU processes, without a guest: what their devices take of it. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include "common/macro.h"
#include "common/page-layout.h"
#include "fake-host.h"
#include "plugins/page/doorbell.h"

#define QEMU "qemu-system-x86_64"
#define N_VECTORS 2

static FakeHost fake;
static Doorbells *all;
static Doorbell *doorbell;
static char directory[32], page_path[64], socket_path[64];
static int page_fd;
static pid_t processes[2];

/* set up */

static void open_doorbell(void) {
        ck_assert_int_eq(doorbells_new(&fake.host, directory, &all), 0);
        for (size_t i = 0; i < fake.n_kept; i++)
                ck_assert(doorbells_restore(
                                all,
                                fake.kept[i].name,
                                fcntl(fake.kept[i].fd, F_DUPFD_CLOEXEC, 0)));
        ck_assert_int_eq(doorbell_new(all, "vm", page_fd, geteuid(), N_VECTORS, &doorbell), 0);
}

static void close_doorbell(void) {
        doorbell = doorbell_free(doorbell);
        all = doorbells_free(all);
}

static void set_up(void) {
        (void) strcpy(directory, "/tmp/test-page-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        (void) snprintf(page_path, sizeof(page_path), "%s/vm", directory);
        (void) snprintf(socket_path, sizeof(socket_path), "%s/vm.sock", directory);
        page_fd = open(page_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_eq(ftruncate(page_fd, PAGE_SIZE_BYTES), 0);
        fake_host_init(&fake);
        open_doorbell();
}

static void end_qemu(unsigned i) {
        if (processes[i] <= 0)
                return;
        (void) kill(processes[i], SIGKILL);
        (void) waitpid(processes[i], NULL, 0);
        processes[i] = 0;
}

static void tear_down(void) {
        char command[64];

        for (unsigned i = 0; i < ARRAY_LEN(processes); i++)
                end_qemu(i);
        close_doorbell();
        fake_host_done(&fake);
        (void) close(page_fd);
        (void) snprintf(command, sizeof(command), "rm -r %s", directory);
        ck_assert_int_eq(system(command), 0);
}

/* One whose vCPU stands from the beginning; its device has @n_vectors. */
static void run_qemu(unsigned i, unsigned n_vectors) {
        char chardev[128], device[64];
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                (void) snprintf(chardev, sizeof(chardev), "socket,id=bell,path=%s", socket_path);
                (void) snprintf(device,
                                sizeof(device),
                                "ivshmem-doorbell,chardev=bell,vectors=%u",
                                n_vectors);
                (void) execlp(QEMU,
                              QEMU,
                              "-machine",
                              "q35",
                              "-m",
                              "16",
                              "-S",
                              "-display",
                              "none",
                              "-nodefaults",
                              "-chardev",
                              chardev,
                              "-device",
                              device,
                              NULL);
                _exit(127);
        }
        processes[i] = pid;
}

/* what is seen */

static bool has_mapped_the_page(pid_t pid) {
        char path[64], line[512];
        bool found = false;
        FILE *f;

        (void) snprintf(path, sizeof(path), "/proc/%d/maps", (int) pid);
        f = fopen(path, "re");
        while (f && !found && fgets(line, sizeof(line), f))
                found = strstr(line, page_path) && strstr(line, " rw-s ");
        fclosep(&f);
        return found;
}

/* How often it has been rung and the VMM has not taken note of that; the kernel shows it of our own. */
static unsigned long long latched(const char *name) {
        char path[64], line[128];
        unsigned long long n = 0;
        FILE *f;

        (void) snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fake_host_kept(&fake, name));
        f = fopen(path, "re");
        ck_assert_ptr_nonnull(f);
        while (fgets(line, sizeof(line), f))
                if (strncmp(line, "eventfd-count:", 14) == 0)
                        n = strtoull(line + 14, NULL, 16);
        (void) fclose(f);
        return n;
}

static void join(unsigned i) {
        run_qemu(i, N_VECTORS);
        FAKE_HOST_WAIT(&fake, doorbell_n_peers(doorbell) == i + 1U);
        FAKE_HOST_WAIT(&fake, has_mapped_the_page(processes[i]));
}

/* Its device listens, and not only when it is convenient. */
static void assert_is_heard(const char *name) {
        doorbell_ring(doorbell);
        FAKE_HOST_WAIT(&fake, latched(name) == 0);
}

/* tests */

START_TEST(test_device_maps_the_page_and_hears_the_bell) {
        join(0);
        assert_is_heard("vm.e0");
        ck_assert_int_eq(kill(processes[0], SIGSTOP), 0);
        doorbell_ring(doorbell);
        ck_assert_uint_eq(latched("vm.e0"), 1);
        ck_assert_int_eq(kill(processes[0], SIGCONT), 0);
        FAKE_HOST_WAIT(&fake, latched("vm.e0") == 0);
        ck_assert_int_eq(waitpid(processes[0], NULL, WNOHANG), 0);
}
END_TEST

START_TEST(test_second_vmm_is_served_and_missed) {
        join(0);
        join(1);
        assert_is_heard("vm.e0");
        assert_is_heard("vm.e1");
        end_qemu(0);
        FAKE_HOST_WAIT(&fake, doorbell_n_peers(doorbell) == 1);
        ck_assert_int_eq(fake_host_kept(&fake, "vm.e0"), -1);
        assert_is_heard("vm.e1");
}
END_TEST

START_TEST(test_next_life_is_heard_by_a_vm_of_the_last) {
        join(0);
        close_doorbell();
        open_doorbell();
        ck_assert_uint_eq(doorbell_n_peers(doorbell), 1);
        assert_is_heard("vm.e0");
        join(1);
        assert_is_heard("vm.e1");
        end_qemu(0);
        FAKE_HOST_WAIT(&fake, doorbell_n_peers(doorbell) == 1);
}
END_TEST

START_TEST(test_vmm_that_starts_while_nobody_is_there_waits) {
        close_doorbell();
        run_qemu(0, N_VECTORS);
        fake_host_spend(&fake, 200000);
        ck_assert_int_eq(waitpid(processes[0], NULL, WNOHANG), 0);
        open_doorbell();
        FAKE_HOST_WAIT(&fake, has_mapped_the_page(processes[0]));
        assert_is_heard("vm.e0");
}
END_TEST

/* QEMU only grumbles, in either case: vector 0 is all that is rung. */
START_TEST(test_device_may_have_other_vectors_than_the_page) {
        run_qemu(0, N_VECTORS - 1);
        run_qemu(1, N_VECTORS + 1);
        FAKE_HOST_WAIT(&fake, doorbell_n_peers(doorbell) == 2);
        for (unsigned i = 0; i < 2; i++)
                FAKE_HOST_WAIT(&fake, has_mapped_the_page(processes[i]));
        assert_is_heard("vm.e0");
        assert_is_heard("vm.e1");
        for (unsigned i = 0; i < 2; i++)
                ck_assert_int_eq(waitpid(processes[i], NULL, WNOHANG), 0);
}
END_TEST

int main(void) {
        Suite *s = suite_create("page-qemu");
        TCase *c = tcase_create("qemu");
        SRunner *sr = srunner_create(s);
        int n_failed;

        tcase_add_checked_fixture(c, set_up, tear_down);
        tcase_set_timeout(c, 60);
        tcase_add_test(c, test_device_maps_the_page_and_hears_the_bell);
        tcase_add_test(c, test_second_vmm_is_served_and_missed);
        tcase_add_test(c, test_next_life_is_heard_by_a_vm_of_the_last);
        tcase_add_test(c, test_vmm_that_starts_while_nobody_is_there_waits);
        tcase_add_test(c, test_device_may_have_other_vectors_than_the_page);
        suite_add_tcase(s, c);
        srunner_run_all(sr, CK_ENV);
        n_failed = srunner_ntests_failed(sr);
        srunner_free(sr);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
