/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/discovery.h"
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <syslog.h>
#include "common/list.h"
#include "common/passing-error.h"
#include "common/time-util.h"
#include "common/watch.h"
#include "plugins/qmp/entry.h"
#include "plugins/qmp/pattern.h"
#include "plugins/qmp/retry.h"

#define ENTRIES_MAX 4096
#define WALK_PATH_MAX 512
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
        bool is_looking, is_loading;
        bool is_lacking; /* not all could be looked at */
        Retry again;
};

/* A walk along a pattern, from the root; @path is where it is. */
typedef struct Walk {
        Discovery *discovery;
        char path[WALK_PATH_MAX];
        size_t length;
        bool is_literal; /* no part of the pattern stands for many */
        bool only_watch; /* what is found is not a monitor */
} Walk;

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

/* Says once that a socket which the configuration names is not there, or cannot be seen. */
static void walk_missed(Walk *w, int error) {
        Discovery *d = w->discovery;

        if (!d->is_loading || !w->is_literal)
                return;
        d->host->log(d->host,
                     error == -ENOENT ? LOG_INFO : LOG_WARNING,
                     NULL,
                     "Monitor %s is waited for: %s",
                     w->path,
                     strerror(-error));
}

/* What was not looked at for lack of something is looked at again. */
static void walk_failed(Walk *w, int error) {
        w->discovery->is_lacking |= error_is_passing(error);
}

/* Something may be at the walk's end. */
static void walk_found(Walk *w) {
        struct stat st;
        Entry *e;
        int r = 0;

        if (w->only_watch)
                return;
        if (stat(w->path, &st) < 0) {
                walk_failed(w, -errno);
                walk_missed(w, -errno);
                return;
        }
        if (!S_ISSOCK(st.st_mode))
                return;
        e = discovery_find(w->discovery, w->path);
        if (!e)
                r = discovery_add(w->discovery, w->path, &e);
        if (r >= 0)
                entry_look(e, &st);
        else if (r != -ENOENT) {
                walk_failed(w, r);
                w->discovery->host->log(
                                w->discovery->host,
                                LOG_WARNING,
                                NULL,
                                "Monitor %s is left out: %s",
                                w->path,
                                strerror(-r));
        }
}

/* Watches the directory where the walk is. */
static void walk_watch(Walk *w) {
        int r = watch_add(w->discovery->watch, w->length > 0 ? w->path : "/");

        walk_failed(w, r);
}

static bool walk_is_directory(Walk *w, const char *path) {
        struct stat st;

        if (stat(path, &st) >= 0)
                return S_ISDIR(st.st_mode);
        walk_failed(w, -errno);
        return false;
}

static void walk_along(Walk *w, const char *rest);

/* Steps to @name and goes on along @rest, which is empty at the end of the pattern; then steps back. */
static void walk_into(Walk *w, const char *name, size_t size, const char *rest) {
        size_t length = w->length;

        if (length + 1 + size >= sizeof(w->path))
                return;
        w->length += (size_t) snprintf(
                        w->path + length, sizeof(w->path) - length, "/%.*s", (int) size, name);
        if (!*rest)
                walk_found(w);
        else if (walk_is_directory(w, w->path))
                walk_along(w, rest);
        w->length = length;
        w->path[length] = 0;
}

static void walk_into_all(Walk *w, const char *part, const char *rest) {
        DIR *directory = opendir(w->length > 0 ? w->path : "/");
        struct dirent *e = NULL;

        if (!directory)
                walk_failed(w, -errno);
        while (directory && (errno = 0, e = readdir(directory)))
                if (!str_equal(e->d_name, ".") && !str_equal(e->d_name, "..") &&
                    fnmatch(part, e->d_name, FNM_PERIOD) == 0)
                        walk_into(w, e->d_name, strlen(e->d_name), rest);
        if (directory) {
                walk_failed(w, -errno);
                (void) closedir(directory);
        }
}

/* Whether there is a directory @name where the walk is. */
static bool walk_has_directory(Walk *w, const char *name) {
        char path[WALK_PATH_MAX];
        int n;

        n = snprintf(path, sizeof(path), "%s/%s", w->path, name);
        return n > 0 && (size_t) n < sizeof(path) && walk_is_directory(w, path);
}

/*
 * Goes along @rest, a path relative to where the walk is. Watched are the directories in which its
 * next part may appear, before they are looked into; not those on the way to one that is there, which
 * would tell of others' comings and goings.
 */
static void walk_along(Walk *w, const char *rest) {
        char part[WALK_PATH_MAX];
        size_t size;

        rest += strspn(rest, "/");
        size = strcspn(rest, "/");
        (void) snprintf(part, sizeof(part), "%.*s", (int) size, rest);
        rest += size;
        if (!w->is_literal && strpbrk(part, "*?[")) {
                walk_watch(w);
                walk_into_all(w, part, rest);
                return;
        }
        if (!*rest || !walk_has_directory(w, part))
                walk_watch(w);
        walk_into(w, part, size, rest);
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
        if (!retry_soon(&d->again))
                retry_slowly(&d->again);
}

static void discovery_look(Discovery *d) {
        d->is_looking = true;
        d->is_lacking = false;
        watch_begin(d->watch);
        LIST_FOREACH(i, &d->entries)
        entry_expect(entry_from_link(i));
        for (size_t i = 0; i < d->patterns.n; i++) {
                const Pattern *p = &d->patterns.items[i];
                Walk walk = {
                        .discovery = d,
                        .is_literal = p->is_literal || !strpbrk(p->path, "*?["),
                };

                walk_along(&walk, p->path);
                if (!p->agent)
                        continue;
                walk = (Walk){ .discovery = d, .is_literal = true, .only_watch = true };
                walk_along(&walk, p->agent);
        }
        watch_end(d->watch);
        LIST_FOREACH(i, &d->entries)
        if (!d->is_lacking && entry_is_lost(entry_from_link(i)))
                discovery_drop(d, entry_from_link(i));
        d->is_looking = false;
        discovery_look_again(d);
}

static int discovery_on_look(sd_event_source *s, uint64_t usec, void *userdata) {
        Discovery *d = userdata;

        (void) s;
        (void) usec;
        d->look = sd_event_source_disable_unref(d->look);
        discovery_look(d);
        discovery_on_settled(d);
        return 0;
}

static void discovery_on_again(void *userdata) {
        discovery_look(userdata);
        discovery_on_settled(userdata);
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
        if (r < 0)
                return;
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
        d->is_loading = true;
        discovery_look(d);
        d->is_loading = false;
        return discovery_enumerate(d);
}

int discovery_register(
                Discovery *d,
                const char *name,
                const char *path,
                const char *agent,
                const char **ret_why) {
        const Pattern *p;
        struct stat st;
        int r;

        if (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
                *ret_why = "there is no socket at this path";
                return -EINVAL;
        }
        r = patterns_add_registered(&d->patterns, name, path, agent, ret_why);
        if (r < 0)
                return r;
        p = &d->patterns.items[d->patterns.n - 1];
        if (discovery_find(d, p->path)) {
                (void) patterns_remove_registered(&d->patterns, p->path);
                return -EEXIST;
        }
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
        patterns_done(&d->patterns);
        free(d);
        return NULL;
}
