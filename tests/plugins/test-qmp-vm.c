/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The whole plugin before a monitor and an agent that the test plays. */

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "common/clock-sample.h"
#include "common/macro.h"
#include "common/time-util.h"
#include "fake-peer.h"
#include "lacking-timers.h"
#include "plugins/qmp/vm-internal.h"

static FakeHost fake;
static FakePeer monitor, agent;
static void *instance;
static char directory[] = "/tmp/test-qmp-XXXXXX", monitor_path[64], agent_path[64];
static uint64_t last_step;
static unsigned n_others;

/* set up */

static void set_up(void) {
        (void) strcpy(directory, "/tmp/test-qmp-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        (void) snprintf(monitor_path, sizeof(monitor_path), "%s/base.qmp", directory);
        (void) snprintf(agent_path, sizeof(agent_path), "%s/base.qga", directory);
        fake_host_init(&fake);
        fake.is_told = true; /* so that QEMU is asked before each stop, but where a test has it otherwise */
        fake_peer_listen(&monitor, &fake, monitor_path);
        agent = (FakePeer){ .fd = -1, .listen_fd = -1 };
        n_others = 0;
        ck_assert_int_eq(suspendd_plugin.create(&fake.host, &instance), 0);
}

static void load(void) {
        struct suspendd_setting setting = { .key = "Directory", .value = directory };

        ck_assert_int_eq(suspendd_plugin.load(instance, &setting, 1), 0);
        fake_peer_accept(&monitor);
}

static void tear_down(void) {
        if (instance)
                suspendd_plugin.destroy(instance);
        instance = NULL;
        fake_peer_done(&monitor);
        fake_peer_done(&agent);
        fake_host_done(&fake);
        (void) unlink(monitor_path);
        (void) unlink(agent_path);
        (void) rmdir(directory);
}

/* A machine, identified and in the state of that word. */
static struct suspendd_machine *machine_in(const char *word) {
        load();
        fake_peer_identify(&monitor, "web", word);
        FAKE_HOST_WAIT(&fake, fake_host_find(&fake, "web"));
        return fake_host_find(&fake, "web");
}

/* The same with an agent that answers. */
static struct suspendd_machine *machine_with_agent(void) {
        struct suspendd_machine *m;

        fake_peer_listen(&agent, &fake, agent_path);
        m = machine_in("running");
        fake_peer_accept(&agent);
        fake_peer_sync(&agent);
        fake_peer_inform(&agent);
        FAKE_HOST_WAIT(&fake, !*m->why_not[SUSPENDD_ACT_SUSPEND]);
        return m;
}

static void say_event(const char *name) {
        char text[128];

        (void) snprintf(text, sizeof(text), "{\"event\": \"%s\", \"data\": {}}\r\n", name);
        fake_peer_say(&monitor, text);
}

static void answer_status(const char *word) {
        char value[64];

        (void) snprintf(value, sizeof(value), "{\"status\": \"%s\"}", word);
        fake_peer_answer(&monitor, "query-status", value);
}

static void begin(int (*act)(void *vm, uint64_t step), struct suspendd_machine *m) {
        ck_assert_int_eq(act(m->vm, ++last_step), SUSPENDD_PENDING);
}

/* QEMU is at the stop that was begun. */
static void come_to_stop(void) {
        fake_peer_answer(&monitor, "query-name", "{}");
        (void) fake_peer_await(&monitor, "\"stop\"");
}

static void end_stop(void) {
        fake_peer_answer(&monitor, "query-name", "{}");
        fake_peer_answer(&monitor, "stop", "{}");
}

static const FakeDone *await_done(void) {
        FAKE_HOST_WAIT(&fake, fake_host_find_done(&fake, last_step));
        return fake_host_find_done(&fake, last_step);
}

/* identity */

START_TEST(test_machine_is_announced_when_it_is_known) {
        struct suspendd_machine *m;
        char run[32];

        load();
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert_uint_eq(fake.n_machines, 0);
        ck_assert_uint_eq(fake.n_enumerated, 0);
        fake_peer_identify(&monitor, "web", "io-error");
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        m = fake_host_find(&fake, "web");
        ck_assert_ptr_nonnull(m);
        ck_assert_str_eq(m->uuid, "");
        ck_assert_str_eq(m->vmm, "QEMU 7.2.22");
        (void) snprintf(run, sizeof(run), "%d.", (int) getpid());
        ck_assert_int_eq(strncmp(m->run, run, strlen(run)), 0);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_OTHER);
        ck_assert_str_eq(m->detail, "io-error");
        ck_assert_str_eq(m->why_not[SUSPENDD_ACT_SUSPEND], "no guest agent");
        ck_assert_str_eq(m->why_not[SUSPENDD_ACT_WAKE], "");
}
END_TEST

