/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the engine promises over all sequences of events, and over a great many longer random ones.
 * A sequence is a word over the alphabet below. An event that finds nothing to happen to (a user
 * resumes what is not paused) changes nothing at all, so a word with such a letter is the same as the
 * word without it, and is looked at as that.
 *
 * SUSPENDD_TEST_QUICK=1 makes it short, sanitizers make it shorter; SUSPENDD_TEST_SEED=N begins the random ones at N;
 * SUSPENDD_TEST_RANDOM=N and SUSPENDD_TEST_LENGTH=N set how many and how long; SUSPENDD_TEST_TRACE=1
 * shows what the engine makes of a random one that broke a promise.
 */

#include <check.h>
#include <inttypes.h>
#include <time.h>
#include "common/time-util.h"
#include "daemon/log.h"
#include "rig.h"

#define WORD_MAX 48
#define SEED_DEFAULT UINT64_C(20261123)

/* One letter an event. A is the machine with an agent, B the one without. */
typedef enum Letter {
        LETTER_SLEEP,
        LETTER_WAKE,         /* after an hour's sleep if the lock was let go */
        LETTER_NOT_SLEEPING, /* the sleep has failed, or logind was restarted */
        LETTER_JUMP,         /* a sleep that nobody announced, or the end of a plain suspend */
        LETTER_NEXT,         /* time goes by to what is due next */
        LETTER_ANSWER,       /* the VMMs answer all that is pending */
        LETTER_STRIKE_A,     /* the suspend that the agent has taken */
        LETTER_USER_A,       /* its user pauses it, or resumes it */
        LETTER_USER_B,
        LETTER_GUEST_A, /* suspends itself, or wakes by itself */
        LETTER_NEW_A,   /* its VMM dies and another one starts */
        LETTER_FAIL_B,  /* an I/O error */
        LETTER_SHUTDOWN,
        LETTER_QUIT,
        LETTER_REHEARSE,
        LETTER_STEP,   /* the host's clock is set */
        LETTER_LOSE_A, /* out of reach and back */
        LETTER_MUTE_A, /* its agent goes away, or comes back */
        LETTER_DELAY,  /* InhibitDelayMaxSec is changed */
        LETTER_CRASH,  /* of the daemon, which is started again */
        LETTER_MAX,
} Letter;

static const char *const letter_names[] = {
        "SLEEP",    "WAKE",   "NOT_SLEEPING", "JUMP",   "NEXT",   "ANSWER",   "STRIKE_A",
        "USER_A",   "USER_B", "GUEST_A",      "NEW_A",  "FAIL_B", "SHUTDOWN", "QUIT",
        "REHEARSE", "STEP",   "LOSE_A",       "MUTE_A", "DELAY",  "CRASH",
};

_Static_assert(ARRAY_LEN(letter_names) == LETTER_MAX, "a name for each letter");

/* What the machines are like and what is wanted of them. */
typedef struct Setting {
        FakeAnswer a[SUSPENDD_ACT_MAX], b[SUSPENDD_ACT_MAX];
        Policy policy_a, policy_b;
        FakeReader reader_a, reader_b; /* what their guests make of their pages */
        bool is_stacking, is_shy;
        uint64_t delay_max_usec, late_usec;
        const char *journal_path;
} Setting;

typedef struct Word {
        Letter letters[WORD_MAX];
        size_t n;
} Word;

typedef struct Stage {
        Rig rig;
        FakeVm *a, *b;
} Stage;

/* the stage */

static void stage_init(Stage *s, const Setting *setting) {
        if (setting->journal_path)
                (void) unlink(setting->journal_path);
        rig_init(&s->rig,
                 &(RigOptions){ .delay_max_usec = setting->delay_max_usec,
                                .journal_path = setting->journal_path });
        s->a = rig_add(&s->rig, "a", &setting->policy_a);
        s->b = rig_add(&s->rig, "b", &setting->policy_b);
        (void) memcpy(s->a->answers, setting->a, sizeof(s->a->answers));
        (void) memcpy(s->b->answers, setting->b, sizeof(s->b->answers));
        s->a->is_stacking = setting->is_stacking;
        s->a->late_usec = s->b->late_usec = setting->late_usec;
        s->b->why_not[SUSPENDD_ACT_SUSPEND] = s->b->why_not[SUSPENDD_ACT_GET_TIME] =
                        s->b->why_not[SUSPENDD_ACT_SET_TIME] = "no guest agent";
        s->a->page.reader = setting->reader_a;
        s->b->page.reader = setting->reader_b;
        fake_vm_start(s->a);
        fake_vm_start(s->b);
        rig_start(&s->rig);
}

