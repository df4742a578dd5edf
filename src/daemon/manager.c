/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/manager.h"
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include "common/safe-path.h"
#include "common/text-escape.h"
#include "common/time-util.h"
#include "daemon/authority.h"
#include "daemon/autogroup.h"
#include "daemon/engine-loop.h"
#include "daemon/log.h"
#include "daemon/manager-internal.h"
#include "daemon/messages.h"
#include "daemon/rescue.h"

#define BUS_NAME "org.suspendd1"
#define BUS_ADDRESS "unix:path=/run/dbus/system_bus_socket"
#define STORE_LIMIT_USEC (30 * USEC_PER_SEC)
#define NAME_IS_OURS 1 /* DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER of the D-Bus specification */
#define CHORES_RETRY_USEC (100 * USEC_PER_MSEC)
#define QUIT_LIMIT_USEC (8 * USEC_PER_SEC)

/*
 * Signals and deadlines come before the bus, by which logind speaks, the bus before what plugins have to say; only the
 * end of a sleep waits for that (host-wake.h). What anybody may call comes last, for it may be as much as he likes, and
 * takes turns with what else can wait.
 */
enum {
        PRIORITY_DEADLINE = SD_EVENT_PRIORITY_IMPORTANT - 10,
        PRIORITY_BUS = SD_EVENT_PRIORITY_IMPORTANT,
        PRIORITY_API = AUTHORITY_CALLS_PRIORITY,
        PRIORITY_CHORES = SD_EVENT_PRIORITY_IDLE,
        PRIORITY_LAST, /* also before a wait: behind what the connections do then */
};

/* what happens outside */

static void manager_wake(void *userdata) {
        Manager *m = userdata;

        login1_trust(m->login1);
        cycle_handle(m->cycle, CYCLE_EVENT_WAKE);
}

static void on_sleep(void *userdata, bool start) {
        Manager *m = userdata;

        if (!start) {
                /* Whatever is read meanwhile: the next sleep may be announced at once. */
                manager_take_lock(m);
                host_wake_soon(m->private->wake, manager_wake);
                return;
        }
        host_wake_now(m->private->wake);
        if (m->private->is_quitting)
                return;
        cycle_handle(m->cycle, CYCLE_EVENT_SLEEP);
        (void) login1_query_delay_max(m->login1);
}

static void on_shutdown(void *userdata, bool start) {
        Manager *m = userdata;

        if (!start)
                return;
        host_wake_now(m->private->wake);
        cycle_handle(m->cycle, CYCLE_EVENT_SHUTDOWN);
}

static void manager_not_sleeping(void *userdata) {
        Manager *m = userdata;

        cycle_handle(m->cycle, CYCLE_EVENT_NOT_SLEEPING);
}

static void on_not_sleeping(void *userdata) {
        Manager *m = userdata;

        host_wake_soon(m->private->wake, manager_not_sleeping);
}

static void manager_wake_early(void *userdata) {
        Manager *m = userdata;

        cycle_wake_early(m->cycle);
}

/*
 * A clock that was set, or an attempt that failed after the clocks had been stopped, may look like a
 * sleep; of attempts systemd makes another. The kernel counts those that were none.
 */
static bool on_woke(void *userdata) {
        Manager *m = userdata;
        const SuspendStats *before = &m->cycle->report.stats_before;
        SuspendStats now;

        suspend_stats_read(&now);
        if (m->config->wait_for_hooks || before->success < 0 || now.success <= before->success)
                return false;
        host_wake_soon(m->private->wake, manager_wake_early);
        return true;
}

static void on_delay_max(void *userdata, uint64_t usec) {
        Manager *m = userdata;

        if (usec == 0 && (m->cycle->delay_max_usec != 0 || !m->private->is_delay_known))
                (void) log_full(&(LogFields){ .message_id = SUSPENDD_MESSAGE_UNPROTECTED },
                                LOG_WARNING,
                                0,
                                "InhibitDelayMaxSec is 0: the host does not wait for its VMs");
        m->private->is_delay_known = true;
        cycle_set_delay_max(m->cycle, usec);
        manager_chores(m);
}

static void on_present(void *userdata, bool present) {
        Manager *m = userdata;

        if (present) {
                (void) login1_query_delay_max(m->login1);
                inhibitor_on_logind_came(m->delay_lock);
                inhibitor_on_logind_came(m->block_lock);
        }
        manager_chores(m);
}

