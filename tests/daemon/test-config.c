/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "common/time-util.h"
#include "daemon/config-files.h"
#include "daemon/config.h"
#include "scratch.h"

static Config *load_text(const char *text) {
        Config *c = NULL;

        ck_assert_int_eq(config_load_text("test.conf", text, strlen(text), &c), 0);
        return c;
}

/* Loads the folders etc, run and lib of the scratch folder. */
static Config *load_folders(void) {
        const char *const folders[] = {
                scratch_path("etc"),
                scratch_path("run"),
                scratch_path("lib"),
                NULL,
        };
        Config *c = NULL;

        ck_assert_int_eq(config_load_directories(folders, &c), 0);
        return c;
}

static void make_folders(void) {
        static const char *const names[] = { "etc", "etc/suspendd.conf.d",
                                             "run", "run/suspendd.conf.d",
                                             "lib", "lib/suspendd.conf.d" };

        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                ck_assert_int_eq(mkdir(scratch_path(names[i]), 0755), 0);
}

START_TEST(test_empty_is_the_default) {
        _cleanup_(config_freep) Config *c = load_text("");
        const struct suspendd_setting *settings;
        const char *source = NULL;
        Policy p;

        ck_assert_uint_eq(c->budget_max_usec, 10 * USEC_PER_SEC);
        ck_assert_uint_eq(c->suspend_share, 60);
        ck_assert(!c->wait_for_hooks);
        ck_assert_uint_eq(c->time_limit_usec, 20 * USEC_PER_SEC);
        ck_assert_uint_eq(c->history_max, 100);
        ck_assert_uint_eq(c->history_size_max, 4 * 1024 * 1024);
        ck_assert_str_eq(c->plugins[0], "qmp");
        ck_assert_ptr_null(c->plugins[1]);
        ck_assert_uint_eq(c->n_errors, 0);

        config_policy(c, "vm", NULL, &p, &source);
        ck_assert_int_eq(p.mode, MODE_AUTO);
        ck_assert_int_eq(p.time_sync, TIME_SYNC_ABSOLUTE);
        ck_assert_str_eq(source, "default");
        ck_assert_uint_eq(config_plugin_settings(c, "qmp", &settings), 0);
}
END_TEST

START_TEST(test_all_settings_are_read) {
        _cleanup_(config_freep) Config *c = load_text("\xef\xbb\xbf[Manager]\n"
                                                      "BudgetMaxSec=4.5s\n"
                                                      "  SuspendShare = 30%  \r\n"
                                                      "# a comment\n"
                                                      "TimeLimitSec=1min ; another\n"
                                                      "WaitForHooks=On\n"
                                                      "HistoryMax=7\n"
                                                      "HistorySizeMax=64K\n"
                                                      "Plugins=qmp fake\n"
                                                      "Plugins=exec qmp\n"
                                                      "\n"
                                                      "[ Machine  web-[0-9] ] ; one more\n"
                                                      "Mode=block\n"
                                                      "TimeSync=relative\n"
                                                      "TimeThresholdSec=10ms\n"
                                                      "BackwardStepMaxSec=infinity\n"
                                                      "[Plugin qmp]\n"
                                                      "Socket=/run/a:b=c.sock\n"
                                                      "Empty=\n"
                                                      "[Plugin fake]\n"
                                                      "x=1\n"
                                                      "[Plugin qmp]\n"
                                                      "Socket=/run/d.sock");
        const struct suspendd_setting *s;
        const char *source;
        Policy p;

        ck_assert_uint_eq(c->n_errors, 0);
        ck_assert_uint_eq(c->budget_max_usec, 4500000);
        ck_assert_uint_eq(c->suspend_share, 30);
        ck_assert(c->wait_for_hooks);
        ck_assert_uint_eq(c->time_limit_usec, 60 * USEC_PER_SEC);
        ck_assert_uint_eq(c->history_max, 7);
        ck_assert_uint_eq(c->history_size_max, 65536);
        ck_assert_str_eq(c->plugins[0], "qmp");
        ck_assert_str_eq(c->plugins[1], "fake");
        ck_assert_str_eq(c->plugins[2], "exec");
        ck_assert_ptr_null(c->plugins[3]);

        config_policy(c, "web-3", NULL, &p, &source);
        ck_assert_int_eq(p.mode, MODE_BLOCK);
        ck_assert_int_eq(p.time_sync, TIME_SYNC_RELATIVE);
        ck_assert_int_eq(p.time_threshold_ns, 10 * NSEC_PER_MSEC);
        ck_assert_int_eq(p.backward_max_ns, INT64_MAX);
        ck_assert_str_eq(source, "test.conf:13");
        config_policy(c, "web-x", NULL, &p, NULL);
        ck_assert_int_eq(p.mode, MODE_AUTO);

        ck_assert_uint_eq(config_plugin_settings(c, "qmp", &s), 2);
        ck_assert_str_eq(s[0].key, "Socket");
        ck_assert_str_eq(s[0].value, "/run/a:b=c.sock");
        ck_assert_uint_eq(s[0].line, 18);
        ck_assert_str_eq(s[1].value, "/run/d.sock");
        ck_assert_uint_eq(s[1].line, 23);
        ck_assert_str_eq(s[1].file, "test.conf");
}
END_TEST

