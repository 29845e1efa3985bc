/* The side of sqlite-vec: a table of vectors in memory, searched from end to end. The extension is
 * named by the environment: SQLITE_VEC. */
#include "vector_side.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static sqlite3 *database;
static sqlite3_stmt *nearest;
static size_t vector_bytes;

static void must(int code, int wanted)
{
    if (code != wanted) {
        fprintf(stderr, "sqlite-vec: %s\n", sqlite3_errmsg(database));
        exit(1);
    }
}

static void build(const struct vector_set *set)
{
    char table[80];
    sqlite3_stmt *insert;

    vector_bytes = set->dimensions * sizeof(float);
    must(sqlite3_open(":memory:", &database), SQLITE_OK);
    must(sqlite3_enable_load_extension(database, 1), SQLITE_OK);
    must(sqlite3_load_extension(database, getenv("SQLITE_VEC"), "sqlite3_vec_init", NULL),
         SQLITE_OK);
    snprintf(table, sizeof(table), "CREATE VIRTUAL TABLE v USING vec0(e float[%u]); BEGIN",
             set->dimensions);
    must(sqlite3_exec(database, table, NULL, NULL, NULL), SQLITE_OK);
    must(sqlite3_prepare_v2(database, "INSERT INTO v(rowid, e) VALUES(?, ?)", -1, &insert, NULL),
         SQLITE_OK);
    for (uint32_t i = 0; i < set->count; i++) {
        sqlite3_bind_int64(insert, 1, i);
        sqlite3_bind_blob(insert, 2, set->base + (size_t)i * set->dimensions, (int)vector_bytes,
                          SQLITE_STATIC);
        must(sqlite3_step(insert), SQLITE_DONE);
        must(sqlite3_reset(insert), SQLITE_OK);
    }
    sqlite3_finalize(insert);
    must(sqlite3_exec(database, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    must(sqlite3_prepare_v2(database, "SELECT rowid FROM v WHERE e MATCH ? AND k = 10", -1,
                            &nearest, NULL),
         SQLITE_OK);
}

static uint64_t bytes(void)
{
    return (uint64_t)sqlite3_memory_used();
}

/* Exact, without filters. */
static uint64_t search(const float *query, uint32_t ef, uint32_t permille, uint32_t *ids)
{
    int code;
    size_t count = 0;

    (void)ef;
    (void)permille;
    sqlite3_bind_blob(nearest, 1, query, (int)vector_bytes, SQLITE_STATIC);
    while ((code = sqlite3_step(nearest)) == SQLITE_ROW && count < VECTOR_K)
        ids[count++] = (uint32_t)sqlite3_column_int64(nearest, 0);
    must(code, SQLITE_DONE);
    must(sqlite3_reset(nearest), SQLITE_OK);
    while (count < VECTOR_K)
        ids[count++] = UINT32_MAX;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct vector_side side = {.build = build, .bytes = bytes, .search = search};

    return vector_main(argc, argv, &side);
}
