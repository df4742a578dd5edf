/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The pool on libvirt's test driver, whose connections are real. It takes them for a server's, for the
 * test driver's own name would have it use one connection for all; and opening and closing are counted.
 */

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include "common/time-util.h"
#include "fake-host.h"
#include "plugins/libvirt/event-loop.h"
#include "plugins/libvirt/pool.h"

#define LOOK_LINKS 3 /* connections, with one call each at a time */
#define VCPU_LINKS 20
#define AGENT_LINKS 15
#define PREPARED 10 /* of them before they are needed */
#define CONNS_MAX 64
#define ORDER_MAX 32

typedef struct TestCall {
        Call call;
        void (*body)(struct TestCall *c, virConnectPtr conn);
        unsigned number;
        bool blocks; /* until the test says so */
} TestCall;

static FakeHost fake;
static Mailbox *mailbox;
static Pool *pool;
static pthread_t loop_thread;
static const char *driver = "QEMU";

static sem_t go, may_open, may_tell_type;
static atomic_bool is_open_blocked, is_type_blocked;
static atomic_uint n_asked_type, n_opening, n_opened, n_closed, n_begun, n_run, n_done, n_freed,
                n_released;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
        virConnectPtr conn;
        unsigned n, n_max;
} conns[CONNS_MAX]; /* under the lock, as the next */
static unsigned order[ORDER_MAX], n_order;
static int last_error; /* as done() saw it */
static char last_why[160];

/* between the pool and libvirt */

virConnectPtr __real_virConnectOpen(const char *uri);
virConnectPtr __wrap_virConnectOpen(const char *uri);
int __real_virConnectClose(virConnectPtr conn);
int __wrap_virConnectClose(virConnectPtr conn);
const char *__wrap_virConnectGetType(virConnectPtr conn);
int __real_virConnectListAllDomains(virConnectPtr conn, virDomainPtr **ret, unsigned flags);
int __wrap_virConnectListAllDomains(virConnectPtr conn, virDomainPtr **ret, unsigned flags);
virDomainPtr __real_virDomainLookupByUUID(virConnectPtr conn, const unsigned char *uuid);
virDomainPtr __wrap_virDomainLookupByUUID(virConnectPtr conn, const unsigned char *uuid);

virConnectPtr __wrap_virConnectOpen(const char *uri) {
        virConnectPtr conn;

        atomic_fetch_add(&n_opening, 1);
        if (is_open_blocked)
                (void) sem_wait(&may_open);
        conn = __real_virConnectOpen(uri);
        atomic_fetch_add(&n_opened, conn != NULL);
        atomic_fetch_sub(&n_opening, 1);
        return conn;
}

int __wrap_virConnectClose(virConnectPtr conn) {
        atomic_fetch_add(&n_closed, 1);
        return __real_virConnectClose(conn);
}

const char *__wrap_virConnectGetType(virConnectPtr conn) {
        bool is_blocked = is_type_blocked;

        (void) conn;
        atomic_fetch_add(&n_asked_type, 1);
        if (is_blocked)
                (void) sem_wait(&may_tell_type);
        return driver;
}

static atomic_uint n_listed, n_looked_up;

int __wrap_virConnectListAllDomains(virConnectPtr conn, virDomainPtr **ret, unsigned flags) {
        int n = __real_virConnectListAllDomains(conn, ret, flags);

        atomic_fetch_add(&n_listed, 1);
        return n;
}

virDomainPtr __wrap_virDomainLookupByUUID(virConnectPtr conn, const unsigned char *uuid) {
        atomic_fetch_add(&n_looked_up, 1);
        return __real_virDomainLookupByUUID(conn, uuid);
}

static atomic_int n_subscribed;

static void *on_open(virConnectPtr conn, void *userdata) {
        ck_assert_ptr_nonnull(conn);
        ck_assert_ptr_eq(userdata, &fake);
        atomic_fetch_add(&n_subscribed, 1);
        return conn;
}

static void on_close(virConnectPtr conn, void *opened) {
        ck_assert_ptr_eq(opened, conn);
        atomic_fetch_sub(&n_subscribed, 1);
}

static void *on_open_refuse(virConnectPtr conn, void *userdata) {
        (void) conn;
        (void) userdata;
        return NULL;
}

static void release(void *userdata) {
        ck_assert_ptr_eq(userdata, &fake);
        atomic_fetch_add(&n_released, 1);
}

