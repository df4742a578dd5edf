/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/process.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include "common/macro.h"
#include "common/passing-error.h"

/* PF_EXITING of the kernel's linux/sched.h: set before a process's files are closed. */
#define FLAG_EXITING 0x4U

/* The field @i of /proc/PID/stat, counted behind the name, which may hold anything; NULL. */
static const char *stat_field(const char *stat, int i) {
        const char *p = strrchr(stat, ')');

        for (int field = 2; p && field < i; field++)
                p = strchr(p + 1, ' ');
        return p ? p + 1 : NULL;
}

static int stat_read(pid_t pid, char *buf, size_t size) {
        _cleanup_close_ int fd = -1;
        char path[64];
        ssize_t n;

        (void) snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, buf, size - 1);
        if (n < 0)
                return errno == ESRCH ? -ENOENT : -errno;
        buf[n] = 0;
        return 0;
}

/* When a process was started. Returns: 0; -ENOENT if there is none, or only what is left of it; -EBADMSG. */
static int process_start_time(pid_t pid, uint64_t *ret) {
        const char *state, *flags, *start;
        unsigned flag_bits;
        char stat[1024];
        int r;

        r = stat_read(pid, stat, sizeof(stat));
        if (r < 0)
                return r;
        state = stat_field(stat, 3);
        flags = stat_field(stat, 9);
        start = stat_field(stat, 22);
        if (!state || !flags || !start || sscanf(flags, "%u", &flag_bits) != 1 ||
            sscanf(start, "%" SCNu64, ret) != 1)
                return -EBADMSG;
        return *state == 'Z' || *state == 'X' || (flag_bits & FLAG_EXITING) ? -ENOENT : 0;
}

int process_run_string(pid_t pid, char **ret) {
        uint64_t start_time;
        char *run;
        int n, r;

        r = process_start_time(pid, &start_time);
        if (error_is_passing(r))
                return r;
        if (r < 0)
                n = asprintf(&run, "%d", (int) pid);
        else
                n = asprintf(&run, "%d.%" PRIu64, (int) pid, start_time);
        if (n < 0)
                return -ENOMEM;
        *ret = run;
        return 0;
}

/* Returns: 0; -EINVAL if there is no start in it. */
static int parse_run(const char *run, pid_t *ret_pid, uint64_t *ret_since) {
        const char *since = strrchr(run, '.'), *pid = since;
        char *end;
        long n;

        if (!since)
                return -EINVAL;
        while (pid > run && pid[-1] != '.')
                pid--;
        n = strtol(pid, &end, 10);
        if (end != since || n <= 0 || n > INT_MAX)
                return -EINVAL;
        if (sscanf(since, ".%" SCNu64, ret_since) != 1)
                return -EINVAL;
        *ret_pid = (pid_t) n;
        return 0;
}

int process_find(const char *run, pid_t *ret) {
        uint64_t since, now = 0;
        pid_t pid;
        int r;

        r = parse_run(run, &pid, &since);
        if (r < 0)
                return r;
        r = process_start_time(pid, &now);
        if (r == -ENOENT || (r >= 0 && now != since))
                return -ESRCH;
        if (r < 0)
                return error_is_passing(r) ? r : -EINVAL;
        *ret = pid;
        return 0;
}

bool process_are_told(void) {
        uint64_t first;

        return process_start_time(1, &first) >= 0;
}

bool process_has_ended(const char *run) {
        pid_t pid;

        return process_are_told() && process_find(run, &pid) == -ESRCH;
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
        return ferror(f) ? -errno : -EINVAL;
}

int process_user(const char *run, uid_t *ret) {
        uid_t user;
        pid_t pid;
        int r;

        r = process_find(run, &pid);
        if (r < 0)
                return r;
        r = process_effective_user(pid, &user);
        if (r == -ENOENT || r == -ESRCH)
                return -ESRCH;
        if (r < 0)
                return error_is_passing(r) ? r : -EINVAL;
        /* Again: the PID may have been given to another one in between. */
        r = process_find(run, &pid);
        if (r < 0)
                return r;
        *ret = user;
        return 0;
}