static bool toggle_user(FakeVm *vm) {
        return vm->is_paused || vm->is_in_error ? fake_vm_user_resume(vm) : fake_vm_user_pause(vm);
}

static bool toggle_guest(FakeVm *vm) {
        return vm->is_suspended ? fake_vm_guest_wake(vm) : fake_vm_guest_suspend(vm);
}

static void toggle_agent(FakeVm *vm) {
        const char *why = vm->why_not[SUSPENDD_ACT_GET_TIME] ? NULL : "the agent is away";

        vm->why_not[SUSPENDD_ACT_SUSPEND] = vm->why_not[SUSPENDD_ACT_GET_TIME] =
                        vm->why_not[SUSPENDD_ACT_SET_TIME] = why;
        fake_vm_change(vm);
}

static bool stage_jump(Rig *r) {
        if (!r->is_announced) {
                rig_jump(r, 600 * USEC_PER_SEC, 0);
                return true;
        }
        if (r->is_awake || r->is_locked || r->cycle->state != CYCLE_SLEEPING)
                return false;
        rig_wake_early(r, 600 * USEC_PER_SEC);
        return true;
}

static bool stage_rehearse(Rig *r) {
        if (r->is_announced || r->is_quitting)
                return false;
        return cycle_rehearse(r->cycle, 3 * USEC_PER_SEC) >= 0;
}

static bool stage_sleep(Rig *r) {
        if (r->is_quitting)
                return false;
        rig_sleep(r);
        return true;
}

static bool stage_crash(Rig *r) {
        if (!r->options.journal_path)
                return false;
        rig_crash(r);
        r->is_quitting = false;
        rig_start(r);
        return true;
}

static bool stage_delay(Rig *r) {
        static const uint64_t next_usec[] = {
                5 * USEC_PER_SEC, 1 * USEC_PER_SEC, 0, USEC_INFINITY
        };

        for (size_t i = 0; i < ARRAY_LEN(next_usec); i++)
                if (r->options.delay_max_usec == next_usec[i]) {
                        rig_delay_max(r, next_usec[(i + 1) % ARRAY_LEN(next_usec)]);
                        break;
                }
        return true;
}

/* What happens around the machines. Returns: whether there was anything to it. */
static bool stage_play_host(Stage *s, Letter letter) {
        Rig *r = &s->rig;

        switch (letter) {
        case LETTER_SLEEP:
                return stage_sleep(r);
        case LETTER_WAKE:
                rig_wake(r,
                         r->is_announced && !r->is_locked && !r->is_awake ? 3600 * USEC_PER_SEC
                                                                          : 0);
                return true;
        case LETTER_NOT_SLEEPING:
                rig_not_sleeping(r);
                return true;
        case LETTER_JUMP:
                return stage_jump(r);
        case LETTER_NEXT:
                return rig_next(r);
        case LETTER_SHUTDOWN:
                rig_handle(r, CYCLE_EVENT_SHUTDOWN);
                return true;
        case LETTER_QUIT:
                if (r->is_quitting)
                        return false;
                r->is_quitting = true;
                rig_handle(r, CYCLE_EVENT_QUIT);
                return true;
        case LETTER_REHEARSE:
                return stage_rehearse(r);
        case LETTER_STEP:
                rig_jump(r, 0, -1500 * NSEC_PER_MSEC);
                return true;
        case LETTER_DELAY:
                return stage_delay(r);
        case LETTER_CRASH:
                return stage_crash(r);
        default:
                return false;
        }
}

