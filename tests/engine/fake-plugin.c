/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-plugin.h"
#include <errno.h>
#include "common/time-util.h"

#define DUE_NEVER UINT64_MAX
#define THAW_USEC (100 * USEC_PER_MSEC)

static FakeWorld *world; /* what the next instance is attached to */

static ClockSample vm_now(const FakeVm *vm) {
        ClockSample now;

        vm->world->now(vm->world->userdata, &now);
        return now;
}

static uint64_t vm_now_usec(const FakeVm *vm) {
        return (uint64_t) (vm_now(vm).monotonic_ns / NSEC_PER_USEC);
}

/* what it is */

enum suspendd_run_state fake_vm_state(const FakeVm *vm) {
        if (vm->is_in_error)
                return SUSPENDD_STATE_OTHER;
        if (vm->is_paused)
                return SUSPENDD_STATE_PAUSED;
        return vm->is_suspended ? SUSPENDD_STATE_SUSPENDED : SUSPENDD_STATE_RUNNING;
}

static bool vm_is_running(const FakeVm *vm) {
        return vm->is_here && fake_vm_state(vm) == SUSPENDD_STATE_RUNNING;
}

/* A stop of ours is in a channel. */
static bool vm_is_stop_queued(const FakeVm *vm) {
        for (size_t i = 0; i < vm->monitor.n; i++)
                if (vm->monitor.commands[i].act == SUSPENDD_ACT_PAUSE)
                        return true;
        for (size_t i = 0; i < vm->agent.n; i++)
                if (vm->agent.commands[i].act == SUSPENDD_ACT_SUSPEND)
                        return true;
        return false;
}

int64_t fake_vm_clock_offset_ns(const FakeVm *vm) {
        int64_t held_ns = vm->held_since_boottime_ns;

        return vm->offset_ns - (held_ns != 0 ? vm_now(vm).boottime_ns - held_ns : 0);
}

int64_t fake_vm_lost_ns(const FakeVm *vm) {
        return vm->lost_ns + vm->offset_ns - fake_vm_clock_offset_ns(vm);
}

/* A pause holds the guest's clocks; a guest that suspends itself sets its own by the RTC. */
static void vm_keep_clock(FakeVm *vm) {
        bool is_held = vm->is_here && (vm->is_paused || vm->is_in_error) && !vm->is_suspended;

        if (is_held && vm->held_since_boottime_ns == 0)
                vm->held_since_boottime_ns = vm_now(vm).boottime_ns;
        if (!is_held && vm->held_since_boottime_ns != 0) {
                vm->lost_ns = fake_vm_lost_ns(vm);
                vm->offset_ns = fake_vm_clock_offset_ns(vm);
                vm->held_since_boottime_ns = 0;
        }
}

void fake_vm_tell(FakeVm *vm) {
        enum suspendd_run_state state = fake_vm_state(vm);

        if (!vm->machine || state == vm->told)
                return;
        /* Whoever connects anew is told only when what was sent before is through. */
        if (vm->told == SUSPENDD_STATE_UNKNOWN && vm->monitor.n > 0)
                return;
        vm->told = state;
        vm->world->host->machine_state(vm->machine, state, vm->is_in_error ? "io-error" : NULL, 0);
}

/* One that runs, and that nothing of ours can stop any more, is nobody's but its user's. */
static void vm_forget(FakeVm *vm) {
        if (vm_is_running(vm) && !vm_is_stop_queued(vm) && vm->strike_usec == 0 &&
            !vm->is_stop_astray)
                vm->is_asked = false;
}

/* It has changed: its clock, what may strike while it runs, and what is known of it. */
static void vm_moved(FakeVm *vm) {
        vm_keep_clock(vm);
        if (vm_is_running(vm)) {
                vm->paused_by = vm->suspended_by = 0;
                if (vm->strike_usec != 0)
                        vm->strike_usec = MAX(vm->strike_usec, vm_now_usec(vm) + THAW_USEC);
        }
        vm_forget(vm);
        fake_vm_tell(vm);
        if (vm->world->arm)
                vm->world->arm(vm->world->userdata);
}

