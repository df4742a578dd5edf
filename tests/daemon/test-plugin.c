/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/resource.h>
#include "daemon/log.h"
#include "daemon/plugin.h"
#include "scratch.h"

static unsigned n_created, n_destroyed;
static int create_result;

static int create(const struct suspendd_host *host, void **ret_instance) {
        ck_assert_uint_eq(host->abi, 4711);
        ck_assert_ptr_eq(plugin_of_host(host)->owner, &create_result);
        n_created++;
        *ret_instance = &n_created;
        return create_result;
}

static void destroy(void *instance) {
        ck_assert_ptr_eq(instance, &n_created);
        n_destroyed++;
}

static const struct suspendd_host host = { .abi = 4711, .size = sizeof(host) };
static const struct suspendd_plugin good = {
        .abi = SUSPENDD_PLUGIN_ABI,
        .size = sizeof(good),
        .name = "good",
        .create = create,
        .destroy = destroy,
};

static void setup(void) {
        scratch_make();
        n_created = n_destroyed = 0;
        create_result = 0;
}

START_TEST(test_instance_lives_as_long_as_the_plugin) {
        Plugin *p = NULL;

        ck_assert_int_eq(plugin_new(&good, &host, &create_result, &p), 0);
        ck_assert_uint_eq(n_created, 1);
        ck_assert_ptr_eq(p->instance, &n_created);
        ck_assert_ptr_eq(plugin_of_host(&p->host), p);
        plugin_free(p);
        ck_assert_uint_eq(n_destroyed, 1);
        ck_assert_ptr_null(plugin_free(NULL));
}
END_TEST

START_TEST(test_failed_create_is_told) {
        Plugin *p = NULL;

        create_result = -ENODEV;
        ck_assert_int_eq(plugin_new(&good, &host, &create_result, &p), -ENODEV);
        ck_assert_uint_eq(n_destroyed, 0);
        ck_assert_ptr_null(p);
}
END_TEST

START_TEST(test_other_interface_is_refused) {
        struct suspendd_plugin other = good;
        Plugin *p = NULL;

        other.abi++;
        ck_assert_int_eq(plugin_new(&other, &host, &create_result, &p), -EPROTO);
        other = good;
        other.size--;
        ck_assert_int_eq(plugin_new(&other, &host, &create_result, &p), -EPROTO);
        other = good;
        other.create = NULL;
        ck_assert_int_eq(plugin_new(&other, &host, &create_result, &p), -ELIBBAD);
        other = good;
        other.size += 64; /* a newer one with more at its end */
        ck_assert_int_eq(plugin_new(&other, &host, &create_result, &p), 0);
        plugin_free(p);
        ck_assert_uint_eq(n_created, 1);
}
END_TEST

START_TEST(test_trouble_is_kept_and_told_once) {
        char text[1000];
        Plugin *p = NULL;

        ck_assert_int_eq(plugin_new(&good, &host, &create_result, &p), 0);
        ck_assert_int_eq(plugin_set_trouble(p, NULL), 0);
        ck_assert_int_eq(plugin_set_trouble(p, ""), 0);
        memset(text, 'x', sizeof(text));
        text[sizeof(text) - 1] = '\0';
        ck_assert_int_eq(plugin_set_trouble(p, text), 1);
        ck_assert_uint_lt(strlen(p->trouble), 256);
        ck_assert_int_eq(plugin_set_trouble(p, text), 0);
        ck_assert_int_eq(plugin_set_trouble(p, "no answer"), 1);
        ck_assert_str_eq(p->trouble, "no answer");
        ck_assert_int_eq(plugin_set_trouble(p, ""), 1);
        ck_assert_ptr_null(p->trouble);
        plugin_free(p);
}
END_TEST

static int load(const char *name) {
        Plugin *p = NULL;
        int r = plugin_load(scratch, name, &host, &create_result, &p);

        plugin_free(p);
        return r;
}

START_TEST(test_only_a_plain_name_is_looked_for) {
        ck_assert_int_eq(load("../x"), -EINVAL);
        ck_assert_int_eq(load("/x"), -EINVAL);
        ck_assert_int_eq(load(""), -EINVAL);
        ck_assert_int_eq(load(".x"), -EINVAL);
        ck_assert_int_eq(load("missing"), -ENOENT);
        ck_assert_int_eq(mkdir(scratch_path("d.so"), 0755), 0);
        ck_assert_int_eq(load("d"), -ELIBBAD);
        scratch_write("text.so", "this is no library");
        ck_assert_int_eq(load("text"), -ELIBBAD);
}
END_TEST

/* Whoever tries again later may well load it. */
START_TEST(test_what_was_lacking_is_told) {
        struct rlimit limit, none = { 0 };
        int r;

        scratch_write("a.so", "no library");
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none.rlim_max = limit.rlim_max;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        r = load("a");
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_int_eq(r, -EMFILE);
        ck_assert_int_eq(load("a"), -ELIBBAD);
}
END_TEST

