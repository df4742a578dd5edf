/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config.h"
#include <fnmatch.h>
#include <stdarg.h>
#include "common/file-replace.h"
#include "common/time-util.h"
#include "daemon/config-files.h"
#include "daemon/config-parser.h"
#include "daemon/log.h"

#define PLUGIN_NAME_MAX 64

typedef enum SectionType {
        SECTION_MANAGER,
        SECTION_MACHINE,
        SECTION_PLUGIN,
} SectionType;

typedef enum PolicyField {
        POLICY_MODE,
        POLICY_TIME_SYNC,
        POLICY_TIME_THRESHOLD,
        POLICY_BACKWARD_MAX,
        POLICY_FIELD_MAX,
} PolicyField;

/* One line of a [Machine GLOB] section. */
typedef struct PolicyRule {
        char *glob;
        char *source; /* "FILE:LINE", or NULL where an empty value went back to the default */
        PolicyField field;
        Policy value; /* of which the field counts */
} PolicyRule;

/* The lines of all [Plugin NAME] sections of one name. */
typedef struct PluginSettings {
        char *name;
        struct suspendd_setting *settings;
        size_t n;
} PluginSettings;

struct ConfigPrivate {
        PolicyRule *rules;
        size_t n_rules;
        PluginSettings *plugins;
        size_t n_plugins;
        char **files; /* which settings borrow */
        size_t n_files;
        char *text; /* of all files, for config_keep() */
        size_t text_size;

        /* while a file is being read */
        const char *file;
        SectionType section;
        char *section_arg; /* GLOB or NAME */
        int error;         /* -ENOMEM */
};

/* lifetime */

static char **strings_free(char **strings) {
        for (char **s = strings; s && *s; s++)
                free(*s);
        free(strings);
        return NULL;
}

static bool strings_have(char **strings, const char *s) {
        for (; *strings; strings++)         /* NOANALYZE: realloc() has kept them */
                if (str_equal(*strings, s)) /* NOANALYZE: likewise */
                        return true;
        return false;
}

static int strings_append(char ***strings, const char *s) {
        size_t n = 0;
        char **grown;

        while (*strings && (*strings)[n])
                n++;

        grown = realloc(*strings, (n + 2) * sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        *strings = grown;
        grown[n + 1] = NULL;
        grown[n] = strdup(s);
        return grown[n] ? 0 : -ENOMEM;
}

static void config_private_free(struct ConfigPrivate *p) {
        for (size_t i = 0; i < p->n_rules; i++) {
                free(p->rules[i].glob);
                free(p->rules[i].source);
        }
        free(p->rules);

        for (size_t i = 0; i < p->n_plugins; i++) {
                for (size_t k = 0; k < p->plugins[i].n; k++) {
                        free((char *) p->plugins[i].settings[k].key);
                        free((char *) p->plugins[i].settings[k].value);
                }
                free(p->plugins[i].settings);
                free(p->plugins[i].name);
        }
        free(p->plugins);

        for (size_t i = 0; i < p->n_files; i++)
                free(p->files[i]);
        free(p->files);
        free(p->text);
        free(p->section_arg);
        free(p);
}

Config *config_free(Config *c) {
        if (!c)
                return NULL;

        if (c->private)
                config_private_free(c->private);
        strings_free(c->plugins);
        free(c);
        return NULL;
}

static int config_new(Config **ret) {
        _cleanup_(config_freep) Config *c = NULL;
        int r;

        c = malloc(sizeof(*c));
        if (!c)
                return -ENOMEM;
        *c = (Config){
                .budget_max_usec = 10 * USEC_PER_SEC,
                .suspend_share = 60,
                .time_limit_usec = 20 * USEC_PER_SEC,
                .history_max = 100,
                .history_size_max = 4 * 1024 * 1024,
        };
        c->private = calloc(1, sizeof(*c->private));
        if (!c->private)
                return -ENOMEM;
        r = strings_append(&c->plugins, "qmp");
        if (r < 0)
                return r;

        *ret = TAKE_PTR(c);
        return 0;
}

/* what is wrong */

static _printf_(3, 4) void config_error(Config *c, unsigned line, const char *format, ...) {
        char why[320];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(why, sizeof(why), format, ap);
        va_end(ap);

        c->n_errors++;
        (void) log_error("%s:%u: %s", c->private->file, line, why);
}

/* values; each returns 0, or a negative errno with nothing set */

static int parse_span(const char *s, uint64_t min_usec, uint64_t *ret_usec) {
        uint64_t usec;
        int r = time_span_parse(s, &usec);

        if (r < 0)
                return r;
        if (usec < min_usec)
                return -ERANGE;
        *ret_usec = usec;
        return 0;
}

static int parse_span_ns(const char *s, int64_t *ret_ns) {
        uint64_t usec;
        int r = parse_span(s, 0, &usec);

        if (r < 0)
                return r;
        *ret_ns = usec > (uint64_t) (INT64_MAX / NSEC_PER_USEC) ? INT64_MAX
                                                                : (int64_t) usec * NSEC_PER_USEC;
        return 0;
}

/* A decimal number and what stands behind it. */
static int parse_number(const char *s, uint64_t max, uint64_t *ret, const char **ret_end) {
        uint64_t v = 0;

        if (*s < '0' || *s > '9')
                return -EINVAL;
        for (; *s >= '0' && *s <= '9'; s++)
                if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
                    __builtin_add_overflow(v, (uint64_t) (*s - '0'), &v))
                        return -ERANGE;
        if (v > max)
                return -ERANGE;

        *ret = v;
        *ret_end = s;
        return 0;
}

