/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Manager, Inside
 *
 * What manager.c (lifetime, what happens outside), manager-engine.c (what the engine wants done),
 * manager-plugins.c and manager-requests.c (what the bus asks for) share.
 */

#include "daemon/fd-store.h"
#include "daemon/host-wake.h"
#include "daemon/manager.h"

#define LOCK_WHY "VMs are suspended or paused before the host sleeps"

struct ManagerPrivate {
        sd_event_source *signals[3];
        sd_event_source *timer; /* the engine's one deadline */
        sd_event_source *quit_timer;
        sd_event_source *chores;       /* what can wait until nobody waits for us */
        sd_event_source *before_wait;  /* looks whether the bus is still there */
        sd_event_source *chores_timer; /* to do again what failed, if only for lack of memory */
        HostWake *wake;
        ModeStore *mode_store;
        FdStore *fd_store;
        char *blocked_why; /* what the block lock says; NULL: it is not asked for */
        bool is_ready, is_quitting, is_reload_due;
        Config *recovery; /* while machines of an earlier life are noted: with that by which they were found */
        bool is_lock_answered;
        bool is_named;       /* on the bus */
        bool is_delay_known; /* logind has said how long it waits */
        int lock_error;
};

/* Asks for the delay lock, unless it is held, or we are ending. */
void manager_take_lock(Manager *m);

/* Lets the chores run when nobody waits: block lock, readiness, status, a reload that is due. */
void manager_chores(Manager *m);

/* Has the block lock say who blocks, or lets go of it. Returns: 0; a negative errno, and it is to be called again. */
int manager_update_block(Manager *m);

/* The policy of a machine from the configuration, the command, and what is remembered. */
void manager_fill_policy(Manager *m, Machine *machine);

/* A mode has been written into a VM's own definition. */
void manager_on_mode_stored(void *userdata, Machine *machine);

/*
 * Puts the configuration into force: limits, policies, the plugins' settings.
 *
 * Returns: 0; -EMFILE and the like where a plugin lacked something to take its settings, and another try may help.
 */
int manager_apply_config(Manager *m);

/*
 * Keeps the configuration by which machines are held from now on, for a rescue to find them by. While
 * machines of an earlier life are noted, the one by which those were found stays, and counts as well.
 */
void manager_keep_config(Manager *m);

/* Tells the journal: manager-log.c. */
void manager_log_milestone(const Manager *m, CycleMilestone milestone);

/* What the engine wants done: manager-engine.c. */
extern const CycleOps manager_cycle_ops;

/* manager-plugins.c */

Plugin *manager_find_plugin(Manager *m, const char *name);

/* Whether all have looked at all that they were told of. */
bool manager_has_enumerated(const Manager *m);

/* Those that are configured and those that the journal names. Returns as manager_apply_config(), for a start. */
int manager_load_plugins(Manager *m);

/* Hands all plugins their settings. Returns as manager_apply_config(). */
int manager_load_settings(Manager *m);
