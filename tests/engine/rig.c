/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rig.h"
#include <json-c/json.h>
#include <stdarg.h>
#include "common/time-util.h"

#define BEGAN_MONOTONIC_NS (1000 * NSEC_PER_SEC)
#define BEGAN_BOOTTIME_NS (5000 * NSEC_PER_SEC)
#define BEGAN_REALTIME_NS (INT64_C(1700000000) * NSEC_PER_SEC)
#define CAP_USEC (10 * USEC_PER_SEC)
/* A wake that nothing hinders is over, corrections and watch included, long before this. */
#define REST_LIMIT_USEC (400 * USEC_PER_SEC)
#define REST_STEPS_MAX 2000

void rig_fault(Rig *r, const char *format, ...) {
        va_list ap;

        if (*r->fault)
                return;
        va_start(ap, format);
        (void) vsnprintf(r->fault, sizeof(r->fault), format, ap);
        va_end(ap);
}

uint64_t rig_now_usec(const Rig *r) {
        return (uint64_t) (r->clock.monotonic_ns / NSEC_PER_USEC);
}

static void rig_advance(Rig *r, uint64_t monotonic_usec, uint64_t slept_usec, int64_t stepped_ns) {
        int64_t awake_ns = (int64_t) monotonic_usec * NSEC_PER_USEC;
        int64_t slept_ns = (int64_t) slept_usec * NSEC_PER_USEC;

        r->clock.monotonic_ns += awake_ns;
        r->clock.boottime_ns += awake_ns + slept_ns;
        r->clock.realtime_ns += awake_ns + slept_ns + stepped_ns;
        /* Nobody's clock but the host's is stepped by that. */
        LIST_FOREACH(i, &r->world.vms)
        LIST_ENTRY(i, FakeVm, vms)->offset_ns -= stepped_ns;
}

/* what the engine wants done; each call may be its last */

static bool rig_is_alive(void *userdata) {
        Rig *r = userdata;

        if (r->fuse > 0 && --r->fuse == 0) {
                r->is_dead = true;
                if (r->cycle)
                        r->cycle->private->journal = NULL;
        }
        return !r->is_dead;
}

static void ops_now(void *userdata, ClockSample *ret) {
        Rig *r = userdata;

        (void) rig_is_alive(r);
        *ret = r->clock;
}

static int64_t ops_clock(void *userdata, int clock) {
        ClockSample now;

        ops_now(userdata, &now);
        return clock == CLOCK_BOOTTIME ? now.boottime_ns : now.monotonic_ns;
}

static void world_now(void *userdata, ClockSample *ret) {
        *ret = ((Rig *) userdata)->clock;
}

static void ops_stats(void *userdata, SuspendStats *ret) {
        *ret = ((Rig *) userdata)->stats;
}

/* While a sleep is announced logind gives no lock; it is asked again until it does. */
static void rig_grant(Rig *r) {
        if (r->is_announced || r->is_locked || !r->is_lock_wanted)
                return;
        r->is_locked = true;
        r->locked_usec = rig_now_usec(r);
}

static void ops_take_lock(void *userdata) {
        Rig *r = userdata;

        if (!rig_is_alive(r))
                return;
        r->is_lock_wanted = true;
        rig_grant(r);
}

static void ops_let_go(void *userdata) {
        Rig *r = userdata;

        if (!rig_is_alive(r))
                return;
        r->is_lock_wanted = false;
        if (!r->is_locked)
                return;
        r->is_locked = false;
        r->released_usec = rig_now_usec(r);
}

static void ops_arm(void *userdata, uint64_t usec) {
        ((Rig *) userdata)->armed_usec = usec;
}

static void ops_drift(void *userdata, const struct suspendd_drift *d) {
        Rig *r = userdata;

        if (rig_is_alive(r))
                (void) r->plugin->api->drift(r->plugin->instance, d);
}

static int ops_answer(void *userdata, const Machine *m, struct suspendd_answer *ret) {
        Rig *r = userdata;

        return r->plugin->api->answer(r->plugin->instance, m->name, m->uuid, ret);
}

static const char *ops_page_name(void *userdata, const Machine *m) {
        Rig *r = userdata;

        return r->plugin->api->page_name(r->plugin->instance, m->name, m->uuid);
}

static void rig_keep_record(Rig *r) {
        json_object *parsed;

        free(r->record);
        r->record = cycle_record(r->cycle);
        parsed = r->record ? json_tokener_parse(r->record) : NULL;
        if (!json_object_is_type(parsed, json_type_object))
                rig_fault(r, "the record is no JSON object");
        json_object_put(parsed);
}