/* Greets, and answers the first command; then lives on. */
static void be_vmm(void) {
        struct pollfd p = { .fd = monitor.fd, .events = POLLIN };
        char text[512] = "";
        const char *id;

        if (dprintf(monitor.fd, "{\"QMP\": {}}\r\n") < 0 || poll(&p, 1, 5000) != 1 ||
            recv(monitor.fd, text, sizeof(text) - 1, 0) <= 0)
                _exit(1);
        id = strstr(text, "\"id\":");
        if (!id ||
            dprintf(monitor.fd, "{\"return\": {}, %.*s}\r\n", (int) strcspn(id, ",}"), id) < 0)
                _exit(1);
        (void) raise(SIGSTOP);
        _exit(0);
}

/* Another one listened, which may have ended, or be anybody by now. */
START_TEST(test_machine_is_of_the_process_that_speaks) {
        struct suspendd_machine *m;
        char run[32];
        int status;
        pid_t vmm;

        load();
        vmm = fork();
        if (vmm == 0)
                be_vmm();
        ck_assert_int_gt(vmm, 0);
        FAKE_HOST_WAIT(&fake, waitpid(vmm, &status, WUNTRACED | WNOHANG) == vmm);
        ck_assert(WIFSTOPPED(status));
        fake_peer_answer(&monitor, "query-name", "{\"name\": \"web\"}");
        fake_peer_answer(&monitor, "query-uuid", "{}");
        fake_peer_answer(&monitor, "query-current-machine", "{}");
        fake_peer_answer(&monitor, "qom-list", "[]");
        fake_peer_answer(&monitor, "qom-list", "[]");
        answer_status("running");
        FAKE_HOST_WAIT(&fake, (m = fake_host_find(&fake, "web")));
        (void) kill(vmm, SIGKILL);
        ck_assert_int_eq(waitpid(vmm, NULL, 0), vmm);
        (void) snprintf(run, sizeof(run), "%d.", (int) vmm);
        ck_assert_int_eq(strncmp(m->run, run, strlen(run)), 0);
}
END_TEST

static const struct {
        const char *current, *peripheral, *anonymous, *why_not;
} hardware[] = {
        { "{\"wakeup-suspend-support\": false}",
          "[]",
          "[]",
          "QEMU cannot wake this machine from a suspend" },
        { "{\"wakeup-suspend-support\": true}",
          "[{\"name\": \"type\", \"type\": \"string\"},"
          "{\"name\": \"gpu\", \"type\": \"child<vfio-pci>\"}]",
          "[]",
          "VFIO device" },
        { "{}",
          "[]",
          "[{\"name\": \"device[0]\", \"type\": \"child<vhost-user-fs-pci>\"}]",
          "virtiofs/vhost-user device" },
        { "{}", "[7, {\"type\": 8}]", "{}", "no guest agent" },
};

START_TEST(test_hardware_that_forbids_a_suspend_is_named) {
        struct suspendd_machine *m;

        load();
        fake_peer_greet(&monitor);
        fake_peer_answer(&monitor, "query-name", "{}");
        fake_peer_refuse(&monitor, "query-uuid", "GenericError", "odd");
        fake_peer_answer(&monitor, "query-current-machine", hardware[_i].current);
        fake_peer_answer(&monitor, "qom-list", hardware[_i].peripheral);
        fake_peer_answer(&monitor, "qom-list", hardware[_i].anonymous);
        answer_status("running");
        FAKE_HOST_WAIT(&fake, (m = fake_host_find(&fake, "base")));
        ck_assert_str_eq(m->why_not[SUSPENDD_ACT_SUSPEND], hardware[_i].why_not);
        ck_assert_str_eq(m->why_not[SUSPENDD_ACT_PAUSE], "");
}
END_TEST

START_TEST(test_event_between_the_questions_announces_nothing) {
        struct suspendd_machine *m;

        load();
        fake_peer_greet(&monitor);
        say_event("STOP");
        fake_peer_answer(&monitor, "query-name", "{\"name\": \"web\"}");
        fake_peer_answer(&monitor, "query-uuid", "{}");
        fake_peer_answer(&monitor, "query-current-machine", "{}");
        fake_peer_answer(&monitor, "qom-list", "[]");
        fake_peer_answer(&monitor, "qom-list", "[]");
        answer_status("paused");
        answer_status("paused");
        FAKE_HOST_WAIT(&fake, (m = fake_host_find(&fake, "web")));
        ck_assert_int_eq(m->state, SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(fake.n_machines, 1);
}
END_TEST

START_TEST(test_mute_monitor_is_announced_as_held) {
        struct suspendd_machine *m;
        uint64_t before_usec = clock_now_usec(CLOCK_MONOTONIC);

        load();
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        ck_assert_uint_ge(clock_now_usec(CLOCK_MONOTONIC) - before_usec, 250 * USEC_PER_MSEC);
        m = fake_host_find(&fake, "base");
        ck_assert_ptr_nonnull(m);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_UNKNOWN);
        for (int act = 0; act < SUSPENDD_ACT_MAX; act++)
                ck_assert_str_eq(m->why_not[act], "monitor held by another client");
        ck_assert_int_lt(suspendd_plugin.pause(m->vm, 1), 0);
        ck_assert_int_lt(suspendd_plugin.suspend(m->vm, 2), 0);

        fake_peer_identify(&monitor, "web", "running");
        FAKE_HOST_WAIT(&fake, fake_host_find(&fake, "web"));
        ck_assert(!m->is_there);
        ck_assert_uint_eq(fake_host_count(&fake), 1);
        ck_assert_uint_eq(fake.n_enumerated, 1);
}
END_TEST