static const Login1Ops login1_ops = {
        .on_sleep = on_sleep,
        .on_shutdown = on_shutdown,
        .on_not_sleeping = on_not_sleeping,
        .on_woke = on_woke,
        .on_delay_max = on_delay_max,
        .on_present = on_present,
};

static void on_clock_jump(void *userdata, int64_t slept_ns, int64_t stepped_ns) {
        Manager *m = userdata;

        if (slept_ns > 0 && m->cycle->state == CYCLE_SLEEPING &&
            !host_wake_is_due(m->private->wake))
                login1_slept(m->login1);
        cycle_on_clock_jump(m->cycle, stepped_ns);
}

static void on_delay_lock(Inhibitor *i _unused_, int error, void *userdata) {
        Manager *m = userdata;

        m->private->is_lock_answered = true;
        if (error < 0 && error != m->private->lock_error)
                (void) log_warning_errno(error, "logind gives us no delay lock; asking on");
        m->private->lock_error = error;
        bus_api_manager_changed(m->bus_api, "LockHeld");
        manager_chores(m);
}

static void on_block_lock(Inhibitor *i _unused_, int error, void *userdata _unused_) {
        if (error < 0)
                (void) log_warning_errno(error, "logind gives us no block lock; asking on");
}

/* ending */

/* All run, their clocks are right, and the cycle is recorded: the next start will not do it for us. */
static void manager_try_quit(Manager *m) {
        ClockSample now;

        if (!m->private->is_quitting || cycle_n_held(m->cycle) > 0 || m->cycle->state != CYCLE_IDLE)
                return;
        clock_sample_take(&now);
        (void) runtime_state_set_clocks(m->runtime_state, &now);
        (void) sd_event_exit(m->event, 0);
}

static int on_quit_limit(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        Manager *m = userdata;
        size_t n_held = cycle_n_held(m->cycle);

        if (n_held == 0) {
                log_warning("Ending before all machines' clocks have been put right");
                return sd_event_exit(m->event, 0);
        }
        /* As a failure, so that the rescue unit goes on with them. */
        log_error("%zu machines could not be run again in time; the rescue or the next start tries again",
                  n_held);
        return sd_event_exit(m->event, EXIT_FAILURE);
}

static int on_signal(
                sd_event_source *s _unused_, const struct signalfd_siginfo *si, void *userdata) {
        Manager *m = userdata;
        const char *why = NULL;
        int r;

        if (si->ssi_signo == SIGHUP) {
                r = manager_reload(m, &why);
                if (r < 0)
                        (void) log_error_errno(r, "Not reloaded: %s", why ?: "");
                return 0;
        }
        if (m->private->is_quitting)
                return 0;

        m->private->is_quitting = true;
        /* Machines may take longer to run again than logind waits, and it shall not wait for a lock that ends with us. */
        inhibitor_drop(m->delay_lock);
        (void) sd_notify(false, "STOPPING=1");
        /* When all ends, the bus may be gone before what is held runs again, which needs no bus. */
        (void) sd_bus_set_exit_on_disconnect(m->bus, false);
        r = sd_event_add_time_relative(
                        m->event,
                        &m->private->quit_timer,
                        CLOCK_MONOTONIC,
                        QUIT_LIMIT_USEC,
                        1,
                        on_quit_limit,
                        m);
        if (r < 0)
                return sd_event_exit(m->event, r);
        (void) sd_event_source_set_description(m->private->quit_timer, "quit-limit");
        /* When the loop ends, the bus is closed with it, and no reply would leave any more. */
        mode_store_cancel(m->private->mode_store);
        host_wake_now(m->private->wake);
        cycle_handle(m->cycle, CYCLE_EVENT_QUIT);
        manager_chores(m);
        return 0;
}

/* chores */

void manager_chores(Manager *m) {
        if (m->private->chores)
                (void) sd_event_source_set_enabled(m->private->chores, SD_EVENT_ONESHOT);
}

/* Who blocks, in words; NULL: nobody does. */
static int manager_name_blocking(const Manager *m, char **ret) {
        _cleanup_free_ char *why = NULL;

        LIST_FOREACH(i, &m->cycle->machines) {
                const Machine *machine = LIST_ENTRY(i, Machine, machines);
                _cleanup_free_ char *name = NULL;
                char *longer;

                if (machine->policy.mode != MODE_BLOCK ||
                    machine->run_state != SUSPENDD_STATE_RUNNING)
                        continue;
                /* The bus takes no text that is not UTF-8, sd_notify() no ends of lines. */
                name = text_escape(machine->name);
                if (!name || asprintf(&longer, "%s%s%s", why ?: "VM ", why ? ", " : "", name) < 0)
                        return -ENOMEM;
                free(why);
                why = longer;
        }
        *ret = TAKE_PTR(why);
        return 0;
}

