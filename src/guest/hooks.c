/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/hooks.h"
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "guest/log.h"
#include "guest/util.h"

#define N_VARIABLES 12
#define VARIABLE_MAX 96
#define NUMBER_MAX 24

const char *const hook_folders[] = { "/etc/suspend-guest/hooks.d",
                                     "/usr/lib/suspend-guest/hooks.d",
                                     NULL };

void hook_event_add(HookEvent *event, const DriftRecord *record, const LedgerNews *news) {
        switch (news->verdict) {
        case LEDGER_APPLY:
                event->applied_ns += news->owed_ns;
                break;
        case LEDGER_NOTED:
                event->noted_ns += news->owed_ns;
                break;
        case LEDGER_REFUSED:
        case LEDGER_IMPLAUSIBLE:
                event->refused_ns += news->owed_ns;
                break;
        default:
                break;
        }
        event->seen_ns += news->seen_ns;
        if (event->applied_ns + event->noted_ns + event->refused_ns + event->seen_ns == 0)
                return;
        event->is_set = true;
        event->epoch = record->epoch;
        event->cycles = record->cycles;
        event->total_unseen_ns = record->unseen_ns;
        event->total_seen_ns = record->seen_ns;
        event->host_realtime_ns = record->host_realtime_ns;
        event->host_stepped_ns = record->host_stepped_ns;
}

/* finding them */

static const char *base_name(const char *path) {
        return strrchr(path, '/') + 1;
}

static bool is_known(char *const *paths, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++)
                if (strcmp(base_name(paths[i]), name) == 0)
                        return true;
        return false;
}

/* What editors and packages leave behind is none. */
static bool is_name(const char *name) {
        size_t length = strlen(name);

        return name[0] != '.' && name[length - 1] != '~' && !strstr(name, ".dpkg-") &&
               !strstr(name, ".rpm");
}

static size_t find_in(const char *folder, char **paths, size_t n) {
        const struct dirent *e;
        DIR *d = opendir(folder);

        while (d && n < HOOKS_MAX &&
               (e = readdir(d))) { /* NOLINT(concurrency-mt-unsafe): one thread */
                if (!is_name(e->d_name) || is_known(paths, n, e->d_name))
                        continue;
                if (asprintf(&paths[n], "%s/%s", folder, e->d_name) < 0)
                        break;
                n++;
        }
        if (d)
                (void) closedir(d);
        return n;
}

/* Others' files are not run as root. */
static bool may_run(const char *path) {
        struct stat st;

        if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & S_IXUSR))
                return false;
        if ((st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & (S_IWOTH | S_IWGRP)))
                return true;
        log_warning("%s: not run: it can be written by others than root", path);
        return false;
}

static int by_name(const void *a, const void *b) {
        return strcmp(base_name(*(char *const *) a), base_name(*(char *const *) b));
}

size_t hooks_find(const char *const *folders, char *ret_paths[HOOKS_MAX]) {
        size_t n = 0, n_kept = 0;

        for (; *folders; folders++)
                n = find_in(*folders, ret_paths, n);
        for (size_t i = 0; i < n; i++)
                if (may_run(ret_paths[i]))
                        ret_paths[n_kept++] = ret_paths[i];
                else
                        free(ret_paths[i]);
        qsort(ret_paths, n_kept, sizeof(*ret_paths), by_name);
        return n_kept;
}

/* running them */

typedef struct Environment {
        char texts[N_VARIABLES][VARIABLE_MAX];
        char *list[N_VARIABLES + 1];
        size_t n;
} Environment;

static void add_text(Environment *e, const char *name, const char *value) {
        (void) snprintf(e->texts[e->n], VARIABLE_MAX, "%s=%s", name, value);
        e->list[e->n] = e->texts[e->n];
        e->list[++e->n] = NULL;
}

static void add_number(Environment *e, const char *name, uint64_t value) {
        char text[NUMBER_MAX];

        (void) snprintf(text, sizeof(text), "%" PRIu64, value);
        add_text(e, name, text);
}

static void add_time(Environment *e, const char *name, int64_t value) {
        char text[NUMBER_MAX];

        (void) snprintf(text, sizeof(text), "%" PRId64, value);
        add_text(e, name, text);
}

