/*
 * What goes to stdout: tables, lines and JSON. Text of tables never holds a
 * control character; JSON on a terminal neither.
 */
#ifndef POLY_CLI_OUTPUT_H
#define POLY_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/buffer.h"
#include "base/status.h"

/* --- tables: cells row by row, left to right; numbers stand right --- */

struct cli_table;

struct cli_table *cli_table_new(void);
void cli_table_free(struct cli_table *table); /* NULL is accepted */
/* Before the first cell. Names live as long as the table. */
void cli_table_column(struct cli_table *table, const char *name);
size_t cli_table_columns(const struct cli_table *table);
void cli_table_text(struct cli_table *table, const char *text); /* NULL: empty */
void cli_table_bytes(struct cli_table *table, const char *text, size_t size);
void cli_table_number(struct cli_table *table, int64_t number);
/* Texts as they are, null as nothing, objects and arrays as JSON. */
void cli_table_json(struct cli_table *table, const json_t *json);
/* Never cut, however wide the terminal is. */
void cli_table_whole(struct cli_table *table);
/* Wide columns are cut to the terminal's width when out is one. POLY_NO_MEMORY: a cell was lost. */
enum poly_status cli_table_print(struct cli_table *table, FILE *out, struct poly_error *err);

/* --- text --- */

/* A JSON value as a table shows it. */
void cli_json_text(struct poly_buffer *text, const json_t *json);
/* Control characters and broken UTF-8 become \n, \t, \xNN. */
void cli_escape(struct poly_buffer *out, const char *text, size_t size);
/* One line: escaped, with a line feed. */
void cli_print_line(FILE *out, const char *text, size_t size);
/* Columns on a terminal of UTF-8 text. */
size_t cli_width(const char *text, size_t size);

/* Members of objects, by name; a missing one is empty, 0, false. */
const char *cli_json_string(const json_t *object, const char *name);
int64_t cli_json_integer(const json_t *object, const char *name);
bool cli_json_true(const json_t *object, const char *name);

/* JSON bytes of an answer to stdout; a struct cli_bytes_fn. */
bool cli_print_json(void *arg, const void *bytes, size_t size);

#endif