START_TEST(test_monitor_that_only_greets_is_announced_too) {
        struct suspendd_machine *m;

        load();
        fake_peer_greet(&monitor);
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        m = fake_host_find(&fake, "base");
        ck_assert_ptr_nonnull(m);
        ck_assert_str_eq(m->why_not[SUSPENDD_ACT_PAUSE], "monitor does not answer");
}
END_TEST

/* It is announced without knowing more, and once more when that is known. */
START_TEST(test_monitor_that_only_greets_is_known_later_though_memory_is_lacking) {
        load();
        fake_peer_greet(&monitor);
        (void) fake_peer_await(&monitor, "query-name");
        n_timers_lacking = 1;
        FAKE_HOST_WAIT(&fake, fake.n_machines == 1);
        ck_assert_str_eq(
                        fake_host_find(&fake, "base")->why_not[SUSPENDD_ACT_PAUSE],
                        "monitor does not answer");
        fake_peer_say(&monitor, "{\"return\": {\"name\": \"web\"}}\n");
        fake_peer_answer(
                        &monitor,
                        "query-uuid",
                        "{\"UUID\": \"01234567-89ab-cdef-0123-456789abcdef\"}");
        fake_peer_answer(&monitor, "query-current-machine", "{}");
        fake_peer_answer(&monitor, "qom-list", "[]");
        fake_peer_answer(&monitor, "qom-list", "[]");
        answer_status("running");
        FAKE_HOST_WAIT(&fake, fake_host_find(&fake, "web"));
        ck_assert_str_eq(fake_host_find(&fake, "web")->why_not[SUSPENDD_ACT_PAUSE], "");
}
END_TEST

/* It is announced anew: what was asked of the one before is over, and holds nothing up. */
START_TEST(test_step_of_a_machine_that_was_not_known_yet_is_over_once_it_is) {
        struct suspendd_machine *m;

        load();
        fake_peer_greet(&monitor);
        fake_peer_answer(&monitor, "query-name", "{\"name\": \"web\"}");
        fake_peer_answer(&monitor, "query-uuid", "{}");
        fake_peer_answer(&monitor, "query-current-machine", "{}");
        fake_peer_answer(&monitor, "qom-list", "[]");
        fake_peer_answer(&monitor, "qom-list", "[]");
        FAKE_HOST_WAIT(&fake, (m = fake_host_find(&fake, "web")));
        begin(suspendd_plugin.pause, m);
        answer_status("running");
        FAKE_HOST_WAIT(&fake, !m->is_there && fake_host_find(&fake, "web"));
        begin(suspendd_plugin.pause, fake_host_find(&fake, "web"));
        end_stop();
        end_stop();
        ck_assert_int_eq(await_done()->result, 0);
        ck_assert_uint_eq(fake.n_dones, 1);
}
END_TEST

START_TEST(test_machine_that_is_known_already_is_left_alone) {
        fake.add_error = -EEXIST;
        load();
        fake_peer_identify(&monitor, "web", "running");
        FAKE_HOST_WAIT(&fake, fake_peer_is_closed(&monitor));
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        ck_assert_uint_eq(fake.n_warnings, 0);
}
END_TEST

/* acts */

START_TEST(test_pause_is_seen_by_the_event_before_the_answer) {
        struct suspendd_machine *m = machine_in("running");

        begin(suspendd_plugin.pause, m);
        come_to_stop();
        say_event("STOP");
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        ck_assert(!fake_peer_hears(&monitor, "query-status"));
        ck_assert_ptr_null(fake_host_find_done(&fake, last_step));
}
END_TEST

static void count_others(FakeHost *f, struct suspendd_machine *m) {
        (void) f;
        n_others += m->state == SUSPENDD_STATE_OTHER;
}