static bool stage_play(Stage *s, Letter letter) {
        FakeVm *a = s->a, *b = s->b;
        bool has_answered;

        switch (letter) {
        case LETTER_ANSWER:
                has_answered = fake_vm_answer(a);
                return fake_vm_answer(b) || has_answered;
        case LETTER_STRIKE_A:
                return fake_vm_strike(a);
        case LETTER_USER_A:
                return toggle_user(a);
        case LETTER_USER_B:
                return toggle_user(b);
        case LETTER_GUEST_A:
                return toggle_guest(a);
        case LETTER_NEW_A:
                fake_vm_end(a);
                fake_vm_start(a);
                return true;
        case LETTER_FAIL_B:
                return fake_vm_fail(b);
        case LETTER_LOSE_A:
                /* Only what is written down is found again. */
                if (!s->rig.options.journal_path)
                        return false;
                rig_lose(&s->rig, a);
                return true;
        case LETTER_MUTE_A:
                toggle_agent(a);
                return true;
        default:
                return stage_play_host(s, letter);
        }
}

/*
 * Plays the word from the beginning, and settles. Returns: how many of its letters had anything to
 * them; what is broken in @fault.
 */
static size_t word_play(const Word *w, const Setting *setting, char fault[static 160]) {
        Stage s;
        size_t i;

        stage_init(&s, setting);
        for (i = 0; i < w->n && !*s.rig.fault; i++) {
                if (!stage_play(&s, w->letters[i]))
                        break;
                rig_check(&s.rig);
        }
        if (i == w->n && !*s.rig.fault)
                rig_settle(&s.rig);
        (void) snprintf(fault, 160, "%s", s.rig.fault);
        rig_done(&s.rig);
        return *fault ? w->n : i;
}

static void word_format(const Word *w, char *buf, size_t size) {
        size_t n = 0;

        buf[0] = '\0';
        for (size_t i = 0; i < w->n && n < size; i++)
                n += (size_t) snprintf(buf + n, size - n, " %s", letter_names[w->letters[i]]);
}

/* all words up to a length */

typedef struct Walk {
        const Letter *alphabet;
        size_t n_alphabet, length;
        Setting setting;
        Word word;
        uint64_t n_played;
        Word worst; /* the shortest that broke a promise */
        char fault[160];
} Walk;

static void walk_try(Walk *k);

static void walk_deeper(Walk *k) {
        for (size_t i = 0; i < k->n_alphabet; i++) {
                k->word.letters[k->word.n++] = k->alphabet[i];
                walk_try(k);
                k->word.n--;
        }
}

static void walk_try(Walk *k) {
        char fault[160];

        if (*k->fault && k->word.n >= k->worst.n)
                return;
        if (word_play(&k->word, &k->setting, fault) < k->word.n)
                return;
        k->n_played++;
        if (*fault) {
                k->worst = k->word;
                (void) memcpy(k->fault, fault, sizeof(fault));
                return;
        }
        if (k->word.n < k->length)
                walk_deeper(k);
}

static bool is_quick(void) {
        const char *s = getenv("SUSPENDD_TEST_QUICK");

        return s && *s && !str_equal(s, "0");
}

static uint64_t from_environment(const char *name, uint64_t otherwise) {
        const char *s = getenv(name);

        return s && *s ? strtoull(s, NULL, 0) : otherwise;
}

/* the settings: an agent of each character, a monitor that answers later, others that do not */

static Setting setting_of(FakeAnswer suspend, FakeAnswer monitor) {
        Setting s = {
                .policy_a = POLICY_DEFAULT,
                .policy_b = POLICY_DEFAULT,
                .delay_max_usec = 5 * USEC_PER_SEC,
                .late_usec = 20 * USEC_PER_SEC,
                .is_stacking = true,
        };

        for (int act = 0; act < SUSPENDD_ACT_MAX; act++)
                s.a[act] = s.b[act] = FAKE_NOW;
        s.a[SUSPENDD_ACT_SUSPEND] = suspend;
        s.b[SUSPENDD_ACT_PAUSE] = s.b[SUSPENDD_ACT_RESUME] = monitor;
        return s;
}

static const Letter core_letters[] = {
        LETTER_SLEEP,  LETTER_WAKE,     LETTER_NOT_SLEEPING, LETTER_JUMP,  LETTER_NEXT,
        LETTER_ANSWER, LETTER_USER_A,   LETTER_USER_B,       LETTER_NEW_A, LETTER_GUEST_A,
        LETTER_FAIL_B, LETTER_STRIKE_A, LETTER_SHUTDOWN,     LETTER_QUIT,  LETTER_REHEARSE,
};

