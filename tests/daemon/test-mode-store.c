/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "common/time-util.h"
#include "daemon/mode-store.h"
#include "daemon/plugin.h"
#include "scratch.h"

static sd_event *event;
static ModeStore *store;
static uint64_t last_request;
static char last_mode[16];
static int plugin_result;
static bool answers_at_once;
static unsigned n_ended, n_stored, n_good;
static int last_result;
static char last_why[64];

static int store_mode(void *vm, uint64_t request, const char *mode);

static const struct suspendd_plugin api = { .name = "able", .store_mode = store_mode };
static const struct suspendd_plugin unable_api = { .name = "unable" };
static Plugin able = { .api = &api }, other = { .api = &api }, unable = { .api = &unable_api };
static Machine web, db, old;

static int store_mode(void *vm, uint64_t request, const char *mode) {
        ck_assert_ptr_eq(vm, &web);
        ck_assert_uint_gt(request, last_request); /* never used again */
        last_request = request;
        (void) snprintf(last_mode, sizeof(last_mode), "%s", mode ? mode : "-");
        if (answers_at_once)
                mode_store_answer(store, &able, request, 0, NULL);
        return plugin_result;
}

static void on_stored(void *userdata, Machine *m) {
        ck_assert_ptr_eq(userdata, &n_stored);
        ck_assert_ptr_eq(m->vm, &web);
        n_stored++;
}

static void on_end(void *userdata, const Machine *m, int result, const char *why) {
        ck_assert_ptr_eq(userdata, &n_ended);
        ck_assert_ptr_eq(m->vm, &web);
        if (result >= 0)
                ck_assert_uint_eq(n_stored, ++n_good); /* that comes first */
        n_ended++;
        last_result = result;
        (void) snprintf(last_why, sizeof(last_why), "%s", why ? why : "-");
}

static void make(uint64_t limit_usec) {
        ck_assert_int_ge(sd_event_new(&event), 0);
        ck_assert_int_eq(mode_store_new(event, limit_usec, on_stored, &n_stored, &store), 0);
        web = (Machine){ .plugin = &able, .vm = &web };
        db = (Machine){ .plugin = &able, .vm = &web };
        old = (Machine){ .plugin = &unable, .vm = &web };
        plugin_result = SUSPENDD_PENDING;
        answers_at_once = false;
        last_request = 0;
        n_ended = n_stored = n_good = 0;
}

static void setup(void) {
        make(30 * USEC_PER_SEC);
}

static void teardown(void) {
        store = mode_store_free(store);
        event = sd_event_unref(event);
}

static int begin(Machine *m, Mode mode) {
        return mode_store_begin(store, m, mode, on_end, &n_ended);
}

START_TEST(test_answer_ends_it_once) {
        ck_assert_int_eq(begin(&web, MODE_PAUSE), 0);
        ck_assert_str_eq(last_mode, "pause");
        ck_assert_uint_eq(n_ended, 0);
        mode_store_answer(store, &other, last_request, 0, NULL); /* it was not asked */
        mode_store_answer(store, &able, last_request + 1, 0, NULL);
        ck_assert_uint_eq(n_ended, 0);
        mode_store_answer(store, &able, last_request, 0, NULL);
        mode_store_answer(store, &able, last_request, -EIO, "twice");
        ck_assert_uint_eq(n_ended, 1);
        ck_assert_uint_eq(n_stored, 1);
        ck_assert_int_eq(last_result, 0);
}
END_TEST

START_TEST(test_no_mode_takes_it_out) {
        ck_assert_int_eq(begin(&web, MODE_INVALID), 0);
        ck_assert_str_eq(last_mode, "-");
}
END_TEST

START_TEST(test_refusal_says_why) {
        ck_assert_int_eq(begin(&web, MODE_PAUSE), 0);
        mode_store_answer(store, &able, last_request, -EACCES, "read-only connection");
        ck_assert_int_eq(last_result, -EACCES);
        ck_assert_str_eq(last_why, "read-only connection");
        ck_assert_uint_eq(n_stored, 0);
}
END_TEST

START_TEST(test_plugin_that_cannot_is_not_asked) {
        ck_assert_int_eq(begin(&old, MODE_PAUSE), -EOPNOTSUPP);
        plugin_result = -ENOTCONN;
        ck_assert_int_eq(begin(&web, MODE_PAUSE), -ENOTCONN);
        mode_store_answer(store, &able, last_request, 0, NULL);
        ck_assert_uint_eq(n_ended, 0);
}
END_TEST

START_TEST(test_answer_within_the_call_counts) {
        answers_at_once = true;
        ck_assert_int_eq(begin(&web, MODE_PAUSE), 0);
        ck_assert_uint_eq(n_ended, 1);
        plugin_result = -EIO;
        ck_assert_int_eq(begin(&web, MODE_PAUSE), 0);
        ck_assert_uint_eq(n_ended, 2);
}
END_TEST

START_TEST(test_number_has_a_limit) {
        for (int i = 0; i < MODE_STORE_MAX; i++)
                ck_assert_int_eq(begin(&web, MODE_PAUSE), 0);
        ck_assert_int_eq(begin(&web, MODE_PAUSE), -EBUSY);
        mode_store_answer(store, &able, last_request, 0, NULL);
        ck_assert_int_eq(begin(&web, MODE_PAUSE), 0);
}
END_TEST

START_TEST(test_machine_that_goes_ends_its_own) {
        ck_assert_int_eq(begin(&web, MODE_PAUSE), 0);
        ck_assert_int_eq(begin(&db, MODE_PAUSE), 0);
        ck_assert_int_eq(begin(&web, MODE_BLOCK), 0);
        mode_store_forget(store, &web);
        ck_assert_uint_eq(n_ended, 2);
        ck_assert_int_eq(last_result, -ENODEV);
        mode_store_answer(store, &able, last_request, 0, NULL);
        ck_assert_uint_eq(n_ended, 2);
}
END_TEST

START_TEST(test_end_of_the_store_ends_all) {
        ck_assert_int_eq(begin(&web, MODE_PAUSE), 0);
        ck_assert_int_eq(begin(&db, MODE_PAUSE), 0);
        store = mode_store_free(store);
        ck_assert_uint_eq(n_ended, 2);
        ck_assert_int_eq(last_result, -ECANCELED);
}
END_TEST

START_TEST(test_plugin_that_never_answers_has_its_time) {
        teardown();
        make(10 * USEC_PER_MSEC);
        ck_assert_int_eq(begin(&web, MODE_PAUSE), 0);
        while (n_ended == 0)
                ck_assert_int_gt(sd_event_run(event, 10 * USEC_PER_SEC), 0);
        ck_assert_int_eq(last_result, -ETIMEDOUT);
        mode_store_answer(store, &able, last_request, 0, NULL);
        ck_assert_uint_eq(n_ended, 1);
}
END_TEST

int main(void) {
        TCase *c = tcase_create("mode-store");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, test_answer_ends_it_once);
        tcase_add_test(c, test_no_mode_takes_it_out);
        tcase_add_test(c, test_refusal_says_why);
        tcase_add_test(c, test_plugin_that_cannot_is_not_asked);
        tcase_add_test(c, test_answer_within_the_call_counts);
        tcase_add_test(c, test_number_has_a_limit);
        tcase_add_test(c, test_machine_that_goes_ends_its_own);
        tcase_add_test(c, test_end_of_the_store_ends_all);
        tcase_add_test(c, test_plugin_that_never_answers_has_its_time);
        return scratch_run(c, "mode-store");
}
