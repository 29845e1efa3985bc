/* Workloads with tables: triggers, large row images, migrations, retention. */
#include <string.h>

#include "base/clock.h"
#include "owners/embedded/embedded.h"
#include "core/inside.h"
#include "crash.h"
#include "crash_more.h"

#define NOTE "  note: {table: notes, tenant: none, search: {fields: [title, body]}}\n"
#define STREAMS                                                                                    \
    "  step: {stream: step, search: {fields: [text]}}\n"                                           \
    "  other: {stream: other, search: {fields: [text]}}\n"
#define FOLLOWER "stores: {search: {driver: embedded, placement: follower}}\n"

static const char colocated[] = "domains:\n" NOTE STREAMS;
static const char followed[] = FOLLOWER "domains:\n" NOTE STREAMS;
static const char retaining[] = "log: {change_retention: 1h}\ndomains:\n" NOTE STREAMS;
static const char retaining_followed[] =
    "log: {change_retention: 1h}\n" FOLLOWER "domains:\n" NOTE STREAMS;

static const char tables[] =
    "CREATE TABLE notes(id TEXT PRIMARY KEY, title TEXT NOT NULL, body TEXT, n INTEGER NOT NULL);\n"
    "CREATE TABLE totals(id INTEGER PRIMARY KEY, total INTEGER NOT NULL);\n"
    "INSERT INTO totals VALUES (1, 0);\n";

static enum poly_status seed(struct crash_run *run)
{
    struct poly_migrations migrations;

    lab_file_write(run->data, "0001_tables.sql", tables);
    return poly_migrate_up(run->session, run->data, &migrations, &run->err);
}

/* --- steps --- */

static enum poly_status put(struct crash_run *run, struct poly_txn *txn, const char *key,
                            unsigned number)
{
    static char body[10000];
    char title[64];

    memset(body, 'y', sizeof(body) - 1);
    if (number % 2 == 1) /* the others are kept once, and move to history when they change */
        body[10] = '\0';
    snprintf(title, sizeof(title), "all of step %u", number);

    struct poly_field fields[] = {{"title", poly_str(title)},
                                  {"body", poly_str(body)},
                                  {"n", poly_int(number)}};
    struct poly_row row = {fields, 3};

    return poly_put(txn, "note", key, &row, POLY_ANY, &run->err);
}

static enum poly_status fill_txn(struct crash_run *run, struct poly_txn *txn, unsigned number)
{
    struct poly_value value = poly_int(number);
    char key[32];
    enum poly_status status = crash_add(run, txn, "step-1", number, 1);

    snprintf(key, sizeof(key), "k%u", number % 3);
    if (status == POLY_OK)
        status = put(run, txn, key, number);
    snprintf(key, sizeof(key), "t%u", number);
    if (status == POLY_OK)
        status = put(run, txn, key, number);
    snprintf(key, sizeof(key), "t%u", number - 1);
    if (status == POLY_OK && number > 1)
        status = poly_delete(txn, "note", key, POLY_ANY, &run->err);
    if (status == POLY_OK)
        status = poly_txn_sql(txn, "UPDATE totals SET total = total + ?1", &value, 1, NULL, NULL,
                              &run->err);
    return status == POLY_OK ? crash_add(run, txn, "other-1", number, 2) : status;
}

static enum poly_status step(struct crash_run *run, unsigned number)
{
    struct poly_txn *txn;
    enum poly_status status = poly_txn_begin(run->session, NULL, &txn, &run->err);

    if (status != POLY_OK)
        return status;
    status = fill_txn(run, txn, number);
    if (status == POLY_OK)
        return poly_txn_commit(txn, NULL, &run->err);
    poly_txn_abort(txn);
    return status;
}

static enum poly_status retention_step(struct crash_run *run, unsigned number)
{
    enum poly_status status;

    poly_clock_shift((int64_t)number * 7200 * 1000000);
    status = step(run, number);
    if (status == POLY_OK && number % 2 == 0)
        poly_embedded_retain(run->instance->owner);
    poly_clock_shift(0);
    return status;
}

/* --- what must be there --- */

static bool number_is(struct crash_run *run, const char *sql, int64_t wanted)
{
    int64_t is = lab_foreign_number(run->data, sql);

    if (is == wanted)
        return true;
    return crash_wrong(run, "%lld, not %lld: %s", (long long)is, (long long)wanted, sql);
}

static const char unlike_the_log[] =
    "WITH live AS (SELECT key, data FROM poly_log AS l WHERE domain = 'note' AND type = '$put' AND"
    " position = (SELECT max(position) FROM poly_log WHERE domain = 'note' AND key = l.key))"
    " SELECT (SELECT count(*) FROM notes WHERE id NOT IN (SELECT key FROM live)) +"
    " (SELECT count(*) FROM live WHERE key NOT IN (SELECT id FROM notes)) +"
    " (SELECT count(*) FROM notes JOIN live ON live.key = notes.id WHERE typeof(data) = 'text'"
    " AND json_extract(data, '$.n') != n)";

