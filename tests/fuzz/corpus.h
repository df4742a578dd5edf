/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Corpus
 *
 * The files of a folder, one after another in the order of their names, each in memory of just its size.
 */

#include "fuzz.h"

typedef void (*CorpusFn)(const char *name, const uint8_t *data, size_t size);

/* Calls @fn for each. Returns: how many; -1 if there is no such folder. */
int corpus_walk(const char *folder, CorpusFn fn);
