/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Who may: a method that asks the Authority, called by root and by users on a bus of the test's own, with a
 * polkit that answers as it is told.
 */

#include <errno.h>
#include "daemon/authority.h"
#include "fake-bus.h"

#define ACTION "org.suspendd1.set-mode"
#define SHORT_USEC (300 * USEC_PER_MSEC)
#define OF_USER_MAX 8 /* of a user's questions at polkit */
#define USER 65534
#define OTHER_USER 1
#define FLOOD 600
#define AT_BUS_MAX 256 /* of questions to the bus */

typedef enum FakeAnswer {
        ANSWER_YES,
        ANSWER_NO,
        ANSWER_CHALLENGE,
        ANSWER_ERROR,
        ANSWER_NONE
} FakeAnswer;

static struct {
        sd_bus *bus;
        FakeAnswer answer;
        unsigned n_asked, n_cancelled;
        uint32_t flags;
        char subject[64], action[64], id[64], cancelled[64];
        sd_bus_message *pending;
} polkit;

static struct {
        sd_bus *bus;
        sd_bus_slot *slot;
        Authority *authority;
        unsigned n_seen, n_acted;
} server;

/* A caller, and what it was answered. */
typedef struct Caller {
        sd_bus *bus;
        unsigned n_replies, n_good;
        char error[128], text[256];
} Caller;

static Caller root, user;

/* polkit */

static int answer(sd_bus_message *m, FakeAnswer as) {
        if (as == ANSWER_ERROR)
                return sd_bus_reply_method_errorf(
                                m, "org.freedesktop.PolicyKit1.Error.Failed", "broken\nrules");
        return sd_bus_reply_method_return(
                        m, "(bba{ss})", as == ANSWER_YES, as == ANSWER_CHALLENGE, 0);
}

static int on_check(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *kind, *key, *name, *action, *id;
        uint32_t flags;

        (void) userdata;
        (void) error;
        ck_assert_int_gt(sd_bus_message_enter_container(m, 'r', "sa{sv}"), 0);
        ck_assert_int_gt(sd_bus_message_read(m, "s", &kind), 0);
        ck_assert_str_eq(kind, "system-bus-name");
        ck_assert_int_gt(sd_bus_message_read(m, "a{sv}", 1, &key, "s", &name), 0);
        ck_assert_str_eq(key, "name");
        ck_assert_int_ge(sd_bus_message_exit_container(m), 0);
        ck_assert_int_gt(sd_bus_message_read(m, "s", &action), 0);
        ck_assert_int_gt(sd_bus_message_skip(m, "a{ss}"), 0);
        ck_assert_int_gt(sd_bus_message_read(m, "us", &flags, &id), 0);

        polkit.n_asked++;
        polkit.flags = flags;
        (void) snprintf(polkit.subject, sizeof(polkit.subject), "%s", name);
        (void) snprintf(polkit.action, sizeof(polkit.action), "%s", action);
        (void) snprintf(polkit.id, sizeof(polkit.id), "%s", id);
        if (polkit.answer != ANSWER_NONE)
                return answer(m, polkit.answer);
        sd_bus_message_unref(polkit.pending);
        polkit.pending = sd_bus_message_ref(m);
        return 1;
}

