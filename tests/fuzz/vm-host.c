/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm-host.h"
#include <errno.h>
#include <stdarg.h>
#include "common/clock-sample.h"
#include "timers.h"

#define STEPS_MAX 48

typedef enum StepState {
        STEP_PENDING,
        STEP_TAKEN, /* a suspend: it may yet be refused */
        STEP_OVER,
} StepState;

typedef struct Step {
        enum suspendd_act act;
        StepState state;
} Step;

struct suspendd_machine {
        uint64_t identity; /* what may not change */
        enum suspendd_run_state state;
};

typedef enum Meddling {
        MEDDLING_FREE,
        MEDDLING_ACT,
        MEDDLING_CANCEL,
        MEDDLING_MAX,
} Meddling;

static struct {
        struct suspendd_host host;
        Vm *vm;
        struct suspendd_machine *machine;
        Step steps[STEPS_MAX]; /* a step's id is its index and one */
        size_t n_steps;
        Meddling meddling;
        unsigned meddles_in, meddles_with; /* so many calls from now on; 0: not */
        int add_error;
        bool is_told, is_over, is_settled, is_abandoned, in_act;
} h;

/* what it does, at any time */

static void end(void) {
        Vm *vm = TAKE_PTR(h.vm);

        h.is_over = true;
        vm_free(vm);
}

static void ask(unsigned what) {
        static int (*const acts[])(
                        void *vm,
                        uint64_t step) = { vm_suspend, vm_pause, vm_resume, vm_wake, vm_get_time };
        Step *step = &h.steps[h.n_steps];
        int r;

        if (!h.machine || h.n_steps == STEPS_MAX)
                return;
        *step = (Step){ .act = what % SUSPENDD_ACT_MAX };
        h.n_steps++;
        h.in_act = true;
        if (step->act == SUSPENDD_ACT_SET_TIME)
                r = vm_set_time(h.vm, h.n_steps, what);
        else
                r = acts[step->act](h.vm, h.n_steps);
        h.in_act = false;
        HOLDS(r == SUSPENDD_PENDING || r < 0);
        if (r < 0)
                step->state = STEP_OVER;
}

/* The last but @back, be it over or not. */
static void cancel(unsigned back) {
        if (!h.machine || back >= h.n_steps)
                return;
        h.in_act = true;
        vm_cancel(h.vm, h.n_steps - back);
        h.in_act = false;
        h.steps[h.n_steps - back - 1].state = STEP_OVER;
}

static void meddle(bool may_act) {
        if (h.is_over || h.meddles_in == 0 || --h.meddles_in > 0)
                return;
        if (h.meddling == MEDDLING_FREE)
                end();
        else if (may_act && h.meddling == MEDDLING_ACT)
                ask(h.meddles_with);
        else if (may_act)
                cancel(h.meddles_with);
}

/* what it is told of the machine */

/* FNV-1a; a NULL is none of the texts. */
static uint64_t hash(uint64_t sum, const char *text) {
        for (const char *p = text ?: "\xff"; *p; p++)
                sum = (sum ^ (uint8_t) *p) * UINT64_C(0x100000001b3);
        return (sum ^ 0xfe) * UINT64_C(0x100000001b3);
}

static uint64_t check_info(const struct suspendd_machine_info *info) {
        HOLDS(!h.is_over && !h.in_act);
        HOLDS(info->size == sizeof(*info) && !str_empty(info->name) && !str_empty(info->address));
        HOLDS(info->run && strchr(info->run, '.'));
        HOLDS((!info->uuid || *info->uuid) && (!info->vmm || *info->vmm));
        for (int i = 0; i < SUSPENDD_ACT_MAX; i++)
                HOLDS(!info->why_not[i] || *info->why_not[i]);
        return hash(hash(hash(0, info->name), info->uuid), info->run);
}

static int on_add(
                const struct suspendd_host *host,
                void *vm,
                const struct suspendd_machine_info *info,
                struct suspendd_machine **ret) {
        uint64_t identity = check_info(info);

        HOLDS(host == &h.host && vm == h.vm && !h.machine);
        if (h.add_error < 0)
                return h.add_error;
        *ret = h.machine = calloc(1, sizeof(*h.machine));
        HOLDS(h.machine);
        h.machine->identity = identity;
        meddle(false);
        return 0;
}

static void on_change(struct suspendd_machine *m, const struct suspendd_machine_info *info) {
        HOLDS(m && m == h.machine && m->identity == check_info(info));
        meddle(true);
}

static void on_state(
                struct suspendd_machine *m,
                enum suspendd_run_state state,
                const char *detail,
                int64_t boottime_ns) {
        HOLDS(!h.is_over && !h.in_act && m && m == h.machine);
        HOLDS(state >= 0 && state < SUSPENDD_STATE_MAX);
        HOLDS(!detail || (*detail && state == SUSPENDD_STATE_OTHER));
        HOLDS(boottime_ns >= 0 && boottime_ns <= clock_now_ns(CLOCK_BOOTTIME));
        m->state = state;
        meddle(true);
}

static void on_remove(struct suspendd_machine *m) {
        HOLDS(!h.in_act && !h.is_abandoned && m && m == h.machine);
        HOLDS(h.is_over || m->state == SUSPENDD_STATE_UNKNOWN);
        for (size_t i = 0; i < h.n_steps; i++)
                h.steps[i].state = STEP_OVER;
        free(TAKE_PTR(h.machine));
        meddle(false);
}

