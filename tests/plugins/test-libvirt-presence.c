/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A libvirt's folder, played in a scratch one: what is there, and what is told when it comes. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "fake-host.h"
#include "plugins/libvirt/presence.h"

typedef struct Layout {
        const char *uri;    /* with @ for the scratch folder */
        const char *socket; /* the rest below it */
        const char *state;
} Layout;

static const Layout layouts[] = {
        { "qemu+unix:///system?socket=@/libvirt/libvirt-sock",
          "/libvirt/libvirt-sock",
          "/libvirt/qemu" },
        { "qemu+unix:///session?socket=@/libvirt/virtqemud-sock",
          "/libvirt/virtqemud-sock",
          "/libvirt/qemu/run" },
        { "qemu:///system?mode=direct&socket=@/%6cibvirt/libvirt-sock&no_verify=1",
          "/libvirt/libvirt-sock",
          "/libvirt/qemu" },
        /* Names that look like one another, and one that ends otherwise than libvirt's do. */
        { "qemu:///system?socket=@/no-qemu/a.socket", "/no-qemu/a.socket", "/no-qemu/qemu" },
        { "qemu:///session?socket=@/a/b/qemu-run/s", "/a/b/qemu-run/s", "/a/b/qemu-run/qemu/run" },
};

static FakeHost fake;
static char root[32];
static unsigned n_changes;

static void on_change(void *userdata) {
        ck_assert_ptr_eq(userdata, &fake);
        n_changes++;
}

static void set_up(void) {
        (void) strcpy(root, "/tmp/test-presence-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(root));
        fake_host_init(&fake);
        n_changes = 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        (void) st;
        (void) type;
        (void) ftw;
        return remove(path);
}

static void remove_all(const char *path) {
        (void) nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void tear_down(void) {
        fake_host_done(&fake);
        remove_all(root);
}

static const char *below(const char *rest) {
        static char path[108]; /* as long as a socket's may be */

        (void) snprintf(path, sizeof(path), "%s%s", root, rest);
        return path;
}

static const char *below_state(const Layout *l, const char *rest) {
        char path[64];

        (void) snprintf(path, sizeof(path), "%s%s", l->state, rest);
        return below(path);
}

static Presence *presence_of(const char *uri) {
        Presence *p;
        const char *mark = strchr(uri, '@');
        char whole[256];

        (void) snprintf(whole,
                        sizeof(whole),
                        "%.*s%s%s",
                        mark ? (int) (mark - uri) : (int) strlen(uri),
                        uri,
                        mark ? root : "",
                        mark ? mark + 1 : "");
        ck_assert_int_eq(presence_new(fake.host.event, whole, on_change, &fake, &p), 0);
        return p;
}

/* what comes */

/* The folders down to @rest, which is one itself. */
static void make_folders(const char *rest) {
        char path[256];

        (void) snprintf(path, sizeof(path), "%s", below(rest));
        for (char *slash = path + strlen(root); (slash = strchr(slash + 1, '/')); *slash = '/') {
                *slash = 0;
                ck_assert(mkdir(path, 0755) >= 0 || errno == EEXIST);
        }
        ck_assert(mkdir(path, 0755) >= 0 || errno == EEXIST);
}

static void make_folder_of(const char *rest) {
        char folder[128];

        (void) snprintf(folder, sizeof(folder), "%s", rest);
        *strrchr(folder, '/') = 0;
        make_folders(folder);
}

static void touch(const char *folder, const char *name) {
        char path[256];
        int fd;

        (void) snprintf(path, sizeof(path), "%s%s/%s", root, folder, name);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        ck_assert_int_ge(fd, 0);
        (void) close(fd);
}

static void make_socket(const char *rest) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ck_assert_int_ge(fd, 0);
        (void) snprintf(a.sun_path, sizeof(a.sun_path), "%s", below(rest));
        ck_assert_int_ge(bind(fd, (struct sockaddr *) &a, sizeof(a)), 0);
        (void) close(fd);
}

/* All that inotify has to say is there already. */
static unsigned changes(void) {
        while (sd_event_run(fake.host.event, 0) > 0)
                ;
        return n_changes;
}

/* tests */

START_TEST(test_nothing_is_there_without_a_folder) {
        _cleanup_(presence_freep) Presence *p = presence_of(layouts[_i].uri);

        ck_assert(presence_can_tell(p));
        ck_assert(!presence_has_server(p));
        ck_assert(!presence_has_machines(p));
        ck_assert_str_eq(presence_state_directory(p), below(layouts[_i].state));
        ck_assert_ptr_null(presence_admin_uri(p)); /* it may be anybody's */
}
END_TEST

START_TEST(test_what_comes_is_told_and_seen) {
        _cleanup_(presence_freep) Presence *p = presence_of(layouts[_i].uri);
        const Layout *l = &layouts[_i];
        unsigned before;

        presence_watch(p, true);
        ck_assert_uint_eq(changes(), 0);

        make_folder_of(l->socket);
        FAKE_HOST_WAIT(&fake, n_changes > 0);
        ck_assert(!presence_has_server(p));

        before = changes();
        make_socket(l->socket);
        FAKE_HOST_WAIT(&fake, n_changes > before);
        ck_assert(presence_has_server(p));
        ck_assert(!presence_has_machines(p));

        before = changes();
        make_folders(l->state);
        FAKE_HOST_WAIT(&fake, n_changes > before);
        ck_assert(!presence_has_machines(p));

        before = changes();
        touch(l->state, "web.pid");
        FAKE_HOST_WAIT(&fake, n_changes > before);
        ck_assert(presence_has_machines(p));

        ck_assert_int_ge(unlink(below(l->socket)), 0);
        ck_assert_int_ge(unlink(below_state(l, "/web.pid")), 0);
        ck_assert(!presence_has_server(p));
        ck_assert(!presence_has_machines(p));
}
END_TEST

/* Between a look and the watch nothing is lost: what came meanwhile is in the folder that is now watched. */
START_TEST(test_folders_that_come_one_by_one_are_followed) {
        _cleanup_(presence_freep) Presence *p = presence_of(layouts[1].uri);
        static const char *const steps[] = { "/libvirt", "/libvirt/qemu", "/libvirt/qemu/run" };

        presence_watch(p, true);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
                unsigned before = changes();

                make_folders(steps[i]);
                FAKE_HOST_WAIT(&fake, n_changes > before);
        }
        (void) changes();
        remove_all(below("/libvirt"));
        FAKE_HOST_WAIT(&fake, n_changes > 3);
        make_folders("/libvirt/qemu/run");
        (void) changes();
        n_changes = 0;
        touch("/libvirt/qemu/run", "web.pid");
        FAKE_HOST_WAIT(&fake, n_changes > 0);
        ck_assert(presence_has_machines(p));
}
END_TEST

