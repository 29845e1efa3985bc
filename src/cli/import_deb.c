/*
 * Debian's package index: paragraphs of "Field: value", continued on lines
 * that begin with a space, as 'apt-cache dumpavail' prints them. One row for
 * each package; of several versions the first one counts, so that the same
 * index gives the same rows each time.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "cli/import.h"

enum { PACKAGES_MAX = 1 << 22 };

enum kind { TEXT, NUMBER, NAMES, DESCRIPTION };

static const struct {
    const char *field;
    const char *column;
    enum kind kind;
} fields[] = {
    {"Package", "name", TEXT},
    {"Version", "version", TEXT},
    {"Section", "section", TEXT},
    {"Priority", "priority", TEXT},
    {"Architecture", "architecture", TEXT},
    {"Maintainer", "maintainer", TEXT},
    {"Installed-Size", "installed_size", NUMBER},
    {"Homepage", "homepage", TEXT},
    {"Description", "summary", DESCRIPTION},
    {"Depends", "depends", NAMES},
    {"Recommends", "recommends", NAMES},
    {"Provides", "provides", NAMES},
};

enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

/* The text of each field of one paragraph, in import->record, each with a NUL. */
struct paragraph {
    size_t at[FIELDS], size[FIELDS];
    bool given[FIELDS];
    int last; /* field that a continuation belongs to; -1: none of ours */
    bool any;
};

static int find_field(const char *line, size_t size)
{
    for (int i = 0; i < FIELDS; i++)
        if (strlen(fields[i].field) == size && strncasecmp(fields[i].field, line, size) == 0)
            return i;
    return -1;
}

static void take_continuation(struct cli_import *import, struct paragraph *paragraph,
                              const struct poly_buffer *line)
{
    int i = paragraph->last;

    if (i < 0)
        return;
    /* The field's text is the last in the record: its NUL goes, the line is added. */
    import->record.size--;
    poly_buffer_char(&import->record, '\n');
    if (line->size != 2 || line->data[1] != '.')
        poly_buffer_add(&import->record, line->data + 1, line->size - 1);
    paragraph->size[i] = import->record.size - paragraph->at[i];
    poly_buffer_char(&import->record, '\0');
}

static enum poly_status take_field(struct cli_import *import, struct paragraph *paragraph,
                                   struct poly_error *err)
{
    const struct poly_buffer *line = &import->source->line;
    const char *colon = memchr(line->data, ':', line->size);
    int i;

    if (colon == NULL || colon == line->data)
        return cli_import_fail(import, import->source->number, err,
                               "must be 'Field: value' or a continuation that begins with a space");
    i = find_field(line->data, (size_t)(colon - line->data));
    paragraph->last = i;
    if (i < 0)
        return POLY_OK;
    if (paragraph->given[i])
        return cli_import_fail(import, import->source->number, err,
                               "the field stands twice in one paragraph");
    const char *value = colon + 1, *end = line->data + line->size;

    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    paragraph->given[i] = true;
    paragraph->at[i] = import->record.size;
    paragraph->size[i] = (size_t)(end - value);
    poly_buffer_add(&import->record, value, paragraph->size[i]);
    poly_buffer_char(&import->record, '\0');
    return POLY_OK;
}

static enum poly_status read_paragraph(struct cli_import *import, struct paragraph *paragraph,
                                       struct poly_error *err)
{
    bool more;

    *paragraph = (struct paragraph){.last = -1};
    poly_buffer_clear(&import->record);
    for (;;) {
        enum poly_status status = cli_source_line(import->source, &more, err);
        const struct poly_buffer *line = &import->source->line;

        if (status != POLY_OK || !more)
            return status;
        if (line->size == 0 && paragraph->any)
            return POLY_OK;
        if (line->size == 0)
            continue;
        if (!paragraph->any)
            import->line = import->source->number;
        if (!paragraph->any && (line->data[0] == ' ' || line->data[0] == '\t'))
            return cli_import_fail(import, import->line, err,
                                   "a paragraph cannot begin with a continuation");
        paragraph->any = true;
        if (line->data[0] == ' ' || line->data[0] == '\t')
            take_continuation(import, paragraph, line);
        else
            status = take_field(import, paragraph, err);
        if (status != POLY_OK)
            return status;
        if (!poly_buffer_ok(&import->record))
            return cli_import_fail(import, import->line, err, "the paragraph is too long");
    }
}