/* The block lock names the machines that block, so it is reworded when they change. */
int manager_update_block(Manager *m) {
        _cleanup_free_ char *why = NULL, *text = NULL;
        int r;

        r = manager_name_blocking(m, &why);
        if (r < 0)
                return r;
        if (str_equal(why, m->private->blocked_why))
                return 0;

        if (why) {
                if (asprintf(&text, "%s runs and may not be stopped", why) < 0) {
                        text = NULL;
                        return -ENOMEM;
                }
                r = inhibitor_reword(m->block_lock, text);
                if (r < 0)
                        return r;
        } else
                inhibitor_drop(m->block_lock);
        free(m->private->blocked_why);
        m->private->blocked_why = TAKE_PTR(why);
        bus_api_manager_changed(m->bus_api, "Blocking");
        return 0;
}

static int manager_add_source(sd_event_source *s, int64_t priority, const char *description) {
        (void) sd_event_source_set_description(s, description);
        return sd_event_source_set_priority(s, priority);
}

/* When all ends, what is held is run again without a bus. */
static bool manager_has_lost_bus(const Manager *m) {
        return !m->private->is_quitting && ((m->bus && sd_bus_is_open(m->bus) == 0) ||
                                            (m->api_bus && sd_bus_is_open(m->api_bus) == 0));
}

/*
 * sd-bus closes a connection for which it cannot have the loop wait, and then nothing wakes the loop to
 * notice. So it is asked before each wait, behind the connections.
 */
static int on_before_wait(sd_event_source *s _unused_, void *userdata) {
        Manager *m = userdata;

        if (manager_has_lost_bus(m))
                manager_chores(m);
        return 0;
}

static int on_never(
                sd_event_source *s _unused_,
                int fd _unused_,
                uint32_t events _unused_,
                void *userdata _unused_) {
        return 0;
}

static int manager_ask_before_wait(Manager *m) {
        sd_event_source **s = &m->private->before_wait;
        int fd, r;

        /* sd-event asks only who waits for something himself. */
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
                return -errno;
        r = sd_event_add_io(m->event, s, fd, EPOLLIN, on_never, m);
        if (r < 0) {
                (void) close(fd);
                return r;
        }
        (void) sd_event_source_set_io_fd_own(*s, true);
        r = sd_event_source_set_prepare(*s, on_before_wait);
        return r < 0 ? r : manager_add_source(*s, PRIORITY_LAST, "before-wait");
}

static int on_chores_timer(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        manager_chores(userdata);
        return 0;
}

static int manager_make_chores_timer(Manager *m) {
        sd_event_source **s = &m->private->chores_timer;
        int r;

        r = sd_event_add_time(m->event, s, CLOCK_MONOTONIC, 0, 1, on_chores_timer, m);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(*s, "chores-later");
        return sd_event_source_set_enabled(*s, SD_EVENT_OFF);
}