static const struct {
        const char *name;
        bool is_machine;
} files[] = {
        { "driver.pid", false },   { "web.xml", false }, { "web.pid.new", false },
        { "pid", false },          { "web.pid", true },  { "driver.pid.pid", true },
        { "my-driver.pid", true },
};

START_TEST(test_only_a_domains_pid_is_a_machine) {
        _cleanup_(presence_freep) Presence *p = presence_of(layouts[0].uri);

        make_folders(layouts[0].state);
        touch(layouts[0].state, files[_i].name);
        ck_assert(presence_has_machines(p) == files[_i].is_machine);
        touch(layouts[0].state, "web.pid");
        ck_assert(presence_has_machines(p));
}
END_TEST

START_TEST(test_a_file_is_no_server) {
        _cleanup_(presence_freep) Presence *p = presence_of(layouts[0].uri);

        make_folders("/libvirt");
        touch("/libvirt", "libvirt-sock");
        ck_assert(!presence_has_server(p));
}
END_TEST

START_TEST(test_what_is_none_of_ours_is_not_told) {
        _cleanup_(presence_freep) Presence *p = presence_of(layouts[0].uri);

        make_folders(layouts[0].state);
        presence_watch(p, true);
        touch(layouts[0].state, "web.xml");
        touch("/libvirt", "network");
        ck_assert_uint_eq(changes(), 0);
        touch(layouts[0].state, "web.pid");
        ck_assert_uint_gt(changes(), 0);
}
END_TEST

