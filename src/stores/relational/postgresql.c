/*
 * Reads and writes of one record. Everything that an operation needs goes out
 * together, and what a batch writes goes out together, too: one round trip.
 *
 * A read fetches the row and its version in one statement, on one snapshot: they
 * cannot disagree. A write is a statement that changes the row, and one that reads
 * the position of the record that the trigger has just written. A write that expects a version
 * locks the row first, and looks at the version in the statement after that: a
 * snapshot from before the lock would show what the row was while somebody else was
 * changing it. That nobody else makes an absent row rests on its primary key.
 *
 * A pipeline cannot ask "and if there was none?", so what must not happen is an
 * error that the server raises: PL001, another version; PL003, no row.
 */
#include <stdio.h>
#include <string.h>

#include "polystore/events.h"
#include "stores/relational/postgresql.h"
#include "stores/relational/view.h"

enum { NOT_CHANGED = -1 };

/* The record's last position, whether this transaction wrote it, and the last one it wrote. */
static const char sql_version[] =
    "SELECT position, mine, CASE WHEN mine THEN currval('poly.log_position') END FROM"
    " (SELECT position, coalesce(txn = pg_current_xact_id_if_assigned()::text::bigint, false)"
    "  AS mine FROM poly.log WHERE domain = $1 AND tenant = $2 AND key = $3 AND version IS NULL"
    "  ORDER BY position DESC LIMIT 1) AS l";
/* The same where a vector was written: an error, when its model is another one by now. It is asked
 * after the write, which a change of model waits for or makes wait. */
#define VERSION_MODEL(expected)                                                                    \
    "SELECT position, mine, CASE WHEN mine THEN currval('poly.log_position') END,"                 \
    " poly.models($1, " expected ") FROM"                                                          \
    " (SELECT position, coalesce(txn = pg_current_xact_id_if_assigned()::text::bigint, false)"     \
    "  AS mine FROM poly.log WHERE domain = $1 AND tenant = $2 AND key = $3 AND version IS NULL"   \
    "  ORDER BY position DESC LIMIT 1) AS l"
static const char sql_version_model[] = VERSION_MODEL("$4");
/* Or when it was one of a collection, and another of its name is there by now. */
static const char sql_version_made[] =
    VERSION_MODEL("CASE WHEN EXISTS (SELECT 1 FROM poly.collection WHERE name = $1 AND since = $5)"
                  " THEN $4 ELSE 9223372036854775807 END");
static const char sql_made_model[] = "SELECT currval('poly.log_position'), true,"
                                     " currval('poly.log_position'), poly.models($1, $2)";
/* Of a row whose key the server has made. */
static const char sql_made[] = "SELECT currval('poly.log_position'), true,"
                               " currval('poly.log_position')";

/* --- reading --- */

static void add_record(struct poly_pg_params *params, const struct poly_table *table,
                       struct poly_text tenant, const struct poly_record_key *key)
{
    poly_pg_add(params, &key->value);
    poly_pg_add_text(params, tenant);
    poly_pg_add_text(params, key->text);
    if (table->domain->tenant != NULL)
        poly_pg_add_text(params, tenant);
}

static enum poly_status read_row(const struct poly_table *table, const PGresult *rows,
                                 struct poly_arena *arena, struct poly_document *document,
                                 struct poly_error *err)
{
    struct poly_field *fields = poly_arena_array(arena, table->column_count, sizeof(*fields));

    if (fields == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < table->column_count; i++) {
        enum poly_status status =
            poly_postgresql_value(rows, 0, (int)i + 1, arena, &fields[i].value, err);

        if (status == POLY_OK)
            status = poly_column_show(table, i, arena, &fields[i].value, err);
        if (status != POLY_OK)
            return status;
        fields[i].name = table->columns[i].name;
    }
    document->version = (uint64_t)poly_pg_int(rows, 0, 0);
    document->row = (struct poly_row){fields, table->column_count};
    return POLY_OK;
}

