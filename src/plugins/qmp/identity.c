/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/qmp/identity.h"
#include <errno.h>
#include <inttypes.h>
#include "common/process.h"

#define UUID_NONE "00000000-0000-0000-0000-000000000000"

void identity_done(Identity *i) {
        free(i->name);
        free(i->uuid);
        free(i->run);
        free(i->vmm);
        i->name = i->uuid = i->run = i->vmm = NULL;
}

/* the process */

int identity_see_process(Identity *i, Monitor *m) {
        pid_t pid;

        free(TAKE_PTR(i->run));
        return monitor_get_pid(m, &pid) >= 0 ? process_run_string(pid, &i->run) : 0;
}

/* QEMU's testimony */

static void identity_set(Identity *i, char **what, const char *text) {
        int r = str_replace(what, text);

        if (r < 0)
                i->error = r;
}

static void on_name(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Identity *i = userdata;
        const char *name;

        (void) tag;
        (void) error;
        (void) why;
        if (json_view_get_string(value, "name", &name) >= 0 && *name)
                identity_set(i, &i->name, name);
}

static void on_uuid(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Identity *i = userdata;
        const char *uuid;

        (void) tag;
        (void) error;
        (void) why;
        if (json_view_get_string(value, "UUID", &uuid) >= 0 && *uuid && !str_equal(uuid, UUID_NONE))
                identity_set(i, &i->uuid, uuid);
}

/* QEMU before 4.0 does not know the command: it is then tried as if waking worked. */
static void on_current_machine(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Identity *i = userdata;
        bool wakeup = true;

        (void) tag;
        (void) error;
        (void) why;
        (void) json_view_get_bool(value, "wakeup-suspend-support", &wakeup);
        i->no_wakeup = !wakeup;
}

/* What a device's type, child<TYPE>, says against a suspend to RAM; NULL if nothing. */
static const char *device_objection(const char *type) {
        if (strncmp(type, "child<vfio-", 11) == 0)
                return "VFIO device";
        if (strncmp(type, "child<vhost-user-", 17) == 0 || strstr(type, "virtiofs"))
                return "virtiofs/vhost-user device";
        return NULL;
}

static void on_devices(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Identity *i = userdata;

        (void) tag;
        (void) error;
        (void) why;
        JSON_VIEW_FOREACH(device, value) {
                const char *type;

                if (!i->device_found && json_view_get_string(device, "type", &type) >= 0)
                        i->device_found = device_objection(type);
        }
}

static void on_last_devices(
                void *userdata, uint64_t tag, const JsonView *value, int error, const char *why) {
        Identity *i = userdata;

        on_devices(userdata, tag, value, error, why);
        i->device = i->device_found;
        i->on_known(i->userdata);
}

static int identity_send(
                Identity *i,
                Monitor *m,
                const char *execute,
                const char *arguments,
                MonitorReplyFn fn) {
        return monitor_send(
                        m,
                        &(const MonitorCommand){ .execute = execute,
                                                 .arguments = arguments,
                                                 .on_reply = fn,
                                                 .userdata = i });
}

int identity_ask_devices(Identity *i, Monitor *m) {
        int r;

        i->device_found = NULL;
        r = identity_send(i, m, "qom-list", "{\"path\":\"/machine/peripheral\"}", on_devices);
        if (r < 0)
                return r;
        return identity_send(
                        i,
                        m,
                        "qom-list",
                        "{\"path\":\"/machine/peripheral-anon\"}",
                        on_last_devices);
}

static int identity_see_version(Identity *i, const JsonView *greeting) {
        int64_t major = 0, minor = 0, micro = 0;
        const JsonView *o = greeting;

        if (json_view_get_object(o, "QMP", &o) < 0 || json_view_get_object(o, "version", &o) < 0 ||
            json_view_get_object(o, "qemu", &o) < 0 ||
            json_view_get_int64(o, "major", &major) < 0 ||
            json_view_get_int64(o, "minor", &minor) < 0 ||
            json_view_get_int64(o, "micro", &micro) < 0)
                return str_replace(&i->vmm, "QEMU");
        free(TAKE_PTR(i->vmm));
        if (asprintf(&i->vmm, "QEMU %" PRIi64 ".%" PRIi64 ".%" PRIi64, major, minor, micro) < 0) {
                i->vmm = NULL;
                return -ENOMEM;
        }
        return 0;
}

int identity_ask(Identity *i, Monitor *m, const JsonView *greeting) {
        static const struct {
                const char *execute;
                MonitorReplyFn on_reply;
        } questions[] = {
                { "query-name", on_name },
                { "query-uuid", on_uuid },
                { "query-current-machine", on_current_machine },
        };
        int r;

        r = identity_see_version(i, greeting);
        for (size_t k = 0; r >= 0 && k < ARRAY_LEN(questions); k++)
                r = identity_send(i, m, questions[k].execute, NULL, questions[k].on_reply);
        if (r < 0)
                return r;
        return identity_ask_devices(i, m);
}

/* the socket's name */

/* Cuts @suffix off the name of @*length bytes at @name, or all of it. */
static void cut_suffix(const char *name, size_t *length, const char *suffix) {
        size_t n = strlen(suffix);

        if (*length >= n && strncmp(name + *length - n, suffix, n) == 0)
                *length -= n;
}

int identity_name_from_path(const char *path, char **ret) {
        const char *base = strrchr(path, '/'), *start;
        size_t length;
        char *name;

        base = base ? base + 1 : path;
        length = strlen(base);
        cut_suffix(base, &length, ".sock");
        cut_suffix(base, &length, ".socket");
        cut_suffix(base, &length, "qmp");
        cut_suffix(base, &length, "monitor");
        while (length > 0 && strchr(".-_", base[length - 1]))
                length--;
        if (length == 0 && base > path + 1) {
                start = base - 1;
                while (start > path && start[-1] != '/')
                        start--;
                length = (size_t) (base - 1 - start);
                base = start;
        }
        name = length > 0 ? strndup(base, length) : strdup(path);
        if (!name)
                return -ENOMEM;
        *ret = name;
        return 0;
}