static int on_is_told(const struct suspendd_machine *m) {
        HOLDS(!h.is_over && m && m == h.machine);
        return h.is_told;
}

/* what it is told of the steps */

static bool is_in_line(enum suspendd_act act) {
        return act == SUSPENDD_ACT_PAUSE || act == SUSPENDD_ACT_RESUME;
}

static Step *answered(const struct suspendd_host *host, uint64_t id) {
        Step *step;

        HOLDS(host == &h.host && !h.is_over && !h.in_act && id > 0 && id <= h.n_steps);
        step = &h.steps[id - 1];
        HOLDS(step->state != STEP_OVER);
        for (Step *before = h.steps; is_in_line(step->act) && before < step; before++)
                HOLDS(before->state != STEP_PENDING || !is_in_line(before->act));
        return step;
}

static void on_done(const struct suspendd_host *host, uint64_t id, int error, const char *why) {
        Step *step = answered(host, id);

        HOLDS(error <= 0 && (!why || strlen(why) < SIZE_MAX));
        HOLDS(error < 0 || (step->act != SUSPENDD_ACT_GET_TIME && step->state == STEP_PENDING));
        step->state = step->act == SUSPENDD_ACT_SUSPEND && error == 0 ? STEP_TAKEN : STEP_OVER;
        meddle(true);
}

static void on_time(const struct suspendd_host *host, uint64_t id, const struct suspendd_time *t) {
        Step *step = answered(host, id);

        HOLDS(step->act == SUSPENDD_ACT_GET_TIME && t->host_before_ns > 0 && t->host_after_ns > 0);
        step->state = STEP_OVER;
        meddle(true);
}

static void on_log(
                const struct suspendd_host *host,
                int level,
                const struct suspendd_machine *m,
                const char *format,
                ...) _printf_(4, 5);

static void on_log(
                const struct suspendd_host *host,
                int level,
                const struct suspendd_machine *m,
                const char *format,
                ...) {
        char text[128];
        va_list ap;

        (void) level;
        HOLDS(host == &h.host && !h.is_over && (!m || m == h.machine));
        va_start(ap, format);
        HOLDS(vsnprintf(text, sizeof(text), format, ap) > 0);
        va_end(ap);
}

/* the owner */

static void on_settled(void *userdata) {
        HOLDS(userdata == &h && !h.is_over && !h.is_settled && h.machine);
        h.is_settled = true;
        meddle(false);
}

/* As an Entry does, whose VMM lives. */
static void on_end(void *userdata, int error, const char *why) {
        HOLDS(userdata == &h && !h.is_over && !h.in_act && error <= 0 && why);
        HOLDS(!vm_has_ended(h.vm));
        if (error != -EEXIST)
                vm_lose(h.vm);
        if (h.vm)
                end();
}

static const VmOps vm_ops = { .on_settled = on_settled, .on_end = on_end };

void vm_host_own(Input *in) {
        switch (input_choice(in, 4)) {
        case 0:
                vm_look_for_agent(h.vm);
                return;
        case 1:
                vm_lose(h.vm);
                break;
        case 2:
                h.is_abandoned = true;
                free(TAKE_PTR(h.machine));
                vm_abandon(h.vm);
                break;
        default:
                break;
        }
        if (h.vm)
                end();
}

void vm_host_act(Input *in) {
        ask(input_byte(in));
}

void vm_host_cancel(Input *in) {
        cancel(input_byte(in));
}

void vm_host_meddle(Input *in) {
        h.meddles_in = 1 + input_choice(in, 4);
        h.meddling = input_choice(in, MEDDLING_MAX);
        h.meddles_with = input_byte(in);
}

void vm_host_opine(Input *in) {
        static const int errors[] = { 0, 0, -EEXIST, -ENOMEM };
        unsigned opinion = input_byte(in);

        h.is_told = opinion & 1;
        h.add_error = errors[opinion / 2 % ARRAY_LEN(errors)];
}

void vm_host_turn(void) {
        int r;

        do
                r = sd_event_run(h.host.event, 0);
        while (r > 0);
        HOLDS(r == 0);
}

/* lifetime */

bool vm_host_is_over(void) {
        return h.is_over;
}

void vm_host_begin(int fd, const char *name, const char *agent_path) {
        const VmPlace place = { .name = name, .path = "/run/base.qmp", .agent_path = agent_path };

        memset(&h, 0, sizeof(h));
        h.host = (struct suspendd_host){
                .abi = SUSPENDD_PLUGIN_ABI,
                .size = sizeof(h.host),
                .machine_add = on_add,
                .machine_change = on_change,
                .machine_state = on_state,
                .machine_remove = on_remove,
                .is_told = on_is_told,
                .done = on_done,
                .done_time = on_time,
                .log = on_log,
        };
        HOLDS(sd_event_new(&h.host.event) >= 0);
        HOLDS(vm_new(&h.host, fd, &place, &vm_ops, &h, &h.vm) == 0);
}

void vm_host_end(void) {
        if (h.vm)
                end();
        HOLDS(!h.machine);
        vm_host_turn();
        timers_done();
        h.host.event = sd_event_unref(h.host.event);
}
