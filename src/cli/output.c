/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/output.h"
#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <libsmartcols/libsmartcols.h>
#include <locale.h>
#include <stdarg.h>
#include <time.h>

/* colours */

typedef struct Colour {
        const char *word;
        const char *name;   /* for libsmartcols */
        const char *escape; /* for us */
} Colour;

#define GREEN "green", "\x1b[32m"
#define RED "red", "\x1b[31m"
#define YELLOW "yellow", "\x1b[33m"
#define GREY "gray", "\x1b[90m"

static const Colour colours[] = {
        { "running", GREEN },      { "right", GREEN },      { "set", GREEN },
        { "woke", GREEN },         { "idle", GREEN },       { "preparing", YELLOW },
        { "sleeping", YELLOW },    { "restoring", YELLOW }, { "unknown", YELLOW },
        { "block", YELLOW },       { "nothing", YELLOW },   { "lost", YELLOW },
        { "interrupted", YELLOW }, { "stopped", RED },      { "failed", RED },
        { "gave-up", RED },        { "unreachable", RED },  { "refused", RED },
        { "none", GREY },
};

static const Colour *colour_of(const char *word) {
        for (size_t i = 0; i < ARRAY_LEN(colours); i++)
                if (str_equal(colours[i].word, word))
                        return &colours[i];
        return NULL;
}

static bool wants_colour(void) {
        const char *s = getenv("SYSTEMD_COLORS"); /* NOLINT(concurrency-mt-unsafe): one thread */
        const char *no = getenv("NO_COLOR");      /* NOLINT(concurrency-mt-unsafe) */
        const char *term = getenv("TERM");        /* NOLINT(concurrency-mt-unsafe) */

        if (s && (str_equal(s, "0") || str_equal(s, "no") || str_equal(s, "false")))
                return false;
        if (!str_empty(no) || !isatty(STDOUT_FILENO))
                return false;
        return term && !str_equal(term, "dumb");
}

void output_init(Output *o) {
        (void) setlocale(LC_CTYPE, ""); /* only this: figures stay as they are everywhere */
        *o = (Output){
                .is_colourful = wants_colour(),
                .has_legend = true,
                .is_utf8 = str_equal(
                                nl_langinfo(CODESET), "UTF-8"), /* NOLINT(concurrency-mt-unsafe) */
        };
}

/* JSON */

JsonStyle json_style_from_string(const char *s) {
        if (!s || str_equal(s, "pretty"))
                return JSON_STYLE_PRETTY;
        if (str_equal(s, "short"))
                return JSON_STYLE_SHORT;
        return str_equal(s, "off") ? JSON_STYLE_OFF : JSON_STYLE_INVALID;
}

void output_json(const Output *o, JsonObject *value) {
        int flags = JSON_C_TO_STRING_NOSLASHESCAPE;

        if (o->json == JSON_STYLE_PRETTY)
                flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;
        (void) puts(json_object_to_json_string_ext(value, flags));
}

/* fields */

/* The member at the end of the path @key. */
static JsonObject *member(JsonObject *o, const char *key) {
        const char *dot = strchr(key, '.');
        char head[32];
        JsonObject *value = NULL;

        if (!json_object_is_type(o, json_type_object))
                return NULL;
        if (!dot)
                return json_object_object_get_ex(o, key, &value) ? value : NULL;

        (void) snprintf(head, sizeof(head), "%.*s", (int) (dot - key), key);
        return json_object_object_get_ex(o, head, &value) ? member(value, dot + 1) : NULL;
}

static char *format_stamp(const char *s) {
        struct tm tm = { 0 };
        char buf[64];
        time_t t;

        if (!strptime(s, "%Y-%m-%dT%H:%M:%S", &tm))
                return strdup(s);

        t = timegm(&tm);
        if (!localtime_r(&t, &tm) || strftime(buf, sizeof(buf), "%F %T", &tm) == 0)
                return strdup(s);
        return strdup(buf);
}

