/* A folder for the files of one index, for a group of tests. */
#ifndef POLY_TEST_INDEX_PLACE_H
#define POLY_TEST_INDEX_PLACE_H

#include "vector_data.h"

#include <dirent.h>
#include <unistd.h>

static char folder[64];
static char path[96], originals[96]; /* in it */

static inline int make_folder(void **state)
{
    (void)state;
    if (!data_folder(folder, sizeof(folder)))
        return -1;
    snprintf(path, sizeof(path), "%s/index", folder);
    snprintf(originals, sizeof(originals), "%s/originals", folder);
    return 0;
}

/* With all that is in it. */
static inline int remove_folder(void **state)
{
    DIR *directory = opendir(folder);
    const struct dirent *entry;

    (void)state;
    while (directory != NULL && (entry = readdir(directory)) != NULL)
        unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory != NULL)
        closedir(directory);
    return rmdir(folder);
}

#endif