/* --- the row --- */

/* "libc6 (>= 2.34), a | b" as ["libc6","a","b"]. */
static void add_names(struct poly_buffer *row, const char *text)
{
    bool first = true;

    poly_buffer_char(row, '[');
    while (*text != '\0') {
        size_t size;

        text += strspn(text, " \t\n,|");
        size = strcspn(text, " \t\n,|(:[");
        if (size > 0) {
            poly_buffer_text(row, first ? "" : ",");
            poly_json_string(row, text, size);
            first = false;
        }
        text += strcspn(text, ",|");
    }
    poly_buffer_char(row, ']');
}

static bool is_number(const char *text)
{
    size_t size = strlen(text);

    return size > 0 && size < 19 && strspn(text, "0123456789") == size;
}

/* The first line is the summary, the rest the description. */
static void add_description(struct poly_buffer *row, const char *text, size_t size)
{
    size_t line = strcspn(text, "\n");

    poly_json_string(row, text, line);
    if (line >= size)
        return;
    poly_buffer_text(row, ",\"description\":");
    poly_json_string(row, text + line + 1, size - line - 1);
}

static enum poly_status add_columns(struct cli_import *import, const struct paragraph *paragraph,
                                    struct poly_error *err)
{
    struct poly_buffer *row = &import->row;

    poly_buffer_clear(row);
    for (int i = 0; i < FIELDS; i++) {
        const char *text = import->record.data + paragraph->at[i];

        if (!paragraph->given[i])
            continue;
        poly_buffer_char(row, row->size == 0 ? '{' : ',');
        poly_buffer_printf(row, "\"%s\":", fields[i].column);
        if (fields[i].kind == NAMES) {
            add_names(row, text);
        } else if (fields[i].kind == DESCRIPTION) {
            add_description(row, text, paragraph->size[i]);
        } else if (fields[i].kind == TEXT) {
            poly_json_string(row, text, paragraph->size[i]);
        } else {
            while (*text == '0' && text[1] != '\0')
                text++;
            if (!is_number(text))
                return cli_import_fail(import, import->line, err, "Installed-Size is no number");
            poly_buffer_text(row, text);
        }
    }
    poly_buffer_char(row, '}');
    return poly_buffer_ok(row) ? POLY_OK : poly_no_memory(err);
}

static enum poly_status check_paragraph(const struct cli_import *import,
                                        const struct paragraph *paragraph, struct poly_error *err)
{
    for (int i = 0; i < 2; i++)
        if (!paragraph->given[i] || paragraph->size[i] == 0)
            return cli_import_fail(import, import->line, err,
                                   i == 0 ? "the paragraph has no Package"
                                          : "the paragraph has no Version");
    return POLY_OK;
}

static enum poly_status next_deb(struct cli_import *import, bool *more, struct poly_error *err)
{
    struct paragraph paragraph;

    if (import->keys == NULL)
        import->keys = poly_map_new(PACKAGES_MAX);
    if (import->keys == NULL)
        return poly_no_memory(err);
    for (;;) {
        enum poly_status status = read_paragraph(import, &paragraph, err);
        uint64_t before;

        *more = paragraph.any;
        if (status == POLY_OK && *more)
            status = check_paragraph(import, &paragraph, err);
        if (status != POLY_OK || !*more)
            return status;

        const char *name = import->record.data + paragraph.at[0];

        if (poly_map_get(import->keys, name, paragraph.size[0], &before)) {
            import->left_out++;
            continue;
        }
        if (poly_map_count(import->keys) == PACKAGES_MAX)
            return poly_fail(err, POLY_LIMIT, "more than %d packages", PACKAGES_MAX);
        if (!poly_map_put(import->keys, name, paragraph.size[0], import->line))
            return poly_no_memory(err);
        return add_columns(import, &paragraph, err);
    }
}

const struct cli_format cli_format_deb = {
    .name = "debian",
    .endings = "Packages",
    .unique = true,
    .next = next_deb,
};
