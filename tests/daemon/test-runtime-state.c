/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "daemon/runtime-state.h"
#include "scratch.h"

static RuntimeState *open_state(void) {
        RuntimeState *s = NULL;

        ck_assert_int_eq(runtime_state_open(scratch_path("state"), &s), 0);
        return s;
}

static Registration registration(const char *name, const char *address, const char *agent) {
        return (Registration){
                .plugin = (char *) "qmp",
                .name = (char *) name,
                .address = (char *) address,
                .agent = (char *) agent,
        };
}

START_TEST(test_all_outlives_a_restart) {
        const Registration a = registration("a \"quoted\"\n", "/run/a.sock", "/run/a.agent");
        const Registration b = registration(NULL, "/run/b.sock", NULL);
        RuntimeState *s = open_state();
        const Registration *r;

        ck_assert_int_eq(runtime_state_register(s, &a), 0);
        ck_assert_int_eq(runtime_state_register(s, &b), 0);
        ck_assert_int_eq(runtime_state_register(s, &a), -EEXIST);
        ck_assert_int_eq(runtime_state_set_mode(s, "vm", MODE_PAUSE), 0);
        ck_assert_int_eq(runtime_state_set_mode(s, "other", MODE_BLOCK), 0);
        ck_assert_int_eq(runtime_state_set_mode(s, "vm", MODE_IGNORE), 0);
        ck_assert_int_eq(runtime_state_set_distrust(s, "qmp/vm/1.2", "it \\ bounced"), 0);
        runtime_state_free(s);

        s = open_state();
        ck_assert_uint_eq(runtime_state_registrations(s, &r), 2);
        ck_assert_str_eq(r[0].plugin, "qmp");
        ck_assert_str_eq(r[0].name, "a \"quoted\"\n");
        ck_assert_str_eq(r[0].address, "/run/a.sock");
        ck_assert_str_eq(r[0].agent, "/run/a.agent");
        ck_assert_ptr_null(r[1].name);
        ck_assert_ptr_null(r[1].agent);
        ck_assert_int_eq(runtime_state_mode(s, "vm"), MODE_IGNORE);
        ck_assert_int_eq(runtime_state_mode(s, "other"), MODE_BLOCK);
        ck_assert_int_eq(runtime_state_mode(s, "none"), MODE_INVALID);
        ck_assert_str_eq(runtime_state_distrust(s, "qmp/vm/1.2"), "it \\ bounced");
        ck_assert_ptr_null(runtime_state_distrust(s, "qmp/vm/1.3"));
        runtime_state_free(s);
        ck_assert_uint_eq(scratch_count(), 1); /* nothing was left beside it */
}
END_TEST

START_TEST(test_file_that_others_could_have_written_is_left_out) {
        const Registration a = registration(NULL, "/a", NULL);
        const Registration *r;
        RuntimeState *s = open_state();

        ck_assert_int_eq(runtime_state_register(s, &a), 0);
        runtime_state_free(s);
        for (mode_t mode = 0620; mode; mode = mode == 0620 ? 0602 : 0) {
                ck_assert_int_eq(chmod(scratch_path("state"), mode), 0);
                s = open_state();
                ck_assert_uint_eq(runtime_state_registrations(s, &r), 0);
                runtime_state_free(s);
        }
        ck_assert_int_eq(chmod(scratch_path("state"), 0600), 0);
        s = open_state();
        ck_assert_uint_eq(runtime_state_registrations(s, &r), 1);
        runtime_state_free(s);
}
END_TEST

START_TEST(test_what_is_taken_back_is_gone) {
        const Registration a = registration(NULL, "/a", NULL), b = registration(NULL, "/b", NULL);
        RuntimeState *s = open_state();
        const Registration *r;

        ck_assert_int_eq(runtime_state_register(s, &a), 0);
        ck_assert_int_eq(runtime_state_register(s, &b), 0);
        ck_assert_int_eq(runtime_state_unregister(s, "qmp", "/c"), -ENOENT);
        ck_assert_int_eq(runtime_state_unregister(s, "other", "/a"), -ENOENT);
        ck_assert_int_eq(runtime_state_unregister(s, "qmp", "/a"), 0);
        ck_assert_int_eq(runtime_state_set_mode(s, "vm", MODE_PAUSE), 0);
        ck_assert_int_eq(runtime_state_set_mode(s, "vm", MODE_INVALID), 0);
        ck_assert_int_eq(runtime_state_set_distrust(s, "k", "why"), 0);
        ck_assert_int_eq(runtime_state_set_distrust(s, "k", NULL), 0);
        ck_assert_int_eq(runtime_state_set_distrust(s, "k", NULL), 0);

        for (int life = 0; life < 2; life++) {
                ck_assert_uint_eq(runtime_state_registrations(s, &r), 1);
                ck_assert_str_eq(r[0].address, "/b");
                ck_assert_int_eq(runtime_state_mode(s, "vm"), MODE_INVALID);
                ck_assert_ptr_null(runtime_state_distrust(s, "k"));
                runtime_state_free(s);
                s = open_state();
        }
        runtime_state_free(s);
}
END_TEST

