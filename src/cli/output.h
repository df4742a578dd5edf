/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Output
 *
 * Text or JSON from one description: what a verb has to say is a JSON value, and how it looks as
 * text is a list of fields that name members of it. With --json the value itself is printed; else
 * tables, which fit the terminal, and sheets of "Label: value". Both therefore tell the same.
 *
 * Colours are for terminals alone, and not where NO_COLOR, SYSTEMD_COLORS=0 or TERM=dumb say so.
 */

#include "common/json-bounded.h"
#include "common/time-util.h"

typedef enum JsonStyle {
        JSON_STYLE_OFF,
        JSON_STYLE_SHORT,
        JSON_STYLE_PRETTY,
        JSON_STYLE_INVALID = -1,
} JsonStyle;

/* How a member reads as text. What is null, missing or empty reads "-". */
typedef enum Format {
        FORMAT_TEXT,
        FORMAT_COUNT,
        FORMAT_YES_NO,
        FORMAT_SPAN_USEC,
        FORMAT_SPAN_NS,
        FORMAT_OFFSET_NS,  /* with its uncertainty from the member @beside */
        FORMAT_LIMIT_USEC, /* as SPAN_USEC; null is "infinity" */
        FORMAT_STAMP,      /* RFC 3339, shown in local time */
        FORMAT_STATE,      /* text, coloured by what it means */
        FORMAT_LIST,       /* of texts, or an object: "KEY: text; KEY: text" */
} Format;

typedef enum FieldFlags {
        FIELD_RIGHT = 1 << 0,
        FIELD_SHRINK = 1 << 1, /* cut where the terminal is too narrow */
        FIELD_WRAP = 1 << 2,   /* continued on the next line there */
        FIELD_IF_SET = 1 << 3, /* 0, "no" and offsets below 1 ms say nothing */
} FieldFlags;

typedef struct Field {
        const char *title;
        const char *key; /* "time.after_ns": the member after_ns of the member time */
        Format format;
        unsigned flags;
        const char *beside;
} Field;

typedef struct Output {
        JsonStyle json;
        bool is_colourful;
        bool has_legend;
        bool is_utf8;
} Output;

/* Looks at the environment and at the terminal, and sets the locale's character set. */
void output_init(Output *o);

JsonStyle json_style_from_string(const char *s);

/* Prints @value as JSON, one line in the short style. */
void output_json(const Output *o, JsonObject *value);

/* Prints the objects of the array @rows as a table, a column a field. Returns: 0; -ENOMEM. */
int output_table(const Output *o, const Field *fields, size_t n, JsonObject *rows);

/* Prints members of @value as "Label: value"; those that have nothing to say are left out. */
void output_sheet(const Output *o, const Field *fields, size_t n, JsonObject *value);

/* The text of one field, to be freed; NULL if it has nothing to say. */
char *output_field(const Output *o, const Field *f, JsonObject *value);

/* A span of time as it reads everywhere here: three figures, from a minute on two units. Returns @buf. */
char *output_span(char buf[static TIME_SPAN_MAX], int64_t usec);

/* Prints a heading. */
void output_heading(const Output *o, const char *format, ...) _printf_(2, 3);
