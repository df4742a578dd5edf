/* SPDX-License-Identifier: MIT-0 */
#pragma once

/*
 * Plugin Contract
 *
 * A plugin is a shared object that exports one constant, suspendd_plugin. It announces machines and
 * what becomes of them to the host (suspendd's core), and carries out acts on them. The core decides
 * modes, order, deadlines and retries; the plugin says what it can and what it sees.
 *
 * Every call comes on the loop's thread and returns at once. An act is given the id of a step; it
 * returns SUSPENDD_PENDING and later answers host->done() once, or it returns a negative errno and
 * never answers. Ids are never used again: an answer that comes late, twice, or after cancel() does
 * nothing. Only what host->machine_state() reports counts as a machine's standing or running; an
 * answer of 0 says that the VMM or the guest has taken the command, no more. What a machine is asked
 * for by pause, resume and wake is carried out in that order, also what was cancelled, and the answer
 * to one comes when all before it has been carried out. A suspend must be answered 0 as soon as it is
 * out of the plugin's hands: from then on it can strike at any time, and the core watches for that. It
 * alone may be answered once more, with an error, if it is refused after all.
 */

#include <stddef.h>
#include <stdint.h>

#define SUSPENDD_PLUGIN_ABI 3
#define SUSPENDD_PENDING 1

struct sd_event;
struct suspendd_host;
struct suspendd_machine;

enum suspendd_run_state {
        SUSPENDD_STATE_UNKNOWN,   /* not yet, or no longer, visible */
        SUSPENDD_STATE_RUNNING,   /* its vCPUs run */
        SUSPENDD_STATE_PAUSED,    /* its vCPUs are held, by us or by another client of the VMM */
        SUSPENDD_STATE_SUSPENDED, /* suspended to RAM by its own kernel (S3) */
        SUSPENDD_STATE_OTHER, /* stopped for a reason that is never ours: I/O error, migration, … */
        SUSPENDD_STATE_MAX,
        SUSPENDD_STATE_INVALID = -22,
};

enum suspendd_act {
        SUSPENDD_ACT_SUSPEND,  /* ask the guest to suspend itself to RAM */
        SUSPENDD_ACT_PAUSE,    /* hold its vCPUs */
        SUSPENDD_ACT_RESUME,   /* let paused vCPUs run */
        SUSPENDD_ACT_WAKE,     /* wake a suspended machine, paused on top or not */
        SUSPENDD_ACT_GET_TIME, /* read the guest's wall clock */
        SUSPENDD_ACT_SET_TIME, /* set the guest's wall clock */
        SUSPENDD_ACT_MAX,
        SUSPENDD_ACT_INVALID = -22,
};

/* A machine as its plugin sees it. All strings are borrowed for the call; NULL when not known. */
struct suspendd_machine_info {
        uint32_t size;    /* sizeof(struct suspendd_machine_info) */
        const char *name; /* what people call it; need not be unique */
        const char *uuid; /* textual, or NULL */
        const char *run; /* this start of the VMM ("PID.STARTTIME"): another run, another machine */
        const char *vmm; /* "QEMU 7.2.22" */
        const char *address; /* where the plugin reaches it, for people */
        /* Why it cannot do an act, in words ("no guest agent"); NULL if it can. */
        const char *why_not[SUSPENDD_ACT_MAX];
        /* The mode that the VM's own definition wants ("pause"), and where it says so; NULL if nowhere. */
        const char *mode;
        const char *mode_source;
};

/* One reading of a guest's wall clock, between two of the host's CLOCK_REALTIME. */
struct suspendd_time {
        int64_t guest_ns;
        int64_t host_before_ns;
        int64_t host_after_ns;
};

/* The moments of a cycle at which a machine's guest is told what its clocks lack. */
enum suspendd_drift_phase {
        SUSPENDD_DRIFT_STOPPING, /* it is about to be asked to stand */
        SUSPENDD_DRIFT_STOOD,    /* it stands, since from_boottime_ns */
        SUSPENDD_DRIFT_RUNNING, /* it is about to be let run; to_boottime_ns is as far as it is known to stand */
        SUSPENDD_DRIFT_RAN,  /* it runs, since to_boottime_ns */
        SUSPENDD_DRIFT_LOOK, /* nothing was held; the host slept unannounced, or its clock was set */
        SUSPENDD_DRIFT_MET, /* it was announced, or is seen to run after others held it: nothing is owed */
        SUSPENDD_DRIFT_MAX,
        SUSPENDD_DRIFT_INVALID = -22,
};

