/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "common/text-escape.h"
#include "daemon/bus-internal.h"

#define TEXT_MAX 256

static bool is_argument(const char *s) {
        return strlen(s) <= TEXT_MAX && text_is_clean(s);
}

int bus_method_create_page(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        static const char what[] = "Cannot make the page";
        const char *name, *owner, *why = NULL;
        BusApi *b = userdata;
        uint32_t vectors;
        int notifies, r;

        r = sd_bus_message_read(message, "ssub", &name, &owner, &vectors, &notifies);
        if (r < 0)
                return r;
        if (!is_argument(name) || !is_argument(owner))
                return bus_error_set(error, -EINVAL, what, "too long, or with control characters");
        r = bus_api_authorize(b, message, ACTION_MANAGE_PAGES, error);
        if (r != 0)
                return r;

        r = manager_page_create(b->manager, name, *owner ? owner : NULL, vectors, notifies, &why);
        if (r == -EEXIST && !why)
                why = "there is one of that name";
        if (r < 0)
                return bus_error_set(error, r, what, why);
        return sd_bus_reply_method_return(message, NULL);
}

int bus_method_remove_page(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        static const char what[] = "Cannot remove the page";
        const char *name, *why = NULL;
        BusApi *b = userdata;
        int force, r;

        r = sd_bus_message_read(message, "sb", &name, &force);
        if (r < 0)
                return r;
        if (!is_argument(name))
                return bus_error_set(error, -EINVAL, what, "too long, or with control characters");
        r = bus_api_authorize(b, message, ACTION_MANAGE_PAGES, error);
        if (r != 0)
                return r;

        r = manager_page_remove(b->manager, name, force, &why);
        if (r < 0)
                return bus_error_set(error, r, what, why);
        return sd_bus_reply_method_return(message, NULL);
}

int bus_method_list_pages(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *list = NULL;
        const char *why = NULL;
        BusApi *b = userdata;
        int r;

        r = bus_api_authorize(b, message, ACTION_MANAGE_PAGES, error);
        if (r != 0)
                return r;

        r = manager_page_list(b->manager, &list, &why);
        if (r < 0)
                return bus_error_set(error, r, "Cannot list pages", why);
        text_make_valid(list);
        return sd_bus_reply_method_return(message, "s", list);
}
