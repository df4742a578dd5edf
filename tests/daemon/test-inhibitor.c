/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "daemon/inhibitor.h"
#include "daemon/login1-bus.h"
#include "fake-bus.h"

typedef struct Seen {
        unsigned n_taken, n_refused;
        int error;
} Seen;

static Seen seen;
static Inhibitor *lock;
static sd_bus_slot *match;

static void on_taken(Inhibitor *i, int error, void *userdata) {
        Seen *s = userdata;

        (void) i;
        *(error == 0 ? &s->n_taken : &s->n_refused) += 1;
        s->error = error;
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *owner;

        (void) userdata;
        (void) error;
        ck_assert_int_eq(login1_read_owner(m, &owner), 0);
        if (lock && *owner)
                inhibitor_on_logind_came(lock);
        return 0;
}

static void make_lock(const char *mode) {
        seen = (Seen){ 0 };
        match = sd_bus_slot_unref(match);
        ck_assert_int_eq(login1_match_owner(fake.bus, on_owner_changed, NULL, &match), 0);
        ck_assert_int_eq(inhibitor_new(fake.bus, mode, on_taken, &seen, &lock), 0);
}

static void setup(void) {
        fake_start();
        make_lock("delay");
}

static void teardown(void) {
        match = sd_bus_slot_unref(match);
        lock = inhibitor_free(lock);
        fake_stop();
}

/* Returns: how many locks logind lists, all of which must be ours in that mode. */
static unsigned count_locks(const char *mode) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *what, *who, *why, *its_mode;
        unsigned n = 0;

        ck_assert_int_ge(
                        sd_bus_call_method(
                                        fake.control,
                                        "org.freedesktop.login1",
                                        "/org/freedesktop/login1",
                                        "org.freedesktop.login1.Manager",
                                        "ListInhibitors",
                                        NULL,
                                        &reply,
                                        NULL),
                        0);
        ck_assert_int_gt(sd_bus_message_enter_container(reply, 'a', "(ssssuu)"), 0);
        while (sd_bus_message_read(reply, "(ssssuu)", &what, &who, &why, &its_mode, NULL, NULL) >
               0) {
                ck_assert_str_eq(what, "sleep");
                ck_assert_str_eq(who, "suspendd");
                ck_assert_str_eq(why, "VMs");
                ck_assert_str_eq(its_mode, mode);
                n++;
        }
        return n;
}

static void take(void) {
        ck_assert_int_eq(inhibitor_take(lock, "VMs"), 0);
        ck_assert_uint_eq(seen.n_taken, 0); /* never before it returns */
        fake_run_until(&seen.n_taken, 1);
        ck_assert(inhibitor_is_held(lock));
}

START_TEST(test_lock_is_taken_and_dropped) {
        ck_assert(!inhibitor_is_held(lock));
        take();
        ck_assert_int_eq(seen.error, 0);
        ck_assert_uint_eq(count_locks("delay"), 1);
        ck_assert_int_eq(inhibitor_take(lock, "again"), -EALREADY);

        inhibitor_drop(lock);
        ck_assert(!inhibitor_is_held(lock));
        fake_call("WaitLocks", "u", 0);
        inhibitor_drop(lock); /* harmless */
        seen = (Seen){ 0 };
        take();
        fake_call("WaitLocks", "u", 1);
        lock = inhibitor_free(lock);
        fake_call("WaitLocks", "u", 0);
}
END_TEST

START_TEST(test_block_lock_is_one) {
        inhibitor_free(lock);
        make_lock("block");
        take();
        ck_assert_uint_eq(count_locks("block"), 1);
}
END_TEST

/* No sleep may slip in between the old words and the new ones. */
START_TEST(test_reworded_lock_is_held_throughout) {
        ck_assert_int_eq(inhibitor_reword(lock, "other VMs"), 0); /* as good as take */
        fake_run_until(&seen.n_taken, 1);
        ck_assert_int_eq(inhibitor_reword(lock, "VMs"), 0);
        ck_assert(inhibitor_is_held(lock));
        ck_assert_uint_eq(seen.n_taken, 1);
        fake_run_until(&seen.n_taken, 2);
        ck_assert(inhibitor_is_held(lock));
        fake_call("WaitLocks", "u", 1);
        ck_assert_uint_eq(count_locks("delay"), 1);

        ck_assert_int_eq(inhibitor_reword(lock, "no VMs"), 0);
        inhibitor_drop(lock);
        (void) fake_run_for(300 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_taken, 2);
        fake_call("WaitLocks", "u", 0);
}
END_TEST

