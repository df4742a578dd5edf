/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The whole plugin on libvirt's test driver. The world of test:///default is the process's, so that the
 * test acts on it by a connection of its own, as another client would; that of test:///FILE is its
 * connection's alone.
 */

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <malloc.h>
#include <sched.h>
#include <stdatomic.h>
#include "common/macro.h"
#include "common/time-util.h"
#include "fake-host.h"
#include "lacking-timers.h"
#include "plugins/libvirt/definition.h"
#include "plugins/libvirt/event-loop.h"
#include "plugins/libvirt/look.h"
#include "plugins/libvirt/pool.h"
#include "plugins/libvirt/thread.h"

#define DEFAULT "test:///default"
#define NO_AGENTS "no agents by this driver of libvirt's"
#define ROUNDS 5
#define RSS_GROWTH_MAX_KIB 1024
#define IN_USE_GROWTH_MAX_KIB 128
#define HISTORY_MAX 64
#define N_MEDDLED 2 /* events */

static FakeHost fake;
static void *instance;
static virConnectPtr other; /* another client of test:///default */
static uint64_t last_step;
static unsigned n_threads_before;
static char path[64], uri[80]; /* of a world in a file */
static struct {
        enum suspendd_run_state state;
        char detail[FAKE_TEXT_MAX];
} history[HISTORY_MAX]; /* of all machines */
static size_t n_history;

/* between the plugin and libvirt, and all else: the next so many are not to be had */

static atomic_uint n_facts_lacking, n_threads_lacking, n_states_lacking, n_definitions_lacking;
static atomic_uint n_listed, n_domains_gone;
static atomic_bool is_dead; /* each connection */
/* another client, before the next call for a domain begins; what is told after that is held up */
static atomic_bool is_meddled_with, is_held_up;
static atomic_uint n_heard; /* events, each behind the plugin */

static bool is_lacking(atomic_uint *n) {
        unsigned before = *n;

        while (before > 0 && !atomic_compare_exchange_weak(n, &before, before - 1))
                ;
        return before > 0;
}

__typeof__(look_at_facts) __real_look_at_facts, __wrap_look_at_facts;
__typeof__(thread_start) __real_thread_start, __wrap_thread_start;
__typeof__(virConnectIsAlive) __real_virConnectIsAlive, __wrap_virConnectIsAlive;
__typeof__(virConnectListAllDomains) __real_virConnectListAllDomains,
                __wrap_virConnectListAllDomains;
__typeof__(virDomainGetState) __real_virDomainGetState, __wrap_virDomainGetState;
__typeof__(call_domain) __real_call_domain, __wrap_call_domain;
__typeof__(virDomainGetXMLDesc) __real_virDomainGetXMLDesc, __wrap_virDomainGetXMLDesc;

int __wrap_look_at_facts(virDomainPtr dom, const char *state_directory, DomainFacts *ret) {
        return is_lacking(&n_facts_lacking) ? -EMFILE
                                            : __real_look_at_facts(dom, state_directory, ret);
}

int __wrap_thread_start(void *(*fn)(void *userdata), void *userdata, const char *name) {
        return is_lacking(&n_threads_lacking) ? -EAGAIN : __real_thread_start(fn, userdata, name);
}

int __wrap_virConnectIsAlive(virConnectPtr conn) {
        return is_dead ? 0 : __real_virConnectIsAlive(conn);
}

int __wrap_virConnectListAllDomains(virConnectPtr conn, virDomainPtr **ret, unsigned flags) {
        atomic_fetch_add(&n_listed, 1);
        return __real_virConnectListAllDomains(conn, ret, flags);
}

int __wrap_virDomainGetState(virDomainPtr dom, int *state, int *reason, unsigned flags) {
        if (is_lacking(&n_domains_gone)) {
                ck_assert_ptr_null(
                                virDomainLookupByName(virDomainGetConnect(dom), "there is none"));
                return -1;
        }
        return is_lacking(&n_states_lacking) ? -1
                                             : __real_virDomainGetState(dom, state, reason, flags);
}

static void on_lifecycle(
                virConnectPtr conn, virDomainPtr dom, int event, int detail, void *userdata) {
        (void) conn;
        (void) dom;
        (void) event;
        (void) detail;
        (void) userdata;
        if (atomic_fetch_add(&n_heard, 1) + 1 != N_MEDDLED)
                return;
        for (uint64_t until = fake_host_deadline();
             is_held_up && fake_host_deadline_is_ahead(until);)
                (void) sched_yield();
}

/* Stops it, runs it, and has both told, in the thread of the call. */
static void meddle(void) {
        virDomainPtr dom = virDomainLookupByName(other, "test");
        uint64_t until = fake_host_deadline();

        ck_assert_int_eq(virDomainSuspend(dom), 0);
        ck_assert_int_eq(virDomainResume(dom), 0);
        while (n_heard < N_MEDDLED) {
                ck_assert(fake_host_deadline_is_ahead(until));
                (void) sched_yield();
        }
        (void) virDomainFree(dom);
}

virDomainPtr __wrap_call_domain(Call *c, const unsigned char *uuid) {
        if (atomic_exchange(&is_meddled_with, false))
                meddle();
        return __real_call_domain(c, uuid);
}

