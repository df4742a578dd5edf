/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "cli/verb.h"

/* Addresses are compared as texts: what was registered as a//b shall be found as a/b. */
static void squeeze_slashes(char *path) {
        char *to = path;

        for (const char *from = path; *from; from++)
                if (from[0] != '/' || from[1] != '/')
                        *to++ = *from;
        *to = '\0';
}

/* The daemon has another working directory: a path must be whole. A URI is none. */
static int whole_path(const char *s, char **ret) {
        _cleanup_free_ char *directory = NULL, *path = NULL;

        if (*s == '\0' || (*s != '/' && strstr(s, ":/"))) {
                *ret = strdup(s);
                return *ret ? 0 : -ENOMEM;
        }

        if (*s != '/') {
                directory = getcwd(NULL, 0);
                if (!directory)
                        return -errno;
        }
        if (asprintf(&path, "%s%s%s", directory ?: "", directory ? "/" : "", s) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        squeeze_slashes(path);
        *ret = TAKE_PTR(path);
        return 0;
}

int verb_register(Command *c) {
        _cleanup_free_ char *monitor = NULL, *agent = NULL;
        const char *second = c->arguments[1];
        int r;

        r = whole_path(c->arguments[0], &monitor);
        if (r >= 0)
                r = whole_path(second ? second : "", &agent);
        if (r < 0)
                return fail(STATUS_FAILURE, "%s: %s", c->arguments[0], strerror(-r));

        return client_call(
                        c->client,
                        NULL,
                        "Register",
                        NULL,
                        "ssss",
                        c->plugin ? c->plugin : "qmp",
                        c->name ? c->name : "",
                        monitor,
                        agent);
}

/* The address of the machine that is called @name. Returns: 0; an ExitStatus. */
static int find_address(Command *c, char *name, JsonObject **ret) {
        _cleanup_json_ JsonObject *machines = NULL;
        int r;

        r = client_machines(c->client, (char *[]){ name, NULL }, &machines);
        if (r != STATUS_OK)
                return r;
        if (json_object_array_length(machines) > 1)
                return fail(STATUS_BAD_ARGUMENTS, "More than one machine is called %s.", name);

        return client_properties(
                        c->client, json_text(json_object_array_get_idx(machines, 0), "path"), ret);
}

int verb_unregister(Command *c) {
        _cleanup_json_ JsonObject *properties = NULL;
        _cleanup_free_ char *address = NULL;
        const char *plugin = c->plugin ? c->plugin : "qmp";
        char *argument = c->arguments[0];
        int r;

        if (strchr(argument, '/')) {
                r = whole_path(argument, &address);
                if (r < 0)
                        return fail(STATUS_FAILURE, "%s: %s", argument, strerror(-r));
                return client_call(c->client, NULL, "Unregister", NULL, "ss", plugin, address);
        }

        r = find_address(c, argument, &properties);
        if (r != STATUS_OK)
                return r;
        return client_call(
                        c->client,
                        NULL,
                        "Unregister",
                        NULL,
                        "ss",
                        json_text(properties, "Plugin"),
                        json_text(properties, "Address"));
}
