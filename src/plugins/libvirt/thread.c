/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/libvirt/thread.h"
#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
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

/* libvirt prints each error to stderr, unless somebody takes it. */
static void take_error(void *userdata _unused_, virErrorPtr error _unused_) {
}

static void *run_libvirt_loop(void *userdata _unused_) {
        for (;;)
                if (virEventRunDefaultImpl() < 0)
                        (void) usleep(100000);
        return NULL;
}

int thread_start_libvirt_loop(void) {
        static bool is_registered,
                        is_started; /* of the loop's thread alone, as all plugin calls are */
        int r;

        if (is_started)
                return 0;
        virSetErrorFunc(NULL, take_error);
        if (!is_registered && virEventRegisterDefaultImpl() < 0)
                return -EIO;
        is_registered = true;
        r = thread_start(run_libvirt_loop, NULL, "libvirt-events");
        is_started = r >= 0;
        return r;
}
