/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * String Tables
 *
 * The names of an enum, in a table beside it. DEFINE_STRING_TABLE(object_state, ObjectState,
 * OBJECT_STATE) makes object_state_to_string() and object_state_from_string() from
 * object_state_table[OBJECT_STATE_MAX_]; the enum ends with _MAX and has _INVALID = -EINVAL.
 */

#include <string.h>
#include "common/macro.h"

#define DECLARE_STRING_TABLE(_name, _type)      \
        const char *_name##_to_string(_type v); \
        _type _name##_from_string(const char *s)

#define DEFINE_STRING_TABLE(_name, _type, _prefix)                                              \
        _Static_assert(ARRAY_LEN(_name##_table) == _prefix##_MAX, "a name for each " #_prefix); \
        const char *_name##_to_string(_type v) {                                                \
                if ((int) v < 0 || v >= _prefix##_MAX)                                          \
                        return NULL;                                                            \
                return _name##_table[v];                                                        \
        }                                                                                       \
        _type _name##_from_string(const char *s) {                                              \
                for (int i = 0; s && i < (int) _prefix##_MAX; i++)                              \
                        if (str_equal(_name##_table[i], s))                                     \
                                return (_type) i;                                               \
                return _prefix##_INVALID;                                                       \
        }                                                                                       \
        struct swallow_semicolon
