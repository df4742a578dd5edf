/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * D-Bus Interface, Inside
 *
 * What bus-api.c (lifetime, news, who may), bus-manager.c and bus-machine.c (the objects) share.
 *
 * News are not sent from where they happen, for a machine that stands must not wait for a signal
 * that says that another one does: they queue up, and go out one by one when the loop has nothing
 * else to do.
 */

#include "daemon/authority.h"
#include "daemon/bus-api.h"
#include "daemon/manager.h"

#define BUS_WAITING_MAX 64

#define BUS_PATH "/org/suspendd1"
#define BUS_MACHINE_PREFIX BUS_PATH "/machine"
#define BUS_MANAGER_INTERFACE "org.suspendd1.Manager"
#define BUS_MACHINE_INTERFACE "org.suspendd1.Machine"

#define BUS_ERROR_BUSY "org.suspendd1.Error.Busy"
#define BUS_ERROR_EXISTS "org.suspendd1.Error.AlreadyExists"
#define BUS_ERROR_FAILED "org.suspendd1.Error.Failed"
#define BUS_ERROR_NOT_FOUND "org.suspendd1.Error.NotFound"
#define BUS_ERROR_NO_SUCH_MACHINE "org.suspendd1.Error.NoSuchMachine"
#define BUS_ERROR_NOT_SUPPORTED "org.suspendd1.Error.NotSupported"

struct BusApi {
        Manager *manager;
        sd_bus *bus;                              /* the Manager's api_bus */
        Authority *authority;                     /* asks on the Manager's bus */
        sd_bus_slot *slots[5];                    /* objects, enumerator, object manager, filter */
        sd_bus_message *waiting[BUS_WAITING_MAX]; /* calls put off while a sleep is prepared */
        size_t n_waiting;
        sd_event_source *idle; /* sends the next of the news */
        List news;             /* not yet sent, in order */
        unsigned changed;      /* properties of the Manager, a bit each */
        bool has_dirty;        /* machines whose changes are not told */
        Machine *leaving;      /* is gone, and its going is being told */
};

/* the objects */

/* The head of a function that appends a property; @userdata is moved by the offset in the table. */
#define PROPERTY(_name)                                \
        static int property_##_name(                   \
                        sd_bus *bus _unused_,          \
                        const char *path _unused_,     \
                        const char *iface _unused_,    \
                        const char *property _unused_, \
                        sd_bus_message *reply,         \
                        void *userdata,                \
                        sd_bus_error *error _unused_)

extern const sd_bus_vtable bus_manager_vtable[];
extern const sd_bus_vtable bus_machine_vtable[];

/* The properties of the Manager that change, NULL-terminated; their index is the bit in changed. */
extern const char *const bus_manager_properties[];

/* Finds the machine of an object path; @userdata is the BusApi. For sd_bus_add_fallback_vtable(). */
int bus_machine_find(
                sd_bus *bus,
                const char *path,
                const char *interface,
                void *userdata,
                void **ret_found,
                sd_bus_error *error);
/* For sd_bus_add_node_enumerator(). */
int bus_machine_enumerate(
                sd_bus *bus, const char *prefix, void *userdata, char ***ret, sd_bus_error *error);

/* The object path of @m, to be freed. Returns: 0; -ENOMEM. */
int bus_machine_path(const Machine *m, char **ret);

/* "suspend", "pause", or "nothing" for INVALID; and the like. */
const char *bus_act_name(enum suspendd_act act);
const char *bus_run_state_name(enum suspendd_run_state state);

/* the Manager's methods for drift pages: bus-page.c */
int bus_method_create_page(sd_bus_message *message, void *userdata, sd_bus_error *error);
int bus_method_remove_page(sd_bus_message *message, void *userdata, sd_bus_error *error);
int bus_method_list_pages(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* helpers */

/* Appends @s, which may be NULL or anything, as a string that a bus takes. */
int bus_append_text(sd_bus_message *m, const char *s);

/* Sets @error for @r of an act @what ("Cannot begin a rehearsal"); @why may be NULL. Returns: < 0. */
int bus_error_set(sd_bus_error *error, int r, const char *what, const char *why);
