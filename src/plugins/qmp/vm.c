/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/vm.h"
#include <errno.h>
#include <stdlib.h>
#include <syslog.h>
#include "common/passing-error.h"
#include "common/process.h"
#include "common/time-util.h"
#include "plugins/qmp/channel.h"
#include "plugins/qmp/vm-internal.h"

/* QEMU greets in under 10 ms, unless it serves somebody else. */
#define GREETING_USEC (300 * USEC_PER_MSEC)
/* Then it may be in the middle of something. */
#define ANSWERS_USEC (1500 * USEC_PER_MSEC)
/* From the beginning of a stop to its event, where nothing is in QEMU's way. */
#define STOP_LASTS_NS (500 * NSEC_PER_USEC)
/* Two clocks, read one after the other, are no further apart than that unless one was set; adjtimex(2) takes as much in 200 ms. */
#define CLOCK_STEP_NS (100 * NSEC_PER_USEC)

/* what the host is told */

/* What stands against a suspend, whatever the agent says. */
static const char *vm_no_suspend(const Vm *vm) {
        if (vm->identity.no_wakeup)
                return "QEMU cannot wake this machine from a suspend";
        return vm->identity.device;
}

static const char *vm_no_agent(const Vm *vm, enum suspendd_act act) {
        return vm->agent ? agent_why_not(vm->agent, act) : "no guest agent";
}

static void vm_describe(const Vm *vm, struct suspendd_machine_info *ret) {
        const char *no_suspend = vm_no_suspend(vm);

        *ret = (struct suspendd_machine_info){
                .size = sizeof(*ret),
                .name = vm->place.name      ? vm->place.name
                        : vm->identity.name ? vm->identity.name
                                            : vm->fallback_name,
                .uuid = vm->identity.uuid,
                .run = vm->identity.run,
                .vmm = vm->identity.vmm,
                .address = vm->place.path,
        };
        if (vm->trouble) {
                for (int act = 0; act < SUSPENDD_ACT_MAX; act++)
                        ret->why_not[act] = vm->trouble;
                return;
        }
        ret->why_not[SUSPENDD_ACT_SUSPEND] = no_suspend ?: vm_no_agent(vm, SUSPENDD_ACT_SUSPEND);
        if (vm->identity.no_wakeup)
                ret->why_not[SUSPENDD_ACT_WAKE] = no_suspend;
        ret->why_not[SUSPENDD_ACT_GET_TIME] = vm_no_agent(vm, SUSPENDD_ACT_GET_TIME);
        ret->why_not[SUSPENDD_ACT_SET_TIME] = vm_no_agent(vm, SUSPENDD_ACT_SET_TIME);
}

static void vm_settle(Vm *vm) {
        if (vm->settled)
                return;
        vm->settled = true;
        vm->ops->on_settled(vm->userdata);
}

/* Announces the machine as it is known by now, in the place of what was announced before. */
static void vm_announce(Vm *vm) {
        struct suspendd_machine *machine = TAKE_PTR(vm->machine);
        struct suspendd_machine_info info;
        int r;

        vm_forget_steps(vm);
        if (machine)
                vm->host->machine_remove(machine);
        if (vm->gone)
                return;
        vm_describe(vm, &info);
        r = vm->host->machine_add(vm->host, vm, &info, &machine);
        if (vm->gone) {
                if (r >= 0)
                        vm->host->machine_remove(machine);
                return;
        }
        if (r < 0) {
                vm->ops->on_end(vm->userdata, r, strerror(-r));
                return;
        }
        vm->machine = machine;
        vm_tell_state(vm, 0);
        if (!vm->gone)
                vm_settle(vm);
}

static int vm_on_change(sd_event_source *s, void *userdata) {
        _cleanup_(vm_unrefp) Vm *vm = vm_ref(userdata);
        struct suspendd_machine_info info;

        (void) s;
        vm->change = sd_event_source_disable_unref(vm->change);
        if (!vm->machine)
                return 0;
        vm_describe(vm, &info);
        vm->host->machine_change(vm->machine, &info);
        return 0;
}

void vm_changed(Vm *vm) {
        if (vm->change || !vm->machine)
                return;
        if (sd_event_add_defer(vm->host->event, &vm->change, vm_on_change, vm) >= 0)
                (void) sd_event_source_set_description(vm->change, "qmp-vm-change");
}

void vm_tell_state(Vm *vm, int64_t boottime_ns) {
        if (!vm->machine || !vm->known)
                return;
        vm->host->machine_state(
                        vm->machine,
                        vm->run.state,
                        vm->run.word[0] ? vm->run.word : NULL,
                        boottime_ns);
}

