/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Listener
 *
 * Stands where journald and systemd would, and finds fault with what the daemon tells them: each datagram
 * is a row of lines NAME=text; no text has a control character in it, and no name is there that the daemon
 * does not write, nor twice. So nothing that a guest is called makes a field of its own.
 */

#include <sys/socket.h>
#include <sys/un.h>
#include "common/text-escape.h"
#include "folder.h"

static inline int listener_open(const char *name) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        HOLDS(fd >= 0);
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", folder_path(name));
        HOLDS(bind(fd, (struct sockaddr *) &address, sizeof(address)) == 0);
        return fd;
}

/* Returns: the name's number; SIZE_MAX if it is none that is known. */
static inline size_t listener_find(const char *line, size_t length) {
        static const char *const names[] = {
                "MESSAGE",
                "MESSAGE_ID",
                "PRIORITY",
                "SYSLOG_IDENTIFIER",
                "ERRNO",
                "SUSPENDD_CYCLE_ID",
                "SUSPENDD_MACHINE",
                "SUSPENDD_PLUGIN",
                "SUSPENDD_STATE",
                "SUSPENDD_ELAPSED_USEC",
                "READY",
                "STATUS",
                "STOPPING",
                "RELOADING",
                "MONOTONIC_USEC",
                "FDSTORE",
                "FDSTOREREMOVE",
                "FDNAME",
        };

        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                if (strlen(names[i]) == length && strncmp(names[i], line, length) == 0)
                        return i;
        return SIZE_MAX;
}

static inline void listener_check(char *text) {
        uint64_t seen = 0;
        char *line;

        while ((line = strsep(&text, "\n"))) {
                const char *value = strchr(line, '=');
                size_t name;

                if (!*line && !text)
                        return; /* behind the last one */
                HOLDS(value);
                name = listener_find(line, (size_t) (value - line));
                HOLDS(name < 64 && !(seen & UINT64_C(1) << name));
                seen |= UINT64_C(1) << name;
                HOLDS(text_is_clean(value));
        }
}

/* Hears all that has come. */
static inline void listener_hear(int fd) {
        static char text[8192];
        ssize_t n;

        while ((n = recv(fd, text, sizeof(text) - 1, 0)) >= 0) {
                text[n] = '\0';
                HOLDS(strlen(text) == (size_t) n);
                listener_check(text);
        }
}
