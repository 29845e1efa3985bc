/*
 * Records as they stand in the file, which other programs write too and disks
 * damage: any value in any column. A column is a letter and what follows it:
 * n null, i and r eight bytes of a number, t and b a byte of length and so many
 * bytes, T and B the same with two bytes of length; at the end, nulls. The last
 * is the salt. What must hold: a copy is the same record, and whatever stands
 * in a record, what we say of it is one line of JSON.
 */
#include <jansson.h>
#include <sqlite3.h>
#include <string.h>

#include "api/context.h"
#include "base/assert.h"
#include "core/chain.h"
#include "owners/embedded/log.h"
#include "fuzz.h"

enum { COLUMNS = 11 };

struct input {
    const uint8_t *at, *end;
};

static sqlite3_stmt *any_row(void)
{
    static sqlite3_stmt *row;
    sqlite3 *db;

    if (row == NULL) {
        poly_assert(sqlite3_open(":memory:", &db) == SQLITE_OK);
        poly_assert(sqlite3_prepare_v2(db, "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11",
                                       -1, &row, NULL) == SQLITE_OK);
    }
    return row;
}

static uint64_t number(struct input *input, int bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < bytes && input->at < input->end; i++)
        value |= (uint64_t)*input->at++ << (8 * i);
    return value;
}

static const char *piece(struct input *input, int bytes, int *size)
{
    const char *start;
    size_t wanted = (size_t)number(input, bytes), left;

    start = (const char *)input->at;
    left = (size_t)(input->end - input->at);
    *size = (int)(wanted < left ? wanted : left);
    input->at += *size;
    return start;
}

static void bind(sqlite3_stmt *row, int column, struct input *input)
{
    int kind = input->at < input->end ? *input->at++ : 'n', size;
    const char *bytes;
    uint64_t bits;
    double real;

    switch (kind) {
    case 'i':
        sqlite3_bind_int64(row, column, (int64_t)number(input, 8));
        break;
    case 'r':
        bits = number(input, 8);
        memcpy(&real, &bits, sizeof(real));
        sqlite3_bind_double(row, column, real);
        break;
    case 't':
    case 'T':
        bytes = piece(input, kind == 't' ? 1 : 2, &size);
        sqlite3_bind_text(row, column, bytes, size, SQLITE_STATIC);
        break;
    case 'b':
    case 'B':
        bytes = piece(input, kind == 'b' ? 1 : 2, &size);
        sqlite3_bind_blob(row, column, bytes, size, SQLITE_STATIC);
        break;
    default:
        sqlite3_bind_null(row, column);
    }
}

static void check_copy(const struct poly_record *record, const uint8_t *salt, size_t salt_size)
{
    struct poly_arena *arena = poly_arena_new(64 << 20);
    uint8_t leaf[POLY_LEAF], again[POLY_LEAF];
    struct poly_record copy;

    poly_assert(arena != NULL && poly_record_copy(arena, record, &copy));
    poly_seal_leaf(record, salt, salt_size, leaf);
    poly_seal_leaf(&copy, salt, salt_size, again);
    poly_assert(memcmp(leaf, again, POLY_LEAF) == 0);
    poly_arena_free(arena);
}

static void check_printed(const struct poly_record *record)
{
    struct poly_buffer out;
    json_t *json;

    poly_buffer_init(&out, 64 << 20);
    api_put_record(&out, record);
    poly_assert(poly_buffer_ok(&out) && memchr(out.data, '\n', out.size) == NULL);
    json = json_loadb(out.data, out.size, JSON_ALLOW_NUL, NULL);
    poly_assert(json_is_object(json));
    json_decref(json);
    poly_buffer_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    sqlite3_stmt *row = any_row();
    struct poly_record record;
    bool large;

    for (int i = 1; i <= COLUMNS; i++)
        bind(row, i, &input);
    poly_assert(sqlite3_step(row) == SQLITE_ROW);
    poly_log_row(row, &record, &large);
    poly_assert(!large || record.data.type == POLY_NULL);
    check_copy(&record, sqlite3_column_blob(row, 10), (size_t)sqlite3_column_bytes(row, 10));
    check_printed(&record);
    sqlite3_reset(row);
    sqlite3_clear_bindings(row);
    return 0;
}
