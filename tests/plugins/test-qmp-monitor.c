/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/clock-sample.h"
#include "common/macro.h"
#include "common/time-util.h"
#include "fake-peer.h"
#include "plugins/qmp/channel.h"
#include "plugins/qmp/monitor.h"

#define EVENTS_MAX 4096

static FakeHost fake;
static FakePeer peer;
static Monitor *monitor;
static bool is_ready, free_on_event;
static unsigned n_events, n_ends;
static int end_error;
static char last_event[64], answers[1024];

/* set up */

static void on_ready(void *userdata, const JsonView *greeting) {
        const JsonView *qmp;

        (void) userdata;
        ck_assert_int_eq(json_view_get_object(greeting, "QMP", &qmp), 0);
        is_ready = true;
}

static void on_event(void *userdata, const char *name, const JsonView *event) {
        (void) userdata;
        (void) event;
        n_events++;
        (void) snprintf(last_event, sizeof(last_event), "%s", name);
        if (free_on_event)
                monitor = monitor_free(monitor);
}

static void on_end(void *userdata, int error, const char *why) {
        (void) userdata;
        ck_assert_ptr_nonnull(why);
        end_error = error;
        n_ends++;
        monitor = monitor_free(monitor);
}

static const MonitorOps ops = { .on_ready = on_ready, .on_event = on_event, .on_end = on_end };

/* Notes "TAG:ok " or "TAG:ERRNO:WHY ". */
static void on_reply(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        size_t n = strlen(answers);

        (void) userdata;
        ck_assert_int_eq(!!value, error >= 0);
        if (error >= 0)
                (void) snprintf(answers + n, sizeof(answers) - n, "%u:ok ", (unsigned) tag);
        else
                (void) snprintf(answers + n,
                                sizeof(answers) - n,
                                "%u:%s:%s ",
                                (unsigned) tag,
                                error == -EOPNOTSUPP ? "unknown" : "error",
                                why ?: "-");
}

static void set_up(void) {
        int fd;

        fake_host_init(&fake);
        fake_peer_pair(&peer, &fake, &fd);
        is_ready = free_on_event = false;
        n_events = n_ends = 0;
        end_error = 1;
        answers[0] = 0;
        ck_assert_int_eq(monitor_new(fake.host.event, fd, &ops, NULL, &monitor), 0);
}

static void tear_down(void) {
        monitor_free(monitor);
        fake_peer_done(&peer);
        fake_host_done(&fake);
}

static void make_ready(void) {
        fake_peer_greet(&peer);
        FAKE_HOST_WAIT(&fake, is_ready);
}

static int send_command(const char *execute, uint64_t tag) {
        return monitor_send(
                        monitor,
                        &(const MonitorCommand){
                                        .execute = execute, .on_reply = on_reply, .tag = tag });
}

/* tests */

START_TEST(test_nothing_is_said_before_the_greeting) {
        ck_assert_int_eq(send_command("stop", 1), -ENOTCONN);
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert(!monitor_is_greeted(monitor));
        ck_assert(!fake_peer_hears(&peer, "execute"));
        make_ready();
        ck_assert(monitor_is_greeted(monitor));
}
END_TEST

START_TEST(test_what_others_had_under_way_is_not_ours) {
        fake_peer_say(&peer, "{\"QMP\": {}}\n");
        fake_peer_say(&peer, "{\"return\": {}}\n{\"error\": {\"class\": \"GenericError\"}}\n");
        fake_peer_say(&peer, "{\"return\": {}, \"id\": \"theirs\"}\r\n");
        fake_peer_say(&peer, "{\"return\": {}, \"id\": 4711}\n");
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert(!is_ready);
        fake_peer_answer(&peer, "qmp_capabilities", "{}");
        FAKE_HOST_WAIT(&fake, is_ready);
        ck_assert_uint_eq(n_ends, 0);
}
END_TEST

