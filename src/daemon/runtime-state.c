/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/runtime-state.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "common/file-replace.h"
#include "common/json-bounded.h"
#include "common/safe-path.h"
#include "common/text-escape.h"
#include "daemon/log.h"

#define FILE_SIZE_MAX (4 * 1024 * 1024)
#define TEXT_MAX 4096
#define ENTRIES_MAX 1024 /* of each kind */

static const JsonLimits file_limits = {
        .size_max = FILE_SIZE_MAX,
        .values_max = 100000,
        .depth_max = 4,
};

/* A text by its key: a mode's name, or the reason of a distrust. */
typedef struct Entry {
        char *key, *value;
} Entry;

typedef struct EntryList {
        Entry *entries; /* the oldest first */
        size_t n;
} EntryList;

struct RuntimeState {
        char *path;
        Registration *registrations;
        size_t n_registrations;
        EntryList modes, distrusts;
        ClockSample clocks;
        bool is_unsaved; /* the file does not say all of this */
};

/* entries */

static void entry_list_remove(EntryList *l, size_t i) {
        free(l->entries[i].key);
        free(l->entries[i].value);
        l->n--;
        memmove(&l->entries[i], &l->entries[i + 1], (l->n - i) * sizeof(*l->entries));
}

static void entry_list_done(EntryList *l) {
        while (l->n > 0)
                entry_list_remove(l, l->n - 1);
        free(l->entries);
        *l = (EntryList){ 0 };
}

static Entry *entry_list_find(const EntryList *l, const char *key) {
        for (size_t i = 0; i < l->n; i++)
                if (str_equal(l->entries[i].key, key))
                        return &l->entries[i];
        return NULL;
}

static int entry_list_add(EntryList *l, const char *key, const char *value) {
        Entry *entries, *added;

        if (strlen(key) > TEXT_MAX || strlen(value) > TEXT_MAX)
                return -E2BIG;
        entries = realloc(l->entries, (l->n + 1) * sizeof(*entries));
        if (!entries)
                return -ENOMEM;
        l->entries = entries;

        added = &entries[l->n++];
        *added = (Entry){ .key = strdup(key), .value = strdup(value) };
        if (!added->key || !added->value) {
                entry_list_remove(l, l->n - 1);
                return -ENOMEM;
        }
        text_make_valid(added->value);
        return 0;
}

/* Sets or, without a value, removes it. Returns: 1 if that changed anything; 0; a negative errno. */
static int entry_list_set(EntryList *l, const char *key, const char *value) {
        const Entry *e = entry_list_find(l, key);
        size_t old = e ? (size_t) (e - l->entries) : SIZE_MAX;
        int r;

        if (str_equal(e ? e->value : NULL, value))
                return 0;

        r = value ? entry_list_add(l, key, value) : 0;
        if (r < 0)
                return r;
        if (old < l->n)
                entry_list_remove(l, old);

        /* Machines come and go; what is remembered of them must end somewhere. */
        if (l->n > ENTRIES_MAX)
                entry_list_remove(l, 0);
        return 1;
}

/* registrations */

static void registration_done(Registration *r) {
        free(r->plugin);
        free(r->name);
        free(r->address);
        free(r->agent);
}

static bool text_fits(const char *s) {
        return !s || strlen(s) <= TEXT_MAX;
}

static int registration_copy(Registration *ret, const Registration *from) {
        Registration r = { 0 };

        if (!text_fits(from->plugin) || !text_fits(from->name) || !text_fits(from->address) ||
            !text_fits(from->agent))
                return -E2BIG;

        if (str_replace(&r.plugin, from->plugin) < 0 || str_replace(&r.name, from->name) < 0 ||
            str_replace(&r.address, from->address) < 0 || str_replace(&r.agent, from->agent) < 0) {
                registration_done(&r);
                return -ENOMEM;
        }
        *ret = r;
        return 0;
}

static size_t registration_find(const RuntimeState *s, const char *plugin, const char *address) {
        size_t i = 0;

        while (i < s->n_registrations && !(str_equal(s->registrations[i].plugin, plugin) &&
                                           str_equal(s->registrations[i].address, address)))
                i++;
        return i;
}

