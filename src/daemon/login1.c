/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/login1.h"
#include <errno.h>
#include "common/time-util.h"
#include "daemon/log.h"
#include "daemon/login1-bus.h"
#include "daemon/sleep-doubt.h"

#define PREPARING_LIMIT_USEC (2 * USEC_PER_SEC)
#define OWNER_MAX 256 /* a bus name has 255 bytes */

struct Login1 {
        sd_bus *bus;
        const Login1Ops *ops;
        void *userdata;
        char owner[OWNER_MAX]; /* logind's unique name; empty: it is not there */
        SleepDoubt *doubt;
        sd_bus_slot *match_sleep, *match_shutdown, *match_owner;
        sd_bus_slot *query_owner, *query_preparing, *query_delay_max;
};

/* signals */

/* Returns: 0 and what logind's signal says; -EPERM if it is not logind's; -EBADMSG. */
static int login1_read_signal(const Login1 *l, sd_bus_message *m, bool *ret) {
        int value;

        if (!str_equal(sd_bus_message_get_sender(m), l->owner))
                return log_warning_errno(
                                -EPERM,
                                "%s came from %s, which is not logind",
                                sd_bus_message_get_member(m),
                                sd_bus_message_get_sender(m));
        if (sd_bus_message_read(m, "b", &value) < 0)
                return -EBADMSG;
        *ret = value;
        return 0;
}

static int on_prepare_for_sleep(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        bool start;

        (void) error;
        if (login1_read_signal(l, m, &start) < 0)
                return 0;

        login1_trust(l);
        l->ops->on_sleep(l->userdata, start);
        return 0;
}

static int on_prepare_for_shutdown(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        bool start;

        (void) error;
        if (login1_read_signal(l, m, &start) < 0)
                return 0;

        l->ops->on_shutdown(l->userdata, start);
        return 0;
}

/* Without it each sleep would be a stranger's, so it needs no memory that may be lacking. */
static void login1_set_owner(Login1 *l, const char *owner) {
        (void) snprintf(l->owner, sizeof(l->owner), "%s", owner);
        sleep_doubt_set_present(l->doubt, login1_is_present(l));
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        const char *owner;

        (void) error;
        if (login1_read_owner(m, &owner) < 0)
                return 0;
        login1_set_owner(l, owner);
        login1_doubt(l, 0);
        l->ops->on_present(l->userdata, login1_is_present(l));
        return 0;
}

static void on_not_sleeping(void *userdata) {
        Login1 *l = userdata;

        l->ops->on_not_sleeping(l->userdata);
}

static bool on_woke(void *userdata) {
        Login1 *l = userdata;

        return l->ops->on_woke && l->ops->on_woke(l->userdata);
}

/* lifetime */

Login1 *login1_free(Login1 *l) {
        if (!l)
                return NULL;

        sd_bus_slot_unref(l->match_sleep);
        sd_bus_slot_unref(l->match_shutdown);
        sd_bus_slot_unref(l->match_owner);
        sd_bus_slot_unref(l->query_owner);
        sd_bus_slot_unref(l->query_preparing);
        sd_bus_slot_unref(l->query_delay_max);
        sleep_doubt_free(l->doubt);
        sd_bus_unref(l->bus);
        free(l);
        return NULL;
}

static int login1_match(
                Login1 *l,
                const char *member,
                sd_bus_message_handler_t handler,
                sd_bus_slot **ret_slot) {
        char match[256];

        (void) snprintf(match,
                        sizeof(match),
                        "type='signal',sender='" LOGIN1_NAME "',path='" LOGIN1_PATH "',"
                        "interface='" LOGIN1_MANAGER "',member='%s'",
                        member);
        return sd_bus_add_match_async(l->bus, ret_slot, match, handler, NULL, l);
}

