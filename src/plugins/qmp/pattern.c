/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/pattern.h"
#include <errno.h>
#include <fnmatch.h>
#include <sys/un.h>

#define BLANKS " \t"

static void pattern_done(Pattern *p) {
        free(p->path);
        free(p->name);
        free(p->agent);
}

void patterns_done(Patterns *p) {
        for (size_t i = 0; i < p->n; i++)
                pattern_done(&p->items[i]);
        free(p->items);
        *p = (Patterns){};
}

static int patterns_push(Patterns *p, const Pattern *item) {
        Pattern *items = reallocarray(p->items, p->n + 1, sizeof(*items));

        if (!items)
                return -ENOMEM;
        p->items = items;
        p->items[p->n++] = *item;
        return 0;
}

/* Copies @path, of which something must be left, without its empty parts. */
static int path_copy(const char *path, char **ret, const char **ret_why) {
        char *copy, *to;

        if (*path != '/') {
                *ret_why = "not an absolute path";
                return -EINVAL;
        }
        if (strlen(path) >= sizeof(((struct sockaddr_un *) NULL)->sun_path)) {
                *ret_why = "path too long for a socket";
                return -EINVAL;
        }
        to = copy = strdup(path);
        if (!copy)
                return -ENOMEM;
        for (const char *from = path; *from; from++)
                if (*from != '/' || (from[1] != '/' && from[1]))
                        *to++ = *from;
        *to = 0;
        if (!*copy) {
                free(copy);
                *ret_why = "no socket's path";
                return -EINVAL;
        }
        *ret = copy;
        return 0;
}

/* Appends a pattern made of copies; @name and @agent may be NULL. */
static int patterns_add(Patterns *p, const Pattern *from, const char **ret_why) {
        Pattern item = { .is_literal = from->is_literal, .is_registered = from->is_registered };
        int r;

        r = path_copy(from->path, &item.path, ret_why);
        if (r >= 0 && from->agent)
                r = path_copy(from->agent, &item.agent, ret_why);
        if (r >= 0)
                r = str_replace(&item.name, from->name);
        if (r >= 0)
                r = patterns_push(p, &item);
        if (r < 0)
                pattern_done(&item);
        return r;
}

static int patterns_add_monitor(Patterns *p, const char *value, const char **ret_why) {
        _cleanup_free_ char *words = strdup(value);
        Pattern item = { .is_literal = true };
        char *rest;

        if (!words)
                return -ENOMEM;
        item.name = strtok_r(words, BLANKS, &rest);
        item.path = strtok_r(NULL, BLANKS, &rest);
        item.agent = strtok_r(NULL, BLANKS, &rest);
        if (!item.path || strtok_r(NULL, BLANKS, &rest)) {
                *ret_why = "not of the form NAME PATH [AGENTPATH]";
                return -EINVAL;
        }
        return patterns_add(p, &item, ret_why);
}

int patterns_add_setting(Patterns *p, const char *key, const char *value, const char **ret_why) {
        _cleanup_free_ char *inside = NULL;

        if (str_equal(key, "Monitor"))
                return patterns_add_monitor(p, value, ret_why);
        if (str_equal(key, "Socket"))
                return patterns_add(p, &(const Pattern){ .path = (char *) value }, ret_why);
        if (str_equal(key, "Directory")) {
                if (asprintf(&inside, "%s/*.qmp", value) < 0) {
                        inside = NULL;
                        return -ENOMEM;
                }
                return patterns_add(p, &(const Pattern){ .path = inside }, ret_why);
        }
        *ret_why = "unknown setting";
        return -EINVAL;
}

static size_t patterns_find_registered(const Patterns *p, const char *path) {
        size_t i = 0;

        while (i < p->n && !(p->items[i].is_registered && str_equal(p->items[i].path, path)))
                i++;
        return i;
}

int patterns_add_registered(
                Patterns *p,
                const char *name,
                const char *path,
                const char *agent,
                const char **ret_why) {
        if (patterns_find_registered(p, path) < p->n) {
                *ret_why = "it is registered already";
                return -EEXIST;
        }
        return patterns_add(
                        p,
                        &(const Pattern){ .name = (char *) name,
                                          .path = (char *) path,
                                          .agent = (char *) agent,
                                          .is_literal = true,
                                          .is_registered = true },
                        ret_why);
}

int patterns_take_registered(Patterns *p, Patterns *from) {
        Pattern *items;

        if (from->n == 0)
                return 0;
        items = reallocarray(p->items, p->n + from->n, sizeof(*items));
        if (!items)
                return -ENOMEM;
        p->items = items;
        for (size_t i = 0; i < from->n; i++)
                if (from->items[i].is_registered) {
                        p->items[p->n++] = from->items[i];
                        from->items[i] = (Pattern){};
                }
        return 0;
}

int patterns_remove_registered(Patterns *p, const char *path) {
        size_t i = patterns_find_registered(p, path);

        if (i == p->n)
                return -ENOENT;
        pattern_done(&p->items[i]);
        p->items[i] = p->items[--p->n];
        return 0;
}

const Pattern *patterns_find(const Patterns *p, const char *path) {
        const Pattern *found = NULL;

        for (size_t i = 0; i < p->n; i++) {
                const Pattern *item = &p->items[i];

                if (item->is_literal && str_equal(item->path, path))
                        return item;
                if (!item->is_literal && !found &&
                    fnmatch(item->path, path, FNM_PATHNAME | FNM_PERIOD) == 0)
                        found = item;
        }
        return found;
}

/* Whether @name matches one of the parts of @path. */
static bool path_cares(const char *path, const char *name) {
        char part[sizeof(((struct sockaddr_un *) NULL)->sun_path) + 8];

        while (path && *path) {
                size_t length = strcspn(++path, "/");

                (void) snprintf(part, sizeof(part), "%.*s", (int) length, path);
                if (fnmatch(part, name, FNM_PERIOD) == 0)
                        return true;
                path = strchr(path, '/');
        }
        return false;
}

bool patterns_care(const Patterns *p, const char *name) {
        if (pattern_is_agent(name))
                return true;
        for (size_t i = 0; i < p->n; i++)
                if (path_cares(p->items[i].path, name) ||
                    (p->items[i].agent && path_cares(p->items[i].agent, name)))
                        return true;
        return false;
}

/* the agent's socket */

static const char *file_name(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static const struct {
        const char *monitor, *agent;
} names[] = {
        { "qmp", "qga" },
        { "monitor", "agent" },
};

bool pattern_is_agent(const char *name) {
        bool is_agent = false;

        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                if (strstr(file_name(name), names[i].monitor))
                        return false;
                is_agent |= !!strstr(file_name(name), names[i].agent);
        }
        return is_agent;
}

int pattern_agent_path(const char *path, char **ret) {
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                const char *at = strstr(file_name(path), names[i].monitor), *next;

                while (at && (next = strstr(at + 1, names[i].monitor)))
                        at = next; /* the last one: in qmp-test.qmp the suffix counts */
                if (!at)
                        continue;
                if (asprintf(ret,
                             "%.*s%s%s",
                             (int) (at - path),
                             path,
                             names[i].agent,
                             at + strlen(names[i].monitor)) < 0)
                        return -ENOMEM;
                return 0;
        }
        *ret = NULL;
        return 0;
}