/* The stop is sent while it is asked why the machine has stopped: the answer is of the time before. */
START_TEST(test_pause_by_another_hand_just_before_ours_is_not_ours) {
        struct suspendd_machine *m = machine_in("running");

        fake.on_state = count_others;
        say_event("STOP");
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        begin(suspendd_plugin.pause, m);
        answer_status("paused");
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(n_others, 1);
}
END_TEST

/* The stop that was given up is carried out first: its event says nothing of the second one. */
START_TEST(test_pause_is_answered_by_its_own_reply) {
        struct suspendd_machine *m = machine_in("running");

        begin(suspendd_plugin.pause, m);
        suspendd_plugin.cancel(m->vm, last_step);
        begin(suspendd_plugin.resume, m);
        suspendd_plugin.cancel(m->vm, last_step);
        begin(suspendd_plugin.pause, m);
        come_to_stop();
        say_event("STOP");
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert_uint_eq(fake.n_dones, 0);
}
END_TEST

/* QEMU's word for when it stopped; Returns: the same by CLOCK_BOOTTIME. */
static int64_t say_stop(void) {
        int64_t realtime_usec, boottime_ns;
        char text[128];

        do {
                boottime_ns = clock_now_ns(CLOCK_BOOTTIME);
                realtime_usec = clock_now_ns(CLOCK_REALTIME) / NSEC_PER_USEC;
        } while (clock_now_ns(CLOCK_BOOTTIME) - boottime_ns > 50 * NSEC_PER_USEC);

        (void) snprintf(text,
                        sizeof(text),
                        "{\"timestamp\": {\"seconds\": %" PRIi64 ", \"microseconds\": %" PRIi64
                        "}, \"event\": \"STOP\"}\r\n",
                        realtime_usec / (int64_t) USEC_PER_SEC,
                        realtime_usec % (int64_t) USEC_PER_SEC);
        fake_peer_say(&monitor, text);
        return boottime_ns;
}

/* It may be the half of a cont that came to a machine which ran already: then our own stop is yet to come. */
START_TEST(test_stop_that_is_older_than_ours_is_asked_about) {
        struct suspendd_machine *m = machine_in("running");

        (void) say_stop();
        begin(suspendd_plugin.pause, m);
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
        say_event("RESUME");
        come_to_stop();
        (void) say_stop();
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
}
END_TEST

/* Another hand was quicker, and the next sleep is there before QEMU comes to our cont. */
START_TEST(test_stop_of_a_cont_that_is_late_is_not_ours) {
        struct suspendd_machine *m = machine_in("running");
        unsigned n_states;

        begin(suspendd_plugin.pause, m);
        come_to_stop();
        (void) say_stop();
        fake_peer_say(&monitor, "{\"return\": {}}\n");
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        begin(suspendd_plugin.resume, m);
        say_event("RESUME");
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_RUNNING);
        begin(suspendd_plugin.pause, m);
        n_states = m->n_states;
        (void) say_stop();
        say_event("RESUME");
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert_uint_eq(m->n_states, n_states);
        fake_peer_answer(&monitor, "cont", "{}");
        come_to_stop();
        (void) say_stop();
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
}
END_TEST

/* A savevm is under way, which stops the machine and runs it again; then QEMU comes to our stop. */
START_TEST(test_stop_before_qemu_comes_to_ours_is_not_ours) {
        struct suspendd_machine *m = machine_in("running");
        unsigned n_states = m->n_states;

        begin(suspendd_plugin.pause, m);
        (void) say_stop();
        say_event("RESUME");
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert_uint_eq(m->n_states, n_states);
        come_to_stop();
        (void) say_stop();
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(m->n_states, n_states + 1);
}
END_TEST

static void count_running(FakeHost *f, struct suspendd_machine *m) {
        (void) f;
        n_others += m->state == SUSPENDD_STATE_RUNNING;
}

/* The same as QEMU comes to it. Told that it runs, nobody would think of our stop any more. */
START_TEST(test_resume_before_our_stop_is_answered_is_asked_about) {
        struct suspendd_machine *m = machine_in("running");

        begin(suspendd_plugin.pause, m);
        come_to_stop();
        (void) say_stop();
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        fake.on_state = count_running;
        say_event("RESUME");
        (void) say_stop();
        fake_peer_say(&monitor, "{\"return\": {}}\n");
        answer_status("paused");
        ck_assert_int_eq(await_done()->result, 0);
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(n_others, 0);
}
END_TEST

/* QEMU tells of no second stop: that one was its user's. */
START_TEST(test_pause_by_another_hand_before_qemu_comes_to_ours_is_not_ours) {
        struct suspendd_machine *m = machine_in("running");

        fake.on_state = count_others;
        begin(suspendd_plugin.pause, m);
        (void) say_stop();
        end_stop();
        answer_status("paused");
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(n_others, 1);
}
END_TEST

