/* Formats of files, as rows for a domain. */
#ifndef POLY_CLI_IMPORT_H
#define POLY_CLI_IMPORT_H

#include "base/map.h"
#include "cli/source.h"

enum { CLI_COLUMNS_MAX = 256 };

struct cli_import {
    struct cli_source *source;
    const struct cli_format *format;
    char separator;         /* CSV */
    struct poly_buffer row; /* JSON object of the last row */
    struct poly_buffer key; /* of that row; empty: it holds its key itself */
    uint64_t line;          /* where that row began, or its number: see .unit of the format */
    uint64_t left_out;      /* rows that came before under the same key */
    /* inside of the formats */
    struct poly_buffer names, record;
    size_t name_at[CLI_COLUMNS_MAX], name_count;
    struct poly_map *keys;
    const struct cli_vector_options *vectors; /* of the formats of vectors */
    struct cli_vector_file *file;
};

/*
 * next: the next row into import->row and import->line; *more false: there is none. POLY_INVALID
 * with "file:line: " in the message.
 */
struct cli_format {
    const char *name;
    const char *endings; /* of file names: ".jsonl|.ndjson"; NULL: none */
    const char *unit;    /* what .line counts: "vector"; NULL: "line" */
    bool unique;         /* no key comes twice: rows may be sent side by side */
    enum poly_status (*next)(struct cli_import *import, bool *more, struct poly_error *err);
};

extern const struct cli_format cli_format_csv, cli_format_jsonl, cli_format_deb;

extern const struct cli_format *const cli_formats[]; /* of rows: these three; NULL at the end */

/* Of a list: by name, or by the end of the path when name is NULL. POLY_INVALID. */
enum poly_status cli_format_find(const struct cli_format *const *formats, const char *name,
                                 const char *path, const struct cli_format **format,
                                 struct poly_error *err);

void cli_import_open(struct cli_import *import, const struct cli_format *format,
                     struct cli_source *source);
void cli_import_close(struct cli_import *import);

/* POLY_INVALID with "file:line: " before. */
enum poly_status cli_import_fail(const struct cli_import *import, uint64_t line,
                                 struct poly_error *err, const char *what);

#endif
