/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Names, Fuzzed
 *
 * What files, processes, sockets, machines and users are called: any texts. Clean text stays as it is and all
 * else comes out clean, whole or cut; a process is known by its start and not by what it calls itself; a
 * pattern finds what it says; and spans of time are read as they are written.
 */

#include <errno.h>
#include <sys/un.h>
#include "common/text-escape.h"
#include "common/time-util.h"
#include "input.h"
#include "plugins/qmp/identity.h"
#include "plugins/qmp/pattern.h"

/* /proc is a text of the input's. */
static const char *proc_text = "";

static FILE *proc_open(const char *path, const char *mode) {
        HOLDS(strncmp(path, "/proc/", 6) == 0 && mode);
        return fmemopen((char *) proc_text, strlen(proc_text), "r");
}

#define fopen proc_open
#include "common/process.c" /* NOLINT(bugprone-suspicious-include): for its fopen() */
#undef fopen

static void check_escape(const char *s) {
        _cleanup_free_ char *escaped = text_escape(s);
        char some[16];

        HOLDS(escaped && text_is_clean(escaped));
        HOLDS(text_is_clean(s) == str_equal(s, escaped));
        (void) text_escape_to(some, sizeof(some), s);
        HOLDS(text_is_clean(some) && strncmp(escaped, some, strlen(some)) == 0);
        HOLDS(strlen(escaped) < sizeof(some) ? str_equal(some, escaped)
                                             : strlen(some) + 4 >= sizeof(some));
}

static void check_texts(const char *s) {
        _cleanup_free_ char *valid = NULL;
        char cut[16];

        check_escape(s);
        (void) text_cut(cut, sizeof(cut), s);
        HOLDS(strlen(cut) < sizeof(cut) && (!text_is_clean(s) || text_is_clean(cut)));
        valid = strdup(s);
        HOLDS(valid);
        text_make_valid(valid);
        HOLDS(strlen(valid) == strlen(s));
}

/* Whatever it is called, and whatever it says of itself. */
static void check_process(Input *in) {
        _cleanup_free_ char *run = NULL, *other = NULL;
        pid_t pid = 0, own = (pid_t) (input_number(in) & INT32_MAX);
        const char *text;
        uid_t user;
        int r;

        proc_text = input_text(in);
        HOLDS(process_run_string(own, &run) == 0 && *run);
        if (strchr(run, '.') && own > 0)
                HOLDS(process_find(run, &pid) == 0 && pid == own);

        text = input_text(in);
        r = process_find(text, &pid);
        HOLDS(r == 0 || r == -ESRCH || r == -EINVAL);
        HOLDS(r < 0 || pid > 0);
        r = process_user(text, &user);
        HOLDS(r == 0 || r == -ESRCH || r == -EINVAL);
        (void) process_has_ended(text);
        HOLDS(asprintf(&other, "%s.%s", text, run) > 0);
        if (strchr(run, '.') && own > 0)
                HOLDS(process_find(other, &pid) == 0 && pid == own);
}

static void check_agent(const char *path) {
        _cleanup_free_ char *agent = NULL, *name = NULL;

        HOLDS(identity_name_from_path(path, &name) == 0 && (*name || !*path));
        HOLDS(pattern_agent_path(path, &agent) == 0);
        HOLDS(!agent || (!str_equal(agent, path) && strlen(agent) <= strlen(path)));
}

/* A pattern is root's: that fnmatch() takes its time for one with many stars is nobody's attack. */
static bool is_quick(const char *pattern) {
        size_t n = 0;

        for (; *pattern; pattern++)
                n += *pattern == '*';
        return n <= 3;
}

static void check_patterns(Input *in) {
        static const char *const keys[] = { "Socket", "Directory", "Monitor", "Other" };
        const char *why = NULL, *key = keys[input_choice(in, ARRAY_LEN(keys))];
        const char *value = input_text(in), *path = input_text(in), *agent = input_text_if(in);
        Patterns p = {}, moved = {};
        const Pattern *found;
        int r;

        r = patterns_add_setting(&p, key, value, &why);
        HOLDS(r == 0 || (r == -EINVAL && why));
        r = patterns_add_registered(&p, NULL, path, agent, &why);
        HOLDS(r == 0 || (r == -EINVAL && why));
        for (size_t i = 0; i < p.n; i++) {
                HOLDS(p.items[i].path[0] == '/' && !strstr(p.items[i].path, "//"));
                HOLDS(strlen(p.items[i].path) < sizeof(((struct sockaddr_un *) NULL)->sun_path));
        }
        if (r == 0) {
                const char *own = p.items[p.n - 1].path;

                found = patterns_find(&p, own);
                HOLDS(found && found->is_literal && str_equal(found->path, own));
                HOLDS(patterns_take_registered(&moved, &p) == 0);
                HOLDS(moved.n == 1 && patterns_remove_registered(&moved, moved.items[0].path) == 0);
                HOLDS(moved.n == 0);
        }
        patterns_done(&moved);
        patterns_done(&p);

        if (is_quick(value)) {
                (void) patterns_add_setting(&p, key, value, &why);
                (void) patterns_find(&p, path);
                (void) patterns_care(&p, path);
                patterns_done(&p);
        }
        check_agent(path);
}

static void check_spans(Input *in) {
        char buf[TIME_SPAN_MAX], stamp[TIME_STAMP_MAX];
        const char *text = input_text(in);
        uint64_t usec = 0, again = 0;
        int r;

        r = time_span_parse(text, &usec);
        HOLDS(r == 0 || r == -EINVAL || r == -ERANGE);
        HOLDS(time_span_parse(time_span_format(buf, usec), &again) == 0);
        HOLDS(again <= usec);
        (void) time_offset_format(buf, (int64_t) input_number(in));
        (void) time_stamp_format(stamp, (int64_t) input_number(in));
        HOLDS(text_is_clean(buf) && text_is_clean(stamp));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input in = input_begin(data, size);

        check_texts(input_text(&in));
        check_process(&in);
        check_patterns(&in);
        check_spans(&in);
        input_done(&in);
        return 0;
}