START_TEST(test_later_settings_replace_earlier) {
        _cleanup_(config_freep) Config *c = load_text(
                        "[Manager]\nBudgetMaxSec=1s\nBudgetMaxSec=2s\nTimeLimitSec=1s\nTimeLimitSec=\n"
                        "Plugins=\n"
                        "[Machine *]\nMode=pause\nTimeSync=off\n"
                        "[Machine db]\nMode=suspend\n"
                        "[Machine 4C4C*]\nMode=ignore\n"
                        "[Machine back]\nMode=\n");
        const char *source;
        Policy p;

        ck_assert_uint_eq(c->n_errors, 0);
        ck_assert_uint_eq(c->budget_max_usec, 2 * USEC_PER_SEC);
        ck_assert_uint_eq(c->time_limit_usec, 20 * USEC_PER_SEC);
        ck_assert_ptr_null(c->plugins[0]);
        config_policy(c, "x", NULL, &p, NULL);
        ck_assert_int_eq(p.mode, MODE_PAUSE);
        config_policy(c, "db", NULL, &p, &source);
        ck_assert_int_eq(p.mode, MODE_SUSPEND);
        ck_assert_int_eq(p.time_sync, TIME_SYNC_OFF);
        ck_assert_str_eq(source, "test.conf:11");
        config_policy(c, "db", "4c4c4544-0000", &p, NULL);
        ck_assert_int_eq(p.mode, MODE_IGNORE);
        config_policy(c, "back", NULL, &p, &source);
        ck_assert_int_eq(p.mode, MODE_AUTO);
        ck_assert_str_eq(source, "default");
}
END_TEST

static const char *const bad_lines[] = {
        "[Manager]\nBudgetMaxSec=0",
        "[Manager]\nBudgetMaxSec=soon",
        "[Manager]\nBudgetMaxSec=-1",
        "[Manager]\nSuspendShare=91%",
        "[Manager]\nSuspendShare=5x",
        "[Manager]\nSuspendShare=%",
        "[Manager]\nTimeLimitSec=0",
        "[Manager]\nWaitForHooks=maybe",
        "[Manager]\nHistoryMax=1k",
        "[Manager]\nHistoryMax=100001",
        "[Manager]\nHistorySizeMax=99999999999999999999",
        "[Manager]\nHistorySizeMax=4X",
        "[Manager]\nHistorySizeMax=4MB",
        "[Manager]\nPlugins=../evil",
        "[Manager]\nPlugins=.so",
        "[Manager]\nmode=auto",
        "[Manager]\nNoSuchKey=1",
        "[Manager]\nno equals sign",
        "[Manager]\n=value",
        "[Machine a]\nMode=Auto",
        "[Machine a]\nTimeSync=maybe",
        "[Machine a]\nTimeThresholdSec=x",
        "[Machine a]\nBudgetMaxSec=1s",
        "[Nonsense]",
        "[Machine]",
        "[Machine ]",
        "[Plugin ../x]",
        "[Manager",
        "[]",
        "Key=before any section",
};