static double seconds_since(const struct timespec *t) {
        struct timespec now;

        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (double) (now.tv_sec - t->tv_sec) + (double) (now.tv_nsec - t->tv_nsec) / 1e9;
}

static void walk_all(const char *what, const Setting *setting, size_t length) {
        Walk k = {
                .alphabet = core_letters,
                .n_alphabet = ARRAY_LEN(core_letters),
                .length = length,
                .setting = *setting,
        };
        struct timespec began;
        char text[600];

        (void) clock_gettime(CLOCK_MONOTONIC, &began);
        walk_deeper(&k);
        word_format(&k.worst, text, sizeof(text));
        printf("# %s: %" PRIu64 " words of up to %zu letters out of %zu, %.1f s\n",
               what,
               k.n_played,
               length,
               k.n_alphabet,
               seconds_since(&began));
        (void) fflush(stdout);
        ck_assert_msg(!*k.fault, "%s:%s: %s", what, text, k.fault);
}

/* Instrumented, the same takes six times as long. */
#ifdef __SANITIZE_ADDRESS__
#define LENGTH 5
#define RANDOM_WORDS 200000
#else
#define LENGTH 6
#define RANDOM_WORDS 1000000
#endif

static size_t length(void) {
        return (size_t) from_environment("SUSPENDD_TEST_LENGTH", is_quick() ? 4 : LENGTH);
}

START_TEST(test_all_words_with_an_agent_that_suspends_late) {
        Setting s = setting_of(FAKE_LATE, FAKE_LATER);

        walk_all("late agent, slow monitor", &s, length());
}
END_TEST

START_TEST(test_all_words_with_an_agent_that_lies_and_a_monitor_that_hangs) {
        Setting s = setting_of(FAKE_LIE, FAKE_NEVER);

        walk_all("lying agent, hung monitor", &s, length());
}
END_TEST

START_TEST(test_all_words_with_an_agent_that_suspends) {
        Setting s = setting_of(FAKE_LATER, FAKE_NOW);

        walk_all("honest agent, quick monitor", &s, length());
}
END_TEST

/* random words: the setting, too, comes from the seed */

