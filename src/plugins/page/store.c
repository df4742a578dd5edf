/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/store.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-event.h>
#include <time.h>
#include "common/macro.h"
#include "common/passing-error.h"
#include "plugins/page/keeper.h"
#include "plugins/page/owner.h"
#include "plugins/page/page.h"

#define PAGES_MAX 1000
#define SOCKET_SUFFIX ".sock"
#define SETTING_WORDS_MAX 4

struct Store {
        const struct suspendd_host *host;
        char *directory, *pages_path;
        KeeperPlace place;
        List keepers;
        size_t n_keepers;
        sd_event_source *refresh; /* on while a page wants it */
        bool is_open;
};

#define LOG(_s, _level, ...) (_s)->host->log((_s)->host, (_level), NULL, __VA_ARGS__)

/* the time that pages claim */

static int store_on_refresh(sd_event_source *source, uint64_t usec, void *userdata);

/* An eighth more or less, so that it falls together with what wakes the host anyway. */
static void store_plan_refresh(Store *s) {
        uint64_t after_usec = host_time_refresh_usec(s->place.time);
        bool is_wanted = false;

        LIST_FOREACH(i, &s->keepers)
        is_wanted |= keeper_wants_refresh(keeper_from_link(i));
        s->refresh = sd_event_source_disable_unref(s->refresh);
        if (!is_wanted)
                return;
        if (sd_event_add_time_relative(
                            s->host->event,
                            &s->refresh,
                            CLOCK_MONOTONIC,
                            after_usec,
                            after_usec / 8,
                            store_on_refresh,
                            s) < 0)
                LOG(s, LOG_WARNING, "The time of pages is not kept right: no timer");
        else
                (void) sd_event_source_set_description(s->refresh, "page-time");
}

static int store_on_refresh(
                _unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        Store *s = userdata;

        host_time_look(s->place.time);
        LIST_FOREACH(i, &s->keepers) {
                Keeper *k = keeper_from_link(i);

                if (keeper_wants_refresh(k))
                        keeper_refresh(k);
        }
        store_plan_refresh(s);
        return 0;
}

/* lifetime */

