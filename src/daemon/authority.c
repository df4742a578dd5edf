/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/authority.h"
#include <errno.h>
#include <inttypes.h>
#include "common/list.h"
#include "common/safe-path.h"
#include "common/text-escape.h"
#include "common/time-util.h"
#include "daemon/log.h"

#define DBUS_NAME "org.freedesktop.DBus"
#define POLKIT_NAME "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define POLKIT_ALLOW_INTERACTION 1U

#define PERSON_FACTOR 12

/*
 * The bus answers at once, so the first bound is met by a flood alone; no more calls are read then, rather than
 * that root's be refused. polkit may take minutes, so what is too much there is refused. Each question there has
 * a match at the bus, which allows 512.
 */
#define AT_BUS_MAX 256
#define AT_POLKIT_MAX 64
#define AT_POLKIT_OF_USER_MAX 8

#define KNOWN_MAX 512 /* two users' connections; the bus allows each 256 */
#define SENDER_MAX 32

/* Who a sender is. It is for good: the bus gives no name twice. */
typedef struct Known {
        char sender[SENDER_MAX];
        uid_t user;
} Known;

typedef struct Question {
        List questions;
        Authority *authority;
        sd_bus_message *call;
        const char *action;
        sd_bus_slot *gone;  /* whether the sender leaves, while polkit is asked */
        sd_bus_slot *query; /* what is being asked */
        uid_t user;
        uint64_t number; /* of polkit's, from 1; 0: it is not asked */
        bool is_at_bus;
        bool is_granted; /* and the call on its way to be handled anew */
} Question;

struct Authority {
        sd_bus *bus;
        uint64_t limit_usec;
        List questions;
        size_t n_at_bus;
        uint64_t n_asked;
        sd_bus *halted;         /* the bus of which no more calls are read */
        sd_event *event;        /* its loop */
        Known known[KNOWN_MAX]; /* the last of them, in a ring */
        size_t next_known;
        Question *granted; /* of the message that came last; in no list */
};

/* at polkit */

static int new_polkit_call(const Question *q, const char *method, sd_bus_message **ret) {
        return sd_bus_message_new_method_call(
                        q->authority->bus, ret, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE, method);
}

static void cancellation_id(const Question *q, char buf[static 32]) {
        (void) snprintf(buf, 32, "suspendd-%" PRIu64, q->number);
}

/* So that nobody is asked for a password any longer. */
static void question_cancel(const Question *q) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char id[32];

        cancellation_id(q, id);
        if (new_polkit_call(q, "CancelCheckAuthorization", &m) < 0 ||
            sd_bus_message_append(m, "s", id) < 0 || sd_bus_message_set_auto_start(m, false) < 0 ||
            sd_bus_message_set_expect_reply(m, false) < 0)
                return;
        (void) sd_bus_send(q->authority->bus, m, NULL);
}

/* how many there are at the bus */

static void authority_halt(Authority *a, sd_bus *calls) {
        sd_event *event = sd_bus_get_event(calls);

        if (a->halted || !event)
                return;
        a->event = sd_event_ref(event);
        a->halted = sd_bus_ref(calls);
        (void) sd_bus_detach_event(calls);
}

/* As sd-bus does with a connection for which it cannot have the loop wait: its owner notices. */
static void authority_go_on(Authority *a) {
        int r;

        if (!a->halted)
                return;
        r = sd_bus_attach_event(a->halted, a->event, AUTHORITY_CALLS_PRIORITY);
        if (r < 0) {
                (void) log_error_errno(r, "Cannot read calls again");
                sd_bus_close(a->halted);
        }
        a->halted = sd_bus_unref(a->halted);
        a->event = sd_event_unref(a->event);
}

static void question_leave_bus(Question *q) {
        Authority *a = q->authority;

        q->query = sd_bus_slot_unref(q->query);
        if (!q->is_at_bus)
                return;
        q->is_at_bus = false;
        if (--a->n_at_bus < AT_BUS_MAX / 2)
                authority_go_on(a);
}

/* how a question ends */

static Question *question_free(Question *q) {
        if (!q)
                return NULL;

        if (q->number > 0 && q->query)
                question_cancel(q);
        question_leave_bus(q);
        list_unlink(&q->questions);
        sd_bus_slot_unref(q->gone);
        sd_bus_message_unref(q->call);
        free(q);
        return NULL;
}

static void question_refuse(Question *q, const char *name, const char *text) {
        log_debug("User %u may not %s: %s", (unsigned) q->user, q->action, text);
        (void) sd_bus_reply_method_errorf(q->call, name, "%s", text);
        (void) question_free(q);
}

