/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The engine's machines, and the host table by which plugins speak of them. */

#include <errno.h>
#include <stdarg.h>
#include "daemon/cycle-internal.h"
#include "daemon/log.h"
#include "daemon/plugin.h"

#define SLOT_BITS 16
#define SLOTS_MAX (1U << SLOT_BITS)

/* steps: an id is a serial number over the machine's slot, so that a stale one finds nothing */

uint64_t cycle_step(Cycle *c, Machine *m) {
        struct CyclePrivate *p = c->private;

        return (++p->last_step << SLOT_BITS) | m->slot;
}

Machine *cycle_step_machine(Cycle *c, uint64_t id) {
        struct CyclePrivate *p = c->private;
        size_t slot = id & (SLOTS_MAX - 1);
        Machine *m = slot < p->n_slots ? p->slots[slot] : NULL;

        return m && m->step == id && id != 0 ? m : NULL;
}

/* the registry */

static int cycle_find_slot(Cycle *c, uint32_t *ret) {
        struct CyclePrivate *p = c->private;
        size_t i, n = p->n_slots ? p->n_slots * 2 : 16;
        Machine **slots;

        for (i = 0; i < p->n_slots; i++)
                if (!p->slots[i]) {
                        *ret = (uint32_t) i;
                        return 0;
                }
        if (n > SLOTS_MAX)
                return -E2BIG;
        slots = reallocarray(p->slots, n, sizeof(*slots));
        if (!slots)
                return -ENOMEM;
        (void) memset(slots + i, 0, (n - i) * sizeof(*slots));
        p->slots = slots;
        p->n_slots = n;
        *ret = (uint32_t) i;
        return 0;
}

/* Room for a note of each machine, here and in the journal, before it can be needed. */
static int cycle_make_room(Cycle *c, size_t n) {
        struct CyclePrivate *p = c->private;
        JournalNote *notes;

        if (n > p->n_notes_max) {
                notes = reallocarray(p->notes, n * 2, sizeof(*notes));
                if (!notes)
                        return -ENOMEM;
                p->notes = notes;
                p->n_notes_max = n * 2;
        }
        return p->journal ? journal_reserve(p->journal, n) : 0;
}

/* Without room for all nobody is stopped, so a lack that passes must not last. */
int cycle_reserve_notes(Cycle *c, size_t n) {
        int r = cycle_make_room(c, n);

        c->private->is_room_owed = r < 0;
        if (r < 0)
                cycle_note_later(c);
        return r;
}

/* Of one that was not seen to stand nobody knows since when it does. */
static void cycle_stand_as_noted(Machine *m, const JournalNote *note) {
        bool is_seen = note->kind == JOURNAL_NOTE_SUSPENDED;

        m->stand = (MachineStand){
                .since_boottime_ns = is_seen || note->kind == JOURNAL_NOTE_PAUSED
                                                     ? note->since_boottime_ns
                                                     : 0,
                .is_seen = is_seen,
                .is_doubtful = note->kind == JOURNAL_NOTE_ASKED,
        };
}

int cycle_insert(Cycle *c, Machine *m) {
        const JournalNote *notes;
        size_t n_notes = 0;
        int r;

        r = cycle_reserve_notes(c, c->n_machines + 1);
        if (r < 0)
                log_warning_errno(r, "No room in the journal for machine %s", m->name);
        r = cycle_find_slot(c, &m->slot);
        if (r < 0)
                return r;

        if (c->private->journal)
                n_notes = journal_notes(c->private->journal, &notes);
        for (size_t i = 0; i < n_notes; i++)
                if (str_equal(notes[i].key, m->key)) {
                        m->noted = m->note_wanted = notes[i].kind;
                        m->is_from_before = true;
                        cycle_stand_as_noted(m, &notes[i]);
                }

        c->private->slots[m->slot] = m;
        list_append(&c->machines, &m->machines);
        c->n_machines++;
        c->private->n_in[m->state]++;
        return 0;
}

void cycle_remove(Cycle *c, Machine *m) {
        cycle_enter(c);
        c->private->n_in[m->state]--;
        c->private->slots[m->slot] = NULL;
        m->step = 0;
        /* One that went out of reach may come back, and be ours to run again. */
        if (m->run_state != SUSPENDD_STATE_UNKNOWN)
                (void) cycle_note(c, m, JOURNAL_NOTE_NONE);
        list_unlink(&m->machines);
        c->n_machines--;
        cycle_leave(c);
}

Machine *cycle_find_key(Cycle *c, const char *key) {
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (str_equal(m->key, key))
                        return m;
        }
        return NULL;
}

Machine *cycle_find(Cycle *c, const char *id) {
        LIST_FOREACH(i, &c->machines) {
                Machine *m = LIST_ENTRY(i, Machine, machines);

                if (str_equal(m->id, id))
                        return m;
        }
        return NULL;
}

/* what plugins call */

static Cycle *cycle_of_host(const struct suspendd_host *host) {
        return plugin_of_host(host)->owner;
}

