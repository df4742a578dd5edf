/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "faults.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define ENOSPC_ (1U << FAULT_ENOSPC)
#define EMFILE_ (1U << FAULT_EMFILE)
#define ENOMEM_ (1U << FAULT_ENOMEM)
#define EIO_ (1U << FAULT_EIO)
#define EINTR_ (1U << FAULT_EINTR)
#define MAKES_FD (EMFILE_ | ENOMEM_)
#define LOOKS_UP (ENOMEM_ | EIO_)
#define WRITES (ENOSPC_ | EIO_)

typedef struct CallErrors {
        long number;
        const char *name;
        unsigned always;  /* a mask of faults */
        unsigned on_file; /* those that come only where the first argument is a regular file */
} CallErrors;

#define CALL(_name, _always, _on_file) \
        { SYS_##_name, #_name, (_always), (_on_file), }

static const CallErrors calls[] = {
        CALL(accept4, MAKES_FD | EINTR_, 0),
        CALL(access, LOOKS_UP, 0),
        CALL(brk, ENOMEM_, 0),
        CALL(clock_nanosleep, EINTR_, 0),
        CALL(clone, ENOMEM_, 0),
        CALL(clone3, ENOMEM_, 0),
        CALL(close, EINTR_, WRITES),
        CALL(connect, ENOMEM_ | EINTR_, 0),
        CALL(dup, EMFILE_, 0),
        CALL(epoll_create1, MAKES_FD, 0),
        CALL(epoll_ctl, ENOMEM_ | ENOSPC_, 0),
        CALL(epoll_pwait, EINTR_, 0),
        CALL(epoll_pwait2, EINTR_, 0),
        CALL(epoll_wait, EINTR_, 0),
        CALL(eventfd2, MAKES_FD, 0),
        CALL(faccessat, LOOKS_UP, 0),
        CALL(faccessat2, LOOKS_UP, 0),
        CALL(fallocate, EINTR_, WRITES),
        CALL(fcntl, EMFILE_, 0),
        CALL(fdatasync, EINTR_, WRITES),
        CALL(flock, ENOMEM_ | EINTR_, 0),
        CALL(fstat, ENOMEM_, EIO_),
        CALL(fsync, EINTR_, WRITES),
        CALL(ftruncate, EINTR_, WRITES),
        CALL(getdents64, LOOKS_UP, 0),
        CALL(getrandom, EINTR_, 0),
        CALL(inotify_add_watch, ENOMEM_ | ENOSPC_, 0),
        CALL(inotify_init1, MAKES_FD, 0),
        CALL(lstat, LOOKS_UP, 0),
        CALL(madvise, ENOMEM_, 0),
        CALL(memfd_create, MAKES_FD, 0),
        CALL(mkdir, LOOKS_UP | ENOSPC_, 0),
        CALL(mkdirat, LOOKS_UP | ENOSPC_, 0),
        CALL(mmap, ENOMEM_, 0),
        CALL(mprotect, ENOMEM_, 0),
        CALL(mremap, ENOMEM_, 0),
        CALL(munmap, ENOMEM_, 0),
        CALL(newfstatat, LOOKS_UP, 0),
        CALL(open, MAKES_FD | ENOSPC_ | EIO_ | EINTR_, 0),
        CALL(openat, MAKES_FD | ENOSPC_ | EIO_ | EINTR_, 0),
        CALL(pipe2, MAKES_FD, 0),
        CALL(poll, ENOMEM_ | EINTR_, 0),
        CALL(ppoll, ENOMEM_ | EINTR_, 0),
        CALL(pread64, EINTR_, EIO_),
        CALL(pwrite64, EINTR_, WRITES),
        CALL(read, EINTR_, EIO_),
        CALL(readlink, LOOKS_UP, 0),
        CALL(readlinkat, LOOKS_UP, 0),
        CALL(recvfrom, ENOMEM_ | EINTR_, 0),
        CALL(recvmsg, ENOMEM_ | EINTR_, 0),
        CALL(rename, LOOKS_UP | ENOSPC_, 0),
        CALL(renameat, LOOKS_UP | ENOSPC_, 0),
        CALL(renameat2, LOOKS_UP | ENOSPC_, 0),
        CALL(sendmsg, ENOMEM_ | EINTR_, 0),
        CALL(sendto, ENOMEM_ | EINTR_, 0),
        CALL(signalfd4, MAKES_FD, 0),
        CALL(socket, MAKES_FD, 0),
        CALL(socketpair, MAKES_FD, 0),
        CALL(stat, LOOKS_UP, 0),
        CALL(statx, LOOKS_UP, 0),
        CALL(timerfd_create, MAKES_FD, 0),
        CALL(unlink, LOOKS_UP, 0),
        CALL(unlinkat, LOOKS_UP, 0),
        CALL(write, EINTR_, WRITES),
        CALL(writev, EINTR_, WRITES),
};

static const CallErrors *call_errors(long number) {
        for (size_t i = 0; i < ARRAY_LEN(calls); i++)
                if (calls[i].number == number)
                        return &calls[i];
        return NULL;
}

static bool call_is_on_file(const Call *c) {
        char path[64];
        struct stat st;

        (void) snprintf(path, sizeof(path), "/proc/%d/fd/%d", c->process, (int) c->arguments[0]);
        return stat(path, &st) >= 0 && S_ISREG(st.st_mode);
}

/* What depends on the other arguments. */
static bool call_excludes(Fault f, const Call *c) {
        switch (c->number) {
        case SYS_open:
                return f == FAULT_ENOSPC && !(c->arguments[1] & O_CREAT);
        case SYS_openat:
                return f == FAULT_ENOSPC && !(c->arguments[2] & O_CREAT);
        case SYS_fcntl:
                return c->arguments[1] != F_DUPFD && c->arguments[1] != F_DUPFD_CLOEXEC;
        default:
                return false;
        }
}

bool fault_is_possible(Fault f, const Call *c) {
        const CallErrors *e = call_errors(c->number);

        if (f == FAULT_DEATH)
                return true;
        if (!e || call_excludes(f, c))
                return false;
        return (e->always & (1U << f)) || ((e->on_file & (1U << f)) && call_is_on_file(c));
}

bool fault_lasts(Fault f) {
        return f == FAULT_ENOSPC || f == FAULT_EMFILE || f == FAULT_ENOMEM;
}

bool call_is_done_all_the_same(long number) {
        return number == SYS_close;
}

const char *call_name(long number) {
        const CallErrors *e = call_errors(number);

        return e ? e->name : "another call";
}

int fault_error(Fault f) {
        static const int errors[] = {
                [FAULT_DEATH] = 0,       [FAULT_ENOSPC] = ENOSPC, [FAULT_EMFILE] = EMFILE,
                [FAULT_ENOMEM] = ENOMEM, [FAULT_EIO] = EIO,       [FAULT_EINTR] = EINTR,
        };

        return errors[f];
}

static const char *const fault_table[] = {
        [FAULT_DEATH] = "death",   [FAULT_ENOSPC] = "ENOSPC", [FAULT_EMFILE] = "EMFILE",
        [FAULT_ENOMEM] = "ENOMEM", [FAULT_EIO] = "EIO",       [FAULT_EINTR] = "EINTR",
};

DEFINE_STRING_TABLE(fault, Fault, FAULT);