static const PoolOps pool_ops = { .on_open = on_open, .on_close = on_close, .release = release };
static const PoolOps refusing_ops = { .on_open = on_open_refuse, .release = release };

/* calls */

static void count_on(virConnectPtr conn, int by) {
        (void) pthread_mutex_lock(&lock);
        for (size_t i = 0; i < CONNS_MAX; i++)
                if (!conns[i].conn || conns[i].conn == conn) {
                        conns[i].conn = conn;
                        conns[i].n += by;
                        conns[i].n_max = MAX(conns[i].n_max, conns[i].n);
                        break;
                }
        (void) pthread_mutex_unlock(&lock);
}

static void test_call_run(Call *call, virConnectPtr conn) {
        TestCall *c = LIST_ENTRY(call, TestCall, call);

        ck_assert(!pthread_equal(pthread_self(), loop_thread));
        (void) pthread_mutex_lock(&lock);
        if (n_order < ORDER_MAX)
                order[n_order++] = c->number;
        (void) pthread_mutex_unlock(&lock);
        if (conn)
                count_on(conn, 1);
        atomic_fetch_add(&n_begun, 1);
        if (c->blocks)
                (void) sem_wait(&go);
        if (c->body)
                c->body(c, conn);
        if (conn)
                count_on(conn, -1);
        atomic_fetch_add(&n_run, 1);
}

static void test_call_done(Call *call) {
        ck_assert(pthread_equal(pthread_self(), loop_thread));
        last_error = call->error;
        (void) memcpy(last_why, call->why, sizeof(last_why));
        atomic_fetch_add(&n_done, 1);
}

static void test_call_free(Call *call) {
        free(LIST_ENTRY(call, TestCall, call));
        atomic_fetch_add(&n_freed, 1);
}

static const CallOps call_ops = { .run = test_call_run,
                                  .done = test_call_done,
                                  .free = test_call_free };

static TestCall *call_new(CallKind kind, bool blocks) {
        TestCall *c = calloc(1, sizeof(*c));

        ck_assert_ptr_nonnull(c);
        call_init(&c->call, &call_ops, kind);
        c->blocks = blocks;
        return c;
}

static Call *submit(TestCall *c) {
        ck_assert_int_eq(pool_submit(pool, &c->call), 0);
        return &c->call;
}

static void submit_many(CallKind kind, unsigned n, bool blocks) {
        for (unsigned i = 0; i < n; i++)
                (void) submit(call_new(kind, blocks));
}

static void let_go(unsigned n) {
        for (unsigned i = 0; i < n; i++)
                (void) sem_post(&go);
}

static unsigned n_threads(void) {
        DIR *d = opendir("/proc/self/task");
        unsigned n = 0;

        ck_assert_ptr_nonnull(d);
        while (readdir(d))
                n++;
        (void) closedir(d);
        return n - 2;
}

/* The most calls that any connection had at a time, and how many connections had any. */
static unsigned busiest(unsigned *ret_n_conns) {
        unsigned n_max = 0;

        *ret_n_conns = 0;
        (void) pthread_mutex_lock(&lock);
        for (size_t i = 0; i < CONNS_MAX && conns[i].conn; i++) {
                n_max = MAX(n_max, conns[i].n_max);
                ++*ret_n_conns;
        }
        (void) pthread_mutex_unlock(&lock);
        return n_max;
}

/* set up */

static unsigned n_threads_before;

static void pool_open_at(const char *uri, const PoolOps *ops) {
        ck_assert_int_eq(pool_new(uri, mailbox, ops, &fake, &pool), 0);
}

static void set_up(void) {
        fake_host_init(&fake);
        loop_thread = pthread_self();
        ck_assert_int_eq(sem_init(&go, 0, 0), 0);
        ck_assert_int_eq(sem_init(&may_open, 0, 0), 0);
        ck_assert_int_eq(sem_init(&may_tell_type, 0, 0), 0);
        ck_assert_int_eq(event_loop_start(), 0);
        n_threads_before = n_threads();
        ck_assert_int_eq(mailbox_new(fake.host.event, &mailbox), 0);
        pool_open_at("test:///default", &pool_ops);
}