static bool is_monitor_act(enum suspendd_act act) {
        return act == SUSPENDD_ACT_PAUSE || act == SUSPENDD_ACT_RESUME || act == SUSPENDD_ACT_WAKE;
}

/* answering; the world may have lost its plugin in the meantime */

static void vm_done(FakeVm *vm, uint64_t step, int result, const char *why) {
        if (step == 0)
                return;
        if (vm->step == step) {
                vm->step = 0;
                if (is_monitor_act(vm->step_act))
                        vm->is_stop_astray = vm->step_act == SUSPENDD_ACT_PAUSE && result >= 0 &&
                                             !vm->is_paused;
                /* That a stop is answered, or a resume refused, does not say that no stop comes. */
                if (result >= 0 &&
                    (vm->step_act == SUSPENDD_ACT_RESUME || vm->step_act == SUSPENDD_ACT_WAKE))
                        vm_forget(vm);
        }
        if (vm->world->host && vm->machine)
                vm->world->host->done(vm->world->host, step, result, why);
}

static void vm_done_time(FakeVm *vm, const FakeCommand *c) {
        int64_t after_ns = vm_now(vm).realtime_ns;
        struct suspendd_time t = {
                .guest_ns = after_ns - vm->rtt_ns / 2 + fake_vm_clock_offset_ns(vm),
                .host_before_ns = after_ns - vm->rtt_ns,
                .host_after_ns = after_ns,
        };

        if (c->step == 0)
                return;
        if (vm->step == c->step)
                vm->step = 0;
        if (vm->world->host && vm->machine)
                vm->world->host->done_time(vm->world->host, c->step, &t);
}

/* carrying out */

static void vm_carry_out(FakeVm *vm, const FakeCommand *c) {
        switch (c->act) {
        case SUSPENDD_ACT_SUSPEND:
                vm->is_suspended = vm->page.is_due = true;
                vm->suspended_by |= FAKE_BY_US;
                if (c->answer == FAKE_BOUNCE)
                        vm->bounce_usec = vm_now_usec(vm) + vm->late_usec;
                break;
        case SUSPENDD_ACT_PAUSE:
                if (vm->is_in_error || (vm->is_suspended && !vm->is_stacking))
                        return;
                vm->is_paused = vm->page.is_due = true;
                vm->paused_by |= FAKE_BY_US;
                break;
        case SUSPENDD_ACT_WAKE:
                vm->is_suspended = vm->is_paused = vm->is_in_error = false;
                vm->bounce_usec = 0;
                break;
        case SUSPENDD_ACT_RESUME:
                vm->is_paused = vm->is_in_error = false;
                vm->paused_by = 0;
                break;
        case SUSPENDD_ACT_SET_TIME:
                vm->offset_ns = c->lead_ns - vm->rtt_ns / 2 + vm->set_error_ns;
                return;
        default:
                return;
        }
        vm_moved(vm);
}

/* Answers 0 now and is carried out later: a suspend strikes, anything else stays in its channel. */
static bool vm_put_off(FakeVm *vm, FakeCommand *c) {
        /* An agent carries out one suspend after the other. */
        if (c->act == SUSPENDD_ACT_SUSPEND && vm->n_strikes > 0)
                c->answer = FAKE_LATE;
        if (c->answer != FAKE_LATE || c->is_answered)
                return false;
        c->is_answered = true;
        c->due_usec = vm_now_usec(vm) + vm->late_usec;
        if (c->act != SUSPENDD_ACT_SUSPEND)
                return true;
        if (vm->n_strikes++ == 0)
                vm->strike_usec = c->due_usec;
        vm->n_owed++;
        return false;
}