static int host_machine_add(
                const struct suspendd_host *host,
                void *vm,
                const struct suspendd_machine_info *info,
                struct suspendd_machine **ret) {
        Plugin *plugin = plugin_of_host(host);
        Cycle *c = plugin->owner;
        Machine *m;
        int r;

        r = machine_new(c, plugin, vm, info, &m);
        if (r < 0)
                return r;
        c->private->ops->fill_policy(c->private->userdata, m);
        c->private->ops->on_machine_added(c->private->userdata, m);
        *ret = (struct suspendd_machine *) m;
        return 0;
}

static void host_machine_change(
                struct suspendd_machine *machine, const struct suspendd_machine_info *info) {
        Machine *m = (Machine *) machine;
        const struct CyclePrivate *p = m->cycle->private;
        bool is_new_mode = !str_equal(m->own_mode, info->mode) ||
                           !str_equal(m->own_mode_source, info->mode_source);

        if (machine_set_info(m, info) < 0)
                (void) log_oom();
        if (is_new_mode) {
                p->ops->fill_policy(p->userdata, m);
                m->is_dirty = false; /* of an earlier change it was told, and not of this one */
        }
        cycle_changed(m->cycle, m);
}

static void host_machine_state(
                struct suspendd_machine *m,
                enum suspendd_run_state state,
                const char *detail,
                int64_t boottime_ns) {
        machine_on_state((Machine *) m, state, detail, boottime_ns);
}

static void host_machine_remove(struct suspendd_machine *machine) {
        Machine *m = (Machine *) machine;
        Cycle *c = m->cycle;

        /* The phase is looked at only when it is gone for good, and nobody reads of it any more. */
        cycle_enter(c);
        c->private->ops->on_machine_removed(c->private->userdata, m);
        machine_free(m);
        cycle_leave(c);
}

static int host_is_told(const struct suspendd_machine *machine) {
        return machine_page((const Machine *) machine) != NULL;
}

static void host_enumerated(const struct suspendd_host *host) {
        Plugin *plugin = plugin_of_host(host);
        Cycle *c = plugin->owner;

        plugin->is_enumerated = true;
        if (c->private->ops->on_enumerated)
                c->private->ops->on_enumerated(c->private->userdata);
}

static void host_done(
                const struct suspendd_host *host, uint64_t step, int result, const char *why) {
        Machine *m = cycle_step_machine(cycle_of_host(host), step);

        if (m)
                machine_on_answer(m, MIN(result, 0), why);
}

static void host_done_time(
                const struct suspendd_host *host, uint64_t step, const struct suspendd_time *t) {
        Machine *m = cycle_step_machine(cycle_of_host(host), step);

        if (m)
                machine_on_time(m, t);
}

static void host_stored(
                const struct suspendd_host *host, uint64_t request, int result, const char *why) {
        Cycle *c = cycle_of_host(host);
        const CycleOps *ops = c->private->ops;

        if (ops->on_stored)
                ops->on_stored(c->private->userdata, plugin_of_host(host), request, result, why);
}

static void host_trouble(const struct suspendd_host *host, const char *text) {
        Plugin *plugin = plugin_of_host(host);
        Cycle *c = plugin->owner;
        int r = plugin_set_trouble(plugin, text);

        if (r < 0)
                (void) log_oom();
        if (r > 0 && c->private->ops->on_trouble)
                c->private->ops->on_trouble(c->private->userdata, plugin);
}

static int host_keep_fd(const struct suspendd_host *host, const char *name, int fd) {
        Cycle *c = cycle_of_host(host);
        const CycleOps *ops = c->private->ops;

        if (!ops->keep_fd)
                return -EOPNOTSUPP;
        return ops->keep_fd(c->private->userdata, plugin_of_host(host), name, fd);
}

static void host_drop_fd(const struct suspendd_host *host, const char *name) {
        Cycle *c = cycle_of_host(host);
        const CycleOps *ops = c->private->ops;

        if (ops->drop_fd)
                ops->drop_fd(c->private->userdata, plugin_of_host(host), name);
}

static void host_log(
                const struct suspendd_host *host,
                int level,
                const struct suspendd_machine *machine,
                const char *format,
                ...) {
        const Machine *m = (const Machine *) machine;
        LogFields fields = {
                .machine = m ? m->id : NULL,
                .plugin = plugin_of_host(host)->api->name,
        };
        _cleanup_free_ char *text = NULL;
        va_list ap;

        if (level > log_max_level())
                return;
        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        if (text)
                log_full(&fields, level, 0, "%s: %s", m ? m->id : fields.plugin, text);
}

struct suspendd_host cycle_host(void) {
        return (struct suspendd_host){
                .abi = SUSPENDD_PLUGIN_ABI,
                .size = sizeof(struct suspendd_host),
                .machine_add = host_machine_add,
                .machine_change = host_machine_change,
                .machine_state = host_machine_state,
                .machine_remove = host_machine_remove,
                .is_told = host_is_told,
                .enumerated = host_enumerated,
                .done = host_done,
                .done_time = host_done_time,
                .stored = host_stored,
                .trouble = host_trouble,
                .keep_fd = host_keep_fd,
                .drop_fd = host_drop_fd,
                .log = host_log,
        };
}