START_TEST(test_bad_entries_are_left_out_alone) {
        RuntimeState *s;
        const Registration *r;

        scratch_write("state",
                      "{\"registrations\":[1,{},{\"plugin\":\"qmp\"},{\"plugin\":\"qmp\",\"address\":7},"
                      "{\"plugin\":\"qmp\",\"address\":\"/a\",\"name\":[]},"
                      "{\"plugin\":\"qmp\",\"address\":\"/a\"},null],"
                      "\"modes\":{\"x\":\"pause\",\"y\":\"never\",\"z\":5},"
                      "\"distrusts\":[],\"else\":{}}");
        s = open_state();
        ck_assert_uint_eq(runtime_state_registrations(s, &r), 1);
        ck_assert_str_eq(r[0].address, "/a");
        ck_assert_ptr_null(r[0].name);
        ck_assert_int_eq(runtime_state_mode(s, "x"), MODE_PAUSE);
        ck_assert_int_eq(runtime_state_mode(s, "y"), MODE_INVALID);
        ck_assert_int_eq(runtime_state_mode(s, "z"), MODE_INVALID);
        runtime_state_free(s);
}
END_TEST

START_TEST(test_clocks_outlive_a_restart) {
        const ClockSample clocks = { 1, INT64_MAX, -3 };
        RuntimeState *s = open_state();

        ck_assert_int_eq(runtime_state_clocks(s)->boottime_ns, 0);
        ck_assert_int_eq(runtime_state_set_clocks(s, &clocks), 0);
        runtime_state_free(s);
        s = open_state();
        ck_assert_mem_eq(runtime_state_clocks(s), &clocks, sizeof(clocks));
        runtime_state_free(s);

        scratch_write("state",
                      "{\"clocks\":{\"monotonic_ns\":1,\"boottime_ns\":\"2\",\"realtime_ns\":3}}");
        s = open_state();
        ck_assert_int_eq(runtime_state_clocks(s)->boottime_ns, 0);
        runtime_state_free(s);
}
END_TEST

/* Cut short anywhere, or with any byte wrong: it opens, and can be written again. */
START_TEST(test_broken_file_is_survived) {
        const Registration a = registration("name", "/run/a.sock", NULL);
        _cleanup_free_ char *text = NULL;
        RuntimeState *s = open_state();
        size_t size;

        ck_assert_int_eq(runtime_state_register(s, &a), 0);
        ck_assert_int_eq(runtime_state_set_mode(s, "vm", MODE_PAUSE), 0);
        ck_assert_int_eq(runtime_state_set_distrust(s, "k", "why"), 0);
        runtime_state_free(s);
        text = scratch_read("state", &size);

        for (size_t i = 0; i < size; i++)
                for (int how = 0; how < 3; how++) {
                        const char wrong[] = { text[i], '\xff', '"' };
                        char saved = text[i];

                        text[i] = wrong[how];
                        scratch_write_bytes("state", text, how == 0 ? i : size);
                        text[i] = saved;
                        s = open_state();
                        ck_assert_int_eq(runtime_state_set_mode(s, "new", MODE_BLOCK), 0);
                        runtime_state_free(s);
                        s = open_state();
                        ck_assert_int_eq(runtime_state_mode(s, "new"), MODE_BLOCK);
                        runtime_state_free(s);
                }
}
END_TEST

START_TEST(test_hostile_sizes_are_bounded) {
        _cleanup_free_ char *text = malloc(8 << 20);
        const Registration *r;
        RuntimeState *s;
        int i;

        memset(text, '[', 8 << 20);
        scratch_write_bytes("state", text, 8 << 20);
        runtime_state_free(open_state());
        scratch_write_bytes("state", text, 1 << 20);
        s = open_state();

        memset(text, 'x', 5000);
        text[5000] = 0;
        ck_assert_int_eq(runtime_state_set_mode(s, text, MODE_PAUSE), -E2BIG);
        ck_assert_int_eq(runtime_state_set_distrust(s, "k", text), -E2BIG);
        ck_assert_int_eq(
                        runtime_state_register(
                                        s, &(Registration){ .plugin = text, .address = text }),
                        -E2BIG);
        ck_assert_int_eq(
                        runtime_state_register(
                                        s, &(Registration){ .plugin = text, .address = NULL }),
                        -EINVAL);
        ck_assert_uint_eq(runtime_state_registrations(s, &r), 0);

        for (i = 0; i < 1100; i++) {
                char key[32];

                (void) snprintf(key, sizeof(key), "k%d", i);
                ck_assert_int_eq(runtime_state_set_distrust(s, key, "w"), 0);
        }
        ck_assert_ptr_null(runtime_state_distrust(s, "k0"));
        ck_assert_str_eq(runtime_state_distrust(s, "k1099"), "w");
        runtime_state_free(s);
}
END_TEST