START_TEST(test_answers_come_in_order) {
        make_ready();
        fake_peer_say(&peer, "{\"return\": {}}\n"); /* to nothing */
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert_int_eq(send_command("stop", 1), 0);
        ck_assert_int_eq(send_command("cont", 2), 0);
        fake_peer_say(&peer, "{\"return\": {}}\n{\"error\": {\"class\": \"GenericError\"}}\n");
        FAKE_HOST_WAIT(&fake, strstr(answers, "2:"));
        ck_assert_str_eq(answers, "1:ok 2:error:- ");
}
END_TEST

/* One `return` too many goes to the next command, and so on; when all are answered one is dropped. */
START_TEST(test_answer_too_many_is_made_up_for_once_nothing_is_under_way) {
        make_ready();
        for (uint64_t tag = 1; tag <= 3; tag++)
                ck_assert_int_eq(send_command("some", tag), 0);
        (void) fake_peer_await(&peer, "some");
        fake_peer_say(&peer, "{\"return\": {}}\n{\"return\": {}}\n"); /* both to that one */
        for (int i = 0; i < 2; i++)
                fake_peer_answer(&peer, "some", "{}");
        FAKE_HOST_WAIT(&fake, strstr(answers, "3:"));
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert_int_eq(send_command("other", 4), 0);
        fake_peer_refuse(&peer, "other", "GenericError", "its own");
        FAKE_HOST_WAIT(&fake, strstr(answers, "4:"));
        ck_assert_str_eq(answers, "1:ok 2:ok 3:ok 4:error:its own ");
        ck_assert_uint_eq(n_ends, 0);
}
END_TEST

/* Each byte costs QEMU a round of its main loop. */
START_TEST(test_no_byte_is_written_that_is_not_needed) {
        make_ready();
        ck_assert_int_eq(send_command("stop", 1), 0);
        ck_assert_str_eq(fake_peer_await(&peer, "stop"), "{\"execute\":\"stop\"}");
}
END_TEST

START_TEST(test_errors_come_in_qemus_words) {
        make_ready();
        ck_assert_int_eq(send_command("nonsense", 1), 0);
        ck_assert_int_eq(send_command("cont", 2), 0);
        fake_peer_refuse(&peer, "nonsense", "CommandNotFound", "not known");
        fake_peer_refuse(&peer, "cont", "GenericError", "Resetting is required");
        FAKE_HOST_WAIT(&fake, strstr(answers, "2:"));
        ck_assert_str_eq(answers, "1:unknown:not known 2:error:Resetting is required ");
}
END_TEST

START_TEST(test_two_commands_are_under_way_and_the_rest_waits) {
        make_ready();
        for (uint64_t tag = 1; tag <= MONITOR_COMMANDS_MAX; tag++)
                ck_assert_int_eq(send_command(tag == 3 ? "third" : "some", tag), 0);
        ck_assert_int_eq(send_command("stop", 99), -EBUSY);
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert(!fake_peer_hears(&peer, "third"));
        fake_peer_answer(&peer, "some", "{}");
        fake_peer_answer(&peer, "some", "{}");
        fake_peer_answer(&peer, "third", "{}");
        for (uint64_t tag = 4; tag <= MONITOR_COMMANDS_MAX; tag++)
                fake_peer_answer(&peer, "some", "{}");
        FAKE_HOST_WAIT(&fake, strstr(answers, "16:ok"));
        ck_assert_int_eq(strncmp(answers, "1:ok 2:ok 3:ok 4:ok 5:ok ", 25), 0);
}
END_TEST

static void on_reply_call_back(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        on_reply(userdata, tag, value, error, why);
        ck_assert(monitor_cancel(monitor, 3));
}

