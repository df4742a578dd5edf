/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include "common/clock-sample.h"
#include "common/macro.h"
#include "common/time-util.h"
#include "fake-peer.h"
#include "plugins/qmp/agent.h"

#define SILENT "guest agent does not answer"

static FakeHost fake;
static FakePeer peer;
static Agent *agent;
static unsigned n_changes, n_ends;
static char answers[1024];
static struct suspendd_time last_time;

/* set up */

static void on_change(void *userdata) {
        (void) userdata;
        n_changes++;
}

/* Notes "STEP:ok " or "STEP:ERRNO:WHY ". */
static void on_done(
                void *userdata, enum suspendd_act act, uint64_t step, int error, const char *why) {
        size_t n = strlen(answers);

        (void) userdata;
        (void) act;
        if (error >= 0)
                (void) snprintf(answers + n, sizeof(answers) - n, "%u:ok ", (unsigned) step);
        else
                (void) snprintf(answers + n,
                                sizeof(answers) - n,
                                "%u:%d:%s ",
                                (unsigned) step,
                                error,
                                why ?: "-");
}

static void on_time(void *userdata, uint64_t step, const struct suspendd_time *t) {
        size_t n = strlen(answers);

        (void) userdata;
        (void) snprintf(answers + n, sizeof(answers) - n, "%u:time ", (unsigned) step);
        last_time = *t;
}

static void on_end(void *userdata, int error) {
        (void) userdata;
        (void) error;
        n_ends++;
        agent = agent_free(agent);
}

static const AgentOps ops = {
        .on_change = on_change, .on_done = on_done, .on_time = on_time, .on_end = on_end
};

static void set_up(void) {
        int fd;

        fake_host_init(&fake);
        fake_peer_pair(&peer, &fake, &fd);
        n_changes = n_ends = 0;
        answers[0] = 0;
        ck_assert_int_eq(agent_new(fake.host.event, fd, &ops, NULL, &agent), 0);
}

static void tear_down(void) {
        agent_free(agent);
        fake_peer_done(&peer);
        fake_host_done(&fake);
}

static void make_ready(void) {
        fake_peer_sync(&peer);
        fake_peer_inform(&peer);
        FAKE_HOST_WAIT(&fake, n_changes == 1);
        ck_assert_ptr_null(agent_why_not(agent, SUSPENDD_ACT_SUSPEND));
}

static void start(enum suspendd_act act, uint64_t step) {
        ck_assert_int_eq(agent_start(agent, act, step, 0), SUSPENDD_PENDING);
}

#define ASSERT_SILENT(_act) ck_assert_str_eq(agent_why_not(agent, (_act)), SILENT)

/* the probe */

START_TEST(test_agent_is_silent_until_it_has_answered) {
        ASSERT_SILENT(SUSPENDD_ACT_SUSPEND);
        fake_peer_sync(&peer);
        fake_host_spend(&fake, 10 * USEC_PER_MSEC);
        ASSERT_SILENT(SUSPENDD_ACT_GET_TIME);
        fake_peer_inform(&peer);
        FAKE_HOST_WAIT(&fake, n_changes == 1);
        ck_assert_ptr_null(agent_why_not(agent, SUSPENDD_ACT_GET_TIME));
        ck_assert_ptr_null(agent_why_not(agent, SUSPENDD_ACT_SET_TIME));
}
END_TEST

START_TEST(test_what_it_cannot_do_is_told_in_words) {
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-info");
        fake_peer_say(&peer,
                      "{\"return\": {\"supported_commands\": ["
                      "{\"name\": \"guest-suspend-ram\", \"enabled\": false}, 7, {\"name\": 8},"
                      "{\"name\": \"guest-get-time\", \"enabled\": true}]}}\n");
        FAKE_HOST_WAIT(&fake, n_changes == 1);
        ck_assert_str_eq(
                        agent_why_not(agent, SUSPENDD_ACT_SUSPEND),
                        "guest agent does not allow guest-suspend-ram");
        ck_assert_ptr_null(agent_why_not(agent, SUSPENDD_ACT_GET_TIME));
        ck_assert_str_eq(
                        agent_why_not(agent, SUSPENDD_ACT_SET_TIME),
                        "guest agent does not know guest-set-time");
}
END_TEST

START_TEST(test_agent_that_does_not_tell_is_tried) {
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-info");
        fake_peer_say(&peer, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no\"}}\n");
        FAKE_HOST_WAIT(&fake, n_changes == 1);
        ck_assert_ptr_null(agent_why_not(agent, SUSPENDD_ACT_SUSPEND));
}
END_TEST