char *__wrap_virDomainGetXMLDesc(virDomainPtr dom, unsigned flags) {
        return is_lacking(&n_definitions_lacking) ? NULL : __real_virDomainGetXMLDesc(dom, flags);
}

/* what is told */

static void note_state(FakeHost *f, struct suspendd_machine *m) {
        (void) f;
        if (n_history == HISTORY_MAX)
                return;
        history[n_history].state = m->state;
        (void) memcpy(history[n_history++].detail, m->detail, sizeof(m->detail));
}

static bool was_told(enum suspendd_run_state state) {
        for (size_t i = 0; i < n_history; i++)
                if (history[i].state == state)
                        return true;
        return false;
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

/* The calls that were handed over have been made, and the loop has not heard of it. */
static void await_calls(void) {
        uint64_t until = fake_host_deadline();

        while (n_threads() > n_threads_before) {
                ck_assert(fake_host_deadline_is_ahead(until));
                (void) sched_yield();
        }
}

/* Nothing is under way any more. */
static void settle(void) {
        do
                FAKE_HOST_WAIT(&fake, n_threads() == n_threads_before);
        while (sd_event_run(fake.host.event, 0) > 0);
}

/* worlds */

static void write_world(unsigned n) {
        FILE *f = fopen(path, "we");

        ck_assert_ptr_nonnull(f);
        (void) fputs("<node>\n", f);
        for (unsigned i = 0; i < n; i++)
                (void) fprintf(f,
                               "<domain type='test'><name>vm-%u</name>"
                               "<uuid>4c4c4544-0042-3510-8052-%012u</uuid>"
                               "<memory>1024</memory><os><type>hvm</type></os></domain>\n",
                               i,
                               i);
        (void) fputs("</node>\n", f);
        (void) fclose(f);
}

static void set_up(void) {
        int fd;

        (void) strcpy(path, "/tmp/test-libvirt-XXXXXX");
        fd = mkstemp(path);
        ck_assert_int_ge(fd, 0);
        (void) close(fd);
        (void) snprintf(uri, sizeof(uri), "test://%s", path);
        fake_host_init(&fake);
        fake.on_state = note_state;
        ck_assert_int_eq(event_loop_start(), 0);
        n_threads_before = n_threads();
        other = virConnectOpen(DEFAULT);
        ck_assert_ptr_nonnull(other);
        ck_assert_int_eq(suspendd_plugin.create(&fake.host, &instance), 0);
}

/* Whatever the test was, the threads end. */
static void tear_down(void) {
        if (instance)
                suspendd_plugin.destroy(instance);
        instance = NULL;
        FAKE_HOST_WAIT(&fake, n_threads() == n_threads_before);
        (void) virConnectClose(other);
        fake_host_done(&fake);
        (void) unlink(path);
}

static void load_all(const char *const *uris, size_t n) {
        struct suspendd_setting settings[8];
        unsigned n_enumerated = fake.n_enumerated;

        for (size_t i = 0; i < n; i++)
                settings[i] = (struct suspendd_setting){
                        .key = "URI", .value = uris[i], .file = "f", .line = (unsigned) i + 1
                };
        ck_assert_int_eq(suspendd_plugin.load(instance, settings, n), 0);
        FAKE_HOST_WAIT(&fake, fake.n_enumerated > n_enumerated);
        settle();
        ck_assert_uint_eq(fake.n_enumerated, n_enumerated + 1);
}

static void load(const char *one) {
        load_all(&one, 1);
}

static struct suspendd_machine *machine_of_default(void) {
        struct suspendd_machine *m;

        load(DEFAULT);
        m = fake_host_find(&fake, "test");
        ck_assert_ptr_nonnull(m);
        n_history = 0;
        return m;
}

static virDomainPtr domain_of(const char *name) {
        virDomainPtr dom = virDomainLookupByName(other, name);

        ck_assert_ptr_nonnull(dom);
        return dom;
}

static void begin(int (*act)(void *vm, uint64_t step), struct suspendd_machine *m) {
        ck_assert_int_eq(act(m->vm, ++last_step), SUSPENDD_PENDING);
}

static const FakeDone *await_done(void) {
        FAKE_HOST_WAIT(&fake, fake_host_find_done(&fake, last_step));
        settle();
        ck_assert_uint_eq(fake_host_count_done(&fake, last_step), 1);
        return fake_host_find_done(&fake, last_step);
}

/* announcing */

START_TEST(test_each_domain_is_announced_once) {
        write_world(3);
        load(uri);
        ck_assert_uint_eq(fake.n_machines, 3);
        for (unsigned i = 0; i < 3; i++) {
                const struct suspendd_machine *m = &fake.machines[i];
                char uuid[64];

                (void) snprintf(uuid,
                                sizeof(uuid),
                                "4c4c4544-0042-3510-8052-%012u",
                                m->name[3] - '0');
                ck_assert_str_eq(m->uuid, uuid);
                ck_assert_int_gt(atoi(m->run), 0);
                ck_assert_int_eq(strncmp(m->vmm, "TEST by libvirt ", 16), 0);
                ck_assert_str_eq(m->address, uri);
                ck_assert_str_eq(m->mode, "");
                ck_assert_str_eq(m->why_not[SUSPENDD_ACT_SUSPEND], NO_AGENTS);
                ck_assert_str_eq(m->why_not[SUSPENDD_ACT_PAUSE], "");
                ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
                ck_assert_uint_eq(m->n_states, 1);
        }
        ck_assert_uint_eq(fake.n_warnings, 0);
        ck_assert_str_eq(fake.trouble, "");
}
END_TEST

START_TEST(test_what_the_host_knows_already_is_left_out) {
        write_world(3);
        fake.add_error = _i == 0 ? -EEXIST : -ENOMEM;
        load(uri);
        ck_assert_uint_eq(fake.n_machines, 0);
        ck_assert_uint_eq(fake.n_warnings, _i == 0 ? 0 : 3);
}
END_TEST

static const char new_xml[] = "<domain type='test'><name>new</name><memory>1024</memory>"
                              "<os><type>hvm</type></os></domain>";

START_TEST(test_a_domain_that_comes_is_announced_and_one_that_goes_removed) {
        struct suspendd_machine *m;
        virDomainPtr dom;

        (void) machine_of_default();
        dom = virDomainCreateXML(other, new_xml, 0);
        ck_assert_ptr_nonnull(dom);
        FAKE_HOST_WAIT(&fake, (m = fake_host_find(&fake, "new")));
        ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
        ck_assert_int_eq(virDomainDestroy(dom), 0);
        FAKE_HOST_WAIT(&fake, !m->is_there);
        ck_assert_int_eq(
                        m->state,
                        SUSPENDD_STATE_OTHER); /* it has ended, and is not only out of reach */
        (void) virDomainFree(dom);
        settle();
        ck_assert_uint_eq(fake.n_machines, 2);
        ck_assert_uint_eq(fake_host_count(&fake), 1);
}
END_TEST

START_TEST(test_a_domain_that_is_started_anew_is_another_machine) {
        struct suspendd_machine *m = machine_of_default(), *again;
        virDomainPtr dom = domain_of("test");

        ck_assert_int_eq(virDomainDestroy(dom), 0);
        if (_i == 1)
                ck_assert_int_eq(virDomainRename(dom, "renamed", 0), 0);
        ck_assert_int_eq(virDomainCreate(dom), 0);
        FAKE_HOST_WAIT(&fake, !m->is_there);
        FAKE_HOST_WAIT(&fake, (again = fake_host_find(&fake, _i == 1 ? "renamed" : "test")));
        ck_assert_str_eq(again->uuid, m->uuid);
        ck_assert_str_ne(again->run, m->run);
        settle();
        ck_assert_int_eq(again->state, SUSPENDD_STATE_RUNNING);
        ck_assert_uint_eq(fake.n_machines, 2);
        (void) virDomainFree(dom);
}
END_TEST

START_TEST(test_a_domain_that_is_undefined_runs_on) {
        struct suspendd_machine *m = machine_of_default();
        virDomainPtr dom = domain_of("test"), another;

        ck_assert_int_eq(virDomainUndefine(dom), 0);
        another = virDomainCreateXML(other, new_xml, 0); /* of which it is told later */
        ck_assert_ptr_nonnull(another);
        FAKE_HOST_WAIT(&fake, fake_host_find(&fake, "new"));
        settle();
        ck_assert(m->is_there);
        begin(suspendd_plugin.pause, m);
        ck_assert_int_eq(await_done()->result, 0);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_PAUSED);
        (void) virDomainFree(another);
        (void) virDomainFree(dom);
}
END_TEST