/* The tables, the streams and the log tell of the same steps. */
static bool check(struct crash_run *run, uint64_t done)
{
    char sql[200];

    for (uint64_t i = done; i > 0 && i + 3 > done; i--) {
        snprintf(sql, sizeof(sql), "SELECT n FROM notes WHERE id = 'k%llu'",
                 (unsigned long long)(i % 3));
        if (!number_is(run, sql, (int64_t)i))
            return false;
    }
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM notes WHERE id = 't%llu'",
             (unsigned long long)done);
    if (!number_is(run, sql, done > 0))
        return false;
    return number_is(run, "SELECT count(*) FROM notes",
                     (int64_t)(done < 3 ? done : 3) + (done > 0)) &&
           number_is(run, "SELECT total FROM totals", (int64_t)(done * (done + 1) / 2)) &&
           number_is(run, unlike_the_log, 0) &&
           number_is(run, "SELECT count(*) FROM poly_writing", 0) &&
           crash_stream_is(run, "other-1", done * 2);
}

static bool gate_is_shut(struct crash_run *run, uint64_t done)
{
    return check(run, done) &&
           number_is(run,
                     "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"
                     " AND name IN ('poly_log_update', 'poly_log_delete')",
                     2);
}

/* --- migrations --- */

static enum poly_status migrations_seed(struct crash_run *run)
{
    lab_file_write(run->data, "0001_tables.sql", tables);
    lab_file_write(run->data, "0002_more.sql",
                   "ALTER TABLE notes ADD COLUMN more TEXT;\n"
                   "INSERT INTO notes(id, title, n) VALUES ('m1', 'all one', 1),"
                   " ('m2', 'all two', 2);\n");
    lab_file_write(run->data, "0003_last.sql",
                   "UPDATE notes SET n = n + 10;\n"
                   "DELETE FROM notes WHERE id = 'm2';\n"
                   "CREATE TABLE last(id INTEGER PRIMARY KEY);\n");
    return POLY_OK;
}

static enum poly_status migrations_work(struct crash_run *run)
{
    struct poly_migrations migrations;

    return poly_migrate_up(run->session, run->data, &migrations, &run->err);
}

/* Each file whole or not at all, and only what is noted as applied. */
static bool migrations_check(struct crash_run *run, uint64_t done)
{
    static const char tables_there[] =
        "SELECT (SELECT count(*) FROM sqlite_schema WHERE name IN ('notes', 'totals')) * 10 +"
        " (SELECT count(*) FROM pragma_table_info('notes') WHERE name = 'more') * 100 +"
        " (SELECT count(*) FROM sqlite_schema WHERE name = 'last') * 1000";
    static const int64_t wanted[] = {0, 20, 120, 1120};
    struct poly_migrations migrations;
    size_t applied = 0;

    (void)done;
    if (poly_migrate_status(run->session, run->data, &migrations, &run->err) != POLY_OK)
        return crash_wrong(run, "migrate status: %s", run->err.message);
    for (size_t i = 0; i < migrations.count; i++) {
        if (migrations.migrations[i].applied && applied != i)
            return crash_wrong(run, "migration %zu is applied, one before it is not", i + 1);
        applied += migrations.migrations[i].applied;
    }
    if (!number_is(run, tables_there, wanted[applied]))
        return false;
    if (migrations_work(run) != POLY_OK)
        return crash_wrong(run, "migrate up again: %s", run->err.message);
    return number_is(run, tables_there, 1120) &&
           number_is(run, "SELECT group_concat(n) FROM notes", 11) &&
           number_is(run, unlike_the_log, 0);
}

/* --- the list --- */

const struct crash_workload crash_records = {
    .name = "records", .config = colocated, .steps = 8, .seed = seed, .step = step, .check = check};
const struct crash_workload crash_records_followed = {.name = "records, follower",
                                                      .config = followed,
                                                      .steps = 8,
                                                      .seed = seed,
                                                      .step = step,
                                                      .check = check};
const struct crash_workload crash_records_recovery = {.name = "records, recovery",
                                                      .config = followed,
                                                      .steps = 8,
                                                      .from_open = true,
                                                      .unclean = true,
                                                      .seed = seed,
                                                      .step = step,
                                                      .check = check};
const struct crash_workload crash_retention = {.name = "retention of records",
                                               .config = retaining,
                                               .steps = 6,
                                               .seed = seed,
                                               .step = retention_step,
                                               .check = gate_is_shut};
const struct crash_workload crash_retention_followed = {.name = "retention, follower",
                                                        .config = retaining_followed,
                                                        .steps = 6,
                                                        .seed = seed,
                                                        .step = retention_step,
                                                        .check = gate_is_shut};
const struct crash_workload crash_migrations = {.name = "migrations",
                                                .config = colocated,
                                                .from_open = true,
                                                .seed = migrations_seed,
                                                .work = migrations_work,
                                                .check = migrations_check};
