/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "common/clock-sample.h"
#include "plugins/qmp/vm-internal.h"

/*
 * Ending steps: by the reply, never by the event, for that may be of an act which was given up and is
 * carried out before this one.
 */

static void vm_end_step(Vm *vm, VmStep *step, int error, const char *why) {
        if (!step->pending)
                return;
        step->pending = false;
        vm->host->done(vm->host, step->id, error, why);
}

/* An answer ends its own step only: it may come long after that was cancelled. */
static void vm_answer_step(Vm *vm, VmStep *step, uint64_t id, int error, const char *why) {
        if (step->id == id)
                vm_end_step(vm, step, error, why);
}

static int vm_send(Vm *vm, const char *execute, MonitorReplyFn on_reply, uint64_t step) {
        return monitor_send(
                        vm->monitor,
                        &(const MonitorCommand){ .execute = execute,
                                                 .on_reply = on_reply,
                                                 .userdata = vm,
                                                 .tag = step });
}

static int vm_begin_step(
                Vm *vm, VmStep *step, const char *execute, MonitorReplyFn on_reply, uint64_t id) {
        int r;

        if (step->pending)
                return -EBUSY;
        r = vm_send(vm, execute, on_reply, id);
        if (r < 0)
                return r;
        *step = (VmStep){ .id = id, .pending = true };
        return SUSPENDD_PENDING;
}

/* pause and resume */

/* Comes after the STOP event, by as long as flushing the disks takes. */
static void vm_on_stopped(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Vm *vm = userdata;

        (void) value;
        if (vm->pause.id == tag)
                vm->run.stop_sent = false;
        vm_answer_step(vm, &vm->pause, tag, error, why);
}

/* QEMU answers it when it begins with the next command, which is the stop. */
static void vm_on_stop_begins(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Vm *vm = userdata;

        (void) value;
        (void) why;
        if (error >= 0 && vm->pause.id == tag && vm->pause.pending)
                vm->stop_began_boottime_ns = clock_now_ns(CLOCK_BOOTTIME);
}

int vm_pause(void *userdata, uint64_t step) {
        Vm *vm = userdata;
        ClockSample now;
        bool is_marked;
        int r = 0;

        if (vm->pause.pending)
                return -EBUSY;
        is_marked = vm->machine && vm->host->is_told(vm->machine);
        clock_sample_take(&now); /* before QEMU can have acted on it */
        if (is_marked)
                r = vm_send(vm, "query-name", vm_on_stop_begins, step);
        if (r >= 0)
                r = vm_begin_step(vm, &vm->pause, "stop", vm_on_stopped, step);
        if (r < 0)
                return r;
        vm->stop_began_boottime_ns = 0;
        vm->stop_sent = now;
        vm->stop_is_marked = is_marked;
        vm->run.stop_sent = true;
        return r;
}

/* QEMU: "Resetting the Virtual Machine is required" */
static int cont_error(int error, const char *why) {
        return error < 0 && why && strstr(why, "Resetting") ? -EUCLEAN : error;
}

static void vm_on_continued(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Vm *vm = userdata;

        (void) value;
        vm_answer_step(vm, &vm->resume, tag, cont_error(error, why), why);
}

int vm_resume(void *userdata, uint64_t step) {
        Vm *vm = userdata;

        return vm_begin_step(vm, &vm->resume, "cont", vm_on_continued, step);
}

/* wake: cont first, for a stop may lie on top of the suspend; then system_wakeup */

/* QEMU would not wake it: that is right if it runs. */
static void vm_on_wake_word(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        _cleanup_free_ char *refusal = NULL;
        Vm *vm = userdata;
        const char *word;

        (void) why;
        refusal = TAKE_PTR(vm->wake_why);
        if (error >= 0 && json_view_get_string(value, "status", &word) >= 0 &&
            str_equal(word, "running"))
                vm_answer_step(vm, &vm->wake, tag, 0, NULL);
        else
                vm_answer_step(vm, &vm->wake, tag, -EIO, refusal);
}

static void vm_on_woken(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Vm *vm = userdata;

        (void) value;
        if (error < 0) {
                (void) str_replace(&vm->wake_why, why);
                if (vm_send(vm, "query-status", vm_on_wake_word, tag) >= 0)
                        return;
        }
        vm_answer_step(vm, &vm->wake, tag, error, why);
}

static void vm_on_wake_continued(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Vm *vm = userdata;

        (void) value;
        if (error < 0)
                vm_answer_step(vm, &vm->wake, tag, cont_error(error, why), why);
}

int vm_wake(void *userdata, uint64_t step) {
        Vm *vm = userdata;
        int r;

        r = vm_begin_step(vm, &vm->wake, "cont", vm_on_wake_continued, step);
        if (r < 0)
                return r;
        r = vm_send(vm, "system_wakeup", vm_on_woken, step);
        if (r < 0) {
                vm->wake.pending = false;
                return r;
        }
        return SUSPENDD_PENDING;
}

/* by the agent */

/* What the stop held back from the guest's RTC would now come to it in a burst. Only x86 has it. */
static void vm_on_rtc_reset(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Vm *vm = userdata;

        (void) tag;
        (void) value;
        (void) why;
        if (error == -EOPNOTSUPP)
                vm->no_rtc_reset = true;
}

void vm_on_agent_done(
                void *userdata, enum suspendd_act act, uint64_t step, int error, const char *why) {
        Vm *vm = userdata;

        if (act == SUSPENDD_ACT_SET_TIME && error >= 0 && !vm->no_rtc_reset)
                (void) vm_send(vm, "rtc-reset-reinjection", vm_on_rtc_reset, 0);
        vm->host->done(vm->host, step, error, why);
}

void vm_on_agent_time(void *userdata, uint64_t step, const struct suspendd_time *t) {
        Vm *vm = userdata;

        vm->host->done_time(vm->host, step, t);
}

static int vm_start(Vm *vm, enum suspendd_act act, uint64_t step, int64_t lead_ns) {
        if (!vm->known || !vm->agent)
                return -ENOTCONN;
        return agent_start(vm->agent, act, step, lead_ns);
}

int vm_suspend(void *userdata, uint64_t step) {
        return vm_start(userdata, SUSPENDD_ACT_SUSPEND, step, 0);
}

int vm_get_time(void *userdata, uint64_t step) {
        return vm_start(userdata, SUSPENDD_ACT_GET_TIME, step, 0);
}

int vm_set_time(void *userdata, uint64_t step, int64_t lead_ns) {
        return vm_start(userdata, SUSPENDD_ACT_SET_TIME, step, lead_ns);
}

void vm_forget_steps(Vm *vm) {
        vm->pause.pending = vm->resume.pending = vm->wake.pending = false;
}

void vm_cancel(void *userdata, uint64_t step) {
        Vm *vm = userdata;
        VmStep *steps[] = { &vm->pause, &vm->resume, &vm->wake };

        if (vm->monitor && monitor_cancel(vm->monitor, step) && vm->pause.id == step)
                vm->run.stop_sent = false;
        for (size_t i = 0; i < ARRAY_LEN(steps); i++)
                if (steps[i]->id == step)
                        steps[i]->pending = false;
        if (vm->agent)
                agent_cancel(vm->agent, step);
}
