/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sockets that come, go and never were, before the whole plugin. */

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include "common/clock-sample.h"
#include "common/time-util.h"
#include "fake-peer.h"
#include "lacking-timers.h"
#include "scratch.h"

#define PEERS 3

static FakeHost fake;
static FakePeer peers[PEERS];
static void *instance;
static char paths[PEERS][128];

/* what is lacking */

static bool lacks_descriptors;
static unsigned n_closed_twice;

int __real_close(int fd);
int __wrap_close(int fd);
int __real_process_run_string(pid_t pid, char **ret);
int __wrap_process_run_string(pid_t pid, char **ret);

int __wrap_close(int fd) {
        int r = __real_close(fd);

        n_closed_twice += r < 0 && errno == EBADF;
        return r;
}

int __wrap_process_run_string(pid_t pid, char **ret) {
        return lacks_descriptors ? -EMFILE : __real_process_run_string(pid, ret);
}

/* set up */

static void set_up(void) {
        scratch_make();
        fake_host_init(&fake);
        for (int i = 0; i < PEERS; i++)
                peers[i] = (FakePeer){ .fd = -1, .listen_fd = -1 };
        ck_assert_int_eq(suspendd_plugin.create(&fake.host, &instance), 0);
}

static void tear_down(void) {
        suspendd_plugin.destroy(instance);
        for (int i = 0; i < PEERS; i++)
                fake_peer_done(&peers[i]);
        fake_host_done(&fake);
        scratch_remove();
}

/* Loads one setting; %s in @value is the scratch folder. */
static void load(const char *key, const char *value) {
        struct suspendd_setting setting = { .key = key, .file = "test.conf", .line = 7 };
        unsigned n_enumerated = fake.n_enumerated;
        const char *rest = strstr(value, "%s");
        char text[256];

        (void) snprintf(text,
                        sizeof(text),
                        "%.*s%s%s",
                        rest ? (int) (rest - value) : (int) strlen(value),
                        value,
                        rest ? scratch : "",
                        rest ? rest + 2 : "");
        setting.value = text;
        ck_assert_int_eq(suspendd_plugin.load(instance, &setting, 1), 0);
        ck_assert_uint_eq(fake.n_enumerated, n_enumerated); /* not from within */
}

static void make_directory(const char *name) {
        ck_assert_int_eq(mkdir(scratch_path(name), 0755), 0);
}

static void appear(int i, const char *name) {
        (void) snprintf(paths[i], sizeof(paths[i]), "%s/%s", scratch, name);
        fake_peer_listen(&peers[i], &fake, paths[i]);
}

static void vanish(int i) {
        ck_assert_int_eq(unlink(paths[i]), 0);
        fake_peer_done(&peers[i]);
}

/* Plays the monitor until the machine is announced. */
static struct suspendd_machine *serve(int i, const char *name) {
        fake_peer_accept(&peers[i]);
        fake_peer_identify(&peers[i], name, "running");
        FAKE_HOST_WAIT(&fake, fake_host_find(&fake, name));
        return fake_host_find(&fake, name);
}

static bool is_asked(int i) {
        int fd = accept4(peers[i].listen_fd, NULL, NULL, SOCK_NONBLOCK);

        if (fd >= 0)
                (void) close(fd);
        return fd >= 0;
}

/* tests */

START_TEST(test_nothing_to_find_is_found_at_once) {
        uint64_t before_usec = clock_now_usec(CLOCK_MONOTONIC);

        load("Directory", "%s/none/at/all");
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        ck_assert_uint_le(clock_now_usec(CLOCK_MONOTONIC) - before_usec, USEC_PER_SEC);
        ck_assert_uint_eq(fake.n_machines, 0);
}
END_TEST

START_TEST(test_sockets_that_stand_are_found) {
        appear(0, "a.qmp");
        appear(1, "b.qmp");
        appear(2, "b.qga");
        load("Socket", "%s/*");
        serve(0, "a");
        ck_assert_uint_eq(fake.n_enumerated, 0);
        serve(1, "b");
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        ck_assert_uint_eq(fake_host_count(&fake), 2);
}
END_TEST

/* Nothing can be opened for a while, and no inotify tells when that is over. */
START_TEST(test_what_cannot_be_opened_is_tried_again) {
        static const struct {
                const char *key, *value;
        } settings[] = { { "Directory", "%s" }, { "Monitor", "a %s/a.qmp" } };
        struct rlimit limit, none = { 0 };

        appear(0, "a.qmp");
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none.rlim_max = limit.rlim_max;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        load(settings[_i].key, settings[_i].value);
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        (void) serve(0, "a");
}
END_TEST

