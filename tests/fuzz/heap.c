/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Heap Meter
 *
 * Shows each file of a folder to a fuzzer's entry, and prints "NAME SIZE BYTES": how many bytes of heap were in
 * use at once meanwhile, beyond those of before. The first line is of no bytes at all, and so of what the target
 * costs by itself. It stands before libc's own allocator, and so counts what libraries allocate as well.
 */

#include <malloc.h>
#include "corpus.h"

/* What glibc's own are called besides. NOLINTBEGIN(bugprone-reserved-identifier) */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);
/* NOLINTEND(bugprone-reserved-identifier) */

static size_t in_use, most;

static void *count(void *p) {
        in_use += p ? malloc_usable_size(p) : 0;
        most = MAX(most, in_use);
        return p;
}

_public_ void *malloc(size_t size) {
        return count(__libc_malloc(size));
}

_public_ void *calloc(size_t n, size_t size) {
        return count(__libc_calloc(n, size));
}

/* While it is moved it is there twice. */
_public_ void *realloc(void *p, size_t size) {
        size_t before = p ? malloc_usable_size(p) : 0;
        uintptr_t old = (uintptr_t) p;
        void *new = __libc_realloc(p, size);

        if (!new &&size > 0)
                return NULL;
        if ((uintptr_t) new == old)
                in_use -= before;
        (void) count(new);
        if ((uintptr_t) new != old)
                in_use -= before;
        return new;
}

_public_ void free(void *p) {
        in_use -= p ? malloc_usable_size(p) : 0;
        __libc_free(p);
}

static void measure(const char *name, const uint8_t *data, size_t size) {
        size_t before;

        /* What is kept once and for all, by libraries above all, is nobody's input. */
        (void) LLVMFuzzerTestOneInput(data, size);
        before = most = in_use;
        (void) LLVMFuzzerTestOneInput(data, size);
        (void) printf("%s %zu %zu\n", name, size, most - before);
}

int main(int argc, char **argv) {
        measure("-", (const uint8_t *) "", 0);
        return argc == 2 && corpus_walk(argv[1], measure) > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