/* the agent's connection */

static void vm_on_agent_change(void *userdata) {
        Vm *vm = userdata;

        retry_reset(&vm->agent_retry);
        vm_changed(vm);
}

static void vm_on_agent_end(void *userdata, int error) {
        Vm *vm = userdata;

        vm->host->log(vm->host,
                      LOG_DEBUG,
                      vm->machine,
                      "Guest agent's socket closed: %s",
                      strerror(-error));
        vm->agent = agent_free(vm->agent);
        vm_changed(vm);
        (void) retry_soon(&vm->agent_retry);
}

static const AgentOps vm_agent_ops = {
        .on_change = vm_on_agent_change,
        .on_done = vm_on_agent_done,
        .on_time = vm_on_agent_time,
        .on_end = vm_on_agent_end,
};

/* Otherwise a user could have us speak to somebody else's service as if it were his guest's agent. */
static int vm_check_agent(const Vm *vm, int fd, const char **ret_why) {
        uid_t user = (uid_t) -1, expected = 0;
        int r;

        r = monitor_get_user(vm->monitor, &expected);
        if (r >= 0)
                r = channel_fd_user(fd, &user);
        if (r < 0 || user == expected)
                return r;
        *ret_why = "another user listens there than at the monitor";
        return -EPERM;
}

static void vm_report_agent(Vm *vm, int error, const char *why) {
        bool is_quiet = error == -ENOENT || error == -ECONNREFUSED || error == vm->agent_error;

        vm->agent_error = error;
        vm->host->log(vm->host,
                      is_quiet ? LOG_DEBUG : LOG_WARNING,
                      vm->machine,
                      "Cannot connect to the guest agent at %s: %s",
                      vm->place.agent_path,
                      why ?: strerror(-error));
}

/* Another client's connection to the agent cannot be told from an agent that does not answer. */
static void vm_open_agent(void *userdata) {
        _cleanup_close_ int fd = -1;
        const char *why = NULL;
        Vm *vm = userdata;
        int r;

        if (vm->agent || !vm->place.agent_path)
                return;
        r = channel_connect(vm->place.agent_path, 0, &fd, &why);
        if (r >= 0)
                r = vm_check_agent(vm, fd, &why);
        if (r >= 0)
                r = agent_new(vm->host->event, fd, &vm_agent_ops, vm, &vm->agent);
        if (r >= 0) {
                fd = -1;
                vm->agent_error = 0;
                vm_changed(vm);
                return;
        }
        vm_report_agent(vm, r, why);
        if (error_is_passing(r))
                retry_for_ever(&vm->agent_retry);
        else if (r == -ECONNREFUSED)
                (void) retry_soon(&vm->agent_retry);
}

void vm_look_for_agent(Vm *vm) {
        if (!vm->known || vm->agent)
                return;
        retry_reset(&vm->agent_retry);
        vm_open_agent(vm);
}

/* the monitor's events */

static void vm_on_word(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        _cleanup_(vm_unrefp) Vm *vm = vm_ref(userdata);
        const char *word;

        (void) tag;
        vm->word_asked = false;
        if (vm->word_again) {
                vm->word_again = false;
                vm_ask_word(vm, vm->stamp_boottime_ns);
                return;
        }
        if (json_view_get_string(value, "status", &word) < 0) {
                vm->host->log(vm->host,
                              LOG_WARNING,
                              vm->machine,
                              "QEMU does not tell its run state: %s",
                              error < 0 && why ? why : "no status in its answer");
                word = NULL;
        }
        run_state_on_word(&vm->run, word);
        vm->known = true;
        if (vm->machine && !vm->trouble) {
                /* Its user's pause, not what the stop will have done that was sent since. */
                if (vm->run.state == SUSPENDD_STATE_PAUSED &&
                    (vm->was_stopped_before || (vm->word_is_early && vm->run.stop_sent)))
                        vm->host->machine_state(
                                        vm->machine,
                                        SUSPENDD_STATE_OTHER,
                                        "paused by another hand",
                                        vm->stamp_boottime_ns);
                vm_tell_state(vm, vm->stamp_boottime_ns);
                return;
        }
        vm->patience = sd_event_source_disable_unref(vm->patience);
        vm->trouble = NULL;
        vm_open_agent(vm);
        vm_announce(vm);
}

void vm_ask_word(Vm *vm, int64_t stamp_boottime_ns) {
        const MonitorCommand question = {
                .execute = "query-status",
                .on_reply = vm_on_word,
                .userdata = vm,
        };
        int r;

        vm->stamp_boottime_ns = stamp_boottime_ns;
        if (vm->word_asked) {
                vm->word_again = true;
                return;
        }
        vm->word_is_early = !vm->run.stop_sent;
        r = monitor_send(vm->monitor, &question);
        vm->word_asked = r >= 0;
        /* Without the answer what is known of it would be wrong for good. */
        if (r < 0)
                vm->ops->on_end(vm->userdata, r, strerror(-r));
}