/* QEMU tells of no second stop: that one was its user's. */
START_TEST(test_stop_that_is_older_and_the_only_one_is_not_ours) {
        struct suspendd_machine *m = machine_in("running");

        fake.on_state = count_others;
        (void) say_stop();
        begin(suspendd_plugin.pause, m);
        end_stop();
        answer_status("paused");
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(n_others, 1);
}
END_TEST

/* One pause. Returns: how much before QEMU's word the machine stood. */
static int64_t pause_and_compare(struct suspendd_machine *m, uint64_t stop_takes_usec) {
        int64_t said_boottime_ns;

        begin(suspendd_plugin.pause, m);
        come_to_stop();
        fake_host_spend(&fake, stop_takes_usec);
        said_boottime_ns = say_stop();
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        return said_boottime_ns - m->boottime_ns;
}

START_TEST(test_stop_of_a_guest_that_is_told_is_known_from_its_beginning) {
        struct suspendd_machine *m = machine_in("running");
        int64_t earlier_ns;

        fake.is_told = true;
        earlier_ns = pause_and_compare(m, 20 * USEC_PER_MSEC);
        /* as far back as a stop takes, for it was asked so long before, and no further */
        ck_assert_int_le(earlier_ns, 510 * NSEC_PER_USEC);
        ck_assert_int_gt(earlier_ns, 0);
}
END_TEST

/* Nor is QEMU asked before the stop, for that takes its time. */
START_TEST(test_stop_of_a_guest_that_is_not_told_is_known_as_qemu_says) {
        struct suspendd_machine *m = machine_in("running");
        int64_t said_boottime_ns;

        fake.is_told = false;
        begin(suspendd_plugin.pause, m);
        (void) fake_peer_await(&monitor, "\"stop\"");
        ck_assert(!fake_peer_hears(&monitor, "query-name"));
        said_boottime_ns = say_stop();
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        ck_assert_int_ge(m->boottime_ns, said_boottime_ns - 10 * NSEC_PER_USEC);
}
END_TEST

/* However late it is read: 20 ms, or more than a stamp is trusted for to tell when a machine stood. */
START_TEST(test_stop_before_one_without_a_question_is_known_by_its_stamp) {
        struct suspendd_machine *m = machine_in("running");

        fake.is_told = false;
        fake.on_state = count_others;
        (void) say_stop();
        (void) usleep(_i == 0 ? 20000 : 80000);
        begin(suspendd_plugin.pause, m);
        fake_peer_answer(&monitor, "stop", "{}");
        answer_status("paused");
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(n_others, 1);
}
END_TEST

/* Stamps by a clock that has been set since then would make our own stop an older one's, and nobody would undo it. */
START_TEST(test_stop_is_ours_though_the_wall_clock_was_set_meanwhile) {
        struct suspendd_machine *m = machine_in("running");
        Vm *vm = m->vm;

        fake.is_told = false;
        fake.on_state = count_others;
        begin(suspendd_plugin.pause, m);
        (void) fake_peer_await(&monitor, "\"stop\"");
        /* as if the wall clock had been set back by that since it was sent */
        vm->stop_sent.realtime_ns += 30 * NSEC_PER_MSEC;
        (void) say_stop();
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_PAUSED);
        ck_assert_uint_eq(n_others, 0);
}
END_TEST

START_TEST(test_answer_without_the_event_is_no_pause) {
        struct suspendd_machine *m = machine_in("running");

        begin(suspendd_plugin.pause, m);
        end_stop();
        ck_assert_int_eq(await_done()->result, 0);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
        ck_assert_uint_eq(fake_host_count_done(&fake, last_step), 1);
}
END_TEST

START_TEST(test_stop_of_another_client_is_asked_about) {
        struct suspendd_machine *m = machine_in("running");

        say_event("STOP");
        answer_status("io-error");
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_OTHER);
        ck_assert_str_eq(m->detail, "io-error");
        say_event("RESUME");
        answer_status("running");
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_RUNNING);
        ck_assert_str_eq(m->detail, "");
}
END_TEST

START_TEST(test_events_while_it_is_asked_make_it_ask_again) {
        struct suspendd_machine *m = machine_in("running");
        unsigned n_states = m->n_states;

        say_event("STOP");
        (void) fake_peer_await(&monitor, "query-status");
        say_event("RESUME");
        fake_host_spend(&fake, 10 * USEC_PER_MSEC);
        fake_peer_say(&monitor, "{\"return\": {\"status\": \"paused\"}, \"id\": 8}\n");
        answer_status("running");
        FAKE_HOST_WAIT(&fake, m->n_states > n_states);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
}
END_TEST

