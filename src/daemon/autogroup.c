/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/autogroup.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include "common/macro.h"

int autogroup_take_nice(void) {
        int nice_value = getpriority(PRIO_PROCESS, 0);
        _cleanup_close_ int fd = -1;

        /* The session of a terminal is not ours to change. */
        if (nice_value == 0 || getsid(0) != getpid())
                return 0;
        fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        return dprintf(fd, "%d", nice_value) < 0 ? -errno : 1;
}
