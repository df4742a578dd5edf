/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* To whom one connects, while a user swaps what is there. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "common/clock-sample.h"
#include "common/macro.h"
#include "common/time-util.h"
#include "plugins/qmp/channel.h"

#define JOE 65533
#define SWAPPING_USEC (300 * USEC_PER_MSEC)

static char folder[64];

static const char *in_folder(const char *name) {
        static char paths[4][100];
        static unsigned next;
        char *path = paths[next++ % 4];

        (void) snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
        return path;
}

static void setup(void) {
        (void) snprintf(folder, sizeof(folder), "/tmp/test-channel-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(folder));
        ck_assert_int_eq(chmod(folder, 0755), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        (void) st;
        (void) type;
        (void) ftw;
        return remove(path);
}

static void teardown(void) {
        ck_assert_int_eq(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static int listen_at(const char *name) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        ck_assert_int_ge(fd, 0);
        (void) strcpy(address.sun_path, in_folder(name));
        ck_assert_int_eq(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ck_assert_int_eq(listen(fd, 1000), 0);
        return fd;
}

static unsigned count_clients(int listen_fd) {
        unsigned n = 0;
        int fd;

        while ((fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
                n++;
                (void) close(fd);
        }
        return n;
}

/* Puts now his socket at "joe/vm", now a link to root's, as long as he lives. */
static pid_t start_swapper(void) {
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (pid > 0)
                return pid;
        if (setresgid(JOE, JOE, JOE) < 0 || setresuid(JOE, JOE, JOE) < 0)
                _exit(1);
        for (;;) {
                if (symlink("../root", in_folder("joe/link")) < 0 ||
                    rename(in_folder("joe/link"), in_folder("joe/vm")) < 0 ||
                    link(in_folder("joe/socket"), in_folder("joe/again")) < 0 ||
                    rename(in_folder("joe/again"), in_folder("joe/vm")) < 0)
                        _exit(1);
        }
}

START_TEST(test_whoever_swaps_what_is_there_leads_to_no_other) {
        _cleanup_close_ int root = listen_at("root"), joe = -1;
        unsigned n_connected = 0, n_refused = 0, n_seen = 0;
        uint64_t until_usec;
        pid_t swapper;
        int status;

        ck_assert_int_eq(mkdir(in_folder("joe"), 0755), 0);
        joe = listen_at("joe/socket");
        ck_assert_int_eq(chown(in_folder("joe/socket"), JOE, JOE), 0);
        ck_assert_int_eq(chown(in_folder("joe"), JOE, JOE), 0);
        swapper = start_swapper();
        until_usec = clock_now_usec(CLOCK_MONOTONIC) + SWAPPING_USEC;
        while (clock_now_usec(CLOCK_MONOTONIC) < until_usec || !n_connected || !n_refused) {
                _cleanup_close_ int fd = -1;
                const char *why = NULL;
                int r = channel_connect(in_folder("joe/vm"), &fd, &why);

                n_connected += r >= 0;
                n_refused += r == -EPERM;
                n_seen += count_clients(joe);
                ck_assert(r >= 0 || r == -EPERM || r == -ENOENT);
        }
        ck_assert_int_eq(waitpid(swapper, &status, WNOHANG), 0); /* at work to the end */
        ck_assert_int_eq(kill(swapper, SIGKILL), 0);
        ck_assert_int_eq(waitpid(swapper, &status, 0), swapper);
        ck_assert_uint_eq(count_clients(root), 0);
        ck_assert_uint_eq(n_seen, n_connected);
}
END_TEST

START_TEST(test_path_of_no_socket_is_refused_as_the_kernel_does) {
        const char *why = NULL;
        int fd = -1;

        ck_assert_int_eq(channel_connect(folder, &fd, &why), -ECONNREFUSED);
        ck_assert_int_eq(channel_connect(in_folder("none"), &fd, &why), -ENOENT);
        ck_assert_int_eq(fd, -1);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("qmp-channel");
        TCase *t = tcase_create("channel");
        SRunner *runner;
        int n_failed;

        tcase_add_checked_fixture(t, setup, teardown);
        tcase_set_timeout(t, 30);
        tcase_add_test(t, test_path_of_no_socket_is_refused_as_the_kernel_does);
        if (geteuid() == 0) /* one has to be two users */
                tcase_add_test(t, test_whoever_swaps_what_is_there_leads_to_no_other);
        suite_add_tcase(suite, t);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
