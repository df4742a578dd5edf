/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include "common/macro.h"
#include "plugins/qmp/line-reader.h"

#define LIMIT 64
#define TEXT_MAX 8192

/* All lines heard, each followed by a newline; M before a marked one, ! for one too long. */
typedef struct Ear {
        char text[TEXT_MAX];
        size_t n;
        LineReader *free_at_first; /* as an owner does that has had enough */
} Ear;

static bool on_line(const Line *line, void *userdata) {
        Ear *ear = userdata;

        if (line->marked)
                ear->text[ear->n++] = 'M';
        if (!line->text)
                ear->text[ear->n++] = '!';
        ck_assert(line->text || line->size == 0);
        ck_assert_uint_lt(ear->n + line->size + 2, TEXT_MAX);
        for (size_t i = 0; i < line->size; i++)
                ear->text[ear->n++] = line->text[i];
        ear->text[ear->n++] = '\n';
        if (!ear->free_at_first)
                return true;
        line_reader_done(ear->free_at_first);
        memset(ear->free_at_first, 0xaa, sizeof(*ear->free_at_first));
        return false;
}

static const struct {
        const char *in, *out;
} texts[] = {
        { "one\ntwo\n", "one\ntwo\n" },
        { "one\r\ntwo\r\n", "one\ntwo\n" },
        { "\n\r\n\none\n", "one\n" },
        { "on\re\n", "on\re\n" },
        { "no end", "" },
        { "junk\xffone\ntwo\n", "Mone\ntwo\n" },
        { "junk\xff\xffone\n", "Mone\n" },
        { "junk\nmore\xffone\n\xfftwo\n", "junk\nMone\nMtwo\n" },
        { "\xff\none\n", "one\n" },
        /* 64 bytes are a line, 65 are not; the mark begins anew */
        { "0123456789012345678901234567890123456789012345678901234567890123\nx\n",
          "0123456789012345678901234567890123456789012345678901234567890123\nx\n" },
        { "01234567890123456789012345678901234567890123456789012345678901234\nx\n", "!\nx\n" },
        { "0123456789012345678901234567890123456789012345678901234567890123456789"
          "0123456789012345678901234567890123456789012345678901234567890123456789\nx\n",
          "!\nx\n" },
};

START_TEST(test_text_is_read_alike_however_it_is_split) {
        const char *in = texts[_i].in;
        size_t size = strlen(in);

        for (size_t a = 0; a <= size; a++)
                for (size_t b = a; b <= size; b++) {
                        LineReader r = LINE_READER_INIT(LIMIT, 0xff);
                        Ear ear = {};

                        line_reader_feed(&r, in, a, on_line, &ear);
                        line_reader_feed(&r, in + a, b - a, on_line, &ear);
                        line_reader_feed(&r, in + b, size - b, on_line, &ear);
                        ck_assert_str_eq(ear.text, texts[_i].out);
                        line_reader_done(&r);
                }
}
END_TEST

START_TEST(test_text_is_read_alike_byte_by_byte) {
        LineReader r = LINE_READER_INIT(LIMIT, 0xff);
        Ear ear = {};

        for (const char *p = texts[_i].in; *p; p++)
                line_reader_feed(&r, p, 1, on_line, &ear);
        ck_assert_str_eq(ear.text, texts[_i].out);
        line_reader_done(&r);
}
END_TEST

START_TEST(test_mark_is_a_byte_like_others_where_none_is_set) {
        LineReader r = LINE_READER_INIT(LIMIT, -1);
        Ear ear = {};

        line_reader_feed(
                        &r,
                        "a\xff"
                        "b\n",
                        4,
                        on_line,
                        &ear);
        ck_assert_str_eq(
                        ear.text,
                        "a\xff"
                        "b\n");
        line_reader_done(&r);
}
END_TEST

START_TEST(test_mark_ends_a_line_that_was_too_long) {
        LineReader r = LINE_READER_INIT(LIMIT, 0xff);
        char junk[LIMIT * 4];
        Ear ear = {};

        memset(junk, 'j', sizeof(junk));
        for (int i = 0; i < 1000; i++)
                line_reader_feed(&r, junk, sizeof(junk), on_line, &ear);
        line_reader_feed(&r, "\xffone\n", 5, on_line, &ear);
        ck_assert_str_eq(ear.text, "!\nMone\n");
        line_reader_done(&r);
}
END_TEST

START_TEST(test_idle_reader_owns_no_memory) {
        LineReader r = LINE_READER_INIT(LIMIT, -1);
        Ear ear = {};

        line_reader_feed(&r, "on", 2, on_line, &ear);
        ck_assert_ptr_nonnull(r.kept);
        line_reader_feed(&r, "e\n", 2, on_line, &ear);
        ck_assert_ptr_null(r.kept);
        line_reader_feed(&r, "two\n", 4, on_line, &ear);
        ck_assert_ptr_null(r.kept);
        ck_assert_str_eq(ear.text, "one\ntwo\n");
}
END_TEST

START_TEST(test_endless_line_costs_its_limit_at_most) {
        LineReader r = LINE_READER_INIT(100000, -1);
        char junk[4096];
        Ear ear = {};

        memset(junk, 'j', sizeof(junk));
        for (int i = 0; i < 10000; i++) {
                line_reader_feed(&r, junk, sizeof(junk), on_line, &ear);
                ck_assert_uint_le(r.allocated, 2 * 100000);
        }
        ck_assert_str_eq(ear.text, "!\n");
        ck_assert_ptr_null(r.kept);
        line_reader_done(&r);
}
END_TEST

START_TEST(test_owner_may_free_it_at_any_line) {
        static const char in[] = "one\ntwo\n", whole[] = "one\n";

        for (size_t a = 0; a < sizeof(in) - 1; a++) {
                LineReader r = LINE_READER_INIT(LIMIT, -1);
                Ear ear = { .free_at_first = &r };

                line_reader_feed(&r, in, a, on_line, &ear);
                if (ear.n == 0)
                        line_reader_feed(&r, in + a, sizeof(in) - 1 - a, on_line, &ear);
                ck_assert_str_eq(ear.text, whole);
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("qmp-line-reader");
        TCase *c = tcase_create("lines");
        SRunner *runner;
        int n_failed;

        tcase_add_loop_test(c, test_text_is_read_alike_however_it_is_split, 0, ARRAY_LEN(texts));
        tcase_add_loop_test(c, test_text_is_read_alike_byte_by_byte, 0, ARRAY_LEN(texts));
        tcase_add_test(c, test_mark_is_a_byte_like_others_where_none_is_set);
        tcase_add_test(c, test_mark_ends_a_line_that_was_too_long);
        tcase_add_test(c, test_idle_reader_owns_no_memory);
        tcase_add_test(c, test_endless_line_costs_its_limit_at_most);
        tcase_add_test(c, test_owner_may_free_it_at_any_line);
        suite_add_tcase(suite, c);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