int store_new(const struct suspendd_host *host, const char *directory, Store **ret) {
        _cleanup_(store_freep) Store *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return -ENOMEM;
        s->host = host;
        list_init(&s->keepers);
        s->place = (KeeperPlace){ .host = host, .pages = -1, .states = -1, .scratch = -1 };
        s->directory = strdup(directory);
        if (!s->directory || asprintf(&s->pages_path, "%s/pages", directory) < 0) {
                s->pages_path = NULL;
                return -ENOMEM;
        }
        s->place.path = s->pages_path;
        r = host_time_new(KVM_CLOCK_ROOT, "/sys", "/proc", &s->place.time);
        if (r < 0)
                return r;
        /* The first of the two samples that a rate is measured from. */
        host_time_look(s->place.time);
        r = doorbells_new(host, s->pages_path, &s->place.doorbells);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

static void store_close_directories(Store *s) {
        closep(&s->place.pages);
        closep(&s->place.states);
}

Store *store_free(Store *s) {
        if (!s)
                return NULL;
        sd_event_source_disable_unref(s->refresh);
        LIST_FOREACH(i, &s->keepers)
        keeper_free(keeper_from_link(i));
        host_time_free(s->place.time);
        doorbells_free(s->place.doorbells);
        store_close_directories(s);
        closep(&s->place.scratch);
        free(s->pages_path);
        free(s->directory);
        free(s);
        return NULL;
}

void store_restore_fd(void *instance, const char *name, int fd) {
        Store *s = instance;
        if (doorbells_restore(s->place.doorbells, name, fd))
                return;
        s->host->drop_fd(s->host, name);
        (void) close(fd);
}

/* finding */

static Keeper *store_find(const Store *s, const char *name) {
        LIST_FOREACH(i, (List *) &s->keepers) {
                Keeper *k = keeper_from_link(i);

                if (str_equal(keeper_name(k), name))
                        return k;
        }
        return NULL;
}

static Keeper *store_find_uuid(const Store *s, const char *uuid) {
        LIST_FOREACH(i, (List *) &s->keepers) {
                Keeper *k = keeper_from_link(i);

                if (strcasecmp(keeper_name(k), uuid) == 0)
                        return k;
        }
        return NULL;
}

/* The page that a machine has: named by its UUID, else by its name. */
static Keeper *store_find_machine(const Store *s, const char *name, const char *uuid) {
        Keeper *k = str_empty(uuid) ? NULL : store_find_uuid(s, uuid);

        return k || str_empty(name) ? k : store_find(s, name);
}

/* directories */

static int open_directory(int parent, const char *name, mode_t mode) {
        _cleanup_close_ int fd = -1;
        struct stat st;

        if (mkdirat(parent, name, mode) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (st.st_uid != geteuid())
                return -EPERM;
        /* Whatever the umask was, and who made it. */
        if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
                return -errno;
        return TAKE_FD(fd);
}

static int store_open_directories(Store *s) {
        _cleanup_close_ int parent = -1;

        store_close_directories(s);
        /* It is there already, but for a daemon that nobody made one for. */
        (void) mkdir(s->directory, 0755);
        parent = open(s->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (parent < 0)
                return -errno;
        s->place.pages = open_directory(parent, "pages", 0755);
        if (s->place.pages < 0)
                return s->place.pages;
        s->place.states = open_directory(parent, "page-state", 0700);
        if (s->place.states < 0)
                return s->place.states;
        /* Those that are loaded already go on with what they know. */
        if (s->place.scratch < 0)
                s->place.scratch = memfd_create("page-scratch", MFD_CLOEXEC);
        if (s->place.scratch < 0 || ftruncate(s->place.scratch, PAGE_SIZE_BYTES) < 0)
                return -errno;
        return 0;
}

/* what is there */

static void store_add(Store *s, Keeper *k) {
        keeper_link(k, &s->keepers);
        s->n_keepers++;
}

static bool is_socket_name(const char *name) {
        size_t n = strlen(name), suffix = strlen(SOCKET_SUFFIX);

        return n > suffix && str_equal(name + n - suffix, SOCKET_SUFFIX);
}

static int store_take_over(Store *s, const char *name) {
        Keeper *k;
        int r;

        if (!keeper_name_is_valid(name) || is_socket_name(name) || store_find(s, name))
                return 0;
        if (s->n_keepers >= PAGES_MAX)
                return -E2BIG;
        r = keeper_load(&s->place, name, &k);
        if (r < 0)
                return r;
        store_add(s, k);
        return 0;
}

/*
 * One that cannot be taken over is no reason to leave the others; but of one that we lack something for,
 * the totals may not begin anew.
 */
static int store_scan(Store *s, int directory) {
        const struct dirent *e;
        int fd, r = 0;
        DIR *d;

        fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        d = fd >= 0 ? fdopendir(fd) : NULL;
        if (!d) {
                r = -errno;
                if (fd >= 0)
                        (void) close(fd);
                return r;
        }
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is our own */
        while (!error_is_passing(r) && (e = readdir(d))) {
                r = store_take_over(s, e->d_name);
                if (r < 0)
                        LOG(s,
                            LOG_WARNING,
                            "Page %s is not taken over: %s",
                            e->d_name,
                            strerrordesc_np(-r));
        }
        (void) closedir(d);
        return error_is_passing(r) ? r : 0;
}

static int store_open(Store *s) {
        int r;

        r = store_open_directories(s);
        if (r >= 0)
                r = store_scan(s, s->place.states);
        if (r >= 0)
                r = store_scan(s, s->place.pages);
        return r;
}

/* making */

static int parse_owner(const char *text, uid_t *ret, const char **ret_why) {
        int r = owner_parse(text, ret);

        if (r < 0)
                *ret_why = r == -EINVAL ? "there is no such user" : "the user cannot be looked up";
        return r;
}

static int check_new(
                const Store *s,
                const char *name,
                const KeeperOptions *options,
                const char **ret_why) {
        if (!s->is_open) {
                *ret_why = "the pages' directory cannot be used";
                return -ENOTDIR;
        }
        if (!keeper_name_is_valid(name) || is_socket_name(name))
                *ret_why = "a page's name is 1 to 100 letters, digits, _, . and -, with no . first "
                           "and no .sock last";
        else if (options->vectors > PEER_VECTORS_MAX)
                *ret_why = "a doorbell has 16 vectors at most";
        else if (store_find(s, name))
                return -EEXIST;
        else if (s->n_keepers >= PAGES_MAX)
                *ret_why = "there are too many pages";
        else
                return 0;
        return -EINVAL;
}

static int store_make(
                Store *s, const char *name, const KeeperOptions *options, const char **ret_why) {
        Keeper *k;
        int r;

        r = check_new(s, name, options, ret_why);
        if (r >= 0)
                r = keeper_create(&s->place, name, options, &k, ret_why);
        if (r < 0)
                return r;
        store_add(s, k);
        return 0;
}

/* settings */

/* "NAME [OWNER [VECTORS [notify]]]"; the words are borrowed from @text, which is changed. */
static size_t split(char *text, char *words[static SETTING_WORDS_MAX + 1]) {
        char *state = NULL;
        size_t n = 0;

        for (char *w = strtok_r(text, " \t", &state); w && n <= SETTING_WORDS_MAX;
             w = strtok_r(NULL, " \t", &state))
                words[n++] = w;
        return n;
}

static int parse_vectors(const char *text, unsigned *ret) {
        if (!*text || strlen(text) > 2 || text[strspn(text, "0123456789")])
                return -EINVAL;
        *ret = (unsigned) strtoul(text, NULL, 10);
        return 0;
}

/* One that is there stays as it is: a VMM may have it. */
static int store_check_same(Store *s, const char *name, const KeeperOptions *options) {
        const Keeper *k = store_find(s, name);

        if (keeper_is_as(k, options))
                return 0;
        LOG(s,
            LOG_WARNING,
            "Page %s stays as it was made, and not as it is said now; it has to be removed before",
            name);
        return 0;
}

static int store_load_page(Store *s, const char *value, const char **ret_why) {
        _cleanup_free_ char *text = strdup(value);
        char *words[SETTING_WORDS_MAX + 1] = { 0 };
        KeeperOptions options = { .vectors = 1 };
        size_t n;
        int r;

        if (!text)
                return -ENOMEM;
        n = split(text, words);
        if (n == 0 || n > SETTING_WORDS_MAX) {
                *ret_why = "it is not NAME [OWNER [VECTORS [notify]]]";
                return -EINVAL;
        }
        if (n > 2 && parse_vectors(words[2], &options.vectors) < 0) {
                *ret_why = "the number of vectors is none";
                return -EINVAL;
        }
        if (n > 3 && !str_equal(words[3], "notify")) {
                *ret_why = "the last word can only be notify";
                return -EINVAL;
        }
        options.notifies = n > 3;
        r = parse_owner(words[1], &options.owner, ret_why);
        if (r < 0)
                return r;
        return store_find(s, words[0]) ? store_check_same(s, words[0], &options)
                                       : store_make(s, words[0], &options, ret_why);
}

static void store_load_setting(Store *s, const struct suspendd_setting *setting) {
        const char *why = NULL;
        int r;

        if (!str_equal(setting->key, "Page")) {
                LOG(s,
                    LOG_WARNING,
                    "%s:%u: unknown setting %s=, left out",
                    setting->file,
                    setting->line,
                    setting->key);
                return;
        }
        r = store_load_page(s, setting->value, &why);
        if (r < 0)
                LOG(s,
                    LOG_WARNING,
                    "%s:%u: no page is made: %s",
                    setting->file,
                    setting->line,
                    why ?: strerrordesc_np(-r));
}

int store_load(void *instance, const struct suspendd_setting *settings, size_t n_settings) {
        Store *s = instance;
        int r;

        if (!s->is_open) {
                r = store_open(s);
                if (r < 0) {
                        LOG(s,
                            LOG_ERR,
                            "No pages: %s cannot be used: %s",
                            s->directory,
                            strerrordesc_np(-r));
                        return r;
                }
                s->is_open = true;
        }
        for (size_t i = 0; i < n_settings; i++)
                store_load_setting(s, &settings[i]);
        doorbells_settle(s->place.doorbells);
        s->host->enumerated(s->host);
        return 0;
}

/* use */

int store_drift(void *instance, const struct suspendd_drift *drift) {
        Store *s = instance;
        Keeper *k = store_find_machine(s, drift->name, drift->uuid);
        int r;

        if (!k || !keeper_is_for(k, drift->run))
                return 0;
        r = keeper_drift(k, drift);
        store_plan_refresh(s);
        return r;
}

const char *store_page_name(void *instance, const char *name, const char *uuid) {
        Store *s = instance;
        const Keeper *k = store_find_machine(s, name, uuid);

        return k ? keeper_name(k) : NULL;
}

int store_answer(void *instance, const char *name, const char *uuid, struct suspendd_answer *ret) {
        Store *s = instance;
        Keeper *k = store_find_machine(s, name, uuid);

        return k ? keeper_answer(k, ret) : 0;
}

int store_create(
                void *instance,
                const char *name,
                const char *owner,
                unsigned vectors,
                int notifies,
                const char **ret_why) {
        Store *s = instance;
        KeeperOptions options = { .vectors = vectors, .notifies = notifies };
        int r;

        r = parse_owner(owner, &options.owner, ret_why);
        return r < 0 ? r : store_make(s, name, &options, ret_why);
}

int store_remove(void *instance, const char *name, int force, const char **ret_why) {
        Store *s = instance;
        Keeper *k = store_find(s, name);

        if (!k)
                return -ENOENT;
        if (!force && keeper_is_used(k)) {
                *ret_why = "a VMM is connected to its doorbell";
                return -EBUSY;
        }
        s->n_keepers--;
        if (keeper_remove(k) < 0)
                LOG(s,
                    LOG_NOTICE,
                    "Page %s is removed, but not its file, which somebody has open",
                    name);
        return 0;
}

char *store_list(void *instance) {
        Store *s = instance;
        _cleanup_json_ JsonObject *array = json_object_new_array();
        const char *text;

        if (!array)
                return NULL;
        LIST_FOREACH(i, &s->keepers) {
                JsonObject *o = keeper_describe(keeper_from_link(i));

                if (!o || json_object_array_add(array, o) < 0) {
                        (void) json_object_put(o);
                        return NULL;
                }
        }
        text = json_object_to_json_string_ext(array, JSON_C_TO_STRING_PLAIN);
        return text ? strdup(text) : NULL;
}