START_TEST(test_opened_port_is_probed_anew) {
        make_ready();
        agent_probe(agent);
        ASSERT_SILENT(SUSPENDD_ACT_SUSPEND);
        agent_probe(agent); /* the first sync was lost */
        (void) fake_peer_await(&peer, "guest-sync-delimited");
        fake_peer_sync(&peer);
        fake_peer_inform(&peer);
        FAKE_HOST_WAIT(&fake, !agent_why_not(agent, SUSPENDD_ACT_SUSPEND));
}
END_TEST

START_TEST(test_only_a_silent_agent_is_revived) {
        make_ready();
        agent_revive(agent);
        ck_assert(!fake_peer_hears(&peer, "execute"));
        start(SUSPENDD_ACT_GET_TIME, 1);
        agent_cancel(agent, 1);
        agent_revive(agent);
        (void) fake_peer_await(&peer, "guest-sync-delimited");
        (void) fake_peer_await(&peer, "guest-sync-delimited");
}
END_TEST

/* exchanges */

START_TEST(test_time_is_read_between_two_of_the_hosts) {
        int64_t before_ns;

        make_ready();
        start(SUSPENDD_ACT_GET_TIME, 5);
        fake_peer_sync(&peer);
        before_ns = clock_now_ns(CLOCK_REALTIME);
        (void) fake_peer_await(&peer, "guest-get-time");
        fake_peer_say(&peer, "{\"return\": 1234567890123456789}\n");
        FAKE_HOST_WAIT(&fake, *answers);
        ck_assert_str_eq(answers, "5:time ");
        ck_assert_int_eq(last_time.guest_ns, INT64_C(1234567890123456789));
        ck_assert_int_ge(last_time.host_before_ns, before_ns);
        ck_assert_int_ge(last_time.host_after_ns, last_time.host_before_ns);
        ck_assert_int_le(last_time.host_after_ns, clock_now_ns(CLOCK_REALTIME));
}
END_TEST

START_TEST(test_time_is_set_to_the_instant_of_writing_and_the_lead) {
        int64_t now_ns, set_ns;
        const char *line;

        make_ready();
        ck_assert_int_eq(
                        agent_start(agent, SUSPENDD_ACT_SET_TIME, 6, 3 * NSEC_PER_SEC),
                        SUSPENDD_PENDING);
        fake_host_spend(&fake, 20 * USEC_PER_MSEC); /* the sync takes its time */
        now_ns = clock_now_ns(CLOCK_REALTIME);
        fake_peer_sync(&peer);
        line = fake_peer_await(&peer, "guest-set-time");
        set_ns = strtoll(strstr(line, "\"time\":") + strlen("\"time\":"), NULL, 10);
        ck_assert_int_ge(set_ns, now_ns + 3 * NSEC_PER_SEC);
        ck_assert_int_le(set_ns, clock_now_ns(CLOCK_REALTIME) + 3 * NSEC_PER_SEC);
        fake_peer_say(&peer, "{\"return\": {}}\n");
        FAKE_HOST_WAIT(&fake, *answers);
        ck_assert_str_eq(answers, "6:ok ");
}
END_TEST

START_TEST(test_suspend_is_done_when_written_and_may_be_refused_after) {
        make_ready();
        start(SUSPENDD_ACT_SUSPEND, 7);
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert(!fake_peer_hears(&peer, "guest-suspend-ram"));
        ck_assert_str_eq(answers, "");
        fake_peer_sync(&peer);
        FAKE_HOST_WAIT(&fake, *answers);
        ck_assert_str_eq(answers, "7:ok ");
        (void) fake_peer_await(&peer, "guest-suspend-ram");
        fake_peer_say(&peer, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no S3\"}}\n");
        FAKE_HOST_WAIT(&fake, strstr(answers, "no S3"));
        ck_assert_str_eq(answers, "7:ok 7:-5:no S3 ");
        fake_peer_say(&peer, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no S3\"}}\n");
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert_str_eq(answers, "7:ok 7:-5:no S3 ");
}
END_TEST

/* It is nobody's step, so nobody is answered; what it can is then tried. */
START_TEST(test_nonsense_about_what_it_can_is_told_to_nobody) {
        static const char *const nonsense[] = {
                "{}\n", "{\"error\": {}}\n", "{\"return\": 7}\n", "{\n"
        };

        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-info");
        fake_peer_say(&peer, nonsense[_i]);
        FAKE_HOST_WAIT(&fake, n_changes == 1);
        ck_assert_str_eq(answers, "");
        start(SUSPENDD_ACT_GET_TIME, 1);
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-get-time");
}
END_TEST

/* guest-suspend-ram has no answer where it succeeds, but who knows what answers there. */
START_TEST(test_suspend_that_is_answered_as_well_is_done_once) {
        make_ready();
        start(SUSPENDD_ACT_SUSPEND, 7);
        start(SUSPENDD_ACT_GET_TIME, 8);
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-suspend-ram");
        fake_peer_say(&peer, "{\"return\": {}}\n");
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-get-time");
        fake_peer_say(&peer, "{\"return\": 1}\n");
        FAKE_HOST_WAIT(&fake, strstr(answers, "8:time"));
        ck_assert_str_eq(answers, "7:ok 8:time ");
}
END_TEST