/* A word that the machine is its user's comes before the cont that would run it. */
START_TEST(test_what_waits_can_be_called_back_by_the_answer_before_it) {
        const MonitorCommand question = {
                .execute = "query-status",
                .on_reply = on_reply_call_back,
                .tag = 1,
        };

        make_ready();
        ck_assert_int_eq(monitor_send(monitor, &question), 0);
        ck_assert_int_eq(send_command("stop", 2), 0);
        ck_assert_int_eq(send_command("cont", 3), 0);
        ck_assert_int_eq(send_command("some", 4), 0);
        fake_peer_answer(&peer, "query-status", "{}");
        fake_peer_answer(&peer, "stop", "{}");
        ck_assert_ptr_nonnull(strstr(fake_peer_await(&peer, "execute"), "some"));
        ck_assert_str_eq(answers, "1:ok 2:ok ");
}
END_TEST

START_TEST(test_answers_that_were_lost_end_it) {
        make_ready();
        for (uint64_t tag = 1; tag <= 4; tag++)
                ck_assert_int_eq(send_command("some", tag), 0);
        fake_peer_answer(&peer, "some", "{}"); /* reads all, and says no more than this */
        FAKE_HOST_WAIT(&fake, strstr(answers, "1:ok"));
        FAKE_HOST_WAIT(&fake, fake_peer_is_closed(&peer));
        ck_assert_uint_eq(n_ends, 1);
        ck_assert_int_eq(end_error, -ETIMEDOUT);
        ck_assert_str_eq(answers, "1:ok ");
}
END_TEST

/* One that has never answered loses nothing. */
static void make_ready_and_answering(void) {
        make_ready();
        ck_assert_int_eq(send_command("first", 0), 0);
        fake_peer_answer(&peer, "first", "{}");
        FAKE_HOST_WAIT(&fake, strstr(answers, "0:ok"));
}

/* As the engine does with a cont, every two seconds. */
START_TEST(test_lost_answers_are_noticed_though_what_waits_gives_up_and_comes_again) {
        make_ready_and_answering();
        for (uint64_t tag = 1; tag <= 3; tag++)
                ck_assert_int_eq(send_command("some", tag), 0);
        for (uint64_t tag = 3; !fake_peer_is_closed(&peer); tag++) {
                ck_assert_uint_lt(tag, 3 + 6);
                ck_assert(monitor_cancel(monitor, tag));
                ck_assert_int_eq(send_command("some", tag + 1), 0);
                fake_host_spend(&fake, MONITOR_DOUBT_USEC / 3);
        }
        ck_assert_int_eq(end_error, -ETIMEDOUT);
}
END_TEST

/* It is told that it does not answer, once and for all. */
START_TEST(test_one_that_never_answers_loses_nothing) {
        make_ready();
        for (uint64_t tag = 1; tag <= 3; tag++)
                ck_assert_int_eq(send_command("some", tag), 0);
        (void) fake_peer_await(&peer, "some");
        (void) fake_peer_await(&peer, "some");
        fake_host_spend(&fake, MONITOR_DOUBT_USEC * 5 / 4);
        ck_assert_uint_eq(n_ends, 0);
}
END_TEST

/* Reads to the end of a line, as QEMU does, which then carries that command out. */
static void read_a_line(void) {
        char c = 0;

        while (c != '\n')
                ck_assert_int_eq(recv(peer.fd, &c, 1, 0), 1);
}

START_TEST(test_what_is_under_way_may_take_its_time) {
        make_ready();
        for (uint64_t tag = 1; tag <= 3; tag++)
                ck_assert_int_eq(send_command("some", tag), 0);
        read_a_line();
        fake_host_spend(&fake, MONITOR_DOUBT_USEC * 5 / 4);
        ck_assert_uint_eq(n_ends, 0);
        fake_peer_say(&peer, "{\"return\": {}}\n");
        fake_peer_answer(&peer, "some", "{}");
        fake_peer_answer(&peer, "some", "{}");
        FAKE_HOST_WAIT(&fake, strstr(answers, "3:ok"));
}
END_TEST