/* All is given back, whatever the test was: memory, connections, threads. */
static void tear_down(void) {
        pool_free(pool);
        FAKE_HOST_WAIT(&fake, n_released == 1);
        FAKE_HOST_WAIT(&fake, n_threads() == n_threads_before);
        ck_assert_uint_eq(n_closed, n_opened);
        ck_assert_int_eq(n_subscribed, 0);
        mailbox_close(mailbox);
        (void) mailbox_unref(mailbox);
        fake_host_done(&fake);
}

/* how calls come and go */

START_TEST(test_calls_run_on_threads_and_come_back_on_the_loop) {
        for (int kind = 0; kind < CALL_KIND_MAX; kind++)
                submit_many((CallKind) kind, 50, false);
        FAKE_HOST_WAIT(&fake, n_done == CALL_KIND_MAX * 50);
        ck_assert_uint_eq(n_run, n_done);
        ck_assert_uint_eq(n_freed, n_done);
        ck_assert_int_eq(last_error, 0);
        ck_assert(pool_is_alive(pool));
        FAKE_HOST_WAIT(&fake, n_threads() == n_threads_before);
}
END_TEST

/* All on the one connection, for each other one would be another world. */
START_TEST(test_the_test_driver_has_one_connection) {
        unsigned n_conns;

        driver = "TEST";
        (void) submit(call_new(CALL_LOOK, false));
        FAKE_HOST_WAIT(&fake, n_done == 1);
        submit_many(CALL_VCPU, 30, false);
        submit_many(CALL_AGENT, 30, false);
        pool_prepare(pool, CALL_VCPU, 1000);
        FAKE_HOST_WAIT(&fake, n_done == 61);
        FAKE_HOST_WAIT(&fake, n_threads() == n_threads_before);
        (void) busiest(&n_conns);
        ck_assert_uint_eq(n_conns, 1);
        ck_assert_uint_eq(n_opened, 1);
}
END_TEST

START_TEST(test_a_connection_has_one_call_at_most) {
        unsigned n_conns;

        submit_many(CALL_VCPU, 2 * VCPU_LINKS, true);
        FAKE_HOST_WAIT(&fake, n_begun == VCPU_LINKS);
        ck_assert_uint_eq(busiest(&n_conns), 1);
        ck_assert_uint_eq(n_conns, VCPU_LINKS);
        let_go(2 * VCPU_LINKS);
        FAKE_HOST_WAIT(&fake, n_done == 2 * VCPU_LINKS);
        ck_assert_uint_eq(busiest(&n_conns), 1);
        ck_assert_uint_eq(n_opened, VCPU_LINKS);
}
END_TEST

START_TEST(test_hung_agents_are_in_nobodys_way) {
        submit_many(CALL_AGENT, 40, true);
        FAKE_HOST_WAIT(&fake, n_begun == AGENT_LINKS);
        submit_many(CALL_VCPU, 10, false);
        submit_many(CALL_LOOK, 10, false);
        FAKE_HOST_WAIT(&fake, n_done == 20);
        ck_assert_uint_eq(n_begun, AGENT_LINKS + 20);
        let_go(40);
        FAKE_HOST_WAIT(&fake, n_done == 60);
}
END_TEST

START_TEST(test_a_server_that_carries_out_more_is_given_more) {
        pool_allow(pool, CALL_AGENT, 30);
        submit_many(CALL_AGENT, 40, true);
        FAKE_HOST_WAIT(&fake, n_begun == 30);
        pool_allow(pool, CALL_AGENT, 40); /* those that wait as well */
        FAKE_HOST_WAIT(&fake, n_begun == 40);
        let_go(40);
        FAKE_HOST_WAIT(&fake, n_done == 40);
}
END_TEST

START_TEST(test_what_any_server_carries_out_is_the_least) {
        pool_allow(pool, CALL_AGENT, _i == 0 ? 1 : 40);
        if (_i == 1)
                pool_hang_up(pool); /* the next one may be another */
        submit_many(CALL_AGENT, 20, true);
        FAKE_HOST_WAIT(&fake, n_begun == AGENT_LINKS);
        submit_many(CALL_VCPU, 10, false);
        FAKE_HOST_WAIT(&fake, n_done == 10);
        ck_assert_uint_eq(n_begun, AGENT_LINKS + 10);
        let_go(20);
        FAKE_HOST_WAIT(&fake, n_done == 30);
}
END_TEST

static void submit_numbered(unsigned number, bool is_last) {
        TestCall *c = call_new(CALL_LOOK, false);

        c->number = number;
        c->call.is_last = is_last;
        (void) submit(c);
}

