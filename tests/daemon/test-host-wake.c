/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <unistd.h>
#include "common/clock-sample.h"
#include "common/time-util.h"
#include "daemon/host-wake.h"
#include "scratch.h"

typedef struct Seen {
        unsigned n_read, n_woke, n_early;
        unsigned n_read_before; /* what was read when it woke */
        int64_t woke_ns;
} Seen;

static Seen seen;
static sd_event *event;
static HostWake *wake;
static bool is_endless;

static void on_wake(void *userdata) {
        Seen *s = userdata;

        s->n_woke++;
        s->n_read_before = s->n_read;
        s->woke_ns = clock_now_ns(CLOCK_MONOTONIC);
}

static void on_early(void *userdata) {
        Seen *s = userdata;

        s->n_early++;
}

/* As a plugin reads, a piece at a time. */
static int on_read(sd_event_source *s, int fd, uint32_t events, void *userdata) {
        Seen *seen_here = userdata;
        char byte;

        (void) s;
        (void) events;
        if (!is_endless)
                ck_assert_int_eq(read(fd, &byte, 1), 1);
        seen_here->n_read++;
        return 0;
}

static int on_urgent(sd_event_source *s, void *userdata) {
        (void) s;
        (void) userdata;
        host_wake_soon(wake, on_wake);
        return 0;
}

static void setup(void) {
        seen = (Seen){ 0 };
        is_endless = false;
        ck_assert_int_ge(sd_event_new(&event), 0);
        ck_assert_int_eq(host_wake_new(event, SD_EVENT_PRIORITY_IMPORTANT, &seen, &wake), 0);
}

static void teardown(void) {
        wake = host_wake_free(wake);
        event = sd_event_unref(event);
}

static void run_until(const unsigned *n, unsigned wanted) {
        uint64_t limit = clock_now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;

        while (*n < wanted && clock_now_usec(CLOCK_MONOTONIC) < limit)
                ck_assert_int_ge(sd_event_run(event, USEC_PER_MSEC), 0);
        ck_assert_uint_eq(*n, wanted);
}

/* To see that nothing happens any more. */
static void run_for(uint64_t usec) {
        uint64_t end = clock_now_usec(CLOCK_MONOTONIC) + usec;

        while (clock_now_usec(CLOCK_MONOTONIC) < end)
                ck_assert_int_ge(sd_event_run(event, USEC_PER_MSEC), 0);
}

/* A pipe with @n bytes, read by the loop as a monitor is. */
static void have_read(size_t n, sd_event_source **ret) {
        static const char bytes[16] = "said meanwhile";
        int ends[2];

        ck_assert_int_eq(pipe(ends), 0);
        ck_assert_int_eq(write(ends[1], bytes, n), (ssize_t) n);
        ck_assert_int_ge(sd_event_add_io(event, ret, ends[0], EPOLLIN, on_read, &seen), 0);
        ck_assert_int_ge(sd_event_source_set_io_fd_own(*ret, true), 0);
        /* the other end goes with the process: a closed one would be readable for ever */
}

START_TEST(test_wake_comes_behind_what_is_there_to_be_read) {
        sd_event_source *urgent = NULL, *a = NULL, *b = NULL;

        have_read(9, &a);
        have_read(5, &b);
        ck_assert_int_ge(sd_event_add_defer(event, &urgent, on_urgent, NULL), 0);
        ck_assert_int_ge(sd_event_source_set_priority(urgent, SD_EVENT_PRIORITY_IMPORTANT), 0);
        run_until(&seen.n_woke, 1);
        ck_assert_uint_eq(seen.n_read_before, 14);
        run_for(150 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_woke, 1);
        sd_event_source_disable_unref(urgent);
        sd_event_source_disable_unref(a);
        sd_event_source_disable_unref(b);
}
END_TEST

START_TEST(test_time_without_a_cpu_is_no_time_to_read) {
        sd_event_source *said = NULL;

        have_read(9, &said);
        host_wake_soon(wake, on_wake);
        (void) usleep(120 * USEC_PER_MSEC);
        run_until(&seen.n_woke, 1);
        ck_assert_uint_eq(seen.n_read_before, 9);
        sd_event_source_disable_unref(said);
}
END_TEST

START_TEST(test_wake_does_not_wait_for_ever) {
        sd_event_source *flood = NULL;
        int64_t began_ns = clock_now_ns(CLOCK_MONOTONIC);

        is_endless = true;
        have_read(1, &flood);
        run_until(&seen.n_read, 1);
        host_wake_soon(wake, on_wake);
        run_until(&seen.n_woke, 1);
        ck_assert_int_ge(seen.woke_ns - began_ns, 100 * NSEC_PER_MSEC);
        sd_event_source_disable_unref(flood);
}
END_TEST

START_TEST(test_last_of_two_is_what_it_is) {
        ck_assert(!host_wake_is_due(wake));
        host_wake_soon(wake, on_early);
        host_wake_soon(wake, on_wake);
        ck_assert(host_wake_is_due(wake));
        run_until(&seen.n_woke, 1);
        ck_assert(!host_wake_is_due(wake));
        run_for(150 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_early, 0);
        ck_assert_uint_eq(seen.n_woke, 1);
}
END_TEST

START_TEST(test_what_comes_after_the_wake_does_not_overtake_it) {
        host_wake_now(wake);
        ck_assert_uint_eq(seen.n_woke, 0);
        host_wake_soon(wake, on_wake);
        host_wake_now(wake);
        ck_assert_uint_eq(seen.n_woke, 1);
        run_for(150 * USEC_PER_MSEC);
        ck_assert_uint_eq(seen.n_woke, 1);
        host_wake_soon(wake, on_wake);
        run_until(&seen.n_woke, 2);
}
END_TEST

int main(void) {
        TCase *c = tcase_create("host-wake");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_set_timeout(c, 30);
        tcase_add_test(c, test_wake_comes_behind_what_is_there_to_be_read);
        tcase_add_test(c, test_time_without_a_cpu_is_no_time_to_read);
        tcase_add_test(c, test_wake_does_not_wait_for_ever);
        tcase_add_test(c, test_last_of_two_is_what_it_is);
        tcase_add_test(c, test_what_comes_after_the_wake_does_not_overtake_it);
        return scratch_run(c, "host-wake");
}