START_TEST(test_resume_that_needs_a_reset_is_told) {
        struct suspendd_machine *m = machine_in("guest-panicked");

        begin(suspendd_plugin.resume, m);
        fake_peer_refuse(
                        &monitor,
                        "cont",
                        "GenericError",
                        "Resetting the Virtual Machine is required");
        ck_assert_int_eq(await_done()->result, -EUCLEAN);
        ck_assert_str_eq(await_done()->why, "Resetting the Virtual Machine is required");
}
END_TEST

START_TEST(test_wake_is_cont_then_wakeup) {
        struct suspendd_machine *m = machine_in("suspended");

        begin(suspendd_plugin.wake, m);
        fake_peer_answer(&monitor, "cont", "{}");
        ck_assert_ptr_null(fake_host_find_done(&fake, last_step));
        fake_peer_answer(&monitor, "system_wakeup", "{}");
        ck_assert_int_eq(await_done()->result, 0);
        say_event("WAKEUP");
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_RUNNING);
}
END_TEST

START_TEST(test_refused_wake_is_right_only_if_it_runs) {
        static const char refusal[] = "Unable to wake up: guest is not in suspended state";
        struct suspendd_machine *m = machine_in("suspended");

        begin(suspendd_plugin.wake, m);
        fake_peer_answer(&monitor, "cont", "{}");
        fake_peer_refuse(&monitor, "system_wakeup", "GenericError", refusal);
        answer_status("running");
        ck_assert_int_eq(await_done()->result, 0);

        begin(suspendd_plugin.wake, m);
        fake_peer_answer(&monitor, "cont", "{}");
        fake_peer_refuse(&monitor, "system_wakeup", "GenericError", refusal);
        answer_status("paused");
        ck_assert_int_eq(await_done()->result, -EIO);
        ck_assert_str_eq(await_done()->why, refusal);
}
END_TEST

START_TEST(test_cancelled_step_is_never_answered) {
        struct suspendd_machine *m = machine_in("running");
        uint64_t first;

        begin(suspendd_plugin.pause, m);
        first = last_step;
        ck_assert_int_eq(suspendd_plugin.pause(m->vm, 4711), -EBUSY);
        suspendd_plugin.cancel(m->vm, first);
        begin(suspendd_plugin.pause, m);
        end_stop();
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert_uint_eq(fake.n_dones, 0);
        end_stop();
        ck_assert_int_eq(await_done()->result, 0);
        ck_assert_uint_eq(fake_host_count_done(&fake, first), 0);
}
END_TEST

/* with an agent */

START_TEST(test_suspend_is_seen_by_the_event) {
        struct suspendd_machine *m = machine_with_agent();

        begin(suspendd_plugin.suspend, m);
        fake_peer_sync(&agent);
        ck_assert_int_eq(await_done()->result, 0);
        (void) fake_peer_await(&agent, "guest-suspend-ram");
        ck_assert_int_eq(m->state, SUSPENDD_STATE_RUNNING);
        say_event("SUSPEND");
        FAKE_HOST_WAIT(&fake, m->state == SUSPENDD_STATE_SUSPENDED);
}
END_TEST

START_TEST(test_set_time_clears_the_rtcs_backlog_where_there_is_one) {
        struct suspendd_machine *m = machine_with_agent();

        for (int i = 0; i < 2; i++) {
                ck_assert_int_eq(suspendd_plugin.set_time(m->vm, ++last_step, 0), 1);
                fake_peer_sync(&agent);
                (void) fake_peer_await(&agent, "guest-set-time");
                fake_peer_say(&agent, "{\"return\": {}}\n");
                ck_assert_int_eq(await_done()->result, 0);
                if (i == 0)
                        fake_peer_refuse(
                                        &monitor,
                                        "rtc-reset-reinjection",
                                        "CommandNotFound",
                                        "not on this one");
        }
        fake_host_spend(&fake, 20 * USEC_PER_MSEC);
        ck_assert(!fake_peer_hears(&monitor, "rtc-reset-reinjection"));
}
END_TEST

START_TEST(test_time_is_read) {
        struct suspendd_machine *m = machine_with_agent();

        begin(suspendd_plugin.get_time, m);
        fake_peer_sync(&agent);
        (void) fake_peer_await(&agent, "guest-get-time");
        fake_peer_say(&agent, "{\"return\": 42}\n");
        ck_assert(await_done()->is_time);
        ck_assert_int_eq(await_done()->time.guest_ns, 42);
}
END_TEST