/* acts */

START_TEST(test_pause_and_resume_end_once_and_the_state_comes_first) {
        struct suspendd_machine *m = machine_of_default();

        for (int i = 0; i < 3; i++) {
                const FakeDone *done;

                begin(suspendd_plugin.pause, m);
                done = await_done();
                ck_assert_int_eq(done->result, 0);
                ck_assert_int_eq(m->state, SUSPENDD_STATE_PAUSED);
                ck_assert_uint_lt(m->told_at, done->told_at);
                ck_assert_int_gt(m->boottime_ns, 0);
                begin(i == 1 ? suspendd_plugin.wake : suspendd_plugin.resume, m);
                done = await_done();
                ck_assert_int_eq(done->result, 0);
                ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
                ck_assert_uint_lt(m->told_at, done->told_at);
        }
        /* Each state is told once, though libvirt tells of it as well. */
        ck_assert_uint_eq(n_history, 6);
        ck_assert(!was_told(SUSPENDD_STATE_OTHER));
}
END_TEST

START_TEST(test_what_is_so_already_is_answered) {
        struct suspendd_machine *m = machine_of_default();

        begin(suspendd_plugin.resume, m);
        ck_assert_int_eq(await_done()->result, 0);
        begin(suspendd_plugin.wake, m);
        ck_assert_int_eq(await_done()->result, 0);
        ck_assert_uint_eq(n_history, 0);
}
END_TEST

START_TEST(test_what_the_driver_cannot_is_refused_in_words) {
        struct suspendd_machine *m = machine_of_default();

        begin(_i == 0 ? suspendd_plugin.suspend : suspendd_plugin.get_time, m);
        ck_assert_int_eq(await_done()->result, -EOPNOTSUPP);
        ck_assert_str_ne(await_done()->why, "");
        ck_assert_str_ne(m->why_not[SUSPENDD_ACT_SUSPEND], "");
        ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
        ck_assert_int_eq(suspendd_plugin.set_time(m->vm, ++last_step, 0), SUSPENDD_PENDING);
        ck_assert_int_eq(suspendd_plugin.set_time(m->vm, last_step + 1, 0), -EALREADY);
        ck_assert_int_eq(await_done()->result, -EOPNOTSUPP);
        ck_assert_uint_eq(fake_host_count_done(&fake, last_step + 1), 0);
}
END_TEST