static void ops_on_milestone(void *userdata, CycleMilestone milestone, Machine *m _unused_) {
        Rig *r = userdata;

        r->n_milestones[milestone]++;
        if (milestone != CYCLE_FINISHED && milestone != CYCLE_AMENDED)
                return;
        r->finished = r->cycle->report;
        if (milestone == CYCLE_FINISHED && !r->is_dead)
                r->accounted = *cycle_accounted(r->cycle);
        if (r->wants_records && !r->is_dead)
                rig_keep_record(r);
}

static void ops_on_machine(void *userdata _unused_, Machine *m) {
        m->is_dirty = false;
}

static void ops_on_machine_changed(void *userdata, Machine *m) {
        ((Rig *) userdata)->n_changed++;
        m->is_dirty = false;
}

static void ops_fill_policy(void *userdata, Machine *m) {
        Mode own = mode_from_string(m->own_mode);
        Rig *r = userdata;

        for (size_t i = 0; i < RIG_MACHINES_MAX; i++)
                if (str_equal(r->policies[i].name, m->name))
                        m->policy = r->policies[i].policy;
        if (own != MODE_INVALID)
                m->policy.mode = own;
}

static void ops_on_distrust(void *userdata, Machine *m _unused_) {
        ((Rig *) userdata)->n_distrusted++;
}

static void ops_on_enumerated(void *userdata) {
        Rig *r = userdata;

        cycle_on_enumerated(r->cycle);
}

/* The rig's VMs are always in reach: one that is not there is gone. */
static bool ops_has_ended(void *userdata, const char *key) {
        (void) userdata;
        (void) key;
        return true;
}

static const CycleOps rig_ops = {
        .now = ops_now,
        .clock = ops_clock,
        .stats = ops_stats,
        .take_lock = ops_take_lock,
        .let_go = ops_let_go,
        .arm = ops_arm,
        .on_milestone = ops_on_milestone,
        .on_machine_added = ops_on_machine,
        .on_machine_removed = ops_on_machine,
        .on_machine_changed = ops_on_machine_changed,
        .fill_policy = ops_fill_policy,
        .on_distrust = ops_on_distrust,
        .has_ended = ops_has_ended,
        .on_enumerated = ops_on_enumerated,
        .drift = ops_drift,
        .answer = ops_answer,
        .page_name = ops_page_name,
};

/* lifetime */

/* As the manager does it: lock, adopt what is noted, then let the plugins announce. */
void rig_start(Rig *r) {
        const char *path = r->options.journal_path;
        struct suspendd_host host = cycle_host();
        const JournalNote *notes;

        r->is_dead = false;
        r->fuse = TAKE(r->next_fuse, 0);
        r->armed_usec = USEC_INFINITY;
        if (path && journal_open(path, &r->journal) < 0)
                abort();
        if (cycle_new(&rig_ops, r, r->journal, 1, &r->cycle) < 0)
                abort();
        if (r->is_dead)
                r->cycle->private->journal = NULL;
        if (r->options.time_limit_usec != 0)
                r->cycle->time_limit_usec = r->options.time_limit_usec;
        r->cycle->has_drift = true;
        cycle_set_delay_max(r->cycle, r->options.delay_max_usec);
        if (plugin_new(&fake_plugin, &host, r->cycle, &r->plugin) < 0)
                abort();

        ops_take_lock(r);
        if (r->accounted.boottime_ns > 0)
                cycle_set_accounted(r->cycle, &r->accounted);
        if (r->journal && journal_notes(r->journal, &notes) > 0)
                cycle_handle(r->cycle,
                             r->is_announced ? CYCLE_EVENT_ADOPT_ASLEEP : CYCLE_EVENT_ADOPT_AWAKE);
        (void) r->plugin->api->load(r->plugin->instance, NULL, 0);
        rig_check(r);
}

void rig_init(Rig *r, const RigOptions *options) {
        *r = (Rig){
                .options = *options,
                .clock = { BEGAN_MONOTONIC_NS, BEGAN_BOOTTIME_NS, BEGAN_REALTIME_NS },
                .world = { .now = world_now, .is_alive = rig_is_alive, .userdata = r },
        };
        list_init(&r->world.vms);
        fake_world_use(&r->world);
}

/* What was written before it was done may not have been done: nobody can tell afterwards. */
static void rig_doubt(Rig *r, FakeVm *vm) {
        const Machine *m = rig_machine(r, vm);

        vm->page.has_gap = true;
        if (!m || m->noted == JOURNAL_NOTE_NONE)
                return;
        vm->n_owed = MAX(vm->n_owed, 1U);
        if (m->noted != JOURNAL_NOTE_WATCHED)
                vm->is_asked = vm->is_stop_astray = vm->page.is_due = true;
}