static int parse_percent(const char *s, unsigned *ret) {
        const char *end;
        uint64_t v;
        int r;

        /* At 90 % the lock goes: what is asked for then is never overtaken in time. */
        r = parse_number(s, 90, &v, &end);
        if (r < 0)
                return r;
        if (!str_equal(end, "%") && *end)
                return -EINVAL;
        *ret = (unsigned) v;
        return 0;
}

/* As systemd has them. */
static int parse_boolean(const char *s, bool *ret) {
        static const char *const words[][6] = {
                { "no", "n", "false", "f", "off", "0" },
                { "yes", "y", "true", "t", "on", "1" },
        };

        for (size_t value = 0; value < ARRAY_LEN(words); value++)
                for (size_t i = 0; i < ARRAY_LEN(words[value]); i++)
                        if (strcasecmp(s, words[value][i]) == 0) {
                                *ret = value;
                                return 0;
                        }
        return -EINVAL;
}

static int parse_size(const char *s, uint64_t *ret) {
        static const char units[] = "KMG";
        const char *end, *unit;
        uint64_t v;
        int r;

        r = parse_number(s, UINT64_MAX >> 31, &v, &end);
        if (r < 0)
                return r;
        if (*end) {
                unit = strchr(units, *end);
                if (!unit || end[1])
                        return -EINVAL;
                v <<= 10 * (unit - units + 1);
        }
        *ret = v;
        return 0;
}

/* [Manager] */

static bool is_plugin_name(const char *s) {
        return *s && strlen(s) < PLUGIN_NAME_MAX &&
               strspn(s,
                      "abcdefghijklmnopqrstuvwxyz"
                      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                      "0123456789-_") == strlen(s);
}