/* What the call was about may be another thing by now, so it is handled as if it came now. */
static void question_grant(Question *q) {
        q->is_granted = true;
        if (sd_bus_enqueue_for_read(sd_bus_message_get_bus(q->call), q->call) < 0)
                question_refuse(q, SD_BUS_ERROR_FAILED, "The call cannot be taken up again.");
}

/* what polkit says */

/* Without it, or without a word of it, root alone may. */
static void question_fail(Question *q, const sd_bus_error *error) {
        _cleanup_free_ char *said = NULL, *text = NULL;

        if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
            sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER)) {
                question_refuse(q, SD_BUS_ERROR_ACCESS_DENIED, "Only root may do this.");
                return;
        }

        said = text_escape(error->message ? error->message : error->name);
        if (!said ||
            asprintf(&text, "Only root may do this, for polkit gives no answer: %s", said) < 0)
                text = NULL;
        question_refuse(q, SD_BUS_ERROR_ACCESS_DENIED, text ? text : "Only root may do this.");
}

static int read_verdict(sd_bus_message *reply, int *ret_is_granted, int *ret_needs_person) {
        int r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");

        if (r < 0)
                return r;
        return sd_bus_message_read(reply, "bb", ret_is_granted, ret_needs_person);
}

static int on_verdict(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Question *q = userdata;
        int is_granted = false, needs_person = false;

        (void) error;
        /* It is polkit's to cancel where the time was over, and else answered. */
        if (!sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NO_REPLY))
                q->query = sd_bus_slot_unref(q->query);

        if (sd_bus_message_is_method_error(reply, NULL))
                question_fail(q, sd_bus_message_get_error(reply));
        else if (read_verdict(reply, &is_granted, &needs_person) < 0)
                question_refuse(q, SD_BUS_ERROR_ACCESS_DENIED, "polkit's answer makes no sense.");
        else if (is_granted) {
                log_info("User %u may %s, says polkit", (unsigned) q->user, q->action);
                question_grant(q);
        } else if (needs_person)
                question_refuse(q,
                                SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                                "A password is needed for this, and nobody can be asked for it.");
        else
                question_refuse(q, SD_BUS_ERROR_ACCESS_DENIED, "This is not allowed to you.");
        return 0;
}

/* A signal that is sent to us alone passes the match, whoever sends it: see login1-bus.h. */
static int on_gone(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        const char *name, *old_owner, *new_owner;

        (void) error;
        if (!str_equal(sd_bus_message_get_sender(signal), DBUS_NAME))
                return 0;
        if (sd_bus_message_read(signal, "sss", &name, &old_owner, &new_owner) >= 0 && !*new_owner)
                (void) question_free(userdata);
        return 0;
}

/* One who has left before the bus is asked to tell so is not known to polkit either. */
static int question_watch(Question *q) {
        char match[256];
        int r;

        r = snprintf(match,
                     sizeof(match),
                     "type='signal',sender='" DBUS_NAME "',path='/org/freedesktop/DBus',"
                     "interface='" DBUS_NAME "',member='NameOwnerChanged',arg0='%s'",
                     sd_bus_message_get_sender(q->call));
        if (r < 0 || (size_t) r >= sizeof(match))
                return -ENAMETOOLONG;
        return sd_bus_add_match_async(q->authority->bus, &q->gone, match, on_gone, NULL, q);
}

static int question_send(Question *q) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        bool may_ask = sd_bus_message_get_allow_interactive_authorization(q->call) > 0;
        char id[32];
        int r;

        q->number = ++q->authority->n_asked;
        cancellation_id(q, id);
        r = new_polkit_call(q, "CheckAuthorization", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append(
                        m,
                        "(sa{sv})sa{ss}us",
                        "system-bus-name",
                        1,
                        "name",
                        "s",
                        sd_bus_message_get_sender(q->call),
                        q->action,
                        0,
                        may_ask ? POLKIT_ALLOW_INTERACTION : 0U,
                        id);
        if (r < 0)
                return r;
        return sd_bus_call_async(
                        q->authority->bus,
                        &q->query,
                        m,
                        on_verdict,
                        q,
                        (may_ask ? PERSON_FACTOR : 1) * q->authority->limit_usec);
}

static void question_ask_polkit(Question *q) {
        size_t n = 0, n_of_user = 0;

        LIST_FOREACH(i, &q->authority->questions) {
                const Question *other = LIST_ENTRY(i, Question, questions);

                n += other->number > 0;
                n_of_user += other->number > 0 && other->user == q->user;
        }

        if (n >= AT_POLKIT_MAX || n_of_user >= AT_POLKIT_OF_USER_MAX)
                question_refuse(q,
                                SD_BUS_ERROR_LIMITS_EXCEEDED,
                                "polkit has not yet answered earlier calls.");
        else if (question_watch(q) < 0 || question_send(q) < 0)
                question_refuse(q, SD_BUS_ERROR_ACCESS_DENIED, "polkit cannot be asked.");
}

