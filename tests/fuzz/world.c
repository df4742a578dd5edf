/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"
#include "daemon/manager.c" /* NOLINT(bugprone-suspicious-include): for its chores and locks */
#include "listener.h"

#define BEGAN_NS (INT64_C(1000) * NSEC_PER_SEC)
#define BEGAN_REALTIME_NS (INT64_C(1700000000) * NSEC_PER_SEC)

typedef struct WorldVm {
        struct suspendd_machine *machine; /* NULL: it is not there */
        char *words[8];                   /* what it was announced as */
        uint64_t step, request;           /* the last that it was asked for */
        enum suspendd_act act;
} WorldVm;

struct World {
        Manager *manager;
        sd_bus *peer, *outside; /* who calls; where logind and polkit would be */
        Plugin *plugin;
        WorldVm vms[WORLD_VMS_MAX];
        ClockSample now;
        uint64_t due_usec;
        int journal, systemd; /* what they would read */
        size_t n_calls, n_answers;
};

static World *world;

/* the clock */

static void clock_take(void *userdata, ClockSample *ret) {
        (void) userdata;
        *ret = world->now;
}

static int64_t clock_of(void *userdata, int clock) {
        (void) userdata;
        return clock == CLOCK_BOOTTIME ? world->now.boottime_ns : world->now.monotonic_ns;
}

static void clock_arm(void *userdata, uint64_t usec) {
        (void) userdata;
        world->due_usec = usec;
}

/* the plugin: what it is asked for is noted, and answered when the input says so */

static int plugin_create(const struct suspendd_host *host, void **ret) {
        (void) host;
        *ret = world;
        return 0;
}

static void plugin_destroy(void *instance) {
        (void) instance;
}

static int act(void *userdata, enum suspendd_act act, uint64_t step) {
        WorldVm *vm = userdata;

        HOLDS(vm->machine);
        vm->step = step;
        vm->act = act;
        return SUSPENDD_PENDING;
}

static int plugin_suspend(void *vm, uint64_t step) {
        return act(vm, SUSPENDD_ACT_SUSPEND, step);
}

static int plugin_pause(void *vm, uint64_t step) {
        return act(vm, SUSPENDD_ACT_PAUSE, step);
}

static int plugin_resume(void *vm, uint64_t step) {
        return act(vm, SUSPENDD_ACT_RESUME, step);
}

static int plugin_wake(void *vm, uint64_t step) {
        return act(vm, SUSPENDD_ACT_WAKE, step);
}

static int plugin_get_time(void *vm, uint64_t step) {
        return act(vm, SUSPENDD_ACT_GET_TIME, step);
}

static int plugin_set_time(void *vm, uint64_t step, int64_t lead_ns) {
        (void) lead_ns;
        return act(vm, SUSPENDD_ACT_SET_TIME, step);
}

static void plugin_cancel(void *vm, uint64_t step) {
        (void) vm;
        (void) step;
}

static int plugin_store_mode(void *userdata, uint64_t request, const char *mode) {
        WorldVm *vm = userdata;

        HOLDS(!mode || text_is_clean(mode));
        vm->request = request;
        return SUSPENDD_PENDING;
}

/* What reaches a plugin has passed the bus interface. */
static int plugin_register(
                void *instance,
                const char *name,
                const char *address,
                const char *agent,
                const char **ret_why) {
        (void) instance;
        HOLDS(*address && text_is_clean(address));
        HOLDS(!name || (*name && text_is_clean(name)));
        HOLDS(!agent || (*agent && text_is_clean(agent)));
        if (*address == '/')
                return 0;
        *ret_why = "not an absolute path";
        return -EINVAL;
}

static int plugin_unregister(void *instance, const char *address) {
        (void) instance;
        return *address == '/' ? 0 : -ENOENT;
}

static int plugin_notify(void *instance, const char *event, const char *name) {
        (void) instance;
        HOLDS(*name && *event && text_is_clean(event));
        return str_equal(event, "started") ? 0 : -EOPNOTSUPP;
}

static int plugin_page_create(
                void *instance,
                const char *name,
                const char *owner,
                unsigned vectors,
                int notifies,
                const char **ret_why) {
        (void) instance;
        (void) ret_why;
        HOLDS(text_is_clean(name) && (!owner || (*owner && text_is_clean(owner))));
        return vectors > 16 || notifies < 0 ? -EINVAL : 0;
}

static int plugin_page_remove(void *instance, const char *name, int force, const char **ret_why) {
        (void) instance;
        (void) name;
        (void) ret_why;
        return force ? 0 : -ENOENT;
}