START_TEST(test_those_that_did_not_answer_before_go_last) {
        static const struct {
                unsigned number;
                bool is_last;
        } calls[] = { { 11, true }, { 1, false }, { 12, true },
                      { 2, false }, { 3, false }, { 13, true } };
        static const unsigned expected[] = { 0, 0, 0, 1, 2, 3, 11, 12, 13 };

        submit_many(CALL_LOOK, LOOK_LINKS, true);
        FAKE_HOST_WAIT(&fake, n_begun == LOOK_LINKS);
        for (size_t i = 0; i < ARRAY_LEN(calls); i++)
                submit_numbered(calls[i].number, calls[i].is_last);
        let_go(1); /* so that one worker carries them out */
        FAKE_HOST_WAIT(&fake, n_done == 1 + ARRAY_LEN(calls));
        ck_assert_int_eq(memcmp(order, expected, sizeof(expected)), 0);
        let_go(LOOK_LINKS - 1);
        FAKE_HOST_WAIT(&fake, n_done == LOOK_LINKS + ARRAY_LEN(calls));
}
END_TEST

/* giving up */

START_TEST(test_a_call_given_up_is_an_orphan_until_it_returns) {
        Call *a = submit(call_new(CALL_VCPU, true)), *b = submit(call_new(CALL_AGENT, true));

        FAKE_HOST_WAIT(&fake, n_begun == 2);
        ck_assert_uint_eq(pool_n_orphans(pool), 0);
        call_give_up(a);
        ck_assert_uint_eq(pool_n_orphans(pool), 1);
        call_give_up(a);
        ck_assert_uint_eq(pool_n_orphans(pool), 1);
        call_give_up(b);
        ck_assert_uint_eq(pool_n_orphans(pool), 2);
        let_go(1);
        FAKE_HOST_WAIT(&fake, n_done == 1);
        ck_assert_uint_eq(pool_n_orphans(pool), 1);
        let_go(1);
        FAKE_HOST_WAIT(&fake, n_done == 2);
        ck_assert_uint_eq(pool_n_orphans(pool), 0);
        ck_assert_int_eq(last_error, 0);
}
END_TEST

START_TEST(test_a_call_given_up_before_it_begins_is_not_made) {
        submit_many(CALL_LOOK, LOOK_LINKS, true);
        FAKE_HOST_WAIT(&fake, n_begun == LOOK_LINKS);
        call_give_up(submit(call_new(CALL_LOOK, false)));
        ck_assert_uint_eq(pool_n_orphans(pool), 0);
        let_go(1);
        FAKE_HOST_WAIT(&fake, n_done == 2);
        ck_assert_int_eq(last_error, -ECANCELED);
        ck_assert_uint_eq(n_begun, LOOK_LINKS);
        ck_assert_uint_eq(pool_n_orphans(pool), 0);
        let_go(LOOK_LINKS - 1);
        FAKE_HOST_WAIT(&fake, n_done == LOOK_LINKS + 1);
}
END_TEST

/* the end */

static void end_with_calls(void) {
        submit_many(CALL_LOOK, LOOK_LINKS + 3, true);
        submit_many(CALL_VCPU, 2, true);
        FAKE_HOST_WAIT(&fake, n_begun == LOOK_LINKS + 2);
        pool = pool_free(pool);
        ck_assert_uint_eq(n_freed, 3);
        ck_assert_uint_eq(n_released, 0);
}

START_TEST(test_a_pool_that_ends_frees_what_waits_and_outlives_the_rest) {
        end_with_calls();
        let_go(LOOK_LINKS + 2);
        FAKE_HOST_WAIT(&fake, n_freed == LOOK_LINKS + 2 + 3);
        ck_assert_uint_eq(n_done, 0);
}
END_TEST

START_TEST(test_calls_that_return_to_a_closed_mailbox_are_freed) {
        end_with_calls();
        mailbox_close(mailbox);
        let_go(LOOK_LINKS + 2);
        FAKE_HOST_WAIT(&fake, n_freed == LOOK_LINKS + 2 + 3);
        ck_assert_uint_eq(n_done, 0);
}
END_TEST

/* As if the loop had not come round to it when the pool ended. */
START_TEST(test_a_call_that_has_come_back_to_a_pool_that_ended_is_only_freed) {
        (void) submit(call_new(CALL_LOOK, false));
        while (n_run == 0 || n_threads() > n_threads_before)
                (void) sched_yield();
        pool = pool_free(pool);
        FAKE_HOST_WAIT(&fake, n_freed == 1);
        ck_assert_uint_eq(n_done, 0);
}
END_TEST

