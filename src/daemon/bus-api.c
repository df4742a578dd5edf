/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus-api.h"
#include <errno.h>
#include "common/text-escape.h"
#include "common/time-util.h"
#include "daemon/bus-internal.h"
#include "daemon/log.h"

#define HISTORY_SHORT_MAX 16                  /* records that are read at once */
#define POLKIT_LIMIT_USEC (10 * USEC_PER_SEC) /* it may have to be started */

/* One thing to be told. What it says is copied when it happens, but for the machine's path. */
typedef struct News {
        List news;
        CycleMilestone milestone; /* MAX: a machine was added */
        Machine *machine;         /* NULL if it is of none */
        uint64_t number;
        int64_t span; /* µs or ns, as the signal has it */
        const char *word;
        char id[33];
        char *record;
} News;

static News *news_free(News *n) {
        if (!n)
                return NULL;

        list_unlink(&n->news);
        free(n->record);
        free(n);
        return NULL;
}

/* sending */

static int news_send_machine(BusApi *b, const News *n) {
        _cleanup_free_ char *path = NULL, *id = NULL;
        int r;

        r = bus_machine_path(n->machine, &path);
        if (r < 0)
                return r;

        switch (n->milestone) {
        case CYCLE_MACHINE_STOOD:
                return sd_bus_emit_signal(
                                b->bus,
                                BUS_PATH,
                                BUS_MANAGER_INTERFACE,
                                "MachineStood",
                                "ost",
                                path,
                                n->word,
                                (uint64_t) n->span);
        case CYCLE_MACHINE_RAN:
                return sd_bus_emit_signal(
                                b->bus,
                                BUS_PATH,
                                BUS_MANAGER_INTERFACE,
                                "MachineRan",
                                "ox",
                                path,
                                n->span);
        default:
                break;
        }

        id = text_escape(n->machine->id);
        if (!id)
                return -ENOMEM;
        r = sd_bus_emit_object_added(b->bus, path);
        if (r < 0)
                return r;
        return sd_bus_emit_signal(
                        b->bus, BUS_PATH, BUS_MANAGER_INTERFACE, "MachineAdded", "so", id, path);
}

static int news_send_cycle(BusApi *b, const News *n) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        static const char *const members[CYCLE_MILESTONE_MAX] = {
                [CYCLE_STARTED] = "CycleStarted",
                [CYCLE_LOCK_RELEASED] = "LockReleased",
                [CYCLE_WOKE] = "Woke",
                [CYCLE_FINISHED] = "CycleFinished",
        };
        int r;

        r = sd_bus_message_new_signal(
                        b->bus, &m, BUS_PATH, BUS_MANAGER_INTERFACE, members[n->milestone]);
        if (r < 0)
                return r;

        r = sd_bus_message_append(m, "t", n->number);
        if (r < 0)
                return r;

        if (n->milestone == CYCLE_STARTED)
                r = sd_bus_message_append(m, "ss", n->id, n->word);
        else if (n->milestone == CYCLE_LOCK_RELEASED)
                r = sd_bus_message_append(m, "t", (uint64_t) n->span);
        else if (n->milestone == CYCLE_WOKE)
                r = sd_bus_message_append(m, "x", n->span);
        else
                r = sd_bus_message_append(m, "ss", n->word, n->record ? n->record : "");
        if (r < 0)
                return r;

        return sd_bus_send(b->bus, m, NULL);
}

/* Sends the oldest of the news. Returns: whether there was any. */
static bool send_news(BusApi *b) {
        News *n;
        int r;

        if (list_is_empty(&b->news))
                return false;

        n = LIST_ENTRY(b->news.next, News, news);
        r = n->machine ? news_send_machine(b, n) : news_send_cycle(b, n);
        if (r < 0)
                log_debug("Cannot send a signal: %s", strerror(-r));
        (void) news_free(n);
        return true;
}

