/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tracer.h"
#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/time-util.h"

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)
#define LASTS_USEC (100 * USEC_PER_MSEC)
#define STOP_OF_CALL (SIGTRAP | 0x80)

/* In the tracer's process. */
typedef struct Trace {
        TracerOrder order;
        TracerReport *report;
        size_t n_threads, n_followed; /* of those that were there when it came */
        bool is_counting;
        pid_t struck_thread; /* is in the call that is to fail; 0: none */
        bool is_brk;
        uint64_t kept; /* the argument of that brk() */
        uint64_t lasts_until_usec;
} Trace;

static volatile sig_atomic_t is_ending;

static void on_end(int signo) {
        (void) signo;
        is_ending = 1;
}

/* attaching */

/* Calls fn() for each thread of the tracee, until it fails. */
static int trace_each_thread(Trace *t, int (*fn)(Trace *t, pid_t thread)) {
        char path[64];
        struct dirent *e;
        DIR *d;
        int r = 0;

        (void) snprintf(path, sizeof(path), "/proc/%d/task", t->order.process);
        d = opendir(path);
        if (!d)
                return -ESRCH;
        while (r >= 0 && (e = readdir(d))) /* NOLINT(concurrency-mt-unsafe) */
                if (e->d_name[0] != '.')
                        r = fn(t, (pid_t) strtol(e->d_name, NULL, 10));
        (void) closedir(d);
        return r;
}

static int trace_attach(Trace *t, pid_t thread) {
        if (ptrace(PTRACE_SEIZE, thread, 0, OPTIONS) < 0 ||
            ptrace(PTRACE_INTERRUPT, thread, 0, 0) < 0)
                return -errno;
        t->n_threads++;
        return 0;
}

static int trace_interrupt(Trace *t, pid_t thread) {
        (void) t;
        (void) ptrace(PTRACE_INTERRUPT, thread, 0, 0);
        return 0;
}

/* a call */

static void trace_set(pid_t thread, size_t offset, uint64_t value) {
        (void) ptrace(PTRACE_POKEUSER, thread, offset, value);
}

#define REGISTER(_name) offsetof(struct user_regs_struct, _name)

/*
 * Has the kernel see a call that there is not, so that nothing is done. brk() tells of failure by the
 * break that is, which is what it returns when it is asked for nothing.
 */
static void trace_divert(Trace *t, pid_t thread, const Call *c) {
        t->struck_thread = thread;
        t->is_brk = c->number == SYS_brk;
        t->kept = c->arguments[0];
        if (t->is_brk)
                trace_set(thread, REGISTER(rdi), 0);
        else if (!call_is_done_all_the_same(c->number))
                trace_set(thread, REGISTER(orig_rax), (uint64_t) -1);
}

static void trace_fail(Trace *t, pid_t thread) {
        t->struck_thread = 0;
        if (t->is_brk)
                trace_set(thread, REGISTER(rdi), t->kept);
        else
                trace_set(thread, REGISTER(rax), (uint64_t) -fault_error(t->order.fault));
}

static void trace_strike(Trace *t, pid_t thread, const Call *c) {
        TracerReport *r = t->report;

        if (!r->is_struck) {
                r->number = c->number;
                t->lasts_until_usec = clock_now_usec(CLOCK_MONOTONIC) + LASTS_USEC;
        }
        __atomic_store_n(&r->is_struck, true, __ATOMIC_RELEASE);
        /* Killed before the call, it does not make it. */
        if (t->order.fault == FAULT_DEATH)
                (void) kill(t->order.process, SIGKILL);
        else
                trace_divert(t, thread, c);
}

static bool trace_lasts(const Trace *t) {
        return t->order.is_lasting && clock_now_usec(CLOCK_MONOTONIC) < t->lasts_until_usec;
}

static void trace_on_entry(Trace *t, pid_t thread, const struct __ptrace_syscall_info *info) {
        Call c = { .process = t->order.process, .number = (long) info->entry.nr };
        TracerReport *r = t->report;
        bool is_possible = false;
        unsigned n;

        _Static_assert(sizeof(c.arguments) == sizeof(info->entry.args), "six arguments");
        memcpy(c.arguments, info->entry.args, sizeof(c.arguments));
        __atomic_add_fetch(&r->n_calls, 1, __ATOMIC_RELEASE);
        /* Its first own call; what is before that is the loader's, which may crash for all we care. */
        t->is_counting |= c.number == SYS_epoll_create1;
        for (int f = 0; f < FAULT_MAX && t->is_counting; f++)
                if (fault_is_possible((Fault) f, &c)) {
                        r->n_possible[f]++;
                        is_possible |= f == (int) t->order.fault;
                }
        n = r->n_possible[t->order.fault];
        if (is_possible && (n == t->order.nth || (n > t->order.nth && trace_lasts(t))))
                trace_strike(t, thread, &c);
}

