/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Fuzzer
 *
 * What each fuzz-NAME.c defines: libFuzzer's entry, which replay.c calls as well with what stands
 * in the corpus. A fuzzer states what must hold for any input, not only that nothing crashes.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "common/macro.h"

/* assert() may be compiled out. */
#define HOLDS(_expression)          \
        do {                        \
                if (!(_expression)) \
                        abort();    \
        } while (false)

_public_ int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