static char *format_offset(const Output *o, int64_t ns, JsonObject *uncertainty) {
        char offset[TIME_SPAN_MAX], around[TIME_SPAN_MAX];
        char *s = NULL;

        (void) time_offset_format(offset, ns);
        if (!json_object_is_type(uncertainty, json_type_int))
                return strdup(offset);

        (void) time_offset_format(around, json_object_get_int64(uncertainty));
        return asprintf(&s, "%s %s%s", offset, o->is_utf8 ? "±" : "+-", around + 1) < 0 ? NULL : s;
}

char *output_span(char buf[static TIME_SPAN_MAX], int64_t usec) {
        if (usec <= 0)
                return strcpy(buf, "0");
        if ((uint64_t) usec >= 60 * USEC_PER_SEC)
                return time_span_format(buf, (uint64_t) usec);

        (void) time_offset_format(buf, usec * NSEC_PER_USEC);
        return memmove(buf, buf + 1, strlen(buf)); /* without the sign */
}

static char *format_span(int64_t usec) {
        char buf[TIME_SPAN_MAX];

        return strdup(output_span(buf, usec));
}

static char *format_number(const Output *o, const Field *f, JsonObject *whole, int64_t v) {
        char *s = NULL;

        switch (f->format) {
        case FORMAT_SPAN_USEC:
        case FORMAT_LIMIT_USEC:
                return format_span(v);
        case FORMAT_SPAN_NS:
                return format_span(v / NSEC_PER_USEC);
        case FORMAT_OFFSET_NS:
                return format_offset(o, v, f->beside ? member(whole, f->beside) : NULL);
        default:
                return asprintf(&s, "%" PRId64, v) < 0 ? NULL : s;
        }
}

static char *format_list(JsonObject *list) {
        char *s = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&s, &size);

        if (!f)
                return NULL;
        for (size_t i = 0; i < json_object_array_length(list); i++)
                (void) fprintf(f,
                               "%s%s",
                               i > 0 ? ", " : "",
                               json_object_get_string(json_object_array_get_idx(list, i)));
        (void) fclose(f);
        return s;
}

static char *format_members(JsonObject *o) {
        char *s = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&s, &size);
        bool is_first = true;

        if (!f)
                return NULL;
        json_object_object_foreach(o, key, value) {
                (void) fprintf(f,
                               "%s%s: %s",
                               is_first ? "" : "; ",
                               key,
                               json_object_get_string(value));
                is_first = false;
        }
        (void) fclose(f);
        return s;
}

/* Whether the value says no more than that all is as usual. */
static bool is_usual(const Field *f, JsonObject *value) {
        if (f->format ==
            FORMAT_OFFSET_NS) /* of a clock: two readings never agree to the last digit */
                return llabs(json_object_get_int64(value)) < NSEC_PER_MSEC;
        return !json_object_get_boolean(value);
}

static char *field_text(const Output *o, const Field *f, JsonObject *value) {
        JsonObject *m = member(value, f->key);

        if (f->flags & FIELD_IF_SET && is_usual(f, m))
                return NULL;

        switch (json_object_get_type(m)) {
        case json_type_null:
                return f->format == FORMAT_LIMIT_USEC ? strdup("infinity") : NULL;
        case json_type_boolean:
                return strdup(json_object_get_boolean(m) ? "yes" : "no");
        case json_type_int:
                return format_number(o, f, value, json_object_get_int64(m));
        case json_type_array:
                return json_object_array_length(m) > 0 ? format_list(m) : NULL;
        case json_type_object:
                return f->format == FORMAT_LIST && json_object_object_length(m) > 0
                                       ? format_members(m)
                                       : NULL;
        case json_type_string:
                if (json_object_get_string_len(m) == 0)
                        return NULL;
                if (f->format == FORMAT_STAMP)
                        return format_stamp(json_object_get_string(m));
                return strdup(json_object_get_string(m));
        default:
                return NULL;
        }
}

