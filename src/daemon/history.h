/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Cycle History
 *
 * One JSON record a cycle, a file each (NUMBER.json, written aside and renamed), bounded in number
 * and in bytes: the oldest go first. A record that does not fit any more is cut to its head, never
 * lost.
 */

#include "common/macro.h"

typedef struct History History;

/*
 * Opens the directory @path, made if missing.
 *
 * Returns: 0; a negative errno if the directory cannot be used.
 */
int history_open(const char *path, unsigned max_records, uint64_t max_bytes, History **ret);
History *history_free(History *h);

DEFINE_CLEANUP(History *, history_free);

void history_set_limits(History *h, unsigned max_records, uint64_t max_bytes);

/* The number for the next cycle: one more than the newest record's, from 1. */
uint64_t history_next_number(const History *h);

/* Stores @json (one object) as the record @number and lets go of what is too much. */
int history_append(History *h, uint64_t number, const char *json);

/*
 * Reads the newest @max records, oldest first, into a NULL-terminated array that the caller frees
 * with its strings. A file that is no JSON object or too large is skipped with a log line.
 */
int history_read(History *h, unsigned max, char ***ret);
char **history_records_free(char **records);

DEFINE_CLEANUP(char **, history_records_free);