static bool send_manager(BusApi *b) {
        char *names[sizeof(b->changed) * 8 + 1];
        size_t n = 0;
        int r;

        if (b->changed == 0)
                return false;

        for (unsigned i = 0; bus_manager_properties[i]; i++)
                if (b->changed & 1U << i)
                        names[n++] = (char *) bus_manager_properties[i];
        names[n] = NULL;
        b->changed = 0;

        r = sd_bus_emit_properties_changed_strv(b->bus, BUS_PATH, BUS_MANAGER_INTERFACE, names);
        if (r < 0)
                log_debug("Cannot tell of the manager's changes: %s", strerror(-r));
        return true;
}

/* Tells the changes of the first machine that has any. Returns: whether there was one. */
static bool send_machine(BusApi *b) {
        if (!b->has_dirty)
                return false;

        LIST_FOREACH(i, &b->manager->cycle->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);
                _cleanup_free_ char *path = NULL;

                if (!m->is_dirty)
                        continue;

                m->is_dirty = false;
                if (bus_machine_path(m, &path) >= 0)
                        (void) sd_bus_emit_properties_changed_strv(
                                        b->bus, path, BUS_MACHINE_INTERFACE, NULL);
                return true;
        }

        b->has_dirty = false;
        return false;
}

static bool is_idle(const BusApi *b) {
        return b->manager->cycle && b->manager->cycle->state == CYCLE_IDLE;
}

static bool is_urgent(const BusApi *b) {
        return b->manager->cycle && cycle_is_urgent(b->manager->cycle);
}

/* what may wait */

/* A machine that does not wake may be waited for much longer than whoever calls waits. */
static bool is_preparing(const BusApi *b) {
        return b->manager->cycle && b->manager->cycle->state == CYCLE_PREPARING;
}

static bool is_long_history(sd_bus_message *m) {
        uint32_t max = 0;

        if (sd_bus_message_is_method_call(m, BUS_MANAGER_INTERFACE, "GetHistory") <= 0 ||
            sd_bus_message_has_signature(m, "u") <= 0)
                return false;
        (void) sd_bus_message_read(m, "u", &max);
        (void) sd_bus_message_rewind(m, true);
        return max == 0 || max > HISTORY_SHORT_MAX;
}

/* What is as long as there are machines, or cycles in the history; with nothing else in it that would be kept. */
static bool takes_long(sd_bus_message *m) {
        return is_long_history(m) ||
               (sd_bus_message_is_method_call(
                                m, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects") > 0 &&
                sd_bus_message_has_signature(m, "") > 0);
}

static bool begins_with(const char *s, const char *start) {
        return strncmp(s, start, strlen(start)) == 0;
}

/*
 * Who asks and wants no answer has asked nothing. Of calls that want one the bus lets nobody have more than a
 * few open, of the others as many as there is room for.
 */
static bool is_void(sd_bus_message *m) {
        const char *interface = sd_bus_message_get_interface(m);
        const char *member = sd_bus_message_get_member(m);

        if (sd_bus_message_is_method_call(m, NULL, NULL) <= 0 ||
            sd_bus_message_get_expect_reply(m) > 0)
                return false;
        return !interface || !member || !begins_with(interface, "org.suspendd1.") ||
               begins_with(member, "Get") || begins_with(member, "List");
}

/* Before each message is looked at for what it calls. */
static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        BusApi *b = userdata;

        authority_on_message(b->authority, m);
        if (is_void(m))
                return 1;
        if (!is_preparing(b) || !takes_long(m))
                return 0;
        if (b->n_waiting == ARRAY_LEN(b->waiting))
                return sd_bus_error_set(error, BUS_ERROR_BUSY, "A cycle is under way.");

        b->waiting[b->n_waiting++] = sd_bus_message_ref(m);
        return 1;
}

/* Takes up what was put off. */
static void take_up(BusApi *b) {
        if (b->n_waiting == 0 || is_preparing(b))
                return;

        for (size_t i = 0; i < b->n_waiting; i++) {
                (void) sd_bus_enqueue_for_read(b->bus, b->waiting[i]);
                sd_bus_message_unref(b->waiting[i]);
        }
        b->n_waiting = 0;
}