/* inotify has told, and does not tell twice. */
START_TEST(test_socket_that_comes_while_memory_is_lacking_is_found) {
        load("Directory", "%s");
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        n_timers_lacking = 1;
        appear(0, "a.qmp");
        FAKE_HOST_WAIT(&fake, n_timers_lacking == 0);
        serve(0, "a");
}
END_TEST

START_TEST(test_sockets_that_come_later_are_found) {
        load("Directory", "%s");
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        appear(0, "a.qmp");
        serve(0, "a");
        appear(1, "b.qmp");
        serve(1, "b");
        ck_assert_uint_eq(fake.n_enumerated, 1);
}
END_TEST

/* As appear(), of a socket that was made just now. Returns: when, by CLOCK_MONOTONIC. */
static uint64_t appear_anew(int i, const char *name) {
        uint64_t now_usec = clock_now_usec(CLOCK_MONOTONIC);

        appear(i, name);
        fake_peer_date(paths[i], clock_now_ns(CLOCK_REALTIME));
        return now_usec;
}

/* Waits for the connection, which a QEMU that was made at @made_usec can bear by now. */
static void await_patient_client(int i, uint64_t made_usec) {
        fake_peer_accept(&peers[i]);
        ck_assert_uint_ge(clock_now_usec(CLOCK_MONOTONIC) - made_usec, 250 * USEC_PER_MSEC);
}

START_TEST(test_socket_that_is_new_is_left_in_peace_for_a_moment) {
        uint64_t made_usec = appear_anew(0, "a.qmp");

        load("Directory", "%s");
        await_patient_client(0, made_usec);
        ck_assert_uint_eq(fake.n_enumerated, 0);
        fake_peer_identify(&peers[0], "a", "running");
        FAKE_HOST_WAIT(&fake, fake_host_find(&fake, "a"));
        ck_assert_uint_eq(fake.n_enumerated, 1);

        /* the next one at that path as well, for all that the end of the first is followed up at once */
        vanish(0);
        made_usec = appear_anew(0, "a.qmp");
        await_patient_client(0, made_usec);
        made_usec = appear_anew(1, "b.qmp");
        await_patient_client(1, made_usec);
}
END_TEST

START_TEST(test_socket_of_a_clock_that_was_set_back_is_not_waited_for) {
        appear(0, "a.qmp");
        fake_peer_date(paths[0], clock_now_ns(CLOCK_REALTIME) + 3600 * NSEC_PER_SEC);
        load("Directory", "%s");
        ck_assert(is_asked(0));
}
END_TEST

START_TEST(test_directories_that_come_later_are_found) {
        load("Socket", "%s/vms/*/run/qmp.sock");
        make_directory("vms");
        fake_host_spend(&fake, 100 * USEC_PER_MSEC);
        make_directory("vms/web");
        make_directory("vms/web/run");
        appear(0, "vms/web/run/qmp.sock");
        serve(0, "web");
        make_directory("vms/db");
        fake_host_spend(&fake, 100 * USEC_PER_MSEC);
        make_directory("vms/db/run");
        fake_host_spend(&fake, 100 * USEC_PER_MSEC);
        appear(1, "vms/db/run/qmp.sock");
        serve(1, "db");
}
END_TEST

START_TEST(test_directory_that_is_made_anew_is_found_again) {
        make_directory("vms");
        load("Directory", "%s/vms");
        appear(0, "vms/a.qmp");
        serve(0, "a");
        vanish(0);
        FAKE_HOST_WAIT(&fake, fake_host_count(&fake) == 0);
        ck_assert_int_eq(rmdir(scratch_path("vms")), 0);
        fake_host_spend(&fake, 100 * USEC_PER_MSEC);
        make_directory("vms");
        appear(0, "vms/a.qmp");
        serve(0, "a");
}
END_TEST

START_TEST(test_what_is_no_socket_is_left_alone) {
        scratch_write("file.qmp", "");
        make_directory("directory.qmp");
        load("Directory", "%s");
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        ck_assert_uint_eq(fake.n_warnings, 0);
}
END_TEST