START_TEST(test_suspend_that_was_taken_holds_nobody_up) {
        make_ready();
        start(SUSPENDD_ACT_SUSPEND, 1);
        fake_peer_sync(&peer);
        FAKE_HOST_WAIT(&fake, *answers);
        start(SUSPENDD_ACT_GET_TIME, 2);
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-get-time");
        fake_peer_say(&peer, "{\"return\": 1}\n");
        FAKE_HOST_WAIT(&fake, strstr(answers, "2:time"));
}
END_TEST

START_TEST(test_acts_wait_for_each_other) {
        make_ready();
        start(SUSPENDD_ACT_GET_TIME, 1);
        start(SUSPENDD_ACT_SET_TIME, 2);
        start(SUSPENDD_ACT_GET_TIME, 3);
        ck_assert_int_eq(agent_start(agent, SUSPENDD_ACT_GET_TIME, 4, 0), -EBUSY);
        for (int i = 0; i < 3; i++) {
                fake_peer_sync(&peer);
                (void) fake_peer_await(&peer, i == 1 ? "guest-set-time" : "guest-get-time");
                fake_peer_say(&peer, i == 1 ? "{\"return\": {}}\n" : "{\"return\": 1}\n");
        }
        FAKE_HOST_WAIT(&fake, strstr(answers, "3:time"));
        ck_assert_str_eq(answers, "1:time 2:ok 3:time ");
}
END_TEST

/* what a guest may do */

START_TEST(test_all_before_the_sync_is_dropped) {
        static const char *const junk[] = {
                "{\"return\": 1}\n",
                "{\"return\": {}}\n{\"error\": {\"desc\": \"of another client\"}}\n",
                "\xff{\"return\": 4711}\n",
                "\xff[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
                "\xff{\"return\": \"1\"}\nhalf a line",
                "\xfe\xfd\xff\xff",
        };

        make_ready();
        start(SUSPENDD_ACT_GET_TIME, 1);
        for (size_t i = 0; i < ARRAY_LEN(junk); i++)
                fake_peer_say(&peer, junk[i]);
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert(!fake_peer_hears(&peer, "guest-get-time"));
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-get-time");
        fake_peer_say(&peer, "{\"return\": 2}\n");
        FAKE_HOST_WAIT(&fake, *answers);
        ck_assert_int_eq(last_time.guest_ns, 2);
}
END_TEST

START_TEST(test_hung_agent_gets_no_command_and_is_known_to_be_silent) {
        make_ready();
        start(SUSPENDD_ACT_SUSPEND, 1);
        (void) fake_peer_await(&peer, "guest-sync-delimited");
        agent_cancel(agent, 1);
        ck_assert_uint_eq(n_changes, 2);
        ASSERT_SILENT(SUSPENDD_ACT_SUSPEND);
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert(!fake_peer_hears(&peer, "guest-suspend-ram"));
        ck_assert_str_eq(answers, "");
}
END_TEST

START_TEST(test_late_answer_shows_that_it_lives_and_suspends_nothing) {
        make_ready();
        start(SUSPENDD_ACT_SUSPEND, 1);
        agent_cancel(agent, 1);
        ASSERT_SILENT(SUSPENDD_ACT_SUSPEND);
        fake_peer_sync(&peer);
        FAKE_HOST_WAIT(&fake, n_changes == 3);
        ck_assert_ptr_null(agent_why_not(agent, SUSPENDD_ACT_SUSPEND));
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert(!fake_peer_hears(&peer, "guest-suspend-ram"));
        ck_assert_str_eq(answers, "");
}
END_TEST

START_TEST(test_cancelled_command_is_not_answered) {
        make_ready();
        start(SUSPENDD_ACT_GET_TIME, 1);
        start(SUSPENDD_ACT_GET_TIME, 2);
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-get-time");
        agent_cancel(agent, 1);
        fake_peer_say(&peer, "{\"return\": 1}\n");
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-get-time");
        fake_peer_say(&peer, "{\"return\": 2}\n");
        FAKE_HOST_WAIT(&fake, *answers);
        ck_assert_str_eq(answers, "2:time ");
        ck_assert_int_eq(last_time.guest_ns, 2);
        ck_assert_ptr_null(agent_why_not(agent, SUSPENDD_ACT_SUSPEND));
}
END_TEST