/* Copies a library of the system, which is none of ours. */
START_TEST(test_library_that_is_no_plugin_is_refused) {
        char *libc;
        size_t size;

        ck_assert_int_eq(symlink("/lib64/ld-linux-x86-64.so.2", scratch_path("link.so")), 0);
        if (access(scratch_path("link.so"), R_OK) < 0)
                return; /* another architecture names its loader differently */
        libc = scratch_read("link.so", &size);
        scratch_write_bytes("loader.so", libc, size);
        free(libc);
        ck_assert_int_eq(load("loader"), -ELIBBAD);
}
END_TEST

/* Loads @name with the log in a file. Returns: what was logged, to be freed. */
static char *log_of_load(const char *directory, const char *name, int result) {
        Plugin *p = NULL;
        _cleanup_close_ int saved = dup(STDERR_FILENO);
        int fd = open(scratch_path("log"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
        (void) close(fd);
        log_set_max_level(LOG_DEBUG);
        ck_assert_int_eq(log_set_journal(NULL), 0);
        ck_assert_int_eq(plugin_load(directory, name, &host, &create_result, &p), result);
        log_set_max_level(LOG_CRIT);
        ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
        return scratch_read("log", NULL);
}

START_TEST(test_missing_library_is_one_clear_line) {
        const char *directory = getenv("NEEDY_DIRECTORY");
        _cleanup_free_ char *log = NULL;

        if (!directory)
                return; /* not run by meson */
        log = log_of_load(directory, "needy", -ELIBBAD);
        ck_assert_ptr_nonnull(strstr(log, "Cannot load plugin "));
        ck_assert_ptr_nonnull(strstr(log, "/needy.so: libabsent.so.0: "));
        ck_assert_ptr_eq(strchr(log, '\n'), log + strlen(log) - 1);
}
END_TEST

START_TEST(test_what_others_can_write_is_not_loaded) {
        scratch_write("a.so", "");
        ck_assert_int_eq(chmod(scratch_path("a.so"), 0664), 0);
        ck_assert_int_eq(load("a"), -EPERM);
        ck_assert_int_eq(chmod(scratch_path("a.so"), 0646), 0);
        ck_assert_int_eq(load("a"), -EPERM);
        ck_assert_int_eq(chmod(scratch_path("a.so"), 0644), 0);
        ck_assert_int_eq(load("a"), -ELIBBAD); /* it was looked into */
        if (geteuid() == 0) {
                ck_assert_int_eq(chown(scratch_path("a.so"), 65534, 0), 0);
                ck_assert_int_eq(load("a"), -EPERM);
                ck_assert_int_eq(chown(scratch_path("a.so"), 0, 0), 0);
        }
        ck_assert_int_eq(chmod(scratch, 0777), 0);
        ck_assert_int_eq(load("a"), -EPERM);
}
END_TEST

START_TEST(test_where_others_can_put_something_nothing_is_loaded_from) {
        char outer[64];

        (void) strcpy(outer, scratch);
        ck_assert_int_eq(mkdir(scratch_path("plugins"), 0755), 0);
        scratch_write("plugins/a.so", "");
        ck_assert_int_eq(symlink("plugins/a.so", scratch_path("b.so")), 0);
        (void) strcat(scratch, "/plugins");
        ck_assert_int_eq(load("a"), -ELIBBAD);
        ck_assert_int_eq(chmod(outer, 0777), 0);
        ck_assert_int_eq(load("a"), -EPERM);
        ck_assert_int_eq(chmod(outer, 0755), 0);
        ck_assert_int_eq(chmod(scratch, 0777), 0);
        (void) strcpy(scratch, outer);
        ck_assert_int_eq(load("b"), -EPERM); /* through a link, too */
}
END_TEST

int main(void) {
        TCase *c = tcase_create("plugin");

        tcase_add_checked_fixture(c, setup, scratch_remove);
        tcase_add_test(c, test_instance_lives_as_long_as_the_plugin);
        tcase_add_test(c, test_failed_create_is_told);
        tcase_add_test(c, test_other_interface_is_refused);
        tcase_add_test(c, test_trouble_is_kept_and_told_once);
        tcase_add_test(c, test_only_a_plain_name_is_looked_for);
        tcase_add_test(c, test_what_was_lacking_is_told);
        tcase_add_test(c, test_library_that_is_no_plugin_is_refused);
        tcase_add_test(c, test_missing_library_is_one_clear_line);
        tcase_add_test(c, test_what_others_can_write_is_not_loaded);
        tcase_add_test(c, test_where_others_can_put_something_nothing_is_loaded_from);
        return scratch_run(c, "plugin");
}
