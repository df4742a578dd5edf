/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Compares the ids of daemon/messages.h with the entries of the catalog, whose paths are given by
 * MESSAGES_H and CATALOG in the environment.
 */

#include "scratch.h"

#define IDS_MAX 64

typedef struct Ids {
        char ids[IDS_MAX][33];
        unsigned n;
} Ids;

/* Collects what follows @mark on a line, where that begins with 32 hexadecimal digits. */
static void collect(const char *path, const char *mark, Ids *ret) {
        _cleanup_fclose_ FILE *f = path ? fopen(path, "re") : NULL;
        char line[512];

        ck_assert_msg(f, "cannot read %s", path ? path : "a file that is not named");
        while (fgets(line, sizeof(line), f)) {
                const char *p = strstr(line, mark);

                p = p ? p + strlen(mark) : line;
                if (p == line || strspn(p, "0123456789abcdef") != 32)
                        continue;
                ck_assert_uint_lt(ret->n, IDS_MAX);
                (void) snprintf(ret->ids[ret->n++], 33, "%.32s", p);
        }
}

static bool has(const Ids *ids, const char *id) {
        unsigned n = 0;

        for (unsigned i = 0; i < ids->n; i++)
                n += str_equal(ids->ids[i], id);
        ck_assert_uint_le(n, 1); /* no two alike */
        return n == 1;
}

START_TEST(test_each_message_is_explained) {
        Ids messages = { .n = 0 }, entries = { .n = 0 };

        collect(getenv("MESSAGES_H"), " \"", &messages);
        collect(getenv("CATALOG"), "-- ", &entries);
        ck_assert_uint_ge(messages.n, 9);
        ck_assert_uint_eq(messages.n, entries.n);
        for (unsigned i = 0; i < messages.n; i++) {
                ck_assert_msg(has(&entries, messages.ids[i]), "%s", messages.ids[i]);
                ck_assert(has(&messages, messages.ids[i]));
        }
}
END_TEST

int main(void) {
        TCase *c = tcase_create("messages");

        tcase_add_test(c, test_each_message_is_explained);
        return scratch_run(c, "messages");
}
