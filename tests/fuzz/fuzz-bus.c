/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Bus Interface, Fuzzed
 *
 * Calls of the bus with any arguments, by whoever may, between all that a plugin can tell: machines of any
 * name, run states, answers and clocks of guests, in cycles that begin and end at any time. Each call is
 * answered once; what a plugin is handed has passed the checks; and no text that comes out, in a reply, a
 * signal, a record, the journal or the service's status, has a control character in it.
 */

#include <errno.h>
#include "daemon/log.h"
#include "world.h"

#define STEPS_MAX 64
#define MANAGER "org.suspendd1.Manager"
#define MACHINE "org.suspendd1.Machine"
#define PROPERTIES "org.freedesktop.DBus.Properties"
#define ROOT "/org/suspendd1"

static const struct {
        const char *interface, *member, *types;
} calls[] = {
        { MANAGER, "ListMachines", "" },
        { MANAGER, "GetMachine", "s" },
        { MANAGER, "GetHistory", "u" },
        { MANAGER, "Rehearse", "t" },
        { MANAGER, "Register", "ssss" },
        { MANAGER, "Unregister", "ss" },
        { MANAGER, "Notify", "sss" },
        { MANAGER, "CreatePage", "ssub" },
        { MANAGER, "RemovePage", "sb" },
        { MANAGER, "ListPages", "" },
        { MANAGER, "Reload", "" },
        { MACHINE, "SetMode", "s" },
        { MACHINE, "StoreMode", "s" },
        { MACHINE, "Sync", "" },
        { PROPERTIES, "Get", "ss" },
        { PROPERTIES, "GetAll", "s" },
        { PROPERTIES, "Set", "ssv" },
        { "org.freedesktop.DBus.Introspectable", "Introspect", "" },
        { "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "" },
        { "org.freedesktop.DBus.Peer", "Ping", "" },
};

/* Of the Manager, of the machine that is called so, or what a text says. */
static void call(World *w, Input *in) {
        unsigned i = input_choice(in, ARRAY_LEN(calls)), where = input_choice(in, 4);
        /* By mistake, or to see what happens, also with the arguments of another one. */
        unsigned types = input_byte(in) < 240 ? i : input_choice(in, ARRAY_LEN(calls));
        _cleanup_free_ char *machine = NULL;
        const char *path = ROOT;

        if (where == 1 || where == 2) {
                HOLDS(sd_bus_path_encode(ROOT "/machine", input_text(in), &machine) >= 0);
                path = machine;
        } else if (where == 3)
                path = input_text(in);
        if (sd_bus_object_path_is_valid(path) > 0)
                world_call(w, path, calls[i].interface, calls[i].member, calls[types].types, in);
}

static void happen(World *w, Input *in) {
        unsigned vm = input_choice(in, WORLD_VMS_MAX);

        switch (input_choice(in, 8)) {
        case 0:
                world_vm_add(w, vm, in);
                break;
        case 1:
                world_vm_change(w, vm, in);
                break;
        case 2:
                world_vm_state(w, vm, in);
                break;
        case 3:
                world_vm_answer(w, vm, in);
                break;
        case 4:
                world_vm_remove(w, vm);
                break;
        case 5:
                world_trouble(w, input_text_if(in));
                break;
        case 6:
                world_event(w, input_byte(in) & 1 ? CYCLE_EVENT_SLEEP : CYCLE_EVENT_WAKE);
                break;
        default:
                world_pass(w,
                           (uint64_t) input_byte(in) * 50000,
                           (uint64_t) input_byte(in) * input_byte(in) * 1000000);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input in = input_begin(data, size);
        World *w = world_begin();

        for (unsigned i = 0; i < STEPS_MAX && !input_is_over(&in); i++) {
                if (input_byte(&in) & 1)
                        happen(w, &in);
                else
                        call(w, &in);
                world_settle(w);
        }
        world_end(w);
        input_done(&in);
        return 0;
}