START_TEST(test_socket_that_nobody_serves_is_given_up_soon) {
        appear(0, "a.qmp");
        fake_peer_done(&peers[0]);
        load("Directory", "%s");
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        fake_host_spend(&fake, 3500 * USEC_PER_MSEC); /* all retries */
        ck_assert_int_eq(sd_event_run(fake.host.event, 3500 * USEC_PER_MSEC), 0);
        ck_assert_uint_eq(fake.n_machines, 0);

        /* its successor is another socket */
        ck_assert_int_eq(unlink(paths[0]), 0);
        appear(0, "a.qmp");
        serve(0, "a");
}
END_TEST

START_TEST(test_broken_one_is_not_tried_for_anothers_sake) {
        appear(0, "a.qmp");
        load("Directory", "%s");
        serve(0, "a");
        fake_peer_say(&peers[0], "rubbish\n");
        FAKE_HOST_WAIT(&fake, fake_host_count(&fake) == 0);
        appear(1, "b.qmp");
        serve(1, "b");
        ck_assert(!is_asked(0));
}
END_TEST

START_TEST(test_one_whose_answers_are_lost_is_connected_to_anew_each_time) {
        appear(0, "a.qmp");
        load("Directory", "%s");
        for (uint64_t i = 0; i < 3; i++) {
                uint64_t before_usec = clock_now_usec(CLOCK_MONOTONIC);
                struct suspendd_machine *m = serve(0, "a");

                ck_assert_uint_lt(clock_now_usec(CLOCK_MONOTONIC) - before_usec, USEC_PER_SEC);
                ck_assert_int_eq(suspendd_plugin.resume(m->vm, 10 * i + 1), SUSPENDD_PENDING);
                ck_assert_int_eq(suspendd_plugin.wake(m->vm, 10 * i + 2), SUSPENDD_PENDING);
                FAKE_HOST_WAIT(&fake, fake_peer_is_closed(&peers[0]) && !m->is_there);
        }
}
END_TEST

START_TEST(test_socket_is_tried_until_it_is_listened_to) {
        load("Directory", "%s");
        appear(0, "late.qmp");
        fake_peer_done(&peers[0]);
        fake_host_spend(&fake, 200 * USEC_PER_MSEC);
        ck_assert_int_eq(unlink(paths[0]), 0);
        appear(0, "late.qmp");
        serve(0, "late");
}
END_TEST

START_TEST(test_others_comings_and_goings_wake_nobody_for_long) {
        char name[32];

        load("Directory", "%s");
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        for (int i = 0; i < 20; i++) {
                (void) snprintf(name, sizeof(name), "other-%d", i);
                make_directory(name);
        }
        fake_host_turn(&fake, 0); /* takes note, and has no reason to look */
        ck_assert_int_eq(sd_event_run(fake.host.event, 200 * USEC_PER_MSEC), 0);
}
END_TEST

START_TEST(test_machine_by_name_has_that_name) {
        char value[256];

        appear(0, "odd");
        (void) snprintf(value, sizeof(value), "mine %s/odd %s/agent-of-odd", scratch, scratch);
        load("Monitor", value);
        fake_peer_accept(&peers[0]);
        fake_peer_identify(&peers[0], "theirs", "running");
        FAKE_HOST_WAIT(&fake, fake_host_find(&fake, "mine"));
        appear(1, "agent-of-odd");
        fake_peer_accept(&peers[1]);
        fake_peer_sync(&peers[1]);
}
END_TEST

START_TEST(test_bad_settings_are_logged_with_their_line) {
        load("Socket", "relative/*.qmp");
        load("Nonsense", "yes");
        load("Socket", "//");
        ck_assert_uint_eq(fake.n_warnings, 3);
        FAKE_HOST_WAIT(&fake, fake.n_enumerated >= 1);
}
END_TEST

START_TEST(test_reload_keeps_what_is_the_same) {
        struct suspendd_machine *m;

        appear(0, "a.qmp");
        load("Directory", "%s");
        m = serve(0, "a");
        load("Socket", "%s/*.qmp");
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 2);
        ck_assert(m->is_there);
        ck_assert(!is_asked(0));
        load("Socket", "%s/*.sock");
        ck_assert(!m->is_there);
}
END_TEST

static unsigned n_arrays; /* until one is not to be had */

__typeof__(reallocarray) __real_reallocarray, __wrap_reallocarray;

void *__wrap_reallocarray(void *p, size_t n, size_t size) {
        if (n_arrays > 0 && --n_arrays == 0)
                return NULL;
        return __real_reallocarray(p, n, size);
}

