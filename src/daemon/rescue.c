/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rescue.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include "common/file-replace.h"
#include "common/process.h"
#include "common/time-util.h"
#include "daemon/engine-loop.h"
#include "daemon/host-wake.h"
#include "daemon/log.h"
#include "daemon/messages.h"

/* How long agents may take to come: other plugins' machines may have to stand for so long. */
#define AGENT_LIMIT_USEC (5 * USEC_PER_SEC)
/* How long a late suspend may be watched for, and a bit. */
#define WATCH_LIMIT_USEC (40 * USEC_PER_SEC)
/* The process that has the journal: "PID.STARTTIME". */
#define PROCESS_FILE "rescue.pid"
#define END_LIMIT_USEC (2 * USEC_PER_SEC)
/* It has the journal for a moment to read what is held, before there is a process that can be found. */
#define FIND_LIMIT_USEC (USEC_PER_SEC / 2)
#define END_STEP_USEC (5 * USEC_PER_MSEC)

/* The rescue of one plugin's machines. */
typedef struct Rescue {
        const ManagerOptions *options;
        const char *name; /* the plugin's */
        sd_event *event;
        sd_event_source *timer; /* the engine's one deadline */
        sd_event_source *limit, *look;
        HostWake *wake;
        bool is_late; /* agents that have not come by now are not waited for any more */
        sd_bus *bus;
        Login1 *login1; /* while the host is asleep */
        Config *config;
        RuntimeState *runtime_state;
        Journal *journal;
        Cycle *cycle;
        Plugin *plugin;
} Rescue;

/* what the engine wants done */

static void ops_lock(void *userdata _unused_) {
}

static void ops_arm(void *userdata, uint64_t usec) {
        Rescue *r = userdata;

        engine_timer_arm(r->timer, usec);
}

static void ops_on_milestone(void *userdata _unused_, CycleMilestone milestone, Machine *machine) {
        if (milestone == CYCLE_MACHINE_RAN)
                (void) log_full(&(LogFields){ .message_id = SUSPENDD_MESSAGE_MACHINE_RAN,
                                              .machine = machine->id,
                                              .plugin = machine->plugin->api->name },
                                LOG_NOTICE,
                                0,
                                "Machine %s runs again",
                                machine->id);
}

static void ops_on_machine(void *userdata _unused_, Machine *machine _unused_) {
}

/* The clocks of those that are not ours to run are not ours to set either. */
static void ops_fill_policy(void *userdata, Machine *machine) {
        Rescue *r = userdata;

        config_policy(r->config, machine->name, machine->uuid, &machine->policy, NULL);
        if (machine->noted == JOURNAL_NOTE_NONE)
                machine->policy.time_sync = TIME_SYNC_OFF;
}

static bool ops_has_ended(void *userdata, const char *key) {
        Rescue *r = userdata;

        return plugin_has_ended(r->plugin, key);
}

static void ops_on_enumerated(void *userdata) {
        Rescue *r = userdata;

        cycle_on_enumerated(r->cycle);
}

static void ops_on_trouble(void *userdata _unused_, const Plugin *p) {
        if (p->trouble)
                log_warning("%s: %s", p->api->name, p->trouble);
}

static const CycleOps rescue_ops = {
        .now = engine_now,
        .clock = engine_clock,
        .stats = engine_stats,
        .take_lock = ops_lock,
        .let_go = ops_lock,
        .arm = ops_arm,
        .on_milestone = ops_on_milestone,
        .on_machine_added = ops_on_machine,
        .on_machine_removed = ops_on_machine,
        .on_machine_changed = ops_on_machine,
        .fill_policy = ops_fill_policy,
        .on_distrust = ops_on_machine,
        .has_ended = ops_has_ended,
        .on_enumerated = ops_on_enumerated,
        .on_trouble = ops_on_trouble,
};

/* what is left */

static bool rescue_is_ours(const Rescue *r, const JournalNote *note) {
        _cleanup_free_ char *plugin = NULL;

        return plugin_of_key(note->key, &plugin) >= 0 && str_equal(plugin, r->name);
}

static size_t rescue_n_left(const Rescue *r) {
        const JournalNote *notes;
        size_t n = journal_notes(r->journal, &notes), left = 0;

        for (size_t i = 0; i < n; i++)
                left += rescue_is_ours(r, &notes[i]);
        return left;
}

