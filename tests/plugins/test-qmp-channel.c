/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* To whom one connects when a user swaps what is there meanwhile. */

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "plugins/qmp/channel.h"
#include "scratch.h"

static void setup(void) {
        scratch_make();
        ck_assert_int_eq(chmod(scratch, 0755), 0);
}

static int listen_at(const char *name) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        ck_assert_int_ge(fd, 0);
        (void) strcpy(address.sun_path, scratch_path(name));
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

/* The channel makes its socket when it has looked at the path, and before it connects: then Joe strikes. */
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);

static const char *strike;

int __wrap_socket(int domain, int type, int protocol) {
        if (strike)
                ck_assert_int_eq(rename(scratch_path(strike), scratch_path("joe/vm")), 0);
        strike = NULL;
        return __real_socket(domain, type, protocol);
}

START_TEST(test_whoever_swaps_what_is_there_leads_to_no_other) {
        _cleanup_close_ int root = listen_at("root"), joe = -1, fd = -1;
        const char *why = NULL;

        ck_assert_int_eq(mkdir(scratch_path("joe"), 0755), 0);
        joe = listen_at("joe/vm");
        ck_assert_int_eq(symlink("../root", scratch_path("joe/link")), 0);
        if (geteuid() == 0) {
                ck_assert_int_eq(chown(scratch_path("joe/vm"), JOE, JOE), 0);
                ck_assert_int_eq(lchown(scratch_path("joe/link"), JOE, JOE), 0);
                ck_assert_int_eq(chown(scratch_path("joe"), JOE, JOE), 0);
        }
        strike = "joe/link";
        ck_assert_int_eq(channel_connect(scratch_path("joe/vm"), 0, &fd, &why), 0);
        ck_assert_ptr_null(strike);
        ck_assert_uint_eq(count_clients(root), 0);
        ck_assert_uint_eq(count_clients(joe), 1);
        if (geteuid() != 0)
                return;
        closep(&fd);
        ck_assert_int_eq(channel_connect(scratch_path("joe/vm"), 0, &fd, &why), -EPERM);
        fd = -1;
        ck_assert_uint_eq(count_clients(root), 0);
}
END_TEST

START_TEST(test_path_of_no_socket_is_refused_as_the_kernel_does) {
        const char *why = NULL;
        int fd = -1;

        ck_assert_int_eq(channel_connect(scratch, 0, &fd, &why), -ECONNREFUSED);
        ck_assert_int_eq(channel_connect(scratch_path("none"), 0, &fd, &why), -ENOENT);
        ck_assert_int_eq(fd, -1);
}
END_TEST

static unsigned n_lines;

static void on_line(void *userdata, const Line *line) {
        ck_assert(line->text);
        if (++n_lines == 3)
                (void) sd_event_exit(userdata, 0);
}

static void on_end(_unused_ void *userdata, _unused_ int error) {
        ck_abort();
}

/* A VMM may have been given its socket by whoever listened there first, and may outlive him. */
START_TEST(test_peer_is_who_speaks) {
        static const ChannelOps ops = {
                .name = "test", .line_max = 64, .mark = -1, .on_line = on_line, .on_end = on_end
        };
        _cleanup_close_ int listener = listen_at("vm"), taken = -1;
        const char *why = NULL;
        sd_event *event = NULL;
        pid_t speaker, other, peer = 0;
        Channel *c = NULL;
        int fd = -1;

        ck_assert_int_eq(sd_event_new(&event), 0);
        ck_assert_int_eq(channel_connect(scratch_path("vm"), 0, &fd, &why), 0);
        ck_assert_int_eq(channel_new(event, fd, &ops, event, &c), 0);
        ck_assert_int_eq(channel_get_peer(c, &peer), 0);
        ck_assert_int_eq(peer, getpid());
        taken = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        speaker = fork();
        if (speaker == 0)
                _exit(write(taken, "{}\n", 3) != 3);
        ck_assert_int_gt(speaker, 0);
        ck_assert_int_eq(waitpid(speaker, NULL, 0), speaker);
        /* and all are heard, who speak there */
        ck_assert_int_eq(write(taken, "{}\n", 3), 3);
        other = fork();
        if (other == 0)
                _exit(write(taken, "{}\n", 3) != 3);
        ck_assert_int_gt(other, 0);
        ck_assert_int_eq(waitpid(other, NULL, 0), other);
        ck_assert_int_eq(sd_event_loop(event), 0);
        ck_assert_int_eq(channel_get_peer(c, &peer), 0);
        ck_assert_int_eq(peer, speaker);
        channel_free(c);
        sd_event_unref(event);
}
END_TEST

int main(void) {
        TCase *t = tcase_create("channel");

        tcase_add_checked_fixture(t, setup, scratch_remove);
        tcase_add_test(t, test_path_of_no_socket_is_refused_as_the_kernel_does);
        tcase_add_test(t, test_whoever_swaps_what_is_there_leads_to_no_other);
        tcase_add_test(t, test_peer_is_who_speaks);
        return scratch_run(t, "qmp-channel");
}
