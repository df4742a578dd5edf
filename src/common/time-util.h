/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Time Spans
 *
 * Spans of time as people write and read them: "5s", "1min 30s", "250ms", "infinity"; as
 * systemd.time(7) has them, from microseconds to weeks. A bare number means seconds.
 */

#include <stddef.h>
#include <stdint.h>

#define USEC_INFINITY UINT64_MAX
#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define NSEC_PER_USEC INT64_C(1000)
#define NSEC_PER_MSEC INT64_C(1000000)
#define NSEC_PER_SEC INT64_C(1000000000)
#define TIME_SPAN_MAX 64
#define TIME_STAMP_MAX 40

/*
 * Reads the span @s into *@ret_usec.
 *
 * Returns: 0; -EINVAL if it is none; -ERANGE if it does not fit.
 */
int time_span_parse(const char *s, uint64_t *ret_usec);

/* Writes @usec into @buf as people read it, with at most two units ("1min 30s"). Returns @buf. */
char *time_span_format(char buf[static TIME_SPAN_MAX], uint64_t usec);

/* The same for a signed duration in nanoseconds, three digits ("-1.5ms", "+2.31s"). Returns @buf. */
char *time_offset_format(char buf[static TIME_SPAN_MAX], int64_t ns);

/* Writes the CLOCK_REALTIME stamp as RFC 3339 in UTC with milliseconds. Returns @buf. */
char *time_stamp_format(char buf[static TIME_STAMP_MAX], int64_t realtime_ns);
