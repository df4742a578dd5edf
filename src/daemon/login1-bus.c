/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/login1-bus.h"
#include <errno.h>

#define BUS_NAME "org.freedesktop.DBus"

int login1_match_owner(
                sd_bus *bus,
                sd_bus_message_handler_t on_owner_changed,
                void *userdata,
                sd_bus_slot **ret_slot) {
        int r = sd_bus_add_match_async(
                        bus,
                        ret_slot,
                        "type='signal',sender='" BUS_NAME "',path='/org/freedesktop/DBus',"
                        "interface='" BUS_NAME "',member='NameOwnerChanged',"
                        "arg0='" LOGIN1_NAME "'",
                        on_owner_changed,
                        NULL,
                        userdata);

        return r < 0 ? r : 0;
}

int login1_read_owner(sd_bus_message *m, const char **ret_owner) {
        const char *name, *old_owner, *new_owner;

        if (!str_equal(sd_bus_message_get_sender(m), BUS_NAME))
                return -EPERM;
        if (sd_bus_message_read(m, "sss", &name, &old_owner, &new_owner) < 0 ||
            !str_equal(name, LOGIN1_NAME))
                return -EBADMSG;
        *ret_owner = new_owner;
        return 0;
}

int property_query(
                sd_bus *bus,
                const PropertyQuery *query,
                sd_bus_message_handler_t on_reply,
                void *userdata,
                sd_bus_slot **ret_slot) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(
                        bus,
                        &m,
                        query->destination,
                        query->path,
                        "org.freedesktop.DBus.Properties",
                        "Get");
        if (r < 0)
                return r;
        r = sd_bus_message_set_auto_start(m, false);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ss", query->interface, query->name);
        if (r < 0)
                return r;
        r = sd_bus_call_async(bus, ret_slot, m, on_reply, userdata, query->timeout_usec);
        return r < 0 ? r : 0;
}
