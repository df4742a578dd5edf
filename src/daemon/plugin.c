/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/plugin.h"
#include <dlfcn.h>
#include <errno.h>
#include "common/passing-error.h"
#include "common/safe-path.h"
#include "common/text-escape.h"
#include "daemon/log.h"

#define TROUBLE_MAX 256

/* What is loaded here runs as root: nobody else may have written it, or put it there. */
static int path_check(const char *path) {
        _cleanup_(safe_path_done) SafePath p = SAFE_PATH_NONE;
        const char *why = NULL;
        int r;

        r = safe_path_open(path, &p, &why);
        if (r >= 0 && !S_ISREG(p.st.st_mode))
                r = -ELIBBAD;
        if (r >= 0)
                r = safe_path_check_ours(&p, &why);
        if (r == -EPERM && why) {
                (void) log_error("%s is not loaded: %s", path, why);
                return r;
        }
        return r < 0 ? log_error_errno(r, "Cannot load plugin %s", path) : 0;
}

static int api_check(const struct suspendd_plugin *api) {
        if (api->abi != SUSPENDD_PLUGIN_ABI || api->size < sizeof(*api)) {
                (void) log_error(
                                "The plugin is made for interface %u with %u bytes, not %u with %zu",
                                api->abi,
                                api->size,
                                SUSPENDD_PLUGIN_ABI,
                                sizeof(*api));
                return -EPROTO;
        }
        if (str_empty(api->name) || !api->create || !api->destroy) {
                (void) log_error("The plugin lacks a name, create() or destroy()");
                return -ELIBBAD;
        }
        return 0;
}

int plugin_new(const struct suspendd_plugin *api,
               const struct suspendd_host *host,
               void *owner,
               Plugin **ret) {
        _cleanup_(plugin_freep) Plugin *p = NULL;
        int r;

        r = api_check(api);
        if (r < 0)
                return r;

        p = malloc(sizeof(*p));
        if (!p)
                return log_oom();
        *p = (Plugin){ .api = api, .host = *host, .owner = owner };
        list_init(&p->plugins);

        r = api->create(&p->host, &p->instance);
        if (r < 0) {
                p->api = NULL; /* there is no instance to destroy */
                return log_error_errno(r, "Cannot start plugin %s", api->name);
        }

        *ret = TAKE_PTR(p);
        return 0;
}

Plugin *plugin_free(Plugin *p) {
        if (!p)
                return NULL;

        if (p->api)
                p->api->destroy(p->instance);
        list_unlink(&p->plugins);
        free(p->trouble);
        free(p);
        return NULL;
}

int plugin_set_trouble(Plugin *p, const char *text) {
        char cut[TROUBLE_MAX];

        text = str_empty(text) ? NULL : text_cut(cut, sizeof(cut), text);
        if (str_equal(p->trouble, text))
                return 0;
        return str_replace(&p->trouble, text) < 0 ? -ENOMEM : 1;
}

Plugin *plugin_of_host(const struct suspendd_host *host) {
        return (Plugin *) (void *) ((char *) host - offsetof(Plugin, host));
}

/* dlopen() tells the cause in words only, the last of which are strerror()'s, if it has kept that. */
static int error_of_text(const char *why) {
        static const int passing[] = { EMFILE, ENFILE, ENOMEM, ENOSPC, EIO, EINTR };

        for (size_t i = 0; why && i < ARRAY_LEN(passing); i++)
                if (strstr(why, strerrordesc_np(passing[i])))
                        return -passing[i];
        return why && (strstr(why, "map segment") || strstr(why, "memory")) ? -ENOMEM : -ELIBBAD;
}

int plugin_load(const char *directory,
                const char *name,
                const struct suspendd_host *host,
                void *owner,
                Plugin **ret) {
        const struct suspendd_plugin *api;
        _cleanup_free_ char *path = NULL;
        void *library;
        int r;

        if (str_empty(name) || name[0] == '.' || strchr(name, '/'))
                return log_error_errno(-EINVAL, "'%s' is no plugin's name", name);
        if (asprintf(&path, "%s/%s.so", directory, name) < 0) {
                path = NULL;
                return log_oom();
        }
        r = path_check(path);
        if (r < 0)
                return r;

        library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (!library) {
                const char *why = dlerror();

                (void) log_error("Cannot load plugin %s: %s", path, why);
                return error_of_text(why);
        }
        api = dlsym(library, SUSPENDD_PLUGIN_SYMBOL);
        if (!api) {
                (void) log_error("%s is no plugin: it lacks " SUSPENDD_PLUGIN_SYMBOL, path);
                (void) dlclose(library);
                return -ELIBBAD;
        }

        r = plugin_new(api, host, owner, ret);
        /* It stays mapped whatever becomes of the handle. */
        (void) dlclose(library);
        return r;
}

void plugin_register_again(Plugin *p, const RuntimeState *state) {
        const Registration *known;
        size_t n = runtime_state_registrations(state, &known);
        const char *why = NULL;
        int r;

        for (size_t i = 0; i < n; i++) {
                if (!str_equal(known[i].plugin, p->api->name) || !p->api->register_machine)
                        continue;
                r = p->api->register_machine(
                                p->instance, known[i].name, known[i].address, known[i].agent, &why);
                if (r < 0)
                        (void) log_warning_errno(
                                        r,
                                        "%s is not registered again: %s",
                                        known[i].address,
                                        why ?: "");
        }
}

int plugin_of_key(const char *key, char **ret) {
        const char *end = strchr(key, ':');

        if (!end || end == key)
                return -EINVAL;
        *ret = strndup(key, (size_t) (end - key));
        return *ret ? 0 : -ENOMEM;
}

static bool has_name(char *const *names, const char *name) {
        for (; *names; names++)
                if (str_equal(*names, name))
                        return true;
        return false;
}

int plugins_of_journal(const Journal *j, char ***ret) {
        const JournalNote *notes;
        size_t n_notes = journal_notes(j, &notes), n = 0;
        char **names, *name;

        names = calloc(n_notes + 1, sizeof(*names));
        if (!names)
                return -ENOMEM;
        for (size_t i = 0; i < n_notes; i++) {
                if (plugin_of_key(notes[i].key, &name) < 0)
                        continue;
                if (has_name(names, name))
                        free(name);
                else
                        names[n++] = name;
        }
        *ret = names;
        return 0;
}

bool plugin_has_ended(const Plugin *p, const char *key) {
        const char *run = strrchr(key, '@');
        _cleanup_free_ char *name = NULL;

        /* Of a key that was too long the run is not known, and nothing certain. */
        if (!p->api->has_ended || !run || strchr(run, '#') || plugin_of_key(key, &name) < 0)
                return false;
        return str_equal(name, p->api->name) && p->api->has_ended(p->instance, run + 1) > 0;
}