static char *plugin_page_list(void *instance) {
        (void) instance;
        return strdup("[]");
}

static const struct suspendd_plugin plugin_api = {
        .abi = SUSPENDD_PLUGIN_ABI,
        .size = sizeof(plugin_api),
        .name = "qmp", /* who registers without a plugin means that one */
        .create = plugin_create,
        .destroy = plugin_destroy,
        .register_machine = plugin_register,
        .unregister_machine = plugin_unregister,
        .notify = plugin_notify,
        .store_mode = plugin_store_mode,
        .page_create = plugin_page_create,
        .page_remove = plugin_page_remove,
        .page_list = plugin_page_list,
        .suspend = plugin_suspend,
        .pause = plugin_pause,
        .resume = plugin_resume,
        .wake = plugin_wake,
        .get_time = plugin_get_time,
        .set_time = plugin_set_time,
        .cancel = plugin_cancel,
};

/* machines */

static void vm_forget_words(WorldVm *vm) {
        for (size_t i = 0; i < ARRAY_LEN(vm->words); i++)
                free(TAKE_PTR(vm->words[i]));
}

static struct suspendd_machine_info vm_info(const WorldVm *vm, const char *why) {
        return (struct suspendd_machine_info){
                .size = sizeof(struct suspendd_machine_info),
                .name = vm->words[0],
                .uuid = vm->words[1],
                .run = vm->words[2],
                .vmm = vm->words[3],
                .address = vm->words[4],
                .mode = vm->words[5],
                .mode_source = vm->words[6],
                .why_not = { [SUSPENDD_ACT_SUSPEND] = vm->words[7],
                             [SUSPENDD_ACT_PAUSE] = why,
                             [SUSPENDD_ACT_SET_TIME] = vm->words[7] },
        };
}

void world_vm_add(World *w, unsigned i, Input *in) {
        WorldVm *vm = &w->vms[i];
        struct suspendd_machine_info info;

        if (vm->machine)
                return;
        vm_forget_words(vm);
        for (size_t k = 0; k < ARRAY_LEN(vm->words); k++)
                HOLDS(str_replace(&vm->words[k], input_text_if(in)) == 0);
        info = vm_info(vm, NULL);
        if (w->plugin->host.machine_add(&w->plugin->host, vm, &info, &vm->machine) < 0)
                vm->machine = NULL;
}

void world_vm_change(World *w, unsigned i, Input *in) {
        WorldVm *vm = &w->vms[i];
        struct suspendd_machine_info info;

        if (!vm->machine)
                return;
        for (size_t k = 3; k < ARRAY_LEN(vm->words); k++)
                HOLDS(str_replace(&vm->words[k], input_text_if(in)) == 0);
        info = vm_info(vm, input_text_if(in));
        w->plugin->host.machine_change(vm->machine, &info);
}

void world_vm_state(World *w, unsigned i, Input *in) {
        WorldVm *vm = &w->vms[i];
        enum suspendd_run_state state =
                        (enum suspendd_run_state) input_choice(in, SUSPENDD_STATE_MAX);
        int64_t ago_ns = (int64_t) input_byte(in) * NSEC_PER_MSEC;
        const char *detail = input_text_if(in);

        if (vm->machine)
                w->plugin->host.machine_state(
                                vm->machine,
                                state,
                                detail,
                                ago_ns > 0 ? w->now.boottime_ns - ago_ns : 0);
}

/* The step's end, or a clock's reading: the guest says what time it has. */
void world_vm_answer(World *w, unsigned i, Input *in) {
        const struct suspendd_host *host = &w->plugin->host;
        WorldVm *vm = &w->vms[i];
        int result = -(int) input_byte(in);
        const char *why = input_text_if(in);
        struct suspendd_time t = {
                .guest_ns = (int64_t) input_number(in),
                .host_before_ns = w->now.realtime_ns - NSEC_PER_MSEC,
                .host_after_ns = w->now.realtime_ns,
        };

        if (vm->request != 0)
                host->stored(host, vm->request, result, why);
        vm->request = 0;
        if (vm->act == SUSPENDD_ACT_GET_TIME && result == 0)
                host->done_time(host, vm->step, &t);
        else
                host->done(host, vm->step, result, why);
}

void world_vm_remove(World *w, unsigned i) {
        WorldVm *vm = &w->vms[i];

        if (vm->machine)
                w->plugin->host.machine_remove(vm->machine);
        vm->machine = NULL;
        vm_forget_words(vm);
}

void world_trouble(World *w, const char *text) {
        w->plugin->host.trouble(&w->plugin->host, text);
}

/* the peer */

