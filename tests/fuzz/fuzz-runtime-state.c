/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Runtime State, Fuzzed
 *
 * Any bytes of the file: it opens, what is kept is whole, and it can be written and read again.
 */

#include <fcntl.h>
#include "daemon/log.h"
#include "daemon/runtime-state.h"
#include "fuzz.h"

static char path[64];

static void remove_file(void) {
        (void) unlink(path);
}

static void write_file(const uint8_t *data, size_t size) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        HOLDS(fd >= 0);
        HOLDS(write(fd, data, size) == (ssize_t) size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const Registration *registrations;
        RuntimeState *s = NULL;
        size_t n;

        if (!*path) {
                (void) snprintf(path,
                                sizeof(path),
                                "%s/suspendd-fuzz-state-%d",
                                access("/dev/shm", W_OK) >= 0 ? "/dev/shm" : "/tmp",
                                (int) getpid());
                HOLDS(atexit(remove_file) == 0);
                log_set_max_level(LOG_EMERG);
        }

        write_file(data, size);
        HOLDS(runtime_state_open(path, &s) == 0);
        n = runtime_state_registrations(s, &registrations);
        for (size_t i = 0; i < n; i++)
                HOLDS(*registrations[i].plugin && *registrations[i].address);
        HOLDS(runtime_state_mode(s, "vm") < MODE_MAX);
        HOLDS(runtime_state_set_distrust(s, "key", "why") == 0);
        HOLDS(runtime_state_set_mode(s, "vm", MODE_BLOCK) == 0);
        s = runtime_state_free(s);

        HOLDS(runtime_state_open(path, &s) == 0);
        HOLDS(runtime_state_registrations(s, &registrations) == n);
        HOLDS(runtime_state_mode(s, "vm") == MODE_BLOCK);
        HOLDS(str_equal(runtime_state_distrust(s, "key"), "why"));
        runtime_state_free(s);
        return 0;
}