/* cancelling */

START_TEST(test_a_cancelled_pause_is_not_answered) {
        struct suspendd_machine *m = machine_of_default();

        begin(suspendd_plugin.pause, m);
        suspendd_plugin.cancel(m->vm, last_step);
        settle();
        ck_assert_uint_eq(fake.n_dones, 0);
        /* What has not begun may be left, and what was done is told. */
        ck_assert(m->state == SUSPENDD_STATE_PAUSED || m->state == SUSPENDD_STATE_RUNNING);
        begin(suspendd_plugin.resume, m);
        ck_assert_int_eq(await_done()->result, 0);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
}
END_TEST

START_TEST(test_a_pause_that_waits_is_called_back_and_a_resume_is_not) {
        struct suspendd_machine *m = machine_of_default();

        begin(suspendd_plugin.resume, m);
        await_calls();
        begin(suspendd_plugin.pause, m);
        suspendd_plugin.cancel(m->vm, last_step);
        settle();
        ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
        ck_assert_uint_eq(fake.n_dones, 1);

        begin(suspendd_plugin.pause, m);
        await_calls();
        begin(suspendd_plugin.resume, m);
        suspendd_plugin.cancel(m->vm, last_step);
        settle();
        ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
        ck_assert_uint_eq(fake.n_dones, 2);
        ck_assert(was_told(SUSPENDD_STATE_PAUSED));
}
END_TEST

/* another hand */

START_TEST(test_what_another_client_does_is_told) {
        struct suspendd_machine *m = machine_of_default();
        virDomainPtr dom = domain_of("test");

        ck_assert_int_eq(virDomainSuspend(dom), 0);
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        ck_assert_int_eq(virDomainResume(dom), 0);
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_RUNNING);
        /* Just behind what was done by us, when its echo is awaited. */
        begin(suspendd_plugin.pause, m);
        ck_assert_int_eq(await_done()->result, 0);
        ck_assert_int_eq(virDomainResume(dom), 0);
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_RUNNING);
        (void) virDomainFree(dom);
}
END_TEST

static void expect_foreign(struct suspendd_machine *m) {
        ck_assert_int_eq(m->state, SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(n_history, 2);
        ck_assert_int_eq(history[0].state, SUSPENDD_STATE_OTHER);
        ck_assert_str_eq(history[0].detail, "paused by another hand");
        ck_assert_int_eq(history[1].state, SUSPENDD_STATE_PAUSED);
}

START_TEST(test_a_pause_that_somebody_else_made_before_is_not_ours) {
        struct suspendd_machine *m = machine_of_default();
        virDomainPtr dom = domain_of("test");

        ck_assert_int_eq(virDomainSuspend(dom), 0);
        begin(suspendd_plugin.pause, m);
        ck_assert_int_eq(await_done()->result, 0);
        expect_foreign(m);
        (void) virDomainFree(dom);
}
END_TEST

START_TEST(test_nor_is_one_that_was_made_while_ours_waited) {
        struct suspendd_machine *m = machine_of_default();
        virDomainPtr dom = domain_of("test");

        begin(suspendd_plugin.resume, m);
        await_calls();
        begin(suspendd_plugin.pause, m);
        ck_assert_int_eq(virDomainSuspend(dom), 0);
        ck_assert_int_eq(await_done()->result, 0);
        expect_foreign(m);
        (void) virDomainFree(dom);
}
END_TEST

START_TEST(test_but_one_that_was_undone_before_ours_leaves_ours_ours) {
        struct suspendd_machine *m = machine_of_default();
        int id = virConnectDomainEventRegisterAny(
                        other,
                        NULL,
                        VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                        VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle),
                        NULL,
                        NULL);

        ck_assert_int_ge(id, 0);
        is_meddled_with = is_held_up = true;
        begin(suspendd_plugin.pause, m);
        FAKE_HOST_WAIT(&fake, fake_host_find_done(&fake, last_step));
        ck_assert_uint_eq(n_heard, N_MEDDLED); /* our own is yet to come */
        is_held_up = false;
        ck_assert_int_eq(await_done()->result, 0);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_PAUSED);
        ck_assert(!was_told(SUSPENDD_STATE_OTHER));
        ck_assert_int_eq(virConnectDomainEventDeregisterAny(other, id), 0);
}
END_TEST

/* The sleep was called off and came again, and libvirt had not answered the first pause yet. */
START_TEST(test_a_pause_of_ours_stays_ours_if_it_is_asked_for_again) {
        struct suspendd_machine *m = machine_of_default();

        begin(suspendd_plugin.pause, m);
        await_calls();
        suspendd_plugin.cancel(m->vm, last_step);
        begin(suspendd_plugin.resume, m);
        suspendd_plugin.cancel(m->vm, last_step);
        begin(suspendd_plugin.pause, m);
        ck_assert_int_eq(await_done()->result, 0);
        ck_assert_uint_eq(fake.n_dones, 1);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_PAUSED);
        ck_assert(!was_told(SUSPENDD_STATE_OTHER));
}
END_TEST

