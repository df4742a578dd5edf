/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The model's daemon is the engine, but for clocks: both are given the same random inputs, and after
 * each of them they agree. SUSPENDD_TEST_SEED=N begins elsewhere, SUSPENDD_TEST_RANDOM=N sets how many.
 */

#include <check.h>
#include <inttypes.h>
#include "common/time-util.h"
#include "daemon/cycle-internal.h"
#include "daemon/log.h"
#include "daemon/plugin.h"
#include "model.h"

#define NOW_NS (1000 * NSEC_PER_SEC)
#define NOW_USEC ((uint64_t) (NOW_NS / NSEC_PER_USEC))
#define INPUTS 60
#define READINGS_MAX 20

/* The engine, with a VM that does nothing but keep what it is told. */
typedef struct Real {
        Cycle *cycle;
        Plugin *plugin;
        Journal *journal;
        const struct suspendd_host *host;
        struct suspendd_machine *machine; /* NULL: not announced */
        uint64_t step;
        unsigned run;
        bool refuses, has_agent, is_relative;
        bool is_announced, is_locked, is_lock_wanted;
} Real;

static Real real;
static char journal_path[64];

/* what the engine wants */

static void ops_now(void *userdata _unused_, ClockSample *ret) {
        *ret = (ClockSample){ NOW_NS, NOW_NS, NOW_NS };
}

static int64_t ops_clock(void *userdata _unused_, int clock _unused_) {
        return NOW_NS;
}

static void ops_stats(void *userdata _unused_, SuspendStats *ret) {
        *ret = (SuspendStats){ 0 };
}

static void real_grant(void) {
        real.is_locked |= real.is_lock_wanted && !real.is_announced;
}

static void ops_take_lock(void *userdata _unused_) {
        real.is_lock_wanted = true;
        real_grant();
}

static void ops_let_go(void *userdata _unused_) {
        real.is_locked = real.is_lock_wanted = false;
}

static void ops_arm(void *userdata _unused_, uint64_t usec _unused_) {
}

static void ops_on_milestone(
                void *userdata _unused_, CycleMilestone milestone _unused_, Machine *m _unused_) {
}

static void ops_on_machine(void *userdata _unused_, Machine *m _unused_) {
}

static void ops_fill_policy(void *userdata _unused_, Machine *m) {
        m->policy.time_sync = real.is_relative ? TIME_SYNC_RELATIVE : TIME_SYNC_ABSOLUTE;
}

static bool ops_has_ended(void *userdata _unused_, const char *key _unused_) {
        return true;
}

static const CycleOps ops = {
        .now = ops_now,
        .clock = ops_clock,
        .stats = ops_stats,
        .take_lock = ops_take_lock,
        .let_go = ops_let_go,
        .arm = ops_arm,
        .on_milestone = ops_on_milestone,
        .on_machine_added = ops_on_machine,
        .on_machine_removed = ops_on_machine,
        .on_machine_changed = ops_on_machine,
        .fill_policy = ops_fill_policy,
        .on_distrust = ops_on_machine,
        .has_ended = ops_has_ended,
};

/* the plugin */

static int same_create(const struct suspendd_host *host, void **ret) {
        real.host = host;
        *ret = &real;
        return 0;
}

static void same_destroy(void *instance _unused_) {
}

static int same_load(
                void *instance _unused_,
                const struct suspendd_setting *settings _unused_,
                size_t n_settings _unused_) {
        return 0;
}

static int same_act(void *vm _unused_, uint64_t step) {
        if (real.refuses)
                return -EBUSY;
        real.step = step;
        return SUSPENDD_PENDING;
}

/* Reading a clock is never refused: what follows on that is a matter of time. */
static int same_get_time(void *vm _unused_, uint64_t step) {
        real.step = step;
        return SUSPENDD_PENDING;
}