static void vm_execute(FakeVm *vm, FakeCommand c) {
        bool is_time = c.act == SUSPENDD_ACT_GET_TIME;

        switch (c.answer) {
        case FAKE_ERROR:
                vm_done(vm, c.step, -EIO, "it is told to fail");
                return;
        case FAKE_LIE:
                vm->n_owed += c.act == SUSPENDD_ACT_SUSPEND;
                vm_done(vm, c.step, 0, NULL);
                return;
        case FAKE_LATE:
                if (c.act == SUSPENDD_ACT_SUSPEND)
                        vm_done(vm, c.step, 0, NULL);
                else if (is_time)
                        vm_done_time(vm, &c);
                else
                        vm_carry_out(vm, &c);
                return;
        default:
                break;
        }
        if (is_time) {
                vm_done_time(vm, &c);
                return;
        }
        vm_carry_out(vm, &c);
        vm_done(vm, c.step, 0, NULL);
        if (c.answer == FAKE_TWICE)
                vm_done(vm, c.step, c.act == SUSPENDD_ACT_SUSPEND ? 0 : -EIO, "twice");
}

/* The first command of a channel is done with, or put off. */
static void vm_advance(FakeVm *vm, FakeChannel *channel) {
        FakeCommand *first = &channel->commands[0], c;

        if (vm_put_off(vm, first)) {
                vm_done(vm, first->step, 0, NULL);
                return;
        }
        c = *first;
        channel->n--;
        (void) memmove(first, first + 1, channel->n * sizeof(*first));
        vm_execute(vm, c);
        fake_vm_tell(vm);
}

/* Whether the first command of a channel could be carried out at all. */
static bool vm_is_ready(const FakeVm *vm, const FakeChannel *channel) {
        return channel->n > 0 && (channel == &vm->monitor || vm_is_running(vm));
}

static bool channel_is_due(const FakeVm *vm, const FakeChannel *channel, uint64_t now) {
        return vm_is_ready(vm, channel) && channel->commands[0].due_usec <= now;
}

static int vm_send(void *userdata, enum suspendd_act act, uint64_t step, int64_t lead_ns) {
        FakeVm *vm = userdata;
        FakeChannel *channel = is_monitor_act(act) ? &vm->monitor : &vm->agent;
        FakeAnswer answer = vm->answers[act];
        uint64_t now = vm_now_usec(vm);

        if (answer == FAKE_REFUSE || channel->n == FAKE_QUEUE_MAX) {
                vm->step = 0;
                /* What is still under way may stop it, or keep it stopped, all the same. */
                vm->is_stop_astray |= act == SUSPENDD_ACT_PAUSE && vm->monitor.n > 0;
                return -EBUSY;
        }
        channel->commands[channel->n++] = (FakeCommand){
                .act = act,
                .step = step,
                .lead_ns = lead_ns,
                .answer = answer,
                .due_usec = answer == FAKE_NOW     ? now
                            : answer == FAKE_NEVER ? DUE_NEVER
                                                   : now + vm->latency_usec,
        };
        if (answer == FAKE_NOW && channel->n == 1 && vm_is_ready(vm, channel))
                vm_advance(vm, channel);
        if (vm->world->arm)
                vm->world->arm(vm->world->userdata);
        return SUSPENDD_PENDING;
}

/* what may be asked for: an engine that breaks one of these is wrong, whatever comes of it */

static const char *vm_judge_stop(const FakeVm *vm) {
        if (vm->is_murky || vm->is_asked || vm->n_owed > 0)
                return NULL;
        if (vm->is_in_error)
                return "a machine with an I/O error was asked to stop";
        if (vm->is_paused)
                return "a machine that its user had paused was asked to stop";
        if (vm->is_suspended)
                return "a machine that had suspended itself was asked to stop";
        return NULL;
}

static const char *vm_judge_run(const FakeVm *vm) {
        const struct suspendd_drift *told = &vm->page.told;

        if (!vm->page.is_missing && (told->phase != SUSPENDD_DRIFT_RUNNING ||
                                     told->host_boottime_ns != vm_now(vm).boottime_ns))
                return "a machine was asked to run before its guest was told";
        if (vm->is_murky)
                return NULL;
        if (vm->is_in_error)
                return "a machine with an I/O error was asked to run";
        if (vm->is_asked || vm->n_owed > 0)
                return NULL;
        if (vm->is_paused && !(vm->paused_by & FAKE_BY_US))
                return "a machine that its user had paused was asked to run";
        if (vm->is_suspended && !(vm->suspended_by & FAKE_BY_US))
                return "a machine that had suspended itself was asked to run";
        if (!vm->is_paused && !vm->is_suspended)
                return "a machine that nobody stopped was asked to run";
        return NULL;
}