static void hear_value(sd_bus_message *m) {
        const char *contents, *text;
        char type;

        while (sd_bus_message_peek_type(m, &type, &contents) > 0) {
                char basic[] = { type, '\0' };

                if (contents) {
                        HOLDS(sd_bus_message_enter_container(m, type, contents) > 0);
                        hear_value(m);
                        HOLDS(sd_bus_message_exit_container(m) >= 0);
                } else if (type == 's') {
                        HOLDS(sd_bus_message_read_basic(m, 's', &text) > 0);
                        HOLDS(text_is_clean(text));
                } else
                        HOLDS(sd_bus_message_skip(m, basic) >= 0);
        }
}

/* sd-bus has its own words for what it refuses by itself, and lays out its XML. */
static bool is_of_sd_bus(sd_bus_message *m) {
        const sd_bus_error *error = sd_bus_message_get_error(m);
        const char *text;

        if (error)
                return strncmp(error->name, "org.freedesktop.DBus.Error.", 27) == 0 &&
                       !str_equal(error->name, SD_BUS_ERROR_INVALID_ARGS);
        if (!sd_bus_message_has_signature(m, "s") || sd_bus_message_read(m, "s", &text) < 0)
                return false;
        HOLDS(sd_bus_message_rewind(m, true) >= 0);
        return strncmp(text, "<!DOCTYPE", 9) == 0;
}

static int peer_on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        World *w = userdata;
        uint64_t cookie;

        (void) error;
        if (sd_bus_message_get_reply_cookie(m, &cookie) >= 0)
                w->n_answers++;
        if (!is_of_sd_bus(m))
                hear_value(m);
        return 1; /* what the daemon asks of logind is not answered */
}

static sd_bus *bus_new(int fd, bool is_server) {
        sd_bus *bus;
        sd_id128_t id = SD_ID128_MAKE(
                        01, 02, 03, 04, 05, 06, 07, 08, 09, 0a, 0b, 0c, 0d, 0e, 0f, 10);

        HOLDS(sd_bus_new(&bus) >= 0);
        HOLDS(sd_bus_set_fd(bus, fd, fd) >= 0);
        HOLDS(!is_server || sd_bus_set_server(bus, true, id) >= 0);
        HOLDS(sd_bus_start(bus) >= 0);
        return bus;
}

static int append_value(sd_bus_message *m, char type, Input *in) {
        switch (type) {
        case 's':
                return sd_bus_message_append(m, "s", input_text(in));
        case 'v':
                return sd_bus_message_append(m, "v", "s", input_text(in));
        case 'u':
                return sd_bus_message_append(m, "u", (uint32_t) input_number(in));
        case 'b':
                return sd_bus_message_append(m, "b", input_byte(in) & 1);
        default:
                return sd_bus_message_append(m, "t", input_number(in));
        }
}

void world_call(World *w,
                const char *path,
                const char *interface,
                const char *member,
                const char *types,
                Input *in) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        uint64_t cookie;
        int r;

        r = sd_bus_message_new_method_call(w->peer, &m, "org.suspendd1", path, interface, member);
        for (const char *type = types; r >= 0 && *type; type++)
                r = append_value(m, *type, in);
        if (r < 0)
                return;
        HOLDS(sd_bus_send(w->peer, m, &cookie) >= 0);
        w->n_calls++;
}

void world_settle(World *w) {
        int moved;

        do {
                moved = sd_event_run(w->manager->event, 0);
                HOLDS(moved >= 0);
                moved += MAX(sd_bus_process(w->peer, NULL), 0);
                moved += MAX(sd_bus_process(w->outside, NULL), 0);
                listener_hear(w->journal);
                listener_hear(w->systemd);
        } while (moved > 0);
}

/* what happens to the host */

void world_event(World *w, CycleEvent event) {
        cycle_handle(w->manager->cycle, event);
}

void world_pass(World *w, uint64_t usec, uint64_t slept_usec) {
        int64_t awake_ns = (int64_t) usec * NSEC_PER_USEC;
        int64_t slept_ns = (int64_t) slept_usec * NSEC_PER_USEC;

        w->now.monotonic_ns += awake_ns;
        w->now.boottime_ns += awake_ns + slept_ns;
        w->now.realtime_ns += awake_ns + slept_ns;
        if (slept_ns > 0)
                cycle_on_clock_jump(w->manager->cycle, 0);
        if (w->due_usec <= (uint64_t) (w->now.monotonic_ns / NSEC_PER_USEC))
                cycle_on_timer(w->manager->cycle);
}

/* lifetime */

