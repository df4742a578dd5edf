/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/autogroup.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include "common/macro.h"
#include "common/time-util.h"
#include "daemon/log.h"

#define AGAIN_USEC (150 * USEC_PER_MSEC)

static int write_nice(int nice_value) {
        _cleanup_close_ int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        return dprintf(fd, "%d", nice_value) < 0 ? -errno : 1;
}

static int on_again(sd_event_source *source, _unused_ uint64_t usec, _unused_ void *userdata) {
        (void) autogroup_take_nice(sd_event_source_get_event(source));
        return 0;
}

int autogroup_take_nice(sd_event *event) {
        int nice_value = getpriority(PRIO_PROCESS, 0), r;

        /* The session of a terminal is not ours to change. */
        if (nice_value == 0 || getsid(0) != getpid())
                return 0;
        r = write_nice(nice_value);
        if (r == -EAGAIN)
                r = sd_event_add_time_relative(
                                event,
                                NULL,
                                CLOCK_MONOTONIC,
                                AGAIN_USEC,
                                AGAIN_USEC,
                                on_again,
                                NULL);
        if (r < 0)
                log_with(NULL, LOG_DEBUG, r, "Nice= of the unit counts within the session alone");
        return r;
}