/* Returns: whether the act reaches the machine. */
static bool vm_begin(FakeVm *vm, enum suspendd_act act, uint64_t step) {
        bool is_stop = act == SUSPENDD_ACT_SUSPEND || act == SUSPENDD_ACT_PAUSE;
        bool is_run = act == SUSPENDD_ACT_RESUME || act == SUSPENDD_ACT_WAKE;
        const char *wrong = NULL;

        if (vm->world->is_alive && !vm->world->is_alive(vm->world->userdata))
                return false;
        vm->n_acts[act]++;
        if (is_stop)
                wrong = vm_judge_stop(vm);
        if (is_run)
                wrong = vm_judge_run(vm);
        if (vm->step != 0)
                wrong = "two steps were under way at once";
        if (vm->why_not[act])
                wrong = "an act was sent that the machine cannot do";
        if (!vm->trespass)
                vm->trespass = wrong;
        vm->step = step;
        vm->step_act = act;
        vm->is_asked |= is_stop;
        vm->page.is_due |= is_stop;
        return true;
}

static int vm_act(void *userdata, enum suspendd_act act, uint64_t step, int64_t lead_ns) {
        if (!vm_begin(userdata, act, step))
                return SUSPENDD_PENDING;
        return vm_send(userdata, act, step, lead_ns);
}

static int vm_suspend(void *vm, uint64_t step) {
        return vm_act(vm, SUSPENDD_ACT_SUSPEND, step, 0);
}

static int vm_pause(void *vm, uint64_t step) {
        return vm_act(vm, SUSPENDD_ACT_PAUSE, step, 0);
}

static int vm_resume(void *vm, uint64_t step) {
        return vm_act(vm, SUSPENDD_ACT_RESUME, step, 0);
}

static int vm_wake(void *vm, uint64_t step) {
        return vm_act(vm, SUSPENDD_ACT_WAKE, step, 0);
}

static int vm_get_time(void *vm, uint64_t step) {
        return vm_act(vm, SUSPENDD_ACT_GET_TIME, step, 0);
}

static int vm_set_time(void *userdata, uint64_t step, int64_t lead_ns) {
        FakeVm *vm = userdata;

        vm->last_lead_ns = lead_ns;
        return vm_act(vm, SUSPENDD_ACT_SET_TIME, step, lead_ns);
}

/* A suspend that was not answered is not out of our hands: so the contract has it. */
static void vm_drop_suspend(FakeVm *vm) {
        FakeChannel *a = &vm->agent;

        for (size_t i = 0; i < a->n; i++)
                if (a->commands[i].act == SUSPENDD_ACT_SUSPEND) {
                        a->n--;
                        (void) memmove(&a->commands[i],
                                       &a->commands[i + 1],
                                       (a->n - i) * sizeof(*a->commands));
                        return;
                }
}

/* What is over for the engine: given up, or lost with the connection. */
static void vm_drop_step(FakeVm *vm) {
        enum suspendd_act act = vm->step_act;

        if (vm->step == 0)
                return;
        vm->step = 0;
        vm->is_stop_astray |= act == SUSPENDD_ACT_PAUSE && vm_is_stop_queued(vm);
        if (act == SUSPENDD_ACT_SUSPEND)
                vm_drop_suspend(vm);
}

/* Nobody is there to be answered any more: the connection has ended. */
static void vm_disconnect(FakeVm *vm) {
        vm_drop_step(vm);
        for (size_t i = 0; i < vm->monitor.n; i++)
                vm->monitor.commands[i].step = 0;
        for (size_t i = 0; i < vm->agent.n; i++)
                vm->agent.commands[i].step = 0;
}

static void vm_cancel(void *userdata, uint64_t step) {
        FakeVm *vm = userdata;

        if (vm->step == step)
                vm_drop_step(vm);
}

/* its definition */

static void vm_store(FakeVm *vm) {
        const struct suspendd_host *host = vm->world->host;
        uint64_t request = vm->store_request;

        vm->store_request = vm->store_due_usec = 0;
        if (!host || !vm->machine)
                return;
        if (vm->store == FAKE_ERROR) {
                host->stored(host, request, -EIO, "it is told to fail");
                return;
        }
        memcpy(vm->mode, vm->store_mode, sizeof(vm->mode));
        fake_vm_change(vm);
        host->stored(host, request, 0, NULL);
}

