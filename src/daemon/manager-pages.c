/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Drift pages: the one plugin that has them is asked. */

#include <errno.h>
#include "daemon/log.h"
#include "daemon/manager.h"

static Plugin *find_plugin(Manager *m, const char **ret_why) {
        LIST_FOREACH(i, &m->plugins) {
                Plugin *p = LIST_ENTRY(i, Plugin, plugins);

                if (p->api->page_create && p->api->page_remove && p->api->page_list)
                        return p;
        }
        *ret_why = "no plugin that has pages is loaded (Plugins=page)";
        return NULL;
}

int manager_page_create(
                Manager *m,
                const char *name,
                const char *owner,
                unsigned vectors,
                bool notifies,
                const char **ret_why) {
        Plugin *p = find_plugin(m, ret_why);
        int r;

        if (!p)
                return -ENOENT;
        r = p->api->page_create(p->instance, name, owner, vectors, notifies, ret_why);
        if (r < 0)
                return r;
        (void) log_info("Page %s is made", name);
        return 0;
}

/* The plugin sees who is connected to a doorbell, but not who has mapped a file: that a VM is there. */
static bool is_a_machines(Manager *m, const Plugin *p, const char *name) {
        if (!p->api->page_name)
                return false;
        LIST_FOREACH(i, &m->cycle->machines) {
                const Machine *machine = LIST_ENTRY(i, Machine, machines);

                if (str_equal(p->api->page_name(p->instance, machine->name, machine->uuid), name))
                        return true;
        }
        return false;
}

int manager_page_remove(Manager *m, const char *name, bool force, const char **ret_why) {
        Plugin *p = find_plugin(m, ret_why);
        int r;

        if (!p)
                return -ENOENT;
        if (!force && is_a_machines(m, p, name)) {
                *ret_why = "a machine that is there has it; to remove it nevertheless, use force";
                return -EBUSY;
        }
        r = p->api->page_remove(p->instance, name, force, ret_why);
        if (r == -ENOENT) {
                *ret_why = "there is no such page";
                return -ENODEV;
        }
        if (r < 0)
                return r;
        (void) log_info("Page %s is removed", name);
        return 0;
}

int manager_page_list(Manager *m, char **ret, const char **ret_why) {
        Plugin *p = find_plugin(m, ret_why);
        char *list;

        if (!p)
                return -ENOENT;
        list = p->api->page_list(p->instance);
        if (!list)
                return -ENOMEM;
        *ret = list;
        return 0;
}