/* What comes before this answer is older than it, and what comes after it newer: the bus keeps the order. */
static int on_first_owner(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const sd_bus_error *failure = sd_bus_message_get_error(m);
        Login1 *l = userdata;
        const char *owner;

        (void) error;
        l->query_owner = sd_bus_slot_unref(l->query_owner);
        if (sd_bus_error_has_name(failure, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return 0;
        if (failure || sd_bus_message_read(m, "s", &owner) < 0) {
                (void) log_warning("Cannot ask the bus who logind is");
                return 0;
        }
        login1_set_owner(l, owner);
        return 0;
}

static int login1_query_owner(Login1 *l) {
        int r = sd_bus_call_method_async(
                        l->bus,
                        &l->query_owner,
                        "org.freedesktop.DBus",
                        "/org/freedesktop/DBus",
                        "org.freedesktop.DBus",
                        "GetNameOwner",
                        on_first_owner,
                        l,
                        "s",
                        LOGIN1_NAME);

        return r < 0 ? r : 0;
}

int login1_new(sd_bus *bus, const Login1Ops *ops, void *userdata, Login1 **ret) {
        _cleanup_(login1_freep) Login1 *l = NULL;
        int r;

        l = malloc(sizeof(*l));
        if (!l)
                return -ENOMEM;
        *l = (Login1){ .bus = sd_bus_ref(bus), .ops = ops, .userdata = userdata };

        r = sleep_doubt_new(bus, on_not_sleeping, on_woke, l, &l->doubt);
        if (r < 0)
                return r;
        r = login1_match(l, "PrepareForSleep", on_prepare_for_sleep, &l->match_sleep);
        if (r < 0)
                return r;
        r = login1_match(l, "PrepareForShutdown", on_prepare_for_shutdown, &l->match_shutdown);
        if (r < 0)
                return r;
        r = login1_match_owner(bus, on_owner_changed, l, &l->match_owner);
        if (r < 0)
                return r;
        r = login1_query_owner(l);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(l);
        return 0;
}

/* questions */

bool login1_is_present(const Login1 *l) {
        return *l->owner;
}

bool login1_is_preparing(sd_bus *bus) {
        int is_preparing = false;

        (void) sd_bus_set_method_call_timeout(bus, PREPARING_LIMIT_USEC);
        (void) sd_bus_get_property_trivial(
                        bus,
                        LOGIN1_NAME,
                        LOGIN1_PATH,
                        LOGIN1_MANAGER,
                        "PreparingForSleep",
                        NULL,
                        'b',
                        &is_preparing);
        (void) sd_bus_set_method_call_timeout(bus, 0);
        return is_preparing;
}

static int on_preparing(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        int preparing;

        (void) error;
        l->query_preparing = sd_bus_slot_unref(l->query_preparing);
        if (sd_bus_message_is_method_error(m, NULL))
                (void) log_warning_errno(
                                -sd_bus_message_get_errno(m),
                                "Cannot ask logind whether a sleep is under way");
        else if (sd_bus_message_read(m, "v", "b", &preparing) >= 0 && preparing)
                l->ops->on_sleep(l->userdata, true);
        return 0;
}

static int on_delay_max(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Login1 *l = userdata;
        uint64_t usec;

        (void) error;
        l->query_delay_max = sd_bus_slot_unref(l->query_delay_max);
        if (sd_bus_message_is_method_error(m, NULL))
                (void) log_warning_errno(
                                -sd_bus_message_get_errno(m),
                                "Cannot ask logind how long a sleep may be delayed");
        else if (sd_bus_message_read(m, "v", "t", &usec) >= 0)
                l->ops->on_delay_max(l->userdata, usec);
        return 0;
}

/* A question asked anew takes the place of one that is still open. */
static int login1_query(
                Login1 *l,
                const char *property,
                sd_bus_message_handler_t on_reply,
                sd_bus_slot **slot) {
        const PropertyQuery query = {
                .destination = LOGIN1_NAME,
                .path = LOGIN1_PATH,
                .interface = LOGIN1_MANAGER,
                .name = property,
        };

        *slot = sd_bus_slot_unref(*slot);
        return property_query(l->bus, &query, on_reply, l, slot);
}

int login1_start(Login1 *l) {
        return login1_query(l, "PreparingForSleep", on_preparing, &l->query_preparing);
}

int login1_query_delay_max(Login1 *l) {
        return login1_query(l, "InhibitDelayMaxUSec", on_delay_max, &l->query_delay_max);
}

void login1_doubt(Login1 *l, uint64_t patience_usec) {
        sleep_doubt_begin(l->doubt, patience_usec);
}

void login1_slept(Login1 *l) {
        sleep_doubt_slept(l->doubt, LOGIN1_PATIENCE_USEC);
}

void login1_trust(Login1 *l) {
        sleep_doubt_end(l->doubt);
}