/* Adds to the list, the default included: a package's drop-in brings its plugin and takes none away. */
static int set_plugins(Config *c, const char *value, unsigned line) {
        _cleanup_free_ char *copy = NULL;
        char *rest, *word;

        copy = strdup(value);
        if (!copy)
                return -ENOMEM;

        if (!*value) {
                c->plugins = strings_free(c->plugins);
                c->plugins = calloc(1, sizeof(*c->plugins));
                if (!c->plugins)
                        return -ENOMEM;
        }

        rest = copy;
        while ((word = strsep(&rest, " \t,"))) {
                if (!*word || strings_have(c->plugins, word))
                        continue;
                if (!is_plugin_name(word))
                        config_error(c, line, "'%s' is no plugin's name", word);
                else if (strings_append(&c->plugins, word) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int set_history_max(Config *c, const char *value) {
        const char *end;
        uint64_t v;
        int r = parse_number(value, 100000, &v, &end);

        if (r < 0)
                return r;
        if (*end)
                return -EINVAL;
        c->history_max = (unsigned) v;
        return 0;
}

/* Returns: 0; -ENOENT for an unknown key; what is wrong with the value. */
static int set_manager(Config *c, const char *key, const char *value, unsigned line) {
        if (str_equal(key, "BudgetMaxSec"))
                return parse_span(*value ? value : "10s", 1, &c->budget_max_usec);
        if (str_equal(key, "SuspendShare"))
                return parse_percent(*value ? value : "60%", &c->suspend_share);
        if (str_equal(key, "TimeLimitSec"))
                return parse_span(*value ? value : "20s", 1, &c->time_limit_usec);
        if (str_equal(key, "WaitForHooks"))
                return parse_boolean(*value ? value : "no", &c->wait_for_hooks);
        if (str_equal(key, "HistoryMax"))
                return set_history_max(c, *value ? value : "100");
        if (str_equal(key, "HistorySizeMax"))
                return parse_size(*value ? value : "4M", &c->history_size_max);
        if (str_equal(key, "Plugins"))
                return set_plugins(c, value, line);
        return -ENOENT;
}

/* [Machine GLOB] */

static const char *const policy_keys[] = {
        [POLICY_MODE] = "Mode",
        [POLICY_TIME_SYNC] = "TimeSync",
        [POLICY_TIME_THRESHOLD] = "TimeThresholdSec",
        [POLICY_BACKWARD_MAX] = "BackwardStepMaxSec",
};

static int parse_policy(PolicyField field, const char *value, Policy *ret) {
        switch (field) {
        case POLICY_MODE:
                ret->mode = mode_from_string(value);
                return ret->mode < 0 ? -EINVAL : 0;
        case POLICY_TIME_SYNC:
                ret->time_sync = time_sync_from_string(value);
                return ret->time_sync < 0 ? -EINVAL : 0;
        case POLICY_TIME_THRESHOLD:
                return parse_span_ns(value, &ret->time_threshold_ns);
        case POLICY_BACKWARD_MAX:
                return parse_span_ns(value, &ret->backward_max_ns);
        default:
                return -ENOENT;
        }
}

static void policy_copy_field(Policy *to, const Policy *from, PolicyField field) {
        switch (field) {
        case POLICY_MODE:
                to->mode = from->mode;
                break;
        case POLICY_TIME_SYNC:
                to->time_sync = from->time_sync;
                break;
        case POLICY_TIME_THRESHOLD:
                to->time_threshold_ns = from->time_threshold_ns;
                break;
        default:
                to->backward_max_ns = from->backward_max_ns;
                break;
        }
}

static int add_rule(struct ConfigPrivate *p, const PolicyRule *rule, unsigned line) {
        PolicyRule *rules, *added;

        rules = realloc(p->rules, (p->n_rules + 1) * sizeof(*rules));
        if (!rules)
                return -ENOMEM;
        p->rules = rules;

        added = &rules[p->n_rules++];
        *added = *rule;
        added->glob = strdup(p->section_arg);
        if (added->source && asprintf(&added->source, "%s:%u", p->file, line) < 0)
                added->source = NULL;
        return added->glob ? 0 : -ENOMEM;
}

static int set_machine(Config *c, const char *key, const char *value, unsigned line) {
        PolicyRule rule = { .field = POLICY_MODE, .value = POLICY_DEFAULT };

        while (rule.field < POLICY_FIELD_MAX && !str_equal(policy_keys[rule.field], key))
                rule.field++;
        if (rule.field == POLICY_FIELD_MAX)
                return -ENOENT;

        if (*value) {
                int r = parse_policy(rule.field, value, &rule.value);

                if (r < 0)
                        return r;
                rule.source = (char *) ""; /* add_rule() writes the real one */
        }
        return add_rule(c->private, &rule, line);
}

/* [Plugin NAME] */

static PluginSettings *plugin_settings(struct ConfigPrivate *p, const char *name) {
        PluginSettings *grown;

        for (size_t i = 0; i < p->n_plugins; i++)
                if (str_equal(p->plugins[i].name, name))
                        return &p->plugins[i];

        grown = realloc(p->plugins, (p->n_plugins + 1) * sizeof(*grown));
        if (!grown)
                return NULL;
        p->plugins = grown;
        grown[p->n_plugins] = (PluginSettings){ .name = strdup(name) };
        return grown[p->n_plugins].name ? &grown[p->n_plugins++] : NULL;
}

/* Forgets what came before under @key. */
static void plugin_settings_reset(PluginSettings *s, const char *key) {
        size_t n = 0;

        for (size_t i = 0; i < s->n; i++) {
                if (!str_equal(s->settings[i].key, key)) {
                        s->settings[n++] = s->settings[i];
                        continue;
                }
                free((char *) s->settings[i].key);
                free((char *) s->settings[i].value);
        }
        s->n = n;
}

static int set_plugin(Config *c, const char *key, const char *value, unsigned line) {
        PluginSettings *s = plugin_settings(c->private, c->private->section_arg);
        struct suspendd_setting *grown;

        if (!s)
                return -ENOMEM;
        if (!*value) {
                plugin_settings_reset(s, key);
                return 0;
        }
        grown = realloc(s->settings, (s->n + 1) * sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        s->settings = grown;
        grown[s->n++] = (struct suspendd_setting){
                .key = strdup(key),
                .value = strdup(value),
                .file = c->private->file,
                .line = line,
        };
        return grown[s->n - 1].key && grown[s->n - 1].value ? 0 : -ENOMEM;
}

/* a file */

/* The argument of a header "WORD ARG"; NULL if it begins with another word or has none. */
static const char *section_argument(const char *section, const char *word) {
        size_t n = strlen(word);

        if (strncmp(section, word, n) != 0 || (section[n] != ' ' && section[n] != '\t'))
                return NULL;
        section += n;
        section += strspn(section, " \t");
        return *section ? section : NULL;
}

static bool on_section(void *userdata, const char *section, unsigned line) {
        Config *c = userdata;
        struct ConfigPrivate *p = c->private;
        const char *arg = NULL;

        if (str_equal(section, "Manager")) {
                p->section = SECTION_MANAGER;
                return true;
        }

        if ((arg = section_argument(section, "Machine")))
                p->section = SECTION_MACHINE;
        else if ((arg = section_argument(section, "Plugin")) && is_plugin_name(arg))
                p->section = SECTION_PLUGIN;
        else {
                config_error(c,
                             line,
                             "unknown section [%s]; there are [Manager], [Machine GLOB] and [Plugin NAME]",
                             section);
                return false;
        }

        if (str_replace(&p->section_arg, arg) < 0) {
                p->error = -ENOMEM;
                return false;
        }
        return true;
}

static void on_setting(void *userdata, const char *key, const char *value, unsigned line) {
        Config *c = userdata;
        int r = 0;

        switch (c->private->section) {
        case SECTION_MANAGER:
                r = set_manager(c, key, value, line);
                break;
        case SECTION_MACHINE:
                r = set_machine(c, key, value, line);
                break;
        case SECTION_PLUGIN:
                r = set_plugin(c, key, value, line);
                break;
        }

        if (r == -ENOMEM)
                c->private->error = r;
        else if (r == -ENOENT)
                config_error(c, line, "unknown setting %s=", key);
        else if (r == -ERANGE)
                config_error(c, line, "%s=%s is out of range", key, value);
        else if (r < 0)
                config_error(c, line, "%s=%s is not understood", key, value);
}

static void on_error(void *userdata, unsigned line, const char *why) {
        config_error(userdata, line, "%s", why);
}

/* Nobody's section, so that what stands before a file's first one does not come into the last file's. */
static int config_add_to_text(struct ConfigPrivate *p, const char *text, size_t size) {
        static const char head[] = "\n[Plugin -]\n", mark[] = "\xef\xbb\xbf";
        const size_t n = sizeof(head) - 1;
        char *grown;

        if (size >= 3 && memcmp(text, mark, 3) == 0) {
                text += 3;
                size -= 3;
        }
        grown = realloc(p->text, p->text_size + n + size);
        if (!grown)
                return -ENOMEM;
        (void) memcpy(grown + p->text_size, head, n);
        if (size > 0)
                (void) memcpy(grown + p->text_size + n, text, size);
        p->text = grown;
        p->text_size += n + size;
        return 0;
}

static int config_add_text(Config *c, const char *file, const char *text, size_t size) {
        static const ConfigParserOps ops = {
                .on_section = on_section,
                .on_setting = on_setting,
                .on_error = on_error,
        };
        struct ConfigPrivate *p = c->private;
        char **files;

        files = realloc(p->files, (p->n_files + 1) * sizeof(*files));
        if (!files)
                return -ENOMEM;
        p->files = files;
        files[p->n_files] = strdup(file);
        if (!files[p->n_files])
                return -ENOMEM;

        p->file = files[p->n_files++];
        if (config_add_to_text(p, text, size) < 0)
                return -ENOMEM;
        config_parse(text, size, &ops, c);
        return p->error;
}

static int config_add_file(Config *c, const char *file) {
        _cleanup_free_ char *text = NULL;
        const char *why = NULL;
        size_t size;
        int r;

        r = config_file_read(file, &text, &size, &why);
        if (r == -EPERM && why) {
                (void) log_error("%s is not read: %s", file, why);
                return r;
        }
        if (r < 0 && r != -ENOMEM)
                return log_error_errno(r, "Cannot read %s", file);
        if (r < 0)
                return r;
        return config_add_text(c, file, text, size);
}

int config_load_text(const char *file, const char *text, size_t size, Config **ret) {
        _cleanup_(config_freep) Config *c = NULL;
        int r;

        r = config_new(&c);
        if (r < 0)
                return r;
        r = config_add_text(c, file, text, size);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

int config_load_directories(const char *const *directories, Config **ret) {
        _cleanup_(config_files_freep) char **files = NULL;
        _cleanup_(config_freep) Config *c = NULL;
        int r;

        r = config_new(&c);
        if (r < 0)
                return r;
        r = config_files_list(directories, &files);
        if (r < 0)
                return r;

        for (char **f = files; *f; f++) {
                r = config_add_file(c, *f);
                if (r == -ENOMEM)
                        return r;
                if (r < 0)
                        c->n_errors++;
        }
        *ret = TAKE_PTR(c);
        return 0;
}

int config_load(const char *file, Config **ret) {
        _cleanup_(config_freep) Config *c = NULL;
        int r;

        if (!file)
                return config_load_directories(config_directories, ret);

        r = config_new(&c);
        if (r < 0)
                return r;
        r = config_add_file(c, file);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

int config_load_with_kept(const char *file, const char *kept, Config **ret) {
        _cleanup_(config_freep) Config *c = NULL;
        int r;

        r = config_load(file, &c);
        if (r < 0 && r != -ENOMEM)
                r = config_new(&c);
        if (r >= 0)
                r = config_add_file(c, kept);
        if (r == -ENOMEM)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

int config_keep(const Config *c, const char *path) {
        const struct ConfigPrivate *p = c->private;

        return p->text_size <= CONFIG_FILE_SIZE_MAX
                               ? file_replace(path, p->text ?: "", p->text_size)
                               : -EFBIG;
}

/* what it says */

static bool rule_matches(const PolicyRule *rule, const char *name, const char *uuid) {
        return (name && fnmatch(rule->glob, name, 0) == 0) ||
               (uuid && fnmatch(rule->glob, uuid, FNM_CASEFOLD) == 0);
}

void config_policy(
                const Config *c,
                const char *name,
                const char *uuid,
                Policy *ret,
                const char **ret_source) {
        const char *source = "default";
        Policy policy = POLICY_DEFAULT;

        for (size_t i = 0; i < c->private->n_rules; i++) {
                const PolicyRule *rule = &c->private->rules[i];

                if (!rule_matches(rule, name, uuid))
                        continue;
                policy_copy_field(&policy, &rule->value, rule->field);
                if (rule->field == POLICY_MODE)
                        source = rule->source ? rule->source : "default";
        }

        *ret = policy;
        if (ret_source)
                *ret_source = source;
}

bool config_has_plugin(const Config *c, const char *name) {
        return c->plugins && strings_have(c->plugins, name);
}

size_t config_plugin_settings(
                const Config *c, const char *plugin, const struct suspendd_setting **ret_settings) {
        for (size_t i = 0; i < c->private->n_plugins; i++)
                if (str_equal(c->private->plugins[i].name, plugin)) {
                        *ret_settings = c->private->plugins[i].settings;
                        return c->private->plugins[i].n;
                }

        *ret_settings = NULL;
        return 0;
}