START_TEST(test_nothing_is_told_while_it_is_not_watched) {
        _cleanup_(presence_freep) Presence *p = presence_of(layouts[0].uri);

        make_folders(layouts[0].state);
        touch(layouts[0].state, "a.pid");
        ck_assert_uint_eq(changes(), 0);
        presence_watch(p, true);
        presence_watch(p, false);
        touch(layouts[0].state, "b.pid");
        ck_assert_uint_eq(changes(), 0);
        presence_watch(p, true);
        touch(layouts[0].state, "c.pid");
        ck_assert_uint_gt(changes(), 0);
}
END_TEST

static const char *const others[] = {
        "test:///default",
        "test:///tmp/x.xml",
        "qemu:///session",
        "qemu:///embed?root=/tmp",
        "qemu+ssh://host/system",
        "qemu+tcp://host/system?socket=/run/libvirt/libvirt-sock",
        "qemu+ext:///system?socket=/run/libvirt/libvirt-sock",
        "xen:///system",
        "no URI",
        "",
        "://",
};

START_TEST(test_of_other_uris_nothing_can_be_told) {
        _cleanup_(presence_freep) Presence *p = presence_of(others[_i]);

        ck_assert(!presence_can_tell(p));
        ck_assert(presence_has_server(p));
        ck_assert(presence_has_machines(p));
        ck_assert_ptr_null(presence_state_directory(p));
        ck_assert_ptr_null(presence_admin_uri(p));
        presence_watch(p, true);
        presence_watch(p, false);
        ck_assert_uint_eq(changes(), 0);
}
END_TEST

START_TEST(test_system_without_a_socket_is_the_hosts) {
        _cleanup_(presence_freep) Presence *p = presence_of("qemu:///system");

        ck_assert(presence_can_tell(p));
        ck_assert_str_eq(presence_state_directory(p), "/run/libvirt/qemu");
        ck_assert_ptr_nonnull(presence_admin_uri(p));
}
END_TEST

static const char *const bad_sockets[] = { "qemu:///system?socket=sock",
                                           "qemu:///session?socket=" };

START_TEST(test_socket_that_is_no_path_is_refused) {
        Presence *p = NULL;

        ck_assert_int_eq(
                        presence_new(fake.host.event, bad_sockets[_i], on_change, &fake, &p),
                        -EINVAL);
        ck_assert_ptr_null(p);
}
END_TEST

/* Nothing would make it look again. */
START_TEST(test_a_folder_that_cannot_be_opened_now_may_hold_a_machine) {
        _cleanup_(presence_freep) Presence *p = presence_of(layouts[0].uri);
        struct rlimit limit, none = { 0 };
        bool has;

        make_folders(layouts[0].state);
        ck_assert(!presence_has_machines(p));
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none.rlim_max = limit.rlim_max;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        has = presence_has_machines(p);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert(has);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("libvirt-presence");
        TCase *c = tcase_create("presence");
        SRunner *runner;
        int n_failed;

        tcase_add_checked_fixture(c, set_up, tear_down);
        tcase_set_timeout(c, 30);
        tcase_add_loop_test(c, test_nothing_is_there_without_a_folder, 0, ARRAY_LEN(layouts));
        tcase_add_loop_test(c, test_what_comes_is_told_and_seen, 0, ARRAY_LEN(layouts));
        tcase_add_test(c, test_folders_that_come_one_by_one_are_followed);
        tcase_add_loop_test(c, test_only_a_domains_pid_is_a_machine, 0, ARRAY_LEN(files));
        tcase_add_test(c, test_a_folder_that_cannot_be_opened_now_may_hold_a_machine);
        tcase_add_test(c, test_a_file_is_no_server);
        tcase_add_test(c, test_what_is_none_of_ours_is_not_told);
        tcase_add_test(c, test_nothing_is_told_while_it_is_not_watched);
        tcase_add_loop_test(c, test_of_other_uris_nothing_can_be_told, 0, ARRAY_LEN(others));
        tcase_add_test(c, test_system_without_a_socket_is_the_hosts);
        tcase_add_loop_test(c, test_socket_that_is_no_path_is_refused, 0, ARRAY_LEN(bad_sockets));
        suite_add_tcase(suite, c);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