START_TEST(test_a_domain_destroyed_amidst_an_act_ends_the_step_and_goes) {
        struct suspendd_machine *m = machine_of_default();
        virDomainPtr dom = domain_of("test");

        if (_i == 1) /* then there is nothing left of it at all */
                ck_assert_int_eq(virDomainUndefine(dom), 0);
        ck_assert_int_eq(virDomainDestroy(dom), 0);
        begin(suspendd_plugin.pause, m);
        FAKE_HOST_WAIT(&fake, !m->is_there);
        settle();
        /* The machine's going ends its steps; if an answer comes before, it is that one. */
        ck_assert_uint_le(fake_host_count_done(&fake, last_step), 1);
        if (fake.n_dones > 0)
                ck_assert_int_lt(fake.dones[0].result, 0);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_OTHER);
        ck_assert(!was_told(SUSPENDD_STATE_PAUSED));
        (void) virDomainFree(dom);
}
END_TEST

/* the definition */

static void set_metadata(const char *xml) {
        virDomainPtr dom = domain_of("test");

        ck_assert_int_eq(
                        virDomainSetMetadata(
                                        dom,
                                        VIR_DOMAIN_METADATA_ELEMENT,
                                        xml,
                                        DEFINITION_PREFIX,
                                        DEFINITION_NAMESPACE,
                                        VIR_DOMAIN_AFFECT_LIVE),
                        0);
        (void) virDomainFree(dom);
}

START_TEST(test_mode_in_the_definition_is_told_and_so_are_its_changes) {
        struct suspendd_machine *m;

        set_metadata("<sleep mode='pause'/>");
        m = machine_of_default();
        ck_assert_str_eq(m->mode, "pause");
        ck_assert_str_eq(m->mode_source, "its definition in libvirt");
        set_metadata("<sleep mode='ignore'/>");
        FAKE_HOST_WAIT(&fake, strcmp(m->mode, "ignore") == 0);
        set_metadata(NULL);
        FAKE_HOST_WAIT(&fake, strcmp(m->mode, "") == 0);
        ck_assert_str_eq(m->mode_source, "");
        ck_assert_uint_eq(m->n_states, 1);
}
END_TEST

static void store(struct suspendd_machine *m, uint64_t request, const char *mode) {
        unsigned n_stored = fake.n_stored;

        ck_assert_int_eq(suspendd_plugin.store_mode(m->vm, request, mode), SUSPENDD_PENDING);
        ck_assert_int_eq(suspendd_plugin.store_mode(m->vm, request + 1, mode), -EBUSY);
        FAKE_HOST_WAIT(&fake, fake.n_stored > n_stored);
        ck_assert_uint_eq(fake.stored.step, request);
        ck_assert_int_eq(fake.stored.result, 0);
        /* It was told before, not by the event that comes later. */
        ck_assert_str_eq(m->mode, mode ?: "");
        settle();
        ck_assert_uint_eq(fake.n_stored, n_stored + 1);
}

START_TEST(test_mode_is_stored_for_good_and_taken_out_again) {
        struct suspendd_machine *m = machine_of_default();
        virDomainPtr dom = domain_of("test");
        _cleanup_free_ char *xml = NULL;

        store(m, 11, "pause");
        store(m, 21, "ignore");
        xml = virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_INACTIVE);
        ck_assert_ptr_nonnull(strstr(xml, "xmlns:suspendd=\"" DEFINITION_NAMESPACE "\""));
        ck_assert_ptr_nonnull(strstr(xml, "mode=\"ignore\""));
        store(m, 31, NULL);
        store(m, 41, NULL);
        (void) virDomainFree(dom);
}
END_TEST

START_TEST(test_mode_of_a_domain_that_has_gone_is_refused) {
        struct suspendd_machine *m = machine_of_default();
        virDomainPtr dom = domain_of("test");

        ck_assert_int_eq(virDomainUndefine(dom), 0);
        ck_assert_int_eq(virDomainDestroy(dom), 0);
        ck_assert_int_eq(suspendd_plugin.store_mode(m->vm, 1, "pause"), SUSPENDD_PENDING);
        FAKE_HOST_WAIT(&fake, !m->is_there);
        settle();
        /* The machine's going ends it as well. */
        ck_assert_uint_le(fake.n_stored, 1);
        if (fake.n_stored == 1) {
                ck_assert_int_lt(fake.stored.result, 0);
                ck_assert_str_ne(fake.stored.why, "");
        }
        (void) virDomainFree(dom);
}
END_TEST

/* loading */

START_TEST(test_reload_keeps_what_is_named_and_drops_what_is_not) {
        const char *both[] = { DEFAULT, uri };
        struct suspendd_machine *m, *kept;

        write_world(3);
        load_all(both, 2);
        ck_assert_uint_eq(fake.n_machines, 4);
        m = fake_host_find(&fake, "test");
        kept = fake_host_find(&fake, "vm-1");
        begin(suspendd_plugin.pause, kept);
        (void) await_done();

        load(uri);
        ck_assert(!m->is_there);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_UNKNOWN); /* out of reach, and not ended */
        ck_assert(kept->is_there);
        ck_assert_int_eq(kept->state, SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(fake.n_machines, 4);

        load_all(both, 2);
        ck_assert_uint_eq(fake.n_machines, 5);
        ck_assert_uint_eq(fake_host_count(&fake), 4);
        ck_assert(kept->is_there);
}
END_TEST