START_TEST(test_list_adds_to_its_default) {
        _cleanup_(config_freep) Config *c = load_text("[Manager]\nPlugins=libvirt\nPlugins=, qmp");

        ck_assert_uint_eq(c->n_errors, 0);
        ck_assert_str_eq(c->plugins[0], "qmp");
        ck_assert_str_eq(c->plugins[1], "libvirt");
        ck_assert_ptr_null(c->plugins[2]);
}
END_TEST

START_TEST(test_empty_value_empties_a_list_and_its_default) {
        _cleanup_(config_freep) Config *c =
                        load_text("[Manager]\nPlugins=a b\nPlugins=\nPlugins=c,d\n");

        ck_assert_str_eq(c->plugins[0], "c");
        ck_assert_str_eq(c->plugins[1], "d");
        ck_assert_ptr_null(c->plugins[2]);
}
END_TEST

START_TEST(test_bad_line_is_left_out_and_counted) {
        _cleanup_free_ char *text = NULL;
        _cleanup_(config_freep) Config *c = NULL;
        Policy p;

        /* what follows counts all the same */
        ck_assert_int_gt(asprintf(&text, "%s\n[Machine z]\nMode=block\n", bad_lines[_i]), 0);
        c = load_text(text);
        ck_assert_msg(c->n_errors == 1, "%u errors: %s", c->n_errors, bad_lines[_i]);
        ck_assert_uint_eq(c->budget_max_usec, 10 * USEC_PER_SEC);
        ck_assert_uint_eq(c->suspend_share, 60);
        ck_assert_uint_eq(c->history_size_max, 4 * 1024 * 1024);
        config_policy(c, "z", NULL, &p, NULL);
        ck_assert_int_eq(p.mode, MODE_BLOCK);
}
END_TEST

START_TEST(test_indented_line_is_one_of_its_own) {
        _cleanup_(config_freep) Config *c =
                        load_text("[Manager]\nBudgetMaxSec=1s\n   TimeLimitSec=2s\n   stray\n");

        ck_assert_uint_eq(c->n_errors, 1);
        ck_assert_uint_eq(c->budget_max_usec, USEC_PER_SEC);
        ck_assert_uint_eq(c->time_limit_usec, 2 * USEC_PER_SEC);
}
END_TEST

START_TEST(test_long_line_is_refused_not_cut) {
        const struct suspendd_setting *s;
        char text[600];

        for (size_t n = 150; n < 400; n += 10) {
                _cleanup_(config_freep) Config *c = NULL;
                size_t length;

                (void) snprintf(text, sizeof(text), "[Plugin qmp]\nA=%0*d\nB=2\n", (int) n, 7);
                c = load_text(text);
                length = config_plugin_settings(c, "qmp", &s);
                ck_assert_uint_eq(length + c->n_errors, 2);
                ck_assert_str_eq(s[length - 1].key, "B");
                ck_assert_uint_eq(s[length - 1].line, 3);
                if (length == 2)
                        ck_assert_uint_eq(strlen(s[0].value), n);
                ck_assert(n > 190 || length == 2);
        }
}
END_TEST

START_TEST(test_long_globs_are_whole) {
        _cleanup_(config_freep) Config *c = load_text(
                        "[Machine a-name-longer-than-the-fifty-bytes-that-inih-has-for-a-section]\n"
                        "Mode=pause\n");
        Policy p;

        ck_assert_uint_eq(c->n_errors, 0);
        config_policy(c,
                      "a-name-longer-than-the-fifty-bytes-that-inih-has-for-a-section",
                      NULL,
                      &p,
                      NULL);
        ck_assert_int_eq(p.mode, MODE_PAUSE);
        config_policy(c, "a-name-longer-than-the-fifty-bytes-that-inih-", NULL, &p, NULL);
        ck_assert_int_eq(p.mode, MODE_AUTO);
}
END_TEST