/* logind closes the lock of a process that is gone. */
void rig_crash(Rig *r) {
        LIST_FOREACH(i, &r->world.vms)
        rig_doubt(r, LIST_ENTRY(i, FakeVm, vms));
        r->is_dead = true;
        r->cycle = cycle_free(r->cycle);
        r->plugin = plugin_free(r->plugin);
        r->journal = journal_free(r->journal);
        r->is_locked = r->is_lock_wanted = false;
}

void rig_lose(Rig *r, FakeVm *vm) {
        rig_doubt(r, vm);
        fake_vm_lose(vm);
        fake_vm_find(vm);
        rig_check(r);
}

void rig_done(Rig *r) {
        rig_crash(r);
        fake_world_done(&r->world);
        fake_world_use(NULL);
        free(TAKE_PTR(r->record));
}

FakeVm *rig_add(Rig *r, const char *name, const Policy *policy) {
        FakeVm *vm = fake_vm_new(&r->world, name);

        for (size_t i = 0; i < RIG_MACHINES_MAX; i++)
                if (!r->policies[i].name) {
                        r->policies[i] = (RigPolicy){ vm->name, *policy };
                        return vm;
                }
        abort();
}

Machine *rig_machine(Rig *r, const FakeVm *vm) {
        return r->cycle ? (Machine *) (void *) vm->machine : NULL;
}

/* promises that hold at any time */

static void rig_check_lock(Rig *r) {
        uint64_t limit = MIN(r->options.delay_max_usec, CAP_USEC);
        bool is_released = !r->is_locked && r->released_usec >= r->announced_usec;
        uint64_t held_until = r->is_locked ? rig_now_usec(r) : is_released ? r->released_usec : 0;

        /* Without a limit logind waits for nobody, or for ever; then our own cap stands in. */
        if (!r->is_announced || limit == 0)
                return;
        if (held_until > MAX(r->announced_usec + limit / 10 * 9, r->limit_told_usec))
                rig_fault(r,
                          "the lock is held %llu ms after the announcement",
                          (unsigned long long) ((held_until - r->announced_usec) / 1000));
}

void rig_check(Rig *r) {
        size_t n = 0;

        if (*r->fault || r->is_dead)
                return;
        LIST_FOREACH(i, &r->world.vms) {
                FakeVm *vm = LIST_ENTRY(i, FakeVm, vms);

                const MachineReport *report = vm->machine ? &rig_machine(r, vm)->report : NULL;

                n += vm->machine != NULL;
                if (report && report->stopped_ns != report->seen_ns + report->unseen_ns)
                        rig_fault(r, "%s: its report does not add up", vm->name);
                if (vm->trespass)
                        rig_fault(r, "%s: %s", vm->name, vm->trespass);
        }
        if (r->cycle->private->n_bugs > 0)
                rig_fault(r, "a cell of NEVER was met");
        if (r->cycle->n_machines != n)
                rig_fault(r, "%zu machines of %zu are counted", r->cycle->n_machines, n);
        if (r->cycle->private->depth != 0)
                rig_fault(r, "the engine never left what it entered");
        rig_check_lock(r);
}

/* what happens */

void rig_handle(Rig *r, CycleEvent event) {
        cycle_handle(r->cycle, event);
        rig_check(r);
}

void rig_sleep(Rig *r) {
        bool is_told = r->cycle->state == CYCLE_PREPARING || r->cycle->state == CYCLE_SLEEPING;

        if (!r->is_announced || !is_told)
                r->announced_usec = rig_now_usec(r);
        r->is_announced = true;
        r->is_awake = false;
        rig_handle(r, CYCLE_EVENT_SLEEP);
}

void rig_sleep_dead(Rig *r, uint64_t slept_usec) {
        r->stats.success += slept_usec > 0;
        rig_advance(r, 0, slept_usec, 0);
}

void rig_wake(Rig *r, uint64_t slept_usec) {
        r->is_announced = false;
        rig_sleep_dead(r, slept_usec);
        rig_grant(r);
        rig_handle(r, CYCLE_EVENT_WAKE);
}

void rig_wake_early(Rig *r, uint64_t slept_usec) {
        r->is_awake = true;
        rig_jump(r, slept_usec, 0);
        cycle_wake_early(r->cycle);
        rig_check(r);
}

void rig_not_sleeping(Rig *r) {
        r->is_announced = false;
        rig_grant(r);
        rig_handle(r, CYCLE_EVENT_NOT_SLEEPING);
}

void rig_jump(Rig *r, uint64_t slept_usec, int64_t stepped_ns) {
        r->stats.success += slept_usec > 0;
        rig_advance(r, 0, slept_usec, stepped_ns);
        cycle_on_clock_jump(r->cycle, stepped_ns);
        rig_check(r);
}

