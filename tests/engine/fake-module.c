/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The fake plugin as a shared object, for tests of the whole daemon: machines in the daemon's memory,
 * on the real clock, as "[Plugin fake]" tells:
 *
 *     Machine=NAME [suspend|pause|resume|wake|get-time|set-time|store=ANSWER]… [latency|late|offset=MS]…
 *             [mode=WORD]
 *     Trouble=TEXT
 *
 * with an ANSWER of now, later, never, twice, error, refuse, lie, late, bounce, or none: it cannot. A
 * hint that a machine has started or stopped makes it so.
 */

#include <errno.h>
#include <systemd/sd-event.h>
#include "common/string-table.h"
#include "common/time-util.h"
#include "fake-plugin.h"

static const char *const fake_answer_table[] = {
        [FAKE_NOW] = "now",     [FAKE_LATER] = "later", [FAKE_NEVER] = "never",
        [FAKE_TWICE] = "twice", [FAKE_ERROR] = "error", [FAKE_REFUSE] = "refuse",
        [FAKE_LIE] = "lie",     [FAKE_LATE] = "late",   [FAKE_BOUNCE] = "bounce",
};

_Static_assert(ARRAY_LEN(fake_answer_table) == FAKE_ANSWER_MAX, "a name for each answer");

static const char *const act_names[SUSPENDD_ACT_MAX] = {
        "suspend", "pause", "resume", "wake", "get-time", "set-time",
};

typedef struct Module {
        FakeWorld world;
        sd_event_source *timer;
} Module;

static Module module;

/* time */

static void module_now(void *userdata _unused_, ClockSample *ret) {
        clock_sample_take(ret);
}

static void module_arm(void *userdata) {
        Module *m = userdata;
        uint64_t next = fake_world_next(&m->world);

        if (!m->timer)
                return;
        (void) sd_event_source_set_time(m->timer, next);
        (void) sd_event_source_set_enabled(
                        m->timer, next == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static int module_on_timer(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        Module *m = userdata;

        fake_world_run(&m->world);
        module_arm(m);
        return 0;
}

/* settings */

static int answer_from_string(const char *s) {
        for (int i = 0; i < FAKE_ANSWER_MAX; i++)
                if (str_equal(fake_answer_table[i], s))
                        return i;
        return -EINVAL;
}

static bool vm_set_answer(FakeVm *vm, size_t act, const char *value) {
        int answer = answer_from_string(value);

        if (str_equal(value, "none"))
                vm->why_not[act] = "it is told that it cannot";
        else if (answer < 0)
                return false;
        else
                vm->answers[act] = (FakeAnswer) answer;
        return true;
}

static bool vm_set_store(FakeVm *vm, const char *value) {
        int answer = answer_from_string(value);

        if (answer < 0)
                return false;
        vm->store = (FakeAnswer) answer;
        return true;
}

/* One KEY=VALUE. Returns: whether it was understood. */
static bool vm_set(FakeVm *vm, char *word) {
        char *value = strchr(word, '=');
        int64_t ms;

        if (!value)
                return false;
        *value++ = '\0';
        for (size_t act = 0; act < SUSPENDD_ACT_MAX; act++)
                if (str_equal(word, act_names[act]))
                        return vm_set_answer(vm, act, value);
        if (str_equal(word, "store"))
                return vm_set_store(vm, value);
        if (str_equal(word, "mode")) {
                (void) snprintf(vm->mode, sizeof(vm->mode), "%s", value);
                return true;
        }
        if (str_equal(word, "process")) {
                (void) snprintf(vm->process, sizeof(vm->process), "%s", value);
                return true;
        }
        ms = strtoll(value, NULL, 10);
        if (str_equal(word, "latency"))
                vm->latency_usec = (uint64_t) ms * USEC_PER_MSEC;
        else if (str_equal(word, "late"))
                vm->late_usec = (uint64_t) ms * USEC_PER_MSEC;
        else if (str_equal(word, "offset"))
                vm->offset_ns = ms * NSEC_PER_MSEC;
        else
                return false;
        return true;
}

static FakeVm *module_find(Module *m, const char *name) {
        LIST_FOREACH(i, &m->world.vms) {
                FakeVm *vm = LIST_ENTRY(i, FakeVm, vms);

                if (str_equal(vm->name, name))
                        return vm;
        }
        return NULL;
}

static bool module_set_machine(Module *m, const char *line) {
        _cleanup_free_ char *copy = strdup(line);
        char *rest = copy, *name = copy ? strsep(&rest, " ") : NULL, *word;
        bool is_new;
        FakeVm *vm;

        if (str_empty(name))
                return false;
        vm = module_find(m, name);
        is_new = !vm;
        if (is_new) {
                vm = fake_vm_new(&m->world, name);
                for (int act = 0; act < SUSPENDD_ACT_MAX; act++)
                        vm->answers[act] = FAKE_LATER;
        }
        while ((word = strsep(&rest, " ")))
                if (*word && !vm_set(vm, word))
                        return false;
        if (is_new)
                fake_vm_start(vm);
        else
                fake_vm_change(vm);
        return true;
}

static int module_load(FakeWorld *w, const struct suspendd_setting *settings, size_t n_settings) {
        const char *trouble = NULL;
        Module *m = w->userdata;
        int r = 0;

        if (!m->timer)
                r = sd_event_add_time(
                                w->host->event,
                                &m->timer,
                                CLOCK_MONOTONIC,
                                UINT64_MAX,
                                1,
                                module_on_timer,
                                m);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_settings; i++)
                if (str_equal(settings[i].key, "Trouble"))
                        trouble = settings[i].value;
                else if (!str_equal(settings[i].key, "Machine") ||
                         !module_set_machine(m, settings[i].value))
                        w->host->log(w->host,
                                     3,
                                     NULL,
                                     "%s:%u: not understood",
                                     settings[i].file,
                                     settings[i].line);
        w->host->trouble(w->host, trouble);
        return 0;
}

static int module_notify(FakeWorld *w, const char *event, const char *name) {
        Module *m = w->userdata;
        FakeVm *vm = module_find(m, name);

        if (str_equal(event, "started"))
                fake_vm_start(vm ? vm : fake_vm_new(&m->world, name));
        else if (!str_equal(event, "stopped"))
                return -EOPNOTSUPP;
        else if (vm)
                fake_vm_end(vm);
        return 0;
}

static void module_detach(FakeWorld *w) {
        Module *m = w->userdata;

        m->timer = sd_event_source_disable_unref(m->timer);
        fake_world_done(w);
}

/* The world is there before the daemon opens the plugin. */
__attribute__((constructor)) static void module_open(void) {
        module.world = (FakeWorld){ .now = module_now,
                                    .arm = module_arm,
                                    .load = module_load,
                                    .notify = module_notify,
                                    .detach = module_detach,
                                    .userdata = &module };
        list_init(&module.world.vms);
        fake_world_use(&module.world);
}
