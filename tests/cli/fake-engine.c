/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-engine.h"
#include <errno.h>
#include "common/clock-sample.h"
#include "common/text-escape.h"
#include "common/time-util.h"

#define SYNC_USEC (100 * USEC_PER_MSEC)
#define STORE_USEC (50 * USEC_PER_MSEC)
#define RECORDS_MAX 64

static int fake_store_mode(void *vm, uint64_t request, const char *mode);

static const struct suspendd_plugin fake_api = { .name = "qmp", .store_mode = fake_store_mode };
static Plugin fake_plugin = { .api = &fake_api };
static Manager the_manager;
static Cycle the_cycle;
static char *records[RECORDS_MAX + 1];
static size_t n_records;
static sd_event_source *timer;
static ModeStore *mode_store;

static const char *const cycle_kind_table[] = { "sleep", "rehearsal", "unannounced", "recovery" };
DEFINE_STRING_TABLE(cycle_kind, CycleKind, CYCLE_KIND);

/* machines */

static Machine *machine_make(const char *id, const char *address, const char *no_agent) {
        Machine *m = calloc(1, sizeof(*m));

        if (!m || !(m->id = strdup(id)) || !(m->name = strdup(id)) ||
            !(m->address = strdup(address)) || !(m->vmm = strdup("QEMU 7.2.22")) ||
            !(m->mode_source = strdup("default")))
                abort();

        m->cycle = &the_cycle;
        m->plugin = &fake_plugin;
        m->vm = m;
        m->run_state = SUSPENDD_STATE_RUNNING;
        m->policy = POLICY_DEFAULT;
        m->report.asked = SUSPENDD_ACT_INVALID;
        for (int i = 0; no_agent && i < SUSPENDD_ACT_MAX; i++)
                if ((i == SUSPENDD_ACT_SUSPEND || i == SUSPENDD_ACT_SET_TIME) &&
                    !(m->why_not[i] = strdup(no_agent)))
                        abort();
        list_append(&the_cycle.machines, &m->machines);
        the_cycle.n_machines++;
        return m;
}

static void machine_unmake(Machine *m) {
        list_unlink(&m->machines);
        the_cycle.n_machines--;
        bus_api_machine_removed(the_manager.bus_api, m);
        free(m->id);
        free(m->name);
        free(m->address);
        free(m->mode_source);
        free(m->vmm);
        free(m->why_not[SUSPENDD_ACT_SUSPEND]);
        free(m->why_not[SUSPENDD_ACT_SET_TIME]);
        free(m);
}

static void make_machines(size_t n_more) {
        Machine *m;
        char id[32];

        (void) machine_make("vm1", "/run/vm1.qmp", NULL);
        (void) machine_make("vm2", "/run/vm2.qmp", "no guest agent");
        m = machine_make("evil\x1b[31m\xff\xe2\x80\xae", "/run/evil.qmp", "it says \x1b]0;owned\a");
        (void) snprintf(m->detail,
                        sizeof(m->detail),
                        "\x9b"
                        "31m");
        m = machine_make("web 1/a", "/run/web.qmp", NULL);
        m->policy.mode = MODE_BLOCK;

        for (size_t i = 0; i < n_more; i++) {
                (void) snprintf(id, sizeof(id), "more%zu", i);
                (void) machine_make(id, "/run/more.qmp", NULL);
        }
}

enum suspendd_act machine_plan(const Machine *m, char *why, size_t size) {
        const char *lack = m->why_not[SUSPENDD_ACT_SUSPEND];

        (void) text_cut(why, size, lack ? lack : "");
        if (m->policy.mode == MODE_IGNORE || m->policy.mode == MODE_BLOCK)
                return SUSPENDD_ACT_INVALID;
        return lack || m->policy.mode == MODE_PAUSE ? SUSPENDD_ACT_PAUSE : SUSPENDD_ACT_SUSPEND;
}

/* The first machine has a page, and a reader of it. */
const char *machine_page(const Machine *m) {
        return m == LIST_ENTRY(the_cycle.machines.next, Machine, machines) ? m->name : NULL;
}

int machine_answer(const Machine *m, struct suspendd_answer *ret) {
        *ret = (struct suspendd_answer){ .size = sizeof(*ret),
                                         .corrects_realtime = 1,
                                         .is_current = 1,
                                         .applied_ns = m->report.unseen_ns };
        return machine_page(m) != NULL;
}

