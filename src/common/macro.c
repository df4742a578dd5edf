/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/macro.h"
#include <errno.h>

int str_replace(char **p, const char *s) {
        char *copy = NULL;

        if (s) {
                copy = strdup(s);
                if (!copy)
                        return -ENOMEM;
        }

        free(*p);
        *p = copy;
        return 0;
}
