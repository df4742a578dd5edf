/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "daemon/log.h"
#include "scratch.h"

static int journal = -1; /* what journald would read */

static void setup(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        const char *path;

        scratch_make();
        path = scratch_path("socket");
        ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
        memcpy(address.sun_path, path, strlen(path) + 1);
        journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(journal, 0);
        ck_assert_int_eq(bind(journal, (struct sockaddr *) &address, sizeof(address)), 0);
        ck_assert_int_eq(log_set_journal(path), 0);
        log_set_max_level(LOG_INFO);
}

static void teardown(void) {
        closep(&journal);
        scratch_remove();
}

static char datagram[8192];

/* The next datagram as a text with a newline before it, so that "\nNAME=value\n" finds a field. */
static const char *receive(void) {
        ssize_t n = recv(journal, datagram + 1, sizeof(datagram) - 2, 0);

        if (n < 0)
                return NULL;
        datagram[0] = '\n';
        datagram[n + 1] = 0;
        return datagram;
}

static void assert_field(const char *text, const char *field) {
        _cleanup_free_ char *line = NULL;

        ck_assert_int_gt(asprintf(&line, "\n%s\n", field), 0);
        ck_assert_msg(text && strstr(text, line), "no '%s' in: %s", field, text ? text : "nothing");
}

START_TEST(test_line_has_its_fields) {
        const LogFields fields = {
                .message_id = "0123456789abcdef0123456789abcdef",
                .cycle_id = "c0",
                .machine = "vm 1",
                .plugin = "qmp",
                .state = "paused",
                .elapsed_usec = 1234567,
        };
        const char *text;

        ck_assert_int_eq(log_full(&fields, LOG_WARNING, -ENOSPC, "No %s", "room"), -ENOSPC);
        text = receive();
        assert_field(text, "PRIORITY=4");
        assert_field(text, "SYSLOG_IDENTIFIER=suspendd");
        assert_field(text, "MESSAGE=No room: No space left on device");
        assert_field(text, "ERRNO=28");
        assert_field(text, "MESSAGE_ID=0123456789abcdef0123456789abcdef");
        assert_field(text, "SUSPENDD_CYCLE_ID=c0");
        assert_field(text, "SUSPENDD_MACHINE=vm 1");
        assert_field(text, "SUSPENDD_PLUGIN=qmp");
        assert_field(text, "SUSPENDD_STATE=paused");
        assert_field(text, "SUSPENDD_ELAPSED_USEC=1234567");
}
END_TEST

START_TEST(test_names_make_no_fields) {
        const LogFields fields = { .machine = "x\nMESSAGE_ID=1\n\033[2J\x7f" };
        const char *text;

        (void) log_full(&fields, LOG_INFO, 0, "hello %s", "a\nPRIORITY=0\r\xff\xc3\xa9");
        text = receive();
        assert_field(text, "MESSAGE=hello a\\x0aPRIORITY=0\\x0d?\xc3\xa9");
        assert_field(text, "SUSPENDD_MACHINE=x\\x0aMESSAGE_ID=1\\x0a\\x1b[2J\\x7f");
        ck_assert_ptr_null(strstr(text, "\nMESSAGE_ID"));
        ck_assert_ptr_null(strstr(text, "\nPRIORITY=0"));
}
END_TEST

/* Those above ASCII steer terminals as well: U+009B is another way to write ESC [. */
START_TEST(test_no_control_characters_of_any_kind) {
        const LogFields fields = { .machine = "\xc2\x9b"
                                              "31m\xff" };
        const char *text;

        (void) log_full(&fields,
                        LOG_INFO,
                        0,
                        "a\xc2\x9b"
                        "31m\xe2\x80\xae");
        text = receive();
        assert_field(text, "MESSAGE=a\\xc2\\x9b31m\\xe2\\x80\\xae");
        assert_field(text, "SUSPENDD_MACHINE=\\xc2\\x9b31m\\xff");
}
END_TEST