START_TEST(test_the_same_uri_twice_is_one) {
        const char *twice[] = { DEFAULT, DEFAULT };

        load_all(twice, 2);
        ck_assert_uint_eq(fake.n_machines, 1);
}
END_TEST

static const struct {
        const char *key, *value;
} bad_settings[] = {
        { "Speed", "9" },
        { "uri", DEFAULT },
        { "MaxWorkers", "" },
        { "MaxWorkers", "-1" },
        { "MaxWorkers", "65" },
        { "MaxWorkers", "6 " },
        { "MaxWorkers", "99999999999999999999" },
        { "URI", "no URI" },
        { "URI", "" },
        { "URI", "qemu+ssh://host/system" },
        { "URI", "qemu+unix:///system?socket=sock" },
};

START_TEST(test_a_bad_setting_is_complained_of_and_left_out) {
        struct suspendd_setting settings[] = {
                { .key = bad_settings[_i].key,
                  .value = bad_settings[_i].value,
                  .file = "/etc/suspendd/a.conf",
                  .line = 7 },
                { .key = "URI", .value = DEFAULT, .file = "/etc/suspendd/a.conf", .line = 8 },
        };

        ck_assert_int_eq(suspendd_plugin.load(instance, settings, 2), 0);
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        ck_assert_uint_eq(fake.n_warnings, 1);
        ck_assert_ptr_nonnull(strstr(fake.warning, "/etc/suspendd/a.conf:7: "));
        ck_assert_ptr_nonnull(fake_host_find(&fake, "test"));
}
END_TEST

START_TEST(test_what_cannot_be_opened_is_told_and_tried_again) {
        (void) unlink(path);
        load(uri);
        FAKE_HOST_WAIT(&fake, *fake.trouble);
        ck_assert_int_eq(strncmp(fake.trouble, uri, strlen(uri)), 0);
        ck_assert_uint_eq(fake.n_machines, 0);
        write_world(2);
        FAKE_HOST_WAIT(&fake, fake_host_count(&fake) == 2);
        FAKE_HOST_WAIT(&fake, !*fake.trouble);
        ck_assert_uint_eq(fake.n_enumerated, 1);
}
END_TEST

/* what is lacking for a while */

#define SPENT_USEC (500 * USEC_PER_MSEC)
#define LISTED_MAX 6 /* of it: at once, then after 50, 100, 200 ms, and what was under way */
#define FOR_EVER 1000000

static atomic_uint *const lacking[] = { &n_definitions_lacking,
                                        &n_facts_lacking,
                                        &n_states_lacking };

/* One that we have paused; its server goes away, and it is told to run. */
static struct suspendd_machine *stranded_machine(void) {
        const struct suspendd_setting setting = { .key = "URI", .value = DEFAULT };
        struct suspendd_machine *m = machine_of_default();

        begin(suspendd_plugin.pause, m);
        ck_assert_int_eq(await_done()->result, 0);
        is_dead = true;
        ck_assert_int_eq(suspendd_plugin.load(instance, &setting, 1), 0);
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_UNKNOWN);
        begin(suspendd_plugin.resume, m);
        ck_assert_ptr_null(fake_host_find_done(&fake, last_step));
        return m;
}

START_TEST(test_a_domain_of_which_something_is_lacking_is_found_again_and_run) {
        struct suspendd_machine *m = stranded_machine();

        n_timers_lacking = FOR_EVER; /* but for those that are there already */
        *lacking[_i] = 3;
        is_dead = false;
        FAKE_HOST_WAIT(&fake, fake_host_find_done(&fake, last_step));
        ck_assert_int_eq(fake_host_find_done(&fake, last_step)->result, 0);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
        ck_assert(m->is_there);
        FAKE_HOST_WAIT(&fake, *lacking[_i] == 0);
        settle();
        /* All is well again, and nothing asks any more. */
        fake_host_spend(&fake, 2 * SPENT_USEC);
        n_listed = 0;
        fake_host_spend(&fake, SPENT_USEC);
        ck_assert_uint_eq(n_listed, 0);
}
END_TEST

/* In the list the one behind it is in its place. */
START_TEST(test_a_domain_of_which_nothing_is_known_is_not_gone_with_another) {
        struct suspendd_machine *second;

        write_world(2);
        load(uri);
        is_dead = true;
        load(uri);
        FAKE_HOST_WAIT(&fake, fake_host_find(&fake, "vm-0")->state == SUSPENDD_STATE_UNKNOWN);
        n_history = 0;
        n_domains_gone = n_states_lacking = 1;
        is_dead = false;
        FAKE_HOST_WAIT(&fake, n_domains_gone == 0 && n_states_lacking == 0);
        settle();
        fake_host_spend(&fake, SPENT_USEC);
        ck_assert_uint_eq(fake_host_count(&fake), 2);
        ck_assert_uint_eq(fake.n_machines, 3);
        second = fake_host_find(&fake, "vm-1");
        ck_assert_int_eq(second->state, SUSPENDD_STATE_RUNNING);
}
END_TEST

