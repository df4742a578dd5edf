/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include "daemon/fd-store.h"
#include "scratch.h"

/* Of what execve(2) takes as one string (MAX_ARG_STRLEN, with pages of 4 KiB). */
#define ARGUMENT_MAX (32 * 4096)

static int manager = -1; /* what systemd would read */
static FdStore *store;

static void setup(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        const char *path;

        scratch_make();
        path = scratch_path("notify");
        memcpy(address.sun_path, path, strlen(path) + 1);
        manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(manager, 0);
        ck_assert_int_eq(bind(manager, (struct sockaddr *) &address, sizeof(address)), 0);
        ck_assert_int_eq(setenv("NOTIFY_SOCKET", path, 1), 0);
        ck_assert_int_eq(fd_store_new(&store), 0);
}

static void teardown(void) {
        store = fd_store_free(store);
        closep(&manager);
        scratch_remove();
}

/* The next thing that systemd is told, "" if nothing; and what came with it, or -1. */
static const char *told(int *ret_fd) {
        static char text[1024];
        struct iovec vector = { .iov_base = text, .iov_len = sizeof(text) - 1 };
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(8 * sizeof(int))];
        } control = { 0 };
        struct msghdr m = { .msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof(control) };
        ssize_t n = recvmsg(manager, &m, MSG_CMSG_CLOEXEC);

        *ret_fd = -1;
        if (n >= 0 && control.header.cmsg_len == CMSG_LEN(sizeof(int)))
                memcpy(ret_fd, CMSG_DATA(&control.header), sizeof(int));
        text[MAX(n, 0)] = '\0';
        return text;
}

static void assert_told(const char *expected) {
        int fd;

        ck_assert_str_eq(told(&fd), expected);
        closep(&fd);
}

START_TEST(test_kept_one_goes_to_the_manager_with_its_name) {
        int fd = eventfd(0, EFD_CLOEXEC), theirs;
        uint64_t n = 5;

        ck_assert_int_eq(fd_store_keep(store, "page", "vm.1-a_B.s", fd), 0);
        ck_assert_str_eq(told(&theirs), "FDSTORE=1\nFDNAME=page.vm.1-a_B.s");
        ck_assert_int_eq(write(fd, &n, sizeof(n)), sizeof(n));
        n = 0;
        ck_assert_int_eq(read(theirs, &n, sizeof(n)), sizeof(n));
        ck_assert_uint_eq(n, 5);
        closep(&theirs);
        closep(&fd);
        assert_told("");
}
END_TEST

START_TEST(test_dropped_one_is_taken_back_once) {
        ck_assert_int_eq(fd_store_keep(store, "page", "x", STDIN_FILENO), 0);
        ck_assert_int_eq(fd_store_keep(store, "page", "x", STDOUT_FILENO), 0);
        ck_assert_int_eq(fd_store_keep(store, "pag", "e.x", STDIN_FILENO), 0);
        for (int i = 0; i < 3; i++) {
                int fd;

                (void) told(&fd);
                closep(&fd);
        }
        fd_store_drop(store, "page", "y");
        fd_store_drop(store, "pag", "x");
        assert_told("");
        fd_store_drop(store, "page", "x");
        assert_told("FDSTOREREMOVE=1\nFDNAME=page.x");
        fd_store_drop(store, "page", "x");
        assert_told("");
}
END_TEST

START_TEST(test_bad_names_go_nowhere) {
        static const char *const names[] = { "",    "a:b",     "a b", "a\nFDSTOREREMOVE=1",
                                             "a/b", "\xc3\xa4" };
        char longest[202];

        memset(longest, 'x', sizeof(longest));
        longest[201] = '\0';
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                ck_assert_int_eq(fd_store_keep(store, "page", names[i], 0), -EINVAL);
        ck_assert_int_eq(fd_store_keep(store, "page", longest, 0), -EINVAL);
        ck_assert_int_eq(fd_store_keep(store, "pa.ge", "x", 0), -EINVAL);
        assert_told("");
        longest[200] = '\0';
        ck_assert_int_eq(fd_store_keep(store, "page", longest, 0), 0);
}
END_TEST

START_TEST(test_without_a_manager_nothing_is_kept) {
        ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
        for (int i = 0; i < 2 * FD_STORE_MAX; i++)
                ck_assert_int_eq(fd_store_keep(store, "page", "x", 0), -EOPNOTSUPP);
        fd_store_drop(store, "page", "x");
}
END_TEST

