/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * logind, As We See It
 *
 * Turns what logind says, and what becomes of logind itself, into few words: a sleep is announced;
 * it is over; there is none, though nobody says so. The last is found out whenever in doubt: by
 * PreparingForSleep read again and the state of systemd's sleep units, for a logind that was
 * restarted or killed never sends the signal that ends a sleep.
 *
 * Source: org.freedesktop.login1(5), systemd's src/login/logind-dbus.c.
 */

#include <systemd/sd-bus.h>
#include "common/macro.h"
#include "common/time-util.h"

typedef struct Login1 Login1;

typedef struct Login1Ops {
        /* PrepareForSleep. A true may come twice, a false may never come. */
        void (*on_sleep)(void *userdata, bool start);
        /* PrepareForShutdown. */
        void (*on_shutdown)(void *userdata, bool start);
        /* While in doubt: nothing is being prepared, no sleep unit is at work, for as long as asked. */
        void (*on_not_sleeping)(void *userdata);
        /*
         * After login1_slept(): what is at work is a plain suspend, as systemd has it. Returns: whether its
         * one sleep is over by what else is known; if not, this is called again. NULL: it never is.
         */
        bool (*on_woke)(void *userdata);
        /* InhibitDelayMaxUSec was read: 0 locks are ignored, USEC_INFINITY. */
        void (*on_delay_max)(void *userdata, uint64_t usec);
        /* logind went away (false) or came (true). */
        void (*on_present)(void *userdata, bool present);
} Login1Ops;

/* lifetime */

/*
 * Subscribes to logind's signals. The bus keeps the order, so nothing falls between this and what is asked
 * for next by the same connection. Call it before the lock is taken and login1_start() after.
 */
int login1_new(sd_bus *bus, const Login1Ops *ops, void *userdata, Login1 **ret);
Login1 *login1_free(Login1 *l);

DEFINE_CLEANUP(Login1 *, login1_free);

/* Reads PreparingForSleep, asynchronously: on_sleep(true) follows if a sleep is under way. */
int login1_start(Login1 *l);

/* questions */

/* Whether logind is on the bus; false until the bus has answered. */
bool login1_is_present(const Login1 *l);

/*
 * PreparingForSleep, waited for, for two seconds at most: a logind that hangs must not keep us from running
 * machines again. False also if there is no answer.
 */
bool login1_is_preparing(sd_bus *bus);

/* Reads InhibitDelayMaxUSec, asynchronously; it is marked constant and is not. */
int login1_query_delay_max(Login1 *l);

/* With a sleep that was announced, and of which nothing more is heard. */
#define LOGIN1_PATIENCE_USEC (10 * USEC_PER_SEC)

/*
 * Begins to doubt that a sleep is still under way: asks every 250 ms until the answer has been no for
 * @patience_usec without a break, then calls on_not_sleeping() once. It begins by itself, with no
 * patience, when logind's owner changes, and ends by itself with a PrepareForSleep. A new call with less
 * patience shortens it. A no counts when it has held for 100 ms: a sleep service whose start logind
 * asked for before it went is not yet at work.
 */
void login1_doubt(Login1 *l, uint64_t patience_usec);

/*
 * The host has slept since a sleep was announced, and nobody has said yet that this is over: doubts, with
 * LOGIN1_PATIENCE_USEC, and calls on_woke() if what is at work is a plain suspend. Hooks of that, and logind
 * itself, may take seconds more.
 */
void login1_slept(Login1 *l);

void login1_trust(Login1 *l); /* ends the doubt */
