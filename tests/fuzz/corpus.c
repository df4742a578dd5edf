/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "corpus.h"
#include <dirent.h>

#define INPUT_MAX ((size_t) 1024 * 1024)

static int is_file(const struct dirent *entry) {
        return entry->d_name[0] != '.';
}

static void show_file(const char *folder, const char *name, CorpusFn fn) {
        _cleanup_free_ uint8_t *buffer = malloc(INPUT_MAX), *input = NULL;
        _cleanup_free_ char *path = NULL;
        _cleanup_fclose_ FILE *f = NULL;
        size_t size;

        HOLDS(asprintf(&path, "%s/%s", folder, name) > 0);
        f = fopen(path, "re");
        HOLDS(f && buffer);
        size = fread(buffer, 1, INPUT_MAX, f);
        HOLDS(feof(f));

        input = malloc(size > 0 ? size : 1);
        HOLDS(input);
        memcpy(input, buffer, size);
        free(TAKE_PTR(buffer));
        fn(name, input, size);
}

int corpus_walk(const char *folder, CorpusFn fn) {
        struct dirent **entries;
        int n;

        n = scandir(folder, &entries, is_file, alphasort);
        for (int i = 0; i < n; i++) {
                show_file(folder, entries[i]->d_name, fn);
                free(entries[i]);
        }
        if (n >= 0)
                free(entries);
        return n;
}
