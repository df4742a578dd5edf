/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Clean JSON
 *
 * Makes JSON of what comes from the daemon: values of D-Bus messages and the records of its
 * history. All strings in it are clean (common/text-escape.h), so that nothing that a guest has
 * made up reaches a terminal. Integers of 2^64-1 mean "without limit" or "not known": null.
 */

#include <systemd/sd-bus.h>
#include "common/json-bounded.h"

/* A clean copy of @o. Returns: a new reference. */
JsonObject *json_clean(JsonObject *o);

/* A clean string; NULL stays null. */
JsonObject *json_clean_string(const char *s);

/* The record in @text, clean. Returns: 0; what json_bounded_parse() returns. */
int json_clean_record(const char *text, JsonObject **ret);

/* The next value of @m, of the complete type @type: a basic one, as, a{ss}, a{sv}, v. */
int json_from_message(sd_bus_message *m, const char *type, JsonObject **ret);

/* The string at @key or, if there is none, "". */
const char *json_text(JsonObject *o, const char *key);