/* What happens to a machine's time. Borrowed for the call. */
struct suspendd_drift {
        uint32_t size; /* sizeof(struct suspendd_drift) */
        enum suspendd_drift_phase phase;
        const char *name;
        const char *uuid; /* or NULL */
        const char *run;  /* as the machine was announced, or NULL */
        uint64_t cycle;   /* its number */
        int is_seen;      /* the guest suspended itself: its own kernel makes up for the span */
        int64_t from_boottime_ns,
                        to_boottime_ns; /* the span it stood; 0 where the phase has none */
        int64_t host_realtime_ns, host_boottime_ns; /* now */
        int64_t host_stepped_ns; /* by how much the host's clock was set since the daemon began */
};

/* What a guest says of its own accord, by the page. A hint. */
struct suspendd_answer {
        uint32_t size;
        int corrects_realtime; /* it has a reader that puts its wall clock right */
        int corrects_boottime;
        int is_current;                 /* it has taken note of all that was published */
        int64_t applied_ns, refused_ns; /* of the last cycle */
};

/* One line of the plugin's section in the configuration. */
struct suspendd_setting {
        const char *key;
        const char *value;
        const char *file;
        unsigned line;
};

/* What the core offers. The host outlives the plugin's instance. */
struct suspendd_host {
        uint32_t abi;
        uint32_t size;
        struct sd_event *event; /* the loop, borrowed */

        /*
         * Announces a machine. @vm is handed back with each act on it. Its run state is UNKNOWN until
         * machine_state() tells; acts may come from within machine_state().
         *
         * Returns: 0 and a handle valid until machine_remove(); -ENOMEM; -EINVAL without a name;
         * -EEXIST if this very run of that machine has been announced already.
         */
        int (*machine_add)(
                        const struct suspendd_host *host,
                        void *vm,
                        const struct suspendd_machine_info *info,
                        struct suspendd_machine **ret);

        /* Tells what the machine is and can do now; name, uuid and run must be as announced. */
        void (*machine_change)(
                        struct suspendd_machine *m, const struct suspendd_machine_info *info);

        /*
         * Tells a run state that was seen, with the VMM's own word for it ("io-error") or NULL, and the
         * CLOCK_BOOTTIME at which it came to be, 0 for now.
         */
        void (*machine_state)(
                        struct suspendd_machine *m,
                        enum suspendd_run_state state,
                        const char *detail,
                        int64_t boottime_ns);

        /*
         * The machine is gone: no act comes for it any more and its steps are over. Its VMM has ended,
         * unless the last state told of it is UNKNOWN: then it is only out of reach, and what we did to
         * it is undone should that very run of it be announced again. Not to be called from within an
         * act on it.
         */
        void (*machine_remove)(struct suspendd_machine *m);

        /*
         * Whether the machine's guest is told what its clocks lack: then when it stopped is worth being known better
         * than an act that nobody counts needs it.
         */
        int (*is_told)(const struct suspendd_machine *m);

        /* All that the configuration names has been looked at once. Called once after each load(). */
        void (*enumerated)(const struct suspendd_host *host);

        /* Ends the step: 0, or a negative errno with the reason in words or NULL. */
        void (*done)(const struct suspendd_host *host, uint64_t step, int result, const char *why);

        /* Ends a get_time step with a reading. */
        void (*done_time)(
                        const struct suspendd_host *host,
                        uint64_t step,
                        const struct suspendd_time *t);

        /* Answers store_mode(): 0, or a negative errno with the reason in words or NULL. */
        void (*stored)(const struct suspendd_host *host,
                       uint64_t request,
                       int result,
                       const char *why);

        /*
         * Tells people what is wrong with the plugin as a whole ("qemu:///system does not answer"), until it
         * is told something else; NULL if nothing is. Copied.
         */
        void (*trouble)(const struct suspendd_host *host, const char *text);

        /*
         * Keeps @fd open for the next life of the daemon, should this one end; the plugin's own descriptor stays
         * its own. @name: 1 to 200 of [A-Za-z0-9_.-]. Returns: 0; -EOPNOTSUPP if nobody keeps it; -EINVAL;
         * -ENOSPC if no more can be kept.
         */
        int (*keep_fd)(const struct suspendd_host *host, const char *name, int fd);

        /* No longer: all that were kept by that name, by an earlier life as well. */
        void (*drop_fd)(const struct suspendd_host *host, const char *name);

        /* Logs one line; @level is syslog(3)'s, @m may be NULL. */
        void (*log)(const struct suspendd_host *host,
                    int level,
                    const struct suspendd_machine *m,
                    const char *format,
                    ...) __attribute__((format(printf, 4, 5)));
};

/* A plugin. Functions that it has no use for are NULL. */
struct suspendd_plugin {
        uint32_t abi;  /* SUSPENDD_PLUGIN_ABI */
        uint32_t size; /* sizeof(struct suspendd_plugin) */
        const char *name;
        const char *description;