START_TEST(test_agent_that_leaves_one_unanswered_is_told_until_it_answers) {
        struct suspendd_machine *m = machine_with_agent();

        begin(suspendd_plugin.suspend, m);
        fake_host_spend(&fake, 10 * USEC_PER_MSEC);
        suspendd_plugin.cancel(m->vm, last_step);
        FAKE_HOST_WAIT(&fake, *m->why_not[SUSPENDD_ACT_SUSPEND]);
        ck_assert_str_eq(m->why_not[SUSPENDD_ACT_SUSPEND], "guest agent does not answer");
        fake_peer_sync(&agent);
        FAKE_HOST_WAIT(&fake, !*m->why_not[SUSPENDD_ACT_SUSPEND]);
        ck_assert(!fake_peer_hears(&agent, "guest-suspend-ram"));
}
END_TEST

START_TEST(test_agent_may_come_later_and_go) {
        struct suspendd_machine *m = machine_in("running");

        ck_assert_str_eq(m->why_not[SUSPENDD_ACT_SUSPEND], "no guest agent");
        fake_peer_listen(&agent, &fake, agent_path);
        fake_peer_accept(&agent);
        fake_peer_sync(&agent);
        fake_peer_inform(&agent);
        FAKE_HOST_WAIT(&fake, !*m->why_not[SUSPENDD_ACT_SUSPEND]);
        (void) unlink(agent_path);
        fake_peer_done(&agent);
        FAKE_HOST_WAIT(&fake, *m->why_not[SUSPENDD_ACT_SUSPEND]);
        ck_assert_str_eq(m->why_not[SUSPENDD_ACT_SUSPEND], "no guest agent");
        fake_peer_listen(&agent, &fake, agent_path);
        fake_peer_accept(&agent);
}
END_TEST

/* Nothing can be opened when it hangs up, and nobody tells when that is over. */
START_TEST(test_agent_that_cannot_be_connected_to_for_lack_of_descriptors_is_tried_again) {
        struct suspendd_machine *m = machine_with_agent();
        struct rlimit limit, none = { 0 };

        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none.rlim_max = limit.rlim_max;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        fake_peer_hang_up(&agent);
        FAKE_HOST_WAIT(&fake, *m->why_not[SUSPENDD_ACT_SUSPEND]);
        FAKE_HOST_WAIT(&fake, fake.n_warnings == 1);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        fake_peer_accept(&agent);
}
END_TEST

START_TEST(test_opened_port_makes_it_look_again) {
        struct suspendd_machine *m = machine_with_agent();

        say_event("VSERPORT_CHANGE");
        FAKE_HOST_WAIT(&fake, *m->why_not[SUSPENDD_ACT_SUSPEND]);
        fake_peer_sync(&agent);
        fake_peer_inform(&agent);
        FAKE_HOST_WAIT(&fake, !*m->why_not[SUSPENDD_ACT_SUSPEND]);
}
END_TEST

/* endings */

START_TEST(test_machine_that_hangs_up_is_removed) {
        struct suspendd_machine *m = machine_with_agent();

        begin(suspendd_plugin.pause, m);
        fake_peer_hang_up(&monitor);
        FAKE_HOST_WAIT(&fake, !m->is_there);
        ck_assert_int_eq(
                        m->state,
                        SUSPENDD_STATE_UNKNOWN); /* its VMM lives: it may come back as it was */
        FAKE_HOST_WAIT(&fake, fake_peer_is_closed(&agent));
        ck_assert_uint_eq(fake.n_dones, 0);
        fake_peer_accept(&monitor); /* it is tried again */
}
END_TEST

START_TEST(test_broken_monitor_is_out_of_reach_and_tried_again_later) {
        struct suspendd_machine *m = machine_in("running");
        uint64_t before_usec = clock_now_usec(CLOCK_MONOTONIC);

        fake_peer_say(&monitor, "rubbish\n");
        FAKE_HOST_WAIT(&fake, !m->is_there);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_UNKNOWN);
        ck_assert_uint_eq(fake.n_warnings, 1);
        fake_peer_hang_up(&monitor);
        fake_peer_accept(&monitor);
        ck_assert_uint_ge(clock_now_usec(CLOCK_MONOTONIC) - before_usec, 900 * USEC_PER_MSEC);
        fake_peer_say(&monitor, "rubbish\n");
        fake_peer_hang_up(&monitor);
        fake_peer_accept(&monitor);
        ck_assert_uint_ge(clock_now_usec(CLOCK_MONOTONIC) - before_usec, 2900 * USEC_PER_MSEC);
        ck_assert_uint_eq(fake.n_warnings, 1);
}
END_TEST

static void destroy_all(FakeHost *f, struct suspendd_machine *m) {
        (void) f;
        (void) m;
        suspendd_plugin.destroy(instance);
        instance = NULL;
}

