/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/discovery.h"
#include <errno.h>
#include <syslog.h>
#include "common/list.h"
#include "common/passing-error.h"
#include "common/safe-path.h"
#include "common/time-util.h"
#include "common/watch.h"
#include "plugins/qmp/entry.h"
#include "plugins/qmp/pattern.h"
#include "plugins/qmp/retry.h"
#include "plugins/qmp/walk.h"

#define ENTRIES_MAX 4096
/* What is told to be left out, each once, until the configuration is read anew. */
#define REFUSED_MAX 64
/* A VM that starts makes several sockets at once. */
#define SETTLE_USEC (50 * USEC_PER_MSEC)
#define ENUMERATE_USEC (2 * USEC_PER_SEC)

struct Discovery {
        const struct suspendd_host *host;
        Patterns patterns;
        List entries;
        size_t n_entries;
        Watch *watch;
        sd_event_source *look, *enumeration;
        bool is_looking, is_loading, is_loaded;
        bool is_lacking; /* not all could be looked at */
        Retry again;
        char *refused[REFUSED_MAX];
        size_t n_refused;
};

/* One walk along a pattern. */
typedef struct Look {
        Discovery *discovery;
        bool is_literal; /* no part of the pattern stands for many */
        bool only_watch; /* what is found is not a monitor */
} Look;

/* entries */

static Entry *discovery_find(Discovery *d, const char *path) {
        LIST_FOREACH(i, &d->entries)
        if (str_equal(entry_path(entry_from_link(i)), path))
                return entry_from_link(i);
        return NULL;
}

static void discovery_drop(Discovery *d, Entry *e) {
        d->n_entries--;
        entry_free(e);
}

/* enumeration */

static void discovery_enumerated(Discovery *d) {
        d->enumeration = sd_event_source_disable_unref(d->enumeration);
        d->host->enumerated(d->host);
}

static int discovery_on_enumeration(sd_event_source *s, uint64_t usec, void *userdata) {
        (void) s;
        (void) usec;
        discovery_enumerated(userdata);
        return 0;
}

static bool discovery_is_settled(const Discovery *d) {
        LIST_FOREACH(i, &d->entries)
        if (!entry_is_settled(entry_from_link(i)))
                return false;
        return true;
}

static void discovery_on_settled(void *userdata) {
        Discovery *d = userdata;

        if (d->enumeration && !d->is_looking && discovery_is_settled(d))
                discovery_enumerated(d);
}

static int discovery_enumerate(Discovery *d) {
        int r;

        d->enumeration = sd_event_source_disable_unref(d->enumeration);
        r = sd_event_add_time_relative(
                        d->host->event,
                        &d->enumeration,
                        CLOCK_MONOTONIC,
                        discovery_is_settled(d) ? 0 : ENUMERATE_USEC,
                        1,
                        discovery_on_enumeration,
                        d);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(d->enumeration, "qmp-enumeration");
        return 0;
}

/* looking */

/* Makes an entry for the socket at @path. */
static int discovery_add(Discovery *d, const char *path, Entry **ret) {
        const Pattern *p = patterns_find(&d->patterns, path);
        int r;

        if (!p || (!p->is_literal && pattern_is_agent(path)))
                return -ENOENT;
        if (d->n_entries >= ENTRIES_MAX)
                return -E2BIG;
        r = entry_new(d->host, p->name, path, p->agent, discovery_on_settled, d, ret);
        if (r < 0)
                return r;
        entry_link(*ret, &d->entries);
        d->n_entries++;
        return 0;
}

/* Whether it is new that there is something against @path. */
static bool discovery_is_new(Discovery *d, const char *path) {
        for (size_t i = 0; i < d->n_refused; i++)
                if (str_equal(d->refused[i], path))
                        return false;
        if (d->n_refused == REFUSED_MAX)
                return false;
        d->refused[d->n_refused] = strdup(path);
        return d->refused[d->n_refused] && ++d->n_refused;
}

static void discovery_forget_refused(Discovery *d) {
        while (d->n_refused > 0)
                free(d->refused[--d->n_refused]);
}

/* What was not looked at for lack of something is looked at again. */
static void discovery_failed(Discovery *d, int error) {
        d->is_lacking |= error_is_passing(error);
}

