/*
 * Nanoseconds to read a record by its key, in process, everything in memory.
 *
 *   bench-record polystore|sqlite RECORDS SECONDS FOLDER
 *
 * The peer is one prepared SELECT on the same database: no version, no tenant, no token.
 */
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#include "common.h"
#include "polystore.h"

static const char config[] = "domains:\n"
                             "  items:\n"
                             "    table: items\n"
                             "    tenant: none\n";
static const char table[] = "CREATE TABLE IF NOT EXISTS items(id TEXT PRIMARY KEY, name TEXT,"
                            " price REAL, stock INTEGER, note TEXT) WITHOUT ROWID;";
static const char select_one[] = "SELECT id, name, price, stock, note FROM items WHERE id = ?1";

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[4200];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
        BENCH_DIE("%s: cannot be written", path);
}

static void put_items(struct poly_session *session, unsigned first, unsigned count)
{
    struct poly_error err;
    struct poly_txn *txn;

    BENCH_OK(poly_txn_begin(session, NULL, &txn, &err));
    for (unsigned i = first; i < first + count; i++) {
        char key[32], name[32];

        snprintf(key, sizeof(key), "item-%08u", i);
        snprintf(name, sizeof(name), "Item number %u", i);
        struct poly_field fields[] = {
            {"name", poly_str(name)},
            {"price", poly_float(i * 0.25)},
            {"stock", poly_int(i % 1000)},
            {"note", poly_str("kept beside the window, away from the light of the sun")}};
        struct poly_row row = {fields, 4};

        BENCH_OK(poly_put(txn, "items", key, &row, POLY_ANY, &err));
    }
    BENCH_OK(poly_txn_commit(txn, NULL, &err));
    poly_session_reset(session);
}

/* Makes the table and its records, unless they are there from an earlier run. */
static void prepare(struct poly_session *session, const char *folder, unsigned records)
{
    struct poly_migrations migrations;
    struct poly_document document;
    struct poly_error err;
    char migrate[4096];

    snprintf(migrate, sizeof(migrate), "%s/migrations", folder);
    mkdir(migrate, 0755);
    write_file(migrate, "0001_items.sql", table);
    BENCH_OK(poly_migrate_up(session, migrate, &migrations, &err));
    if (poly_get(session, "items", "item-00000000", &document, &err) == POLY_OK)
        return;
    for (unsigned first = 0; first < records; first += 1000)
        put_items(session, first, 1000);
}

static unsigned next(unsigned *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static double run_polystore(struct poly_session *session, unsigned records, double seconds)
{
    struct poly_document document;
    struct poly_error err;
    unsigned long reads = 0;
    unsigned seed = 1;
    char key[32];
    double begin = bench_now(), end;

    do {
        for (int i = 0; i < 1000; i++) {
            snprintf(key, sizeof(key), "item-%08u", next(&seed) % records);
            BENCH_OK(poly_get(session, "items", key, &document, &err));
            if (document.row.count < 4)
                BENCH_DIE("%zu columns", document.row.count);
            poly_session_reset(session);
        }
        reads += 1000;
        end = bench_now();
    } while (end - begin < seconds);
    return (end - begin) * 1e9 / (double)reads;
}

static size_t read_row(sqlite3_stmt *get, const char *key)
{
    size_t bytes = 0;

    sqlite3_bind_text(get, 1, key, -1, SQLITE_STATIC);
    if (sqlite3_step(get) != SQLITE_ROW)
        BENCH_DIE("plain SQLite: no '%s'", key);
    for (int column = 0; column < 5; column++) {
        if (column == 2)
            bytes += sqlite3_column_double(get, column) > 0;
        else if (column == 3)
            bytes += sqlite3_column_int64(get, column) > 0;
        else
            bytes += strlen((const char *)sqlite3_column_text(get, column));
    }
    sqlite3_reset(get);
    return bytes;
}

static double run_sqlite(const char *folder, unsigned records, double seconds)
{
    unsigned long reads = 0;
    size_t bytes = 0;
    unsigned seed = 1;
    char text[4096];
    sqlite3 *db;
    sqlite3_stmt *get;

    snprintf(text, sizeof(text), "%s/data/polystore.db", folder);
    if (sqlite3_open_v2(text, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, select_one, -1, &get, NULL) != SQLITE_OK)
        BENCH_DIE("%s: %s", text, sqlite3_errmsg(db));
    double begin = bench_now(), end;

    do {
        for (int i = 0; i < 1000; i++) {
            snprintf(text, 32, "item-%08u", next(&seed) % records);
            bytes += read_row(get, text);
        }
        reads += 1000;
        end = bench_now();
    } while (end - begin < seconds);
    if (bytes == 0)
        BENCH_DIE("nothing was read");
    sqlite3_finalize(get);
    sqlite3_close(db);
    return (end - begin) * 1e9 / (double)reads;
}

int main(int argc, char **argv)
{
    struct poly_session_options admin = {.rights = POLY_RIGHTS_ALL};
    char data[4096];
    struct poly_options options = {.config_text = config, .data = data};
    struct poly_instance *instance;
    struct poly_session *session;
    struct poly_error err;

    if (argc != 5)
        BENCH_DIE("bench-record polystore|sqlite RECORDS SECONDS FOLDER");
    unsigned records = (unsigned)strtoul(argv[2], NULL, 10) / 1000 * 1000;
    double seconds = strtod(argv[3], NULL);

    mkdir(argv[4], 0755);
    snprintf(data, sizeof(data), "%s/data", argv[4]);
    BENCH_OK(poly_open(&options, &instance, &err));
    BENCH_OK(poly_session_open(instance, &admin, &session, &err));
    prepare(session, argv[4], records);
    printf("%.0f\n", strcmp(argv[1], "polystore") == 0 ? run_polystore(session, records, seconds)
                                                       : run_sqlite(argv[4], records, seconds));
    poly_session_close(session);
    poly_close(instance);
    return 0;
}
