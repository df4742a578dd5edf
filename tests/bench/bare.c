/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The least that a service on the system bus must do before it is ready: connect, add a match, own
 * a name, say READY=1. What suspendd's start is measured against.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        (void) m;
        (void) userdata;
        (void) error;
        return 0;
}

static int run(sd_event *event, sd_bus *bus) {
        int r;

        r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
        if (r < 0)
                return r;
        r = sd_bus_attach_event(bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return r;
        r = sd_bus_match_signal(
                        bus,
                        NULL,
                        "org.freedesktop.login1",
                        "/org/freedesktop/login1",
                        "org.freedesktop.login1.Manager",
                        "PrepareForSleep",
                        on_signal,
                        NULL);
        if (r < 0)
                return r;
        r = sd_bus_request_name(bus, "org.suspendd.Bare", 0);
        if (r < 0)
                return r;
        (void) sd_notify(0, "READY=1");
        return sd_event_loop(event);
}

int main(void) {
        sd_event *event = NULL;
        sd_bus *bus = NULL;
        sigset_t set;
        int r;

        (void) sigemptyset(&set);
        (void) sigaddset(&set, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &set, NULL);
        r = sd_event_default(&event);
        if (r >= 0)
                r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = run(event, bus);
        if (r < 0)
                fprintf(stderr, "bare: %s\n", strerror(-r));
        sd_bus_flush_close_unref(bus);
        sd_event_unref(event);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