static int on_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *id;

        (void) userdata;
        (void) error;
        ck_assert_int_gt(sd_bus_message_read(m, "s", &id), 0);
        (void) snprintf(polkit.cancelled, sizeof(polkit.cancelled), "%s", id);
        polkit.n_cancelled++;
        return sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable polkit_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("CheckAuthorization",
                      "(sa{sv})sa{ss}us",
                      "(bba{ss})",
                      on_check,
                      SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("CancelCheckAuthorization", "s", "", on_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static sd_bus *attach(sd_bus *bus) {
        ck_assert_int_ge(sd_bus_attach_event(bus, fake.event, SD_EVENT_PRIORITY_NORMAL), 0);
        return bus;
}

static void polkit_start(FakeAnswer as) {
        polkit.answer = as;
        polkit.bus = attach(fake_connect());
        ck_assert_int_ge(
                        sd_bus_add_object_vtable(
                                        polkit.bus,
                                        NULL,
                                        "/org/freedesktop/PolicyKit1/Authority",
                                        "org.freedesktop.PolicyKit1.Authority",
                                        polkit_vtable,
                                        NULL),
                        0);
        ck_assert_int_ge(sd_bus_request_name(polkit.bus, "org.freedesktop.PolicyKit1", 0), 0);
}

static void polkit_stop(void) {
        polkit.pending = sd_bus_message_unref(polkit.pending);
        polkit.bus = sd_bus_close_unref(polkit.bus);
}

/* what is called */

static int on_filter(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        (void) userdata;
        (void) error;
        server.n_seen++;
        authority_on_message(server.authority, m);
        return 0;
}

static int on_act(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        int r;

        (void) userdata;
        r = authority_check(server.authority, m, ACTION, error);
        if (r != 0)
                return r;
        server.n_acted++;
        return sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable server_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Act", "", "", on_act, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static void server_start(void) {
        server.bus = fake_connect();
        ck_assert_int_ge(sd_bus_attach_event(server.bus, fake.event, AUTHORITY_CALLS_PRIORITY), 0);
        ck_assert_int_ge(
                        sd_bus_add_object_vtable(
                                        server.bus, &server.slot, "/t", "t.T", server_vtable, NULL),
                        0);
        ck_assert_int_ge(sd_bus_add_filter(server.bus, NULL, on_filter, NULL), 0);
        ck_assert_int_ge(sd_bus_request_name(server.bus, "t.T", 0), 0);
        ck_assert_int_eq(authority_new(fake.bus, SHORT_USEC, &server.authority), 0);
}

/* callers */

static void caller_start(Caller *c, uid_t uid) {
        *c = (Caller){ 0 };
        ck_assert_int_eq(seteuid(uid), 0);
        c->bus = attach(fake_connect());
        ck_assert_int_eq(seteuid(0), 0);
        ck_assert_int_ge(sd_bus_get_unique_name(c->bus, &(const char *){ NULL }), 0);
}

static void caller_stop(Caller *c) {
        c->bus = sd_bus_close_unref(c->bus);
}

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Caller *c = userdata;
        const sd_bus_error *e = sd_bus_message_get_error(m);

        (void) error;
        c->n_replies++;
        c->n_good += !e;
        (void) snprintf(c->error, sizeof(c->error), "%s", e ? e->name : "");
        (void) snprintf(c->text, sizeof(c->text), "%s", e && e->message ? e->message : "");
        return 0;
}

static void call(Caller *c, bool may_ask) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

        ck_assert_int_ge(sd_bus_message_new_method_call(c->bus, &m, "t.T", "/t", "t.T", "Act"), 0);
        ck_assert_int_ge(sd_bus_message_set_allow_interactive_authorization(m, may_ask), 0);
        ck_assert_int_ge(sd_bus_call_async(c->bus, NULL, m, on_reply, c, LIMIT_USEC), 0);
}

/* A call by @c, which is answered. */
static void call_and_wait(Caller *c, bool may_ask) {
        call(c, may_ask);
        fake_run_until(&c->n_replies, c->n_replies + 1);
}

static void assert_refused(const char *error) {
        ck_assert_str_eq(user.error, error);
        ck_assert_uint_eq(server.n_acted, 0);
}

static void setup(void) {
        fake_start_bus();
        ck_assert_int_eq(chmod(scratch, 0711), 0);
        (void) memset(&polkit, 0, sizeof(polkit));
        (void) memset(&server, 0, sizeof(server));
        server_start();
        caller_start(&root, 0);
        caller_start(&user, USER);
}

static void teardown(void) {
        caller_stop(&user);
        caller_stop(&root);
        server.authority = authority_free(server.authority);
        sd_bus_slot_unref(server.slot);
        server.bus = sd_bus_close_unref(server.bus);
        polkit_stop();
        fake_stop();
}

/* tests */

START_TEST(test_root_may_and_polkit_is_not_asked) {
        polkit_start(ANSWER_NO);
        call_and_wait(&root, false);
        ck_assert_str_eq(root.text, "");
        ck_assert_uint_eq(server.n_acted, 1);
        ck_assert_uint_eq(polkit.n_asked, 0);
}
END_TEST

START_TEST(test_root_may_without_polkit) {
        call_and_wait(&root, false);
        ck_assert_str_eq(root.text, "");
        ck_assert_uint_eq(server.n_acted, 1);
}
END_TEST

