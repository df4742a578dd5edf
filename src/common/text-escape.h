/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Text Escapes
 *
 * What guests and VMMs call themselves reaches a bus that takes only UTF-8 and terminals that obey
 * control characters. Clean text is valid UTF-8 without control characters and without what turns
 * the direction of writing; all else is shown as \xNN, byte by byte.
 */

#include <stdbool.h>
#include <stddef.h>

/* Whether @s can be shown and sent as it is. */
bool text_is_clean(const char *s);

/* A copy of @s made clean, to be freed by the caller. Returns: NULL without memory. */
char *text_escape(const char *s);

/*
 * The same into the @size > 0 bytes at @buf; what does not fit is left out, behind a whole character.
 * Returns: @buf.
 */
char *text_escape_to(char *buf, size_t size, const char *s);

/*
 * Copies @s into the @size > 4 bytes at @buf. What does not fit is cut off behind a whole character,
 * and an ellipsis tells so. Returns: @buf.
 */
char *text_cut(char *buf, size_t size, const char *s);

/* Puts a ? for each byte of @s that D-Bus does not take, in place: for JSON, where an escape would lie. */
void text_make_valid(char *s);
