/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plugins/page/state-file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include "common/macro.h"

#define STATE_MAGIC UINT64_C(0x5441545350535553) /* "SUSPSTAT" */
#define STATE_VERSION 1

typedef struct Stored {
        uint64_t magic;
        uint32_t version;
        uint32_t size;
        PageState state;
        uint64_t checksum; /* of all before */
} Stored;

_Static_assert(sizeof(PageState) == 120, "no bytes that nobody wrote");
_Static_assert(sizeof(Stored) == 144, "likewise");

/* FNV-1a, 64 bits. Against damage, not against malice: the file is root's. */
static uint64_t checksum(const Stored *s) {
        const uint8_t *bytes = (const uint8_t *) s;
        uint64_t hash = UINT64_C(0xcbf29ce484222325);

        for (size_t i = 0; i < offsetof(Stored, checksum); i++)
                hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
        return hash;
}

int page_state_init(PageState *ret, uint32_t owner, uint32_t vectors, bool notifies) {
        uint64_t epoch = 0;

        while (epoch == 0)
                if (getrandom(&epoch, sizeof(epoch), GRND_NONBLOCK) != sizeof(epoch))
                        return -errno;
        *ret = (PageState){
                .owner = owner, .vectors = vectors, .notifies = notifies, .epoch = epoch
        };
        return 0;
}

int page_state_read(int directory, const char *name, int64_t now_boottime_ns, PageState *ret) {
        _cleanup_close_ int fd = -1;
        Stored s;
        ssize_t n;

        fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        n = pread(fd, &s, sizeof(s), 0);
        if (n < 0)
                return -errno;
        if (n != sizeof(s) || s.magic != STATE_MAGIC || s.version != STATE_VERSION ||
            s.size != sizeof(s) || s.checksum != checksum(&s))
                return -EBADMSG;
        if (s.state.epoch == 0 || s.state.count.counted_until_boottime_ns > now_boottime_ns)
                return -EBADMSG;
        *ret = s.state;
        return 0;
}

int page_state_open(int directory, const char *name) {
        struct stat st;
        int fd;

        fd = openat(directory,
                    name,
                    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
                    S_IRUSR | S_IWUSR);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                (void) close(fd);
                return -EINVAL;
        }
        return fd;
}

int page_state_write(int fd, const PageState *state) {
        Stored s = {
                .magic = STATE_MAGIC,
                .version = STATE_VERSION,
                .size = sizeof(s),
                .state = *state,
        };
        ssize_t n;

        s.checksum = checksum(&s);
        n = pwrite(fd, &s, sizeof(s), 0);
        if (n < 0)
                return -errno;
        return n == sizeof(s) ? 0 : -EIO;
}