static int vm_store_mode(void *userdata, uint64_t request, const char *mode) {
        FakeVm *vm = userdata;

        if (vm->store == FAKE_REFUSE)
                return -EBUSY;
        vm->world->host->log(vm->world->host, 6, vm->machine, "asked to store a mode");
        vm->store_request = request;
        (void) snprintf(vm->store_mode, sizeof(vm->store_mode), "%s", mode ? mode : "");
        if (vm->store == FAKE_NOW)
                vm_store(vm);
        else if (vm->store != FAKE_NEVER)
                vm->store_due_usec = vm_now_usec(vm) + vm->latency_usec;
        if (vm->world->arm)
                vm->world->arm(vm->world->userdata);
        return SUSPENDD_PENDING;
}

/* its page */

static void page_count(FakePage *p, const struct suspendd_drift *d) {
        int64_t from_ns = MAX(d->from_boottime_ns, p->stood_boottime_ns);

        from_ns = MAX(from_ns, p->counted_boottime_ns);
        if (d->from_boottime_ns == 0 || d->to_boottime_ns <= from_ns)
                return;
        *(d->is_seen ? &p->seen_ns : &p->unseen_ns) += d->to_boottime_ns - from_ns;
        p->counted_boottime_ns = d->to_boottime_ns;
}

/* Who touches it while no engine looks can have run it, and nobody tells. */
static bool vm_is_known(const FakeVm *vm) {
        return !vm->page.has_gap || !vm->is_touched;
}

static const char *vm_judge_drift(const FakeVm *vm, const struct suspendd_drift *d) {
        bool has_span = d->to_boottime_ns != 0;

        if (d->size != sizeof(*d) || d->host_boottime_ns != vm_now(vm).boottime_ns)
                return "its guest was told something else than the time";
        if (has_span && (d->from_boottime_ns == 0 || d->to_boottime_ns < d->from_boottime_ns ||
                         d->to_boottime_ns > d->host_boottime_ns))
                return "its guest was told a span that is none";
        if (has_span && !vm->page.is_due)
                return "its guest was told of a stop that was not ours";
        if (vm_is_known(vm) && vm->page.unseen_ns > fake_vm_lost_ns(vm))
                return "its guest was told more than its clock lacks";
        if (d->phase == SUSPENDD_DRIFT_LOOK && !vm_is_running(vm))
                return "its guest was told to look while it stood";
        if (d->phase == SUSPENDD_DRIFT_MET && has_span)
                return "it was met, and owed for that";
        return NULL;
}

/* A program in the guest: it runs when that does. */
static bool vm_is_reader_due(const FakeVm *vm) {
        return vm->page.due_usec != 0 && vm_is_running(vm);
}

/* It is rung for but when the machine stands. */
static void vm_ring_reader(FakeVm *vm, enum suspendd_drift_phase phase) {
        FakePage *p = &vm->page;

        if (phase == SUSPENDD_DRIFT_MET)
                return;
        p->answer.is_current = 0;
        if (!p->reader.is_there || p->reader.is_stuck || phase == SUSPENDD_DRIFT_STOOD ||
            phase == SUSPENDD_DRIFT_RUNNING)
                return;
        p->due_usec = vm_now_usec(vm) + MAX(p->reader.late_usec, UINT64_C(1));
        if (vm->world->arm)
                vm->world->arm(vm->world->userdata);
}

static void vm_read_page(FakeVm *vm) {
        FakePage *p = &vm->page;
        int64_t owed_ns = p->unseen_ns - p->taken_ns;
        bool is_refused = p->reader.is_guarding && p->n_sets != vm->n_acts[SUSPENDD_ACT_SET_TIME];

        p->due_usec = 0;
        p->taken_ns = p->unseen_ns;
        p->n_sets = vm->n_acts[SUSPENDD_ACT_SET_TIME];
        if (owed_ns > 0 && !is_refused)
                vm->offset_ns += owed_ns + p->reader.error_ns;
        if (owed_ns > 0) {
                p->answer.applied_ns = owed_ns;
                p->answer.refused_ns = is_refused ? owed_ns : 0;
        }
        p->answer.corrects_realtime = p->answer.is_current = 1;
}

