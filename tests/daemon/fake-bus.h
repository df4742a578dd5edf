/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Fake Bus
 *
 * A bus of a test's own with the fake logind on it: dbus-daemon in the scratch folder, a connection
 * under test that is attached to a loop, and one beside it by which the fake is steered. The fake is
 * the program named by FAKE_LOGIN1 in the environment.
 */

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/time-util.h"
#include "scratch.h"

#define LIMIT_USEC (10 * USEC_PER_SEC)

typedef struct FakeBus {
        pid_t daemon, login1;
        sd_event *event;
        sd_bus *bus;     /* under test */
        sd_bus *control; /* the test's own; also for playing a stranger */
} FakeBus;

static FakeBus fake = { 0 };

static const char bus_config[] =
                "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\""
                " \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">"
                "<busconfig><type>session</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>"
                "<policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>"
                "<allow send_destination=\"*\"/><allow send_type=\"signal\"/>"
                "<allow send_requested_reply=\"true\" send_type=\"method_return\"/>"
                "<allow send_requested_reply=\"true\" send_type=\"error\"/>"
                "<allow receive_sender=\"*\"/></policy></busconfig>";

/* Starts a program whose complaints the test does not want. */
static inline pid_t fake_spawn(const char *const *argv) {
        pid_t pid;

        ck_assert_ptr_nonnull(argv[0]);
        pid = fork();

        if (pid == 0) {
                /* dbus-daemon complains of a limit that it may not raise */
                (void) dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
                (void) execvp(argv[0], (char *const *) argv);
                _exit(127);
        }
        ck_assert_int_gt(pid, 0);
        return pid;
}

static inline void fake_kill(pid_t *pid) {
        if (*pid <= 0)
                return;
        (void) kill(*pid, SIGKILL);
        (void) waitpid(*pid, NULL, 0);
        *pid = 0;
}

/* Runs the loop until *@value has reached @wanted. */
static inline void fake_run_until(const unsigned *value, unsigned wanted) {
        uint64_t end_usec = clock_now_usec(CLOCK_MONOTONIC) + LIMIT_USEC;

        while (*value < wanted) {
                ck_assert_uint_lt(clock_now_usec(CLOCK_MONOTONIC), end_usec);
                ck_assert_int_ge(sd_event_run(fake.event, USEC_PER_SEC / 10), 0);
        }
}

/* Runs the loop for that long. Returns: how often it woke. */
static inline unsigned fake_run_for(uint64_t usec) {
        uint64_t now_usec = clock_now_usec(CLOCK_MONOTONIC), end_usec = now_usec + usec;
        unsigned n = 0;

        for (; now_usec < end_usec; now_usec = clock_now_usec(CLOCK_MONOTONIC)) {
                int r = sd_event_run(fake.event, end_usec - now_usec);

                ck_assert_int_ge(r, 0);
                n += r > 0;
        }
        return n;
}

static inline void fake_set_address(void) {
        char address[128];

        (void) snprintf(address, sizeof(address), "unix:path=%s", scratch_path("bus"));
        ck_assert_int_eq(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1), 0);
}

/* A connection, as soon as the bus is there. */
static inline sd_bus *fake_connect(void) {
        uint64_t end_usec = clock_now_usec(CLOCK_MONOTONIC) + LIMIT_USEC;
        sd_bus *bus = NULL;

        while (sd_bus_open_system(&bus) < 0) {
                ck_assert_uint_lt(clock_now_usec(CLOCK_MONOTONIC), end_usec);
                (void) poll(NULL, 0, 2);
        }
        return bus;
}

static inline bool fake_has_name(const char *name) {
        return sd_bus_get_name_creds(fake.control, name, 0, NULL) >= 0;
}

/* Starts the fake logind and waits until it owns its last name. */
static inline void fake_start_login1(void) {
        const char *const argv[] = { getenv("FAKE_LOGIN1"), NULL };
        uint64_t end_usec = clock_now_usec(CLOCK_MONOTONIC) + LIMIT_USEC;

        fake.login1 = fake_spawn(argv);
        while (!fake_has_name("org.suspendd.FakeLogin1")) {
                ck_assert_uint_lt(clock_now_usec(CLOCK_MONOTONIC), end_usec);
                (void) poll(NULL, 0, 2);
        }
}

static inline void fake_start_bus(void) {
        char config[2048], path[128];
        const char *argv[] = { "dbus-daemon", "--nofork", NULL, NULL };

        scratch_make();
        (void) snprintf(config, sizeof(config), bus_config, scratch_path("bus"));
        scratch_write("bus.conf", config);
        (void) snprintf(path, sizeof(path), "--config-file=%s", scratch_path("bus.conf"));
        argv[2] = path;
        fake.daemon = fake_spawn(argv);
        fake_set_address();
        fake.control = fake_connect();
        fake.bus = fake_connect();
        ck_assert_int_eq(sd_event_new(&fake.event), 0);
        ck_assert_int_ge(sd_bus_attach_event(fake.bus, fake.event, SD_EVENT_PRIORITY_NORMAL), 0);
}

static inline void fake_start(void) {
        fake_start_bus();
        fake_start_login1();
}

static inline void fake_stop(void) {
        (void) sd_bus_detach_event(fake.bus);
        fake.bus = sd_bus_close_unref(fake.bus);
        fake.control = sd_bus_close_unref(fake.control);
        fake.event = sd_event_unref(fake.event);
        fake_kill(&fake.login1);
        fake_kill(&fake.daemon);
        scratch_remove();
}

/* Calls a method of the fake's control interface. */
#define fake_call(_method, ...)                                     \
        ck_assert_int_ge(                                           \
                        sd_bus_call_method(                         \
                                        fake.control,               \
                                        "org.suspendd.FakeLogin1",  \
                                        "/org/suspendd/FakeLogin1", \
                                        "org.suspendd.FakeLogin1",  \
                                        _method,                    \
                                        NULL,                       \
                                        NULL,                       \
                                        __VA_ARGS__),               \
                        0)

/* Returns: whether what this needs is there; if not, says so. */
static inline bool fake_is_possible(void) {
        const char *login1 = getenv("FAKE_LOGIN1");

        if (!login1 || access(login1, X_OK) < 0) {
                (void) puts("skipped: FAKE_LOGIN1 names no program");
                return false;
        }
        if (system("command -v dbus-daemon >/dev/null") != 0) { /* NOLINT(cert-env33-c) */
                (void) puts("skipped: there is no dbus-daemon");
                return false;
        }
        return true;
}
