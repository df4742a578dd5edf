/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Event Record
 *
 * What a fake has seen and done, as a JSON array that a test can read at any time. Each entry has
 * a CLOCK_MONOTONIC stamp. Text from outside is escaped; entries beyond a megabyte are dropped.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "common/macro.h"

typedef struct Record {
        char *text;
        size_t n_bytes;
        size_t n_allocated;
} Record;

/* Returns: CLOCK_MONOTONIC in nanoseconds. */
int64_t monotonic_ns(void);

/* Appends {"t_ns": now, "event": @event, "text": @text}; @text may be NULL. */
void record_add(Record *r, const char *event, const char *text);

/* Forgets all entries and frees the memory. */
void record_clear(Record *r);

/* Writes the whole array to @f. */
void record_print(const Record *r, FILE *f);

/* Writes @s to @f as a JSON string, in quotes. */
void json_print_string(FILE *f, const char *s);
