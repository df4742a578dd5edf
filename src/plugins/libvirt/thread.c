/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/thread.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include "common/macro.h"

/* libvirt's client keeps little on the stack; 8 MiB each would only count against LimitAS=. */
#define STACK_BYTES (512 * 1024)

int thread_start(void *(*fn)(void *userdata), void *userdata, const char *name) {
        pthread_attr_t attributes;
        sigset_t all, before;
        pthread_t thread;
        int r;

        (void) sigfillset(&all);
        if (pthread_attr_init(&attributes) != 0)
                return -ENOMEM;
        (void) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        (void) pthread_attr_setstacksize(&attributes, STACK_BYTES);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&thread, &attributes, fn, userdata);
        if (r == 0)
                (void) pthread_setname_np(thread, name);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        (void) pthread_attr_destroy(&attributes);
        return -r;
}