/* connections */

static const char *const bad_uris[] = { "test:///no/such/file.xml",
                                        "no-such-driver:///system",
                                        "%" };

static void expect_reset(TestCall *c, virConnectPtr conn) {
        ck_assert_ptr_null(conn);
        ck_assert_int_eq(c->call.error, -ECONNRESET);
}

START_TEST(test_a_uri_that_cannot_be_opened_is_told_in_words) {
        TestCall *c = call_new(CALL_VCPU, false);

        pool_free(pool);
        FAKE_HOST_WAIT(&fake, n_released == 1);
        n_released = 0;
        pool_open_at(bad_uris[_i], &pool_ops);
        c->body = expect_reset;
        (void) submit(c);
        FAKE_HOST_WAIT(&fake, n_done == 1);
        ck_assert_int_eq(last_error, -ECONNRESET);
        ck_assert_str_ne(last_why, "");
        ck_assert_str_ne(last_why, "unknown error");
        ck_assert(!pool_is_alive(pool));
        /* Each call tries anew. */
        submit_many(CALL_VCPU, 20, false);
        FAKE_HOST_WAIT(&fake, n_done == 21);
        ck_assert_int_eq(last_error, -ECONNRESET);
        ck_assert_uint_eq(n_opened, 0);
}
END_TEST

START_TEST(test_libvirt_prints_nothing) {
        _cleanup_close_ int told = memfd_create("stderr", MFD_CLOEXEC);
        int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

        pool_free(pool);
        FAKE_HOST_WAIT(&fake, n_released == 1);
        n_released = 0;
        ck_assert(told >= 0 && saved >= 0 && dup2(told, STDERR_FILENO) >= 0);
        pool_open_at("no-such-driver:///system", &pool_ops);
        (void) submit(call_new(CALL_LOOK, false));
        FAKE_HOST_WAIT(&fake, n_done == 1);
        ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
        ck_assert_int_eq(close(saved), 0);
        ck_assert_str_ne(last_why, "");
        ck_assert_int_eq(lseek(told, 0, SEEK_END), 0);
}
END_TEST

START_TEST(test_a_connection_without_events_is_no_use) {
        pool_free(pool);
        FAKE_HOST_WAIT(&fake, n_released == 1);
        n_released = 0;
        pool_open_at("test:///default", &refusing_ops);
        (void) submit(call_new(CALL_LOOK, false));
        FAKE_HOST_WAIT(&fake, n_done == 1);
        ck_assert_int_eq(last_error, -ECONNRESET);
        ck_assert_str_ne(last_why, "");
        ck_assert(!pool_is_alive(pool));
        /* The others bring none. */
        (void) submit(call_new(CALL_VCPU, false));
        FAKE_HOST_WAIT(&fake, n_done == 2);
        ck_assert_int_eq(last_error, 0);
}
END_TEST

START_TEST(test_after_hanging_up_all_is_opened_anew) {
        unsigned epoch = pool_epoch(pool), n_before;
        Call *c;

        (void) submit(call_new(CALL_LOOK, true));
        (void) submit(call_new(CALL_VCPU, false));
        FAKE_HOST_WAIT(&fake, n_done == 1);
        c = submit(call_new(CALL_VCPU, true));
        FAKE_HOST_WAIT(&fake, n_begun == 3);
        ck_assert(pool_is_alive(pool));
        ck_assert_uint_eq(c->epoch, epoch);
        n_before = n_opened;

        pool_hang_up(pool);
        ck_assert_uint_eq(pool_epoch(pool), epoch + 1);
        ck_assert(!pool_is_alive(pool));
        ck_assert_uint_eq(n_closed, 0); /* both are busy */
        c = submit(call_new(CALL_LOOK, true));
        FAKE_HOST_WAIT(&fake, n_begun == 4);
        ck_assert_uint_eq(c->epoch, epoch + 1);
        ck_assert_uint_eq(n_opened, n_before + 1);
        ck_assert(pool_is_alive(pool));

        let_go(3);
        FAKE_HOST_WAIT(&fake, n_done == 4);
        FAKE_HOST_WAIT(&fake, n_closed == n_before);
        ck_assert(pool_is_alive(pool));
        pool_hang_up(pool); /* what nobody uses is closed on a thread at once */
        FAKE_HOST_WAIT(&fake, n_closed == n_opened);
}
END_TEST

