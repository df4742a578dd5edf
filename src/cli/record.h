/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Cycle Records
 *
 * What the history's record of a cycle says, in short and at length.
 */

#include "cli/output.h"

/* The record in one row: what it has itself, and its machines counted. */
JsonObject *record_summary(JsonObject *record);

/* The summaries as a table. Returns: 0; -ENOMEM. */
int record_print_summaries(const Output *o, JsonObject *summaries);

/* A few lines on the record as a whole, and the table of its machines. Returns: 0; -ENOMEM. */
int record_print(const Output *o, JsonObject *record);

/* A line for each correction of a machine's clock after the cycle's own, each beginning with @head. */
void record_print_later(const Output *o, JsonObject *machine, const char *head);

/* Whether the cycle left a machine, or its clock, not as it should be. */
bool record_is_wrong(JsonObject *record);