Machine *cycle_find(Cycle *c, const char *id) {
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (str_equal(m->id, id))
                        return m;
        }
        return NULL;
}

size_t cycle_n_held(const Cycle *c) {
        return c->state == CYCLE_SLEEPING ? c->n_machines : 0;
}

bool cycle_is_urgent(const Cycle *c) {
        return c->state == CYCLE_PREPARING || c->state == CYCLE_RESTORING;
}

bool inhibitor_is_held(const Inhibitor *i) {
        (void) i;
        return true;
}

/* the cycle */

static void stand(Machine *m) {
        enum suspendd_act act;

        m->report = (MachineReport){ .is_part = true };
        m->report.asked = act = machine_plan(m, m->report.why, sizeof(m->report.why));
        if (act == SUSPENDD_ACT_INVALID)
                return;

        m->report.stood = act == SUSPENDD_ACT_SUSPEND ? SUSPENDD_STATE_SUSPENDED
                                                      : SUSPENDD_STATE_PAUSED;
        m->report.is_failed = m->policy.mode == MODE_SUSPEND && act == SUSPENDD_ACT_PAUSE;
        m->report.stood_after_usec = 1234;
        bus_api_milestone(the_manager.bus_api, CYCLE_MACHINE_STOOD, m);
        bus_api_machine_changed(the_manager.bus_api, m);
}

static void run(Machine *m) {
        if (m->report.asked == SUSPENDD_ACT_INVALID)
                return;

        m->report.ran_after_usec = 2345;
        m->report.stopped_ns = m->report.unseen_ns = 3 * NSEC_PER_SEC;
        m->report.time = (CorrectionReport){
                .verdict = CORRECTION_SET,
                .is_before_known = true,
                .is_after_known = true,
                .before_ns = -3 * NSEC_PER_SEC,
                .before_uncertainty_ns = 200000,
                .after_ns = 150000,
                .after_uncertainty_ns = 50000,
                .tries = 1,
                .repaired_by = CORRECTION_BY_AGENT,
        };
        m->report.times[0].report = m->report.time;
        m->report.times[1] = (CorrectionEntry){ CORRECTION_CAUSE_HOST_CLOCK,
                                                the_cycle.report.began.realtime_ns,
                                                700 * NSEC_PER_MSEC,
                                                m->report.time };
        m->report.n_times = 2;
        bus_api_milestone(the_manager.bus_api, CYCLE_MACHINE_RAN, m);
}

static int end_cycle(sd_event_source *s, uint64_t usec, void *userdata) {
        CycleReport *r = &the_cycle.report;

        (void) s;
        (void) usec;
        (void) userdata;
        r->slept_ns = 3 * NSEC_PER_SEC;
        r->slept_doubt = "it is made up";
        r->is_woken = true;
        bus_api_milestone(the_manager.bus_api, CYCLE_WOKE, NULL);
        LIST_FOREACH(i, &the_cycle.machines)
        run(LIST_ENTRY(i, Machine, machines));

        r->ended = "woke";
        r->finished_after_usec = 9876;
        the_cycle.state = CYCLE_IDLE;
        if (n_records < RECORDS_MAX)
                records[n_records++] = cycle_record(&the_cycle);
        bus_api_milestone(the_manager.bus_api, CYCLE_FINISHED, NULL);
        return 0;
}

int manager_rehearse(Manager *m, uint64_t for_usec, const char **ret_why) {
        CycleReport *r = &the_cycle.report;

        if (for_usec > 3600 * USEC_PER_SEC) {
                *ret_why = "a rehearsal takes an hour at most";
                return -EINVAL;
        }
        if (the_cycle.state != CYCLE_IDLE) {
                *ret_why = "a cycle is under way";
                return -EBUSY;
        }

        the_cycle.state = CYCLE_SLEEPING;
        *r = (CycleReport){ .number = r->number + 1, .kind = CYCLE_KIND_REHEARSAL };
        (void) snprintf(r->id, sizeof(r->id), "%032d", 7);
        clock_sample_take(&r->began);
        r->delay_max_usec = the_cycle.delay_max_usec;
        budget_compute(&r->budget, r->delay_max_usec, the_cycle.cap_usec, the_cycle.suspend_share);
        r->released_after_usec = 1500;
        r->is_released = true;

        bus_api_milestone(m->bus_api, CYCLE_STARTED, NULL);
        LIST_FOREACH(i, &the_cycle.machines)
        stand(LIST_ENTRY(i, Machine, machines));
        bus_api_milestone(m->bus_api, CYCLE_LOCK_RELEASED, NULL);

        timer = sd_event_source_unref(timer);
        return sd_event_add_time_relative(
                        m->event, &timer, CLOCK_MONOTONIC, for_usec, 1, end_cycle, NULL);
}

