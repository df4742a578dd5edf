/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Corpus Replay
 *
 * Shows each file of a folder to a fuzzer's entry once, so that what a fuzzer found stays found
 * wherever the tests run.
 */

#include <dirent.h>
#include "fuzz.h"

#define INPUT_MAX ((size_t) 1024 * 1024)

static void closedirp(DIR **d) {
        if (*d)
                (void) closedir(*d);
}

/* Shows one file to the fuzzer, in memory of just its size. */
static void replay_file(const char *path) {
        _cleanup_fclose_ FILE *f = fopen(path, "re");
        _cleanup_free_ uint8_t *buffer = malloc(INPUT_MAX), *input = NULL;
        size_t size;

        HOLDS(f && buffer);
        size = fread(buffer, 1, INPUT_MAX, f);
        HOLDS(feof(f));

        input = malloc(size > 0 ? size : 1);
        HOLDS(input);
        memcpy(input, buffer, size);
        (void) LLVMFuzzerTestOneInput(input, size);
}

int main(int argc, char **argv) {
        _cleanup_(closedirp) DIR *folder = NULL;
        struct dirent *entry;
        int n = 0;

        if (argc != 2)
                return EXIT_FAILURE;
        folder = opendir(argv[1]);
        if (!folder)
                return EXIT_FAILURE;

        while ((entry = readdir(folder))) {
                _cleanup_free_ char *path = NULL;

                if (entry->d_name[0] == '.')
                        continue;
                HOLDS(asprintf(&path, "%s/%s", argv[1], entry->d_name) > 0);
                /* Named first: if the fuzzer's promise breaks, this is the last line. */
                (void) fprintf(stderr, "%s\n", entry->d_name);
                replay_file(path);
                n++;
        }

        return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