void rig_delay_max(Rig *r, uint64_t usec) {
        r->options.delay_max_usec = usec;
        r->limit_told_usec = rig_now_usec(r);
        cycle_set_delay_max(r->cycle, usec);
        rig_check(r);
}

void rig_answer(Rig *r) {
        LIST_FOREACH(i, &r->world.vms)
        (void) fake_vm_answer(LIST_ENTRY(i, FakeVm, vms));
        rig_check(r);
}

bool rig_next(Rig *r) {
        uint64_t now = rig_now_usec(r), vms = fake_world_next(&r->world);
        uint64_t next = MIN(vms, r->is_dead ? USEC_INFINITY : r->armed_usec);

        if (next == USEC_INFINITY)
                return false;
        if (next > now)
                rig_advance(r, next - now, 0, 0);
        if (vms <= next)
                fake_world_run(&r->world);
        if (!r->is_dead && r->armed_usec <= next) {
                r->armed_usec = USEC_INFINITY;
                cycle_on_timer(r->cycle);
        }
        rig_check(r);
        return true;
}

void rig_pass(Rig *r, uint64_t usec) {
        uint64_t until = rig_now_usec(r) + usec;

        for (int n = 0; n < REST_STEPS_MAX; n++) {
                uint64_t vms = fake_world_next(&r->world);

                if (MIN(vms, r->armed_usec) > until)
                        break;
                (void) rig_next(r);
        }
        rig_advance(r, until - rig_now_usec(r), 0, 0);
        rig_check(r);
}

/* promises that hold at the end */

/* Whom nobody else touched knows what it lacks to the last bit; and what it was told is in the records. */
static void rig_check_page(Rig *r, const FakeVm *vm) {
        const FakePage *p = &vm->page;

        if (p->told.phase == SUSPENDD_DRIFT_RUNNING || p->told.phase == SUSPENDD_DRIFT_STOOD)
                rig_fault(r, "%s: its guest is not told that it runs", vm->name);
        if (!vm->is_touched && !p->has_gap && !p->is_missing && p->unseen_ns != fake_vm_lost_ns(vm))
                rig_fault(r,
                          "%s: its guest was told of %lld ns and lacks %lld ns",
                          vm->name,
                          (long long) p->unseen_ns,
                          (long long) fake_vm_lost_ns(vm));
}

static void rig_check_rest(Rig *r, FakeVm *vm) {
        const Machine *m = rig_machine(r, vm);

        if (!m || vm->is_murky)
                return;
        if (vm->is_paused && vm->paused_by == FAKE_BY_US)
                rig_fault(r, "%s: we paused it, and it stays paused", vm->name);
        if (vm->is_suspended && !vm->is_paused && vm->suspended_by == FAKE_BY_US)
                rig_fault(r, "%s: it suspended for us, and stays so", vm->name);
        if (m->state != MACHINE_IDLE && m->state != MACHINE_WATCHED)
                rig_fault(r, "%s: it ends %s", vm->name, machine_state_to_string(m->state));
        if (m->noted != (m->is_suspend_owed ? JOURNAL_NOTE_WATCHED : JOURNAL_NOTE_NONE))
                rig_fault(r, "%s: the journal's note is left behind", vm->name);
        if (m->state == MACHINE_IDLE && m->is_suspend_owed)
                rig_fault(r, "%s: nobody watches for its suspend", vm->name);
        if (vm->page.n_told[SUSPENDD_DRIFT_STOOD] > 0 && !vm->is_touched)
                rig_check_page(r, vm);
}

static void rig_cooperate(FakeVm *vm) {
        for (size_t i = 0; i < SUSPENDD_ACT_MAX; i++)
                vm->answers[i] = FAKE_NOW;
        (void) fake_vm_answer(vm);
}

void rig_settle(Rig *r) {
        uint64_t limit = rig_now_usec(r) + REST_LIMIT_USEC;
        uint64_t slept_usec = r->is_locked || r->is_awake ? 0 : 3600 * USEC_PER_SEC;

        LIST_FOREACH(i, &r->world.vms)
        rig_cooperate(LIST_ENTRY(i, FakeVm, vms));
        rig_check(r);
        if (r->is_announced)
                rig_wake(r, slept_usec);

        for (int n = 0; rig_next(r); n++)
                if (n == REST_STEPS_MAX || rig_now_usec(r) > limit) {
                        rig_fault(r, "it does not come to rest");
                        break;
                }
        if (r->cycle->state != CYCLE_IDLE)
                rig_fault(r, "the cycle ends %s", cycle_state_to_string(r->cycle->state));
        if (!r->is_locked && !r->is_quitting)
                rig_fault(r, "the lock is not held while the host is awake");
        LIST_FOREACH(i, &r->world.vms)
        rig_check_rest(r, LIST_ENTRY(i, FakeVm, vms));
}
