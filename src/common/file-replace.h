/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * File Replace
 *
 * Small files of our own that are written as a whole: whoever reads one, also after an end at any
 * instant, finds what was there before or what is there now, and nothing between.
 */

#include <stddef.h>

/*
 * Puts a file with @text, @size bytes, that its owner alone may read in the place of what is at @path.
 *
 * Returns: 0; -ENOMEM; another errno, and what was there still is.
 */
int file_replace(const char *path, const char *text, size_t size);
