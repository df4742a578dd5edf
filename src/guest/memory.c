/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest/memory.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

static sigjmp_buf out;
static volatile sig_atomic_t is_touching;

static void on_sigbus(int number) {
        if (is_touching)
                siglongjmp(out,
                           1); /* from the very access that failed, out of code that holds nothing */
        (void) signal(number, SIG_DFL);
}

int memory_touch(void (*act)(void *data), void *data) {
        const struct sigaction action = { .sa_handler = on_sigbus };
        struct sigaction before;
        int r = 0;

        if (sigaction(SIGBUS, &action, &before) < 0)
                return -errno;
        if (sigsetjmp(out, 1) == 0) {
                is_touching = 1;
                act(data);
        } else
                r = -EFAULT;
        is_touching = 0;
        (void) sigaction(SIGBUS, &before, NULL);
        return r;
}