START_TEST(test_any_bytes_are_survived) {
        unsigned seed = 1;

        for (int i = 0; i < 3000; i++) {
                static const char alphabet[] = "[]=:;# \t\r\n\n\0\xff\xef\xbb\xbf%aMn*Machine";
                _cleanup_(config_freep) Config *c = NULL;
                char text[300];
                size_t n;

                n = (size_t) (rand_r(&seed) % (int) sizeof(text));
                for (size_t k = 0; k < n; k++)
                        text[k] = alphabet[(size_t) rand_r(&seed) % (sizeof(alphabet) - 1)];
                ck_assert_int_eq(config_load_text("x", text, n, &c), 0);
        }
}
END_TEST

START_TEST(test_drop_ins_are_merged_by_name) {
        _cleanup_(config_freep) Config *c = NULL;
        Policy p;

        make_folders();
        scratch_write("lib/suspendd.conf", "[Manager]\nHistoryMax=1\nTimeLimitSec=1\n");
        scratch_write("run/suspendd.conf", "[Manager]\nHistoryMax=2\n");
        scratch_write("lib/suspendd.conf.d/10-a.conf", "[Machine *]\nMode=block\n");
        scratch_write("etc/suspendd.conf.d/10-a.conf", "[Machine *]\nTimeSync=off\n");
        scratch_write("lib/suspendd.conf.d/50-b.conf", "[Manager]\nBudgetMaxSec=5\n");
        scratch_write("etc/suspendd.conf.d/20-b.conf", "[Manager]\nBudgetMaxSec=2\n");
        scratch_write("lib/suspendd.conf.d/30-c.conf", "[Manager]\nSuspendShare=1\n");
        scratch_write("run/suspendd.conf.d/30-c.conf", "");
        scratch_write("lib/suspendd.conf.d/40-d.conf", "[Manager]\nSuspendShare=2\n");
        ck_assert_int_eq(symlink("/dev/null", scratch_path("etc/suspendd.conf.d/40-d.conf")), 0);
        scratch_write("etc/suspendd.conf.d/99-e.conf.bak", "[Manager]\nSuspendShare=3\n");

        c = load_folders();
        ck_assert_uint_eq(c->n_errors, 0);
        ck_assert_uint_eq(c->history_max, 2);                     /* run over lib */
        ck_assert_uint_eq(c->time_limit_usec, 20 * USEC_PER_SEC); /* as a whole */
        ck_assert_uint_eq(c->budget_max_usec, 5 * USEC_PER_SEC);  /* 50 after 20 */
        ck_assert_uint_eq(c->suspend_share, 60);                  /* both switched off */
        config_policy(c, "vm", NULL, &p, NULL);
        ck_assert_int_eq(p.mode, MODE_AUTO); /* lib's 10-a is masked by etc's */
        ck_assert_int_eq(p.time_sync, TIME_SYNC_OFF);
}
END_TEST

START_TEST(test_drop_in_of_a_plugin_takes_no_other_away) {
        _cleanup_(config_freep) Config *c = NULL, *only = NULL;

        make_folders();
        scratch_write("lib/suspendd.conf.d/50-libvirt.conf", "[Manager]\nPlugins=libvirt\n");
        c = load_folders();
        ck_assert_str_eq(c->plugins[0], "qmp");
        ck_assert_str_eq(c->plugins[1], "libvirt");
        ck_assert_ptr_null(c->plugins[2]);

        scratch_write("etc/suspendd.conf.d/10-no-qmp.conf", "[Manager]\nPlugins=\n");
        only = load_folders();
        ck_assert_str_eq(only->plugins[0], "libvirt");
        ck_assert_ptr_null(only->plugins[1]);
}
END_TEST

START_TEST(test_nothing_there_is_the_default) {
        _cleanup_(config_freep) Config *c = load_folders();

        ck_assert_uint_eq(c->n_errors, 0);
        ck_assert_uint_eq(c->suspend_share, 60);
}
END_TEST