/* Its type is asked of the server as well: a loop that waits for it does not come to the end of this. */
START_TEST(test_a_server_that_falls_silent_when_connected_to_holds_up_no_loop) {
        is_type_blocked = true;
        (void) submit(call_new(CALL_LOOK, false));
        FAKE_HOST_WAIT(&fake, n_asked_type == 1);
        ck_assert(!pool_is_alive(pool));
        is_type_blocked = false;
        (void) submit(call_new(CALL_VCPU, false));
        FAKE_HOST_WAIT(&fake, n_done == 1);
        pool_prepare(pool, CALL_AGENT, 1);
        pool_hang_up(pool);
        (void) sem_post(&may_tell_type);
        FAKE_HOST_WAIT(&fake, n_done == 2);
        ck_assert_int_eq(last_error, 0);
}
END_TEST

/* Where there is one connection for all, the others wait for it. */
static void block_the_only_connection(void) {
        driver = "TEST";
        (void) submit(call_new(CALL_LOOK, false));
        FAKE_HOST_WAIT(&fake, n_done == 1);
        pool_hang_up(pool);
        FAKE_HOST_WAIT(&fake, n_closed == 1);
        is_open_blocked = true;
}

START_TEST(test_hanging_up_lets_nobody_wait_for_what_was_being_opened) {
        block_the_only_connection();
        submit_many(CALL_LOOK, 3, false);
        FAKE_HOST_WAIT(&fake, n_opening == 1);
        is_open_blocked = false;
        pool_hang_up(pool);
        FAKE_HOST_WAIT(&fake, n_done == 1 + 2);
        ck_assert_int_eq(last_error, 0);
        (void) sem_post(&may_open);
        FAKE_HOST_WAIT(&fake, n_done == 1 + 3);
        FAKE_HOST_WAIT(&fake, n_closed == 2);
}
END_TEST

START_TEST(test_an_end_lets_nobody_wait_for_what_is_being_opened) {
        block_the_only_connection();
        submit_many(CALL_LOOK, 3, false);
        FAKE_HOST_WAIT(&fake, n_opening == 1);
        pool = pool_free(pool);
        FAKE_HOST_WAIT(&fake, n_freed == 1 + 2);
        (void) sem_post(&may_open);
        FAKE_HOST_WAIT(&fake, n_freed == 1 + 3);
}
END_TEST

START_TEST(test_connections_are_opened_before_they_are_needed) {
        pool_prepare(pool, CALL_VCPU, 0);
        ck_assert_uint_eq(n_opening + n_opened, 0);
        pool_prepare(pool, CALL_VCPU, 3);
        FAKE_HOST_WAIT(&fake, n_opened == 3);
        pool_prepare(pool, CALL_VCPU, 1000);
        FAKE_HOST_WAIT(&fake, n_opened == PREPARED && n_threads() == n_threads_before);
        pool_prepare(pool, CALL_VCPU, 2000);
        submit_many(CALL_VCPU, PREPARED, true);
        FAKE_HOST_WAIT(&fake, n_begun == PREPARED);
        ck_assert_uint_eq(n_opened, PREPARED);
        submit_many(CALL_VCPU, 50, false);
        let_go(PREPARED);
        FAKE_HOST_WAIT(&fake, n_done == PREPARED + 50);
        ck_assert_uint_le(n_opened, VCPU_LINKS);
}
END_TEST

static void find_test(TestCall *c, virConnectPtr conn) {
        unsigned char uuid[VIR_UUID_BUFLEN];
        virDomainPtr dom = virDomainLookupByName(conn, "test");

        ck_assert_int_eq(virDomainGetUUID(dom, uuid), 0);
        (void) virDomainFree(dom);
        ck_assert_ptr_nonnull(call_domain(&c->call, uuid));
}

static void submit_find(CallKind kind) {
        TestCall *c = call_new(kind, false);

        c->body = find_test;
        (void) submit(c);
}

