/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A test must not set the machine's clock nor put it to sleep, so the watch is built with a clock of
 * the test's own, and with a timer that is a pipe: what is written to it is the kernel's word.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "common/clock-sample.h"

static ClockSample fake_now;
static int fake_pipe[2];
static unsigned n_armed;

static inline void fake_sample(ClockSample *ret) {
        *ret = fake_now;
}

static inline int fake_timerfd_create(int clock, int flags) {
        int ok = clock == CLOCK_REALTIME && flags == (TFD_CLOEXEC | TFD_NONBLOCK);

        return ok && pipe2(fake_pipe, O_CLOEXEC | O_NONBLOCK) == 0 ? fake_pipe[0] : -1;
}

static inline int fake_timerfd_settime(
                int fd, int flags, const struct itimerspec *when, struct itimerspec *old) {
        (void) old;
        n_armed += fd == fake_pipe[0] && when->it_value.tv_sec > INT32_MAX &&
                   flags == (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET);
        return 0;
}

#define clock_sample_take fake_sample
#define timerfd_create fake_timerfd_create
#define timerfd_settime fake_timerfd_settime
#include "daemon/clock-watch.c" /* NOLINT(bugprone-suspicious-include) */
#undef clock_sample_take
#undef timerfd_create
#undef timerfd_settime

#include "scratch.h"

typedef struct Seen {
        unsigned n;
        int64_t slept_ns, stepped_ns;
} Seen;

static Seen seen;
static sd_event *event;
static ClockWatch *watch;

static void on_jump(void *userdata, int64_t slept_ns, int64_t stepped_ns) {
        Seen *s = userdata;

        s->n++;
        s->slept_ns = slept_ns;
        s->stepped_ns = stepped_ns;
}

static void setup(void) {
        scratch_make();
        seen = (Seen){ 0 };
        fake_now = (ClockSample){
                .monotonic_ns = 10 * NSEC_PER_SEC,
                .boottime_ns = 15 * NSEC_PER_SEC,
                .realtime_ns = 1000 * NSEC_PER_SEC,
        };
        ck_assert_int_eq(sd_event_new(&event), 0);
        ck_assert_int_eq(clock_watch_new(event, on_jump, &seen, &watch), 0);
        ck_assert_uint_eq(n_armed, 1);
}

static void teardown(void) {
        watch = clock_watch_free(watch);
        event = sd_event_unref(event);
        (void) close(fake_pipe[1]);
        scratch_remove();
}

/* Time goes on, the kernel cancels the timer, the loop runs. */
static void jump(int64_t awake_ns, int64_t slept_ns, int64_t stepped_ns) {
        uint64_t n = 1;

        fake_now.monotonic_ns += awake_ns;
        fake_now.boottime_ns += awake_ns + slept_ns;
        fake_now.realtime_ns += awake_ns + slept_ns + stepped_ns;
        ck_assert_int_eq(write(fake_pipe[1], &n, sizeof(n)), sizeof(n));
        ck_assert_int_gt(sd_event_run(event, 5 * USEC_PER_SEC), 0);
        ck_assert_int_eq(sd_event_run(event, 0), 0);
}

START_TEST(test_sleep_and_step_are_told_apart) {
        jump(NSEC_PER_SEC, 60 * NSEC_PER_SEC, 0);
        ck_assert_uint_eq(seen.n, 1);
        ck_assert_int_eq(seen.slept_ns, 60 * NSEC_PER_SEC);
        ck_assert_int_eq(seen.stepped_ns, 0);

        jump(NSEC_PER_SEC, 0, -3 * NSEC_PER_MSEC);
        ck_assert_uint_eq(seen.n, 2);
        ck_assert_int_eq(seen.slept_ns, 0);
        ck_assert_int_eq(seen.stepped_ns, -3 * NSEC_PER_MSEC);

        jump(NSEC_PER_SEC, 5 * NSEC_PER_SEC, 7 * NSEC_PER_SEC);
        ck_assert_uint_eq(seen.n, 3);
        ck_assert_int_eq(seen.slept_ns, 5 * NSEC_PER_SEC);
        ck_assert_int_eq(seen.stepped_ns, 7 * NSEC_PER_SEC);
        ck_assert_uint_eq(n_armed, 4); /* anew each time */
}
END_TEST

START_TEST(test_what_clocks_differ_by_anyway_is_nothing) {
        jump(NSEC_PER_SEC, 700, -900);
        ck_assert_uint_eq(seen.n, 0);
        jump(NSEC_PER_SEC, NSEC_PER_SEC, 900);
        ck_assert_uint_eq(seen.n, 1);
        ck_assert_int_eq(seen.stepped_ns, 0);
}
END_TEST

/* The kernel of this machine takes such a timer. */
START_TEST(test_real_timer_is_taken) {
        const struct itimerspec never = { .it_value.tv_sec = INT64_MAX / NSEC_PER_SEC };
        _cleanup_close_ int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(
                        timerfd_settime(fd,
                                        TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
                                        &never,
                                        NULL),
                        0);
}
END_TEST

START_TEST(test_stats_are_read) {
        SuspendStats s;

        scratch_write("success", "17\n");
        scratch_write("fail", "0\n");
        scratch_write("last_failed_step", "suspend_noirq\nsuspend\n");
        suspend_stats_read_from(scratch, &s);
        ck_assert_int_eq(s.success, 17);
        ck_assert_int_eq(s.fail, 0);
        ck_assert_str_eq(s.last_failed_step, "suspend_noirq");
}
END_TEST

START_TEST(test_odd_stats_are_unknown) {
        char longest[3000];
        SuspendStats s;

        suspend_stats_read_from(scratch_path("missing"), &s);
        ck_assert_int_eq(s.success, -1);
        ck_assert_int_eq(s.fail, -1);
        ck_assert_str_eq(s.last_failed_step, "");

        memset(longest, 'x', sizeof(longest));
        scratch_write("success", "-3\n");
        scratch_write("fail", "99999999999999999999999\n");
        scratch_write_bytes("last_failed_step", longest, sizeof(longest));
        suspend_stats_read_from(scratch, &s);
        ck_assert_int_eq(s.success, -1);
        ck_assert_int_eq(s.fail, -1);
        ck_assert_uint_eq(strlen(s.last_failed_step), sizeof(s.last_failed_step) - 1);

        scratch_write("success", "");
        scratch_write("fail", "5 apples\n");
        suspend_stats_read_from(scratch, &s);
        ck_assert_int_eq(s.success, -1);
        ck_assert_int_eq(s.fail, -1);
}
END_TEST

int main(void) {
        TCase *c = tcase_create("clock-watch");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, test_sleep_and_step_are_told_apart);
        tcase_add_test(c, test_what_clocks_differ_by_anyway_is_nothing);
        tcase_add_test(c, test_real_timer_is_taken);
        tcase_add_test(c, test_stats_are_read);
        tcase_add_test(c, test_odd_stats_are_unknown);
        return scratch_run(c, "clock-watch");
}
