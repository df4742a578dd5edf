/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/presence.h"
#include <dirent.h>
#include <errno.h>
#include <libxml/uri.h>
#include <sys/stat.h>
#include "common/passing-error.h"
#include "common/watch.h"

#define SYSTEM_DIRECTORY "/run/libvirt"
#define DRIVER_PID "driver.pid"

struct Presence {
        char *directory;       /* where the sockets are; NULL: nothing can be told */
        char *socket;          /* the one that the URI names, or NULL */
        bool is_choosy;        /* the URI says more than which driver it is of */
        char *state_directory; /* where NAME.pid is */
        Watch *watch;
        PresenceFn fn;
        void *userdata;
};

static bool has_suffix(const char *s, const char *suffix) {
        size_t n = strlen(s), k = strlen(suffix);

        return n >= k && str_equal(s + n - k, suffix);
}

/* URIs */

/* The value of @key in a URI's query, unescaped, to be freed; NULL if it is not there. */
static char *query_value(const char *query, const char *key) {
        size_t n = strlen(key);

        for (const char *p = query; p && *p; p += strcspn(p, "&;")) {
                p += strspn(p, "&;");
                if (strncmp(p, key, n) == 0 && p[n] == '=')
                        return xmlURIUnescapeString(
                                        p + n + 1, (int) strcspn(p + n + 1, "&;"), NULL);
        }
        return NULL;
}

static bool uri_is_local_qemu(const xmlURI *u) {
        bool is_qemu = str_equal(u->scheme, "qemu") || str_equal(u->scheme, "qemu+unix");

        return is_qemu && str_empty(u->server) &&
               (str_equal(u->path, "/system") || str_equal(u->path, "/session"));
}

static int presence_read_uri(Presence *p, const xmlURI *u) {
        bool is_session = str_equal(u->path, "/session");
        char *slash;

        p->is_choosy = u->query_raw;
        p->socket = query_value(u->query_raw, "socket");
        /* A session without a socket is that of whoever asks, wherever that may be. */
        if (is_session && !p->socket)
                return 0;
        p->directory = strdup(p->socket ?: SYSTEM_DIRECTORY "/");
        slash = p->directory ? strrchr(p->directory, '/') : NULL;
        if (!slash)
                return p->directory ? -EINVAL : -ENOMEM;
        *slash = 0;
        if (asprintf(&p->state_directory, "%s/qemu%s", p->directory, is_session ? "/run" : "") <
            0) {
                p->state_directory = NULL;
                return -ENOMEM;
        }
        return 0;
}

/* what is there */

static bool socket_is_there(const char *directory, const char *name) {
        char path[256];
        struct stat st;

        return snprintf(path, sizeof(path), "%s/%s", directory, name) < (int) sizeof(path) &&
               stat(path, &st) >= 0 && S_ISSOCK(st.st_mode);
}

bool presence_can_tell(const Presence *p) {
        return p->directory;
}

bool presence_has_server(const Presence *p) {
        if (!p->directory)
                return true;
        if (p->socket)
                return socket_is_there(p->directory, strrchr(p->socket, '/') + 1);
        return socket_is_there(p->directory, "virtqemud-sock") ||
               socket_is_there(p->directory, "libvirt-sock");
}

/* As a client chooses between the two: the daemon of QEMU's alone, if it is there. */
const char *presence_admin_uri(const Presence *p) {
        if (!p->directory || p->is_choosy)
                return NULL;
        if (socket_is_there(p->directory, "virtqemud-sock"))
                return "virtqemud:///system";
        return "libvirtd:///system";
}

bool presence_has_machines(const Presence *p) {
        struct dirent *e;
        bool has = false;
        DIR *d;

        if (!p->directory)
                return true;
        d = opendir(p->state_directory);
        /* What cannot be looked at now is no empty folder: nobody would look again before one more domain comes. */
        if (!d && error_is_passing(-errno))
                return true;
        while (d && !has && (e = readdir(d)))
                has = has_suffix(e->d_name, ".pid") && !str_equal(e->d_name, DRIVER_PID);
        if (d)
                (void) closedir(d);
        return has;
}

const char *presence_state_directory(const Presence *p) {
        return p->state_directory;
}

/* watching */

/* Whether @name is one of the names that @path, which may be NULL, is made of. */
static bool path_has_name(const char *path, const char *name) {
        size_t n = strlen(name);

        for (const char *p = path; p && *p; p += strcspn(p, "/")) {
                p += strspn(p, "/");
                if (n > 0 && strcspn(p, "/") == n && strncmp(p, name, n) == 0)
                        return true;
        }
        return false;
}

static bool presence_cares(void *userdata, const char *name) {
        const Presence *p = userdata;

        /* A domain, a socket, or a folder on the way. */
        return has_suffix(name, ".pid") || has_suffix(name, "-sock") ||
               path_has_name(p->socket, name) || path_has_name(p->state_directory, name);
}

static void presence_on_change(void *userdata) {
        Presence *p = userdata;

        presence_watch(p, true);
        p->fn(p->userdata);
}

static const WatchOps presence_watch_ops = {
        .cares = presence_cares,
        .on_change = presence_on_change,
};

/* Watches @path, or the nearest folder above it that is there. */
static void watch_nearest(Watch *w, const char *path) {
        char folder[256];
        char *slash;

        if (snprintf(folder, sizeof(folder), "%s", path) >= (int) sizeof(folder))
                return;
        while (watch_add(w, *folder ? folder : "/") < 0 && (slash = strrchr(folder, '/')))
                *slash = 0;
}

void presence_watch(Presence *p, bool shall_watch) {
        if (!p->directory)
                return;
        watch_begin(p->watch);
        if (shall_watch) {
                watch_nearest(p->watch, p->directory);
                watch_nearest(p->watch, p->state_directory);
        }
        watch_end(p->watch);
}

/* lifetime */

int presence_new(sd_event *event, const char *uri, PresenceFn fn, void *userdata, Presence **ret) {
        _cleanup_(presence_freep) Presence *p = calloc(1, sizeof(*p));
        xmlURIPtr u;
        int r = 0;

        if (!p)
                return -ENOMEM;
        *p = (Presence){ .fn = fn, .userdata = userdata };
        u = xmlParseURI(uri);
        if (u && uri_is_local_qemu(u))
                r = presence_read_uri(p, u);
        if (u)
                xmlFreeURI(u);
        if (r >= 0 && p->directory)
                r = watch_new(event, "libvirt-watch", &presence_watch_ops, p, &p->watch);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

Presence *presence_free(Presence *p) {
        if (!p)
                return NULL;
        watch_free(p->watch);
        free(p->directory);
        xmlFree(p->socket);
        free(p->state_directory);
        free(p);
        return NULL;
}
