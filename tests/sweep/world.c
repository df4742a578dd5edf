/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include "common/clock-sample.h"
#include "common/time-util.h"
#include "daemon/journal-format.h"

#define LOGIN1 "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
#define CONTROL "org.suspendd.FakeLogin1", "/org/suspendd/FakeLogin1", "org.suspendd.FakeLogin1"
#define MANAGER "org.suspendd1.Manager"
#define PROPERTIES "org.freedesktop.DBus.Properties"
#define ASK_LIMIT_USEC (2 * USEC_PER_SEC)
#define CALL_LIMIT_USEC (10 * USEC_PER_SEC)
#define SETTLE_LIMIT_USEC (8 * USEC_PER_SEC)
/* Long enough that a busy machine does not make us late, for what is late costs as much. */
#define DELAY_MAX_USEC (5 * USEC_PER_SEC)
#define STARTS_MAX 10      /* StartLimitBurst= */
#define EXIT_NEVER_AGAIN 2 /* RestartPreventExitStatus= */

/* what is broken */

_printf_(2, 3) static const char *world_break(World *w, const char *format, ...) {
        va_list ap;

        if (w->broken[0])
                return w->broken;
        va_start(ap, format);
        (void) vsnprintf(w->broken, sizeof(w->broken), format, ap);
        va_end(ap);
        return w->broken;
}

/* the bus */

#define world_control(_w, _method, ...) \
        sd_bus_call_method((_w)->bus, CONTROL, _method, NULL, NULL, __VA_ARGS__)

static bool world_has_lock(World *w) {
        _cleanup_free_ char *what = NULL;

        return sd_bus_get_property_string(w->bus, LOGIN1, "DelayInhibited", NULL, &what) >= 0 &&
               str_equal(what, "sleep");
}

static int world_wait_locks(World *w, unsigned n) {
        int r = world_control(w, "WaitLocks", "u", n);

        if (r < 0)
                (void) world_control(w, "Forget", NULL);
        return MIN(r, 0);
}

static bool world_was_overrun(World *w) {
        _cleanup_free_ char *cycle = NULL;

        return sd_bus_get_property_string(w->bus, CONTROL, "LastCycle", NULL, &cycle) >= 0 &&
               strstr(cycle, "\"overrun\":true");
}

/* the daemon */

static void daemon_set(const char *name, const char *folder, const char *file) {
        char path[512];

        (void) snprintf(path, sizeof(path), "%s/%s", folder, file);
        (void) setenv(name, path, 1); /* NOLINT(concurrency-mt-unsafe) */
}

static void daemon_run(const World *w, int gate_fd) {
        char config[512], plugin_dir[512], log[512];
        char byte;
        int fd;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) snprintf(config, sizeof(config), "--config=%s", w->config);
        (void) snprintf(plugin_dir, sizeof(plugin_dir), "--plugin-dir=%s", w->plugin_dir);
        (void) snprintf(log, sizeof(log), "%s/log", w->folder);
        daemon_set("NOTIFY_SOCKET", w->folder, "notify");
        daemon_set("RUNTIME_DIRECTORY", w->folder, "run");
        daemon_set("STATE_DIRECTORY", w->folder, "state");
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
                _exit(EXIT_FAILURE);
        while (read(gate_fd, &byte, 1) < 0 && errno == EINTR)
                ;
        (void) execl(w->daemon, w->daemon, config, plugin_dir, (char *) NULL);
        _exit(EXIT_FAILURE);
}

/* Returns: whether there was something; *@is_ready says whether it was that. */
static bool notify_read(int fd, bool *is_ready) {
        char text[4096];
        ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

        if (n < 0)
                return false;
        text[n] = 0;
        *is_ready |= strstr(text, "READY=1") != NULL;
        return true;
}