/* Whether @fd is the writing end of a pipe. */
static bool is_pipe_end(int fd) {
        struct stat st;

        return fstat(fd, &st) >= 0 && S_ISFIFO(st.st_mode) &&
               (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY;
}

/* No child of ours may hold a sleep up. */
START_TEST(test_lock_is_not_inherited) {
        bool was_there[256];
        unsigned n = 0;

        for (int fd = 0; fd < 256; fd++)
                was_there[fd] = is_pipe_end(fd);
        take();
        for (int fd = 0; fd < 256; fd++) {
                if (was_there[fd] || !is_pipe_end(fd))
                        continue;
                n++;
                ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        }
        ck_assert_uint_eq(n, 1);
}
END_TEST

START_TEST(test_dropped_before_the_answer_is_not_kept) {
        ck_assert_int_eq(inhibitor_take(lock, "VMs"), 0);
        inhibitor_drop(lock);
        ck_assert_int_eq(inhibitor_take(lock, "VMs"), 0);
        inhibitor_drop(lock);
        (void) fake_run_for(300 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_taken + seen.n_refused, 0);
        fake_call("WaitLocks", "u", 0);
}
END_TEST

/* While a sleep is under way logind gives no lock; it is told once and asked for until it is there. */
START_TEST(test_refused_lock_is_asked_for_again) {
        fake_call("Sleep", "t", 1500 * USEC_PER_MSEC);
        ck_assert_int_eq(inhibitor_take(lock, "VMs"), 0);
        fake_run_until(&seen.n_refused, 1);
        ck_assert_int_lt(seen.error, 0);
        ck_assert(!inhibitor_is_held(lock));
        ck_assert_int_eq(inhibitor_take(lock, "VMs"), -EALREADY);
        fake_run_until(&seen.n_taken, 1);
        ck_assert_uint_eq(seen.n_refused, 1);
        ck_assert_uint_eq(count_locks("delay"), 1);
        ck_assert_uint_eq(fake_run_for(700 * USEC_PER_MSEC), 0); /* nothing is asked any more */
}
END_TEST

static const struct {
        const char *name;
        int error;
} refusals[] = {
        { SD_BUS_ERROR_ACCESS_DENIED, -EACCES },
        { SD_BUS_ERROR_LIMITS_EXCEEDED, -ENOBUFS },
};

START_TEST(test_lock_refused_for_want_of_rights_or_room_is_asked_for_again) {
        fake_call("Refuse", "s", refusals[_i].name);
        ck_assert_int_eq(inhibitor_take(lock, "VMs"), 0);
        fake_run_until(&seen.n_refused, 1);
        ck_assert_int_eq(seen.error, refusals[_i].error);
        (void) fake_run_for(300 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_refused, 1);
        ck_assert(!inhibitor_is_held(lock));
        fake_call("Refuse", "s", "");
        fake_run_until(&seen.n_taken, 1);
        ck_assert_uint_eq(count_locks("delay"), 1);
}
END_TEST

static bool has_no_memory; /* for a copy of a text */

__typeof__(strdup) __real_strdup, __wrap_strdup;

char *__wrap_strdup(const char *s) {
        return has_no_memory ? NULL : __real_strdup(s);
}

START_TEST(test_lock_needs_no_memory_for_what_it_says) {
        char longest[2 * INHIBITOR_WHY_MAX];

        has_no_memory = true;
        take();
        ck_assert_int_eq(inhibitor_reword(lock, "other VMs"), 0);
        fake_run_until(&seen.n_taken, 2);
        has_no_memory = false;
        fake_call("WaitLocks", "u", 1);

        (void) memset(longest, 'x', sizeof(longest));
        longest[sizeof(longest) - 1] = '\0';
        ck_assert_int_eq(inhibitor_reword(lock, longest), 0);
        fake_run_until(&seen.n_taken, 3);
        ck_assert(inhibitor_is_held(lock));
}
END_TEST

#define PAUSES 10

static uint64_t pauses_usec[PAUSES]; /* before each try, none of which are waited for */
static unsigned n_pauses = PAUSES;

__typeof__(sd_event_source_set_time_relative) __real_sd_event_source_set_time_relative,
                __wrap_sd_event_source_set_time_relative;

int __wrap_sd_event_source_set_time_relative(sd_event_source *s, uint64_t usec) {
        if (n_pauses < PAUSES) {
                pauses_usec[n_pauses++] = usec;
                usec = 0;
        }
        return __real_sd_event_source_set_time_relative(s, usec);
}

START_TEST(test_refused_lock_is_asked_for_each_half_minute_at_least) {
        n_pauses = 0;
        fake_call("Refuse", "s", SD_BUS_ERROR_ACCESS_DENIED);
        ck_assert_int_eq(inhibitor_take(lock, "VMs"), 0);
        fake_run_until(&n_pauses, PAUSES);
        for (unsigned i = 0; i < PAUSES; i++)
                ck_assert_uint_eq(pauses_usec[i], MIN(250 * USEC_PER_MSEC << i, 30 * USEC_PER_SEC));
}
END_TEST

/* Whoever was refused for long must not be without a lock for long after the wake. */
START_TEST(test_refused_lock_is_there_soon_after_the_wake) {
        fake_call("Sleep", "t", UINT64_MAX);
        ck_assert_int_eq(inhibitor_take(lock, "VMs"), 0);
        fake_run_until(&seen.n_refused, 1);
        (void) fake_run_for(900 * USEC_PER_MSEC); /* the next try by itself is 850 ms away */
        fake_call("Wake", "");
        ck_assert_int_eq(inhibitor_take(lock, "VMs"), -EALREADY);
        (void) fake_run_for(300 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_taken, 1);
        ck_assert_uint_eq(count_locks("delay"), 1);
}
END_TEST

START_TEST(test_refused_lock_can_be_dropped) {
        fake_call("Sleep", "t", 1000 * USEC_PER_MSEC);
        ck_assert_int_eq(inhibitor_take(lock, "VMs"), 0);
        fake_run_until(&seen.n_refused, 1);
        inhibitor_drop(lock);
        (void) fake_run_for(1500 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_taken, 0);
        ck_assert_uint_eq(count_locks("delay"), 0);
}
END_TEST

/* A restarted logind has its locks again: a second one would delay each sleep to the limit. */
START_TEST(test_restarted_logind_keeps_the_lock) {
        take();
        fake_call("Drop", "b", true);
        (void) fake_run_for(100 * USEC_PER_MSEC);
        ck_assert(inhibitor_is_held(lock)); /* it is away only */
        fake_call("Retake", "");
        (void) fake_run_for(400 * USEC_PER_MSEC);
        ck_assert(inhibitor_is_held(lock));
        ck_assert_uint_eq(seen.n_taken, 1);
        ck_assert_uint_eq(count_locks("delay"), 1);
        ck_assert_uint_eq(fake_run_for(400 * USEC_PER_MSEC), 0);
}
END_TEST

START_TEST(test_forgetful_logind_is_asked_anew) {
        take();
        fake_call("Drop", "b", false);
        (void) fake_run_for(100 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_taken, 1);
        fake_call("Retake", "");
        fake_run_until(&seen.n_taken, 2);
        ck_assert(inhibitor_is_held(lock));
        ck_assert_uint_eq(count_locks("delay"), 1);
}
END_TEST

START_TEST(test_lock_is_taken_when_logind_comes) {
        fake_start_bus();
        make_lock("delay");
        ck_assert_int_eq(inhibitor_take(lock, "VMs"), 0);
        fake_run_until(&seen.n_refused, 1);
        fake_start_login1();
        fake_run_until(&seen.n_taken, 1);
        ck_assert_uint_eq(count_locks("delay"), 1);
        teardown();
}
END_TEST

/* Without a bus it says so; with one that dies under it, it does no harm. */
START_TEST(test_no_bus_is_told) {
        take();
        fake_kill(&fake.daemon);
        (void) fake_run_for(100 * USEC_PER_MSEC);
        ck_assert(inhibitor_is_held(lock)); /* the lock is a FIFO, not a bus object */
        inhibitor_drop(lock);
        ck_assert_int_eq(inhibitor_take(lock, "VMs"), -ENOTCONN);
}
END_TEST

int main(void) {
        TCase *c, *alone;
        Suite *suite;
        SRunner *runner;
        int n_failed;

        if (!fake_is_possible())
                return 77;

        c = tcase_create("inhibitor");
        alone = tcase_create("inhibitor-absent");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_set_timeout(c, 30);
        tcase_add_test(c, test_lock_is_taken_and_dropped);
        tcase_add_test(c, test_block_lock_is_one);
        tcase_add_test(c, test_reworded_lock_is_held_throughout);
        tcase_add_test(c, test_lock_is_not_inherited);
        tcase_add_test(c, test_dropped_before_the_answer_is_not_kept);
        tcase_add_test(c, test_lock_needs_no_memory_for_what_it_says);
        tcase_add_test(c, test_refused_lock_is_asked_for_again);
        tcase_add_loop_test(
                        c,
                        test_lock_refused_for_want_of_rights_or_room_is_asked_for_again,
                        0,
                        ARRAY_LEN(refusals));
        tcase_add_test(c, test_refused_lock_is_asked_for_each_half_minute_at_least);
        tcase_add_test(c, test_refused_lock_is_there_soon_after_the_wake);
        tcase_add_test(c, test_refused_lock_can_be_dropped);
        tcase_add_test(c, test_restarted_logind_keeps_the_lock);
        tcase_add_test(c, test_forgetful_logind_is_asked_anew);
        tcase_add_test(c, test_no_bus_is_told);
        tcase_set_timeout(alone, 30);
        tcase_add_test(alone, test_lock_is_taken_when_logind_comes);

        suite = suite_create("inhibitor");
        suite_add_tcase(suite, c);
        suite_add_tcase(suite, alone);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