static int same_set_time(void *vm _unused_, uint64_t step, int64_t lead_ns _unused_) {
        real.step = step;
        return SUSPENDD_PENDING;
}

static const struct suspendd_plugin same_plugin = {
        .abi = SUSPENDD_PLUGIN_ABI,
        .size = sizeof(struct suspendd_plugin),
        .name = "same",
        .description = "A machine that keeps still",
        .create = same_create,
        .destroy = same_destroy,
        .load = same_load,
        .suspend = same_act,
        .pause = same_act,
        .resume = same_act,
        .wake = same_act,
        .get_time = same_get_time,
        .set_time = same_set_time,
};

static Machine *machine(void) {
        return (Machine *) (void *) real.machine;
}

static struct suspendd_machine_info info(char run[static 16]) {
        const char *why = real.has_agent ? NULL : "no guest agent";

        (void) snprintf(run, 16, "%u", real.run);
        return (struct suspendd_machine_info){
                .size = sizeof(struct suspendd_machine_info),
                .name = "vm",
                .run = run,
                .why_not = { [SUSPENDD_ACT_SUSPEND] = why,
                             [SUSPENDD_ACT_GET_TIME] = why,
                             [SUSPENDD_ACT_SET_TIME] = why },
        };
}

static void real_add(void) {
        char run[16];
        struct suspendd_machine_info i = info(run);

        if (real.host->machine_add(real.host, &real, &i, &real.machine) < 0)
                abort();
}

static void real_start(bool is_here, bool is_announced) {
        struct suspendd_host host = cycle_host();
        const JournalNote *notes;

        real.is_announced = is_announced;
        if (journal_open(journal_path, &real.journal) < 0 ||
            cycle_new(&ops, &real, real.journal, 1, &real.cycle) < 0)
                abort();
        cycle_set_delay_max(real.cycle, 5 * USEC_PER_SEC);
        if (plugin_new(&same_plugin, &host, real.cycle, &real.plugin) < 0)
                abort();
        ops_take_lock(NULL);
        if (journal_notes(real.journal, &notes) > 0)
                cycle_handle(real.cycle,
                             is_announced ? CYCLE_EVENT_ADOPT_ASLEEP : CYCLE_EVENT_ADOPT_AWAKE);
        if (is_here)
                real_add();
}

static void real_end(void) {
        real.cycle = cycle_free(real.cycle);
        real.plugin = plugin_free(real.plugin);
        real.journal = journal_free(real.journal);
        real.machine = NULL;
        real.is_locked = real.is_lock_wanted = false;
}

static void real_fire(uint64_t *timer) {
        if (*timer != 0)
                *timer = NOW_USEC;
        cycle_on_timer(real.cycle);
}

/* A clock is read until that is enough. */
static void real_tell_time(void) {
        const struct suspendd_time t = { NOW_NS, NOW_NS, NOW_NS };

        for (int i = 0; i < READINGS_MAX; i++) {
                Machine *m = machine();

                if (m->step == 0 || m->step_act != SUSPENDD_ACT_GET_TIME)
                        return;
                real.host->done_time(real.host, real.step, &t);
                if (machine()->state != MACHINE_CORRECTING)
                        return;
        }
}

/* inputs, to both */

typedef enum Input {
        INPUT_CYCLE, /* what others tell */
        INPUT_REHEARSE,
        INPUT_BUDGET,
        INPUT_REHEARSED,
        INPUT_RESTORED,
        INPUT_STATE,
        INPUT_STATE_AGAIN, /* so are machines and their answers: they come more often */
        INPUT_ANSWER,
        INPUT_REFUSAL,
        INPUT_TIME,
        INPUT_TIMER,
        INPUT_SYNC,
        INPUT_AGENT,
        INPUT_LOSE,
        INPUT_RENEW,
        INPUT_CRASH,
        INPUT_MAX,
} Input;

static uint64_t random_state;

static unsigned random_below(unsigned n) {
        random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        return (unsigned) (random_state >> 33) % n;
}