int world_start(World *w, bool is_waiting) {
        int gate[2];
        bool ignored;

        while (notify_read(w->notify_fd, &ignored)) /* what its last life said */
                ;
        if (pipe2(gate, O_CLOEXEC) < 0)
                return -errno;
        w->n_starts++;
        w->is_ready = false;
        w->pid = fork();
        if (w->pid == 0) {
                (void) close(gate[1]);
                daemon_run(w, gate[0]);
        }
        (void) close(gate[0]);
        w->gate_fd = gate[1];
        if (w->pid < 0) {
                w->pid = 0;
                world_let_start(w);
                return -errno;
        }
        if (!is_waiting)
                world_let_start(w);
        return 0;
}

void world_let_start(World *w) {
        closep(&w->gate_fd);
        w->gate_fd = -1;
}

/* It has ended: how? */
static void world_on_end(World *w, int status) {
        w->pid = 0;
        w->is_ready = false;
        world_let_start(w);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && w->is_kill_due) {
                w->is_kill_due = false;
                return;
        }
        w->n_ends++;
        if (WIFSIGNALED(status))
                (void) world_break(w, "the daemon was ended by signal %d", WTERMSIG(status));
        else if (WEXITSTATUS(status) == EXIT_NEVER_AGAIN)
                (void) world_break(
                                w, "the daemon ended in a way after which it is not started again");
}

void world_wait_end(World *w) {
        int status;

        if (w->pid > 0 && waitpid(w->pid, &status, 0) == w->pid)
                world_on_end(w, status);
}

void world_kill(World *w) {
        if (w->pid <= 0)
                return;
        w->is_kill_due = true;
        (void) kill(w->pid, SIGKILL);
        world_wait_end(w);
}

void world_tend(World *w) {
        int status;

        while (notify_read(w->notify_fd, &w->is_ready))
                ;
        if (w->pid > 0 && waitpid(w->pid, &status, WNOHANG) == w->pid)
                world_on_end(w, status);
        if (w->pid > 0 || w->broken[0])
                return;
        if (w->n_starts >= STARTS_MAX)
                (void) world_break(
                                w,
                                "the daemon was started %u times and ended each time",
                                w->n_starts);
        else if (world_start(w, false) < 0)
                (void) world_break(w, "the daemon cannot be started");
}

static uint64_t limit_usec(uint64_t usec) {
        return clock_now_usec(CLOCK_MONOTONIC) + usec;
}

static bool is_over(uint64_t end_usec) {
        return clock_now_usec(CLOCK_MONOTONIC) >= end_usec;
}

int world_wait_ready(World *w) {
        uint64_t end_usec = limit_usec(SETTLE_LIMIT_USEC);

        for (world_tend(w); !w->is_ready; world_tend(w)) {
                if (w->broken[0] || is_over(end_usec))
                        return -ETIMEDOUT;
                (void) poll(NULL, 0, 1);
        }
        return 0;
}

int world_stop(World *w, uint64_t usec) {
        uint64_t end_usec = limit_usec(usec);
        int status;

        (void) kill(w->pid, SIGTERM);
        while (waitpid(w->pid, &status, WNOHANG) == 0) {
                if (is_over(end_usec)) {
                        (void) world_break(w, "the daemon did not end when it was told to");
                        return -ETIMEDOUT;
                }
                (void) poll(NULL, 0, 1);
        }
        world_on_end(w, status);
        return 0;
}

/* the host */

int world_fall_asleep(World *w) {
        int r;

        r = world_control(w, "Sleep", "t", USEC_INFINITY);
        return r < 0 ? r : world_wait_locks(w, 0);
}

int world_wake(World *w) {
        return MIN(world_control(w, "Wake", NULL), 0);
}

/* the promises */

void world_begin(World *w) {
        w->n_starts = w->n_ends = 0;
        w->is_kill_due = false;
        w->broken[0] = 0;
        for (size_t i = 0; i < w->n_machines; i++)
                w->machines[i].n_stops = w->machines[i].n_resumes = 0;
}