START_TEST(test_registered_machines_outlive_a_reload_for_which_memory_is_lacking) {
        const struct suspendd_setting setting = { .key = "Directory", .value = scratch };
        const char *why = NULL;

        load("Directory", "%s/none");
        for (int i = 0; i < 2; i++) {
                appear(i, (const char *[]){ "a.sock", "b.sock" }[i]);
                ck_assert_int_eq(
                                suspendd_plugin.register_machine(
                                                instance, NULL, paths[i], NULL, &why),
                                0);
                serve(i, (const char *[]){ "a", "b" }[i]);
        }
        n_arrays = (unsigned) _i + 1;
        (void) suspendd_plugin.load(instance, &setting, 1);
        n_arrays = 0;
        load("Directory", "%s");
        appear(2, "c.qmp");
        serve(2, "c");
        ck_assert_ptr_nonnull(fake_host_find(&fake, "a"));
        ck_assert_ptr_nonnull(fake_host_find(&fake, "b"));
        ck_assert_int_eq(suspendd_plugin.unregister_machine(instance, paths[0]), 0);
        ck_assert_int_eq(suspendd_plugin.unregister_machine(instance, paths[1]), 0);
}
END_TEST

START_TEST(test_registered_machine_outlives_a_reload) {
        const char *why = NULL;

        load("Directory", "%s/none");
        appear(0, "a.sock");
        ck_assert_int_eq(suspendd_plugin.register_machine(instance, NULL, paths[0], NULL, &why), 0);
        serve(0, "a");
        load("Directory", "%s/none");
        ck_assert_ptr_nonnull(fake_host_find(&fake, "a"));
        ck_assert_int_eq(suspendd_plugin.unregister_machine(instance, paths[0]), 0);
        ck_assert_ptr_null(fake_host_find(&fake, "a"));
        ck_assert_int_eq(
                        suspendd_plugin.register_machine(instance, NULL, "a.sock", NULL, &why),
                        -EINVAL);
}
END_TEST

/* Its VM may be down when the daemon is started again, and started after it. */
START_TEST(test_one_of_an_earlier_life_is_waited_for) {
        const char *path = scratch_path("a.sock"), *why = NULL;

        ck_assert_int_eq(suspendd_plugin.register_machine(instance, NULL, path, NULL, &why), 0);
        load("Directory", "%s/none");
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        ck_assert_int_eq(
                        suspendd_plugin.register_machine(instance, NULL, path, NULL, &why),
                        -EINVAL); /* no longer: there is no socket */
        appear(0, "a.sock");
        serve(0, "a");
        ck_assert_int_eq(
                        suspendd_plugin.register_machine(instance, NULL, path, NULL, &why),
                        -EEXIST);
        ck_assert_int_eq(suspendd_plugin.unregister_machine(instance, paths[0]), 0);
        ck_assert_int_eq(suspendd_plugin.unregister_machine(instance, paths[0]), -ENOENT);
}
END_TEST

START_TEST(test_slow_ones_do_not_hold_up_the_enumeration) {
        uint64_t before_usec = clock_now_usec(CLOCK_MONOTONIC);

        appear(0, "a.qmp");
        appear(1, "b.qmp");
        load("Directory", "%s");
        fake_peer_accept(&peers[1]);
        fake_peer_say(&peers[1], "{\"QMP\": {}}\n"); /* and not a word more */
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        ck_assert_uint_le(clock_now_usec(CLOCK_MONOTONIC) - before_usec, 2500 * USEC_PER_MSEC);
        FAKE_HOST_WAIT(&fake, fake_host_count(&fake) == 2);
}
END_TEST

/* what may not be believed */

static void give(const char *name, uid_t user) {
        ck_assert_int_eq(lchown(scratch_path(name), user, user), 0);
}

/* One at which nobody listens. */
static void make_socket(const char *name, uid_t owner) {
        ck_assert_int_eq(mknod(scratch_path(name), S_IFSOCK | 0600, 0), 0);
        give(name, owner);
}

/* As appear(), but @listener listens. */
static void appear_of(int i, const char *name, uid_t listener) {
        ck_assert_int_eq(chmod(scratch, 0777), 0);
        ck_assert_int_eq(seteuid(listener), 0);
        appear(i, name);
        ck_assert_int_eq(seteuid(0), 0);
        ck_assert_int_eq(chmod(scratch, 0755), 0);
}

/* Runs the loop until @text has been warned of. */
static void await_warning(const char *text) {
        FAKE_HOST_WAIT(&fake, strstr(fake.warning, text));
}