static const struct {
        const char *text, *answer;
} nonsense[] = {
        { "nonsense\n", "1:-74:not valid JSON " },
        { "7\n", "1:-74:guest agent answered nonsense " },
        { "{}\n", "1:-74:guest agent answered nonsense " },
        { "{\"return\": \"noon\"}\n", "1:-74:guest agent did not answer with a time " },
        { "{\"return\": 1e300}\n", "1:-74:guest agent did not answer with a time " },
        { "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n", "1:-40:nested too deep " },
        { "{\"error\": {}}\n", "1:-5:- " },
        { "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"off\"}}\n", "1:-95:off " },
};

START_TEST(test_nonsense_fails_the_act_only) {
        make_ready();
        start(SUSPENDD_ACT_GET_TIME, 1);
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-get-time");
        fake_peer_say(&peer, nonsense[_i].text);
        FAKE_HOST_WAIT(&fake, *answers);
        ck_assert_str_eq(answers, nonsense[_i].answer);
        ck_assert_ptr_nonnull(agent);
        start(SUSPENDD_ACT_GET_TIME, 2);
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-get-time");
}
END_TEST

START_TEST(test_endless_answer_fails_the_act_only) {
        static char block[10001];

        make_ready();
        start(SUSPENDD_ACT_GET_TIME, 1);
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-get-time");
        memset(block, ' ', sizeof(block) - 1);
        for (int i = 0; i < 20 && !*answers; i++) {
                (void) fake_peer_pour(&peer, block, sizeof(block) - 1);
                fake_host_spend(&fake, USEC_PER_MSEC);
        }
        ck_assert_str_eq(answers, "1:-7:too long or too many values ");
        start(SUSPENDD_ACT_GET_TIME, 2);
        fake_peer_sync(&peer);
        (void) fake_peer_await(&peer, "guest-get-time");
}
END_TEST

START_TEST(test_flood_of_an_idle_agent_is_neither_read_nor_believed) {
        static char block[16384];
        uint64_t until;

        make_ready();
        while (strlen(block) + 32 < sizeof(block))
                (void) strcat(block, "\xff{\"return\": 1}\n{}\n");
        until = clock_now_usec(CLOCK_MONOTONIC) + 300 * USEC_PER_MSEC;
        while (clock_now_usec(CLOCK_MONOTONIC) < until) {
                (void) fake_peer_pour(&peer, block, strlen(block));
                fake_host_turn(&fake, 1000);
        }
        ck_assert_ptr_nonnull(agent);
        ck_assert_uint_eq(n_changes, 1);
        ck_assert_str_eq(answers, "");
}
END_TEST

START_TEST(test_hanging_up_ends_it) {
        make_ready();
        start(SUSPENDD_ACT_GET_TIME, 1);
        fake_peer_hang_up(&peer);
        FAKE_HOST_WAIT(&fake, n_ends == 1);
        ck_assert_str_eq(answers, "");
}
END_TEST

static void add_tests(TCase *c) {
        tcase_add_test(c, test_agent_is_silent_until_it_has_answered);
        tcase_add_test(c, test_what_it_cannot_do_is_told_in_words);
        tcase_add_test(c, test_agent_that_does_not_tell_is_tried);
        tcase_add_test(c, test_opened_port_is_probed_anew);
        tcase_add_test(c, test_only_a_silent_agent_is_revived);
        tcase_add_test(c, test_time_is_read_between_two_of_the_hosts);
        tcase_add_test(c, test_time_is_set_to_the_instant_of_writing_and_the_lead);
        tcase_add_test(c, test_suspend_is_done_when_written_and_may_be_refused_after);
        tcase_add_loop_test(c, test_nonsense_about_what_it_can_is_told_to_nobody, 0, 4);
        tcase_add_test(c, test_suspend_that_is_answered_as_well_is_done_once);
        tcase_add_test(c, test_suspend_that_was_taken_holds_nobody_up);
        tcase_add_test(c, test_acts_wait_for_each_other);
        tcase_add_test(c, test_all_before_the_sync_is_dropped);
        tcase_add_test(c, test_hung_agent_gets_no_command_and_is_known_to_be_silent);
        tcase_add_test(c, test_late_answer_shows_that_it_lives_and_suspends_nothing);
        tcase_add_test(c, test_cancelled_command_is_not_answered);
        tcase_add_loop_test(c, test_nonsense_fails_the_act_only, 0, ARRAY_LEN(nonsense));
        tcase_add_test(c, test_endless_answer_fails_the_act_only);
        tcase_add_test(c, test_flood_of_an_idle_agent_is_neither_read_nor_believed);
        tcase_add_test(c, test_hanging_up_ends_it);
}

int main(void) {
        Suite *suite = suite_create("qmp-agent");
        TCase *c = tcase_create("agent");
        SRunner *runner;
        int n_failed;

        tcase_add_checked_fixture(c, set_up, tear_down);
        tcase_set_timeout(c, 60);
        add_tests(c);
        suite_add_tcase(suite, c);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