START_TEST(test_user_may_once_polkit_says_so) {
        const char *name;

        polkit_start(ANSWER_YES);
        ck_assert_int_ge(sd_bus_get_unique_name(user.bus, &name), 0);
        call_and_wait(&user, false);
        ck_assert_str_eq(user.error, "");
        ck_assert_uint_eq(server.n_acted, 1);
        ck_assert_str_eq(polkit.subject, name);
        ck_assert_str_eq(polkit.action, ACTION);
        ck_assert_uint_eq(polkit.flags, 0);
}
END_TEST

START_TEST(test_one_yes_is_good_for_one_call) {
        polkit_start(ANSWER_YES);
        call_and_wait(&user, false);
        polkit.answer = ANSWER_NO;
        call_and_wait(&user, false);
        ck_assert_str_eq(user.error, SD_BUS_ERROR_ACCESS_DENIED);
        ck_assert_uint_eq(server.n_acted, 1);
        ck_assert_uint_eq(polkit.n_asked, 2);
}
END_TEST

START_TEST(test_person_is_asked_only_where_the_caller_lets) {
        polkit_start(ANSWER_YES);
        call_and_wait(&user, true);
        ck_assert_uint_eq(polkit.flags, 1);
        call_and_wait(&user, false);
        ck_assert_uint_eq(polkit.flags, 0);
}
END_TEST

START_TEST(test_no_is_no) {
        polkit_start(ANSWER_NO);
        call_and_wait(&user, false);
        assert_refused(SD_BUS_ERROR_ACCESS_DENIED);
}
END_TEST

START_TEST(test_challenge_says_that_a_password_is_needed) {
        polkit_start(ANSWER_CHALLENGE);
        call_and_wait(&user, false);
        assert_refused(SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED);
}
END_TEST

START_TEST(test_error_of_polkit_is_no_and_is_told_on_one_line) {
        polkit_start(ANSWER_ERROR);
        call_and_wait(&user, false);
        assert_refused(SD_BUS_ERROR_ACCESS_DENIED);
        ck_assert_ptr_nonnull(strstr(user.text, "broken\\x0arules"));
}
END_TEST

START_TEST(test_absent_polkit_means_root_only) {
        call_and_wait(&user, true);
        assert_refused(SD_BUS_ERROR_ACCESS_DENIED);
        ck_assert_str_eq(user.text, "Only root may do this.");
}
END_TEST

START_TEST(test_polkit_that_goes_means_no) {
        polkit_start(ANSWER_NONE);
        call(&user, false);
        fake_run_until(&polkit.n_asked, 1);
        polkit_stop();
        fake_run_until(&user.n_replies, 1);
        assert_refused(SD_BUS_ERROR_ACCESS_DENIED);
}
END_TEST

START_TEST(test_polkit_that_never_answers_holds_up_nobody_and_is_no_in_the_end) {
        polkit_start(ANSWER_NONE);
        call(&user, false);
        fake_run_until(&polkit.n_asked, 1);
        call_and_wait(&root, false);
        ck_assert_uint_eq(server.n_acted, 1);
        ck_assert_uint_eq(user.n_replies, 0);

        fake_run_until(&user.n_replies, 1);
        ck_assert_str_eq(user.error, SD_BUS_ERROR_ACCESS_DENIED);
        fake_run_until(&polkit.n_cancelled, 1);
        ck_assert_str_eq(polkit.cancelled, polkit.id);
        ck_assert_uint_eq(server.n_acted, 1);
}
END_TEST

START_TEST(test_person_has_longer) {
        polkit_start(ANSWER_NONE);
        call(&user, true);
        fake_run_until(&polkit.n_asked, 1);
        (void) fake_run_for(2 * SHORT_USEC);
        ck_assert_uint_eq(user.n_replies, 0);
        ck_assert_int_ge(answer(polkit.pending, ANSWER_YES), 0);
        fake_run_until(&user.n_good, 1);
        ck_assert_uint_eq(server.n_acted, 1);
}
END_TEST