/* Connected, and then there is none left to look at the process: closed once, and tried again. */
START_TEST(test_connection_that_cannot_be_kept_is_closed_once) {
        lacks_descriptors = true;
        n_closed_twice = 0;
        appear(0, "a.qmp");
        load("Directory", "%s");
        await_warning("a.qmp");
        ck_assert_uint_eq(n_closed_twice, 0);
        lacks_descriptors = false;
        fake_peer_accept(&peers[0]);
        fake_peer_done(&peers[0]);
        (void) unlink(paths[0]);
        appear(0, "a.qmp");
        serve(0, "a");
}
END_TEST

START_TEST(test_socket_that_others_could_have_made_is_left_alone_until_they_cannot) {
        make_directory("vms");
        ck_assert_int_eq(chmod(scratch_path("vms"), 0757), 0);
        appear(0, "vms/a.qmp");
        load("Directory", "%s/vms");
        FAKE_HOST_WAIT(&fake, fake.n_enumerated == 1);
        await_warning("vms/a.qmp is left out: others may write");
        ck_assert(!is_asked(0));
        /* looked at again, and not told again */
        appear(1, "vms/b.qga");
        fake_host_spend(&fake, 200 * USEC_PER_MSEC);
        ck_assert_uint_eq(fake.n_warnings, 1);
        ck_assert(!is_asked(0));
        ck_assert_int_eq(chmod(scratch_path("vms"), 0755), 0);
        serve(0, "a");
}
END_TEST

START_TEST(test_directory_of_doubt_is_gone_into_once_it_is_beyond_doubt) {
        make_directory("open");
        make_directory("open/vms");
        ck_assert_int_eq(chmod(scratch_path("open"), 0757), 0);
        appear(0, "open/vms/a.qmp");
        load("Directory", "%s/open/vms");
        await_warning("open/vms is left out");
        ck_assert(!is_asked(0));
        ck_assert_int_eq(chmod(scratch_path("open"), 0755), 0);
        serve(0, "a");
}
END_TEST

START_TEST(test_registered_path_is_checked_and_the_reason_told) {
        const char *why = NULL;

        make_directory("vms");
        ck_assert_int_eq(chmod(scratch_path("vms"), 0757), 0);
        appear(0, "vms/a.sock");
        ck_assert_int_eq(
                        suspendd_plugin.register_machine(instance, NULL, paths[0], NULL, &why),
                        -EINVAL);
        ck_assert_str_eq(why, "others may write to the directory that it is in");
        ck_assert(!is_asked(0));
}
END_TEST

START_TEST(test_users_link_is_not_followed) {
        appear(0, "secret");
        make_directory("joe");
        ck_assert_int_eq(symlink("../secret", scratch_path("joe/a.qmp")), 0);
        give("joe/a.qmp", JOE);
        give("joe", JOE);
        load("Directory", "%s/joe");
        await_warning("joe/a.qmp is left out: it is a symbolic link");
        appear(1, "joe/b.qmp");
        give("joe/b.qmp", JOE);
        serve(1, "b");
        ck_assert(!is_asked(0));
}
END_TEST

START_TEST(test_listener_is_the_owner_or_root) {
        appear_of(0, "a.qmp", EVE);
        give("a.qmp", JOE);
        load("Directory", "%s");
        await_warning("a.qmp cannot be connected to: another user listens there");
        ck_assert_uint_eq(fake.n_machines, 0);
        ck_assert(is_asked(0)); /* asked for his name, and told nothing */
        give("a.qmp", EVE);
        serve(0, "a");
        appear_of(1, "b.qmp", 0);
        give("b.qmp", JOE);
        serve(1, "b");
}
END_TEST

START_TEST(test_agents_socket_is_of_the_same_user_as_the_monitors) {
        char text[64];
        int fd;

        appear_of(0, "a.qmp", EVE);
        appear_of(1, "a.qga", 0);
        load("Directory", "%s");
        serve(0, "a");
        await_warning("a.qga: another user listens there than at the monitor");
        fd = accept4(peers[1].listen_fd, NULL, NULL, SOCK_NONBLOCK);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(recv(fd, text, sizeof(text), MSG_DONTWAIT), 0);
        ck_assert_int_eq(close(fd), 0);

        /* his own is good */
        vanish(1);
        appear_of(1, "a.qga", EVE);
        fake_peer_accept(&peers[1]);
        fake_peer_sync(&peers[1]);
        ck_assert_uint_eq(fake.n_warnings, 1);
}
END_TEST