/* Looks at the devices again; one look at a time, however many go at once. */
static void vm_ask_devices(Vm *vm) {
        if (!vm->devices_again || vm->devices_asked)
                return;
        vm->devices_again = false;
        vm->devices_asked = identity_ask_devices(&vm->identity, vm->monitor) >= 0;
}

/* Events that have nothing to do with the run state. Returns: false if it was none of them. */
static bool vm_on_hardware_event(Vm *vm, const char *name) {
        if (str_equal(name, "VSERPORT_CHANGE")) {
                if (vm->agent)
                        agent_probe(vm->agent);
                else
                        vm_look_for_agent(vm);
                return true;
        }
        if (str_equal(name, "DEVICE_DELETED")) {
                vm->devices_again = true;
                vm_ask_devices(vm);
                return true;
        }
        return false;
}

/*
 * A guest's clock stands from the beginning of the stop, and the event comes when each vCPU has noticed:
 * under TCG 0.25 to 0.45 ms later, seen with 7.2, milliseconds where the host is busy. What is earlier than
 * that was more likely QEMU waiting for a CPU between the two commands.
 */
static int64_t vm_stamp(const Vm *vm, const JsonView *event) {
        int64_t stamp = run_state_stamp(event);

        if (vm->run.state != SUSPENDD_STATE_PAUSED || !vm->pause.pending ||
            vm->stop_began_boottime_ns == 0)
                return stamp;
        return MIN(stamp, MAX(vm->stop_began_boottime_ns, stamp - STOP_LASTS_NS));
}

/* Stamps are by the wall clock: where that was set meanwhile they say nothing of what came first. */
static bool vm_is_stamped_before(const Vm *vm, const JsonView *event) {
        int64_t realtime_ns = run_state_realtime(event);
        ClockSample now;

        if (realtime_ns < 0 || realtime_ns >= vm->stop_sent.realtime_ns)
                return false;
        clock_sample_take(&now);
        return llabs(clock_sample_stepped_ns(&vm->stop_sent, &now)) < CLOCK_STEP_NS;
}

/*
 * It was before ours: another hand's, as in a savevm, or the half of a cont of a machine that ran already. What QEMU
 * tells of a command stands before its answer, and behind the answer to the one before: so ours is told while QEMU is at
 * our stop. Where no question went before that, to save the time of hundreds, QEMU may have been at another monitor's
 * still: then its stamp tells what was before we sent it, and a RESUME that is not ours the rest.
 */
static bool vm_is_older_stop(const Vm *vm, const char *name, const JsonView *event) {
        if (!vm->run.stop_sent || !str_equal(name, "STOP"))
                return false;
        return !str_equal(monitor_at_hand(vm->monitor), "stop") ||
               (!vm->stop_is_marked && vm_is_stamped_before(vm, event));
}

static void vm_on_event(void *userdata, const char *name, const JsonView *event) {
        _cleanup_(vm_unrefp) Vm *vm = vm_ref(userdata);
        RunVerdict verdict;

        if (str_equal(name, "STOP") || str_equal(name, "RESUME"))
                vm->was_stopped_before = vm_is_older_stop(vm, name, event);
        vm->run.cause |= vm->was_stopped_before;
        vm->run.cont_sent = vm->resume.pending || vm->wake.pending;
        verdict = run_state_on_event(&vm->run, name, event);
        if (verdict == RUN_TELL)
                vm_tell_state(vm, vm_stamp(vm, event));
        else if (verdict == RUN_ASK)
                vm_ask_word(vm, run_state_stamp(event));
        else if (vm_on_hardware_event(vm, name))
                return;
        if (vm->gone || !vm->agent)
                return;
        if (str_equal(name, "RESUME") || str_equal(name, "WAKEUP"))
                agent_revive(vm->agent);
        else if (str_equal(name, "RESET"))
                agent_probe(vm->agent);
}

static void vm_on_identity(void *userdata) {
        Vm *vm = userdata;

        vm->devices_asked = false;
        if (vm->identity.error < 0) {
                vm->ops->on_end(vm->userdata, vm->identity.error, strerror(-vm->identity.error));
                return;
        }
        vm_ask_devices(vm);
        if (vm->known)
                vm_changed(vm);
        else
                vm_ask_word(vm, 0);
}