static int registration_add(RuntimeState *s, const Registration *registration) {
        Registration *grown;
        int r;

        if (str_empty(registration->plugin) || str_empty(registration->address))
                return -EINVAL;
        if (registration_find(s, registration->plugin, registration->address) < s->n_registrations)
                return -EEXIST;
        if (s->n_registrations >= ENTRIES_MAX)
                return -ENOSPC;

        grown = realloc(s->registrations, (s->n_registrations + 1) * sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        s->registrations = grown;
        r = registration_copy(&grown[s->n_registrations], registration);
        if (r < 0)
                return r;
        s->n_registrations++;
        return 0;
}

static void registration_remove(RuntimeState *s, size_t i) {
        registration_done(&s->registrations[i]);
        s->n_registrations--;
        memmove(&s->registrations[i],
                &s->registrations[i + 1],
                (s->n_registrations - i) * sizeof(*s->registrations));
}

/* reading */

static int file_read(const char *path, char **ret, size_t *ret_size) {
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -1;
        struct stat st;
        ssize_t n;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        if (!user_is_us(st.st_uid) || (st.st_mode & (S_IWGRP | S_IWOTH)))
                return -EPERM; /* it says where root is to connect to */
        if (st.st_size > FILE_SIZE_MAX)
                return -E2BIG;

        text = malloc((size_t) st.st_size + 1);
        if (!text)
                return -ENOMEM;
        n = read(fd, text, (size_t) st.st_size);
        if (n < 0)
                return -errno;
        *ret = TAKE_PTR(text);
        *ret_size = (size_t) n;
        return 0;
}

/* Returns: a borrowed string; NULL if it is not there or none. */
static const char *get_text(JsonObject *o, const char *key) {
        const char *s;

        return json_get_string(o, key, &s) < 0 ? NULL : s;
}

static void load_registrations(RuntimeState *s, JsonObject *root) {
        JsonObject *array;

        if (json_get_array(root, "registrations", &array) < 0)
                return;

        for (size_t i = 0; i < json_object_array_length(array); i++) {
                JsonObject *o = json_object_array_get_idx(array, i);
                const Registration registration = {
                        .plugin = (char *) get_text(o, "plugin"),
                        .name = (char *) get_text(o, "name"),
                        .address = (char *) get_text(o, "address"),
                        .agent = (char *) get_text(o, "agent"),
                };
                int r = registration_add(s, &registration);

                if (r < 0)
                        (void) log_warning_errno(r, "%s: a registration is left out", s->path);
        }
}

static void load_entries(RuntimeState *s, JsonObject *root, const char *name, EntryList *list) {
        JsonObject *o;

        if (json_get_object(root, name, &o) < 0)
                return;

        json_object_object_foreach(o, key, ignored) {
                const char *value = get_text(o, key);
                int r = value ? entry_list_set(list, key, value) : -EBADMSG;

                (void) ignored;
                if (r < 0)
                        (void) log_warning_errno(r, "%s: one of %s is left out", s->path, name);
        }
}

static void load_clocks(RuntimeState *s, JsonObject *root) {
        ClockSample c;
        JsonObject *o;

        if (json_get_object(root, "clocks", &o) < 0)
                return;
        if (json_get_int64(o, "monotonic_ns", &c.monotonic_ns) < 0 ||
            json_get_int64(o, "boottime_ns", &c.boottime_ns) < 0 ||
            json_get_int64(o, "realtime_ns", &c.realtime_ns) < 0)
                (void) log_warning("%s: its clocks are left out", s->path);
        else
                s->clocks = c;
}

static int load_text(RuntimeState *s, const char *text, size_t size) {
        _cleanup_json_ JsonObject *root = NULL;
        int r;

        r = json_bounded_parse(text, size, &file_limits, &root);
        if (r < 0)
                return r;
        if (!json_object_is_type(root, json_type_object))
                return -EBADMSG;

        load_registrations(s, root);
        load_entries(s, root, "modes", &s->modes);
        load_entries(s, root, "distrusts", &s->distrusts);
        load_clocks(s, root);

        for (size_t i = s->modes.n; i-- > 0;)
                if (mode_from_string(s->modes.entries[i].value) < 0) {
                        (void) log_warning(
                                        "%s: '%s' is no mode", s->path, s->modes.entries[i].value);
                        entry_list_remove(&s->modes, i);
                }
        return 0;
}

int runtime_state_open(const char *path, RuntimeState **ret) {
        _cleanup_(runtime_state_freep) RuntimeState *s = NULL;
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        int r;

        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->path = strdup(path);
        if (!s->path)
                return -ENOMEM;

        r = file_read(path, &text, &size);
        if (r >= 0)
                r = load_text(s, text, size);
        if (r == -ENOMEM)
                return r;
        if (r < 0 && r != -ENOENT)
                (void) log_warning_errno(r, "%s is not understood and left out", path);
        *ret = TAKE_PTR(s);
        return 0;
}

RuntimeState *runtime_state_free(RuntimeState *s) {
        if (!s)
                return NULL;

        while (s->n_registrations > 0)
                registration_remove(s, s->n_registrations - 1);
        free(s->registrations);
        entry_list_done(&s->modes);
        entry_list_done(&s->distrusts);
        free(s->path);
        free(s);
        return NULL;
}

/* writing */

/* json-c takes the value over only where it succeeds. */
static int object_add(JsonObject *o, const char *key, JsonObject *value) {
        if (!value)
                return -ENOMEM;
        if (json_object_object_add(o, key, value) < 0) {
                (void) json_object_put(value);
                return -ENOMEM;
        }
        return 0;
}

static int object_add_text(JsonObject *o, const char *key, const char *value) {
        return value ? object_add(o, key, json_object_new_string(value)) : 0;
}

static int add_registrations(const RuntimeState *s, JsonObject *root) {
        JsonObject *array = json_object_new_array();
        int r = object_add(root, "registrations", array);

        for (size_t i = 0; i < s->n_registrations && r >= 0; i++) {
                const Registration *registration = &s->registrations[i];
                JsonObject *o = json_object_new_object();

                if (!o)
                        return -ENOMEM;
                if (json_object_array_add(array, o) < 0) {
                        (void) json_object_put(o);
                        return -ENOMEM;
                }
                r = object_add_text(o, "plugin", registration->plugin);
                if (r >= 0)
                        r = object_add_text(o, "name", registration->name);
                if (r >= 0)
                        r = object_add_text(o, "address", registration->address);
                if (r >= 0)
                        r = object_add_text(o, "agent", registration->agent);
        }
        return r;
}

static int add_entries(JsonObject *root, const char *name, const EntryList *list) {
        JsonObject *o = json_object_new_object();
        int r = object_add(root, name, o);

        for (size_t i = 0; i < list->n && r >= 0; i++) {
                const Entry *e = &list->entries[i];

                /* JSON is UTF-8; a name that is none is remembered for this life only. */
                if (text_is_clean(e->key))
                        r = object_add_text(o, e->key, e->value);
        }
        return r;
}

static int add_clocks(JsonObject *root, const ClockSample *c) {
        JsonObject *o = json_object_new_object();
        int r = object_add(root, "clocks", o);

        if (r >= 0)
                r = object_add(o, "monotonic_ns", json_object_new_int64(c->monotonic_ns));
        if (r >= 0)
                r = object_add(o, "boottime_ns", json_object_new_int64(c->boottime_ns));
        if (r >= 0)
                r = object_add(o, "realtime_ns", json_object_new_int64(c->realtime_ns));
        return r;
}

static int runtime_state_write(const RuntimeState *s) {
        _cleanup_json_ JsonObject *root = json_object_new_object();
        const char *text;
        int r;

        if (!root)
                return -ENOMEM;
        r = add_registrations(s, root);
        if (r >= 0)
                r = add_entries(root, "modes", &s->modes);
        if (r >= 0)
                r = add_entries(root, "distrusts", &s->distrusts);
        if (r >= 0 && s->clocks.boottime_ns > 0)
                r = add_clocks(root, &s->clocks);
        if (r < 0)
                return r;
        text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN);
        if (!text)
                return -ENOMEM;
        /* It would not be read back. */
        return strlen(text) <= FILE_SIZE_MAX ? file_replace(s->path, text, strlen(text)) : -ENOSPC;
}