/* The table is not what it was: somebody has altered it since the schema was read. */
static enum poly_status altered(const struct poly_table *table, const struct poly_pg *pg,
                                enum poly_status status, struct poly_error *err)
{
    if (status == POLY_INVALID && poly_pg_unfit(pg))
        status = POLY_UNAVAILABLE;
    return poly_fail_in(err, status, "domain '%s'", table->domain->name);
}

static enum poly_status postgresql_get(struct poly_db *db, const struct poly_table *table,
                                       struct poly_text tenant, const struct poly_record_key *key,
                                       struct poly_arena *arena, struct poly_document *document,
                                       struct poly_error *err)
{
    struct poly_pg_params params;
    struct poly_document found;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    add_record(&params, table, tenant, key);
    status = poly_pg_run(poly_pg_of(db), poly_postgresql_table(table)->get, &params, &rows, err);
    if (status != POLY_OK)
        return altered(table, poly_pg_of(db), status, err);
    if (PQntuples(rows) == 0)
        status = poly_record_none(table, key, err);
    else
        status = read_row(table, rows, arena, &found, err);
    PQclear(rows);
    if (status != POLY_OK)
        return status;
    found.key.data = poly_arena_copy(arena, key->text.data, key->text.size);
    found.key.size = key->text.size;
    if (found.key.data == NULL)
        return poly_no_memory(err);
    *document = found;
    return POLY_OK;
}

/* --- what went wrong, in our words --- */

/* "(a, b)=(1, 2) …" of a detail: a, b. */
static void column_names(const char *detail, char *out, size_t size)
{
    const char *from = strchr(detail, '('), *to = from == NULL ? NULL : strstr(from, ")=(");

    snprintf(out, size, "%.*s", to == NULL ? 0 : (int)(to - from - 1), to == NULL ? "" : from + 1);
}

static enum poly_status explain_version(const struct poly_record_operation *op,
                                        const struct poly_pg *pg, struct poly_error *err)
{
    const char *detail = poly_pg_detail(pg);
    long long version = 0;

    if (detail[0] != '-' && sscanf(detail, "%lld", &version) != 1)
        version = 0;
    return poly_record_expect(op, detail[0] != '-', (uint64_t)version, err);
}

static enum poly_status explain_unique(const struct poly_record_operation *op,
                                       const struct poly_pg *pg, struct poly_error *err)
{
    char names[200];

    column_names(poly_pg_detail(pg), names, sizeof(names));
    return poly_fail(err, POLY_EXISTS, "domain '%s': there is a record with this '%s' already",
                     op->table->domain->name, names[0] == '\0' ? poly_pg_constraint(pg) : names);
}

/* Another tenant has the key (in the words of any other collision), or somebody has just made it.
 */
static enum poly_status explain_none(const struct poly_record_operation *op, struct poly_error *err)
{
    const struct poly_table *table = op->table;

    if (op->verb != POLY_VERB_PUT)
        return poly_record_none(table, &op->key, err);
    if (op->if_version == 0 && (table->domain->tenant == NULL || table->tenant_in_key))
        return poly_fail(err, POLY_CONFLICT, "domain '%s': record '%.*s' exists, none was expected",
                         table->domain->name, (int)op->key.text.size, op->key.text.data);
    return poly_fail(err, POLY_EXISTS, "domain '%s': there is a record with this '%s' already",
                     table->domain->name, table->columns[table->key].name);
}

static enum poly_status explain_constraint(const struct poly_record_operation *op,
                                           const struct poly_pg *pg, enum poly_status status,
                                           struct poly_error *err)
{
    const char *state = poly_pg_state(pg), *domain = op->table->domain->name;