static const struct {
        const char *suffix;
        int n;
} crowds[] = {
        { ".qmp", 600 }, { "", 9000 }, /* and not one that matches */
};

START_TEST(test_user_with_too_many_names_is_nobody_elses_trouble) {
        char name[64];

        make_directory("eve");
        make_directory("joe");
        make_directory("zoe");
        for (int i = 0; i < crowds[_i].n; i++) {
                (void) snprintf(name, sizeof(name), "joe/%d%s", i, crowds[_i].suffix);
                make_socket(name, JOE);
        }
        give("joe", JOE);
        /* in whatever order they are come to, some come after him */
        for (int i = 0; i < 20; i++) {
                (void) snprintf(name, sizeof(name), "%d", i);
                make_directory(name);
                give(name, EVE);
                (void) strcat(name, "/x.qmp");
                make_socket(name, EVE);
        }
        appear(0, "eve/a.qmp");
        give("eve", EVE);
        appear(1, "zoe/b.qmp");
        give("zoe", EVE);
        load("Socket", "%s/*/*.qmp");
        serve(0, "a");
        serve(1, "b");
        await_warning("joe is left out: there are too many names in it");
        ck_assert_uint_eq(fake.n_warnings, 1);
}
END_TEST

static void add_tests_of_trust(TCase *c) {
        tcase_add_test(c, test_connection_that_cannot_be_kept_is_closed_once);
        tcase_add_test(c, test_socket_that_others_could_have_made_is_left_alone_until_they_cannot);
        tcase_add_test(c, test_directory_of_doubt_is_gone_into_once_it_is_beyond_doubt);
        tcase_add_test(c, test_registered_path_is_checked_and_the_reason_told);
        if (geteuid() != 0)
                return; /* for the others somebody has to be several users */
        tcase_add_test(c, test_users_link_is_not_followed);
        tcase_add_test(c, test_listener_is_the_owner_or_root);
        tcase_add_test(c, test_agents_socket_is_of_the_same_user_as_the_monitors);
        tcase_add_loop_test(
                        c,
                        test_user_with_too_many_names_is_nobody_elses_trouble,
                        0,
                        ARRAY_LEN(crowds));
}

int main(void) {
        TCase *c = tcase_create("sockets");

        tcase_add_checked_fixture(c, set_up, tear_down);
        tcase_set_timeout(c, 60);
        tcase_add_test(c, test_nothing_to_find_is_found_at_once);
        tcase_add_test(c, test_sockets_that_stand_are_found);
        tcase_add_loop_test(c, test_what_cannot_be_opened_is_tried_again, 0, 2);
        tcase_add_test(c, test_socket_that_comes_while_memory_is_lacking_is_found);
        tcase_add_test(c, test_sockets_that_come_later_are_found);
        tcase_add_test(c, test_socket_that_is_new_is_left_in_peace_for_a_moment);
        tcase_add_test(c, test_socket_of_a_clock_that_was_set_back_is_not_waited_for);
        tcase_add_test(c, test_directories_that_come_later_are_found);
        tcase_add_test(c, test_directory_that_is_made_anew_is_found_again);
        tcase_add_test(c, test_what_is_no_socket_is_left_alone);
        tcase_add_test(c, test_socket_that_nobody_serves_is_given_up_soon);
        tcase_add_test(c, test_broken_one_is_not_tried_for_anothers_sake);
        tcase_add_test(c, test_one_whose_answers_are_lost_is_connected_to_anew_each_time);
        tcase_add_test(c, test_socket_is_tried_until_it_is_listened_to);
        tcase_add_test(c, test_others_comings_and_goings_wake_nobody_for_long);
        tcase_add_test(c, test_machine_by_name_has_that_name);
        tcase_add_test(c, test_bad_settings_are_logged_with_their_line);
        tcase_add_test(c, test_reload_keeps_what_is_the_same);
        tcase_add_test(c, test_registered_machine_outlives_a_reload);
        tcase_add_loop_test(
                        c,
                        test_registered_machines_outlive_a_reload_for_which_memory_is_lacking,
                        0,
                        4);
        tcase_add_test(c, test_one_of_an_earlier_life_is_waited_for);
        tcase_add_test(c, test_slow_ones_do_not_hold_up_the_enumeration);
        add_tests_of_trust(c);
        return scratch_run(c, "qmp-discovery");
}
