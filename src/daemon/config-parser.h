/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Configuration Parser
 *
 * Takes one file's text apart into sections and settings, with the line each stands on. Splitting a
 * line into key, value and comment is inih's work; lines and section headers are ours, for inih cuts
 * long ones short without a word, joins indented lines to the one before, and tells only the first
 * line that it did not understand.
 */

#include "common/macro.h"

typedef struct ConfigParserOps {
        /* A header's text, without brackets and blanks around it. Returns: whether it is known. */
        bool (*on_section)(void *userdata, const char *section, unsigned line);
        /* A line of a known section; borrowed strings without blanks around them. */
        void (*on_setting)(void *userdata, const char *key, const char *value, unsigned line);
        /* A line that is none. */
        void (*on_error)(void *userdata, unsigned line, const char *why);
} ConfigParserOps;

/* Parses the @size bytes at @text. Nothing in it makes it fail. */
void config_parse(const char *text, size_t size, const ConfigParserOps *ops, void *userdata);