START_TEST(test_it_may_be_destroyed_in_the_hosts_calls) {
        struct suspendd_machine *m;

        if (_i == 1)
                fake.on_state = destroy_all;
        m = machine_in("running");
        if (_i == 0) {
                fake.on_state = destroy_all;
                begin(suspendd_plugin.pause, m);
                come_to_stop();
                fake_peer_say(&monitor, "{\"event\": \"STOP\"}\n{\"event\": \"RESUME\"}\n");
        }
        FAKE_HOST_WAIT(&fake, !instance);
        ck_assert(m->is_there); /* nothing more is announced */
        FAKE_HOST_WAIT(&fake, fake_peer_is_closed(&monitor));
        ck_assert_int_eq(sd_event_run(fake.host.event, 50 * USEC_PER_MSEC), 0);
}
END_TEST

START_TEST(test_reload_without_it_lets_it_go) {
        struct suspendd_machine *m = machine_in("paused");

        ck_assert_int_eq(suspendd_plugin.load(instance, NULL, 0), 0);
        ck_assert(!m->is_there);
        ck_assert_int_eq(m->state, SUSPENDD_STATE_UNKNOWN);
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 2);
}
END_TEST

static void add_tests(TCase *c) {
        tcase_add_test(c, test_machine_is_announced_when_it_is_known);
        tcase_add_test(c, test_machine_is_of_the_process_that_speaks);
        tcase_add_loop_test(
                        c, test_hardware_that_forbids_a_suspend_is_named, 0, ARRAY_LEN(hardware));
        tcase_add_test(c, test_event_between_the_questions_announces_nothing);
        tcase_add_test(c, test_mute_monitor_is_announced_as_held);
        tcase_add_test(c, test_monitor_that_only_greets_is_announced_too);
        tcase_add_test(c, test_monitor_that_only_greets_is_known_later_though_memory_is_lacking);
        tcase_add_test(c, test_step_of_a_machine_that_was_not_known_yet_is_over_once_it_is);
        tcase_add_test(c, test_machine_that_is_known_already_is_left_alone);
        tcase_add_test(c, test_pause_is_seen_by_the_event_before_the_answer);
        tcase_add_test(c, test_pause_is_answered_by_its_own_reply);
        tcase_add_test(c, test_stop_that_is_older_than_ours_is_asked_about);
        tcase_add_test(c, test_stop_of_a_cont_that_is_late_is_not_ours);
        tcase_add_test(c, test_stop_before_qemu_comes_to_ours_is_not_ours);
        tcase_add_loop_test(c, test_stop_before_one_without_a_question_is_known_by_its_stamp, 0, 2);
        tcase_add_test(c, test_stop_is_ours_though_the_wall_clock_was_set_meanwhile);
        tcase_add_test(c, test_resume_before_our_stop_is_answered_is_asked_about);
        tcase_add_test(c, test_pause_by_another_hand_before_qemu_comes_to_ours_is_not_ours);
        tcase_add_test(c, test_stop_that_is_older_and_the_only_one_is_not_ours);
        tcase_add_test(c, test_pause_by_another_hand_just_before_ours_is_not_ours);
        tcase_add_test(c, test_stop_of_a_guest_that_is_told_is_known_from_its_beginning);
        tcase_add_test(c, test_stop_of_a_guest_that_is_not_told_is_known_as_qemu_says);
        tcase_add_test(c, test_answer_without_the_event_is_no_pause);
        tcase_add_test(c, test_stop_of_another_client_is_asked_about);
        tcase_add_test(c, test_events_while_it_is_asked_make_it_ask_again);
        tcase_add_test(c, test_resume_that_needs_a_reset_is_told);
        tcase_add_test(c, test_wake_is_cont_then_wakeup);
        tcase_add_test(c, test_refused_wake_is_right_only_if_it_runs);
        tcase_add_test(c, test_cancelled_step_is_never_answered);
        tcase_add_test(c, test_suspend_is_seen_by_the_event);
        tcase_add_test(c, test_set_time_clears_the_rtcs_backlog_where_there_is_one);
        tcase_add_test(c, test_time_is_read);
        tcase_add_test(c, test_agent_that_leaves_one_unanswered_is_told_until_it_answers);
        tcase_add_test(c, test_agent_may_come_later_and_go);
        tcase_add_test(c,
                       test_agent_that_cannot_be_connected_to_for_lack_of_descriptors_is_tried_again);
        tcase_add_test(c, test_opened_port_makes_it_look_again);
        tcase_add_test(c, test_machine_that_hangs_up_is_removed);
        tcase_add_test(c, test_broken_monitor_is_out_of_reach_and_tried_again_later);
        tcase_add_loop_test(c, test_it_may_be_destroyed_in_the_hosts_calls, 0, 2);
        tcase_add_test(c, test_reload_without_it_lets_it_go);
}

int main(void) {
        Suite *suite = suite_create("qmp-vm");
        TCase *c = tcase_create("vm");
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