START_TEST(test_a_domain_without_its_definition_is_run_and_asked_for_ever_less) {
        struct suspendd_machine *m = stranded_machine();

        n_definitions_lacking = FOR_EVER;
        is_dead = false;
        FAKE_HOST_WAIT(&fake, fake_host_find_done(&fake, last_step));
        ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
        n_listed = 0;
        fake_host_spend(&fake, SPENT_USEC);
        ck_assert_uint_ge(n_listed, 1);
        ck_assert_uint_le(n_listed, LISTED_MAX);
}
END_TEST

/* Its owner has started it anew meanwhile, and stopped; what was said of the one before is not for it. */
START_TEST(test_another_start_is_not_run_for_want_of_knowing_it) {
        struct suspendd_machine *m = stranded_machine(), *again;
        virDomainPtr dom = domain_of("test");
        int state = 0;

        n_facts_lacking = 3;
        ck_assert_int_eq(virDomainDestroy(dom), 0);
        ck_assert_int_eq(virDomainCreate(dom), 0);
        ck_assert_int_eq(virDomainSuspend(dom), 0);
        is_dead = false;
        FAKE_HOST_WAIT(&fake, n_facts_lacking == 0);
        FAKE_HOST_WAIT(&fake, !m->is_there);
        FAKE_HOST_WAIT(&fake, (again = fake_host_find(&fake, "test")));
        settle();
        ck_assert_int_eq(again->state, SUSPENDD_STATE_PAUSED);
        ck_assert_int_eq(virDomainGetState(dom, &state, NULL, 0), 0);
        ck_assert_int_eq(state, VIR_DOMAIN_PAUSED);
        (void) virDomainFree(dom);
}
END_TEST

START_TEST(test_a_look_for_which_something_is_lacking_is_made_up_for) {
        static atomic_uint *const of_a_look[] = { &n_threads_lacking, &n_states_lacking };
        struct suspendd_machine *m = machine_of_default();
        virDomainPtr dom = domain_of("test");

        n_timers_lacking = FOR_EVER; /* but for those that are there already */
        *of_a_look[_i] = 2;
        ck_assert_int_eq(virDomainSuspend(dom), 0);
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(*of_a_look[_i], 0);
        (void) virDomainFree(dom);
}
END_TEST

/* No thread can be had for the look that ends it, and no timer that is not there already. */
START_TEST(test_an_act_that_cannot_be_seen_at_once_ends) {
        struct suspendd_machine *m = machine_of_default();

        n_timers_lacking = FOR_EVER; /* but for those that are there already */
        begin(suspendd_plugin.pause, m);
        await_calls();
        n_threads_lacking = 3;
        ck_assert_int_eq(await_done()->result, 0);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(n_threads_lacking, 0);
}
END_TEST

START_TEST(test_a_hint_makes_it_look_and_no_more) {
        struct suspendd_machine *m = machine_of_default();

        for (int i = 0; i < 5; i++)
                ck_assert_int_eq(suspendd_plugin.notify(instance, "started", "test"), 0);
        settle();
        ck_assert(m->is_there);
        ck_assert_uint_eq(fake.n_machines, 1);
        ck_assert_uint_eq(m->n_states, 1);
        ck_assert_uint_eq(fake.n_enumerated, 1);
}
END_TEST

START_TEST(test_an_end_amidst_acts_tells_nothing_more) {
        unsigned n_told;

        write_world(3);
        load(uri);
        for (unsigned i = 0; i < 3; i++) {
                begin(suspendd_plugin.pause, &fake.machines[i]);
                begin(suspendd_plugin.resume, &fake.machines[i]);
        }
        ck_assert_int_eq(
                        suspendd_plugin.store_mode(fake.machines[0].vm, 1, "pause"),
                        SUSPENDD_PENDING);
        if (_i == 1)
                await_calls();
        n_told = fake.n_told;
        suspendd_plugin.destroy(instance);
        instance = NULL;
        settle();
        ck_assert_uint_eq(fake.n_told, n_told);
        ck_assert_uint_eq(fake_host_count(&fake), 3);
}
END_TEST

START_TEST(test_a_run_without_a_process_has_not_ended_for_certain) {
        char run[64];

        ck_assert_int_eq(suspendd_plugin.has_ended(instance, "1"), 0);
        (void) snprintf(run, sizeof(run), "1.%d.1", (int) getpid());
        ck_assert_int_eq(suspendd_plugin.has_ended(instance, run), 1);
}
END_TEST

/* a thousand */

static long rss_kib(void) {
        FILE *f = fopen("/proc/self/status", "re");
        char line[128];
        long kib = 0;

        ck_assert_ptr_nonnull(f);
        while (fgets(line, sizeof(line), f))
                if (strncmp(line, "VmRSS:", 6) == 0)
                        kib = strtol(line + 6, NULL, 10);
        (void) fclose(f);
        return kib;
}

/* What is allocated, in all threads' arenas. */
static long in_use_kib(void) {
        return (long) (mallinfo2().uordblks / 1024);
}

static bool is_measured(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        return false; /* they keep what was freed */
#else
        return !getenv("SUSPENDD_TEST_QUICK");
#endif
}