static FakeVm *world_find(FakeWorld *w, const char *name) {
        LIST_FOREACH(i, &w->vms) {
                FakeVm *vm = LIST_ENTRY(i, FakeVm, vms);

                if (vm->is_here && !vm->page.is_missing && str_equal(vm->name, name))
                        return vm;
        }
        return NULL;
}

static int fake_drift(void *instance, const struct suspendd_drift *d) {
        FakeVm *vm = world_find(instance, d->name);
        const char *wrong;
        FakePage *p;

        if (!vm)
                return 0;
        p = &vm->page;
        p->told = *d;
        p->n_told[d->phase]++;
        if (d->phase == SUSPENDD_DRIFT_STOOD)
                p->stood_boottime_ns = MAX(p->stood_boottime_ns, d->from_boottime_ns);
        else
                page_count(p, d);
        vm_ring_reader(vm, d->phase);
        wrong = vm_judge_drift(vm, d);
        if (!vm->trespass)
                vm->trespass = wrong;
        if (d->phase == SUSPENDD_DRIFT_RAN) {
                p->stood_boottime_ns = 0;
                p->is_due = vm->is_asked || vm->n_owed > 0 || vm_is_stop_queued(vm);
        }
        return 1;
}

static const char *fake_page_name(void *instance, const char *name, const char *uuid _unused_) {
        FakeVm *vm = world_find(instance, name);

        return vm ? vm->name : NULL;
}

static int fake_answer(
                void *instance,
                const char *name,
                const char *uuid _unused_,
                struct suspendd_answer *ret) {
        FakeVm *vm = world_find(instance, name);

        if (!vm || !vm->page.reader.is_there)
                return 0;
        *ret = vm->page.answer;
        return 1;
}

/* time */

uint64_t fake_world_next(const FakeWorld *w) {
        uint64_t next = UINT64_MAX;

        LIST_FOREACH(i, (List *) &w->vms) {
                const FakeVm *vm = LIST_ENTRY(i, FakeVm, vms);

                if (vm_is_ready(vm, &vm->monitor))
                        next = MIN(next, vm->monitor.commands[0].due_usec);
                if (vm_is_ready(vm, &vm->agent))
                        next = MIN(next, vm->agent.commands[0].due_usec);
                if (vm->strike_usec != 0 && vm_is_running(vm))
                        next = MIN(next, vm->strike_usec);
                if (vm->bounce_usec != 0)
                        next = MIN(next, vm->bounce_usec);
                if (vm->store_due_usec != 0)
                        next = MIN(next, vm->store_due_usec);
                if (vm_is_reader_due(vm))
                        next = MIN(next, vm->page.due_usec);
        }
        return next;
}

static void vm_run(FakeVm *vm) {
        uint64_t now = vm_now_usec(vm);

        while (channel_is_due(vm, &vm->monitor, now))
                vm_advance(vm, &vm->monitor);
        while (channel_is_due(vm, &vm->agent, now))
                vm_advance(vm, &vm->agent);
        if (vm->strike_usec != 0 && vm->strike_usec <= now)
                (void) fake_vm_strike(vm);
        if (vm->bounce_usec != 0 && vm->bounce_usec <= now)
                (void) fake_vm_guest_wake(vm);
        if (vm->store_due_usec != 0 && vm->store_due_usec <= now)
                vm_store(vm);
        if (vm_is_reader_due(vm) && vm->page.due_usec <= now)
                vm_read_page(vm);
}

void fake_world_run(FakeWorld *w) {
        LIST_FOREACH(i, &w->vms)
        vm_run(LIST_ENTRY(i, FakeVm, vms));
}

/* what happens to it */

bool fake_vm_answer(FakeVm *vm) {
        bool has_moved = false;

        while (vm_is_ready(vm, &vm->monitor) || vm_is_ready(vm, &vm->agent)) {
                vm_advance(vm, vm_is_ready(vm, &vm->monitor) ? &vm->monitor : &vm->agent);
                has_moved = true;
        }
        return has_moved;
}

