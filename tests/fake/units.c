/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "units.h"
#include <errno.h>
#include "common/macro.h"

#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SLEEP_PROGRAM "/usr/lib/systemd/systemd-sleep"

typedef struct Unit {
        const char *name;
        const char *path;
        char state[24];
        char word[32], program[64]; /* the second one of its command, and the first */
} Unit;

static Unit units[] = {
        { "systemd-suspend.service",
          SYSTEMD_PATH "/unit/systemd_2dsuspend_2eservice",
          "inactive",
          "suspend",
          SLEEP_PROGRAM },
        { "systemd-hibernate.service",
          SYSTEMD_PATH "/unit/systemd_2dhibernate_2eservice",
          "inactive",
          "hibernate",
          SLEEP_PROGRAM },
        { "systemd-hybrid-sleep.service",
          SYSTEMD_PATH "/unit/systemd_2dhybrid_2dsleep_2eservice",
          "inactive",
          "hybrid-sleep",
          SLEEP_PROGRAM },
        { "systemd-suspend-then-hibernate.service",
          SYSTEMD_PATH "/unit/systemd_2dsuspend_2dthen_2dhibernate_2eservice",
          "inactive",
          "suspend-then-hibernate",
          SLEEP_PROGRAM },
};

static Unit *unit_find(const char *name) {
        for (size_t i = 0; i < ARRAY_LEN(units); i++)
                if (str_equal(units[i].name, name))
                        return &units[i];
        return NULL;
}

static int method_get_unit(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *name;
        const Unit *u;
        int r;

        (void) userdata;
        r = sd_bus_message_read(m, "s", &name);
        if (r < 0)
                return r;

        u = unit_find(name);
        if (!u ||
            (str_equal(u->state, "inactive") && sd_bus_message_is_method_call(m, NULL, "GetUnit")))
                return sd_bus_error_setf(
                                error,
                                "org.freedesktop.systemd1.NoSuchUnit",
                                "Unit %s not loaded.",
                                name);
        return sd_bus_reply_method_return(m, "o", u->path);
}

static int method_subscribe(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        (void) userdata;
        (void) error;
        return sd_bus_reply_method_return(m, NULL);
}

static int property_string(
                sd_bus *bus,
                const char *path,
                const char *interface,
                const char *property,
                sd_bus_message *reply,
                void *userdata,
                sd_bus_error *error) {
        const Unit *u = userdata;

        (void) bus;
        (void) path;
        (void) interface;
        (void) error;
        if (str_equal(property, "Id"))
                return sd_bus_message_append(reply, "s", u->name);
        if (str_equal(property, "LoadState"))
                return sd_bus_message_append(reply, "s", "loaded");
        return sd_bus_message_append(reply, "s", u->state);
}

/* Systemd's own: one command, whose last word is what the unit is named by. */
static int property_command(
                sd_bus *bus,
                const char *path,
                const char *interface,
                const char *property,
                sd_bus_message *reply,
                void *userdata,
                sd_bus_error *error) {
        const Unit *u = userdata;

        (void) bus;
        (void) path;
        (void) interface;
        (void) property;
        (void) error;
        return sd_bus_message_append(
                        reply,
                        "a(sasbttttuii)",
                        1,
                        SLEEP_PROGRAM,
                        2,
                        u->program,
                        u->word,
                        false,
                        UINT64_C(0),
                        UINT64_C(0),
                        UINT64_C(0),
                        UINT64_C(0),
                        0U,
                        0,
                        0);
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("GetUnit", "s", "o", method_get_unit, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("LoadUnit", "s", "o", method_get_unit, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Subscribe", NULL, NULL, method_subscribe, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static const sd_bus_vtable unit_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Id", "s", property_string, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("LoadState", "s", property_string, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("ActiveState",
                        "s",
                        property_string,
                        0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

static const sd_bus_vtable service_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("ExecStart", "a(sasbttttuii)", property_command, 0, 0),
        SD_BUS_VTABLE_END,
};

int units_register(sd_bus *bus) {
        int r;

        r = sd_bus_add_object_vtable(
                        bus,
                        NULL,
                        SYSTEMD_PATH,
                        "org.freedesktop.systemd1.Manager",
                        manager_vtable,
                        NULL);
        if (r < 0)
                return r;

        for (size_t i = 0; i < ARRAY_LEN(units); i++) {
                r = sd_bus_add_object_vtable(
                                bus,
                                NULL,
                                units[i].path,
                                "org.freedesktop.systemd1.Unit",
                                unit_vtable,
                                &units[i]);
                if (r < 0)
                        return r;
                r = sd_bus_add_object_vtable(
                                bus,
                                NULL,
                                units[i].path,
                                "org.freedesktop.systemd1.Service",
                                service_vtable,
                                &units[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

int unit_set_command(const char *name, const char *program, const char *word) {
        Unit *u = unit_find(name);

        if (!u)
                return -ENOENT;
        if (strlen(program) >= sizeof(u->program) || strlen(word) >= sizeof(u->word))
                return -EINVAL;

        (void) snprintf(u->program, sizeof(u->program), "%s", program);
        (void) snprintf(u->word, sizeof(u->word), "%s", word);
        return 0;
}

int unit_set_state(sd_bus *bus, const char *name, const char *state) {
        Unit *u = unit_find(name);

        if (!u)
                return -ENOENT;
        if (strlen(state) >= sizeof(u->state))
                return -EINVAL;

        (void) snprintf(u->state, sizeof(u->state), "%s", state);
        return sd_bus_emit_properties_changed(
                        bus, u->path, "org.freedesktop.systemd1.Unit", "ActiveState", NULL);
}