/* what else the bus may ask for */

static int end_sync(sd_event_source *s, uint64_t usec, void *userdata) {
        (void) s;
        (void) usec;
        (void) userdata;
        LIST_FOREACH(i, &the_cycle.machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (m->state != MACHINE_CORRECTING)
                        continue;
                m->state = MACHINE_IDLE;
                m->report.time = (CorrectionReport){
                        .verdict = m->policy.mode == MODE_BLOCK ? CORRECTION_GAVE_UP
                                                                : CORRECTION_RIGHT,
                        .is_before_known = true,
                        .is_after_known = true,
                        .before_ns = 1000,
                        .before_uncertainty_ns = 50000,
                        .after_ns = 1000,
                        .after_uncertainty_ns = 50000,
                };
                bus_api_machine_changed(the_manager.bus_api, m);
        }
        return 0;
}

int manager_sync(Manager *m, Machine *machine, const char **ret_why) {
        if (machine->why_not[SUSPENDD_ACT_SET_TIME]) {
                *ret_why = machine->why_not[SUSPENDD_ACT_SET_TIME];
                return -EOPNOTSUPP;
        }

        machine->state = MACHINE_CORRECTING;
        bus_api_machine_changed(m->bus_api, machine);
        timer = sd_event_source_unref(timer);
        return sd_event_add_time_relative(
                        m->event, &timer, CLOCK_MONOTONIC, SYNC_USEC, 1, end_sync, NULL);
}

int manager_set_mode(Manager *m, Machine *machine, Mode mode, const char **ret_why) {
        (void) ret_why;
        machine->policy.mode = mode;
        if (str_replace(&machine->mode_source, "command") < 0)
                return -ENOMEM;
        bus_api_machine_changed(m->bus_api, machine);
        bus_api_manager_changed(m->bus_api, "Blocking");
        return 0;
}

/* what writes into definitions: vm2's cannot be written, and that of "web 1/a" not now */

typedef struct Store {
        Machine *machine;
        uint64_t request;
        Mode mode;
        sd_event_source *timer;
} Store;

static int end_store(sd_event_source *s, uint64_t usec, void *userdata) {
        Store *store = userdata;
        Machine *m = store->machine;

        (void) s;
        (void) usec;
        if (m->policy.mode == MODE_BLOCK)
                mode_store_answer(mode_store, m->plugin, store->request, -EIO, "no \x1b[31mroom");
        else {
                m->policy.mode = store->mode == MODE_INVALID ? MODE_AUTO : store->mode;
                (void) str_replace(
                                &m->mode_source,
                                store->mode == MODE_INVALID ? "default" : "its definition");
                mode_store_answer(mode_store, m->plugin, store->request, 0, NULL);
        }
        sd_event_source_unref(store->timer);
        free(store);
        return 0;
}

static int fake_store_mode(void *vm, uint64_t request, const char *mode) {
        Machine *m = vm;
        Store *store;

        if (m->why_not[SUSPENDD_ACT_SUSPEND])
                return -EOPNOTSUPP;
        store = calloc(1, sizeof(*store));
        if (!store)
                return -ENOMEM;
        *store = (Store){ .machine = m, .request = request, .mode = mode_from_string(mode) };
        if (sd_event_add_time_relative(
                            the_manager.event,
                            &store->timer,
                            CLOCK_MONOTONIC,
                            STORE_USEC,
                            1,
                            end_store,
                            store) < 0)
                abort();
        return SUSPENDD_PENDING;
}

static void on_stored(void *userdata, Machine *m) {
        (void) userdata;
        bus_api_machine_changed(the_manager.bus_api, m);
}

int manager_store_mode(
                Manager *m,
                Machine *machine,
                Mode mode,
                ModeStoreFn fn,
                void *userdata,
                const char **ret_why) {
        (void) m;
        (void) ret_why;
        return mode_store_begin(mode_store, machine, mode, fn, userdata);
}