START_TEST(test_doubt_ends_with_an_answer) {
        make_ready_and_answering();
        for (uint64_t tag = 1; tag <= 3; tag++)
                ck_assert_int_eq(send_command("some", tag), 0);
        fake_host_spend(&fake, MONITOR_DOUBT_USEC / 2);
        fake_peer_answer(&peer, "some", "{}");
        for (int i = 0; i < 2; i++)
                (void) fake_peer_await(&peer, "some");
        fake_host_spend(&fake, MONITOR_DOUBT_USEC * 3 / 4);
        ck_assert_uint_eq(n_ends, 0);
        fake_peer_say(&peer, "{\"return\": {}}\n{\"return\": {}}\n");
        FAKE_HOST_WAIT(&fake, strstr(answers, "3:ok"));
}
END_TEST

START_TEST(test_what_waits_can_be_called_back) {
        make_ready();
        for (uint64_t tag = 1; tag <= 4; tag++)
                ck_assert_int_eq(send_command(tag == 3 ? "third" : "some", tag), 0);
        ck_assert(!monitor_cancel(monitor, 1));
        ck_assert(monitor_cancel(monitor, 3));
        ck_assert(!monitor_cancel(monitor, 3));
        for (int i = 0; i < 3; i++)
                fake_peer_answer(&peer, "some", "{}");
        FAKE_HOST_WAIT(&fake, strstr(answers, "4:ok"));
        ck_assert_str_eq(answers, "1:ok 2:ok 4:ok ");
}
END_TEST

START_TEST(test_events_come_through_wherever_they_stand) {
        static const char text[] = "{\"event\": \"STOP\"}\r\n{\"return\": {}}\r\n"
                                   "{\"event\": \"RESUME\"}\n{\"event\": \"ODD\", \"data\": 1}\n";

        make_ready();
        ck_assert_int_eq(send_command("stop", 7), 0);
        for (const char *p = text; *p; p++) {
                ck_assert_uint_eq(fake_peer_pour(&peer, p, 1), 1);
                fake_host_turn(&fake, 1000);
        }
        FAKE_HOST_WAIT(&fake, n_events == 3);
        ck_assert_str_eq(answers, "7:ok ");
        ck_assert_str_eq(last_event, "ODD");
}
END_TEST

START_TEST(test_event_before_the_greeting_does_no_harm) {
        fake_peer_say(&peer, "{\"event\": \"STOP\"}\n");
        make_ready();
        ck_assert_uint_eq(n_events, 0);
}
END_TEST

START_TEST(test_hanging_up_ends_it) {
        make_ready();
        ck_assert_int_eq(send_command("stop", 1), 0);
        fake_peer_hang_up(&peer);
        FAKE_HOST_WAIT(&fake, n_ends == 1);
        ck_assert_str_eq(answers, "");
}
END_TEST

START_TEST(test_it_may_be_freed_in_its_callback) {
        make_ready();
        free_on_event = true;
        fake_peer_say(&peer, "{\"event\": \"A\"}\n{\"event\": \"B\"}\n");
        FAKE_HOST_WAIT(&fake, !monitor);
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert_uint_eq(n_events, 1);
}
END_TEST

/* hostile peers */

static const struct {
        const char *text;
        int error;
} insults[] = {
        { "nonsense\n", -EBADMSG },         { "[1, 2]\n", -EBADMSG },
        { "\"QMP\"\n", -EBADMSG },          { "{\"event\": \"\xff\xfe\"}\n", -EILSEQ },
        { "{\"event\": NaN}\n", -EBADMSG }, { "{} {}\n", -EBADMSG },
};

START_TEST(test_insult_ends_it) {
        if (_i % 2)
                make_ready();
        fake_peer_say(&peer, insults[_i / 2].text);
        FAKE_HOST_WAIT(&fake, n_ends == 1);
        ck_assert_int_eq(end_error, insults[_i / 2].error);
        ck_assert(fake_peer_is_closed(&peer));
}
END_TEST

