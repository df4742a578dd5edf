/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * How a page is written whose owner is hostile, and which a guest reads meanwhile:
 *
 * - Not by our own stores: one to a page that its owner has truncated away is a SIGBUS.
 * - Not by pwrite(): it takes the inode's lock, which the owner can hold for as long as he likes, by a
 *   write() of his own whose source is a file on a FUSE mount that never answers.
 *   Whatever else waits for that lock (rename(), unlink(), a change of mode or ACL) is done while nobody else
 *   can have the file open.
 * - But by having the kernel copy into our mapping: a pread() of a file of our own (the scratch) with the
 *   mapping as its buffer. Where there is nothing to store to, that fails with EFAULT. What it takes on
 *   the way is the folio's lock at a page fault, under which nobody can be made to wait for a user.
 *
 * For the reader's sake the sequence is odd from before the first changed byte to after the last. The kernel
 * copies bytes in an order of its own choosing, and a number not as a whole: so what makes the sequence
 * odd, and even again, is one byte, its lowest; the others are changed in between, with the part. It is then
 * less by one than it will be, for there are readers (Linux' driver) that take the lowest bit off what they
 * find before, and compare that with what they find afterwards: it must be another number. A full fence
 * lies between each two of these copies. They are made by this thread's CPU on its behalf, so it orders
 * them as it orders the thread's own stores; where the thread moves to another CPU, the kernel has fences.
 */

#include "plugins/page/page.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "common/grant.h"

/* QEMU and libvirt may grow the file to what a memory device is aligned to. */
#define FILE_SIZE_MAX (64 << 20)
#define NAME_SIZE 256

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the page is little-endian, and so are we");

struct Page {
        int fd;
        int scratch; /* borrowed */
        uint8_t *map;
};

/* lifetime */

static int page_new(int fd, int scratch, Page **ret) {
        void *map;
        Page *p;

        map = mmap(NULL, PAGE_SIZE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED)
                return -errno;
        p = malloc(sizeof(*p));
        if (!p) {
                (void) munmap(map, PAGE_SIZE_BYTES);
                return -ENOMEM;
        }
        *p = (Page){ .fd = fd, .scratch = scratch, .map = map };
        *ret = p;
        return 0;
}

Page *page_free(Page *p) {
        if (!p)
                return NULL;
        (void) munmap(p->map, PAGE_SIZE_BYTES);
        (void) close(p->fd);
        free(p);
        return NULL;
}

/* No page's name begins with a dot, so none is called that. */
static void hidden_name(char buf[static NAME_SIZE], const char *name) {
        (void) snprintf(buf, NAME_SIZE, ".%s", name);
}

int page_create(int directory, const char *name, int scratch, Page **ret) {
        static const uint8_t zeros[PAGE_SIZE_BYTES];
        _cleanup_close_ int fd = -1;
        char hidden[NAME_SIZE];
        int r;

        hidden_name(hidden, name);
        (void) unlinkat(directory, hidden, 0); /* from a life that ended before it was granted */
        fd = openat(directory,
                    hidden,
                    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY,
                    S_IRUSR | S_IWUSR);
        if (fd < 0)
                return -errno;

        /* Nobody else can have it open yet; its memory is there from now on. */
        r = pwrite(fd, zeros, sizeof(zeros), 0) == sizeof(zeros) ? 0 : errno ? -errno : -EIO;
        if (r >= 0 && fchmod(fd, S_IRUSR | S_IWUSR) < 0)
                r = -errno;
        if (r >= 0)
                r = page_new(fd, scratch, ret);
        if (r < 0)
                (void) unlinkat(directory, hidden, 0);
        else
                (void) TAKE_FD(fd);
        return r;
}

int page_appear(Page *p, int directory, const char *name, uid_t owner) {
        char hidden[NAME_SIZE];
        int r;

        /* In this order: rename() and unlink() wait for the lock of an inode that others can use. */
        hidden_name(hidden, name);
        if (renameat2(directory, hidden, directory, name, RENAME_NOREPLACE) < 0) {
                r = -errno;
                (void) unlinkat(directory, hidden, 0);
                return r;
        }
        r = page_grant(p, owner);
        if (r < 0)
                (void) unlinkat(directory, name, 0);
        return r;
}

int page_grant(Page *p, uid_t owner) {
        uid_t holder = 0;
        int r;

        r = page_owner(p, &holder);
        if (r < 0)
                return r;
        /* Setting an ACL waits for that lock as well. */
        return holder == owner || holder != geteuid() ? 0 : grant_fd(p->fd, owner);
}

/*
 * Whether nobody else has it open for writing, so that nobody else can be in a write(): then we get a lease,
 * and while we have that nobody comes to it. It is our own file, or no lease is had. Whoever opens it
 * meanwhile is held up, and we are sent a signal, by itself one that kills.
 */
static bool is_ours_alone(int fd) {
        return fcntl(fd, F_SETSIG, SIGURG) >= 0 && fcntl(fd, F_SETLEASE, F_WRLCK) >= 0;
}

int page_unlink(int directory, const char *name) {
        _cleanup_close_ int fd = -1;
        struct stat st;

        if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (S_ISREG(st.st_mode)) {
                fd = openat(directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
                if (fd < 0 || !is_ours_alone(fd))
                        return -EBUSY;
        }
        return unlinkat(directory, name, 0) < 0 ? -errno : 0;
}

static int check_file(const struct stat *st, const char **ret_why) {
        if (!S_ISREG(st->st_mode))
                *ret_why = "it is not a regular file";
        else if (st->st_nlink != 1)
                *ret_why = "it has more than one name, or none";
        /* The group's part is the ACL's mask (common/grant.h). */
        else if ((st->st_mode & 07777 & ~(mode_t) (S_IRGRP | S_IWGRP)) != (S_IRUSR | S_IWUSR))
                *ret_why = "its mode is neither 0600 nor 0660";
        else if (st->st_size < PAGE_SIZE_BYTES || st->st_size % PAGE_SIZE_BYTES != 0)
                *ret_why = "its size is not that of a page, nor of several";
        else if (st->st_size > FILE_SIZE_MAX)
                *ret_why = "it is too large";
        else
                return 0;
        return -EINVAL;
}

int page_open(int directory, const char *name, int scratch, Page **ret, const char **ret_why) {
        _cleanup_close_ int fd = -1;
        struct stat st;
        int r;

        /* Without waiting: for a FIFO's other end, or for somebody's lease to be broken. */
        fd = openat(directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0) {
                /* A lease is its owner's doing, and may stay. */
                r = errno == EAGAIN ? -EBUSY : -errno;
                *ret_why = r == -ELOOP ? "it is a symbolic link" : "it cannot be opened";
                return r;
        }
        if (fstat(fd, &st) < 0) {
                r = -errno;
                *ret_why = "it cannot be examined";
                return r;
        }
        r = check_file(&st, ret_why);
        if (r < 0)
                return r;
        r = page_new(fd, scratch, ret);
        if (r < 0)
                *ret_why = "it cannot be mapped";
        else
                (void) TAKE_FD(fd);
        return r;
}

int page_fd(const Page *p) {
        return p->fd;
}

int page_owner(const Page *p, uid_t *ret) {
        struct stat st;

        if (fstat(p->fd, &st) < 0)
                return -errno;
        /* libvirt gives it to its VMM's user; else it is ours, and granted. */
        if (st.st_uid != geteuid() || grant_holder(p->fd, ret) < 0)
                *ret = st.st_uid;
        return 0;
}

/* writing */

static int page_store(Page *p, size_t offset, const void *bytes, size_t n) {
        ssize_t k;

        k = pwrite(p->scratch, bytes, n, 0);
        if (k >= 0)
                k = pread(p->scratch, p->map + offset, n, 0);
        if (k < 0)
                return -errno;
        if ((size_t) k != n)
                return -EFAULT; /* stored in part: there is no more of it behind */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return 0;
}

/* Writes the @size bytes at @part, whose sequence is at @at_sequence in it, to @offset. */
static int page_write_part(Page *p, size_t offset, void *part, size_t size, size_t at_sequence) {
        uint8_t *low = (uint8_t *) part + at_sequence, even = *low, odd = (uint8_t) (even - 1);
        int r;

        r = page_store(p, offset + at_sequence, &odd, 1);
        if (r < 0)
                return r;
        *low = odd;
        r = page_store(p, offset, part, size);
        if (r < 0)
                return r;
        return page_store(p, offset + at_sequence, &even, 1);
}

int page_write_vmclock(Page *p, const VmclockPage *clock) {
        VmclockPage part = *clock;

        assert(!(part.sequence & 1));
        return page_write_part(
                        p, VMCLOCK_OFFSET, &part, sizeof(part), offsetof(VmclockPage, sequence));
}

int page_write_drift(Page *p, const DriftRecord *record) {
        DriftRecord part = *record;

        assert(!(part.sequence & 1));
        return page_write_part(
                        p, DRIFT_OFFSET, &part, sizeof(part), offsetof(DriftRecord, sequence));
}

/* reading */

int page_read_answer(const Page *p, DriftAnswer *ret) {
        const off_t at = ANSWER_OFFSET;
        uint64_t publishings;
        DriftAnswer answer;

        /* The guest writes this number last: what is read after it is at least as new. */
        if (pread(p->fd,
                  &publishings,
                  sizeof(publishings),
                  at + (off_t) offsetof(DriftAnswer, publishings)) != sizeof(publishings))
                return 0;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (pread(p->fd, &answer, sizeof(answer), at) != sizeof(answer))
                return 0;
        if (answer.magic != ANSWER_MAGIC)
                return 0;
        answer.publishings = publishings;
        *ret = answer;
        return 1;
}