    if (strcmp(state, "23505") == 0)
        return explain_unique(op, pg, err);
    if (strcmp(state, "23502") == 0)
        return poly_fail(err, POLY_INVALID, "domain '%s': column '%s' must have a value", domain,
                         poly_pg_column(pg));
    if (strcmp(state, "23503") == 0)
        return poly_fail(err, POLY_INVALID,
                         "domain '%s': a record that is referred to does not exist, or this one is "
                         "still referred to (foreign key)",
                         domain);
    if (strcmp(state, "23514") == 0)
        return poly_fail(err, POLY_INVALID, "domain '%s': CHECK constraint failed: %s", domain,
                         poly_pg_constraint(pg));
    return poly_fail_in(err, status, "domain '%s'", domain);
}

static enum poly_status explain(const struct poly_record_operation *op, const struct poly_pg *pg,
                                enum poly_status status, struct poly_error *err)
{
    const char *state = poly_pg_state(pg);

    if (strcmp(state, "PL001") == 0)
        return explain_version(op, pg, err);
    if (strcmp(state, "PL003") == 0)
        return explain_none(op, err);
    if (strcmp(state, "PL004") == 0)
        return poly_record_other_model(op, err);
    if (poly_pg_unfit(pg))
        return altered(op->table, pg, status, err);
    return explain_constraint(op, pg, status, err);
}

/* --- writing --- */

/* What did not fit the table runs again (transaction.c of the owner), on what it is now. */
static enum poly_status refreshed(const struct poly_write *write, enum poly_status status)
{
    if (status == POLY_UNAVAILABLE && poly_pg_unfit(poly_pg_of(write->db)))
        poly_postgresql_refresh(poly_instance_relational(write->instance));
    return status;
}

static bool expects(const struct poly_record_operation *op)
{
    return op->if_version != POLY_ANY && poly_control_version && !op->key_made;
}

static struct poly_text tenant_of(const struct poly_record_operation *op)
{
    return op->table->domain->tenant == NULL ? (struct poly_text){"", 0} : op->tenant;
}

/* Locks the row, then (with a snapshot of its own) compares the version. */
static enum poly_status queue_expect(const struct poly_record_operation *op, struct poly_pg *pg,
                                     struct poly_error *err)
{
    const struct poly_postgresql_table *self = poly_postgresql_table(op->table);
    struct poly_pg_params params;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add(&params, &op->key.value);
    if (self->tenant_sql != NULL)
        poly_pg_add_text(&params, op->tenant);
    status =
        poly_pg_queue(pg, op->verb == POLY_VERB_CHECK ? self->share : self->lock, &params, err);
    if (status != POLY_OK)
        return status;
    poly_pg_params(&params);
    add_record(&params, op->table, tenant_of(op), &op->key);
    poly_pg_add_int(&params, expects(op) ? op->if_version : POLY_ANY);
    return poly_pg_queue(pg, self->expect, &params, err);
}

/* For each column whether it is given (some), and its value. */
static void add_values(struct poly_pg_params *params, const struct poly_record_operation *op,
                       bool some)
{
    const struct poly_postgresql_table *self = poly_postgresql_table(op->table);
    bool patch = op->verb == POLY_VERB_PATCH;

    for (size_t i = 0; i < op->table->column_count; i++) {
        if (op->table->columns[i].generated)
            continue;
        if (patch && (i == op->table->key || self->columns[i].always))
            continue;
        if (some && i != op->table->key)
            poly_pg_add_bool(params, op->given[i]);
        if (op->given[i])
            poly_pg_add(params, &op->values[i]);
        else
            poly_pg_add_null(params);
    }
}

static enum poly_status queue_change(const struct poly_record_operation *op,
                                     struct poly_write *write, struct poly_error *err)
{
    const struct poly_postgresql_table *self = poly_postgresql_table(op->table);
    int room = 4 + 2 * (int)op->table->column_count;
    struct poly_pg_param *memory = poly_arena_array(write->arena, (size_t)room, sizeof(*memory));
    struct poly_pg_params params;
    const char *sql = self->remove;