/* Pours @n times @unit until the monitor has had enough. Returns: how many bytes it took. */
static size_t pour_until_end(const char *unit, size_t n) {
        size_t size = strlen(unit), total = 0;

        for (size_t i = 0; i < n && n_ends == 0; i++) {
                size_t done = 0;

                while (done < size && n_ends == 0) {
                        done += fake_peer_pour(&peer, unit + done, size - done);
                        fake_host_turn(&fake, 10000);
                }
                total += done;
        }
        return total;
}

static char block[CHANNEL_TURN_BYTES + 1];

START_TEST(test_endless_line_ends_it_at_its_limit) {
        size_t total;

        make_ready();
        memset(block, 'x', sizeof(block) - 1);
        total = pour_until_end(block, 1000);
        ck_assert_uint_eq(n_ends, 1);
        ck_assert_int_eq(end_error, -E2BIG);
        ck_assert_uint_le(total, 1024 * 1024);
}
END_TEST

START_TEST(test_deep_nesting_ends_it) {
        make_ready();
        memset(block, '[', sizeof(block) - 1);
        (void) pour_until_end(block, 1);
        fake_peer_say(&peer, "\n");
        FAKE_HOST_WAIT(&fake, n_ends == 1);
        ck_assert_int_eq(end_error, -ELOOP);
}
END_TEST

START_TEST(test_flood_is_throttled_and_its_sender_alone) {
        uint64_t until, turns = 0;
        size_t poured = 0;

        make_ready();
        memset(block, 0, sizeof(block));
        for (size_t i = 0; i + 20 < sizeof(block); i += 20)
                memcpy(block + i, "{\"event\": \"FLOOD\"} \n", 20);
        until = clock_now_usec(CLOCK_MONOTONIC) + USEC_PER_SEC;
        while (clock_now_usec(CLOCK_MONOTONIC) < until) {
                poured += fake_peer_pour(&peer, block, strlen(block));
                turns += sd_event_run(fake.host.event, 1000) > 0;
        }
        ck_assert_uint_eq(n_ends, 0);
        /* the burst, one second's worth, and what lies unread in the socket */
        ck_assert_uint_ge(n_events * 20, CHANNEL_BURST_BYTES / 2);
        ck_assert_uint_le(
                        n_events * 20,
                        CHANNEL_BURST_BYTES + 2 * CHANNEL_BYTES_PER_SEC + CHANNEL_TURN_BYTES);
        ck_assert_uint_le(turns, 200);

        /* it can still be spoken to, and is heard again; a slow flood may all be read by now */
        n_events = 0;
        (void) fake_peer_pour(&peer, block, strlen(block));
        ck_assert_int_eq(send_command("stop", 1), 0);
        ck_assert_ptr_nonnull(fake_peer_await(&peer, "stop"));
        FAKE_HOST_WAIT(&fake, n_events > 0);
}
END_TEST

/* They lie in the socket, behind what is not read yet of a flood. */
START_TEST(test_answers_that_are_late_to_be_read_are_not_lost) {
        make_ready_and_answering();
        for (uint64_t tag = 1; tag <= 3; tag++)
                ck_assert_int_eq(send_command("some", tag), 0);
        for (int i = 0; i < 2; i++)
                (void) fake_peer_await(&peer, "some");
        memset(block, ' ', sizeof(block) - 1);
        memcpy(block, "{\"event\": \"FLOOD\"}", 18);
        block[sizeof(block) - 2] = '\n';
        /* a line is read at a time; in all more than the burst and what is read in the second after it */
        (void) pour_until_end(block, 25);
        (void) pour_until_end("{\"return\": {}}\n{\"return\": {}}\n", 1);
        fake_host_spend(&fake, MONITOR_DOUBT_USEC * 9 / 8);
        ck_assert_uint_eq(n_ends, 0);
        ck_assert_str_eq(answers, "0:ok ");
        fake_peer_answer(&peer, "some", "{}");
        FAKE_HOST_WAIT(&fake, strstr(answers, "3:ok"));
}
END_TEST

