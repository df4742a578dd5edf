/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who a machine is, what it can do, and what would be done with it. */

#include <errno.h>
#include <inttypes.h>
#include "common/text-escape.h"
#include "daemon/cycle-internal.h"
#include "daemon/log.h"
#include "daemon/plugin.h"

/* A key that does not fit keeps its head and ends in a hash of the whole (FNV-1a). */
static void machine_make_key(char key[static JOURNAL_KEY_MAX], const char *text) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325);

        if (snprintf(key, JOURNAL_KEY_MAX, "%s", text) < JOURNAL_KEY_MAX)
                return;
        for (const char *p = text; *p; p++)
                hash = (hash ^ (uint8_t) *p) * UINT64_C(0x100000001b3);
        (void) snprintf(key + JOURNAL_KEY_MAX - 18, 18, "#%016" PRIx64, hash);
}

/* The number that @id has behind "@name-"; 0: it is no such one. */
static size_t id_number(const char *id, const char *name, size_t length) {
        size_t n;
        char *end;

        if (strncmp(id, name, length) != 0 || id[length] != '-' || id[length + 1] < '1' ||
            id[length + 1] > '9')
                return 0;
        n = strtoul(id + length + 1, &end, 10);
        return *end ? 0 : n;
}

/*
 * The name, or the first of "NAME-2", "NAME-3" … that nobody has, found in one walk: a user may have thousands of one
 * name in his libvirtd.
 */
static char *machine_make_id(Cycle *c, const char *name) {
        size_t length = strlen(name), n = 2, n_max = c->n_machines + 2;
        _cleanup_free_ bool *is_taken = NULL;
        char *id;

        if (!cycle_find(c, name))
                return strdup(name);
        is_taken = calloc(n_max + 1, sizeof(*is_taken));
        if (!is_taken)
                return NULL;
        LIST_FOREACH(i, &c->machines) {
                const Machine *m = LIST_ENTRY(i, Machine, machines);

                is_taken[MIN(id_number(m->id, name, length), n_max)] = true;
        }
        while (is_taken[n])
                n++;
        return asprintf(&id, "%s-%zu", name, n) < 0 ? NULL : id;
}

static int machine_identify(Machine *m, const struct suspendd_machine_info *info) {
        const char *who = info->uuid ?: info->name;
        _cleanup_free_ char *text = NULL;

        if (asprintf(&text, "%s:%s@%s", m->plugin->api->name, who, info->run ?: "") < 0) {
                text = NULL;
                return -ENOMEM;
        }
        machine_make_key(m->key, text);

        LIST_FOREACH(i, &m->cycle->machines)
        if (str_equal(LIST_ENTRY(i, Machine, machines)->key, m->key))
                return -EEXIST;

        m->id = machine_make_id(m->cycle, info->name);
        return m->id ? 0 : -ENOMEM;
}

int machine_new(Cycle *c,
                const Plugin *plugin,
                void *vm,
                const struct suspendd_machine_info *info,
                Machine **ret) {
        _cleanup_(machine_freep) Machine *m = NULL;
        int r;

        if (str_empty(info->name))
                return -EINVAL;
        m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;
        list_init(&m->machines);
        m->plugin = plugin;
        m->vm = vm;
        m->policy = POLICY_DEFAULT;
        m->report.asked = SUSPENDD_ACT_INVALID;
        m->cycle = c;

        r = str_replace(&m->mode_source, "default");
        if (r < 0)
                return r;
        r = machine_identify(m, info);
        if (r < 0)
                return r;
        r = machine_set_info(m, info);
        if (r < 0)
                return r;
        r = cycle_insert(c, m);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(m);
        return 0;
}

Machine *machine_free(Machine *m) {
        if (!m)
                return NULL;
        if (!list_is_empty(&m->machines))
                cycle_remove(m->cycle, m);
        for (size_t i = 0; i < SUSPENDD_ACT_MAX; i++)
                free(m->why_not[i]);
        free(m->distrust);
        free(m->mode_source);
        free(m->own_mode);
        free(m->own_mode_source);
        free(m->id);
        free(m->name);
        free(m->uuid);
        free(m->run);
        free(m->vmm);
        free(m->address);
        free(m);
        return NULL;
}

/* Returns: 0; -ENOMEM. A word that is no mode is kept as well, so that it is complained of once. */
static int machine_set_own_mode(Machine *m, const char *word, const char *source) {
        if (word && !str_equal(word, m->own_mode) && mode_from_string(word) == MODE_INVALID) {
                LogFields fields = { .machine = m->id, .plugin = m->plugin->api->name };

                (void) log_full(&fields,
                                LOG_WARNING,
                                0,
                                "Machine %s: '%s' is no mode, and is ignored (%s)",
                                m->id,
                                word,
                                source ?: "its own definition");
        }
        return MIN(str_replace(&m->own_mode, word), str_replace(&m->own_mode_source, source));
}