START_TEST(test_names_that_are_no_utf8_cost_nobody_else) {
        RuntimeState *s = open_state();

        ck_assert_int_eq(runtime_state_set_mode(s, "good", MODE_PAUSE), 0);
        ck_assert_int_eq(runtime_state_set_mode(s, "bad\xff", MODE_BLOCK), 0);
        ck_assert_int_eq(runtime_state_set_distrust(s, "k", "w\xfe"), 0);
        ck_assert_int_eq(runtime_state_mode(s, "bad\xff"), MODE_BLOCK);
        runtime_state_free(s);

        s = open_state();
        ck_assert_int_eq(runtime_state_mode(s, "good"), MODE_PAUSE);
        ck_assert_int_eq(runtime_state_mode(s, "bad\xff"), MODE_INVALID);
        ck_assert_str_eq(runtime_state_distrust(s, "k"), "w?");
        runtime_state_free(s);
}
END_TEST

START_TEST(test_file_that_cannot_be_written_is_told) {
        RuntimeState *s = NULL;

        ck_assert_int_eq(runtime_state_open(scratch_path("no/folder"), &s), 0);
        ck_assert_int_eq(runtime_state_set_mode(s, "vm", MODE_PAUSE), -ENOENT);
        ck_assert_int_eq(runtime_state_mode(s, "vm"), MODE_PAUSE); /* it counts all the same */
        runtime_state_free(s);
}
END_TEST

/* The disk was full, and is not any more. */
START_TEST(test_what_could_not_be_written_is_when_it_is_said_again) {
        const Registration a = registration(NULL, "/a", NULL), b = registration(NULL, "/b", NULL);
        const Registration *r;
        RuntimeState *s = open_state();

        ck_assert_int_eq(runtime_state_register(s, &a), 0);
        ck_assert_int_eq(
                        mkdir(scratch_path("state.new"), 0700),
                        0); /* in the way of the file's successor */
        ck_assert_int_lt(runtime_state_set_mode(s, "vm", MODE_PAUSE), 0);
        ck_assert_int_lt(runtime_state_set_distrust(s, "k", "why"), 0);
        ck_assert_int_lt(runtime_state_register(s, &b), 0);
        ck_assert_uint_eq(runtime_state_registrations(s, &r), 1);
        ck_assert_int_lt(runtime_state_unregister(s, "qmp", "/a"), 0);
        ck_assert_int_lt(runtime_state_set_mode(s, "vm", MODE_PAUSE), 0);
        ck_assert_int_eq(rmdir(scratch_path("state.new")), 0);

        switch (_i) {
        case 0:
                ck_assert_int_eq(runtime_state_set_mode(s, "vm", MODE_PAUSE), 0);
                break;
        case 1:
                ck_assert_int_eq(runtime_state_set_distrust(s, "k", "why"), 0);
                break;
        case 2:
                ck_assert_int_eq(runtime_state_unregister(s, "qmp", "/a"), 0);
                break;
        default:
                ck_assert_int_eq(runtime_state_register(s, &b), 0);
        }
        runtime_state_free(s);
        s = open_state();
        ck_assert_int_eq(runtime_state_mode(s, "vm"), MODE_PAUSE);
        ck_assert_str_eq(runtime_state_distrust(s, "k"), "why");
        ck_assert_uint_eq(runtime_state_registrations(s, &r), _i == 3);
        ck_assert_int_eq(runtime_state_unregister(s, "qmp", "/a"), -ENOENT);
        runtime_state_free(s);
}
END_TEST

int main(void) {
        TCase *c = tcase_create("runtime-state");

        tcase_add_checked_fixture(c, scratch_make, scratch_remove);
        tcase_set_timeout(c, 60);
        tcase_add_test(c, test_all_outlives_a_restart);
        tcase_add_test(c, test_file_that_others_could_have_written_is_left_out);
        tcase_add_test(c, test_what_is_taken_back_is_gone);
        tcase_add_test(c, test_bad_entries_are_left_out_alone);
        tcase_add_test(c, test_clocks_outlive_a_restart);
        tcase_add_test(c, test_broken_file_is_survived);
        tcase_add_test(c, test_hostile_sizes_are_bounded);
        tcase_add_test(c, test_names_that_are_no_utf8_cost_nobody_else);
        tcase_add_test(c, test_file_that_cannot_be_written_is_told);
        tcase_add_loop_test(c, test_what_could_not_be_written_is_when_it_is_said_again, 0, 4);
        return scratch_run(c, "runtime-state");
}