static void manager_chores_later(Manager *m) {
        sd_event_source *s = m->private->chores_timer;

        (void) sd_event_source_set_time_relative(s, CHORES_RETRY_USEC);
        (void) sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

void manager_keep_config(Manager *m) {
        struct ManagerPrivate *p = m->private;
        _cleanup_free_ char *path = NULL;
        const JournalNote *notes;
        int r;

        p->recovery = config_free(p->recovery);
        if (asprintf(&path, "%s/" RESCUE_CONFIG, m->options.runtime_dir) < 0) {
                path = NULL;
                r = -ENOMEM;
        } else if (journal_notes(m->journal, &notes) > 0)
                r = config_load_with_kept(m->options.config_file, path, &p->recovery);
        else
                r = config_keep(m->config, path);
        if (r < 0)
                (void) log_warning_errno(r, "Cannot keep the configuration for a rescue");
}

/* Once nothing is noted any more, today's configuration counts alone. */
static void manager_end_recovery(Manager *m) {
        const JournalNote *notes;

        if (!m->private->recovery || m->cycle->state != CYCLE_IDLE ||
            journal_notes(m->journal, &notes) > 0)
                return;
        manager_keep_config(m);
        (void) manager_apply_config(m);
}

static int on_chores(sd_event_source *s _unused_, void *userdata) {
        Manager *m = userdata;
        struct ManagerPrivate *p = m->private;
        const char *why;
        char status[256];
        int r;

        if (manager_has_lost_bus(m)) {
                log_error("A connection to the system bus is lost");
                return sd_event_exit(m->event, EXIT_FAILURE);
        }
        manager_try_quit(m);
        if (cycle_is_urgent(m->cycle))
                return 0;
        if (manager_update_block(m) < 0)
                manager_chores_later(m);
        if (m->cycle->state == CYCLE_IDLE && p->is_ready)
                cycle_forget_ended(m->cycle);
        if (p->is_reload_due && m->cycle->state == CYCLE_IDLE && manager_reload(m, &why) < 0)
                log_error("Not reloaded: %s", why);
        manager_end_recovery(m);

        if (!p->is_ready) {
                if (!manager_has_enumerated(m) || !p->is_lock_answered || !p->is_named)
                        return 0;
                r = sd_notify(false, "READY=1");
                if (r < 0) {
                        /* It ends whoever does not come to say so. */
                        (void) log_warning_errno(
                                        r, "Cannot tell systemd that we are ready; trying again");
                        manager_chores_later(m);
                        return 0;
                }
                p->is_ready = true;
        }
        manager_status(m, status, sizeof(status));
        (void) sd_notifyf(false, "STATUS=%s", status);
        bus_api_manager_changed(m->bus_api, "Status");
        return 0;
}

/* starting */

static int manager_start_loop(Manager *m) {
        static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
        struct ManagerPrivate *p = m->private;
        int r;

        r = sd_event_new(&m->event);
        if (r < 0)
                return r;
        (void) autogroup_take_nice(m->event);
        for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
                r = sd_event_add_signal(
                                m->event,
                                &p->signals[i],
                                signals[i] | SD_EVENT_SIGNAL_PROCMASK,
                                on_signal,
                                m);
                if (r < 0)
                        return r;
                (void) manager_add_source(p->signals[i], PRIORITY_DEADLINE, "signal");
        }
        r = sd_event_add_defer(m->event, &p->chores, on_chores, m);
        if (r < 0)
                return r;
        r = manager_add_source(p->chores, PRIORITY_CHORES, "chores");
        if (r < 0)
                return r;
        r = manager_make_chores_timer(m);
        if (r >= 0)
                r = host_wake_new(m->event, PRIORITY_BUS, m, &p->wake);
        return r < 0 ? r : manager_ask_before_wait(m);
}

/* Whoever else could write there could tell us what to do. */
static int make_directory(const char *path) {
        _cleanup_(safe_path_done) SafePath p = SAFE_PATH_NONE;
        const char *why = NULL;
        int r;

        if (mkdir(path, 0755) < 0 && errno != EEXIST)
                return log_error_errno(-errno, "Cannot make %s", path);
        r = safe_path_open(path, &p, &why);
        if (r >= 0)
                r = safe_path_check_ours(&p, &why);
        if (r == -EPERM && why) {
                (void) log_error("%s is not used: %s", path, why);
                return r;
        }
        return r < 0 ? log_error_errno(r, "Cannot use %s", path) : 0;
}

static int manager_open_files(Manager *m) {
        _cleanup_free_ char *journal = NULL, *state = NULL, *history = NULL;
        const ManagerOptions *o = &m->options;
        int r;

        if (asprintf(&journal, "%s/" JOURNAL_FILE, o->runtime_dir) < 0 ||
            asprintf(&state, "%s/" RUNTIME_STATE_FILE, o->runtime_dir) < 0 ||
            asprintf(&history, "%s/history", o->state_dir) < 0)
                return log_oom();
        r = make_directory(o->runtime_dir);
        if (r >= 0)
                r = make_directory(o->state_dir);
        if (r < 0)
                return r;

        r = journal_open(journal, &m->journal);
        if (r == -EBUSY)
                r = rescue_end(o->runtime_dir, journal, &m->journal);
        if (r == -EBUSY)
                return log_error_errno(r, "Another suspendd is at work (%s)", journal);
        if (r < 0)
                return log_error_errno(r, "Cannot open %s", journal);
        r = runtime_state_open(state, &m->runtime_state);
        if (r < 0)
                return log_error_errno(r, "Cannot open %s", state);
        manager_keep_config(m);
        r = history_open(history, m->config->history_max, m->config->history_size_max, &m->history);
        if (r < 0)
                return log_error_errno(r, "Cannot open %s", history);
        return 0;
}