static void manager_open(Manager *m) {
        static CycleOps ops;

        ops = manager_cycle_ops;
        ops.now = clock_take;
        ops.clock = clock_of;
        ops.arm = clock_arm;
        HOLDS(journal_open(folder_path("cycle"), &m->journal) == 0);
        HOLDS(runtime_state_open(folder_path("state.json"), &m->runtime_state) == 0);
        HOLDS(history_open(folder_path("history"), 100, 1 << 20, &m->history) == 0);
        HOLDS(cycle_new(&ops, m, m->journal, history_next_number(m->history), &m->cycle) == 0);
        m->cycle->delay_max_usec = 5 * USEC_PER_SEC;
}

/* A connection of the Manager's. Returns: its other end, where all is heard. */
static sd_bus *connect_manager(World *w, sd_bus **ret, int64_t priority) {
        sd_bus *other;
        int fds[2];

        HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
        *ret = bus_new(fds[0], true);
        HOLDS(sd_bus_attach_event(*ret, w->manager->event, priority) >= 0);
        other = bus_new(fds[1], false);
        HOLDS(sd_bus_add_filter(other, NULL, peer_on_message, w) >= 0);
        return other;
}

static void manager_start(World *w) {
        Manager *m = w->manager;
        struct ManagerPrivate *p = m->private;

        HOLDS(sd_event_new(&m->event) >= 0);
        HOLDS(sd_event_add_defer(m->event, &p->chores, on_chores, m) >= 0);
        (void) manager_add_source(p->chores, PRIORITY_CHORES, "chores");
        w->outside = connect_manager(w, &m->bus, PRIORITY_BUS);
        w->peer = connect_manager(w, &m->api_bus, PRIORITY_API);
        HOLDS(fd_store_new(&p->fd_store) == 0);
        HOLDS(bus_api_new(m, &m->bus_api) == 0);
        HOLDS(inhibitor_new(m->bus, "delay", on_delay_lock, m, &m->delay_lock) >= 0);
        HOLDS(inhibitor_new(m->bus, "block", on_block_lock, m, &m->block_lock) >= 0);
        HOLDS(mode_store_new(m->event,
                             STORE_LIMIT_USEC,
                             manager_on_mode_stored,
                             m,
                             &p->mode_store) == 0);
}

static void world_load_plugin(World *w) {
        struct suspendd_host host = cycle_host();
        Manager *m = w->manager;

        host.event = m->event;
        HOLDS(plugin_new(&plugin_api, &host, m->cycle, &w->plugin) == 0);
        list_append(&m->plugins, &w->plugin->plugins);
        HOLDS(manager_apply_config(m) == 0);
        w->plugin->host.enumerated(&w->plugin->host);
}

World *world_begin(void) {
        World *w = world = calloc(1, sizeof(*w));
        Manager *m = calloc(1, sizeof(*m));

        HOLDS(w && m);
        folder_make();
        w->manager = m;
        w->now = (ClockSample){ BEGAN_NS, 2 * BEGAN_NS, BEGAN_REALTIME_NS };
        w->due_usec = USEC_INFINITY;
        w->journal = listener_open("journal");
        w->systemd = listener_open("systemd");
        HOLDS(setenv("NOTIFY_SOCKET", folder_path("systemd"), 1) == 0);
        HOLDS(log_set_journal(folder_path("journal")) == 0);
        log_set_max_level(LOG_DEBUG);

        m->options.config_file = "/dev/null";
        list_init(&m->plugins);
        m->private = calloc(1, sizeof(*m->private));
        HOLDS(m->private);
        HOLDS(config_load(m->options.config_file, &m->config) == 0);
        manager_open(m);
        manager_start(w);
        world_load_plugin(w);
        world_settle(w);
        return w;
}

void world_end(World *w) {
        /* What takes long is answered when no sleep is prepared any more. */
        cycle_handle(w->manager->cycle, CYCLE_EVENT_WAKE);
        mode_store_cancel(w->manager->private->mode_store);
        for (unsigned i = 0; i < WORLD_VMS_MAX; i++)
                world_vm_remove(w, i);
        bus_api_flush(w->manager->bus_api);
        world_settle(w);
        HOLDS(w->n_answers == w->n_calls);

        inhibitor_drop(w->manager->delay_lock);
        inhibitor_drop(w->manager->block_lock);
        world_settle(w);
        manager_free(w->manager);
        sd_bus_close_unref(w->peer);
        sd_bus_close_unref(w->outside);
        (void) log_set_journal(NULL);
        (void) close(w->journal);
        (void) close(w->systemd);
        free(w);
        world = NULL;
        folder_empty();
}
