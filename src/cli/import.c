/* What the formats share, and the two simple ones: JSON lines and CSV (RFC 4180). */
#include "cli/import.h"
#include "cli/vector_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"

const struct cli_format *const cli_formats[] = {&cli_format_csv, &cli_format_jsonl, &cli_format_deb,
                                                NULL};

static bool ends_with(const char *path, const char *ending, size_t size)
{
    size_t length = strlen(path);

    return length >= size && strncmp(path + length - size, ending, size) == 0;
}

static bool has_ending(const struct cli_format *format, const char *path)
{
    const char *at = format->endings;

    while (at != NULL) {
        size_t size = strcspn(at, "|");

        if (ends_with(path, at, size))
            return true;
        at = at[size] == '\0' ? NULL : at + size + 1;
    }
    return false;
}

enum poly_status cli_format_find(const struct cli_format *const *formats, const char *name,
                                 const char *path, const struct cli_format **format,
                                 struct poly_error *err)
{
    char names[100] = "";
    size_t used = 0;

    for (; *formats != NULL; formats++) {
        if (name == NULL ? has_ending(*formats, path) : strcmp((*formats)->name, name) == 0) {
            *format = *formats;
            return POLY_OK;
        }
        if (used < sizeof(names))
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
                                     used == 0          ? ""
                                     : formats[1] == NULL ? " or "
                                                          : ", ",
                                     (*formats)->name);
    }
    return poly_fail(err, POLY_INVALID,
                     "the format of '%.200s' is not known by its name; say --format %s", path,
                     names);
}

void cli_import_open(struct cli_import *import, const struct cli_format *format,
                     struct cli_source *source)
{
    *import = (struct cli_import){.source = source, .format = format, .separator = ','};
    poly_buffer_init(&import->row, POLY_MAX_TXN_BYTES);
    poly_buffer_init(&import->key, 4 * POLY_MAX_KEY);
    poly_buffer_init(&import->names, POLY_MAX_VALUE);
    poly_buffer_init(&import->record, POLY_MAX_VALUE);
}

void cli_import_close(struct cli_import *import)
{
    poly_buffer_release(&import->row);
    poly_buffer_release(&import->key);
    poly_buffer_release(&import->names);
    poly_buffer_release(&import->record);
    poly_map_free(import->keys);
    import->keys = NULL;
    cli_vector_file_free(import->file);
    import->file = NULL;
}

enum poly_status cli_import_fail(const struct cli_import *import, uint64_t line,
                                 struct poly_error *err, const char *what)
{
    if (import->format->unit != NULL)
        return poly_fail(err, POLY_INVALID, "%s: %s %llu: %s", import->source->name,
                         import->format->unit, (unsigned long long)line, what);
    return poly_fail(err, POLY_INVALID, "%s:%llu: %s", import->source->name,
                     (unsigned long long)line, what);
}

static bool is_blank(const struct poly_buffer *line)
{
    return line->size == 0 || strspn(line->data, " \t") == line->size;
}

/* --- JSON lines --- */

static enum poly_status next_jsonl(struct cli_import *import, bool *more, struct poly_error *err)
{
    struct poly_buffer *line = &import->source->line;
    enum poly_status status;

    do {
        status = cli_source_line(import->source, more, err);
        if (status != POLY_OK || !*more)
            return status;
    } while (is_blank(line));
    import->line = import->source->number;
    status = poly_json_check(line->data, line->size, err);
    if (status != POLY_OK)
        return poly_fail_in(err, status, "%s:%llu", import->source->name,
                            (unsigned long long)import->line);
    if (line->data[strspn(line->data, " \t")] != '{')
        return cli_import_fail(import, import->line, err, "must be a JSON object: {\"column\": …}");
    poly_buffer_clear(&import->row);
    poly_buffer_add(&import->row, line->data, line->size);
    return poly_buffer_ok(&import->row) ? POLY_OK : poly_no_memory(err);
}

const struct cli_format cli_format_jsonl = {
    .name = "jsonl",
    .endings = ".jsonl|.ndjson",
    .next = next_jsonl,
};

/* --- CSV --- */

/* A record ends at the end of a line outside of quotes: a field may hold line feeds. */
static enum poly_status read_record(struct cli_import *import, bool *more, struct poly_error *err)
{
    struct poly_buffer *record = &import->record;
    bool quoted = false;