START_TEST(test_file_that_others_can_write_is_refused) {
        Config *c = NULL;

        make_folders();
        scratch_write("etc/suspendd.conf", "[Manager]\nSuspendShare=1\n");
        scratch_write("etc/suspendd.conf.d/a.conf", "[Manager]\nHistoryMax=3\n");
        for (mode_t mode = 0620; mode; mode = mode == 0620 ? 0602 : 0) {
                ck_assert_int_eq(chmod(scratch_path("etc/suspendd.conf"), mode), 0);
                c = load_folders();
                ck_assert_uint_eq(c->suspend_share, 60);
                ck_assert_uint_eq(c->history_max, 3);
                ck_assert_uint_eq(c->n_errors, 1);
                c = config_free(c);
                ck_assert_int_eq(config_load(scratch_path("etc/suspendd.conf"), &c), -EPERM);
        }

        ck_assert_int_eq(chmod(scratch_path("etc/suspendd.conf"), 0644), 0);
        if (geteuid() == 0) {
                ck_assert_int_eq(chown(scratch_path("etc/suspendd.conf"), 65534, 0), 0);
                ck_assert_int_eq(config_load(scratch_path("etc/suspendd.conf"), &c), -EPERM);
                ck_assert_int_eq(chown(scratch_path("etc/suspendd.conf"), 0, 0), 0);
        }
        ck_assert_int_eq(config_load(scratch_path("etc/suspendd.conf"), &c), 0);
        ck_assert_uint_eq(c->suspend_share, 1);
        config_free(c);
}
END_TEST

START_TEST(test_file_that_others_could_have_put_there_is_refused) {
        Config *c = NULL;

        make_folders();
        scratch_write("etc/suspendd.conf", "[Manager]\nSuspendShare=1\n");
        scratch_write("etc/suspendd.conf.d/a.conf", "[Manager]\nHistoryMax=3\n");
        ck_assert_int_eq(chmod(scratch_path("etc/suspendd.conf.d"), 0757), 0);
        c = load_folders();
        ck_assert_uint_eq(c->suspend_share, 1);
        ck_assert_uint_eq(c->history_max, 100);
        ck_assert_uint_eq(c->n_errors, 1);
        c = config_free(c);
        ck_assert_int_eq(chmod(scratch_path("etc/suspendd.conf.d"), 0755), 0);
        if (geteuid() == 0) {
                ck_assert_int_eq(lchown(scratch_path("etc/suspendd.conf.d"), 65534, 0), 0);
                c = load_folders();
                ck_assert_uint_eq(c->history_max, 100);
                ck_assert_uint_eq(c->n_errors, 1);
                c = config_free(c);
                ck_assert_int_eq(lchown(scratch_path("etc/suspendd.conf.d"), 0, 0), 0);
        }
        c = load_folders();
        ck_assert_uint_eq(c->history_max, 3);
        config_free(c);
}
END_TEST

START_TEST(test_named_file_must_be_one) {
        Config *c = NULL;

        ck_assert_int_eq(config_load(scratch_path("missing"), &c), -ENOENT);
        ck_assert_int_eq(mkfifo(scratch_path("fifo"), 0600), 0);
        ck_assert_int_eq(config_load(scratch_path("fifo"), &c), -EINVAL);
        ck_assert_int_eq(config_load(scratch, &c), -EINVAL);
        scratch_write("large", "");
        ck_assert_int_eq(truncate(scratch_path("large"), 2 * 1024 * 1024), 0);
        ck_assert_int_eq(config_load(scratch_path("large"), &c), -EFBIG);
        ck_assert_ptr_null(c);
}
END_TEST

static void check_kept(const Config *c, unsigned n_more) {
        const struct suspendd_setting *settings;
        Policy p;

        ck_assert_uint_eq(config_plugin_settings(c, "qmp", &settings), 2 + n_more);
        ck_assert_str_eq(settings[n_more].value, "/vms");
        ck_assert_str_eq(settings[n_more + 1].value, "/more");
        ck_assert_uint_eq(c->time_limit_usec, 7 * USEC_PER_SEC);
        config_policy(c, "web", NULL, &p, NULL);
        ck_assert_int_eq(p.time_sync, TIME_SYNC_OFF);
}

