/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Configuration
 *
 * suspendd.conf and its drop-ins, as suspendd.conf(5) describes them, merged by systemd's rules
 * (/etc over /run over /usr/lib; *.conf of all suspendd.conf.d sorted by name, the same name masks,
 * an empty file or a link to /dev/null switches off; a later value replaces an earlier; to a list it
 * adds, also to the default, and an empty one empties it). Each bad line is reported with file and line and left out; the rest counts.
 *
 * A Config belongs to the Manager and does not change; a reload makes a new one.
 */

#include "daemon/policy.h"
#include "plugins/plugin-api.h"

typedef struct Config Config;

struct Config {
        uint64_t budget_max_usec; /* BudgetMaxSec=: cap of our own on what logind allows */
        unsigned suspend_share;   /* SuspendShare=: percent of the budget that a suspend may take */
        uint64_t time_limit_usec; /* TimeLimitSec=: how long an agent may take to come back */
        bool wait_for_hooks;  /* WaitForHooks=: machines run when systemd-sleep's hooks are done */
        unsigned history_max; /* HistoryMax=: records kept */
        uint64_t history_size_max;     /* HistorySizeMax=: bytes kept */
        char **plugins;                /* Plugins=: names, NULL-terminated; "qmp" unless emptied */
        unsigned n_errors;             /* lines that were left out */
        struct ConfigPrivate *private; /* policies by glob, settings by plugin */
};

/* lifetime */

/*
 * Reads the configuration; @file instead of all the usual places, or NULL. Bad lines are logged as
 * "FILE:LINE: …". A missing file is no error unless it was named.
 *
 * Returns: 0; -ENOENT if @file is not there; -EPERM if somebody else could have written it; another
 * errno if it cannot be read; -ENOMEM.
 */
int config_load(const char *file, Config **ret);

/* The same of other directories than the usual ones, in order of precedence, NULL-terminated. */
int config_load_directories(const char *const *directories, Config **ret);

/* The same of a text that has been read already from what is called @file. */
int config_load_text(const char *file, const char *text, size_t size, Config **ret);

/*
 * What config_load() reads and then, over it, what config_keep() has written to @kept: whatever is wrong
 * with the one or the other is logged, and the rest counts.
 *
 * Returns: 0; -ENOMEM.
 */
int config_load_with_kept(const char *file, const char *kept, Config **ret);

Config *config_free(Config *c);

DEFINE_CLEANUP(Config *, config_free);

/*
 * Writes all that was read to one file at @path, by which the same is known again should the files have
 * changed. Returns: 0; -EFBIG if that would not be read; -ENOMEM; another errno.
 */
int config_keep(const Config *c, const char *path);

/* what it says */

/*
 * The policy for a machine: [Machine GLOB] sections whose glob matches its name or UUID, in order,
 * later settings over earlier ones. @ret_source (may be NULL) is "default" or "FILE:LINE" of the mode,
 * borrowed from @c.
 */
void config_policy(
                const Config *c,
                const char *name,
                const char *uuid,
                Policy *ret,
                const char **ret_source);

/* Whether Plugins= names it. */
bool config_has_plugin(const Config *c, const char *name);

/* The lines of [Plugin NAME], in order; borrowed from @c. Returns: how many. */
size_t config_plugin_settings(
                const Config *c, const char *plugin, const struct suspendd_setting **ret_settings);
