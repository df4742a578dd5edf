/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who may lead us where. Most of it needs root, to be several users. */

#include <errno.h>
#include "common/safe-path.h"
#include "scratch.h"

static const char *why;

static void setup(void) {
        scratch_make();
        ck_assert_int_eq(chmod(scratch, 0755), 0);
        why = NULL;
}

static void make(const char *name, uid_t owner, mode_t mode) {
        const char *path = scratch_path(name);

        ck_assert_int_eq(mkdir(path, 0700), 0);
        ck_assert_int_eq(chown(path, owner, owner), 0);
        ck_assert_int_eq(chmod(path, mode), 0);
}

static void make_file(const char *name, uid_t owner) {
        const char *path = scratch_path(name);
        _cleanup_close_ int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fchown(fd, owner, owner), 0);
}

static void make_link(const char *name, const char *target, uid_t owner) {
        const char *path = scratch_path(name);

        ck_assert_int_eq(symlink(target, path), 0);
        ck_assert_int_eq(lchown(path, owner, owner), 0);
}

static int look(const char *name) {
        _cleanup_(safe_path_done) SafePath p = SAFE_PATH_NONE;
        int r;

        why = NULL;
        r = safe_path_open(scratch_path(name), &p, &why);
        ck_assert_int_eq(r >= 0, p.fd >= 0);
        ck_assert_int_eq(r == -EPERM, !!why);
        return r;
}

static uid_t owner_of(const char *name) {
        _cleanup_(safe_path_done) SafePath p = SAFE_PATH_NONE;

        ck_assert_int_eq(safe_path_open(scratch_path(name), &p, &why), 0);
        return p.owner;
}

static bool is_same(const char *name, const char *other) {
        _cleanup_(safe_path_done) SafePath p = SAFE_PATH_NONE;
        struct stat st;

        ck_assert_int_eq(safe_path_open(scratch_path(name), &p, &why), 0);
        ck_assert_int_eq(stat(scratch_path(other), &st), 0);
        return p.st.st_ino == st.st_ino && p.st.st_dev == st.st_dev;
}

/* for everybody */

