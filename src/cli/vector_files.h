/*
 * Formats of files with vectors, as rows for a domain: .fvecs, NumPy's .npy, JSON lines, and what
 * PostgreSQL's COPY writes of a table with a column of pgvector's.
 */
#ifndef POLY_CLI_VECTOR_FILES_H
#define POLY_CLI_VECTOR_FILES_H

#include "cli/import.h"

struct cli_vector_options {
    const char *field;       /* column that has the vector: "embedding" */
    const char *as;          /* what the row calls it, and nothing but a record's tenant and version
                              * stands beside it; NULL: all, and as field does */
    bool bytes;              /* as bytes, which a column of any kind takes; else as numbers */
    const char *prefix;      /* fvecs, npy: of keys; NULL: none */
    struct cli_source *keys; /* fvecs, npy: a key a line; NULL: numbers from 0 */
    const char *columns;     /* copy: "id,content,embedding" */
    const char *key;         /* copy: which of them is the record's key; NULL: the row holds it */
};

/* In import->vectors are the options. import->key is filled where the format knows the key. */
extern const struct cli_format cli_format_fvecs, cli_format_npy, cli_format_vector_lines,
    cli_format_copy;
extern const struct cli_format *const cli_vector_formats[]; /* NULL at the end */

void cli_vector_file_free(struct cli_vector_file *file); /* NULL is accepted */

/* {"embedding": …} of so many numbers, with a comma before where one is needed. */
void cli_put_vector(struct poly_buffer *out, const struct cli_vector_options *options,
                    const float *numbers, size_t count);

#endif
