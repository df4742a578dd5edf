/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a machine is in: run state, the guest's suspend and its clock, with QEMU 7.2's transitions.
 */

#include <errno.h>
#include <time.h>
#include "qmp-fake.h"
#include "record.h"

static const char *const monitor_kind_names[_MONITOR_KIND_MAX] = {
        [MONITOR_GOOD] = "good",       [MONITOR_HUNG] = "hung",       [MONITOR_DEAF] = "deaf",
        [MONITOR_MUTE] = "mute",       [MONITOR_BUSY] = "busy",       [MONITOR_FLOOD] = "flood",
        [MONITOR_DRIP] = "drip",       [MONITOR_LONG] = "long",       [MONITOR_DEEP] = "deep",
        [MONITOR_BADUTF8] = "badutf8", [MONITOR_GARBAGE] = "garbage", [MONITOR_SPLIT] = "split",
        [MONITOR_LIE] = "lie",         [MONITOR_NOREPLY] = "noreply", [MONITOR_DIES] = "dies",
};

static const char *const agent_kind_names[_AGENT_KIND_MAX] = {
        [AGENT_NONE] = "none",       [AGENT_GOOD] = "good",   [AGENT_HUNG] = "hung",
        [AGENT_SLOW] = "slow",       [AGENT_ERROR] = "error", [AGENT_NOSUSPEND] = "nosuspend",
        [AGENT_GARBAGE] = "garbage", [AGENT_LIE] = "lie",     [AGENT_LATE] = "late",
};

MonitorKind monitor_kind_from_string(const char *s) {
        for (int i = 0; i < _MONITOR_KIND_MAX; i++)
                if (str_equal(monitor_kind_names[i], s))
                        return (MonitorKind) i;
        return _MONITOR_KIND_INVALID;
}

AgentKind agent_kind_from_string(const char *s) {
        for (int i = 0; i < _AGENT_KIND_MAX; i++)
                if (str_equal(agent_kind_names[i], s))
                        return (AgentKind) i;
        return _AGENT_KIND_INVALID;
}