static int manager_start_engine(Manager *m) {
        uint64_t next_number = history_next_number(m->history);
        sd_event_source **timer = &m->private->timer;
        int r;

        r = cycle_new(&manager_cycle_ops, m, m->journal, next_number, &m->cycle);
        if (r < 0)
                return r;
        r = engine_timer_new(m->event, m->cycle, timer);
        return r < 0 ? r : sd_event_source_set_priority(*timer, PRIORITY_DEADLINE);
}

/* It takes no descriptors, for no call has any. */
static int manager_start_api_bus(Manager *m) {
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
        const char *address = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
        int r;

        r = sd_bus_new(&m->api_bus);
        if (r < 0)
                return r;
        r = sd_bus_set_address(m->api_bus, address ?: BUS_ADDRESS);
        if (r < 0)
                return r;
        r = sd_bus_set_bus_client(m->api_bus, true);
        if (r < 0)
                return r;
        r = sd_bus_negotiate_fds(m->api_bus, false);
        if (r < 0)
                return r;
        r = sd_bus_start(m->api_bus);
        if (r < 0)
                return r;
        (void) sd_bus_set_exit_on_disconnect(m->api_bus, true);
        return sd_bus_attach_event(m->api_bus, m->event, PRIORITY_API);
}

/* Nothing is waited for in a start but all at once, in the loop. */
static int on_name(sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_) {
        Manager *m = userdata;
        uint32_t result = 0;
        int r = -sd_bus_message_get_errno(reply);

        if (r >= 0)
                r = sd_bus_message_read(reply, "u", &result);
        if (r >= 0 && result != NAME_IS_OURS)
                r = -EEXIST;
        if (r < 0) {
                (void) log_error_errno(r, "Cannot own %s", BUS_NAME);
                return sd_event_exit(m->event, EXIT_FAILURE);
        }
        /*
         * sd-bus goes on without, where it lacked something as it connected; but a lock is a descriptor, and the
         * answer with it would never come.
         */
        if (sd_bus_can_send(m->bus, SD_BUS_TYPE_UNIX_FD) <= 0) {
                log_error("The system bus passes no descriptors");
                return sd_event_exit(m->event, EXIT_FAILURE);
        }
        m->private->is_named = true;
        manager_chores(m);
        return 0;
}

static int manager_start_bus(Manager *m) {
        int r;

        r = sd_bus_open_system(&m->bus);
        if (r < 0)
                return log_error_errno(r, "Cannot connect to the system bus");
        (void) sd_bus_set_exit_on_disconnect(m->bus, true);
        r = sd_bus_attach_event(m->bus, m->event, PRIORITY_BUS);
        if (r < 0)
                return r;
        r = manager_start_api_bus(m);
        if (r < 0)
                return log_error_errno(r, "Cannot connect to the system bus");
        r = bus_api_new(m, &m->bus_api);
        if (r < 0)
                return log_error_errno(r, "Cannot offer our objects on the bus");

        /* First the signal, then the lock, then the question: so nothing falls between. */
        r = login1_new(m->bus, &login1_ops, m, &m->login1);
        if (r < 0)
                return log_error_errno(r, "Cannot listen to logind");
        r = inhibitor_new(m->bus, "delay", on_delay_lock, m, &m->delay_lock);
        if (r < 0)
                return r;
        r = inhibitor_new(m->bus, "block", on_block_lock, m, &m->block_lock);
        if (r < 0)
                return r;

        r = sd_bus_request_name_async(m->api_bus, NULL, BUS_NAME, 0, on_name, m);
        return r < 0 ? log_error_errno(r, "Cannot ask for the name %s", BUS_NAME) : 0;
}

/* Machines that an earlier life held are met by an engine that knows whether the host sleeps. */
static void manager_adopt(Manager *m) {
        const ClockSample *accounted = runtime_state_clocks(m->runtime_state);
        const JournalNote *notes;
        size_t n = journal_notes(m->journal, &notes);
        bool is_preparing;

        if (accounted->boottime_ns > 0)
                cycle_set_accounted(m->cycle, accounted);
        if (n == 0)
                return;
        is_preparing = login1_is_preparing(m->bus);
        (void) log_full(&(LogFields){ .message_id = SUSPENDD_MESSAGE_RECOVERED },
                        LOG_NOTICE,
                        0,
                        "%zu machines were held when suspendd ended before; %s",
                        n,
                        is_preparing ? "the host is still asleep" : "running them again");
        cycle_handle(m->cycle, is_preparing ? CYCLE_EVENT_ADOPT_ASLEEP : CYCLE_EVENT_ADOPT_AWAKE);
}