        /* lifetime: create() only allocates; destroy() ends all, announces nothing more */
        int (*create)(const struct suspendd_host *host, void **ret_instance);
        void (*destroy)(void *instance);

        /*
         * Takes the whole of its configuration, at the start and at each reload, and begins to announce.
         * A bad setting is logged with its file and line and left out.
         */
        int (*load)(void *instance, const struct suspendd_setting *settings, size_t n_settings);

        /*
         * Adds a machine by hand: @name or NULL, @address and @agent as the plugin understands them, the
         * latter NULL to find it by the plugin's own rule. Those of an earlier life are added before the
         * first load(); one that is not there then is waited for.
         *
         * Returns: 0; -EINVAL for a bad address, with the reason in *@ret_why (static); -EEXIST.
         */
        int (*register_machine)(
                        void *instance,
                        const char *name,
                        const char *address,
                        const char *agent,
                        const char **ret_why);

        /* Forgets what register_machine() was given as @address. Returns: 0; -ENOENT. */
        int (*unregister_machine)(void *instance, const char *address);

        /*
         * Whether that start of a VMM (a machine's run) has ended for certain, so that there is nothing left
         * to undo. Returns: 1; 0 if it has not, or that cannot be told. NULL: never certain.
         */
        int (*has_ended)(void *instance, const char *run);

        /*
         * Somebody who sees VMs come and go, a hook script for instance, says that @event happens to the VM
         * @name: "prepare", "started", "stopped". A hint to look, never a fact. Returns: 0; -ENOTSUP.
         */
        int (*notify)(void *instance, const char *event, const char *name);

        /*
         * Writes @mode into the VM's own definition, or takes it out if NULL; answered by host->stored(),
         * after host->machine_change() has told what the definition says now. It has 30 s.
         * Returns: SUSPENDD_PENDING; a negative errno, then it is not answered.
         */
        int (*store_mode)(void *vm, uint64_t request, const char *mode);

        /*
         * Tells a machine's guest by a page and, but for STOOD, RUNNING and MET, an interrupt. At RUNNING all is in
         * the page before it returns: the guest's first instruction finds it there. A span may be told more
         * than once, also in another life of the daemon, and is counted once.
         * Returns: 1; 0 if this plugin has nothing shared with that machine; a negative errno.
         */
        int (*drift)(void *instance, const struct suspendd_drift *drift);

        /* The name of the page that is shared with that machine, borrowed until the next call; NULL: none is. */
        const char *(*page_name)(void *instance, const char *name, const char *uuid);

        /* What the guest answers. Returns: 1; 0 if it has not, or nothing is shared with it. */
        int (*answer)(void *instance,
                      const char *name,
                      const char *uuid,
                      struct suspendd_answer *ret);

        /*
         * Makes a page for the machine that is, or will be, called @name or has that UUID. @owner is the user
         * that its VMM runs as (a name or a number; NULL: root), @vectors how many interrupts its doorbell has,
         * @notifies whether something in the guest's tables tells it of changes to the VMClock part.
         * Returns: 0; -EEXIST; -EINVAL, with the reason in *@ret_why (static); another errno.
         */
        int (*page_create)(
                        void *instance,
                        const char *name,
                        const char *owner,
                        unsigned vectors,
                        int notifies,
                        const char **ret_why);

        /* Returns: 0; -ENOENT; -EBUSY, with the reason in *@ret_why, while a VMM has it, unless @force. */
        int (*page_remove)(void *instance, const char *name, int force, const char **ret_why);

        /* All pages, as a JSON array of objects, to be freed by the caller; NULL without memory. */
        char *(*page_list)(void *instance);

        /*
         * Gives back a descriptor that host->keep_fd() was given in an earlier life, before load() is called;
         * it is the plugin's. One that it has no use for it closes.
         */
        void (*restore_fd)(void *instance, const char *name, int fd);

        /* acts on a machine; each returns SUSPENDD_PENDING or a negative errno */
        int (*suspend)(void *vm, uint64_t step);
        int (*pause)(void *vm, uint64_t step);
        int (*resume)(void *vm, uint64_t step);
        int (*wake)(void *vm, uint64_t step);
        int (*get_time)(void *vm, uint64_t step);

        /*
         * Sets the guest's wall clock to CLOCK_REALTIME at the instant of sending plus @lead_ns, which is
         * the way there and what the guest shall be ahead.
         */
        int (*set_time)(void *vm, uint64_t step, int64_t lead_ns);

        /* The step is over, unanswered. What is on its way cannot be called back. */
        void (*cancel)(void *vm, uint64_t step);
};

/* What a plugin's shared object exports, and the symbol's name for dlsym(3). */
extern const struct suspendd_plugin suspendd_plugin;
#define SUSPENDD_PLUGIN_SYMBOL "suspendd_plugin"