/* One piece at a time, for a piece is how long the next sleep may have to wait for us. */
static int on_idle(sd_event_source *s, void *userdata) {
        BusApi *b = userdata;

        take_up(b);
        if (is_urgent(b))
                return 0;
        if (send_news(b) || send_manager(b) || (is_idle(b) && send_machine(b)))
                return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
        return 0;
}

/* While somebody waits nothing is told; what ends the waiting is itself told of, and arms again. */
static void arm(BusApi *b) {
        if (!is_urgent(b) || b->n_waiting > 0)
                (void) sd_event_source_set_enabled(b->idle, SD_EVENT_ONESHOT);
}

/* lifetime */

static int add_objects(BusApi *b) {
        int r;

        r = sd_bus_add_object_vtable(
                        b->bus,
                        &b->slots[0],
                        BUS_PATH,
                        BUS_MANAGER_INTERFACE,
                        bus_manager_vtable,
                        b);
        if (r < 0)
                return r;

        r = sd_bus_add_fallback_vtable(
                        b->bus,
                        &b->slots[1],
                        BUS_MACHINE_PREFIX,
                        BUS_MACHINE_INTERFACE,
                        bus_machine_vtable,
                        bus_machine_find,
                        b);
        if (r < 0)
                return r;

        r = sd_bus_add_node_enumerator(
                        b->bus, &b->slots[2], BUS_MACHINE_PREFIX, bus_machine_enumerate, b);
        if (r < 0)
                return r;

        r = sd_bus_add_object_manager(b->bus, &b->slots[3], BUS_PATH);
        if (r < 0)
                return r;
        return sd_bus_add_filter(b->bus, &b->slots[4], on_message, b);
}

int bus_api_new(Manager *manager, BusApi **ret) {
        _cleanup_(bus_api_freep) BusApi *b = NULL;
        int r;

        b = calloc(1, sizeof(*b));
        if (!b)
                return -ENOMEM;

        b->manager = manager;
        list_init(&b->news);
        b->bus = sd_bus_ref(manager->api_bus);
        r = authority_new(manager->bus, POLKIT_LIMIT_USEC, &b->authority);
        if (r < 0)
                return r;

        r = sd_event_add_defer(manager->event, &b->idle, on_idle, b);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(b->idle, "bus-news");
        r = sd_event_source_set_priority(b->idle, SD_EVENT_PRIORITY_IDLE);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(b->idle, SD_EVENT_OFF);
        if (r < 0)
                return r;

        r = add_objects(b);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(b);
        return 0;
}

BusApi *bus_api_free(BusApi *b) {
        if (!b)
                return NULL;

        for (size_t i = 0; i < ARRAY_LEN(b->slots); i++)
                sd_bus_slot_unref(b->slots[i]);
        for (size_t i = 0; i < b->n_waiting; i++)
                sd_bus_message_unref(b->waiting[i]);
        LIST_FOREACH(i, &b->news)
        (void) news_free(LIST_ENTRY(i, News, news));
        sd_event_source_disable_unref(b->idle);
        authority_free(b->authority);
        sd_bus_unref(b->bus);
        free(b);
        return NULL;
}

/* what to tell */

/* Takes over @from, whose links do not count. Without memory it is not told; the record has it. */
static void add_news(BusApi *b, const News *from) {
        News *n = malloc(sizeof(*n));

        if (!n) {
                free(from->record);
                return;
        }

        *n = *from;
        list_append(&b->news, &n->news);
        arm(b);
}

void bus_api_manager_changed(BusApi *b, const char *property) {
        for (unsigned i = 0; bus_manager_properties[i]; i++)
                if (str_equal(bus_manager_properties[i], property))
                        b->changed |= 1U << i;
        arm(b);
}

void bus_api_machine_added(BusApi *b, Machine *m) {
        add_news(b,
                 &(News){
                                 .milestone = CYCLE_MILESTONE_MAX,
                                 .machine = m,
                 });
        bus_api_manager_changed(b, "NMachines");
        bus_api_manager_changed(b, "Status");
}

