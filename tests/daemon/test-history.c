/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "common/json-bounded.h"
#include "daemon/history.h"
#include "scratch.h"

static History *open_history(unsigned max_records, uint64_t max_bytes) {
        History *h = NULL;

        ck_assert_int_eq(history_open(scratch_path("history"), max_records, max_bytes, &h), 0);
        return h;
}

static void append(History *h, unsigned number) {
        char json[64];

        (void) snprintf(json, sizeof(json), "{\"number\":%u,\"pad\":\"%020d\"}", number, 0);
        ck_assert_int_eq(history_append(h, number, json), 0);
}

/* Asserts that the newest @max records are those from @first to @last. */
static void assert_records(History *h, unsigned max, unsigned first, unsigned last) {
        _cleanup_(history_records_freep) char **records = NULL;
        size_t n = 0;

        ck_assert_int_eq(history_read(h, max, &records), 0);
        for (unsigned i = first; i <= last; i++, n++) {
                char start[32];

                (void) snprintf(start, sizeof(start), "{\"number\":%u,", i);
                ck_assert_ptr_nonnull(records[n]);
                ck_assert_int_eq(strncmp(records[n], start, strlen(start)), 0);
        }
        ck_assert_ptr_null(records[n]);
}

START_TEST(test_records_outlive_their_writer) {
        History *h = open_history(100, 1 << 20);

        ck_assert_uint_eq(history_next_number(h), 1);
        for (unsigned i = 1; i <= 12; i++)
                append(h, i);
        assert_records(h, 100, 1, 12);
        assert_records(h, 3, 10, 12);
        history_free(h);

        h = open_history(100, 1 << 20);
        ck_assert_uint_eq(history_next_number(h), 13);
        assert_records(h, 100, 1, 12);
        append(h, 12); /* the same again takes its place */
        assert_records(h, 100, 1, 12);
        history_free(h);
}
END_TEST

START_TEST(test_oldest_go_first) {
        History *h = open_history(5, 1 << 20);

        for (unsigned i = 1; i <= 20; i++)
                append(h, i);
        assert_records(h, 100, 16, 20);
        history_set_limits(h, 2, 1 << 20);
        assert_records(h, 100, 19, 20);
        history_free(h);

        h = open_history(1, 1 << 20);
        assert_records(h, 100, 20, 20);
        ck_assert_uint_eq(history_next_number(h), 21);
        history_free(h);

        h = open_history(0, 1 << 20);
        assert_records(h, 100, 1, 0);
        append(h, 21);
        assert_records(h, 100, 1, 0);
        history_free(h);
}
END_TEST

START_TEST(test_bytes_are_bounded) {
        History *h = open_history(100, 200); /* a record is of some 44 */
        uint64_t bytes = 0;

        for (unsigned i = 1; i <= 20; i++)
                append(h, i);
        assert_records(h, 100, 17, 20);
        for (unsigned i = 1; i <= 20; i++) {
                struct stat st;
                char name[64];

                (void) snprintf(name, sizeof(name), "history/%u.json", i);
                if (stat(scratch_path(name), &st) == 0)
                        bytes += (uint64_t) st.st_size;
        }
        ck_assert_uint_gt(bytes, 0);
        ck_assert_uint_le(bytes, 200);
        history_free(h);
}
END_TEST

START_TEST(test_long_record_is_cut_to_its_head) {
        static const char json[] =
                        "{\"number\":4,\"slept\":1.5,\"machines\":[{\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaa"
                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}],\"kind\":\"sleep\",\"o\":{\"x\":1}}";
        _cleanup_(history_records_freep) char **records = NULL;
        History *h = open_history(100, 80);

        append(h, 3);
        ck_assert_int_eq(history_append(h, 4, json), 0);
        ck_assert_int_eq(history_read(h, 10, &records), 0);
        ck_assert_str_eq(
                        records[0],
                        "{\"number\":4,\"slept\":1.5,\"kind\":\"sleep\",\"truncated\":true}");
        ck_assert_ptr_null(records[1]);
        ck_assert_int_eq(
                        history_append(h,
                                       5,
                                       "{\"number\":5, no object, and too long for the bound "
                                       "of eighty bytes that was set above }"),
                        -EBADMSG);
        ck_assert_uint_eq(history_next_number(h), 5);
        history_free(h);
}
END_TEST

START_TEST(test_foreign_files_are_left_out) {
        static const char *const names[] = { "history/011.json",
                                             "history/x.json",
                                             "history/5.json.bak",
                                             "history/-1.json",
                                             "history/0.json",
                                             "history/18446744073709551615.json",
                                             "history/99999999999999999999999.json" };
        char bomb[4001];
        History *h = open_history(100, 1 << 20);

        append(h, 1);
        append(h, 9);
        history_free(h);
        memset(bomb, '[', sizeof(bomb) - 1);
        bomb[sizeof(bomb) - 1] = 0;
        scratch_write("history/2.json", bomb);
        scratch_write("history/3.json", "[1]");
        scratch_write("history/4.json", "");
        scratch_write("history/5.json", "{\"a\":\"\xff\"}");
        ck_assert_int_eq(symlink("1.json", scratch_path("history/6.json")), 0);
        ck_assert_int_eq(mkdir(scratch_path("history/7.json"), 0755), 0);
        ck_assert_int_eq(mkfifo(scratch_path("history/8.json"), 0600), 0);
        scratch_write("history/12.json.new", "{\"half");
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                scratch_write(names[i], "{}");

        h = open_history(100, 1 << 20);
        {
                _cleanup_(history_records_freep) char **records = NULL;

                ck_assert_int_eq(history_read(h, UINT32_MAX, &records), 0);
                ck_assert_ptr_nonnull(records[0]);
                ck_assert_ptr_nonnull(strstr(records[0], "\"number\":1,"));
                ck_assert_ptr_nonnull(records[1]);
                ck_assert_ptr_nonnull(strstr(records[1], "\"number\":9,"));
                ck_assert_ptr_null(records[2]);
        }
        ck_assert_uint_eq(history_next_number(h), 10);
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                ck_assert_int_eq(access(scratch_path(names[i]), F_OK), 0);
        ck_assert_int_lt(access(scratch_path("history/12.json.new"), F_OK), 0);

        /* a file that has grown meanwhile */
        ck_assert_int_eq(truncate(scratch_path("history/1.json"), 3 << 20), 0);
        {
                _cleanup_(history_records_freep) char **records = NULL;

                ck_assert_int_eq(history_read(h, UINT32_MAX, &records), 0);
                ck_assert_ptr_nonnull(strstr(records[0], "\"number\":9,"));
                ck_assert_ptr_null(records[1]);
        }
        history_free(h);
}
END_TEST

START_TEST(test_no_folder_is_told) {
        History *h = NULL;

        scratch_write("file", "");
        ck_assert_int_eq(history_open(scratch_path("file"), 1, 1, &h), -ENOTDIR);
        ck_assert_int_eq(history_open(scratch_path("no/where"), 1, 1, &h), -ENOENT);
        ck_assert_ptr_null(h);
}
END_TEST

int main(void) {
        TCase *c = tcase_create("history");

        tcase_add_checked_fixture(c, scratch_make, scratch_remove);
        tcase_add_test(c, test_records_outlive_their_writer);
        tcase_add_test(c, test_oldest_go_first);
        tcase_add_test(c, test_bytes_are_bounded);
        tcase_add_test(c, test_long_record_is_cut_to_its_head);
        tcase_add_test(c, test_foreign_files_are_left_out);
        tcase_add_test(c, test_no_folder_is_told);
        return scratch_run(c, "history");
}
