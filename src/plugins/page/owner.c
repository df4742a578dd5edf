/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/owner.h"
#include <errno.h>
#include <pwd.h>
#include "common/macro.h"

#define ENTRY_SIZE (64 * 1024)

static int owner_look_up(const char *name, uid_t *ret) {
        _cleanup_free_ char *buf = malloc(ENTRY_SIZE);
        struct passwd entry, *found;
        int r;

        if (!buf)
                return -ENOMEM;
        r = getpwnam_r(name, &entry, buf, ENTRY_SIZE, &found);
        if (r != 0 && r != ENOENT && r != ESRCH)
                return -EIO;
        if (r != 0 || !found)
                return -EINVAL;
        *ret = entry.pw_uid;
        return 0;
}

int owner_parse(const char *text, uid_t *ret) {
        unsigned long long v;
        char *end;

        if (str_empty(text)) {
                *ret = 0;
                return 0;
        }
        if (text[strspn(text, "0123456789")])
                return owner_look_up(text, ret);

        errno = 0;
        v = strtoull(text, &end, 10);
        if (errno != 0 || *end || v >= (uid_t) -1)
                return -EINVAL;
        *ret = (uid_t) v;
        return 0;
}