/* Of several files, one of which lacks its header: it is no part of the section before. */
START_TEST(test_what_was_kept_is_what_was_read) {
        _cleanup_(config_freep) Config *c = NULL, *with_today = NULL, *alone = NULL;

        make_folders();
        scratch_write("etc/suspendd.conf",
                      "\xef\xbb\xbf[Manager]\nTimeLimitSec=7\n[Plugin qmp]\nDirectory=/vms");
        scratch_write("etc/suspendd.conf.d/a.conf",
                      "Directory=/lost\n[Machine web]\nTimeSync=off\n");
        scratch_write("etc/suspendd.conf.d/b.conf", "\xef\xbb\xbf[Plugin qmp]\nDirectory=/more\n");
        c = load_folders();
        ck_assert_uint_eq(c->n_errors, 1);
        check_kept(c, 0);
        ck_assert_int_eq(config_keep(c, scratch_path("kept")), 0);

        ck_assert_int_eq(
                        config_load_with_kept(
                                        scratch_path("missing"), scratch_path("kept"), &alone),
                        0);
        check_kept(alone, 0);
        scratch_write("today",
                      "[Manager]\nTimeLimitSec=1\n[Plugin qmp]\nDirectory=/today\nnonsense\n");
        ck_assert_int_eq(
                        config_load_with_kept(
                                        scratch_path("today"), scratch_path("kept"), &with_today),
                        0);
        check_kept(with_today, 1);
}
END_TEST

START_TEST(test_nothing_kept_leaves_what_is_read) {
        _cleanup_(config_freep) Config *c = NULL;

        scratch_write("today", "[Manager]\nTimeLimitSec=1\n");
        ck_assert_int_eq(
                        config_load_with_kept(scratch_path("today"), scratch_path("missing"), &c),
                        0);
        ck_assert_uint_eq(c->time_limit_usec, USEC_PER_SEC);
}
END_TEST

START_TEST(test_names_go_there_and_back) {
        for (int i = 0; i < MODE_MAX; i++)
                ck_assert_int_eq(mode_from_string(mode_to_string((Mode) i)), i);
        for (int i = 0; i < TIME_SYNC_MAX; i++)
                ck_assert_int_eq(time_sync_from_string(time_sync_to_string((TimeSync) i)), i);
        ck_assert_int_eq(mode_from_string("off"), MODE_INVALID);
        ck_assert_int_eq(time_sync_from_string("auto"), TIME_SYNC_INVALID);
        ck_assert_ptr_null(mode_to_string(MODE_INVALID));
}
END_TEST

int main(void) {
        TCase *c = tcase_create("config");

        tcase_add_checked_fixture(c, scratch_make, scratch_remove);
        tcase_add_test(c, test_empty_is_the_default);
        tcase_add_test(c, test_all_settings_are_read);
        tcase_add_test(c, test_later_settings_replace_earlier);
        tcase_add_test(c, test_list_adds_to_its_default);
        tcase_add_test(c, test_empty_value_empties_a_list_and_its_default);
        tcase_add_loop_test(c, test_bad_line_is_left_out_and_counted, 0, ARRAY_LEN(bad_lines));
        tcase_add_test(c, test_indented_line_is_one_of_its_own);
        tcase_add_test(c, test_long_line_is_refused_not_cut);
        tcase_add_test(c, test_long_globs_are_whole);
        tcase_add_test(c, test_any_bytes_are_survived);
        tcase_add_test(c, test_drop_ins_are_merged_by_name);
        tcase_add_test(c, test_drop_in_of_a_plugin_takes_no_other_away);
        tcase_add_test(c, test_nothing_there_is_the_default);
        tcase_add_test(c, test_file_that_others_can_write_is_refused);
        tcase_add_test(c, test_file_that_others_could_have_put_there_is_refused);
        tcase_add_test(c, test_named_file_must_be_one);
        tcase_add_test(c, test_what_was_kept_is_what_was_read);
        tcase_add_test(c, test_nothing_kept_leaves_what_is_read);
        tcase_add_test(c, test_names_go_there_and_back);
        return scratch_run(c, "config");
}
