/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A library that is there when a plugin is built, and not when it is loaded. */

#include "common/macro.h"

_public_ int absent(void);

int absent(void) {
        return 0;
}