/* Returns: how many machines are noted; -ENODATA if there is no journal that could be read. */
static ssize_t journal_count(const World *w) {
        _cleanup_free_ uint8_t *slots = NULL;
        _cleanup_close_ int fd = -1;
        JournalFileHeader header;
        NoteSet set = { 0 };
        uint64_t sequence[2];
        char path[512];
        ssize_t n;

        (void) snprintf(path, sizeof(path), "%s/run/cycle", w->folder);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
            journal_file_header_check(&header) < 0)
                return -ENODATA;
        slots = calloc(2, header.slot_size);
        if (!slots || pread(fd, slots, 2 * (size_t) header.slot_size, sizeof(header)) < 0 ||
            note_set_init(&set, journal_slot_capacity(header.slot_size)) < 0)
                return -ENODATA;
        for (size_t i = 0; i < 2; i++)
                sequence[i] = journal_slot_sequence(
                                slots + i * header.slot_size, header.slot_size, header.salt);
        journal_slot_read(
                        slots + (sequence[1] > sequence[0]) * header.slot_size,
                        header.slot_size,
                        header.salt,
                        &set);
        n = sequence[0] == 0 && sequence[1] == 0 ? -ENODATA : (ssize_t) set.n;
        note_set_done(&set);
        return n;
}

/* Returns: what is not as it shall be in the end; NULL. */
static const char *world_machines_unkept(World *w) {
        SweepMachine *theirs = &w->machines[w->n_machines - 1];

        for (size_t i = 0; i < w->n_machines; i++)
                if (sweep_machine_look(&w->machines[i]) < 0)
                        return world_break(w, "the monitor of %s is gone", w->machines[i].name);
        if (theirs->n_stops + theirs->n_resumes > 0 || !str_equal(theirs->status, "paused"))
                return world_break(w, "the machine that its user had paused was touched");
        for (size_t i = 0; i + 1 < w->n_machines; i++)
                if (!str_equal(w->machines[i].status, "running"))
                        return "a machine that is ours does not run";
        return NULL;
}

static const char *world_unkept(World *w) {
        const char *why;
        ssize_t n;

        if (w->broken[0])
                return w->broken;
        if (!w->is_ready)
                return "the daemon does not say that it is ready";
        why = world_machines_unkept(w);
        if (why)
                return why;
        n = journal_count(w);
        if (n != 0)
                return n > 0 ? "the journal still names a machine" : "there is no journal";
        if (!world_has_lock(w))
                return "logind does not have our delay lock";
        return world_was_overrun(w) ? world_break(w, "logind waited for our lock up to its limit")
                                    : NULL;
}

static const char *world_settle_by(World *w, const char *(*unkept)(World *w)) {
        uint64_t end_usec = limit_usec(SETTLE_LIMIT_USEC);

        for (;;) {
                const char *why;

                world_tend(w);
                why = unkept(w);
                if (!why || w->broken[0] || is_over(end_usec))
                        return why;
                (void) poll(NULL, 0, 1);
        }
}

const char *world_settle(World *w) {
        return world_settle_by(w, world_unkept);
}

/* What the daemon says of the machine that was read about in @reply is what its own monitor says. */
static bool world_knows(World *w, const char *name, const char *run_state) {
        size_t n = strlen(name);

        for (size_t i = 0; i < w->n_machines; i++)
                if (strncmp(w->machines[i].name, name, n) == 0 && w->machines[i].name[n] == '.')
                        return str_equal(w->machines[i].status, run_state);
        return false;
}

/*
 * Calls the daemon, which may have ended: the bus shall not wait for another to be started.
 * With a @property that is asked for.
 */
static int world_ask(
                World *w,
                const char *interface,
                const char *member,
                const char *property,
                sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(
                        w->bus, &m, "org.suspendd1", "/org/suspendd1", interface, member);
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0 && property)
                r = sd_bus_message_append(m, "ss", MANAGER, property);
        return r < 0 ? r : sd_bus_call(w->bus, m, ASK_LIMIT_USEC, NULL, ret);
}

