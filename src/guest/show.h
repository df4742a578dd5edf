/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Show
 *
 * What is in the page, what has been made good of it, and what would be done now. Changes nothing.
 */

#include "guest/reader.h"

/* Prints it on standard output, as text or as one line of JSON. */
Status show(const ReaderOptions *options, bool is_json);
