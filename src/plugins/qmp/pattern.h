/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Pattern
 *
 * Where monitors' sockets are to be looked for: one setting of the configuration, or one machine
 * registered by hand. A path is absolute; in one that is not literal, *, ? and […] stand for parts of
 * a name, never for a slash or a leading dot.
 */

#include "common/macro.h"
#include "plugins/plugin-api.h"

typedef struct Pattern {
        char *path;
        char *name;  /* the machine's, or NULL */
        char *agent; /* its agent's socket, or NULL for the rule of pattern_agent_path() */
        bool is_literal, is_registered;
} Pattern;

typedef struct Patterns {
        Pattern *items;
        size_t n;
} Patterns;

void patterns_done(Patterns *p);

/*
 * Appends what one setting says: Socket=PATTERN, Directory=PATH, Monitor=NAME PATH [AGENTPATH].
 *
 * Returns: 0; -ENOMEM; -EINVAL with the reason in *@ret_why (static).
 */
int patterns_add_setting(Patterns *p, const char *key, const char *value, const char **ret_why);

/* Appends a machine registered by hand. Returns: as patterns_add_setting(); -EEXIST if it was before. */
int patterns_add_registered(
                Patterns *p,
                const char *name,
                const char *path,
                const char *agent,
                const char **ret_why);

/* Moves the registered ones out of @from to the end of @p. Returns: 0; -ENOMEM. */
int patterns_take_registered(Patterns *p, Patterns *from);

/* Forgets the registered one at @path. Returns: 0; -ENOENT. */
int patterns_remove_registered(Patterns *p, const char *path);

/* The pattern that says most about the monitor at @path: a literal one before others; or NULL. */
const Pattern *patterns_find(const Patterns *p, const char *path);

/* Whether something that is called @name may be, or lie on the way to, a monitor or an agent. */
bool patterns_care(const Patterns *p, const char *name);

/* Whether @name is one that pattern_agent_path() gives: then it is no monitor. */
bool pattern_is_agent(const char *name);

/*
 * Where the agent of the monitor at @path is: beside it, with qmp in its name replaced by qga, or
 * monitor by agent. Returns: 0, and NULL if the name contains neither; -ENOMEM.
 */
int pattern_agent_path(const char *path, char **ret);
