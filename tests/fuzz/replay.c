/*
 * fuzz-NAME-replay FOLDER: gives every file of the corpus to the fuzz target,
 * then the beginnings of it, then copies with a few bytes changed. The same
 * each time, so that a finding is there again; for the unknown there is
 * libFuzzer. An input is in a block of its own exact size, for the sanitizers.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { LARGEST = 1 << 20, BEGINNINGS = 300, MUTATIONS = 300 };

static uint64_t random_state = 88172645463325252ULL;

static size_t below(size_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % bound);
}

static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);

    if (copy == NULL)
        abort();
    if (size > 0)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

/* Changes, doubles or takes away a few bytes. Returns the new size. */
static size_t mutate(uint8_t *data, size_t size)
{
    static const uint8_t special[] = "\"\\{}[]:,'-+.0189eE\n\t *&!<\x80\xff\xed()";

    for (size_t times = 1 + below(4); times > 0 && size > 1; times--) {
        size_t at = below(size), length = 1 + below(size - at < 16 ? size - at : 16);

        switch (below(4)) {
        case 0:
            data[at] = special[below(sizeof(special))];
            break;
        case 1:
            data[at] = (uint8_t)below(256);
            break;
        case 2: /* there is room for each of the doublings */
            memmove(data + at + length, data + at, size - at);
            size += length;
            break;
        default:
            memmove(data + at, data + at + length, size - at - length);
            size -= length;
        }
    }
    return size;
}

static void run_all(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 64);

    if (copy == NULL)
        abort();
    run(data, size);
    for (size_t i = 0; i < size && i < BEGINNINGS; i++)
        run(data, i);
    for (int i = 0; size > 0 && i < MUTATIONS; i++) {
        memcpy(copy, data, size);
        run(copy, mutate(copy, size));
    }
    free(copy);
}

static int run_file(const char *folder, const char *name)
{
    static uint8_t data[LARGEST];
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", folder, name);

    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        perror(path);
        return 1;
    }
    run_all(data, fread(data, 1, sizeof(data), file));
    fclose(file);
    return 0;
}

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    int files = 0, failed = 0;

    if (folder == NULL) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        failed += run_file(argv[1], entry->d_name);
        files++;
    }
    closedir(folder);
    printf("%d files replayed\n", files);
    return files == 0 || failed > 0;
}