static bool both_told(Play *p) {
        static const CycleEvent told[] = {
                CYCLE_EVENT_SLEEP,       CYCLE_EVENT_WAKE,     CYCLE_EVENT_NOT_SLEEPING,
                CYCLE_EVENT_UNANNOUNCED, CYCLE_EVENT_SHUTDOWN, CYCLE_EVENT_QUIT,
                CYCLE_EVENT_SLEEP,       CYCLE_EVENT_WAKE,
        };
        CycleEvent event = told[random_below(ARRAY_LEN(told))];

        if (event == CYCLE_EVENT_SLEEP)
                p->s.is_announced = real.is_announced = true;
        if (event == CYCLE_EVENT_WAKE || event == CYCLE_EVENT_NOT_SLEEPING) {
                p->s.is_announced = real.is_announced = false;
                world_grant(&p->s);
                real_grant();
        }
        daemon_handle(p, event);
        cycle_handle(real.cycle, event);
        return true;
}

static bool both_budget(Play *p) {
        struct CyclePrivate *c = real.cycle->private;

        if (p->s.budget == 0)
                return false;
        if (p->s.budget == 1)
                real_fire(&c->overtake_usec);
        else
                real_fire(&c->deadline_usec);
        daemon_budget_over(p);
        return true;
}

static bool both_host(Play *p, Input input) {
        struct CyclePrivate *c = real.cycle->private;

        switch (input) {
        case INPUT_CYCLE:
                return both_told(p);
        case INPUT_REHEARSE:
                if (p->s.cycle != CYCLE_IDLE || p->s.is_announced)
                        return false;
                daemon_rehearse(p);
                ck_assert_int_eq(cycle_rehearse(real.cycle, USEC_PER_SEC), 0);
                return true;
        case INPUT_BUDGET:
                return both_budget(p);
        case INPUT_REHEARSED:
                if (p->s.cycle != CYCLE_SLEEPING || !TAKE(p->s.is_wake_armed, false))
                        return false;
                daemon_handle(p, CYCLE_EVENT_WAKE);
                real_fire(&c->wake_usec);
                return true;
        case INPUT_RESTORED:
                if (p->s.cycle != CYCLE_RESTORING || !TAKE(p->s.is_restored_armed, false))
                        return false;
                daemon_handle(p, CYCLE_EVENT_RESTORED);
                real_fire(&c->restored_usec);
                return true;
        default:
                return false;
        }
}

static bool both_see(Play *p) {
        enum suspendd_run_state state = SUSPENDD_STATE_RUNNING + random_below(4);

        if (state == p->s.vms[0].m.run_state)
                return false;
        daemon_on_state(p, 0, state);
        real.host->machine_state(real.machine, state, NULL, 0);
        return true;
}

static bool both_answer(Play *p, int result) {
        const ModelMachine *m = &p->s.vms[0].m;

        if (m->step == STEP_NONE)
                return false;
        if (m->step == SUSPENDD_ACT_GET_TIME && (result >= 0 || m->state != MACHINE_SAMPLING))
                return false;
        daemon_on_answer(p, 0, result);
        real.host->done(real.host, real.step, result, NULL);
        return true;
}

static bool both_time(Play *p) {
        if (p->s.vms[0].m.step != SUSPENDD_ACT_GET_TIME)
                return false;
        daemon_on_time(p, 0);
        real_tell_time();
        return true;
}

static bool both_timer(Play *p) {
        Machine *m = machine();

        if (!p->s.vms[0].m.is_timer_armed)
                return false;
        /* A clock that is given up may be asked once more before. */
        do {
                m->correction.give_up_usec = NOW_USEC;
                real_fire(&m->timer_usec);
        } while (p->s.vms[0].m.state == MACHINE_CORRECTING && m->state == MACHINE_CORRECTING);
        daemon_on_timer(p, 0);
        return true;
}