int machine_set_info(Machine *m, const struct suspendd_machine_info *info) {
        bool was_timed = machine_can(m, SUSPENDD_ACT_GET_TIME);
        bool is_awake = m->cycle->state == CYCLE_IDLE || m->cycle->state == CYCLE_RESTORING;
        int r = 0;

        r = MIN(r, str_replace(&m->name, info->name));
        r = MIN(r, str_replace(&m->uuid, info->uuid));
        r = MIN(r, str_replace(&m->run, info->run));
        r = MIN(r, str_replace(&m->vmm, info->vmm));
        r = MIN(r, str_replace(&m->address, info->address));
        for (size_t i = 0; i < SUSPENDD_ACT_MAX; i++)
                r = MIN(r, str_replace(&m->why_not[i], info->why_not[i]));
        r = MIN(r, machine_set_own_mode(m, info->mode, info->mode_source));

        /* An agent that is back is asked for what it still owes: its clock, or a suspend. */
        if (is_awake && !was_timed && machine_can(m, SUSPENDD_ACT_GET_TIME) &&
            m->run_state == SUSPENDD_STATE_RUNNING &&
            (m->state == MACHINE_WATCHED || (m->state == MACHINE_IDLE && m->is_time_owed)))
                machine_correct_for(m, CORRECTION_CAUSE_AGENT, 0);
        return r;
}

bool machine_can(const Machine *m, enum suspendd_act act) {
        const struct suspendd_plugin *p = m->plugin->api;
        const bool has[SUSPENDD_ACT_MAX] = {
                [SUSPENDD_ACT_SUSPEND] = p->suspend,   [SUSPENDD_ACT_PAUSE] = p->pause,
                [SUSPENDD_ACT_RESUME] = p->resume,     [SUSPENDD_ACT_WAKE] = p->wake,
                [SUSPENDD_ACT_GET_TIME] = p->get_time, [SUSPENDD_ACT_SET_TIME] = p->set_time,
        };

        return has[act] && !m->why_not[act];
}

int machine_answer(const Machine *m, struct suspendd_answer *ret) {
        struct CyclePrivate *p = m->cycle->private;

        return m->cycle->has_drift ? p->ops->answer(p->userdata, m, ret) : 0;
}

const char *machine_page(const Machine *m) {
        struct CyclePrivate *p = m->cycle->private;

        return m->cycle->has_drift ? p->ops->page_name(p->userdata, m) : NULL;
}

bool machine_is_held(const Machine *m) {
        return m->state == MACHINE_SUSPENDED || m->state == MACHINE_PAUSED;
}

/* Why a machine that does not run, or is not to be touched, is left alone; NULL if it is not. */
static const char *machine_why_left(const Machine *m) {
        if (m->policy.mode == MODE_IGNORE)
                return "its mode is ignore";
        switch (m->run_state) {
        case SUSPENDD_STATE_PAUSED:
                return "it is paused already";
        case SUSPENDD_STATE_SUSPENDED:
                return "it is suspended already";
        case SUSPENDD_STATE_OTHER:
                return *m->detail ? m->detail : "it does not run";
        case SUSPENDD_STATE_RUNNING:
                return NULL;
        default:
                if (m->why_not[SUSPENDD_ACT_PAUSE])
                        return m->why_not[SUSPENDD_ACT_PAUSE];
                return *m->detail ? m->detail : "its state is not known";
        }
}

enum suspendd_act machine_plan(const Machine *m, char *why, size_t size) {
        const char *reason = machine_why_left(m);

        /* One that is on its way back is ours, whatever it was last seen to be. */
        if (reason && (m->state != MACHINE_WAKING || m->policy.mode == MODE_IGNORE)) {
                (void) text_cut(why, size, reason);
                return SUSPENDD_ACT_INVALID;
        }

        if (m->policy.mode == MODE_PAUSE)
                reason = "";
        else if (m->state == MACHINE_WAKING)
                reason = "it is still being woken";
        else if (m->why_not[SUSPENDD_ACT_SUSPEND])
                reason = m->why_not[SUSPENDD_ACT_SUSPEND];
        else if (m->distrust)
                reason = m->distrust;
        else if (m->is_suspend_owed)
                reason = "its guest took a suspend and has not carried it out yet";
        else if (!machine_can(m, SUSPENDD_ACT_SUSPEND))
                reason = "its VMM has no suspend";
        else {
                (void) text_cut(why, size, "");
                return SUSPENDD_ACT_SUSPEND;
        }
        if (!machine_can(m, SUSPENDD_ACT_PAUSE)) {
                reason = m->why_not[SUSPENDD_ACT_PAUSE] ?: "its VMM has no pause";
                (void) text_cut(why, size, reason);
                return SUSPENDD_ACT_INVALID;
        }
        (void) text_cut(why, size, reason);
        return SUSPENDD_ACT_PAUSE;
}