START_TEST(test_prepared_connections_know_the_domains) {
        n_listed = n_looked_up = 0;
        pool_prepare(pool, CALL_VCPU, 1);
        FAKE_HOST_WAIT(&fake, n_listed == 1 && n_threads() == n_threads_before);
        submit_find(CALL_VCPU);
        FAKE_HOST_WAIT(&fake, n_done == 1);
        ck_assert_uint_eq(n_opened, 1);
        ck_assert_uint_eq(n_looked_up, 0);
        /* One that was not prepared asks once. */
        submit_find(CALL_AGENT);
        FAKE_HOST_WAIT(&fake, n_done == 2);
        submit_find(CALL_AGENT);
        FAKE_HOST_WAIT(&fake, n_done == 3);
        ck_assert_uint_eq(n_looked_up, 1);
}
END_TEST

/* errors */

static void look_up_nobody(TestCall *c, virConnectPtr conn) {
        const unsigned char uuid[VIR_UUID_BUFLEN] = { 1 };

        ck_assert_ptr_null(virDomainLookupByUUID(conn, uuid));
        call_fail(&c->call, conn);
}

static void wake_test(TestCall *c, virConnectPtr conn) {
        virDomainPtr dom = virDomainLookupByName(conn, "test");

        ck_assert_ptr_nonnull(dom);
        ck_assert_int_lt(virDomainPMWakeup(dom, 0), 0);
        call_fail(&c->call, conn);
        (void) virDomainFree(dom);
}

static void resume_running(TestCall *c, virConnectPtr conn) {
        virDomainPtr dom = virDomainLookupByName(conn, "test");

        ck_assert_ptr_nonnull(dom);
        ck_assert_int_eq(virDomainDestroy(dom), 0);
        ck_assert_int_lt(virDomainSuspend(dom), 0);
        call_fail(&c->call, conn);
        (void) virDomainFree(dom);
}

static const struct {
        void (*body)(TestCall *c, virConnectPtr conn);
        int error;
} failures[] = {
        { look_up_nobody, -ESRCH },
        { wake_test, -EOPNOTSUPP },
        { resume_running, -EIO },
};

START_TEST(test_libvirts_errors_are_told) {
        TestCall *c = call_new(CALL_VCPU, false);

        c->body = failures[_i].body;
        (void) submit(c);
        FAKE_HOST_WAIT(&fake, n_done == 1);
        ck_assert_int_eq(last_error, failures[_i].error);
        ck_assert_str_ne(last_why, "");
}
END_TEST

static void add_tests(TCase *c) {
        tcase_add_test(c, test_calls_run_on_threads_and_come_back_on_the_loop);
        tcase_add_test(c, test_the_test_driver_has_one_connection);
        tcase_add_test(c, test_a_connection_has_one_call_at_most);
        tcase_add_test(c, test_hung_agents_are_in_nobodys_way);
        tcase_add_test(c, test_a_server_that_carries_out_more_is_given_more);
        tcase_add_loop_test(c, test_what_any_server_carries_out_is_the_least, 0, 2);
        tcase_add_test(c, test_those_that_did_not_answer_before_go_last);
        tcase_add_test(c, test_a_call_given_up_is_an_orphan_until_it_returns);
        tcase_add_test(c, test_a_call_given_up_before_it_begins_is_not_made);
        tcase_add_test(c, test_a_pool_that_ends_frees_what_waits_and_outlives_the_rest);
        tcase_add_test(c, test_calls_that_return_to_a_closed_mailbox_are_freed);
        tcase_add_test(c, test_a_call_that_has_come_back_to_a_pool_that_ended_is_only_freed);
        tcase_add_loop_test(
                        c,
                        test_a_uri_that_cannot_be_opened_is_told_in_words,
                        0,
                        ARRAY_LEN(bad_uris));
        tcase_add_test(c, test_libvirt_prints_nothing);
        tcase_add_test(c, test_a_connection_without_events_is_no_use);
        tcase_add_test(c, test_after_hanging_up_all_is_opened_anew);
        tcase_add_test(c, test_a_server_that_falls_silent_when_connected_to_holds_up_no_loop);
        tcase_add_test(c, test_hanging_up_lets_nobody_wait_for_what_was_being_opened);
        tcase_add_test(c, test_an_end_lets_nobody_wait_for_what_is_being_opened);
        tcase_add_test(c, test_connections_are_opened_before_they_are_needed);
        tcase_add_test(c, test_prepared_connections_know_the_domains);
        tcase_add_loop_test(c, test_libvirts_errors_are_told, 0, ARRAY_LEN(failures));
}

int main(void) {
        Suite *suite = suite_create("libvirt-pool");
        TCase *c = tcase_create("pool");
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