static int64_t clock_ns(clockid_t id) {
        struct timespec t = {};

        (void) clock_gettime(id, &t);
        return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

void machine_log(const Machine *m, const char *what, const char *text) {
        printf("%lld %s %s %s\n", (long long) monotonic_ns(), m->name, what, text);
}

/* lifetime */

/* takes the "[:ARG]" off @s */
static unsigned split_argument(char *s) {
        char *colon = strchr(s, ':');

        if (!colon)
                return 0;
        *colon = 0;
        return (unsigned) strtoul(colon + 1, NULL, 10);
}

static int machine_parse(Machine *m, const char *spec) {
        _cleanup_free_ char *s = strdup(spec);
        char *monitor, *agent;

        if (!s)
                return -ENOMEM;
        monitor = strchr(s, '=');
        if (!monitor || monitor == s)
                return -EINVAL;
        *monitor++ = 0;
        agent = strchr(monitor, '+');
        if (agent)
                *agent++ = 0;

        m->monitor_arg = split_argument(monitor);
        m->monitor_kind = monitor_kind_from_string(monitor);
        if (agent) {
                m->agent_arg = split_argument(agent);
                m->agent_kind = agent_kind_from_string(agent);
        }
        if (m->monitor_kind < 0 || m->agent_kind < 0)
                return -EINVAL;
        m->name = strdup(s);
        return m->name ? 0 : -ENOMEM;
}

int machine_new(sd_event *event, const char *dir, const char *spec, Machine **ret_machine) {
        _cleanup_(machine_freep) Machine *m = calloc(1, sizeof(*m));
        _cleanup_free_ char *monitor = NULL, *agent = NULL;
        int r;

        if (!m)
                return -ENOMEM;
        list_init(&m->link);
        m->event = event;
        (void) snprintf(m->state, sizeof(m->state), "running");
        r = machine_parse(m, spec);
        if (r < 0)
                return r;

        if (asprintf(&monitor, "%s/%s.qmp", dir, m->name) < 0)
                return -ENOMEM;
        if (asprintf(&agent, "%s/%s.qga", dir, m->name) < 0)
                return -ENOMEM;
        /* the agent's first: who watches the directory sees a monitor whose agent is there */
        if (m->agent_kind != AGENT_NONE) {
                r = channel_open(&m->agent, m, true, agent);
                if (r < 0)
                        return r;
        }
        r = channel_open(&m->monitor, m, false, monitor);
        if (r < 0)
                return r;
        *ret_machine = TAKE_PTR(m);
        return 0;
}

void machine_die(Machine *m) {
        m->suspend_timer = sd_event_source_disable_unref(m->suspend_timer);
        channel_close(&m->monitor);
        channel_close(&m->agent);
}

Machine *machine_free(Machine *m) {
        if (!m)
                return NULL;

        machine_die(m);
        list_unlink(&m->link);
        free(m->name);
        free(m);
        return NULL;
}

/* run state */

bool machine_is_running(const Machine *m) {
        return str_equal(m->state, "running");
}

void machine_set_state(Machine *m, const char *state) {
        (void) snprintf(m->state, sizeof(m->state), "%s", state);
        machine_log(m, "state", state);
}

void machine_emit(Machine *m, const char *name, const char *data) {
        int64_t now = clock_ns(CLOCK_REALTIME);
        char line[512];
        int n;

        if (m->monitor.fd < 0 || !m->monitor.is_negotiated)
                return;
        n = snprintf(line,
                     sizeof(line),
                     "{\"timestamp\": {\"seconds\": %lld, \"microseconds\": %lld}, \"event\": \"%s\"%s%s}\r\n",
                     (long long) (now / 1000000000),
                     (long long) (now % 1000000000 / 1000),
                     name,
                     data ? ", \"data\": " : "",
                     data ? data : "");
        channel_send(&m->monitor, line, (size_t) n);
}

void machine_stop(Machine *m) {
        if (!machine_is_running(m))
                return;
        m->stopped_boottime_ns = clock_ns(CLOCK_BOOTTIME);
        machine_set_state(m, "paused");
        machine_emit(m, "STOP", NULL);
}

/* what the agent was told before or while its guest stood */
static void machine_catch_up(Machine *m) {
        if (m->suspend_is_due) {
                m->suspend_is_due = false;
                machine_suspend_in(m, 20);
        }
        channel_process(&m->agent);
}

void machine_cont(Machine *m) {
        if (machine_is_running(m)) {
                machine_emit(m, "STOP", NULL);
                machine_emit(m, "RESUME", NULL);
                return;
        }
        if (str_equal(m->state, "suspended"))
                return;
        if (str_equal(m->state, "paused"))
                m->clock_offset_ns -= clock_ns(CLOCK_BOOTTIME) - m->stopped_boottime_ns;
        machine_set_state(m, "running");
        machine_emit(m, "RESUME", NULL);
        machine_catch_up(m);
}

bool machine_wake(Machine *m) {
        if (!str_equal(m->state, "suspended"))
                return false;
        machine_set_state(m, "running");
        machine_emit(m, "WAKEUP", NULL);
        machine_catch_up(m);
        return true;
}

static int machine_on_suspend(sd_event_source *s, uint64_t usec, void *userdata) {
        Machine *m = userdata;

        (void) s;
        (void) usec;
        if (!machine_is_running(m)) {
                m->suspend_is_due = true;
                return 0;
        }
        machine_set_state(m, "suspended");
        machine_emit(m, "SUSPEND", NULL);
        return 0;
}

void machine_suspend_in(Machine *m, unsigned delay_msec) {
        m->suspend_timer = sd_event_source_disable_unref(m->suspend_timer);
        (void) sd_event_add_time_relative(
                        m->event,
                        &m->suspend_timer,
                        CLOCK_MONOTONIC,
                        (uint64_t) delay_msec * 1000,
                        1,
                        machine_on_suspend,
                        m);
}

/* the clock: stands while the machine is paused; the guest's kernel mends it after a suspend */

int64_t machine_get_clock(const Machine *m) {
        return clock_ns(CLOCK_REALTIME) + m->clock_offset_ns;
}

void machine_set_clock(Machine *m, int64_t realtime_ns) {
        m->clock_offset_ns = realtime_ns - clock_ns(CLOCK_REALTIME);
}