static int runtime_state_save(RuntimeState *s) {
        int r = runtime_state_write(s);

        s->is_unsaved = r < 0;
        return r;
}

/* Of what entry_list_set() has returned. A change that could not be written is none when it is made again. */
static int runtime_state_save_set(RuntimeState *s, int changed) {
        return changed > 0 || (changed == 0 && s->is_unsaved) ? runtime_state_save(s) : changed;
}

/* registrations */

size_t runtime_state_registrations(const RuntimeState *s, const Registration **ret) {
        *ret = s->registrations;
        return s->n_registrations;
}

int runtime_state_register(RuntimeState *s, const Registration *registration) {
        int r = registration_add(s, registration);

        if (r < 0)
                return r;
        r = runtime_state_save(s);
        if (r < 0)
                registration_remove(s, s->n_registrations - 1);
        return r;
}

int runtime_state_unregister(RuntimeState *s, const char *plugin, const char *address) {
        size_t i = registration_find(s, plugin, address);

        if (i < s->n_registrations)
                registration_remove(s, i);
        else if (!s->is_unsaved) /* else the file may still have it */
                return -ENOENT;
        return runtime_state_save(s);
}

/* modes and distrusts */

Mode runtime_state_mode(const RuntimeState *s, const char *name) {
        const Entry *e = entry_list_find(&s->modes, name);

        return e ? mode_from_string(e->value) : MODE_INVALID;
}

int runtime_state_set_mode(RuntimeState *s, const char *name, Mode mode) {
        return runtime_state_save_set(s, entry_list_set(&s->modes, name, mode_to_string(mode)));
}

const char *runtime_state_distrust(const RuntimeState *s, const char *key) {
        const Entry *e = entry_list_find(&s->distrusts, key);

        return e ? e->value : NULL;
}

int runtime_state_set_distrust(RuntimeState *s, const char *key, const char *why) {
        return runtime_state_save_set(s, entry_list_set(&s->distrusts, key, why));
}

/* clocks */

const ClockSample *runtime_state_clocks(const RuntimeState *s) {
        return &s->clocks;
}

int runtime_state_set_clocks(RuntimeState *s, const ClockSample *clocks) {
        s->clocks = *clocks;
        return runtime_state_save(s);
}