START_TEST(test_manager_that_is_gone_is_an_error) {
        closep(&manager);
        manager = -1;
        ck_assert_int_eq(fd_store_keep(store, "page", "x", 0), -ECONNREFUSED);
}
END_TEST

/* Keeps as many as there is room for, each by a name of that length. Returns: how many. */
static size_t fill(int length) {
        char name[FD_STORE_NAME_MAX + 1];
        int fd, r;
        size_t n;

        for (n = 0; n < 2 * FD_STORE_MAX; n++) {
                (void) snprintf(name, sizeof(name), "%0*zu", length, n);
                r = fd_store_keep(store, "page", name, STDIN_FILENO);
                if (r == -ENOSPC)
                        break;
                ck_assert_int_eq(r, 0);
                (void) told(&fd);
                closep(&fd);
        }
        assert_told("");
        fd_store_drop(store, "page", name);
        (void) snprintf(name, sizeof(name), "%0*zu", length, n - 1);
        fd_store_drop(store, "page", name);
        ck_assert_int_eq(fd_store_keep(store, "page", name, STDIN_FILENO), 0);
        return n;
}

START_TEST(test_names_stay_below_what_a_start_can_take) {
        size_t n = fill(FD_STORE_NAME_MAX);

        ck_assert_uint_lt(
                        n * (strlen("page.") + FD_STORE_NAME_MAX + 1) + strlen("LISTEN_FDNAMES="),
                        ARGUMENT_MAX);
        ck_assert_uint_gt(n, 500);
}
END_TEST

START_TEST(test_there_are_no_more_than_the_unit_allows) {
        ck_assert_uint_eq(fill(8), FD_STORE_MAX);
}
END_TEST

/* The next life, in a process of its own: the descriptors must be its first ones. */