/* Returns: how many machines are left that stand, or may. */
static size_t rescue_complain(const Rescue *r) {
        const JournalNote *notes;
        size_t n = journal_notes(r->journal, &notes), stranded = 0;

        for (size_t i = 0; i < n; i++) {
                bool is_held = notes[i].kind != JOURNAL_NOTE_WATCHED;

                if (!rescue_is_ours(r, &notes[i]))
                        continue;
                stranded += is_held;
                (void) log_full(&(LogFields){ .message_id = SUSPENDD_MESSAGE_STRANDED,
                                              .plugin = r->name },
                                is_held ? LOG_ERR : LOG_WARNING,
                                0,
                                is_held ? "Machine %s was stopped by suspendd and could not be run again"
                                        : "Machine %s runs, and might still suspend itself",
                                notes[i].key);
        }
        return stranded;
}

/* Whether a clock is being put right, or will be as soon as an agent answers. */
static bool rescue_owes_time(const Rescue *r) {
        LIST_FOREACH(i, &r->cycle->machines) {
                const Machine *m = LIST_ENTRY(i, Machine, machines);

                if (m->state == MACHINE_CORRECTING || (m->is_time_owed && !r->is_late))
                        return true;
        }
        return false;
}

/* After each event. */
static int on_look(sd_event_source *s _unused_, void *userdata) {
        Rescue *r = userdata;

        if (r->plugin && r->plugin->is_enumerated && r->cycle->state == CYCLE_IDLE &&
            rescue_n_left(r) == 0 && !rescue_owes_time(r))
                (void) sd_event_exit(r->event, 0);
        return 0;
}