bool fake_vm_strike(FakeVm *vm) {
        const FakeCommand c = { .act = SUSPENDD_ACT_SUSPEND, .answer = FAKE_LATE };

        if (vm->strike_usec == 0 || !vm_is_running(vm))
                return false;
        vm->n_owed--;
        if (--vm->n_strikes == 0)
                vm->strike_usec = 0;
        vm_carry_out(vm, &c);
        return true;
}

/* Others touch it. */
static void vm_touch(FakeVm *vm) {
        vm->is_touched = true;
        vm->is_murky |= vm_is_stop_queued(vm);
}

bool fake_vm_user_pause(FakeVm *vm) {
        if (!vm->is_here || vm->is_paused || vm->is_in_error ||
            (vm->is_suspended && !vm->is_stacking))
                return false;
        vm_touch(vm);
        vm->is_paused = true;
        vm->paused_by |= FAKE_BY_OTHERS;
        vm_moved(vm);
        return true;
}

bool fake_vm_user_resume(FakeVm *vm) {
        if (!vm->is_here || (!vm->is_paused && !vm->is_in_error))
                return false;
        vm_touch(vm);
        vm->is_paused = vm->is_in_error = false;
        vm->paused_by = 0;
        vm_moved(vm);
        return true;
}

bool fake_vm_fail(FakeVm *vm) {
        if (!vm_is_running(vm))
                return false;
        vm_touch(vm);
        vm->is_in_error = true;
        vm_moved(vm);
        return true;
}

bool fake_vm_guest_suspend(FakeVm *vm) {
        if (!vm_is_running(vm))
                return false;
        vm_touch(vm);
        vm->is_murky |= vm->strike_usec != 0;
        vm->is_suspended = true;
        vm->suspended_by |= FAKE_BY_OTHERS;
        vm_moved(vm);
        return true;
}

bool fake_vm_guest_wake(FakeVm *vm) {
        vm->bounce_usec = 0;
        if (!vm->is_here || !vm->is_suspended || vm->is_paused)
                return false;
        vm->is_suspended = false;
        vm_moved(vm);
        return true;
}

/* coming and going */

static struct suspendd_machine_info vm_info(FakeVm *vm, char run[static FAKE_RUN_MAX]) {
        struct suspendd_machine_info info = {
                .size = sizeof(info),
                .name = vm->name,
                .run = run,
                .vmm = "Fake 1",
                .address = "fake",
                .mode = *vm->mode ? vm->mode : NULL,
                .mode_source = *vm->mode ? "the fake's definition" : NULL,
        };

        if (*vm->process)
                (void) snprintf(run, FAKE_RUN_MAX, "%s", vm->process);
        else
                (void) snprintf(run, FAKE_RUN_MAX, "%u", vm->run);
        for (size_t i = 0; i < SUSPENDD_ACT_MAX; i++)
                info.why_not[i] = vm->why_not[i];
        return info;
}

static void vm_announce(FakeVm *vm) {
        const struct suspendd_host *host = vm->world->host;
        struct suspendd_machine_info info;
        char run[FAKE_RUN_MAX];

        if (!host || !vm->is_here)
                return;
        info = vm_info(vm, run);
        vm->told = SUSPENDD_STATE_UNKNOWN;
        if (host->machine_add(host, vm, &info, &vm->machine) < 0)
                vm->machine = NULL;
        else if (!vm->is_shy)
                fake_vm_tell(vm);
}

void fake_vm_change(FakeVm *vm) {
        struct suspendd_machine_info info;
        char run[FAKE_RUN_MAX];

        if (!vm->machine)
                return;
        info = vm_info(vm, run);
        vm->world->host->machine_change(vm->machine, &info);
}

static void vm_withdraw(FakeVm *vm) {
        vm_disconnect(vm);
        if (vm->machine)
                vm->world->host->machine_remove(vm->machine);
        vm->machine = NULL;
}