static void vm_on_ready(void *userdata, const JsonView *greeting) {
        Vm *vm = userdata;
        int r;

        r = identity_see_process(&vm->identity, vm->monitor);
        if (r >= 0)
                r = identity_ask(&vm->identity, vm->monitor, greeting);
        vm->devices_asked = true;
        if (r < 0)
                vm->ops->on_end(vm->userdata, r, strerror(-r));
}

static void vm_on_monitor_end(void *userdata, int error, const char *why) {
        Vm *vm = userdata;

        vm->ops->on_end(vm->userdata, error, why);
}

static const MonitorOps vm_monitor_ops = {
        .on_ready = vm_on_ready,
        .on_event = vm_on_event,
        .on_end = vm_on_monitor_end,
};

/* patience */

static int vm_wait(Vm *vm, uint64_t usec);

/* It is not known in time: it is announced as what is known. */
static int vm_on_patience(sd_event_source *s, uint64_t usec, void *userdata) {
        _cleanup_(vm_unrefp) Vm *vm = vm_ref(userdata);
        bool greeted = monitor_is_greeted(vm->monitor);

        (void) s;
        (void) usec;
        vm->patience = sd_event_source_disable_unref(vm->patience);
        if (greeted && !vm->trouble) {
                vm->trouble = "monitor does not answer";
                if (vm_wait(vm, ANSWERS_USEC) >= 0)
                        return 0;
        }
        if (!greeted)
                vm->trouble = "monitor held by another client";
        vm_announce(vm);
        return 0;
}

static int vm_wait(Vm *vm, uint64_t usec) {
        int r;

        r = sd_event_add_time_relative(
                        vm->host->event,
                        &vm->patience,
                        CLOCK_MONOTONIC,
                        usec,
                        1,
                        vm_on_patience,
                        vm);
        if (r >= 0)
                (void) sd_event_source_set_description(vm->patience, "qmp-vm-patience");
        return r;
}

/* lifetime */

int vm_new(const struct suspendd_host *host,
           int fd,
           const VmPlace *place,
           const VmOps *ops,
           void *userdata,
           Vm **ret) {
        _cleanup_(vm_freep) Vm *vm = calloc(1, sizeof(*vm));
        _cleanup_close_ int own = fd;
        int r;

        if (!vm)
                return -ENOMEM;
        *vm = (Vm){
                .n_refs = 1,
                .host = host,
                .place = *place,
                .ops = ops,
                .userdata = userdata,
                .identity = { .on_known = vm_on_identity, .userdata = vm },
        };
        r = identity_name_from_path(place->path, &vm->fallback_name);
        if (r >= 0)
                r = retry_init(&vm->agent_retry, host->event, vm_open_agent, vm);
        if (r >= 0)
                r = vm_wait(vm, GREETING_USEC);
        if (r >= 0)
                r = monitor_new(host->event, own, &vm_monitor_ops, vm, &vm->monitor);
        if (r >= 0)
                (void) TAKE_FD(own);
        if (r >= 0)
                r = identity_see_process(&vm->identity, vm->monitor);
        if (r < 0)
                return r;
        if (!vm->identity.run || !strchr(vm->identity.run, '.'))
                host->log(host,
                          LOG_DEBUG,
                          NULL,
                          "Cannot see QEMU's process behind %s",
                          place->path);
        *ret = TAKE_PTR(vm);
        return 0;
}

Vm *vm_free(Vm *vm) {
        struct suspendd_machine *machine;

        if (!vm)
                return NULL;
        vm->gone = true;
        vm->monitor = monitor_free(vm->monitor);
        vm->agent = agent_free(vm->agent);
        retry_done(&vm->agent_retry);
        vm->patience = sd_event_source_disable_unref(vm->patience);
        vm->change = sd_event_source_disable_unref(vm->change);
        machine = TAKE_PTR(vm->machine);
        if (machine)
                vm->host->machine_remove(machine);
        return vm_unref(vm);
}

void vm_lose(Vm *vm) {
        if (vm->machine)
                vm->host->machine_state(vm->machine, SUSPENDD_STATE_UNKNOWN, NULL, 0);
}

bool vm_has_ended(const Vm *vm) {
        return !vm->identity.run || process_has_ended(vm->identity.run);
}

void vm_abandon(Vm *vm) {
        vm->machine = NULL;
}

Vm *vm_ref(Vm *vm) {
        vm->n_refs++;
        return vm;
}

Vm *vm_unref(Vm *vm) {
        if (--vm->n_refs > 0)
                return NULL;
        identity_done(&vm->identity);
        free(vm->fallback_name);
        free(vm->wake_why);
        free(vm);
        return NULL;
}
