/*
 * A table is printed at its end, when the widths are known. Texts are escaped
 * as they go in, so that widths are those of what is printed, and so that no
 * data can move the cursor, ring the bell or forge a row.
 */
#include "cli/output.h"

#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/arena.h"

enum { COLUMNS_MAX = 300, GAP = 2, NARROWEST = 8 };

static const size_t table_memory = (size_t)1024 * 1024 * 1024;

struct cell {
    const char *text;
    size_t size, width;
    bool number;
};

struct cli_table {
    struct poly_arena *arena;
    struct cell *cells; /* the first row: names */
    size_t columns, count, capacity;
    bool whole, failed;
};

/* --- text --- */

/* Size of the UTF-8 character at text, 0: none. */
static size_t character(const char *text, size_t size, wchar_t *wide)
{
    static locale_t utf8;
    mbstate_t state;

    if (utf8 == (locale_t)0)
        utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 == (locale_t)0 ? (locale_t)0 : uselocale(utf8);

    memset(&state, 0, sizeof(state));
    size_t used = mbrtowc(wide, text, size, &state);

    if (before != (locale_t)0)
        uselocale(before);
    return used == 0 || used > size ? 0 : used;
}

static bool is_control(wchar_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200e && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

static void escape_one(struct poly_buffer *out, const char *text, size_t size)
{
    if (*text == '\n' || *text == '\t' || *text == '\r')
        poly_buffer_printf(out, "\\%c", *text == '\n' ? 'n' : *text == '\t' ? 't' : 'r');
    else
        for (size_t i = 0; i < size; i++)
            poly_buffer_printf(out, "\\x%02x", (unsigned char)text[i]);
}

void cli_escape(struct poly_buffer *out, const char *text, size_t size)
{
    while (size > 0) {
        wchar_t wide = 0;
        size_t plain = 0;

        while (plain < size && text[plain] >= 0x20 && text[plain] < 0x7f)
            plain++;
        poly_buffer_add(out, text, plain);
        text += plain;
        size -= plain;
        if (size == 0)
            break;
        size_t used = character(text, size, &wide);

        if (used == 0 || is_control(wide))
            escape_one(out, text, used == 0 ? 1 : used);
        else
            poly_buffer_add(out, text, used);
        text += used == 0 ? 1 : used;
        size -= used == 0 ? 1 : used;
    }
}

static size_t wide_width(wchar_t wide)
{
    static locale_t utf8;

    if (utf8 == (locale_t)0)
        utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 == (locale_t)0 ? (locale_t)0 : uselocale(utf8);
    int width = wcwidth(wide);

    if (before != (locale_t)0)
        uselocale(before);
    return width < 0 ? 1 : (size_t)width;
}

size_t cli_width(const char *text, size_t size)
{
    size_t width = 0;

    while (size > 0) {
        wchar_t wide = 0;
        size_t used = (unsigned char)*text < 0x80 ? 0 : character(text, size, &wide);

        width += used == 0 ? 1 : wide_width(wide);
        text += used == 0 ? 1 : used;
        size -= used == 0 ? 1 : used;
    }
    return width;
}

void cli_print_line(FILE *out, const char *text, size_t size)
{
    struct poly_buffer line;

    poly_buffer_init(&line, 4 * size + 1);
    cli_escape(&line, text, size);
    if (poly_buffer_ok(&line) && line.size > 0)
        fwrite(line.data, 1, line.size, out);
    fputc('\n', out);
    poly_buffer_release(&line);
}

/* --- tables --- */

struct cli_table *cli_table_new(void)
{
    struct cli_table *table = calloc(1, sizeof(*table));

    if (table != NULL)
        table->arena = poly_arena_new(table_memory);
    if (table == NULL || table->arena == NULL) {
        free(table);
        return NULL;
    }
    return table;
}

void cli_table_free(struct cli_table *table)
{
    if (table == NULL)
        return;
    poly_arena_free(table->arena);
    free(table->cells);
    free(table);
}

static void add_cell(struct cli_table *table, const char *text, size_t size, bool number)
{
    struct poly_buffer escaped;

    if (table == NULL || table->failed)
        return;
    if (table->count == table->capacity) {
        size_t capacity = table->capacity == 0 ? 256 : table->capacity * 2;
        struct cell *cells = reallocarray(table->cells, capacity, sizeof(*cells));

        if (cells == NULL) {
            table->failed = true;
            return;
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    poly_buffer_init(&escaped, 4 * size + 1);
    cli_escape(&escaped, text, size);
    char *copy = poly_arena_copy(table->arena, escaped.data, escaped.size);

    table->failed = copy == NULL || !poly_buffer_ok(&escaped);
    if (!table->failed)
        table->cells[table->count++] =
            (struct cell){copy, escaped.size, cli_width(copy, escaped.size), number};
    poly_buffer_release(&escaped);
}

void cli_table_column(struct cli_table *table, const char *name)
{
    if (table == NULL || table->columns == COLUMNS_MAX)
        return;
    add_cell(table, name, strlen(name), false);
    table->columns++;
}

void cli_table_whole(struct cli_table *table)
{
    if (table != NULL)
        table->whole = true;
}

size_t cli_table_columns(const struct cli_table *table)
{
    return table == NULL ? 0 : table->columns;
}

void cli_table_bytes(struct cli_table *table, const char *text, size_t size)
{
    add_cell(table, text, size, false);
}

void cli_table_text(struct cli_table *table, const char *text)
{
    add_cell(table, text == NULL ? "" : text, text == NULL ? 0 : strlen(text), false);
}

void cli_table_number(struct cli_table *table, int64_t number)
{
    char text[24];
    int size = snprintf(text, sizeof(text), "%" PRId64, number);

    add_cell(table, text, (size_t)size, true);
}

void cli_json_text(struct poly_buffer *text, const json_t *json)
{
    if (json == NULL || json_is_null(json))
        return;
    if (json_is_string(json)) {
        poly_buffer_add(text, json_string_value(json), json_string_length(json));
        return;
    }
    char *dump = json_dumps(json, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));

    if (dump == NULL)
        text->failed = true;
    else
        poly_buffer_text(text, dump);
    free(dump);
}

void cli_table_json(struct cli_table *table, const json_t *json)
{
    struct poly_buffer text;

    if (table == NULL)
        return;
    poly_buffer_init(&text, table_memory);
    cli_json_text(&text, json);
    if (!poly_buffer_ok(&text))
        table->failed = true;
    add_cell(table, text.size == 0 ? "" : text.data, text.size, json_is_number(json));
    poly_buffer_release(&text);
}

static size_t terminal_width(FILE *out)
{
    struct winsize size;

    if (!isatty(fileno(out)) || ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return SIZE_MAX;
    return size.ws_col;
}

/* The widest column gives way first. */
static void fit(size_t *widths, size_t columns, size_t room)
{
    size_t total = GAP * (columns - 1);

    for (size_t i = 0; i < columns; i++)
        total += widths[i];
    while (total > room) {
        size_t widest = 0, second = NARROWEST;

        for (size_t i = 1; i < columns; i++)
            if (widths[i] > widths[widest])
                widest = i;
        for (size_t i = 0; i < columns; i++)
            if (i != widest && widths[i] > second && widths[i] < widths[widest])
                second = widths[i];
        if (widths[widest] <= NARROWEST)
            return;

        size_t less = widths[widest] - second;

        less = less == 0 ? 1 : less < total - room ? less : total - room;
        widths[widest] -= less;
        total -= less;
    }
}

/* As many bytes as fit into width - 1 columns: "…" comes after them. */
static size_t cut(const struct cell *cell, size_t width, size_t *used_width)
{
    size_t at = 0, sum = 0;

    while (at < cell->size) {
        wchar_t wide = 0;
        size_t used = character(cell->text + at, cell->size - at, &wide);
        size_t more = used == 0 ? 1 : wide_width(wide);

        if (sum + more > width - 1)
            break;
        sum += more;
        at += used == 0 ? 1 : used;
    }
    *used_width = sum + 1;
    return at;
}

static void pad(FILE *out, size_t count)
{
    while (count-- > 0)
        fputc(' ', out);
}

static void print_cell(FILE *out, const struct cell *cell, size_t width, bool last)
{
    size_t shown = cell->width, bytes = cell->size;

    if (cell->width > width)
        bytes = cut(cell, width, &shown);
    if (cell->number)
        pad(out, width - shown);
    fwrite(cell->text, 1, bytes, out);
    if (cell->width > width)
        fputs("…", out);
    if (!cell->number && !last)
        pad(out, width - shown);
    if (!last)
        pad(out, GAP);
}

static void print_row(FILE *out, const struct cell *cells, const size_t *widths, size_t columns)
{
    size_t last = columns - 1;

    while (last > 0 && cells[last].size == 0)
        last--;
    for (size_t i = 0; i <= last; i++)
        print_cell(out, &cells[i], widths[i], i == last);
    fputc('\n', out);
}

enum poly_status cli_table_print(struct cli_table *table, FILE *out, struct poly_error *err)
{
    size_t widths[COLUMNS_MAX] = {0};

    if (table == NULL || table->failed)
        return poly_no_memory(err);
    if (table->columns == 0)
        return POLY_OK;
    for (size_t i = 0; i < table->count; i++)
        if (table->cells[i].width > widths[i % table->columns])
            widths[i % table->columns] = table->cells[i].width;
    if (!table->whole)
        fit(widths, table->columns, terminal_width(out));
    /* A heading stands over its numbers. */
    for (size_t i = 0; i < table->columns && table->columns + i < table->count; i++)
        table->cells[i].number = table->cells[table->columns + i].number;
    for (size_t i = 0; i + table->columns <= table->count; i += table->columns)
        print_row(out, &table->cells[i], widths, table->columns);
    return POLY_OK;
}

/* --- JSON --- */

const char *cli_json_string(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

int64_t cli_json_integer(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

bool cli_json_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

/* DEL and the C1 controls may stand in JSON as they are; a terminal would obey them. */
static void print_tamed(const unsigned char *bytes, size_t size)
{
    static bool lead; /* the byte before was 0xc2: the first half of U+0080 to U+00BF */

    for (size_t i = 0; i < size; i++) {
        unsigned char c = bytes[i];

        if (lead && c < 0xa0 && c >= 0x80)
            printf("\\u00%02x", c);
        else if (lead)
            printf("\xc2%c", c);
        else if (c == 0x7f)
            fputs("\\u007f", stdout);
        else if (c != 0xc2)
            putchar(c);
        lead = !lead && c == 0xc2;
    }
}

bool cli_print_json(void *arg, const void *bytes, size_t size)
{
    (void)arg;
    if (isatty(STDOUT_FILENO))
        print_tamed(bytes, size);
    else
        fwrite(bytes, 1, size, stdout);
    return ferror(stdout) == 0;
}