static void look_on_directory(void *userdata, const char *path) {
        Look *l = userdata;

        discovery_failed(l->discovery, watch_add(l->discovery->watch, path));
}

static void look_on_error(
                void *userdata, const char *path, bool is_end, int error, const char *why) {
        Look *l = userdata;
        Discovery *d = l->discovery;
        int level = error == -ENOENT ? LOG_INFO : LOG_WARNING;

        discovery_failed(d, error);
        if (why) {
                if (discovery_is_new(d, path))
                        d->host->log(d->host, level, NULL, "%s is left out: %s", path, why);
        } else if (is_end && d->is_loading && l->is_literal && !l->only_watch)
                /* one that the configuration names is not there, or cannot be seen */
                d->host->log(d->host,
                             level,
                             NULL,
                             "Monitor %s is waited for: %s",
                             path,
                             strerror(-error));
}

static void look_on_found(void *userdata, const char *path, const struct stat *st) {
        Look *l = userdata;
        Discovery *d = l->discovery;
        Entry *e;
        int r = 0;

        if (l->only_watch || !S_ISSOCK(st->st_mode))
                return;
        e = discovery_find(d, path);
        if (!e)
                r = discovery_add(d, path, &e);
        if (r >= 0)
                entry_look(e, st);
        else if (r != -ENOENT) {
                discovery_failed(d, r);
                d->host->log(d->host,
                             LOG_WARNING,
                             NULL,
                             "Monitor %s is left out: %s",
                             path,
                             strerror(-r));
        }
}

static const WalkOps look_ops = {
        .on_directory = look_on_directory,
        .on_found = look_on_found,
        .on_error = look_on_error,
};

static void discovery_look_along(Discovery *d, const Pattern *p) {
        bool is_literal = p->is_literal || !strpbrk(p->path, "*?[");
        Look monitor = { .discovery = d, .is_literal = is_literal };
        Look agent = { .discovery = d, .is_literal = true, .only_watch = true };

        walk_along(p->path, is_literal, &look_ops, &monitor);
        if (p->agent)
                walk_along(p->agent, true, &look_ops, &agent);
}

/* What was looked at is right; what was not stays as it was. */
static void discovery_look_again(Discovery *d) {
        if (!d->is_lacking) {
                retry_reset(&d->again);
                return;
        }
        d->host->log(d->host,
                     d->again.n_slow > 0 ? LOG_DEBUG : LOG_WARNING,
                     NULL,
                     "Not all monitors could be looked for; looking again");
        retry_for_ever(&d->again);
}

static void discovery_look(Discovery *d) {
        d->is_looking = true;
        d->is_lacking = false;
        watch_begin(d->watch);
        LIST_FOREACH(i, &d->entries)
        entry_expect(entry_from_link(i));
        for (size_t i = 0; i < d->patterns.n; i++)
                discovery_look_along(d, &d->patterns.items[i]);
        watch_end(d->watch);
        LIST_FOREACH(i, &d->entries)
        if (!d->is_lacking && entry_is_lost(entry_from_link(i)))
                discovery_drop(d, entry_from_link(i));
        d->is_looking = false;
        discovery_look_again(d);
}

static void discovery_on_again(void *userdata) {
        discovery_look(userdata);
        discovery_on_settled(userdata);
}

static int discovery_on_look(sd_event_source *s, uint64_t usec, void *userdata) {
        Discovery *d = userdata;

        (void) s;
        (void) usec;
        d->look = sd_event_source_disable_unref(d->look);
        discovery_on_again(d);
        return 0;
}

static bool discovery_cares(void *userdata, const char *name) {
        Discovery *d = userdata;

        return !d->look && patterns_care(&d->patterns, name);
}

static void discovery_on_change(void *userdata) {
        Discovery *d = userdata;
        int r;

        if (d->look)
                return;
        r = sd_event_add_time_relative(
                        d->host->event,
                        &d->look,
                        CLOCK_MONOTONIC,
                        SETTLE_USEC,
                        1,
                        discovery_on_look,
                        d);
        if (r < 0) {
                retry_for_ever(&d->again);
                return;
        }
        (void) sd_event_source_set_description(d->look, "qmp-look");
        (void) sd_event_source_set_priority(d->look, SD_EVENT_PRIORITY_IDLE);
}