/*
 * What a locale without UTF-8 has no characters for, byte by byte: libsmartcols looks for them in vain, and
 * where a cell has to be cut without an end.
 */
static char *ascii_of(const char *s) {
        char *ascii = malloc(4 * strlen(s) + 1), *to = ascii;

        for (; ascii && *s; s++)
                if ((unsigned char) *s < 0x80)
                        *to++ = *s;
                else
                        to += snprintf(to, 5, "\\x%02x", (unsigned char) *s);
        if (ascii)
                *to = '\0';
        return ascii;
}

char *output_field(const Output *o, const Field *f, JsonObject *value) {
        _cleanup_free_ char *text = field_text(o, f, value);

        return !text || o->is_utf8 ? TAKE_PTR(text) : ascii_of(text);
}

/* tables */

DEFINE_CLEANUP(struct libscols_table *, scols_unref_table);

static int add_columns(struct libscols_table *t, const Field *fields, size_t n) {
        for (size_t i = 0; i < n; i++) {
                int flags = 0;

                if (fields[i].flags & FIELD_RIGHT)
                        flags |= SCOLS_FL_RIGHT;
                if (fields[i].flags & FIELD_SHRINK)
                        flags |= SCOLS_FL_TRUNC;
                if (fields[i].flags & FIELD_WRAP)
                        flags |= SCOLS_FL_WRAP;
                if (!scols_table_new_column(t, fields[i].title, 0, flags))
                        return -ENOMEM;
        }
        return 0;
}

static int add_row(
                const Output *o,
                struct libscols_table *t,
                const Field *fields,
                size_t n,
                JsonObject *row) {
        struct libscols_line *line = scols_table_new_line(t, NULL);

        if (!line)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *text = output_field(o, &fields[i], row);
                const Colour *colour =
                                fields[i].format == FORMAT_STATE && text ? colour_of(text) : NULL;

                if (scols_line_set_data(line, i, text ? text : "-") < 0)
                        return -ENOMEM;
                if (colour)
                        (void) scols_cell_set_color(scols_line_get_cell(line, i), colour->name);
        }
        return 0;
}

int output_table(const Output *o, const Field *fields, size_t n, JsonObject *rows) {
        _cleanup_(scols_unref_tablep) struct libscols_table *t = scols_new_table();
        int r;

        if (!t)
                return -ENOMEM;

        /* All text is clean; encoded once more, its escapes would not be what they were. */
        (void) scols_table_enable_noencoding(t, true);
        (void) scols_table_enable_colors(t, o->is_colourful);
        (void) scols_table_enable_noheadings(t, !o->has_legend);
        (void) scols_table_set_column_separator(t, "  ");

        r = add_columns(t, fields, n);
        for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++)
                r = add_row(o, t, fields, n, json_object_array_get_idx(rows, i));
        if (r < 0)
                return r;

        (void) fflush(stdout);
        return scols_print_table(t);
}

/* sheets */

void output_sheet(const Output *o, const Field *fields, size_t n, JsonObject *value) {
        int width = 0;

        for (size_t i = 0; i < n; i++)
                width = MAX(width, (int) strlen(fields[i].title));

        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *text = output_field(o, &fields[i], value);
                const Colour *colour = NULL;

                if (!text)
                        continue;
                if (o->is_colourful && fields[i].format == FORMAT_STATE)
                        colour = colour_of(text);
                (void) printf("%*s: %s%s%s\n",
                              width,
                              fields[i].title,
                              colour ? colour->escape : "",
                              text,
                              colour ? "\x1b[0m" : "");
        }
}

void output_heading(const Output *o, const char *format, ...) {
        va_list ap;

        if (o->is_colourful)
                (void) fputs("\x1b[1m", stdout);
        va_start(ap, format);
        (void) vprintf(format, ap);
        va_end(ap);
        (void) puts(o->is_colourful ? "\x1b[0m" : "");
}