static void make_environment(Environment *e, const HookEvent *event) {
        add_text(e, "PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        add_number(e, "SUSPEND_GUEST_UNSEEN_NSEC", event->applied_ns + event->noted_ns);
        add_number(e, "SUSPEND_GUEST_APPLIED_NSEC", event->applied_ns);
        add_number(e, "SUSPEND_GUEST_REFUSED_NSEC", event->refused_ns);
        add_number(e, "SUSPEND_GUEST_SEEN_NSEC", event->seen_ns);
        add_number(e, "SUSPEND_GUEST_TOTAL_UNSEEN_NSEC", event->total_unseen_ns);
        add_number(e, "SUSPEND_GUEST_TOTAL_SEEN_NSEC", event->total_seen_ns);
        add_number(e, "SUSPEND_GUEST_CYCLES", event->cycles);
        add_number(e, "SUSPEND_GUEST_EPOCH", event->epoch);
        add_time(e, "SUSPEND_GUEST_HOST_REALTIME_NSEC", event->host_realtime_ns);
        add_time(e, "SUSPEND_GUEST_HOST_STEPPED_NSEC", event->host_stepped_ns);
}

static int64_t now_ns(void) {
        struct timespec t = { 0 };

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

/* SIGCHLD is blocked. Returns: whether it ended in time. */
static bool wait_until(pid_t pid, int64_t end_ns, int *ret_status) {
        sigset_t children;

        (void) sigemptyset(&children);
        (void) sigaddset(&children, SIGCHLD);
        for (;;) {
                int64_t left = end_ns - now_ns();
                struct timespec t = { .tv_sec = left / NSEC_PER_SEC,
                                      .tv_nsec = left % NSEC_PER_SEC };

                if (waitpid(pid, ret_status, WNOHANG) == pid)
                        return true;
                if (left <= 0)
                        return false;
                (void) sigtimedwait(&children, NULL, &t);
        }
}

static void run_one(const char *path, char *const *environment, int64_t end_ns) {
        int64_t mine_ns = now_ns() + HOOK_TIMEOUT_SEC * NSEC_PER_SEC;
        int status = 0;
        pid_t pid = fork();

        if (pid == 0) {
                char *const arguments[] = { (char *) path, NULL };
                sigset_t none;

                (void) setpgid(0, 0);
                (void) sigemptyset(&none);
                (void) sigprocmask(SIG_SETMASK, &none, NULL);
                (void) execve(path, arguments, environment);
                _exit(127);
        }
        if (pid < 0) {
                log_warning("%s: not run: %s",
                            path,
                            strerror(errno)); /* NOLINT(concurrency-mt-unsafe) */
                return;
        }
        (void) setpgid(pid, pid);
        if (!wait_until(pid, mine_ns < end_ns ? mine_ns : end_ns, &status)) {
                log_warning("%s: not done in time, killed", path);
                (void) kill(-pid, SIGKILL);
                (void) waitpid(pid, NULL, 0);
        } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                log_warning("%s: failed (%s %d)",
                            path,
                            WIFEXITED(status) ? "exit status" : "signal",
                            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static void run_all(char *const *paths, size_t n, const HookEvent *event) {
        int64_t end_ns = now_ns() + HOOKS_TIMEOUT_SEC * NSEC_PER_SEC;
        Environment environment = { 0 };
        sigset_t children;

        (void) sigemptyset(&children);
        (void) sigaddset(&children, SIGCHLD);
        (void) sigprocmask(SIG_SETMASK, &children, NULL); /* and whoever ends us may */
        (void) dup2(STDERR_FILENO, STDOUT_FILENO);
        make_environment(&environment, event);
        for (size_t i = 0; i < n; i++) {
                if (now_ns() >= end_ns) {
                        log_warning("%zu hooks not run: there is no time left", n - i);
                        break;
                }
                run_one(paths[i], environment.list, end_ns);
        }
}

pid_t hooks_start(const char *const *folders, const HookEvent *event) {
        char *paths[HOOKS_MAX] = { NULL };
        size_t n = hooks_find(folders, paths);
        pid_t pid = n > 0 ? fork() : 0;

        if (n > 0 && pid == 0) {
                run_all(paths, n, event);
                _exit(0);
        }
        if (pid < 0)
                pid = -errno;
        for (size_t i = 0; i < n; i++)
                free(paths[i]);
        return pid;
}