START_TEST(test_level_holds_back) {
        log_set_max_level(LOG_NOTICE);
        (void) log_info("no");
        ck_assert_ptr_null(receive());
        (void) log_notice("yes");
        assert_field(receive(), "MESSAGE=yes");
        (void) log_debug("no");
        ck_assert_ptr_null(receive());
        log_set_max_level(LOG_DEBUG);
        (void) log_debug("yes, %d", 1);
        assert_field(receive(), "MESSAGE=yes, 1");
}
END_TEST

START_TEST(test_long_texts_are_cut) {
        char longest[5000];
        const LogFields fields = { .machine = longest, .state = "s" };
        const char *text;

        memset(longest, '\n', sizeof(longest) - 1);
        longest[sizeof(longest) - 1] = 0;
        (void) log_full(&fields, LOG_ERR, -EIO, "%s", longest);
        text = receive();
        ck_assert_ptr_nonnull(text);
        assert_field(text, "PRIORITY=3");
        ck_assert_ptr_nonnull(strstr(text, "\nMESSAGE=\\x0a\\x0a"));
        ck_assert_uint_eq(strspn(strrchr(text, '\n'), "\n"), 1);
}
END_TEST

/* A journald that does not read holds nobody up; what was lost is told when it reads again. */
START_TEST(test_stalled_journal_does_not_block) {
        unsigned sent = 0, received = 0;
        const char *text;

        for (; sent < 3000; sent++)
                (void) log_info("line %u", sent);
        while (receive())
                received++;
        ck_assert_uint_gt(received, 0);
        ck_assert_uint_lt(received, sent);

        (void) log_info("again");
        text = receive();
        ck_assert_ptr_nonnull(text);
        ck_assert_uint_eq((unsigned) atoi(strstr(text, "\nMESSAGE=") + 9), sent - received);
        ck_assert_ptr_nonnull(strstr(text, "log lines were lost"));
        assert_field(receive(), "MESSAGE=again");
        (void) log_info("and on");
        assert_field(receive(), "MESSAGE=and on");
}
END_TEST

START_TEST(test_stalled_stderr_does_not_block) {
        int fds[2], saved;
        char buf[65536];
        ssize_t n;

        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(log_set_journal(NULL), 0);
        saved = dup(STDERR_FILENO);
        ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
        for (unsigned i = 0; i < 20000; i++)
                (void) log_info("line\t%u", i);

        n = read(fds[0], buf, sizeof(buf));
        ck_assert_int_gt(n, 0);
        (void) log_info("again");
        ck_assert_int_eq(dup2(saved, STDERR_FILENO), STDERR_FILENO);
        ck_assert_int_eq(strncmp(buf, "line\\x090\nline\\x091\n", 18), 0);
        ck_assert_int_eq(close(fds[1]), 0);
        while ((n = read(fds[0], buf, sizeof(buf) - 1)) > 0)
                buf[n] = 0;
        ck_assert_ptr_nonnull(strstr(buf, " log lines were lost"));
}
END_TEST

START_TEST(test_errno_is_kept) {
        errno = ENOTTY;
        (void) log_warning_errno(-EIO, "text");
        ck_assert_int_eq(errno, ENOTTY);
}
END_TEST

START_TEST(test_no_such_socket_changes_nothing) {
        ck_assert_int_eq(log_set_journal(scratch_path("missing")), -ENOENT);
        (void) log_info("still here");
        assert_field(receive(), "MESSAGE=still here");
}
END_TEST

int main(void) {
        TCase *c = tcase_create("log");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, test_line_has_its_fields);
        tcase_add_test(c, test_names_make_no_fields);
        tcase_add_test(c, test_no_control_characters_of_any_kind);
        tcase_add_test(c, test_level_holds_back);
        tcase_add_test(c, test_long_texts_are_cut);
        tcase_add_test(c, test_stalled_journal_does_not_block);
        tcase_add_test(c, test_stalled_stderr_does_not_block);
        tcase_add_test(c, test_errno_is_kept);
        tcase_add_test(c, test_no_such_socket_changes_nothing);
        return scratch_run(c, "log");
}