static uint64_t random_next(uint64_t *state) {
        uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

static Policy random_policy(uint64_t *state) {
        Policy p = POLICY_DEFAULT;

        p.mode = (Mode) (random_next(state) % MODE_MAX);
        p.time_sync = (TimeSync) (random_next(state) % TIME_SYNC_MAX);
        return p;
}

static FakeReader random_reader(uint64_t *state) {
        uint64_t x = random_next(state);

        return (FakeReader){
                .is_there = x % 2,
                .is_stuck = x / 2 % 8 == 0,
                .is_guarding = x / 16 % 4 != 0,
                .late_usec = x / 64 % 4 ? 10 * USEC_PER_MSEC : x / 256 % 5000 * USEC_PER_MSEC,
        };
}

static Setting random_setting(uint64_t *state) {
        static const uint64_t delays[] = { 5 * USEC_PER_SEC, 1 * USEC_PER_SEC, 0, USEC_INFINITY };
        Setting s = {
                .policy_a = random_policy(state),
                .policy_b = random_policy(state),
                .is_stacking = random_next(state) % 2,
                .delay_max_usec = delays[random_next(state) % 8 < 5 ? 0 : random_next(state) % 4],
                .late_usec = (random_next(state) % 20) * USEC_PER_SEC,
                .reader_a = random_reader(state),
                .reader_b = random_reader(state),
        };

        for (int act = 0; act < SUSPENDD_ACT_MAX; act++) {
                s.a[act] = (FakeAnswer) (random_next(state) % FAKE_ANSWER_MAX);
                s.b[act] = (FakeAnswer) (random_next(state) % FAKE_ANSWER_MAX);
                if (random_next(state) % 2)
                        s.a[act] = s.b[act] = FAKE_LATER;
        }
        return s;
}

static void random_word(uint64_t *state, Word *w) {
        size_t n = 7 + random_next(state) % (WORD_MAX - 7);

        for (w->n = 0; w->n < n; w->n++) {
                uint64_t x = random_next(state) % (LETTER_MAX + 6);

                /* Sleep, wake and time are what the rest happens in. */
                w->letters[w->n] = x < LETTER_MAX       ? (Letter) x
                                   : x < LETTER_MAX + 2 ? LETTER_SLEEP
                                   : x < LETTER_MAX + 3 ? LETTER_WAKE
                                                        : LETTER_NEXT;
        }
}

/* Letters with nothing to them are passed over: long words would hardly ever be played whole. */
static void word_play_loosely(const Word *w, const Setting *setting, char fault[static 160]) {
        Stage s;

        stage_init(&s, setting);
        for (size_t i = 0; i < w->n && !*s.rig.fault; i++) {
                (void) stage_play(&s, w->letters[i]);
                rig_check(&s.rig);
        }
        if (!*s.rig.fault)
                rig_settle(&s.rig);
        (void) snprintf(fault, 160, "%s", s.rig.fault);
        rig_done(&s.rig);
}

/* Leaves out letters for as long as it still breaks a promise. */
static void word_shorten(Word *w, const Setting *setting, char fault[static 160]) {
        for (size_t i = w->n; i-- > 0;) {
                Word shorter = *w;
                char still[160];

                shorter.n--;
                (void) memmove(&shorter.letters[i],
                               &shorter.letters[i + 1],
                               (shorter.n - i) * sizeof(Letter));
                word_play_loosely(&shorter, setting, still);
                if (!*still)
                        continue;
                *w = shorter;
                (void) memcpy(fault, still, sizeof(still));
                i = w->n;
        }
}

static void random_play(uint64_t seed, const char *journal_path) {
        uint64_t state = seed;
        Setting setting = random_setting(&state);
        char fault[160], text[900];
        Word w;

        random_word(&state, &w);
        setting.journal_path = journal_path;
        word_play_loosely(&w, &setting, fault);
        if (!*fault)
                return;
        word_shorten(&w, &setting, fault);
        if (getenv("SUSPENDD_TEST_TRACE")) {
                log_set_max_level(LOG_DEBUG);
                word_play_loosely(&w, &setting, fault);
        }
        word_format(&w, text, sizeof(text));
        ck_abort_msg("SUSPENDD_TEST_SEED=%" PRIu64 " SUSPENDD_TEST_RANDOM=1:%s: %s",
                     seed,
                     text,
                     fault);
}

static void random_many(const char *what, uint64_t n, const char *journal_path) {
        uint64_t seed = from_environment("SUSPENDD_TEST_SEED", SEED_DEFAULT);
        struct timespec began;

        n = from_environment("SUSPENDD_TEST_RANDOM", n);
        (void) clock_gettime(CLOCK_MONOTONIC, &began);
        for (uint64_t i = 0; i < n; i++)
                random_play(seed + i, journal_path);
        printf("# %s: %" PRIu64 " random words of 7 to %d letters, seeds from %" PRIu64
               ", %.1f s\n",
               what,
               n,
               WORD_MAX - 1,
               seed,
               seconds_since(&began));
        (void) fflush(stdout);
}

START_TEST(test_random_words) {
        random_many("no crash", is_quick() ? 5000 : RANDOM_WORDS, NULL);
}
END_TEST

START_TEST(test_random_words_with_crashes) {
        char directory[] = "/tmp/suspendd-promises-XXXXXX";
        char path[sizeof(directory) + 8];

        ck_assert_ptr_nonnull(mkdtemp(directory));
        (void) snprintf(path, sizeof(path), "%s/cycle", directory);
        random_many("with crashes", is_quick() ? 200 : 20000, path);
        (void) unlink(path);
        (void) rmdir(directory);
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *test) {
        TCase *tcase = tcase_create(name);

        tcase_set_timeout(tcase, 100);
        tcase_add_test(tcase, test);
        suite_add_tcase(suite, tcase);
}

int main(void) {
        Suite *suite = suite_create("promises");
        SRunner *runner = srunner_create(suite);
        int n_failed;

        if (!getenv("SUSPENDD_LOG_LEVEL"))
                log_set_max_level(LOG_EMERG);
        add(suite, "all-late", test_all_words_with_an_agent_that_suspends_late);
        add(suite, "all-lie", test_all_words_with_an_agent_that_lies_and_a_monitor_that_hangs);
        add(suite, "all-honest", test_all_words_with_an_agent_that_suspends);
        add(suite, "random", test_random_words);
        add(suite, "crashes", test_random_words_with_crashes);

        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