/* Nothing is done for one who does not see it any more, and nobody is asked for his password. */
START_TEST(test_caller_who_goes_is_forgotten_whatever_polkit_says) {
        authority_free(server.authority); /* in whose time polkit would be told to cancel as well */
        ck_assert_int_eq(authority_new(fake.bus, LIMIT_USEC, &server.authority), 0);
        polkit_start(ANSWER_NONE);
        call(&user, true);
        fake_run_until(&polkit.n_asked, 1);
        caller_stop(&user);
        fake_run_until(&polkit.n_cancelled, 1);
        ck_assert_str_eq(polkit.cancelled, polkit.id);

        ck_assert_int_ge(answer(polkit.pending, ANSWER_YES), 0);
        call_and_wait(&root, false);
        call_and_wait(&root, false);
        ck_assert_uint_eq(server.n_acted, 2);
}
END_TEST

/* As the bus would tell that @c has left, but by another, and to us alone. */
static void forge_departure(Caller *c, sd_bus *by) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const char *to, *gone;

        ck_assert_int_ge(sd_bus_get_unique_name(fake.bus, &to), 0);
        ck_assert_int_ge(sd_bus_get_unique_name(c->bus, &gone), 0);
        ck_assert_int_ge(
                        sd_bus_message_new_signal(
                                        by,
                                        &m,
                                        "/org/freedesktop/DBus",
                                        "org.freedesktop.DBus",
                                        "NameOwnerChanged"),
                        0);
        ck_assert_int_ge(sd_bus_message_append(m, "sss", gone, gone, ""), 0);
        ck_assert_int_ge(sd_bus_message_set_destination(m, to), 0);
        ck_assert_int_ge(sd_bus_send(by, m, NULL), 0);
        ck_assert_int_ge(sd_bus_flush(by), 0);
}

START_TEST(test_stranger_cannot_send_a_caller_away) {
        Caller other;

        authority_free(server.authority);
        ck_assert_int_eq(authority_new(fake.bus, LIMIT_USEC, &server.authority), 0);
        polkit_start(ANSWER_NONE);
        call(&user, false);
        fake_run_until(&polkit.n_asked, 1);
        caller_start(&other, OTHER_USER);
        forge_departure(&user, other.bus);
        (void) fake_run_for(SHORT_USEC);
        ck_assert_uint_eq(polkit.n_cancelled, 0);
        caller_stop(&other);

        ck_assert_int_ge(answer(polkit.pending, ANSWER_YES), 0);
        fake_run_until(&user.n_replies, 1);
        ck_assert_uint_eq(server.n_acted, 1);
}
END_TEST

START_TEST(test_users_questions_are_bounded_and_take_nothing_from_others) {
        Caller other;

        polkit_start(ANSWER_NONE);
        for (unsigned i = 0; i < OF_USER_MAX; i++)
                call(&user, true);
        fake_run_until(&polkit.n_asked, OF_USER_MAX);

        call_and_wait(&user, true);
        ck_assert_str_eq(user.error, SD_BUS_ERROR_LIMITS_EXCEEDED);
        /* With a second connection either. */
        caller_start(&other, USER);
        call_and_wait(&other, true);
        ck_assert_str_eq(other.error, SD_BUS_ERROR_LIMITS_EXCEEDED);
        caller_stop(&other);

        polkit.answer = ANSWER_YES;
        caller_start(&other, OTHER_USER);
        call_and_wait(&other, true);
        ck_assert_uint_eq(other.n_good, 1);
        caller_stop(&other);
        call_and_wait(&root, false);
        ck_assert_uint_eq(server.n_acted, 2);

        /* One answer, one place. */
        ck_assert_int_ge(answer(polkit.pending, ANSWER_NO), 0);
        fake_run_until(&user.n_replies, 2);
        call_and_wait(&user, true);
        ck_assert_uint_eq(user.n_good, 1);
}
END_TEST

/* Calls that want no reply, as fast as they go. */
static void flood(void) {
        for (unsigned i = 0; i < FLOOD; i++) {
                _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

                ck_assert_int_ge(
                                sd_bus_message_new_method_call(
                                                user.bus, &m, "t.T", "/t", "t.T", "Act"),
                                0);
                ck_assert_int_ge(sd_bus_message_set_expect_reply(m, false), 0);
                ck_assert_int_ge(sd_bus_send(user.bus, m, NULL), 0);
        }
        ck_assert_int_ge(sd_bus_flush(user.bus), 0);
}

