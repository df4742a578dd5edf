/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/time-util.h"
#include <errno.h>
#include <inttypes.h>
#include <time.h>
#include "common/macro.h"

#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY (24 * USEC_PER_HOUR)
#define USEC_PER_WEEK (7 * USEC_PER_DAY)

typedef struct Unit {
        const char *name;
        uint64_t usec;
} Unit;

/* What is read: systemd.time(7). */
static const Unit unit_names[] = {
        { "usec", 1 },
        { "us", 1 },
        { "µs", 1 }, /* MICRO SIGN */
        { "μs", 1 }, /* GREEK SMALL LETTER MU */
        { "msec", USEC_PER_MSEC },
        { "ms", USEC_PER_MSEC },
        { "seconds", USEC_PER_SEC },
        { "second", USEC_PER_SEC },
        { "sec", USEC_PER_SEC },
        { "s", USEC_PER_SEC },
        { "minutes", USEC_PER_MINUTE },
        { "minute", USEC_PER_MINUTE },
        { "min", USEC_PER_MINUTE },
        { "m", USEC_PER_MINUTE },
        { "hours", USEC_PER_HOUR },
        { "hour", USEC_PER_HOUR },
        { "hr", USEC_PER_HOUR },
        { "h", USEC_PER_HOUR },
        { "days", USEC_PER_DAY },
        { "day", USEC_PER_DAY },
        { "d", USEC_PER_DAY },
        { "weeks", USEC_PER_WEEK },
        { "week", USEC_PER_WEEK },
        { "w", USEC_PER_WEEK },
};

/* What is written, the largest first. */
static const Unit units[] = {
        { "w", USEC_PER_WEEK },
        { "d", USEC_PER_DAY },
        { "h", USEC_PER_HOUR },
        { "min", USEC_PER_MINUTE },
        { "s", USEC_PER_SEC },
        { "ms", USEC_PER_MSEC },
        { "us", 1 },
};

static const char *skip_space(const char *s) {
        return s + strspn(s, " \t\n\r");
}

/* ctype's own answer depends on the locale. */
static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

/* Reads the unit at @s, which runs to the next digit or blank; none is seconds. NULL if unknown. */
static const char *read_unit(const char *s, uint64_t *ret_usec) {
        size_t n = strcspn(s, " \t\n\r0123456789");

        if (n == 0) {
                *ret_usec = USEC_PER_SEC;
                return s;
        }

        for (size_t i = 0; i < ARRAY_LEN(unit_names); i++)
                if (strlen(unit_names[i].name) == n && memcmp(s, unit_names[i].name, n) == 0) {
                        *ret_usec = unit_names[i].usec;
                        return s + n;
                }

        return NULL;
}

/* The digits @s after a decimal point, as a part of @unit_usec; what is below 1 us is dropped. */
static uint64_t fraction_usec(const char *s, uint64_t unit_usec) {
        uint64_t sum = 0;

        for (uint64_t digit_usec = unit_usec / 10; is_digit(*s); s++, digit_usec /= 10)
                sum += (uint64_t) (*s - '0') * digit_usec;

        return sum;
}

/* Reads a number with its unit at @s. Returns: where it ends in *@ret_end; -EINVAL; -ERANGE. */
static int read_term(const char *s, const char **ret_end, uint64_t *ret_usec) {
        const char *fraction = NULL;
        uint64_t whole = 0, unit_usec, usec;

        if (!is_digit(*s) && !(*s == '.' && is_digit(s[1])))
                return -EINVAL;

        for (; is_digit(*s); s++)
                if (__builtin_mul_overflow(whole, UINT64_C(10), &whole) ||
                    __builtin_add_overflow(whole, (uint64_t) (*s - '0'), &whole))
                        return -ERANGE;

        if (*s == '.') {
                fraction = ++s;
                if (!is_digit(*s))
                        return -EINVAL;
                while (is_digit(*s))
                        s++;
        }

        s = read_unit(skip_space(s), &unit_usec);
        if (!s)
                return -EINVAL;

        if (__builtin_mul_overflow(whole, unit_usec, &usec))
                return -ERANGE;
        if (fraction && __builtin_add_overflow(usec, fraction_usec(fraction, unit_usec), &usec))
                return -ERANGE;

        *ret_end = s;
        *ret_usec = usec;
        return 0;
}

int time_span_parse(const char *s, uint64_t *ret_usec) {
        uint64_t sum = 0;

        s = skip_space(s);
        if (strncmp(s, "infinity", 8) == 0 && !*skip_space(s + 8)) {
                *ret_usec = USEC_INFINITY;
                return 0;
        }

        do {
                uint64_t usec;
                int r = read_term(s, &s, &usec);

                if (r < 0)
                        return r;
                if (__builtin_add_overflow(sum, usec, &sum) || sum == USEC_INFINITY)
                        return -ERANGE;
                s = skip_space(s);
        } while (*s);

        *ret_usec = sum;
        return 0;
}

char *time_span_format(char buf[static TIME_SPAN_MAX], uint64_t usec) {
        size_t first = 0, length = 0;

        if (usec == USEC_INFINITY || usec == 0) {
                (void) snprintf(buf, TIME_SPAN_MAX, "%s", usec == 0 ? "0" : "infinity");
                return buf;
        }

        while (usec < units[first].usec)
                first++;

        for (size_t i = first; i < ARRAY_LEN(units) && i < first + 2; i++) {
                uint64_t count = usec / units[i].usec;

                usec %= units[i].usec;
                if (count > 0)
                        length += (size_t) snprintf(
                                        buf + length,
                                        TIME_SPAN_MAX - length,
                                        "%s%" PRIu64 "%s",
                                        length > 0 ? " " : "",
                                        count,
                                        units[i].name);
        }

        return buf;
}

/* How many of the @n characters in @buf a number with a decimal point can do without. */
static int trailing_zeros(const char *buf, int n) {
        int end = n;

        if (!strchr(buf, '.'))
                return 0;
        while (buf[end - 1] == '0')
                end--;
        if (buf[end - 1] == '.')
                end--;
        return n - end;
}

char *time_offset_format(char buf[static TIME_SPAN_MAX], int64_t ns) {
        static const char *const names[] = { "ns", "us", "ms", "s" };
        double value = ns < 0 ? -(double) ns : (double) ns;
        size_t unit = 0;
        int decimals, n;

        /* What would be rounded to 1000 belongs to the next unit. */
        for (; value >= 999.5 && unit + 1 < ARRAY_LEN(names); unit++)
                value /= 1000;

        decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
        n = snprintf(buf, TIME_SPAN_MAX, "%s%.*f", ns < 0 ? "-" : "+", decimals, value);
        n -= trailing_zeros(buf, n);
        (void) snprintf(buf + n, TIME_SPAN_MAX - (size_t) n, "%s", names[unit]);
        return buf;
}

char *time_stamp_format(char buf[static TIME_STAMP_MAX], int64_t realtime_ns) {
        time_t seconds = (time_t) (realtime_ns / NSEC_PER_SEC);
        int64_t rest_ns = realtime_ns % NSEC_PER_SEC;
        struct tm tm;
        size_t n;

        /* Division rounds towards zero, a date towards the past. */
        if (rest_ns < 0) {
                seconds--;
                rest_ns += NSEC_PER_SEC;
        }

        /* Neither can fail: 64 bits of nanoseconds end in the year 2262. */
        (void) gmtime_r(&seconds, &tm);
        n = strftime(buf, TIME_STAMP_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
        (void) snprintf(buf + n, TIME_STAMP_MAX - n, ".%03dZ", (int) (rest_ns / NSEC_PER_MSEC));
        return buf;
}