void fake_vm_start(FakeVm *vm) {
        vm->run++;
        vm->is_here = true;
        vm->is_paused = vm->is_suspended = vm->is_in_error = false;
        vm->is_asked = vm->is_murky = vm->is_stop_astray = false;
        vm->n_owed = vm->n_strikes = 0;
        vm->paused_by = vm->suspended_by = 0;
        vm->strike_usec = vm->bounce_usec = 0;
        vm->held_since_boottime_ns = vm->lost_ns = 0;
        vm->page = (FakePage){ .is_missing = vm->page.is_missing, .reader = vm->page.reader };
        vm->page.answer.corrects_realtime = vm->page.reader.is_there;
        vm->is_touched = false;
        vm->monitor.n = vm->agent.n = 0;
        vm_announce(vm);
}

void fake_vm_end(FakeVm *vm) {
        vm->is_here = false;
        vm->monitor.n = vm->agent.n = 0;
        vm->n_strikes = 0;
        vm->strike_usec = vm->bounce_usec = 0;
        vm_withdraw(vm);
}

void fake_vm_lose(FakeVm *vm) {
        if (!vm->machine)
                return;
        vm->told = SUSPENDD_STATE_UNKNOWN;
        vm->world->host->machine_state(vm->machine, SUSPENDD_STATE_UNKNOWN, NULL, 0);
        vm_withdraw(vm);
}

void fake_vm_find(FakeVm *vm) {
        if (!vm->machine)
                vm_announce(vm);
}

FakeVm *fake_vm_new(FakeWorld *w, const char *name) {
        FakeVm *vm = calloc(1, sizeof(*vm));

        if (!vm)
                abort();
        vm->world = w;
        (void) snprintf(vm->name, sizeof(vm->name), "%s", name);
        vm->latency_usec = 20 * USEC_PER_MSEC;
        vm->late_usec = 20 * USEC_PER_SEC;
        vm->rtt_ns = 200 * NSEC_PER_USEC;
        list_append(&w->vms, &vm->vms);
        return vm;
}

void fake_world_use(FakeWorld *w) {
        world = w;
}

void fake_world_done(FakeWorld *w) {
        LIST_FOREACH(i, &w->vms) {
                FakeVm *vm = LIST_ENTRY(i, FakeVm, vms);

                list_unlink(&vm->vms);
                free(vm);
        }
}

/* the plugin */

static int fake_create(const struct suspendd_host *host, void **ret) {
        if (!world)
                return -ENXIO;
        world->host = host;
        *ret = world;
        return 0;
}

static void fake_destroy(void *instance) {
        FakeWorld *w = instance;

        w->host = NULL;
        LIST_FOREACH(i, &w->vms) {
                FakeVm *vm = LIST_ENTRY(i, FakeVm, vms);

                vm->machine = NULL;
                vm_disconnect(vm);
        }
        if (w->detach)
                w->detach(w);
}

static int fake_load(void *instance, const struct suspendd_setting *settings, size_t n_settings) {
        FakeWorld *w = instance;
        int r = w->load ? w->load(w, settings, n_settings) : 0;

        if (r < 0)
                return r;
        LIST_FOREACH(i, &w->vms)
        fake_vm_find(LIST_ENTRY(i, FakeVm, vms));
        w->host->enumerated(w->host);
        return 0;
}

static int fake_notify(void *instance, const char *event, const char *name) {
        FakeWorld *w = instance;

        return w->notify ? w->notify(w, event, name) : -EOPNOTSUPP;
}

_public_ const struct suspendd_plugin fake_plugin = {
        .abi = SUSPENDD_PLUGIN_ABI,
        .size = sizeof(struct suspendd_plugin),
        .name = FAKE_NAME,
        .description = "Machines in memory",
        .create = fake_create,
        .destroy = fake_destroy,
        .load = fake_load,
        .notify = fake_notify,
        .store_mode = vm_store_mode,
        .drift = fake_drift,
        .page_name = fake_page_name,
        .answer = fake_answer,
        .suspend = vm_suspend,
        .pause = vm_pause,
        .resume = vm_resume,
        .wake = vm_wake,
        .get_time = vm_get_time,
        .set_time = vm_set_time,
        .cancel = vm_cancel,
};
