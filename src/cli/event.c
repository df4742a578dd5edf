/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/event.h"
#include <errno.h>
#include <inttypes.h>
#include "cli/output.h"
#include "common/clock-sample.h"

#define KEYS_MAX 3
#define MACHINE_PREFIX "/org/suspendd1/machine"

/* A signal's arguments, in order. The object path of a machine is shown as its id. */
typedef struct Signal {
        const char *member;
        const char *event;
        const char *types;
        const char *keys[KEYS_MAX];
} Signal;

static const Signal signals[] = {
        { "CycleStarted", "cycle-started", "tss", { "number", "id", "kind" } },
        { "MachineStood", "machine-stood", "ost", { "machine", "stood", "stood_after_usec" } },
        { "LockReleased", "lock-released", "tt", { "number", "released_after_usec" } },
        { "Woke", "woke", "tx", { "number", "slept_ns" } },
        { "MachineRan", "machine-ran", "ox", { "machine", "stopped_ns" } },
        { "CycleFinished", "cycle-finished", "tss", { "number", "ended", "record" } },
        { "MachineAdded", "machine-added", "so", { "machine" } },
        { "MachineRemoved", "machine-removed", "so", { "machine" } },
};

static JsonObject *event_new(const char *name) {
        JsonObject *o = json_object_new_object();
        char stamp[TIME_STAMP_MAX];

        (void) json_object_object_add(
                        o,
                        "time",
                        json_object_new_string(
                                        time_stamp_format(stamp, clock_now_ns(CLOCK_REALTIME))));
        (void) json_object_object_add(o, "event", json_object_new_string(name));
        return o;
}

/* An argument of the signal, as the event has it: a machine by its id, a record as JSON. */
static int read_argument(sd_bus_message *m, char type, const char *key, JsonObject **ret) {
        _cleanup_free_ char *id = NULL;
        const char *text;
        int r;

        if (type != 'o' && !str_equal(key, "record"))
                return json_from_message(m, (const char[]){ type, '\0' }, ret);

        r = sd_bus_message_read_basic(m, type, &text);
        if (r < 0)
                return r;

        *ret = NULL;
        if (type == 's')
                (void) json_clean_record(text, ret);
        else if (sd_bus_path_decode(text, MACHINE_PREFIX, &id) > 0)
                *ret = json_clean_string(id);
        return 0;
}

int event_from_signal(sd_bus_message *m, JsonObject **ret) {
        const char *member = sd_bus_message_get_member(m);
        _cleanup_json_ JsonObject *o = NULL;
        const Signal *s = NULL;

        for (size_t i = 0; i < ARRAY_LEN(signals); i++)
                if (str_equal(signals[i].member, member))
                        s = &signals[i];
        if (!s)
                return -ENOMSG;

        o = event_new(s->event);
        for (size_t i = 0; s->types[i]; i++) {
                JsonObject *value = NULL;
                int r;

                if (!s->keys[i])
                        break;
                r = read_argument(m, s->types[i], s->keys[i], &value);
                if (r < 0)
                        return r;
                (void) json_object_object_add(o, s->keys[i], value);
        }

        *ret = TAKE_PTR(o);
        return 0;
}

JsonObject *event_from_presence(bool is_there) {
        return event_new(is_there ? "suspendd-started" : "suspendd-stopped");
}

/* in words */

static char *words(const char *format, ...) _printf_(1, 2);

static char *words(const char *format, ...) {
        char *s = NULL;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&s, format, ap);
        va_end(ap);
        return n < 0 ? NULL : s;
}

static const char *span(char buf[static TIME_SPAN_MAX], JsonObject *o, const char *key) {
        int64_t v = 0;

        (void) json_get_int64(o, key, &v);
        if (strcmp(key + strlen(key) - 3, "_ns") == 0)
                v /= NSEC_PER_USEC;
        return output_span(buf, v);
}

char *event_words(JsonObject *event) {
        const char *name = json_text(event, "event"), *machine = json_text(event, "machine");
        char buf[TIME_SPAN_MAX];
        int64_t number = 0;

        (void) json_get_int64(event, "number", &number);

        if (str_equal(name, "cycle-started"))
                return words("cycle %" PRId64 " began: %s", number, json_text(event, "kind"));
        if (str_equal(name, "machine-stood"))
                return words("%s stands, %s after %s",
                             machine,
                             json_text(event, "stood"),
                             span(buf, event, "stood_after_usec"));
        if (str_equal(name, "lock-released"))
                return words("the host may sleep, after %s",
                             span(buf, event, "released_after_usec"));
        if (str_equal(name, "woke"))
                return words("the host is awake, it slept %s", span(buf, event, "slept_ns"));
        if (str_equal(name, "machine-ran"))
                return words("%s runs, it was stopped for %s",
                             machine,
                             span(buf, event, "stopped_ns"));
        if (str_equal(name, "cycle-finished"))
                return words("cycle %" PRId64 " is over: %s", number, json_text(event, "ended"));
        if (str_equal(name, "machine-added"))
                return words("%s is there", machine);
        if (str_equal(name, "machine-removed"))
                return words("%s is gone", machine);
        return words("%s",
                     str_equal(name, "suspendd-started") ? "suspendd runs"
                                                         : "suspendd does not run");
}
