/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Corpus Replay
 *
 * Shows each file of a folder to a fuzzer's entry once, so that what a fuzzer found stays found
 * wherever the tests run.
 */

#include "corpus.h"

static void replay(const char *name, const uint8_t *data, size_t size) {
        /* Named first: if the fuzzer's promise breaks, this is the last line. */
        (void) fprintf(stderr, "%s\n", name);
        (void) LLVMFuzzerTestOneInput(data, size);
}

int main(int argc, char **argv) {
        return argc == 2 && corpus_walk(argv[1], replay) > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