START_TEST(test_no_more_is_read_than_can_be_asked_and_nothing_is_lost) {
        (void) sd_bus_detach_event(fake.bus);
        flood();
        fake_run_until(&server.n_seen, AT_BUS_MAX);
        (void) fake_run_for(SHORT_USEC);
        ck_assert_uint_lt(server.n_seen, AT_BUS_MAX + 10);

        ck_assert_int_ge(sd_bus_attach_event(fake.bus, fake.event, SD_EVENT_PRIORITY_NORMAL), 0);
        call_and_wait(&root, false);
        ck_assert_str_eq(root.text, "");
        ck_assert_uint_ge(server.n_seen, FLOOD);
}
END_TEST

/* Nobody would be answered any more, and nothing would tell. */
START_TEST(test_what_cannot_be_read_on_is_closed) {
        sd_event *other;

        (void) sd_bus_detach_event(fake.bus);
        flood();
        fake_run_until(&server.n_seen, AT_BUS_MAX);
        (void) fake_run_for(SHORT_USEC);
        ck_assert_int_ge(sd_event_new(&other), 0);
        ck_assert_int_ge(sd_bus_attach_event(server.bus, other, 0), 0); /* so that it cannot be */
        ck_assert_int_ge(sd_bus_attach_event(fake.bus, fake.event, SD_EVENT_PRIORITY_NORMAL), 0);
        call_and_wait(&root, false);
        ck_assert_uint_eq(root.n_good, 0);
        ck_assert_int_eq(sd_bus_is_open(server.bus), 0);
        sd_event_unref(other);
}
END_TEST

START_TEST(test_flood_leaves_nothing) {
        polkit_start(ANSWER_NO);
        flood();
        call_and_wait(&root, false);
        ck_assert_str_eq(root.text, "");
        do
                call_and_wait(&user, false);
        while (str_equal(user.error, SD_BUS_ERROR_LIMITS_EXCEEDED));
        ck_assert_str_eq(user.error, SD_BUS_ERROR_ACCESS_DENIED);
        ck_assert_uint_eq(server.n_acted, 1);
}
END_TEST

START_TEST(test_what_is_gone_when_he_may_is_not_done) {
        polkit_start(ANSWER_NONE);
        call(&user, false);
        fake_run_until(&polkit.n_asked, 1);
        server.slot = sd_bus_slot_unref(server.slot);
        ck_assert_int_ge(answer(polkit.pending, ANSWER_YES), 0);
        fake_run_until(&user.n_replies, 1);
        assert_refused(SD_BUS_ERROR_UNKNOWN_OBJECT);
}
END_TEST

int main(void) {
        TCase *t = tcase_create("authority");

        if (!fake_is_possible())
                return 77;
        if (geteuid() != 0) {
                (void) puts("skipped: only root can call as another user");
                return 77;
        }
        tcase_add_checked_fixture(t, setup, teardown);
        tcase_set_timeout(t, 60);
        tcase_add_test(t, test_root_may_and_polkit_is_not_asked);
        tcase_add_test(t, test_root_may_without_polkit);
        tcase_add_test(t, test_user_may_once_polkit_says_so);
        tcase_add_test(t, test_one_yes_is_good_for_one_call);
        tcase_add_test(t, test_person_is_asked_only_where_the_caller_lets);
        tcase_add_test(t, test_no_is_no);
        tcase_add_test(t, test_challenge_says_that_a_password_is_needed);
        tcase_add_test(t, test_error_of_polkit_is_no_and_is_told_on_one_line);
        tcase_add_test(t, test_absent_polkit_means_root_only);
        tcase_add_test(t, test_polkit_that_goes_means_no);
        tcase_add_test(t, test_polkit_that_never_answers_holds_up_nobody_and_is_no_in_the_end);
        tcase_add_test(t, test_person_has_longer);
        tcase_add_test(t, test_caller_who_goes_is_forgotten_whatever_polkit_says);
        tcase_add_test(t, test_stranger_cannot_send_a_caller_away);
        tcase_add_test(t, test_users_questions_are_bounded_and_take_nothing_from_others);
        tcase_add_test(t, test_no_more_is_read_than_can_be_asked_and_nothing_is_lost);
        tcase_add_test(t, test_what_cannot_be_read_on_is_closed);
        tcase_add_test(t, test_flood_leaves_nothing);
        tcase_add_test(t, test_what_is_gone_when_he_may_is_not_done);
        return scratch_run(t, "authority");
}