static bool both_sync(Play *p) {
        if (cycle_sync(real.cycle, machine()) < 0)
                return false;
        daemon_sync(p, 0);
        return true;
}

static bool both_agent(Play *p) {
        char run[16];
        struct suspendd_machine_info i;

        p->s.vms[0].has_agent = real.has_agent = !real.has_agent;
        i = info(run);
        real.host->machine_change(real.machine, &i);
        /* A clock that could not be read is, when its agent comes: in the model somebody syncs it. */
        if (machine()->state == MACHINE_CORRECTING && p->s.vms[0].m.state != MACHINE_CORRECTING)
                daemon_sync(p, 0);
        return true;
}

/* Out of reach and back, or another one in its place. */
static bool both_come_again(Play *p, bool is_lost) {
        if (is_lost) {
                daemon_on_state(p, 0, SUSPENDD_STATE_UNKNOWN);
                real.host->machine_state(real.machine, SUSPENDD_STATE_UNKNOWN, NULL, 0);
        } else if (p->s.vms[0].m.run_state == SUSPENDD_STATE_UNKNOWN)
                return false;
        daemon_remove(p, 0);
        real.host->machine_remove(real.machine);
        real.run += !is_lost;
        daemon_add(p, 0);
        real_add();
        return true;
}

/* What it is found as is told at once. */
static bool both_crash(Play *p) {
        ModelVm *vm = &p->s.vms[0];

        daemon_crash(p);
        real_end();
        real.refuses = false;
        vm->n_monitor = 0;
        vm->agent = AGENT_NOTHING;
        vm->is_paused = random_below(3) == 0;
        vm->is_suspended = random_below(3) == 0;
        daemon_start(p);
        real_start(true, p->s.is_announced);
        real.host->machine_state(real.machine, world_run_state(vm), NULL, 0);
        cycle_on_enumerated(real.cycle);
        return true;
}

static bool both_play(Play *p, Input input) {
        switch (input) {
        case INPUT_STATE:
        case INPUT_STATE_AGAIN:
                return both_see(p);
        case INPUT_ANSWER:
                return both_answer(p, 0);
        case INPUT_REFUSAL:
                return both_answer(p, -EIO);
        case INPUT_TIME:
                return both_time(p);
        case INPUT_TIMER:
                return both_timer(p);
        case INPUT_SYNC:
                return both_sync(p);
        case INPUT_AGENT:
                return both_agent(p);
        case INPUT_LOSE:
                return both_come_again(p, true);
        case INPUT_RENEW:
                return both_come_again(p, false);
        case INPUT_CRASH:
                return random_below(4) == 0 && both_crash(p);
        default:
                return both_host(p, input);
        }
}

/* whether they agree */

static uint8_t note_of(JournalNoteKind kind) {
        return kind == JOURNAL_NOTE_PAUSED || kind == JOURNAL_NOTE_SUSPENDED ? JOURNAL_NOTE_HELD
                                                                             : kind;
}

static const char *differ_machine(const Play *p) {
        const ModelMachine *x = &p->s.vms[0].m;
        const Machine *m = machine();
        uint8_t step = m->step == 0 ? STEP_NONE : (uint8_t) m->step_act;

        if (x->state != m->state)
                return "the machine's state";
        if (x->run_state != m->run_state)
                return "what is seen of it";
        if (x->state != MACHINE_CORRECTING && x->step != step)
                return "the step";
        if (x->noted != note_of(m->noted) || x->noted != p->s.vms[0].note)
                return "the note";
        if (x->is_suspend_owed != m->is_suspend_owed)
                return "whether a suspend is owed";
        if (x->is_stop_astray != m->is_stop_astray || x->is_run_astray != m->is_run_astray)
                return "what is astray";
        if (x->is_retry_due != m->is_retry_due && x->state == MACHINE_WAKING)
                return "the retry";
        if (x->is_timer_armed != (m->timer_usec != 0))
                return "the timer";
        if (x->is_from_before != m->is_from_before)
                return "whether it is from before";
        return NULL;
}

