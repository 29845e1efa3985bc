/* A file or stdin, line by line or byte by byte, in bounded memory. */
#ifndef POLY_CLI_SOURCE_H
#define POLY_CLI_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buffer.h"
#include "base/status.h"

struct cli_source {
    const char *name; /* for messages: "packages.csv", "standard input" */
    FILE *file;
    char *piece;
    size_t at, size;
    struct poly_buffer line;
    uint64_t number;      /* of the last line, from 1 */
    uint64_t done, total; /* bytes; total 0: not known */
};

/* path "-": stdin. POLY_NOT_FOUND. */
enum poly_status cli_source_open(struct cli_source *source, const char *path,
                                 struct poly_error *err);
void cli_source_close(struct cli_source *source); /* a zeroed one is accepted */

/* The next line, without its end, in source->line. *more false: there is none. POLY_INVALID: a
 * NUL byte. POLY_LIMIT: longer than POLY_MAX_VALUE. */
enum poly_status cli_source_line(struct cli_source *source, bool *more, struct poly_error *err);

/* The next size bytes; *got: how many there were. */
enum poly_status cli_source_bytes(struct cli_source *source, void *bytes, size_t size, size_t *got,
                                  struct poly_error *err);

#endif