static void trace_on_call(Trace *t, pid_t thread) {
        struct __ptrace_syscall_info info = { 0 };

        if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) < 0)
                return;
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
                trace_on_entry(t, thread, &info);
        else if (info.op == PTRACE_SYSCALL_INFO_EXIT && t->struck_thread == thread)
                trace_fail(t, thread);
}

/* following */

/* Returns: the signal that the thread is to be given as it goes on. */
static int trace_on_stop(Trace *t, pid_t thread, int status) {
        int event = status >> 16, signo = WSTOPSIG(status);

        if (signo == STOP_OF_CALL) {
                trace_on_call(t, thread);
                return 0;
        }
        if (event == 0)
                return signo;
        if (event == PTRACE_EVENT_STOP && t->n_followed < t->n_threads &&
            ++t->n_followed == t->n_threads) {
                t->is_counting = !t->order.from_start;
                __atomic_store_n(&t->report->is_ready, true, __ATOMIC_RELEASE);
        }
        return 0;
}

static void trace_follow(Trace *t) {
        for (;;) {
                int status, signo;
                pid_t thread = waitpid(-1, &status, __WALL);

                if (thread < 0 && errno == EINTR)
                        (void) trace_each_thread(t, trace_interrupt);
                else if (thread < 0)
                        return; /* none is left */
                else if (WIFSTOPPED(status)) {
                        signo = trace_on_stop(t, thread, status);
                        (void) ptrace(is_ending && t->struck_thread == 0 ? PTRACE_DETACH
                                                                         : PTRACE_SYSCALL,
                                      thread,
                                      0,
                                      (long) signo);
                }
        }
}

static void trace_run(const TracerOrder *order, TracerReport *report) {
        const struct sigaction action = { .sa_handler = on_end };
        Trace t = { .order = *order, .report = report };
        int r;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) close_range(
                        STDERR_FILENO + 1,
                        UINT_MAX,
                        0); /* whose end somebody waits for is not ours to keep */
        (void) sigaction(SIGUSR1, &action, NULL); /* without SA_RESTART */
        r = trace_each_thread(&t, trace_attach);
        if (r < 0)
                _exit(-r);
        trace_follow(&t);
        _exit(0);
}

/* from outside */

static bool tracer_has_ended(Tracer *t, int *status) {
        if (waitpid(t->pid, status, WNOHANG) == 0)
                return false;
        t->pid = 0;
        return true;
}

static void tracer_forget(Tracer *t) {
        if (t->shared)
                (void) munmap(t->shared, sizeof(*t->shared));
        *t = (Tracer){ 0 };
}

int tracer_start(Tracer *t, const TracerOrder *order) {
        int status = 0;

        *t = (Tracer){ 0 };
        t->shared =
                        mmap(NULL,
                             sizeof(*t->shared),
                             PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS,
                             -1,
                             0);
        if (t->shared == MAP_FAILED) {
                t->shared = NULL;
                return -errno;
        }
        t->pid = fork();
        if (t->pid < 0)
                return -errno;
        if (t->pid == 0)
                trace_run(order, t->shared);

        while (!tracer_report(t).is_ready) {
                if (tracer_has_ended(t, &status)) {
                        tracer_forget(t);
                        return WIFEXITED(status) && WEXITSTATUS(status) > 0 ? -WEXITSTATUS(status)
                                                                            : -ESRCH;
                }
                (void) poll(NULL, 0, 1);
        }
        return 0;
}

TracerReport tracer_report(const Tracer *t) {
        TracerReport r = { 0 };

        if (!t->shared)
                return r;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        memcpy(&r, t->shared, sizeof(r));
        return r;
}

TracerReport tracer_stop(Tracer *t) {
        TracerReport report;
        int status;

        while (t->pid > 0 && !tracer_has_ended(t, &status)) {
                (void) kill(t->pid, SIGUSR1);
                (void) poll(NULL, 0, 1);
        }
        report = tracer_report(t);
        tracer_forget(t);
        return report;
}
