/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include "fake-host.h"
#include "plugins/libvirt/event-loop.h"
#include "plugins/libvirt/mailbox.h"

#define THREADS 8
#define LETTERS 500 /* by each thread */

typedef struct Parcel {
        Letter letter;
        unsigned thread, number;
} Parcel;

static FakeHost fake;
static Mailbox *mailbox;
static pthread_t loop_thread;
static atomic_uint n_delivered, n_dropped, n_posted;
static unsigned last_number[THREADS];

static void deliver(Letter *l) {
        Parcel *p = LIST_ENTRY(l, Parcel, letter);

        ck_assert(pthread_equal(pthread_self(), loop_thread));
        ck_assert_uint_gt(p->number, last_number[p->thread]);
        last_number[p->thread] = p->number;
        atomic_fetch_add(&n_delivered, 1);
        free(p);
}

static void drop(Letter *l) {
        atomic_fetch_add(&n_dropped, 1);
        free(LIST_ENTRY(l, Parcel, letter));
}

static void post(unsigned thread, unsigned number) {
        Parcel *p = malloc(sizeof(*p));

        *p = (Parcel){ .letter = { .deliver = deliver, .drop = drop },
                       .thread = thread,
                       .number = number };
        list_init(&p->letter.letters);
        mailbox_post(mailbox, &p->letter);
        atomic_fetch_add(&n_posted, 1);
}

static void set_up(void) {
        fake_host_init(&fake);
        loop_thread = pthread_self();
        n_delivered = n_dropped = n_posted = 0;
        (void) memset(last_number, 0, sizeof(last_number));
        ck_assert_int_eq(mailbox_new(fake.host.event, &mailbox), 0);
}

static void tear_down(void) {
        fake_host_done(&fake);
}

static void close_mailbox(void) {
        mailbox_close(mailbox);
        ck_assert_ptr_null(mailbox_unref(mailbox));
}

/* from many threads */

static void *post_all(void *userdata) {
        unsigned thread = (unsigned) (uintptr_t) userdata;

        for (unsigned i = 1; i <= LETTERS; i++)
                post(thread, i);
        (void) mailbox_unref(mailbox);
        return NULL;
}

static void start_all(pthread_t threads[THREADS]) {
        for (uintptr_t i = 0; i < THREADS; i++) {
                (void) mailbox_ref(mailbox);
                ck_assert_int_eq(pthread_create(&threads[i], NULL, post_all, (void *) i), 0);
        }
}

static void join_all(pthread_t threads[THREADS]) {
        for (size_t i = 0; i < THREADS; i++)
                ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

/* Each thread's in the order in which they were posted. */
START_TEST(test_letters_of_many_threads_all_come_on_the_loop) {
        pthread_t threads[THREADS];

        start_all(threads);
        FAKE_HOST_WAIT(&fake, n_delivered == THREADS * LETTERS);
        join_all(threads);
        ck_assert_uint_eq(n_dropped, 0);
        close_mailbox();
}
END_TEST

START_TEST(test_letters_under_way_are_dropped_once_it_is_closed) {
        pthread_t threads[THREADS];
        unsigned n_before;

        start_all(threads);
        FAKE_HOST_WAIT(&fake, n_delivered > 0);
        n_before = n_delivered;
        close_mailbox(); /* the threads have the last references */
        join_all(threads);
        ck_assert_uint_eq(n_delivered, n_before);
        ck_assert_uint_eq(n_delivered + n_dropped, THREADS * LETTERS);
        ck_assert_int_eq(sd_event_run(fake.host.event, 0), 0);
}
END_TEST

START_TEST(test_what_waits_is_dropped_by_the_closing) {
        post(0, 1);
        post(0, 2);
        mailbox_close(mailbox);
        ck_assert_uint_eq(n_dropped, 2);
        post(0, 3);
        ck_assert_uint_eq(n_dropped, 3);
        ck_assert_uint_eq(n_delivered, 0);
        (void) mailbox_unref(mailbox);
}
END_TEST

/* in a delivery */

static void deliver_and_close(Letter *l) {
        deliver(l);
        close_mailbox();
}

static void post_with(void (*fn)(Letter *l), unsigned number) {
        Parcel *p = malloc(sizeof(*p));

        *p = (Parcel){ .letter = { .deliver = fn, .drop = drop }, .number = number };
        list_init(&p->letter.letters);
        mailbox_post(mailbox, &p->letter);
}

START_TEST(test_it_may_be_closed_by_what_it_delivers) {
        post(0, 1);
        post_with(deliver_and_close, 2);
        post(0, 3);
        FAKE_HOST_WAIT(&fake, n_delivered == 2);
        ck_assert_uint_eq(n_dropped, 1);
        ck_assert_int_eq(sd_event_run(fake.host.event, 0), 0);
}
END_TEST

static void deliver_and_post(Letter *l) {
        deliver(l);
        post(0, 9);
}

START_TEST(test_what_a_delivery_posts_is_delivered_too) {
        post_with(deliver_and_post, 1);
        FAKE_HOST_WAIT(&fake, n_delivered == 2);
        close_mailbox();
}
END_TEST

/* One that is posted when nothing else is to be done rings: the loop sleeps meanwhile. */
static sem_t go;

static void *post_when_told(void *userdata) {
        (void) sem_wait(&go);
        post(0, 1);
        return userdata;
}

START_TEST(test_a_letter_wakes_the_loop) {
        pthread_t thread;

        ck_assert_int_eq(sem_init(&go, 0, 0), 0);
        ck_assert_int_eq(pthread_create(&thread, NULL, post_when_told, NULL), 0);
        ck_assert_int_eq(sd_event_run(fake.host.event, 0), 0);
        (void) sem_post(&go);
        ck_assert_int_gt(sd_event_run(fake.host.event, 10000000), 0);
        ck_assert_uint_eq(n_delivered, 1);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        close_mailbox();
}
END_TEST

int main(void) {
        Suite *suite = suite_create("libvirt-mailbox");
        TCase *c = tcase_create("mailbox");
        SRunner *runner;
        int n_failed;

        tcase_add_checked_fixture(c, set_up, tear_down);
        tcase_set_timeout(c, 30);
        tcase_add_test(c, test_letters_of_many_threads_all_come_on_the_loop);
        tcase_add_test(c, test_letters_under_way_are_dropped_once_it_is_closed);
        tcase_add_test(c, test_what_waits_is_dropped_by_the_closing);
        tcase_add_test(c, test_it_may_be_closed_by_what_it_delivers);
        tcase_add_test(c, test_what_a_delivery_posts_is_delivered_too);
        tcase_add_test(c, test_a_letter_wakes_the_loop);
        suite_add_tcase(suite, c);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