/* First the time for agents is over, then that for all. */
static int on_limit(sd_event_source *s, uint64_t usec, void *userdata) {
        Rescue *r = userdata;

        if (r->is_late)
                return sd_event_exit(r->event, 0);
        r->is_late = true;
        (void) sd_event_source_set_time(s, usec + r->config->time_limit_usec + WATCH_LIMIT_USEC);
        return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

/* whether the host sleeps */

/* It is awake: from now on, what does not run in time is given up. */
static int rescue_begin(Rescue *r, CycleEvent event) {
        int k;

        cycle_handle(r->cycle, event);
        k = sd_event_add_time_relative(
                        r->event,
                        &r->limit,
                        CLOCK_MONOTONIC,
                        MIN(r->config->time_limit_usec, AGENT_LIMIT_USEC),
                        1,
                        on_limit,
                        r);
        if (k >= 0)
                (void) sd_event_source_set_description(r->limit, "rescue-limit");
        return k;
}

static void rescue_wake(void *userdata) {
        Rescue *r = userdata;

        if (r->limit)
                return;
        login1_trust(r->login1);
        if (rescue_begin(r, CYCLE_EVENT_WAKE) < 0)
                (void) sd_event_exit(r->event, EXIT_FAILURE);
}

static void on_awake(void *userdata) {
        Rescue *r = userdata;

        host_wake_soon(r->wake, rescue_wake);
}

static void on_sleep(void *userdata, bool start) {
        if (!start)
                on_awake(userdata);
}

static void on_shutdown(void *userdata, bool start) {
        if (start)
                on_awake(userdata);
}

static void on_delay_max(void *userdata _unused_, uint64_t usec _unused_) {
}

static void on_present(void *userdata _unused_, bool present _unused_) {
}

static const Login1Ops login1_ops = {
        .on_sleep = on_sleep,
        .on_shutdown = on_shutdown,
        .on_not_sleeping = on_awake,
        .on_delay_max = on_delay_max,
        .on_present = on_present,
};

/* Subscribes before it asks. Without a bus nobody says that the host sleeps, and nobody would say that it wakes. */
static bool rescue_is_asleep(Rescue *r) {
        int k;

        k = sd_bus_open_system(&r->bus);
        if (k >= 0)
                k = sd_bus_attach_event(r->bus, r->event, SD_EVENT_PRIORITY_IMPORTANT);
        if (k >= 0)
                k = login1_new(r->bus, &login1_ops, r, &r->login1);
        if (k < 0) {
                (void) log_warning_errno(k, "Cannot ask logind; the host is taken to be awake");
                return false;
        }
        if (!login1_is_preparing(r->bus))
                return false;
        (void) sd_bus_set_exit_on_disconnect(r->bus, true);
        login1_doubt(r->login1, LOGIN1_PATIENCE_USEC);
        return true;
}

static int rescue_adopt(Rescue *r) {
        bool is_asleep = rescue_is_asleep(r);

        (void) log_full(&(LogFields){ .message_id = SUSPENDD_MESSAGE_RECOVERED, .plugin = r->name },
                        LOG_NOTICE,
                        0,
                        "%zu machines of plugin %s were held when suspendd ended; %s",
                        rescue_n_left(r),
                        r->name,
                        is_asleep ? "waiting for the host to wake" : "running them again");
        if (!is_asleep) {
                r->login1 = login1_free(r->login1);
                return rescue_begin(r, CYCLE_EVENT_ADOPT_AWAKE);
        }
        cycle_handle(r->cycle, CYCLE_EVENT_ADOPT_ASLEEP);
        return 0;
}

/* lifetime */

static void rescue_done(Rescue *r) {
        cycle_free(r->cycle);
        plugin_free(r->plugin);
        login1_free(r->login1);
        sd_bus_flush_close_unref(r->bus);
        journal_free(r->journal);
        runtime_state_free(r->runtime_state);
        config_free(r->config);
        host_wake_free(r->wake);
        sd_event_source_disable_unref(r->look);
        sd_event_source_disable_unref(r->limit);
        sd_event_source_disable_unref(r->timer);
        sd_event_unref(r->event);
}

static int rescue_start_loop(Rescue *r) {
        int k;

        k = sd_event_new(&r->event);
        if (k < 0)
                return k;
        k = sd_event_add_post(r->event, &r->look, on_look, r);
        if (k < 0)
                return k;
        (void) sd_event_source_set_description(r->look, "what-is-left");
        return host_wake_new(r->event, SD_EVENT_PRIORITY_IMPORTANT, r, &r->wake);
}

/* Who has the journal, should a daemon want it. */
static int rescue_tell_process(const char *runtime_dir) {
        _cleanup_free_ char *run = NULL, *path = NULL;
        int r;

        r = process_run_string(getpid(), &run);
        if (r < 0)
                return r;
        if (asprintf(&path, "%s/" PROCESS_FILE, runtime_dir) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        return file_replace(path, run, strlen(run));
}

static int rescue_open_files(Rescue *r) {
        _cleanup_free_ char *journal = NULL, *state = NULL, *kept = NULL;
        const ManagerOptions *o = r->options;
        int k;

        if (asprintf(&journal, "%s/" JOURNAL_FILE, o->runtime_dir) < 0 ||
            asprintf(&state, "%s/" RUNTIME_STATE_FILE, o->runtime_dir) < 0 ||
            asprintf(&kept, "%s/" RESCUE_CONFIG, o->runtime_dir) < 0)
                return -ENOMEM;
        k = journal_open(journal, &r->journal);
        if (k >= 0)
                k = rescue_tell_process(o->runtime_dir);
        if (k >= 0)
                k = runtime_state_open(state, &r->runtime_state);
        if (k >= 0)
                k = config_load_with_kept(o->config_file, kept, &r->config);
        return k;
}

static int rescue_load_plugin(Rescue *r) {
        const struct suspendd_plugin *api;
        const struct suspendd_setting *settings;
        struct suspendd_host host = cycle_host();
        size_t n = config_plugin_settings(r->config, r->name, &settings);
        int k;

        host.event = r->event;
        k = plugin_load(r->options->plugin_dir, r->name, &host, r->cycle, &r->plugin);
        if (k < 0)
                return k;
        plugin_register_again(r->plugin, r->runtime_state);
        api = r->plugin->api;
        return api->load ? api->load(r->plugin->instance, settings, n) : 0;
}

static int rescue_start(Rescue *r) {
        int k;

        k = rescue_start_loop(r);
        if (k >= 0)
                k = rescue_open_files(r);
        if (k >= 0)
                k = cycle_new(&rescue_ops, r, r->journal, 1, &r->cycle);
        if (k >= 0)
                k = engine_timer_new(r->event, r->cycle, &r->timer);
        if (k < 0)
                return log_error_errno(k, "Cannot begin");
        r->cycle->time_limit_usec = r->config->time_limit_usec;
        k = rescue_adopt(r);
        if (k >= 0)
                k = rescue_load_plugin(r);
        return k < 0 ? log_error_errno(k, "Cannot reach the machines of plugin %s", r->name) : 0;
}

static int rescue_plugin(const ManagerOptions *options, const char *name) {
        Rescue r = { .options = options, .name = name };
        int k;

        k = rescue_start(&r);
        if (k >= 0)
                k = sd_event_loop(r.event);
        if (k == 0 && rescue_n_left(&r) == 0)
                log_notice("No machine of plugin %s is held any more", name);
        else if (r.journal && rescue_complain(&r) > 0 && k == 0)
                k = EXIT_FAILURE;
        rescue_done(&r);
        return k == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* one plugin after another */

static int rescue_list_plugins(const char *runtime_dir, char ***ret) {
        _cleanup_(journal_freep) Journal *j = NULL;
        _cleanup_free_ char *path = NULL;
        int r;

        if (asprintf(&path, "%s/" JOURNAL_FILE, runtime_dir) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = journal_open(path, &j);
        return r < 0 ? r : plugins_of_journal(j, ret);
}

/* A plugin that crashes takes its own process with it. Returns: what the process returned; -ECANCELED; -errno. */
static int rescue_in_process(const ManagerOptions *options, const char *name) {
        int status;
        pid_t pid;

        pid = fork();
        if (pid < 0)
                return log_error_errno(-errno, "Cannot make a process for plugin %s", name);
        if (pid == 0)
                exit(rescue_plugin(options, name)); /* NOLINT(concurrency-mt-unsafe): it is alone */
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return log_error_errno(-errno, "Lost the process for plugin %s", name);
        if (WIFEXITED(status))
                return WEXITSTATUS(status);
        /* So ends whoever is in the way of a daemon, which does the rest. */
        if (WTERMSIG(status) == SIGTERM)
                return -ECANCELED;
        log_error("The rescue of plugin %s was killed by signal %d", name, WTERMSIG(status));
        return EXIT_FAILURE;
}

int rescue_run(const ManagerOptions *options) {
        int r, result = EXIT_SUCCESS;
        char **names;

        r = rescue_list_plugins(options->runtime_dir, &names);
        if (r == -EBUSY) {
                log_notice("suspendd is at work, and runs its machines itself");
                return EXIT_SUCCESS;
        }
        if (r < 0) {
                (void) log_error_errno(r, "Cannot read what is held");
                return EXIT_FAILURE;
        }
        if (!names[0])
                log_info("Nothing is held");
        for (size_t i = 0; names[i]; i++) {
                if (r != -ECANCELED)
                        r = rescue_in_process(options, names[i]);
                if (r != EXIT_SUCCESS && r != -ECANCELED)
                        result = EXIT_FAILURE;
                free(names[i]);
        }
        free(names);
        return result;
}

/* for a daemon that is started meanwhile */

static int rescue_find(const char *runtime_dir, pid_t *ret) {
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -1;
        char run[64];
        ssize_t n;

        if (asprintf(&path, "%s/" PROCESS_FILE, runtime_dir) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        n = read(fd, run, sizeof(run) - 1);
        if (n < 0)
                return -errno;
        run[n] = '\0';
        return process_find(run, ret);
}

static bool rescue_is_told_to_end(const char *runtime_dir) {
        pid_t pid = 0;

        if (rescue_find(runtime_dir, &pid) < 0 || pid <= 1 || kill(pid, SIGTERM) < 0)
                return false;
        log_notice("Taking over from the rescue");
        return true;
}

int rescue_end(const char *runtime_dir, const char *journal, Journal **ret) {
        uint64_t began = clock_now_usec(CLOCK_MONOTONIC), passed;
        bool is_told = false;
        int r;

        do {
                is_told = is_told || rescue_is_told_to_end(runtime_dir);
                (void) usleep(END_STEP_USEC);
                r = journal_open(journal, ret);
                passed = clock_now_usec(CLOCK_MONOTONIC) - began;
        } while (r == -EBUSY && passed < (is_told ? END_LIMIT_USEC : FIND_LIMIT_USEC));
        return r;
}
