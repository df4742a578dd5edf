/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Configuration Files
 *
 * Which files make up the configuration, by systemd's rules: the main file from the first directory
 * that has it; then the drop-ins of all directories, sorted by name, of two with the same name that
 * of the earlier directory. An empty file, or a link to /dev/null, counts as being there.
 */

#include "common/macro.h"

/* The usual directories, in order of precedence, NULL-terminated. */
extern const char *const config_directories[];

/*
 * Lists the files in the order in which they are to be read: DIRECTORY/suspendd.conf, then
 * DIRECTORY/suspendd.conf.d / *.conf. The caller frees the NULL-terminated array with its strings.
 *
 * Returns: 0; -ENOMEM.
 */
int config_files_list(const char *const *directories, char ***ret);
char **config_files_free(char **files);

DEFINE_CLEANUP(char **, config_files_free);

/* What config_file_read() takes at most. */
#define CONFIG_FILE_SIZE_MAX (1024 * 1024)

/*
 * Reads a whole file into a NUL-terminated text that the caller frees. Only a regular file of root's
 * or our own that nobody else can write, nor put there, is believed; /dev/null counts as empty.
 *
 * Returns: 0; -ENOENT; -EPERM with the reason in *@ret_why (static) if somebody else could have written it; -EFBIG
 * over 1 MiB; -EINVAL if it is no regular file; -ENOMEM; others as safe_path_open(), open(2) and read(2) have them.
 */
int config_file_read(const char *path, char **ret_text, size_t *ret_size, const char **ret_why);