static void all_do(int (*act)(void *vm, uint64_t step), enum suspendd_run_state state) {
        uint64_t first = last_step + 1;

        fake.n_dones = 0;
        for (size_t i = 0; i < fake.n_machines; i++)
                begin(act, &fake.machines[i]);
        FAKE_HOST_WAIT(&fake, fake.n_dones == fake.n_machines);
        for (size_t i = 0; i < fake.n_machines; i++) {
                const FakeDone *done = &fake.dones[i];
                const struct suspendd_machine *m = &fake.machines[done->step - first];

                ck_assert_int_eq(done->result, 0);
                ck_assert_int_eq(m->state, state);
                ck_assert_uint_lt(m->told_at, done->told_at);
        }
}

START_TEST(test_a_thousand_are_paused_and_resumed_in_the_same_memory) {
        unsigned n = getenv("SUSPENDD_TEST_QUICK") ? 50 : 1000;
        long first_rss = 0, first_in_use = 0, rss, in_use;

        write_world(n);
        load(uri);
        ck_assert_uint_eq(fake.n_machines, n);
        for (int round = 0; round < ROUNDS; round++) {
                all_do(suspendd_plugin.pause, SUSPENDD_STATE_PAUSED);
                all_do(suspendd_plugin.resume, SUSPENDD_STATE_RUNNING);
                settle();
                rss = rss_kib();
                in_use = in_use_kib();
                printf("round %d: %ld KiB resident, %ld KiB allocated\n", round, rss, in_use);
                if (round == 0) {
                        first_rss = rss;
                        first_in_use = in_use;
                }
        }
        if (is_measured()) {
                ck_assert_int_lt(rss - first_rss, RSS_GROWTH_MAX_KIB);
                ck_assert_int_lt(in_use - first_in_use, IN_USE_GROWTH_MAX_KIB);
        }
        for (size_t i = 0; i < fake.n_machines; i++)
                ck_assert_uint_eq(fake.machines[i].n_states, 1 + 2 * ROUNDS);
}
END_TEST

static void add_tests(TCase *c) {
        tcase_add_test(c, test_each_domain_is_announced_once);
        tcase_add_loop_test(c, test_what_the_host_knows_already_is_left_out, 0, 2);
        tcase_add_test(c, test_a_domain_that_comes_is_announced_and_one_that_goes_removed);
        tcase_add_loop_test(c, test_a_domain_that_is_started_anew_is_another_machine, 0, 2);
        tcase_add_test(c, test_a_domain_that_is_undefined_runs_on);
        tcase_add_test(c, test_pause_and_resume_end_once_and_the_state_comes_first);
        tcase_add_test(c, test_what_is_so_already_is_answered);
        tcase_add_loop_test(c, test_what_the_driver_cannot_is_refused_in_words, 0, 2);
        tcase_add_test(c, test_a_cancelled_pause_is_not_answered);
        tcase_add_test(c, test_a_pause_that_waits_is_called_back_and_a_resume_is_not);
        tcase_add_test(c, test_what_another_client_does_is_told);
        tcase_add_test(c, test_a_pause_that_somebody_else_made_before_is_not_ours);
        tcase_add_test(c, test_nor_is_one_that_was_made_while_ours_waited);
        tcase_add_test(c, test_but_one_that_was_undone_before_ours_leaves_ours_ours);
        tcase_add_test(c, test_a_pause_of_ours_stays_ours_if_it_is_asked_for_again);
        tcase_add_loop_test(c, test_a_domain_destroyed_amidst_an_act_ends_the_step_and_goes, 0, 2);
        tcase_add_test(c, test_mode_in_the_definition_is_told_and_so_are_its_changes);
        tcase_add_test(c, test_mode_is_stored_for_good_and_taken_out_again);
        tcase_add_test(c, test_mode_of_a_domain_that_has_gone_is_refused);
        tcase_add_test(c, test_reload_keeps_what_is_named_and_drops_what_is_not);
        tcase_add_test(c, test_the_same_uri_twice_is_one);
        tcase_add_loop_test(
                        c,
                        test_a_bad_setting_is_complained_of_and_left_out,
                        0,
                        ARRAY_LEN(bad_settings));
        tcase_add_test(c, test_what_cannot_be_opened_is_told_and_tried_again);
        tcase_add_test(c, test_a_domain_of_which_nothing_is_known_is_not_gone_with_another);
        tcase_add_loop_test(
                        c,
                        test_a_domain_of_which_something_is_lacking_is_found_again_and_run,
                        0,
                        ARRAY_LEN(lacking));
        tcase_add_test(c, test_a_domain_without_its_definition_is_run_and_asked_for_ever_less);
        tcase_add_test(c, test_another_start_is_not_run_for_want_of_knowing_it);
        tcase_add_loop_test(c, test_a_look_for_which_something_is_lacking_is_made_up_for, 0, 2);
        tcase_add_test(c, test_an_act_that_cannot_be_seen_at_once_ends);
        tcase_add_test(c, test_a_hint_makes_it_look_and_no_more);
        tcase_add_loop_test(c, test_an_end_amidst_acts_tells_nothing_more, 0, 2);
        tcase_add_test(c, test_a_run_without_a_process_has_not_ended_for_certain);
        tcase_add_test(c, test_a_thousand_are_paused_and_resumed_in_the_same_memory);
}

int main(void) {
        Suite *suite = suite_create("libvirt-server");
        TCase *c = tcase_create("server");
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
