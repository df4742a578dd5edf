/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/process.h"
#include <errno.h>
#include <inttypes.h>
#include "common/macro.h"

/* Field 22 of /proc/PID/stat, counted behind the name, which may hold anything. */
static int process_start_time(pid_t pid, uint64_t *ret) {
        char path[64], stat[1024], *p;
        _cleanup_fclose_ FILE *f = NULL;
        size_t n;

        (void) snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
        f = fopen(path, "re");
        if (!f)
                return -errno;
        n = fread(stat, 1, sizeof(stat) - 1, f);
        stat[n] = 0;
        p = strrchr(stat, ')');
        for (int field = 2; p && field < 22; field++)
                p = strchr(p + 1, ' ');
        if (!p || sscanf(p, " %" SCNu64, ret) != 1)
                return -EBADMSG;
        return 0;
}

int process_run_string(pid_t pid, char **ret) {
        uint64_t start_time;
        char *run;
        int n;

        if (process_start_time(pid, &start_time) < 0)
                n = asprintf(&run, "%d", (int) pid);
        else
                n = asprintf(&run, "%d.%" PRIu64, (int) pid, start_time);
        if (n < 0)
                return -ENOMEM;
        *ret = run;
        return 0;
}

bool process_has_ended(const char *run) {
        uint64_t since, now = 0, first;
        int pid, r;

        /* A /proc that hides other people's processes would hide the first one. */
        if (sscanf(run, "%d.%" SCNu64, &pid, &since) != 2 || process_start_time(1, &first) < 0)
                return false;
        r = process_start_time(pid, &now);
        return r == -ENOENT || (r >= 0 && now != since);
}

/* The effective one: the second of proc(5)'s "Uid:" in status. /proc/PID itself is root's for some. */
static int process_effective_user(int pid, uid_t *ret) {
        char path[64], line[256];
        _cleanup_fclose_ FILE *f = NULL;
        unsigned real, effective;

        (void) snprintf(path, sizeof(path), "/proc/%d/status", pid);
        f = fopen(path, "re");
        if (!f)
                return -errno;
        while (fgets(line, sizeof(line), f))
                if (sscanf(line, "Uid: %u %u", &real, &effective) == 2) {
                        *ret = effective;
                        return 0;
                }
        return -EINVAL;
}

int process_user(const char *run, uid_t *ret) {
        uid_t user;
        uint64_t since, now;
        int pid, r;

        if (sscanf(run, "%d.%" SCNu64, &pid, &since) != 2)
                return -EINVAL;
        r = process_effective_user(pid, &user);
        if (r < 0)
                return r == -ENOENT ? -ESRCH : -EINVAL;
        /* After it: the PID may have been given to another one in between. */
        if (process_start_time(pid, &now) < 0 || now != since)
                return -ESRCH;
        *ret = user;
        return 0;
}