START_TEST(test_drip_is_heard_in_the_end) {
        static const char text[] = "{\"event\": \"DRIP\"}\n";

        make_ready();
        for (const char *p = text; *p; p++) {
                ck_assert_uint_eq(fake_peer_pour(&peer, p, 1), 1);
                fake_host_turn(&fake, 1000);
                ck_assert_uint_eq(n_ends, 0);
        }
        FAKE_HOST_WAIT(&fake, n_events == 1);
}
END_TEST

START_TEST(test_peer_that_does_not_read_blocks_nobody) {
        static char text[FAKE_LINE_MAX];
        Channel *channel = NULL;
        static const ChannelOps channel_ops = { .name = "test", .line_max = 100, .mark = -1 };
        FakePeer deaf;
        int fd, r = 0;

        fake_peer_pair(&deaf, &fake, &fd);
        ck_assert_int_eq(channel_new(fake.host.event, fd, &channel_ops, NULL, &channel), 0);
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 2] = '\n';
        for (int i = 0; i < 10000 && r >= 0; i++)
                r = channel_send(channel, text, sizeof(text) - 1);
        ck_assert_int_eq(r, -ENOBUFS);

        /* all that was accepted comes, whole */
        (void) fake_peer_await(&deaf, "xxx");
        for (int i = 0; i < 10; i++)
                ck_assert_uint_eq(strlen(fake_peer_await(&deaf, "x")), sizeof(text) - 2);
        channel_free(channel);
        fake_peer_done(&deaf);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("qmp-monitor");
        TCase *c = tcase_create("monitor");
        SRunner *runner;
        int n_failed;

        tcase_add_checked_fixture(c, set_up, tear_down);
        tcase_set_timeout(c, 60);
        tcase_add_test(c, test_nothing_is_said_before_the_greeting);
        tcase_add_test(c, test_what_others_had_under_way_is_not_ours);
        tcase_add_test(c, test_answers_come_in_order);
        tcase_add_test(c, test_answer_too_many_is_made_up_for_once_nothing_is_under_way);
        tcase_add_test(c, test_no_byte_is_written_that_is_not_needed);
        tcase_add_test(c, test_errors_come_in_qemus_words);
        tcase_add_test(c, test_two_commands_are_under_way_and_the_rest_waits);
        tcase_add_test(c, test_what_waits_can_be_called_back_by_the_answer_before_it);
        tcase_add_test(c, test_answers_that_were_lost_end_it);
        tcase_add_test(c, test_lost_answers_are_noticed_though_what_waits_gives_up_and_comes_again);
        tcase_add_test(c, test_one_that_never_answers_loses_nothing);
        tcase_add_test(c, test_what_is_under_way_may_take_its_time);
        tcase_add_test(c, test_doubt_ends_with_an_answer);
        tcase_add_test(c, test_what_waits_can_be_called_back);
        tcase_add_test(c, test_events_come_through_wherever_they_stand);
        tcase_add_test(c, test_event_before_the_greeting_does_no_harm);
        tcase_add_test(c, test_hanging_up_ends_it);
        tcase_add_test(c, test_it_may_be_freed_in_its_callback);
        tcase_add_loop_test(c, test_insult_ends_it, 0, 2 * ARRAY_LEN(insults));
        tcase_add_test(c, test_endless_line_ends_it_at_its_limit);
        tcase_add_test(c, test_deep_nesting_ends_it);
        tcase_add_test(c, test_flood_is_throttled_and_its_sender_alone);
        tcase_add_test(c, test_answers_that_are_late_to_be_read_are_not_lost);
        tcase_add_test(c, test_drip_is_heard_in_the_end);
        tcase_add_test(c, test_peer_that_does_not_read_blocks_nobody);
        suite_add_tcase(suite, c);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
