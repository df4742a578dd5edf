/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/file-replace.h"
#include <errno.h>
#include <fcntl.h>
#include "common/macro.h"

static int write_all(int fd, const char *text, size_t size) {
        while (size > 0) {
                ssize_t n = write(fd, text, size);

                if (n < 0 && errno != EINTR)
                        return -errno;
                text += n > 0 ? n : 0;
                size -= n > 0 ? (size_t) n : 0;
        }
        return 0;
}

int file_replace(const char *path, const char *text, size_t size) {
        _cleanup_free_ char *aside = NULL;
        int fd, r;

        if (asprintf(&aside, "%s.new", path) < 0) {
                aside = NULL;
                return -ENOMEM;
        }
        (void) unlink(aside);
        fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;

        r = write_all(fd, text, size);
        if (close(fd) < 0 && r >= 0)
                r = -errno;
        if (r >= 0 && rename(aside, path) < 0)
                r = -errno;
        if (r < 0)
                (void) unlink(aside);
        return r;
}