    poly_buffer_clear(record);
    for (;;) {
        enum poly_status status = cli_source_line(import->source, more, err);
        const struct poly_buffer *line = &import->source->line;

        if (status != POLY_OK)
            return status;
        if (!*more && quoted)
            return cli_import_fail(import, import->line, err, "a quote is never closed");
        if (!*more)
            return POLY_OK;
        if (quoted)
            poly_buffer_char(record, '\n');
        else if (line->size == 0)
            continue;
        else
            import->line = import->source->number;
        for (size_t i = 0; i < line->size; i++)
            quoted = quoted != (line->data[i] == '"');
        poly_buffer_add(record, line->data, line->size);
        if (!poly_buffer_ok(record))
            return cli_import_fail(import, import->line, err,
                                   "the record is too long; is a quote not closed?");
        if (!quoted)
            return POLY_OK;
    }
}

/* The field at *at, unquoted, into out. *quoted: it stood in quotes. false: it is malformed. */
static bool read_field(const struct cli_import *import, size_t *at, struct poly_buffer *out,
                       bool *quoted)
{
    const char *text = import->record.data;
    size_t i = *at;

    *quoted = text[i] == '"';
    if (!*quoted) {
        while (text[i] != '\0' && text[i] != import->separator && text[i] != '"')
            i++;
        poly_buffer_add(out, text + *at, i - *at);
        *at = i;
        return text[i] != '"';
    }
    for (i++; text[i] != '"' || text[i + 1] == '"'; i++) {
        if (text[i] == '\0')
            return false;
        i += text[i] == '"' ? 1 : 0;
        poly_buffer_char(out, text[i]);
    }
    *at = i + 1;
    return text[*at] == '\0' || text[*at] == import->separator;
}

static enum poly_status read_header(struct cli_import *import, bool *more, struct poly_error *err)
{
    enum poly_status status = read_record(import, more, err);
    size_t at = 0;
    bool quoted;

    if (status != POLY_OK || !*more)
        return status;
    if (import->record.size >= 3 && memcmp(import->record.data, "\xef\xbb\xbf", 3) == 0)
        at = 3; /* byte order mark */
    for (;; at++) {
        if (import->name_count == CLI_COLUMNS_MAX)
            return cli_import_fail(import, import->line, err, "more than 256 columns");
        import->name_at[import->name_count++] = import->names.size;
        if (!read_field(import, &at, &import->names, &quoted))
            return cli_import_fail(import, import->line, err, "a quote stands where none may");
        poly_buffer_char(&import->names, '\0');
        if (!poly_buffer_ok(&import->names))
            return poly_no_memory(err);
        if (import->names.data[import->name_at[import->name_count - 1]] == '\0')
            return cli_import_fail(import, import->line, err, "a column has no name");
        if (import->record.data[at] == '\0')
            return POLY_OK;
    }
}

static enum poly_status add_fields(struct cli_import *import, struct poly_buffer *field,
                                   struct poly_error *err)
{
    size_t at = 0, count = 0;
    bool quoted;
    char text[100];

    for (;; at++) {
        poly_buffer_clear(field);
        if (!read_field(import, &at, field, &quoted))
            return cli_import_fail(import, import->line, err, "a quote stands where none may");
        if (count < import->name_count) {
            const char *name = import->names.data + import->name_at[count];

            poly_buffer_char(&import->row, count == 0 ? '{' : ',');
            poly_json_string(&import->row, name, strlen(name));
            poly_buffer_char(&import->row, ':');
            if (field->size == 0 && !quoted)
                poly_buffer_text(&import->row, "null");
            else
                poly_json_string(&import->row, field->size == 0 ? "" : field->data, field->size);
        }
        count++;
        if (import->record.data[at] == '\0')
            break;
    }
    poly_buffer_char(&import->row, '}');
    if (count == import->name_count)
        return POLY_OK;
    snprintf(text, sizeof(text), "%zu fields, but the header names %zu columns", count,
             import->name_count);
    return cli_import_fail(import, import->line, err, text);
}

static enum poly_status next_csv(struct cli_import *import, bool *more, struct poly_error *err)
{
    struct poly_buffer field;
    enum poly_status status = POLY_OK;

    *more = true;
    if (import->name_count == 0)
        status = read_header(import, more, err);
    if (status == POLY_OK && *more)
        status = read_record(import, more, err);
    if (status != POLY_OK || !*more)
        return status;
    poly_buffer_clear(&import->row);
    poly_buffer_init(&field, POLY_MAX_VALUE);
    status = add_fields(import, &field, err);
    poly_buffer_release(&field);
    return status == POLY_OK && !poly_buffer_ok(&import->row) ? poly_no_memory(err) : status;
}

const struct cli_format cli_format_csv = {
    .name = "csv",
    .endings = ".csv",
    .next = next_csv,
};