void bus_api_machine_removed(BusApi *b, Machine *m) {
        _cleanup_free_ char *path = NULL, *id = NULL;

        /* What was to be told of it comes before, and must not outlive it. */
        while (send_news(b))
                ;

        bus_api_manager_changed(b, "NMachines");
        bus_api_manager_changed(b, "NHeld");
        bus_api_manager_changed(b, "Blocking");
        bus_api_manager_changed(b, "Status");

        id = text_escape(m->id);
        if (!id || bus_machine_path(m, &path) < 0)
                return;

        b->leaving = m;
        (void) sd_bus_emit_object_removed(b->bus, path);
        b->leaving = NULL;
        (void) sd_bus_emit_signal(
                        b->bus, BUS_PATH, BUS_MANAGER_INTERFACE, "MachineRemoved", "so", id, path);
}

void bus_api_machine_changed(BusApi *b, Machine *m) {
        m->is_dirty = true;
        b->has_dirty = true;
        bus_api_manager_changed(b, "NHeld");
        bus_api_manager_changed(b, "Status");
        if (m->policy.mode == MODE_BLOCK)
                bus_api_manager_changed(b, "Blocking");
}

void bus_api_milestone(BusApi *b, CycleMilestone milestone, Machine *m) {
        const Cycle *c = b->manager->cycle;
        News n = { .milestone = milestone, .machine = m, .number = c->report.number };

        switch (milestone) {
        case CYCLE_STARTED:
                n.word = cycle_kind_to_string(c->report.kind);
                memcpy(n.id, c->report.id, sizeof(n.id));
                bus_api_manager_changed(b, "CycleNumber");
                break;
        case CYCLE_MACHINE_STOOD:
                n.word = bus_run_state_name(m->report.stood);
                n.span = (int64_t) m->report.stood_after_usec;
                break;
        case CYCLE_LOCK_RELEASED:
                n.span = (int64_t) c->report.released_after_usec;
                break;
        case CYCLE_WOKE:
                n.span = c->report.slept_ns;
                break;
        case CYCLE_MACHINE_RAN:
                n.span = m->report.stopped_ns;
                break;
        case CYCLE_FINISHED:
                n.word = c->report.ended ? c->report.ended : "";
                n.record = cycle_record(c);
                if (n.record)
                        text_make_valid(n.record);
                break;
        default:
                return;
        }

        add_news(b, &n);
        bus_api_manager_changed(b, "State");
}

void bus_api_flush(BusApi *b) {
        while (send_news(b) || send_manager(b) || send_machine(b))
                ;
}

/* who may */

int bus_api_authorize(BusApi *b, sd_bus_message *call, const char *action, sd_bus_error *error) {
        return authority_check(b->authority, call, action, error);
}

/* helpers */

int bus_append_text(sd_bus_message *m, const char *s) {
        _cleanup_free_ char *escaped = NULL;

        if (!s || text_is_clean(s))
                return sd_bus_message_append_basic(m, 's', s ? s : "");

        escaped = text_escape(s);
        if (!escaped)
                return -ENOMEM;
        return sd_bus_message_append_basic(m, 's', escaped);
}

int bus_error_set(sd_bus_error *error, int r, const char *what, const char *why) {
        static const struct {
                int error;
                const char *name;
        } names[] = {
                { EBUSY, BUS_ERROR_BUSY },
                { EEXIST, BUS_ERROR_EXISTS },
                { EALREADY, BUS_ERROR_EXISTS },
                { ENOENT, BUS_ERROR_NOT_FOUND },
                { ENODEV, BUS_ERROR_NO_SUCH_MACHINE },
                { EINVAL, SD_BUS_ERROR_INVALID_ARGS },
                { EOPNOTSUPP, BUS_ERROR_NOT_SUPPORTED },
                { ENOMEM, SD_BUS_ERROR_NO_MEMORY },
        };
        _cleanup_free_ char *text = NULL, *escaped = NULL;
        const char *name = BUS_ERROR_FAILED;

        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                if (names[i].error == -r)
                        name = names[i].name;

        /* A guest may have had a hand in the text. */
        if (asprintf(&text, "%s: %s", what, why ? why : strerror(-r)) >= 0)
                escaped = text_escape(text);
        return sd_bus_error_set(error, name, escaped ? escaped : what);
}
