/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/bell.h"
#include <errno.h>
#include <linux/aio_abi.h>
#include <sys/mman.h>
#include <sys/syscall.h>

struct Bell {
        aio_context_t context;
        int file; /* what is read from: one byte of memory, so that the read is over at once */
};

/* The room for this is one for all users (fs.aio-max-nr), so that anybody can have taken all of it. */
static int bell_set_up(Bell *b) {
        return b->context != 0 || syscall(SYS_io_setup, 1, &b->context) >= 0 ? 0 : -errno;
}

int bell_new(Bell **ret) {
        _cleanup_(bell_freep) Bell *b = malloc(sizeof(*b));

        if (!b)
                return -ENOMEM;
        *b = (Bell){ .file = memfd_create("bell", MFD_CLOEXEC) };
        if (b->file < 0 || ftruncate(b->file, 1) < 0)
                return -errno;
        (void) bell_set_up(b);
        *ret = TAKE_PTR(b);
        return 0;
}

Bell *bell_free(Bell *b) {
        if (!b)
                return NULL;
        if (b->context)
                (void) syscall(SYS_io_destroy, b->context);
        if (b->file >= 0)
                (void) close(b->file);
        free(b);
        return NULL;
}

int bell_ring(Bell *b, int eventfd) {
        char byte;
        struct iocb read = {
                .aio_lio_opcode = IOCB_CMD_PREAD,
                .aio_fildes = (uint32_t) b->file,
                .aio_buf = (uintptr_t) &byte,
                .aio_nbytes = sizeof(byte),
                .aio_flags = IOCB_FLAG_RESFD,
                .aio_resfd = (uint32_t) eventfd,
        };
        struct iocb *reads[] = { &read };
        struct io_event event;
        struct timespec no_time = { 0 };
        int r;

        r = bell_set_up(b);
        if (r < 0)
                return r;
        if (syscall(SYS_io_submit, b->context, 1L, reads) != 1)
                return -errno;
        if (syscall(SYS_io_getevents, b->context, 1L, 1L, &event, &no_time) != 1)
                return -EIO;
        return event.res == sizeof(byte) ? 0 : -EIO;
}
