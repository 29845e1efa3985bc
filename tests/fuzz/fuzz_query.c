/* The query language: what is refused says where, what is accepted FTS5 understands, and means
 * the same table whatever stands in it. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "fuzz.h"
#include "stores/search/query.h"

static const char make[] =
    "CREATE VIRTUAL TABLE words USING fts5(c0, c1, tokenize='porter unicode61');"
    "CREATE VIRTUAL TABLE letters USING fts5(c0, c1, tokenize='trigram');"
    "CREATE TABLE untouched(x); INSERT INTO untouched VALUES(1);"
    "INSERT INTO words VALUES('a b c','d e f OR AND NOT'),('g','a');"
    "INSERT INTO letters VALUES('abc def','ghi'),('jkl','abc');";

static sqlite3 *database(void)
{
    static sqlite3 *db;

    if (db == NULL) {
        poly_assert(sqlite3_open(":memory:", &db) == SQLITE_OK);
        poly_assert(sqlite3_exec(db, make, NULL, NULL, NULL) == SQLITE_OK);
    }
    return db;
}

/* FTS5 takes it, whatever it finds. */
static void match(const char *sql, const char *expression)
{
    sqlite3_stmt *statement;
    int code;

    poly_assert(sqlite3_prepare_v2(database(), sql, -1, &statement, NULL) == SQLITE_OK);
    sqlite3_bind_text(statement, 1, expression, -1, SQLITE_STATIC);
    code = sqlite3_step(statement);
    poly_assert(code == SQLITE_ROW);
    sqlite3_finalize(statement);
}

/* Quotes come in pairs, and outside of them stands nothing but what we print. */
static void check_quoting(const char *expression)
{
    bool inside = false;

    for (const char *s = expression; *s != '\0'; s++) {
        if (*s == '"')
            inside = !inside;
        else if (!inside)
            poly_assert(strchr("() ANDORTc01:*", *s) != NULL);
    }
    poly_assert(!inside);
}

static void check_tree(const struct poly_query *query, const char *text)
{
    struct poly_buffer out;
    int columns[POLY_MAX_QUERY_TERMS];
    size_t order[POLY_MAX_QUERY_TERMS], count;

    poly_assert(query->term_count > 0 && query->term_count <= POLY_MAX_QUERY_TERMS);
    for (size_t i = 0; i < query->term_count; i++) {
        const struct poly_query_node *term = query->terms[i];

        poly_assert(term->position >= 0 && (size_t)term->position < strlen(text));
        /* Not all words can be everywhere; which, the text says. */
        columns[i] = term->field != NULL ? (int)(term->text.size % 2) : POLY_QUERY_ANY;
        if (term->text.data[0] % 5 == 0)
            columns[i] = POLY_QUERY_NOWHERE;
    }
    poly_buffer_init(&out, 1 << 20);
    count = poly_query_print(query, columns, &out, order);
    poly_assert(poly_buffer_ok(&out) && count <= query->term_count);
    if (count > 0) {
        check_quoting(out.data);
        match("SELECT count(*) FROM words WHERE words MATCH ?1", out.data);
        match("SELECT count(*) FROM letters WHERE letters MATCH ?1", out.data);
    }
    for (size_t i = 0; i < count; i++)
        poly_assert(order[i] < query->term_count && columns[order[i]] != POLY_QUERY_NOWHERE);
    poly_buffer_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct poly_arena *arena = poly_arena_new(1 << 20);
    struct poly_error err = {.position = -2};
    struct poly_query *query = NULL;
    char *text = malloc(size + 1);
    enum poly_status status;

    poly_assert(arena != NULL && text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    status = poly_query_parse(text, arena, &query, &err);
    if (status == POLY_OK) {
        check_tree(query, text);
    } else {
        poly_assert(status == POLY_INVALID && query == NULL);
        poly_assert(err.position >= 0 && (size_t)err.position <= strlen(text));
        poly_assert(strncmp(err.message, "query: ", 7) == 0);
    }
    poly_arena_free(arena);
    free(text);
    return 0;
}
