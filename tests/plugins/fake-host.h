/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Fake Host
 *
 * Stands for suspendd's core before a plugin: records what it is told, and runs the loop until what a
 * test waits for has come. Waiting ends after ten seconds, with a failed test.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>
#include "plugins/plugin-api.h"

#define FAKE_MACHINES_MAX 1200
#define FAKE_DONES_MAX 4096
#define FAKE_TEXT_MAX 128
#define FAKE_KEPT_MAX 64

struct suspendd_machine {
        struct FakeHost *fake;
        void *vm;
        bool is_there;
        char name[FAKE_TEXT_MAX], uuid[FAKE_TEXT_MAX], run[FAKE_TEXT_MAX], vmm[FAKE_TEXT_MAX];
        char address[FAKE_TEXT_MAX], mode[FAKE_TEXT_MAX], mode_source[FAKE_TEXT_MAX];
        char why_not[SUSPENDD_ACT_MAX][FAKE_TEXT_MAX];
        unsigned n_changes, n_states;
        unsigned told_at; /* the last state, in the order of all that was told */
        enum suspendd_run_state state;
        char detail[FAKE_TEXT_MAX];
        int64_t boottime_ns;
};

typedef struct FakeDone {
        uint64_t step;
        unsigned told_at;
        int result;
        char why[FAKE_TEXT_MAX];
        bool is_time;
        struct suspendd_time time;
} FakeDone;

/* What keep_fd() was given: a descriptor of its own for the same, as the real one has. */
typedef struct FakeKept {
        char name[2 * FAKE_TEXT_MAX];
        int fd;
} FakeKept;

typedef struct FakeHost {
        struct suspendd_host host;
        struct suspendd_machine *machines;
        size_t n_machines; /* announced so far, those that are gone among them */
        FakeDone *dones;
        size_t n_dones;
        FakeDone stored; /* the last answer to a store_mode() */
        unsigned n_told, n_enumerated, n_warnings, n_stored;
        char trouble[FAKE_TEXT_MAX], warning[2 * FAKE_TEXT_MAX]; /* the last ones */
        int add_error;                                           /* what machine_add() answers */
        int keep_error;                                          /* what keep_fd() answers */
        bool is_told;                                            /* what is_told() answers */
        FakeKept kept[FAKE_KEPT_MAX];
        size_t n_kept;
        unsigned n_keeps; /* so far */
        void (*on_state)(struct FakeHost *f, struct suspendd_machine *m);
} FakeHost;

void fake_host_init(FakeHost *f);
void fake_host_done(FakeHost *f);

/* One turn of the loop, of at most @usec. */
void fake_host_turn(FakeHost *f, uint64_t usec);

/* Runs the loop for @usec. */
void fake_host_spend(FakeHost *f, uint64_t usec);

/* Runs the loop until @_condition holds. */
#define FAKE_HOST_WAIT(_f, _condition)                                     \
        do {                                                               \
                uint64_t _until = fake_host_deadline();                    \
                while (!(_condition)) {                                    \
                        ck_assert_msg(fake_host_deadline_is_ahead(_until), \
                                      "waited in vain for %s",             \
                                      #_condition);                        \
                        fake_host_turn((_f), 20000);                       \
                }                                                          \
        } while (false)

uint64_t fake_host_deadline(void);
bool fake_host_deadline_is_ahead(uint64_t usec);

/* The machine of that name that is there, or NULL. */
struct suspendd_machine *fake_host_find(FakeHost *f, const char *name);

/* How many are there. */
size_t fake_host_count(const FakeHost *f);

/* How often @step was ended, and how the first time; NULL if not yet. */
size_t fake_host_count_done(const FakeHost *f, uint64_t step);
const FakeDone *fake_host_find_done(const FakeHost *f, uint64_t step);

/* The descriptor that is kept by that name, or -1. */
int fake_host_kept(const FakeHost *f, const char *name);