static const char *differ(const Play *p) {
        const struct CyclePrivate *c = real.cycle->private;

        if (p->s.cycle != real.cycle->state)
                return "the cycle's state";
        if (p->s.is_locked != real.is_locked || p->s.is_lock_wanted != real.is_lock_wanted)
                return "the lock";
        if (p->s.is_deadline_armed != (c->deadline_usec != 0))
                return "the deadline";
        if (p->s.is_overtake_armed != (c->overtake_usec != 0))
                return "the time for suspends";
        if (p->s.is_restored_armed != (c->restored_usec != 0))
                return "the time to restore";
        if (p->s.is_wake_armed != (c->wake_usec != 0))
                return "the rehearsal's end";
        if ((p->fault && strstr(p->fault, "NEVER")) != (c->n_bugs > 0))
                return "the cells of NEVER";
        return differ_machine(p);
}

static void play_one(uint64_t seed, char *fault, size_t size) {
        Play p = { .s = { .n_vms = 1 } };
        size_t n = 0;

        random_state = seed;
        (void) unlink(journal_path);
        real = (Real){ .has_agent = true, .is_relative = random_below(2) };
        world_init(&p.s, 1, real.is_relative, true);
        real_start(true, false);
        cycle_on_enumerated(real.cycle);
        real.host->machine_state(real.machine, SUSPENDD_STATE_RUNNING, NULL, 0);
        for (int i = 0; i < INPUTS && n < size; i++) {
                Input input = random_below(INPUT_MAX);
                const char *what;

                /* A channel that is full refuses; what is in it is nobody's concern here. */
                real.refuses = random_below(8) == 0;
                p.s.vms[0].n_monitor = real.refuses ? MODEL_QUEUE_MAX : 0;
                p.s.vms[0].agent = real.refuses ? AGENT_TOOK : AGENT_NOTHING;
                if (!both_play(&p, input))
                        continue;
                free(TAKE_PTR(machine()->distrust)); /* in the model, agents come and go instead */
                n += (size_t) snprintf(fault + n, size - n, " %d", (int) input);
                what = differ(&p);
                if (what) {
                        (void) snprintf(fault + n, size - n, ": %s", what);
                        real_end();
                        return;
                }
        }
        real_end();
        *fault = '\0';
}

static uint64_t from_environment(const char *name, uint64_t otherwise) {
        const char *s = getenv(name);

        return s && *s ? strtoull(s, NULL, 0) : otherwise;
}

START_TEST(test_model_does_what_the_engine_does) {
        uint64_t seed = from_environment("SUSPENDD_TEST_SEED", 1);
        uint64_t n = from_environment("SUSPENDD_TEST_RANDOM", 5000);
        char directory[] = "/tmp/suspendd-same-XXXXXX", fault[400];

        ck_assert_ptr_nonnull(mkdtemp(directory));
        (void) snprintf(journal_path, sizeof(journal_path), "%s/cycle", directory);
        for (uint64_t i = 0; i < n; i++) {
                play_one(seed + i, fault, sizeof(fault));
                ck_assert_msg(!*fault,
                              "SUSPENDD_TEST_SEED=%" PRIu64 " SUSPENDD_TEST_RANDOM=1:%s",
                              seed + i,
                              fault);
        }
        (void) unlink(journal_path);
        (void) rmdir(directory);
        printf("# %" PRIu64 " times %d random inputs\n", n, INPUTS);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("same");
        TCase *tcase = tcase_create("same");
        SRunner *runner;
        int n_failed;

        if (!getenv("SUSPENDD_LOG_LEVEL"))
                log_set_max_level(LOG_EMERG);
        tcase_set_timeout(tcase, 100);
        tcase_add_test(tcase, test_model_does_what_the_engine_does);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
