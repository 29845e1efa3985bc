/*
 * Files of vectors: .fvecs, .npy, JSON lines, COPY. The first byte says which. What must hold: an
 * end, in bounded memory; and every row that comes out is a JSON object.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/json.h"
#include "cli/vector_files.h"
#include "fuzz.h"

static void check_row(const struct cli_import *import)
{
    const struct poly_buffer *row = &import->row;
    struct poly_error err;
    json_t *json;
    enum poly_status status = poly_json_parse(row->data, row->size, &json, &err);

    /* A column that --columns or a line names twice, and what was no UTF-8, is found there. */
    poly_assert(row->data[0] == '{' && (status == POLY_OK || strstr(err.message, "twice") != NULL));
    if (status == POLY_OK)
        json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cli_vector_options options = {
        .field = "e", .columns = "id,t,e", .key = "id", .prefix = "p"};
    struct cli_source source;
    struct cli_import import;
    struct poly_error err;
    bool more = true;

    if (size < 2)
        return 0;
    FILE *file = fmemopen((void *)(uintptr_t)(data + 1), size - 1, "rb");

    poly_assert(file != NULL && cli_source_open(&source, "/dev/null", &err) == POLY_OK);
    fclose(source.file);
    source.file = file;
    source.total = data[0] & 4 ? size - 1 : 0;
    cli_import_open(&import, cli_vector_formats[data[0] & 3], &source);
    import.vectors = &options;
    while (more && import.format->next(&import, &more, &err) == POLY_OK)
        if (more)
            check_row(&import);
    cli_import_close(&import);
    cli_source_close(&source);
    return 0;
}