#define MUST(_condition)                                                                \
        do {                                                                            \
                if (!(_condition)) {                                                    \
                        (void) fprintf(stderr, "line %d: %s\n", __LINE__, #_condition); \
                        _exit(1);                                                       \
                }                                                                       \
        } while (false)

typedef struct Taken {
        char names[8][32];
        int fds[8];
        size_t n;
} Taken;

static void take(void *userdata, const char *name, int fd) {
        Taken *t = userdata;

        (void) snprintf(t->names[t->n], sizeof(t->names[0]), "%s", name);
        t->fds[t->n++] = fd;
}

/* Is handed @n descriptors with these names, each an eventfd that counts its place. */
static FdStore *begin_life(int n, const char *names) {
        char text[16];
        FdStore *s;

        for (int i = 0; i < n; i++) {
                int fd = eventfd((unsigned) i, 0);

                MUST(fd >= 0);
                if (fd != SD_LISTEN_FDS_START + i)
                        MUST(dup2(fd, SD_LISTEN_FDS_START + i) >= 0 &&
                             (fd < SD_LISTEN_FDS_START + n || close(fd) == 0));
        }
        (void) snprintf(text, sizeof(text), "%d", (int) getpid());
        MUST(setenv("LISTEN_PID", text, 1) == 0);
        (void) snprintf(text, sizeof(text), "%d", n);
        MUST(setenv("LISTEN_FDS", text, 1) == 0);
        MUST(setenv("LISTEN_FDNAMES", names, 1) == 0);
        MUST(fd_store_new(&s) == 0);
        MUST(!getenv("LISTEN_FDS"));
        return s;
}

static bool is_open(int i) {
        return fcntl(SD_LISTEN_FDS_START + i, F_GETFD) >= 0;
}

static void life_in_which_some_are_taken(void) {
        FdStore *s = begin_life(5, "page.vm.s:pages.x:page.vm.c0:stored:page.vm.e0");
        Taken t = { 0 };
        uint64_t n;

        for (int i = 0; i < 5; i++)
                MUST(fcntl(SD_LISTEN_FDS_START + i, F_GETFD) == FD_CLOEXEC);
        fd_store_hand_out(s, "page", take, &t);
        MUST(t.n == 3);
        MUST(str_equal(t.names[0], "vm.s") && str_equal(t.names[1], "vm.c0") &&
             str_equal(t.names[2], "vm.e0"));
        MUST(read(t.fds[2], &n, sizeof(n)) == sizeof(n) && n == 4);
        fd_store_hand_out(s, "page", take, &t);
        MUST(t.n == 3); /* once */

        MUST(fd_store_settle(s) == 2);
        MUST(is_open(0) && !is_open(1) && is_open(2) && !is_open(3) && is_open(4));
        MUST(fd_store_settle(s) == 0);
        fd_store_drop(s, "page", "vm.c0");
        MUST(is_open(2)); /* it is the plugin's */
        fd_store_free(s);
        MUST(is_open(0));
        _exit(0);
}

static FdStore *dropping;

static void take_and_drop(void *userdata, const char *name, int fd) {
        take(userdata, name, fd);
        fd_store_drop(dropping, "page", name);
}

/* What is dropped while it is handed out takes its namesakes with it. */
static void life_in_which_namesakes_are_dropped(void) {
        Taken t = { 0 };

        dropping = begin_life(4, "page.a:page.a:page.a:page.b");
        fd_store_hand_out(dropping, "page", take_and_drop, &t);
        MUST(t.n == 2);
        MUST(str_equal(t.names[0], "a") && str_equal(t.names[1], "b"));
        MUST(is_open(0) && !is_open(1) && !is_open(2) && is_open(3));
        fd_store_free(dropping);
        _exit(0);
}

static void life_that_ends_at_once(void) {
        fd_store_free(begin_life(2, "page.a:page.b"));
        MUST(!is_open(0) && !is_open(1));
        _exit(0);
}

static void life_that_is_full(void) {
        char names[64 * 201], *at = names;
        FdStore *s;

        for (int i = 0; i < 64; i++)
                at += sprintf(at, "%spage.%0190d", i ? ":" : "", i);
        s = begin_life(64, names);
        for (int i = 0; i < FD_STORE_MAX - 64; i++)
                MUST(fd_store_keep(s, "page", "x", 0) == 0);
        MUST(fd_store_keep(s, "page", "x", 0) == -ENOSPC);
        _exit(0);
}

/* Runs it to its end, reading what it tells systemd into @ret. */
static void run_life(void (*life)(void), char *ret, size_t size) {
        pid_t pid = fork();
        int status = 0, fd;

        ck_assert_int_ge(pid, 0);
        if (pid == 0)
                life();
        *ret = '\0';
        for (bool is_over = false; !is_over;) {
                const char *text;

                is_over = waitpid(pid, &status, WNOHANG) == pid;
                while (*(text = told(&fd)) != '\0') {
                        (void) strncat(ret, text, size - strlen(ret) - 1);
                        (void) strncat(ret, "\n", size - strlen(ret) - 1);
                        closep(&fd);
                }
                (void) usleep(1000);
        }
        ck_assert(WIFEXITED(status));
        ck_assert_int_eq(WEXITSTATUS(status), 0);
}

START_TEST(test_handed_over_ones_are_handed_out_and_the_rest_given_up) {
        char text[4096];

        run_life(life_in_which_some_are_taken, text, sizeof(text));
        ck_assert_str_eq(
                        text,
                        "FDSTOREREMOVE=1\nFDNAME=pages.x\nFDSTOREREMOVE=1\nFDNAME=stored\n"
                        "FDSTOREREMOVE=1\nFDNAME=page.vm.c0\n");
}
END_TEST

START_TEST(test_namesakes_may_be_dropped_as_they_are_handed_out) {
        char text[4096];

        run_life(life_in_which_namesakes_are_dropped, text, sizeof(text));
        ck_assert_str_eq(
                        text,
                        "FDSTOREREMOVE=1\nFDNAME=page.a\n"
                        "FDSTOREREMOVE=1\nFDNAME=page.b\n");
}
END_TEST

START_TEST(test_what_is_kept_stays_so_when_a_life_ends) {
        char text[4096];

        run_life(life_that_ends_at_once, text, sizeof(text));
        ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(test_handed_over_ones_count) {
        char text[4096];

        run_life(life_that_is_full, text, sizeof(text));
}
END_TEST

int main(void) {
        TCase *c = tcase_create("fd-store");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, test_kept_one_goes_to_the_manager_with_its_name);
        tcase_add_test(c, test_dropped_one_is_taken_back_once);
        tcase_add_test(c, test_bad_names_go_nowhere);
        tcase_add_test(c, test_without_a_manager_nothing_is_kept);
        tcase_add_test(c, test_manager_that_is_gone_is_an_error);
        tcase_add_test(c, test_names_stay_below_what_a_start_can_take);
        tcase_add_test(c, test_there_are_no_more_than_the_unit_allows);
        tcase_add_test(c, test_handed_over_ones_are_handed_out_and_the_rest_given_up);
        tcase_add_test(c, test_namesakes_may_be_dropped_as_they_are_handed_out);
        tcase_add_test(c, test_what_is_kept_stays_so_when_a_life_ends);
        tcase_add_test(c, test_handed_over_ones_count);
        return scratch_run(c, "fd-store");
}