    if (memory == NULL)
        return poly_no_memory(err);
    poly_pg_params_in(&params, memory, room);
    if (op->verb == POLY_VERB_PUT)
        poly_pg_add_bool(&params, op->if_version != 0 || !poly_control_version);
    else
        poly_pg_add(&params, &op->key.value);
    if (self->tenant_sql != NULL)
        poly_pg_add_text(&params, op->tenant);
    if (op->verb == POLY_VERB_PUT) {
        sql = op->all ? self->put_all : self->put_some;
        add_values(&params, op, !op->all);
    } else if (op->verb == POLY_VERB_PATCH) {
        sql = self->patch;
        add_values(&params, op, true);
    }
    return poly_pg_queue(poly_pg_of(write->db), sql, &params, err);
}

static enum poly_status queue_version(const struct poly_record_operation *op, struct poly_pg *pg,
                                      struct poly_error *err)
{
    bool made = op->table->domain->made != NULL;
    struct poly_pg_params params;
    const char *sql = sql_version;

    if (op->key_made && !op->vectors)
        return poly_pg_queue(pg, sql_made, NULL, err);
    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(op->table->domain->name));
    if (op->key_made) {
        sql = sql_made_model;
    } else {
        poly_pg_add_text(&params, tenant_of(op));
        poly_pg_add_text(&params, op->key.text);
        sql = !op->vectors ? sql_version : made ? sql_version_made : sql_version_model;
    }
    if (op->vectors)
        poly_pg_add_int(&params, (int64_t)op->models);
    if (op->vectors && made) /* whose keys are given */
        poly_pg_add_int(&params, (int64_t)poly_domain_since(op->table->domain));
    return poly_pg_queue(pg, sql, &params, err);
}

static enum poly_status queue(struct poly_operation *operation, struct poly_write *write,
                              struct poly_error *err)
{
    struct poly_record_operation *op = (struct poly_record_operation *)operation;
    struct poly_pg *pg = poly_pg_of(write->db);
    enum poly_status status = poly_record_table(op, write, err);

    if (status != POLY_OK)
        return status;
    if (op->key_made && op->if_version > 0 && poly_control_version)
        return poly_record_expect(op, false, 0, err);
    if (expects(op) || op->verb == POLY_VERB_CHECK)
        status = queue_expect(op, pg, err);
    if (status == POLY_OK && op->verb != POLY_VERB_CHECK)
        status = queue_change(op, write, err);
    if (status == POLY_OK && op->verb != POLY_VERB_CHECK)
        status = queue_version(op, pg, err);
    return status == POLY_OK ? POLY_OK : refreshed(write, explain(op, pg, status, err));
}

/* The next result; its first column's text, when that is wanted. */
static enum poly_status next(struct poly_pg *pg, PGresult **rows, struct poly_error *err)
{
    enum poly_status status = poly_pg_next(pg, rows, err);

    if (status == POLY_OK && PQntuples(*rows) == 0) {
        PQclear(*rows);
        *rows = NULL;
    }
    return status;
}

static enum poly_status take_expect(const struct poly_record_operation *op, struct poly_pg *pg,
                                    uint64_t *version, struct poly_error *err)
{
    PGresult *rows;
    enum poly_status status = next(pg, &rows, err);

    if (status != POLY_OK)
        return explain(op, pg, status, err);
    PQclear(rows);
    status = next(pg, &rows, err);
    if (status != POLY_OK)
        return explain(op, pg, status, err);
    *version = rows == NULL ? 0 : (uint64_t)poly_pg_int(rows, 0, 0);
    PQclear(rows);
    return POLY_OK;
}

/* The key that the server gave is the record's. */
static enum poly_status take_change(struct poly_record_operation *op, struct poly_write *write,
                                    struct poly_error *err)
{
    struct poly_pg *pg = poly_pg_of(write->db);
    PGresult *rows;
    enum poly_status status = poly_pg_next(pg, &rows, err);