static const WatchOps discovery_watch_ops = {
        .cares = discovery_cares,
        .on_change = discovery_on_change,
};

/* configuration */

/* Drops the entries that the patterns want no more, or with another name. */
static void discovery_weed(Discovery *d) {
        LIST_FOREACH(i, &d->entries) {
                Entry *e = entry_from_link(i);
                const Pattern *p = patterns_find(&d->patterns, entry_path(e));

                if (p && entry_is_same(e, p->name, p->agent))
                        continue;
                entry_lose(e);
                discovery_drop(d, e);
        }
}

static int discovery_read(
                Discovery *d,
                const struct suspendd_setting *settings,
                size_t n,
                Patterns *patterns) {
        for (size_t i = 0; i < n; i++) {
                const struct suspendd_setting *s = &settings[i];
                const char *why = NULL;
                int r;

                r = patterns_add_setting(patterns, s->key, s->value, &why);
                if (r == -ENOMEM)
                        return r;
                if (r < 0)
                        d->host->log(d->host,
                                     LOG_WARNING,
                                     NULL,
                                     "%s:%u: %s=%s is left out: %s",
                                     s->file,
                                     s->line,
                                     s->key,
                                     s->value,
                                     why);
        }
        return 0;
}

int discovery_load(Discovery *d, const struct suspendd_setting *settings, size_t n) {
        _cleanup_(patterns_done) Patterns patterns = {};
        Patterns before;
        int r;

        r = discovery_read(d, settings, n, &patterns);
        if (r >= 0)
                r = patterns_take_registered(&patterns, &d->patterns);
        if (r < 0)
                return r;
        before = d->patterns;
        d->patterns = patterns;
        patterns = before;
        discovery_weed(d);
        discovery_forget_refused(d);
        d->is_loading = d->is_loaded = true;
        discovery_look(d);
        d->is_loading = false;
        return discovery_enumerate(d);
}

/* One of an earlier life was right then: it is waited for. */
static int check_socket(const char *path, bool may_be_absent, const char **ret_why) {
        _cleanup_(safe_path_done) SafePath at = SAFE_PATH_NONE;

        if (safe_path_open(path, &at, ret_why) == -EPERM)
                return -EINVAL;
        if (at.fd >= 0 ? S_ISSOCK(at.st.st_mode) : may_be_absent)
                return 0;
        *ret_why = "there is no socket at this path";
        return -EINVAL;
}

int discovery_register(
                Discovery *d,
                const char *name,
                const char *path,
                const char *agent,
                const char **ret_why) {
        const Pattern *p;
        int r;

        r = check_socket(path, !d->is_loaded, ret_why);
        if (r < 0)
                return r;
        r = patterns_add_registered(&d->patterns, name, path, agent, ret_why);
        if (r < 0)
                return r;
        p = &d->patterns.items[d->patterns.n - 1];
        if (discovery_find(d, p->path)) {
                (void) patterns_remove_registered(&d->patterns, p->path);
                return -EEXIST;
        }
        if (d->is_loaded)
                discovery_look(d);
        return 0;
}

int discovery_unregister(Discovery *d, const char *path) {
        int r;

        r = patterns_remove_registered(&d->patterns, path);
        if (r < 0)
                return r;
        discovery_weed(d);
        return 0;
}

/* lifetime */

int discovery_new(const struct suspendd_host *host, Discovery **ret) {
        _cleanup_(discovery_freep) Discovery *d = calloc(1, sizeof(*d));
        int r;

        if (!d)
                return -ENOMEM;
        *d = (Discovery){ .host = host };
        list_init(&d->entries);
        r = retry_init(&d->again, host->event, discovery_on_again, d);
        if (r >= 0)
                r = watch_new(host->event, "qmp-watch", &discovery_watch_ops, d, &d->watch);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(d);
        return 0;
}

Discovery *discovery_free(Discovery *d) {
        if (!d)
                return NULL;
        LIST_FOREACH(i, &d->entries) {
                entry_abandon(entry_from_link(i));
                discovery_drop(d, entry_from_link(i));
        }
        retry_done(&d->again);
        sd_event_source_disable_unref(d->look);
        sd_event_source_disable_unref(d->enumeration);
        watch_free(d->watch);
        discovery_forget_refused(d);
        patterns_done(&d->patterns);
        free(d);
        return NULL;
}