int manager_apply_config(Manager *m) {
        int r;

        m->cycle->cap_usec = m->config->budget_max_usec;
        m->cycle->suspend_share = m->config->suspend_share;
        m->cycle->time_limit_usec = m->config->time_limit_usec;
        history_set_limits(m->history, m->config->history_max, m->config->history_size_max);
        LIST_FOREACH(i, &m->cycle->machines) {
                Machine *machine = LIST_ENTRY(i, Machine, machines);

                manager_fill_policy(m, machine);
                bus_api_machine_changed(m->bus_api, machine);
        }
        r = manager_load_settings(m);
        manager_chores(m);
        return r;
}

int manager_new(const ManagerOptions *options, Manager **ret) {
        _cleanup_(manager_freep) Manager *m = NULL;
        int r;

        m = calloc(1, sizeof(*m));
        if (!m)
                return log_oom();
        m->options = *options;
        list_init(&m->plugins);
        m->private = calloc(1, sizeof(*m->private));
        if (!m->private)
                return log_oom();

        r = fd_store_new(&m->private->fd_store);
        if (r < 0)
                return log_oom();
        r = manager_start_loop(m);
        if (r < 0)
                return log_error_errno(r, "Cannot set up the event loop");
        r = config_load(m->options.config_file, &m->config);
        if (r < 0)
                return log_error_errno(r, "Cannot read the configuration");
        r = manager_open_files(m);
        if (r < 0)
                return r;
        r = manager_start_engine(m);
        if (r < 0)
                return log_error_errno(r, "Cannot set up the engine");
        r = manager_start_bus(m);
        if (r < 0)
                return r;
        r =
                        mode_store_new(m->event,
                                       STORE_LIMIT_USEC,
                                       manager_on_mode_stored,
                                       m,
                                       &m->private->mode_store);
        if (r < 0)
                return log_oom();
        r = clock_watch_new(m->event, on_clock_jump, m, &m->clock_watch);
        if (r < 0)
                return log_error_errno(r, "Cannot watch the clock");

        *ret = TAKE_PTR(m);
        return 0;
}

int manager_run(Manager *m) {
        int r;

        r = inhibitor_take(m->delay_lock, LOCK_WHY);
        if (r < 0)
                return log_error_errno(r, "Cannot ask logind for a delay lock");
        manager_adopt(m);
        (void) login1_query_delay_max(m->login1);
        r = login1_start(m->login1);
        if (r < 0)
                return log_error_errno(r, "Cannot ask logind whether the host is about to sleep");
        r = manager_load_plugins(m);
        if (r < 0)
                return log_error_errno(r, "Ending, to be started again with all plugins");

        r = sd_event_loop(m->event);
        bus_api_flush(m->bus_api);
        return r < 0 ? log_error_errno(r, "The event loop failed") : r;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;
        if (m->private) {
                host_wake_free(m->private->wake);
                mode_store_free(m->private->mode_store);
        }
        cycle_free(m->cycle);
        LIST_FOREACH(i, &m->plugins)
        plugin_free(LIST_ENTRY(i, Plugin, plugins));
        clock_watch_free(m->clock_watch);
        inhibitor_free(m->block_lock);
        inhibitor_free(m->delay_lock);
        login1_free(m->login1);
        bus_api_free(m->bus_api);
        if (m->private) {
                sd_event_source_disable_unref(m->private->chores);
                sd_event_source_disable_unref(m->private->chores_timer);
                sd_event_source_disable_unref(m->private->before_wait);
                sd_event_source_disable_unref(m->private->quit_timer);
                sd_event_source_disable_unref(m->private->timer);
                for (size_t i = 0; i < ARRAY_LEN(m->private->signals); i++)
                        sd_event_source_disable_unref(m->private->signals[i]);
                free(m->private->blocked_why);
                config_free(m->private->recovery);
                fd_store_free(m->private->fd_store);
        }
        history_free(m->history);
        runtime_state_free(m->runtime_state);
        journal_free(m->journal);
        config_free(m->config);
        sd_bus_flush_close_unref(m->api_bus);
        sd_bus_flush_close_unref(m->bus);
        sd_event_unref(m->event);
        free(m->private);
        free(m);
        return NULL;
}