    if (status != POLY_OK)
        return explain(op, pg, status, err);
    if (op->key_made) {
        struct poly_text key = poly_pg_text(rows, 0, 0);

        op->key.text.data = poly_arena_copy(write->arena, key.data, key.size);
        op->key.text.size = key.size;
        status = op->key.text.data == NULL ? poly_no_memory(err) : POLY_OK;
    }
    PQclear(rows);
    return status;
}

/* *count: 0 when the row was there as it is, and the log has nothing new of it. */
static enum poly_status take_version(struct poly_record_operation *op, struct poly_write *write,
                                     uint64_t *version, int64_t *count, struct poly_error *err)
{
    struct poly_pg *pg = poly_pg_of(write->db);
    PGresult *rows;
    enum poly_status status = next(pg, &rows, err);

    if (status != POLY_OK)
        return explain(op, pg, status, err);
    *version = 0;
    *count = 0;
    if (rows != NULL) {
        uint64_t last = (uint64_t)poly_pg_int(rows, 0, 2);

        *version = (uint64_t)poly_pg_int(rows, 0, 0);
        *count = poly_pg_bool(rows, 0, 1);
        if (last > write->position)
            write->position = last;
    }
    PQclear(rows);
    return POLY_OK;
}

static enum poly_status take(struct poly_operation *operation, struct poly_write *write,
                             struct poly_error *err)
{
    struct poly_record_operation *op = (struct poly_record_operation *)operation;
    struct poly_pg *pg = poly_pg_of(write->db);
    enum poly_status status = POLY_OK;
    uint64_t version = 0;
    int64_t count = 0;

    if (expects(op) || op->verb == POLY_VERB_CHECK)
        status = take_expect(op, pg, &version, err);
    if (status == POLY_OK && op->verb != POLY_VERB_CHECK)
        status = take_change(op, write, err);
    if (status == POLY_OK && op->verb != POLY_VERB_CHECK)
        status = take_version(op, write, &version, &count, err);
    if (status != POLY_OK)
        return refreshed(write, status);
    operation->result.version = op->verb == POLY_VERB_DELETE ? 0 : version;
    operation->result.count = op->verb == POLY_VERB_DELETE ? 1 : count;
    operation->result.key.size = op->key.text.size;
    operation->result.key.data =
        poly_arena_copy(write->arena, op->key.text.data, op->key.text.size);
    return operation->result.key.data == NULL ? poly_no_memory(err) : POLY_OK;
}

static enum poly_status run(struct poly_operation *operation, struct poly_write *write,
                            struct poly_error *err)
{
    enum poly_status status = poly_write_mark(write, err);

    if (status == POLY_OK)
        status = queue(operation, write, err);
    if (status == POLY_OK)
        status = take(operation, write, err);
    if (status != POLY_OK)
        poly_pg_drop(poly_pg_of(write->db));
    return status;
}

static const struct poly_operation_type types[4] = {
    {.name = "put", .run = run, .queue = queue, .take = take},
    {.name = "patch", .run = run, .queue = queue, .take = take},
    {.name = "delete", .run = run, .queue = queue, .take = take},
    {.name = "check", .run = run, .queue = queue, .take = take}};

/* --- start and stop --- */

/* On a connection, and not in one transaction: each table that is to be put right has its own. */
static enum poly_status postgresql_open(struct poly_relational *relational, struct poly_error *err)
{
    struct poly_owner *owner = poly_instance_owner(relational->instance);
    struct poly_db *db = owner->driver->take(owner, err);
    struct poly_schema *schema = NULL;
    enum poly_status status;

    if (db == NULL)
        return poly_failed(err);
    status = poly_postgresql_wall_open((struct poly_postgresql_relational *)relational,
                                       poly_pg_of(db), err);
    if (status == POLY_OK)
        status = poly_relational_sync(relational, db, POLY_SYNC_START, NULL, &schema, err);
    owner->driver->give(owner, db);
    if (status != POLY_OK)
        return status;
    poly_relational_swap(relational, schema);
    return poly_postgresql_refresh_start(relational, err);
}

