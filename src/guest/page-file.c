/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include "guest/page-kind.h"
#include "guest/util.h"

/* Of a writer that is right there one reading in a million is torn. */
#define READ_TRIES 100

int page_file_open(const PageChoice *choice, Page *page, PageWhy *why) {
        page->carrier = PAGE_CARRIER_FILE;
        page->can_answer = access(choice->file, W_OK) == 0;
        if (access(choice->file, R_OK) < 0) {
                int r = -errno;

                page_why_add(why, "%s: %s", choice->file, strerror(-r));
                return r;
        }
        return 0;
}

static int read_whole(int fd, void *buf) {
        ssize_t n = pread(fd, buf, PAGE_SIZE_BYTES, 0);

        return n < 0 ? -errno : n < PAGE_SIZE_BYTES ? -ENODATA : 0;
}

/*
 * A read() is not of one moment, so that its sequence says nothing. But two of them that are alike are: in
 * between the record was not touched. The path is opened anew each time; the file may have been replaced.
 */
int page_file_read(const Page *page, DriftRecord *ret) {
        static uint64_t a[PAGE_SIZE_BYTES / 8], b[PAGE_SIZE_BYTES / 8];
        _cleanup_close_ int fd = open(page->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        const size_t at = DRIFT_OFFSET / 8, size = sizeof(DriftRecord);
        int r;

        if (fd < 0)
                return -errno;
        for (int i = 0; i < READ_TRIES; i++) {
                r = read_whole(fd, a);
                if (r == 0)
                        r = read_whole(fd, b);
                if (r < 0)
                        return r;
                if (memcmp(a + at, b + at, size) == 0)
                        return page_error_errno(page_read_drift(a, ret));
        }
        return -EBUSY;
}