int manager_register(Manager *m, const Registration *r, const char **ret_why) {
        LIST_FOREACH(i, &the_cycle.machines)
        if (str_equal(LIST_ENTRY(i, Machine, machines)->address, r->address)) {
                *ret_why = "a machine is there already";
                return -EEXIST;
        }

        bus_api_machine_added(
                        m->bus_api,
                        machine_make(r->name ? r->name : "nameless", r->address, r->agent));
        return 0;
}

int manager_unregister(Manager *m, const char *plugin, const char *address, const char **ret_why) {
        (void) m;
        (void) ret_why;
        LIST_FOREACH(i, &the_cycle.machines) {
                Machine *machine = LIST_ENTRY(i, Machine, machines);

                if (str_equal(machine->address, address) && str_equal(plugin, "qmp")) {
                        machine_unmake(machine);
                        return 0;
                }
        }
        return -ENOENT;
}

/* Machines come and go by hints alone, whatever they are called. */
int manager_notify(
                Manager *m,
                const char *plugin,
                const char *event,
                const char *name,
                const char **ret_why) {
        if (!str_equal(plugin, "qmp")) {
                *ret_why = "no such plugin is loaded";
                return -ENOENT;
        }
        if (!str_equal(event, "started")) {
                *ret_why = "the plugin takes no hints";
                return -EOPNOTSUPP;
        }
        bus_api_machine_added(m->bus_api, machine_make(name, "/run/hinted.qmp", NULL));
        return 0;
}

/* Pages are the page plugin's; the tests of the whole daemon have it. */
int manager_page_create(
                Manager *m,
                const char *name,
                const char *owner,
                unsigned vectors,
                bool notifies,
                const char **ret_why) {
        (void) m;
        (void) name;
        (void) owner;
        (void) vectors;
        (void) notifies;
        *ret_why = "no plugin that has pages is loaded (Plugins=page)";
        return -ENOENT;
}

int manager_page_remove(Manager *m, const char *name, bool force, const char **ret_why) {
        (void) m;
        (void) name;
        (void) force;
        *ret_why = "no plugin that has pages is loaded (Plugins=page)";
        return -ENOENT;
}

int manager_page_list(Manager *m, char **ret, const char **ret_why) {
        (void) m;
        (void) ret;
        *ret_why = "no plugin that has pages is loaded (Plugins=page)";
        return -ENOENT;
}

int manager_reload(Manager *m, const char **ret_why) {
        (void) m;
        *ret_why = "line 3 makes no sense";
        return -EINVAL;
}

void manager_status(const Manager *m, char *buf, size_t size) {
        (void) snprintf(buf, size, "%zu machines, lock held", m->cycle->n_machines);
}

int history_read(History *h, unsigned max, char ***ret) {
        size_t n = MIN((size_t) max, n_records);
        char **copy = calloc(n + 1, sizeof(*copy));

        (void) h;
        if (!copy)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                copy[i] = strdup(records[n_records - n + i]);
        *ret = copy;
        return 0;
}

char **history_records_free(char **list) {
        for (char **p = list; p && *p; p++)
                free(*p);
        free(list);
        return NULL;
}

int fake_manager_new(size_t n_more, Manager **ret) {
        Manager *m = &the_manager;
        int r;

        list_init(&the_cycle.machines);
        list_init(&m->plugins);
        list_append(&m->plugins, &fake_plugin.plugins);
        fake_plugin.trouble = getenv("FAKE_TROUBLE"); /* NOLINT(concurrency-mt-unsafe) */
        the_cycle.delay_max_usec = USEC_INFINITY;
        the_cycle.cap_usec = 10 * USEC_PER_SEC;
        the_cycle.suspend_share = 60;
        m->cycle = &the_cycle;
        m->history = (History *) records;      /* there is one; nothing looks into it */
        m->delay_lock = (Inhibitor *) records; /* likewise */
        make_machines(n_more);

        r = sd_event_new(&m->event);
        if (r < 0)
                return r;
        r = mode_store_new(m->event, 10 * USEC_PER_SEC, on_stored, NULL, &mode_store);
        if (r < 0)
                return r;
        r = sd_bus_open_system(&m->bus);
        if (r < 0)
                return r;
        m->api_bus = sd_bus_ref(m->bus);
        r = sd_bus_attach_event(m->bus, m->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return r;

        *ret = m;
        return bus_api_new(m, &m->bus_api);
}
