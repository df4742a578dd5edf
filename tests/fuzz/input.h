/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Fuzzer's Input
 *
 * The bytes as a row of numbers and texts, for targets that are driven by more than one piece: a byte, a
 * number of eight, a text up to the next NUL. Behind the end all numbers are 0 and all texts empty, so
 * that every input means something. The Input owns a copy of the bytes, from which texts are borrowed.
 */

#include "fuzz.h"

typedef struct Input {
        uint8_t *bytes;
        const uint8_t *at, *end;
} Input;

static inline Input input_begin(const uint8_t *data, size_t size) {
        Input in = { .bytes = malloc(size + 1) };

        HOLDS(in.bytes);
        if (size > 0)
                memcpy(in.bytes, data, size);
        in.bytes[size] = 0;
        in.at = in.bytes;
        in.end = in.bytes + size;
        return in;
}

static inline void input_done(Input *in) {
        free(in->bytes);
        in->bytes = NULL;
}

static inline bool input_is_over(const Input *in) {
        return in->at == in->end;
}

static inline uint8_t input_byte(Input *in) {
        return input_is_over(in) ? 0 : *in->at++;
}

/* One of @n. */
static inline unsigned input_choice(Input *in, size_t n) {
        return input_byte(in) % (unsigned) n;
}

static inline uint64_t input_number(Input *in) {
        uint64_t n = 0;

        for (unsigned i = 0; i < 8; i++)
                n |= (uint64_t) input_byte(in) << 8 * i;
        return n;
}

static inline const char *input_text(Input *in) {
        const char *text = (const char *) in->at;
        const uint8_t *nul = in->at + strlen(text);

        in->at = nul < in->end ? nul + 1 : in->end;
        return text;
}

/* The same; NULL where it is empty. */
static inline const char *input_text_if(Input *in) {
        const char *text = input_text(in);

        return *text ? text : NULL;
}