START_TEST(test_own_paths_lead_where_the_kernel_has_them) {
        _cleanup_(safe_path_done) SafePath p = SAFE_PATH_NONE;
        uid_t me = geteuid();

        make("a", me, 0755);
        make("a/b", me, 0700);
        make_file("a/b/file", me);
        make_link("relative", "a/b/../b", me);
        make_link("a/b/up", "../..", me);
        make_link("absolute", scratch_path("a"), me);
        ck_assert(is_same("a/b/file", "a/b/file"));
        ck_assert(is_same("a//b/./file", "a/b/file"));
        ck_assert(is_same("a/b/../../a/b/file", "a/b/file"));
        ck_assert(is_same("relative/file", "a/b/file"));
        ck_assert(is_same("relative/../b/file", "a/b/file"));
        ck_assert(is_same("absolute/b/up/relative/file", "a/b/file"));
        ck_assert(is_same("../../../../../../", "../.."));
        ck_assert_int_eq(look("none"), -ENOENT);
        ck_assert_int_eq(look("a/b/file/none"), -ENOTDIR);
        ck_assert_int_eq(chdir(scratch_path("a/b")), 0);
        ck_assert_int_eq(safe_path_open("../b/file", &p, &why), 0);
        ck_assert_int_eq(safe_path_check_ours(&p, &why), 0);
        safe_path_done(&p);
        ck_assert_int_eq(safe_path_open("", &p, &why), 0);
        ck_assert_int_eq(fchdir(p.fd), 0);
        ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(test_links_end_somewhere) {
        _cleanup_(safe_path_done) SafePath p = SAFE_PATH_NONE;
        char path[PATH_MAX + 16], part[NAME_MAX + 8];

        make_link("loop", "loop", geteuid());
        make_link("there", "back", geteuid());
        make_link("back", "there", geteuid());
        ck_assert_int_eq(look("loop"), -ELOOP);
        ck_assert_int_eq(look("there/x"), -ELOOP);
        memset(path, '/', sizeof(path));
        path[sizeof(path) - 1] = 0;
        ck_assert_int_eq(safe_path_open(path, &p, &why), -ENAMETOOLONG);
        memset(part, 'x', sizeof(part));
        part[0] = '/';
        part[sizeof(part) - 1] = 0;
        ck_assert_int_eq(safe_path_open(part, &p, &why), -ENAMETOOLONG);
}
END_TEST

START_TEST(test_directory_that_others_may_write_leads_nowhere) {
        make("open", geteuid(), 0757);
        make_file("open/file", geteuid());
        ck_assert_int_eq(look("open"), 0);
        ck_assert_int_eq(look("open/file"), -EPERM);
        ck_assert_int_eq(look("open/none"), -ENOENT);
        ck_assert_int_eq(chmod(scratch_path("open"), 0755), 0);
        ck_assert_int_eq(look("open/file"), 0);
}
END_TEST

START_TEST(test_what_is_found_is_what_was_examined) {
        _cleanup_(safe_path_done) SafePath p = SAFE_PATH_NONE;
        SafePathName name;
        struct stat st;

        make_file("a", geteuid());
        make_file("b", geteuid());
        ck_assert_int_eq(safe_path_open(scratch_path("a"), &p, &why), 0);
        ck_assert_int_eq(rename(scratch_path("b"), scratch_path("a")), 0);
        name = safe_path_name(&p);
        ck_assert_int_eq(stat(name.text, &st), 0);
        ck_assert_uint_eq(st.st_ino, p.st.st_ino);
        ck_assert_int_eq(stat(scratch_path("a"), &st), 0);
        ck_assert_uint_ne(st.st_ino, p.st.st_ino);
}
END_TEST

/* for root */

START_TEST(test_user_leads_to_what_is_his) {
        make("joe", JOE, 0700);
        make("joe/vm", JOE, 0777);
        make_file("joe/vm/his", JOE);
        make_file("joe/vm/eves", EVE);
        make_file("joe/vm/roots", 0);
        make("joe/eve", EVE, 0700);
        make_file("joe/eve/his", JOE);
        ck_assert_int_eq(look("joe/vm/his"), 0);
        ck_assert_uint_eq(owner_of("joe/vm/his"), JOE);
        ck_assert_int_eq(look("joe/vm/roots"), 0);
        ck_assert_uint_eq(owner_of("joe/vm/roots"), JOE);
        ck_assert_int_eq(look("joe/vm/eves"), -EPERM);
        ck_assert_int_eq(look("joe/eve"), -EPERM);
        ck_assert_int_eq(look("joe/eve/his"), -EPERM);
}
END_TEST

static int check(const char *name) {
        _cleanup_(safe_path_done) SafePath p = SAFE_PATH_NONE;

        ck_assert_int_eq(safe_path_open(scratch_path(name), &p, &why), 0);
        return safe_path_check_ours(&p, &why);
}

START_TEST(test_ours_is_what_nobody_else_has_a_say_in) {
        make("root", 0, 0755);
        make_file("root/file", 0);
        make_file("root/joes", JOE);
        make("joe", JOE, 0755);
        make_file("joe/roots", 0);
        ck_assert_int_eq(check("root/file"), 0);
        ck_assert_int_eq(check("root/joes"), -EPERM);
        ck_assert_int_eq(check("joe/roots"), -EPERM);
        ck_assert_int_eq(chmod(scratch_path("root/file"), 0620), 0);
        ck_assert_int_eq(check("root/file"), -EPERM);
        ck_assert_int_eq(chmod(scratch_path("root"), 0757), 0);
        ck_assert_int_eq(check("root"), -EPERM);
}
END_TEST

START_TEST(test_roots_directory_in_a_users_gives_the_say_back_to_nobody) {
        make("joe", JOE, 0700);
        make("joe/root", 0, 0755);
        make_file("joe/root/eves", EVE);
        make_file("joe/root/his", JOE);
        ck_assert_int_eq(look("joe/root/eves"), -EPERM);
        ck_assert_int_eq(look("joe/root/his"), 0);
}
END_TEST

START_TEST(test_users_links_are_not_followed) {
        make("root", 0, 0755);
        make_file("root/secret", 0);
        make("joe", JOE, 0700);
        make_file("joe/his", JOE);
        make_link("joe/there", "../root", JOE);
        make_link("joe/file", "../root/secret", JOE);
        make_link("joe/own", "his", JOE);
        make_link("joe/roots", "his", 0);
        make_link("joes", "root", JOE);
        ck_assert_int_eq(look("joe/file"), -EPERM);
        ck_assert_int_eq(look("joe/there/secret"), -EPERM);
        ck_assert_int_eq(look("joe/own"), -EPERM);
        ck_assert_int_eq(look("joe/roots"), -EPERM);
        ck_assert_int_eq(look("joes/secret"), -EPERM);
        /* nor by way of one that may be */
        make_link("byroot", "joe/there/secret", 0);
        ck_assert_int_eq(look("byroot"), -EPERM);
        make_link("tojoe", "joe/his", 0);
        ck_assert_int_eq(look("tojoe"), 0);
        ck_assert_uint_eq(owner_of("tojoe"), JOE);
}
END_TEST

START_TEST(test_sticky_directory_leads_to_what_is_ours) {
        make("tmp", 0, 01777);
        make("tmp/root", 0, 0755);
        make_file("tmp/root/joes", JOE);
        make_file("tmp/roots", 0);
        make_file("tmp/joes", JOE);
        make("tmp/joe", JOE, 0755);
        make_file("tmp/joe/his", JOE);
        make_link("tmp/link", "root", JOE);
        ck_assert_int_eq(look("tmp/root/joes"), 0);
        ck_assert_int_eq(look("tmp/roots"), 0);
        ck_assert_int_eq(look("tmp/joes"), -EPERM);
        ck_assert_int_eq(look("tmp/joe/his"), -EPERM);
        ck_assert_int_eq(look("tmp/link/joes"), -EPERM);
}
END_TEST

START_TEST(test_groups_have_a_say_as_all_have) {
        make("group", 0, 0775);
        make_file("group/file", 0);
        ck_assert_int_eq(look("group/file"), 0);
        ck_assert_int_eq(chown(scratch_path("group"), 0, JOE), 0);
        ck_assert_int_eq(look("group/file"), -EPERM);
        ck_assert_int_eq(chmod(scratch_path("group"), 01775), 0);
        ck_assert_int_eq(look("group/file"), 0);
        ck_assert_int_eq(chown(scratch_path("group/file"), JOE, 0), 0);
        ck_assert_int_eq(look("group/file"), -EPERM);
}
END_TEST

START_TEST(test_step_is_as_the_whole) {
        _cleanup_(safe_path_done) SafePath at = SAFE_PATH_NONE, next = SAFE_PATH_NONE;
        const char *path;

        make("root", 0, 0755);
        make_file("root/file", 0);
        make("joe", JOE, 0700);
        make_link("joe/link", "../root/file", JOE);
        make_link("root/link", "../joe", 0);
        ck_assert_int_eq(safe_path_open(scratch_path("root"), &at, &why), 0);
        path = scratch_path("root");
        ck_assert_int_eq(safe_path_step(&at, path, "file", &next, &why), 0);
        safe_path_done(&next);
        ck_assert_int_eq(safe_path_step(&at, path, "link", &next, &why), 0);
        ck_assert_uint_eq(next.owner, JOE);
        safe_path_done(&at);
        at = next;
        next.fd = -1;
        ck_assert_int_eq(safe_path_step(&at, scratch_path("joe"), "link", &next, &why), -EPERM);
        ck_assert_int_eq(safe_path_step(&at, scratch_path("joe"), "..", &next, &why), 0);
        ck_assert_uint_eq(next.owner, 0);
}
END_TEST

static void add_tests(TCase *t) {
        tcase_add_checked_fixture(t, setup, scratch_remove);
        tcase_add_test(t, test_own_paths_lead_where_the_kernel_has_them);
        tcase_add_test(t, test_links_end_somewhere);
        tcase_add_test(t, test_directory_that_others_may_write_leads_nowhere);
        tcase_add_test(t, test_what_is_found_is_what_was_examined);
        if (geteuid() != 0)
                return; /* for the others somebody has to be several users */
        tcase_add_test(t, test_user_leads_to_what_is_his);
        tcase_add_test(t, test_ours_is_what_nobody_else_has_a_say_in);
        tcase_add_test(t, test_roots_directory_in_a_users_gives_the_say_back_to_nobody);
        tcase_add_test(t, test_users_links_are_not_followed);
        tcase_add_test(t, test_sticky_directory_leads_to_what_is_ours);
        tcase_add_test(t, test_groups_have_a_say_as_all_have);
        tcase_add_test(t, test_step_is_as_the_whole);
}

int main(void) {
        TCase *t = tcase_create("safe-path");

        add_tests(t);
        return scratch_run(t, "safe-path");
}