static const char *world_list_unkept(World *w) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *name, *run_state;
        size_t n = 0;
        int r;

        r = world_ask(w, MANAGER, "ListMachines", NULL, &reply);
        if (r < 0 || sd_bus_message_enter_container(reply, 'a', "(sosssssssss)") < 0)
                return "the daemon does not list its machines";
        while (sd_bus_message_enter_container(reply, 'r', "sosssssssss") > 0) {
                if (sd_bus_message_skip(reply, "so") < 0 ||
                    sd_bus_message_read(reply, "s", &name) < 0 ||
                    sd_bus_message_skip(reply, "ss") < 0 ||
                    sd_bus_message_read(reply, "s", &run_state) < 0 ||
                    sd_bus_message_skip(reply, "sssss") < 0 ||
                    sd_bus_message_exit_container(reply) < 0)
                        return "the daemon's list of machines cannot be read";
                if (!world_knows(w, name, run_state))
                        return "the daemon says something else of a machine than its monitor";
                n++;
        }
        return n == w->n_machines ? NULL : "the daemon does not see all machines";
}

static const char *world_daemon_unkept(World *w) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *state = NULL, *lock = NULL;
        const char *word, *why = world_unkept(w);
        int is_held = false;

        if (why)
                return why;
        if (world_ask(w, PROPERTIES, "Get", "State", &state) < 0 ||
            sd_bus_message_read(state, "v", "s", &word) < 0 || !str_equal(word, "idle"))
                return "the daemon does not say that it is idle";
        if (world_ask(w, PROPERTIES, "Get", "LockHeld", &lock) < 0 ||
            sd_bus_message_read(lock, "v", "b", &is_held) < 0 || !is_held)
                return "the daemon does not say that it has the lock";
        return world_list_unkept(w);
}

const char *world_settle_daemon(World *w) {
        return world_settle_by(w, world_daemon_unkept);
}

bool world_stands(World *w) {
        for (size_t i = 0; i + 1 < w->n_machines; i++)
                if (sweep_machine_look(&w->machines[i]) < 0 ||
                    !str_equal(w->machines[i].status, "paused"))
                        return false;
        return true;
}

int world_mend(World *w) {
        char path[512];

        world_kill(w);
        (void) world_wait_locks(w, 0);
        (void) world_wake(w);
        for (size_t i = 0; i < w->n_machines; i++)
                (void) sweep_machine_command(
                                &w->machines[i], i + 1 < w->n_machines ? "cont" : "stop");
        (void) snprintf(path, sizeof(path), "%s/run/cycle", w->folder);
        (void) unlink(path);
        /* What was overrun is the last cycle's as long as there is no other. */
        if (world_fall_asleep(w) < 0 || world_wake(w) < 0)
                return -EIO;
        for (size_t i = 0; i < w->n_machines; i++)
                (void) sweep_machine_look(&w->machines[i]);
        world_begin(w);
        return world_settle_daemon(w) ? -EIO : 0;
}

/* lifetime */

static int world_open_notify(World *w) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int n;

        n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", w->folder);
        if (n < 0 || (size_t) n >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        (void) unlink(address.sun_path); /* of a sweep before this one */
        w->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (w->notify_fd < 0 ||
            bind(w->notify_fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return 0;
}

int world_open(World *w, char *const *monitors, size_t n_monitors) {
        int r = 0;

        w->notify_fd = w->gate_fd = -1;
        if (n_monitors < 2 || n_monitors > MACHINES_MAX)
                return -EINVAL;
        for (; w->n_machines < n_monitors && r >= 0; w->n_machines++)
                r = sweep_machine_open(&w->machines[w->n_machines], monitors[w->n_machines]);
        if (r >= 0)
                r = world_open_notify(w);
        if (r >= 0)
                r = sd_bus_open_system(&w->bus);
        if (r < 0)
                return r;
        (void) sd_bus_set_method_call_timeout(w->bus, CALL_LIMIT_USEC);
        return MIN(world_control(w, "SetDelayMax", "t", DELAY_MAX_USEC), 0);
}

void world_close(World *w) {
        world_kill(w);
        for (size_t i = 0; i < w->n_machines; i++)
                sweep_machine_close(&w->machines[i]);
        sd_bus_flush_close_unref(w->bus);
        closep(&w->notify_fd);
}