/* who it is */

static void authority_learn(Authority *a, const char *sender, uid_t user) {
        Known *k = &a->known[a->next_known++ % KNOWN_MAX];

        if (strlen(sender) >= sizeof(k->sender))
                return;
        (void) snprintf(k->sender, sizeof(k->sender), "%s", sender);
        k->user = user;
}

static bool authority_knows(const Authority *a, const char *sender, uid_t *ret) {
        for (size_t i = 0; i < KNOWN_MAX; i++)
                if (str_equal(a->known[i].sender, sender)) {
                        *ret = a->known[i].user;
                        return true;
                }
        return false;
}

static int on_user(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Question *q = userdata;
        uint32_t user;

        (void) error;
        question_leave_bus(q);
        if (sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NAME_HAS_NO_OWNER)) {
                (void) question_free(q);
                return 0;
        }
        if (sd_bus_message_is_method_error(reply, NULL) ||
            sd_bus_message_read(reply, "u", &user) < 0) {
                question_refuse(q, SD_BUS_ERROR_ACCESS_DENIED, "It cannot be found out who asks.");
                return 0;
        }

        q->user = user;
        authority_learn(q->authority, sd_bus_message_get_sender(q->call), user);
        if (user_is_us(user))
                question_grant(q);
        else
                question_ask_polkit(q);
        return 0;
}

static int question_ask_bus(Question *q) {
        Authority *a = q->authority;

        q->is_at_bus = true;
        if (++a->n_at_bus >= AT_BUS_MAX)
                authority_halt(a, sd_bus_message_get_bus(q->call));
        return sd_bus_call_method_async(
                        a->bus,
                        &q->query,
                        DBUS_NAME,
                        "/org/freedesktop/DBus",
                        DBUS_NAME,
                        "GetConnectionUnixUser",
                        on_user,
                        q,
                        "s",
                        sd_bus_message_get_sender(q->call));
}

/* Without a bus between us, as in tests, it is the socket that tells, and at once. */
static int check_peer(sd_bus_message *call, sd_bus_error *error) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        uid_t user;
        int r;

        r = sd_bus_query_sender_creds(call, SD_BUS_CREDS_EUID, &creds);
        if (r >= 0)
                r = sd_bus_creds_get_euid(creds, &user);
        if (r >= 0 && user_is_us(user))
                return 0;
        return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "Only root may do this.");
}

int authority_check(Authority *a, sd_bus_message *call, const char *action, sd_bus_error *error) {
        const char *sender = sd_bus_message_get_sender(call);
        uid_t user = (uid_t) -1;
        bool is_known;
        Question *q;

        if (a->granted && a->granted->call == call && str_equal(a->granted->action, action))
                return 0;
        if (!sender)
                return check_peer(call, error);
        is_known = authority_knows(a, sender, &user);
        if (is_known && user_is_us(user))
                return 0;

        q = malloc(sizeof(*q));
        if (!q)
                return -ENOMEM;
        *q = (Question){
                .authority = a,
                .call = sd_bus_message_ref(call),
                .action = action,
                .user = user,
        };
        list_append(&a->questions, &q->questions);
        if (is_known)
                question_ask_polkit(q);
        else if (question_ask_bus(q) < 0)
                question_refuse(q, SD_BUS_ERROR_ACCESS_DENIED, "It cannot be found out who asks.");
        return 1;
}

void authority_on_message(Authority *a, sd_bus_message *message) {
        a->granted = question_free(a->granted);

        LIST_FOREACH(i, &a->questions) {
                Question *q = LIST_ENTRY(i, Question, questions);

                if (q->call != message || !q->is_granted)
                        continue;
                list_unlink(&q->questions);
                q->gone = sd_bus_slot_unref(q->gone);
                a->granted = q;
                return;
        }
}

/* lifetime */

int authority_new(sd_bus *bus, uint64_t limit_usec, Authority **ret) {
        Authority *a = calloc(1, sizeof(*a));

        if (!a)
                return -ENOMEM;

        a->bus = sd_bus_ref(bus);
        a->limit_usec = limit_usec;
        list_init(&a->questions);
        *ret = a;
        return 0;
}

Authority *authority_free(Authority *a) {
        if (!a)
                return NULL;

        (void) question_free(a->granted);
        LIST_FOREACH(i, &a->questions)
        (void) question_free(LIST_ENTRY(i, Question, questions));
        sd_bus_unref(a->halted);
        sd_event_unref(a->event);
        sd_bus_unref(a->bus);
        free(a);
        return NULL;
}