static void postgresql_close(struct poly_relational *relational)
{
    poly_postgresql_refresh_stop(relational); /* connections are the owner's */
}

static enum poly_status postgresql_version(struct poly_db *db, int *version, struct poly_error *err)
{
    (void)db;
    (void)err;
    *version = 0;
    return POLY_OK;
}

static const struct poly_capability capabilities[] = {
    {"columns-without-a-type", false, "there are none; use `json`"},
    {"text-order", true, "the column's collation; byte by byte with `COLLATE \"C\"`"},
    {"paths-in-text", false, "into `json` and `jsonb` only"},
    {"large-values", true, "in the log, out of line and compressed (TOAST)"},
    {"two-changes-in-a-migration", true,
     "one for each, where the file does not `ALTER` or `DROP` its table"},
    {"view-across-a-migration", true,
     "one that reads what a file alters or drops is taken down, and built again after it"},
    {"parameters-that-stand-alone", true,
     "are text where nothing says otherwise: `CAST(?1 AS bigint)`"},
    {"views-without-tenants", false, "need the right `ADMIN`"},
    {"sql-that-writes", true, "with the right `ADMIN`"},
    {NULL, false, NULL},
};

static const char *sql_name(const struct poly_table *table, struct poly_arena *arena)
{
    (void)arena;
    return poly_postgresql_table(table)->name;
}

static const char *sql_type(const struct poly_table *table, size_t column, struct poly_arena *arena)
{
    (void)arena;
    return poly_postgresql_table(table)->columns[column].type;
}

const struct poly_relational_driver poly_relational_postgresql = {
    .name = "postgresql",
    .capabilities = capabilities,
    .size = sizeof(struct poly_postgresql_relational),
    .types = types,
    .open = postgresql_open,
    .close = postgresql_close,
    .load = poly_postgresql_load,
    .repair = poly_postgresql_repair,
    .standing = poly_postgresql_standing,
    .gone = poly_postgresql_gone,
    .tidy = poly_postgresql_tidy,
    .refresh = poly_postgresql_refresh,
    .sql_name = sql_name,
    .sql_type = sql_type,
    .version = postgresql_version,
    .get = postgresql_get,
    .list = poly_postgresql_list,
    .sql_read = poly_postgresql_sql_read,
    .sql_check = poly_postgresql_sql_check,
    .sql_run = poly_postgresql_sql_run,
    .create_migration = "CREATE TABLE IF NOT EXISTS poly.migration(name text COLLATE \"C\" PRIMARY"
                        " KEY, checksum bytea NOT NULL, time bigint NOT NULL)",
    .has_migration = "SELECT count(*) FROM pg_class WHERE relname = 'migration'"
                     " AND relnamespace = 'poly'::regnamespace",
    .create_collections =
        "CREATE TABLE IF NOT EXISTS poly.collection(name text COLLATE \"C\" PRIMARY"
        " KEY, since bigint NOT NULL, definition text NOT NULL)",
    .has_collections = "SELECT count(*) FROM pg_class WHERE relname = 'collection'"
                       " AND relnamespace = 'poly'::regnamespace",
    .log_end = "SELECT nextval('poly.log_position')",
    .collection_columns = "id text COLLATE \"C\" NOT NULL, metadata json",
    .collection_vector = "bytea",
    .collection_tenant = "tenant text COLLATE \"C\" NOT NULL",
    .migrate_begin = poly_postgresql_migrate_begin,
    .migrate_run = poly_postgresql_migrate_run,
    .migrate_end = poly_postgresql_migrate_end,
    .migrate_turn = poly_postgresql_migrate_turn,
    .migrate_alone = poly_postgresql_migrate_alone,
    .view = &poly_view_postgresql,
};
