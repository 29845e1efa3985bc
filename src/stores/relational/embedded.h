/* The embedded driver: domains' tables in the log's own SQLite file. What its files share. */
#ifndef POLY_STORES_RELATIONAL_EMBEDDED_H
#define POLY_STORES_RELATIONAL_EMBEDDED_H

#include "base/sqlite.h"
#include "stores/relational/driver.h"
#include "stores/relational/list.h"
#include "stores/relational/sql.h"

/* The time of a record. */
#define POLY_EMBEDDED_NOW                                                                          \
    "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"

/*
 * Parameters: ?1 the tenant (text), ?2 the key as stored, ?3 the key as text.
 * Writing: for column i (see poly_table_parameter) its value, and before it in
 * put_some and patch whether it is given.
 */
struct poly_table_sql {
    const char *get;      /* version, then all columns */
    const char *version;  /* of the record, as the log has it; no row: never written */
    const char *put_all;  /* every column given */
    const char *put_some; /* some; the others become their default */
    const char *patch;
    const char *remove;
    const char *image; /* row image as JSON */
    const char *insert_trigger, *update_trigger, *delete_trigger;
    const char *log_rows; /* a '$put' for each row whose last record is another */
    const char *log_gone; /* a '$delete' for each record whose row is gone */
};

struct poly_embedded_table {
    struct poly_table base;
    struct poly_table_sql sql;
};

static inline const struct poly_table_sql *poly_embedded_sql(const struct poly_table *table)
{
    return &((const struct poly_embedded_table *)table)->sql;
}

/* Number of the parameter of a column's value in put_all (step 1), put_some and patch (step 2,
 * the number before it says whether it is given). */
static inline int poly_table_parameter(size_t column, int step)
{
    return 3 + (int)column * step + step;
}

/* --- embedded_schema.c --- */

/*
 * Reads one domain's table from the database. A table that does not fit is no
 * failure: see ->status and ->problem. Free with poly_table_free().
 */
enum poly_status poly_table_load(struct poly_db *db, const struct poly_domain *domain,
                                 struct poly_table **table, struct poly_error *err);
/* SQLite's version of the schema, as this connection's snapshot has it. */
enum poly_status poly_schema_version(struct poly_db *db, int *version, struct poly_error *err);

/* The declared type of a column as SQLite gives it. NULL: POLY_NULL. */
enum poly_type poly_type_declared(const char *declared);
/* Bytes for "poly_<domain>_insert". */
#define POLY_TRIGGER_NAME (POLY_MAX_NAME + 32)

/* --- embedded_trigger.c --- */

/* Fills the texts that make log records of rows. */
void poly_table_log_sql(struct poly_table *table, struct poly_buffer *scratch, bool *failed);

/*
 * Are the table's triggers in the database those that would be made today?
 * *present: how many of the three there are, whatever their text.
 */
enum poly_status poly_table_triggers_fit(struct poly_db *db, const struct poly_table *table,
                                         bool *fit, int *present, struct poly_error *err);
/* What reads the image of the row with key ?1 of tenant ?2 as those in the database make it:
 * somebody may have altered the table since. */
enum poly_status poly_table_image_sql(struct poly_db *db, const struct poly_table *table,
                                      struct poly_buffer *sql, struct poly_error *err);
/* Drops them; large images go to history first, by the expression that the triggers had. */
enum poly_status poly_table_detach(struct poly_db *db, const struct poly_table *table,
                                   struct poly_error *err);
/* Makes them, and brings the log up to the rows as they are. *written: records made for that. */
enum poly_status poly_table_attach(struct poly_db *db, const struct poly_table *table,
                                   int64_t *written, struct poly_error *err);
/* The table is gone: a '$delete' for each record that the log still has. */
enum poly_status poly_table_gone(struct poly_db *db, const struct poly_table *table,
                                 struct poly_error *err);

/* --- embedded_value.c --- */

/* The statement's column as a value of that type. arena NULL: a view until the next step, where
 * that is possible without memory. POLY_NO_MEMORY, POLY_LIMIT. */
enum poly_status poly_column_restore(enum poly_type type, sqlite3_stmt *statement, int index,
                                     struct poly_arena *arena, struct poly_value *value,
                                     struct poly_error *err);

/* --- embedded.c --- */

extern const struct poly_operation_type poly_embedded_types[4];
enum poly_status poly_embedded_get(struct poly_db *db, const struct poly_table *table,
                                   struct poly_text tenant, const struct poly_record_key *key,
                                   struct poly_arena *arena, struct poly_document *document,
                                   struct poly_error *err);

/* --- embedded_list.c, embedded_sql.c, embedded_migrate.c --- */

enum poly_status poly_embedded_list(struct poly_listing *list, struct poly_db *db,
                                    struct poly_page *page, struct poly_error *err);
enum poly_status poly_embedded_sql_read(struct poly_sql_reading *reading, struct poly_error *err);
enum poly_status poly_embedded_sql_run(struct poly_sql_operation *operation,
                                       struct poly_write *write, struct poly_error *err);
enum poly_status poly_embedded_migrate_begin(struct poly_db *db, struct poly_text meta,
                                             struct poly_error *err);
enum poly_status poly_embedded_migrate_run(struct poly_relational *relational, struct poly_db *db,
                                           const char *text, struct poly_error *err);
enum poly_status poly_embedded_migrate_end(struct poly_db *db, struct poly_error *err);

/* --- embedded_open.c --- */

struct poly_wall;

struct poly_embedded_relational {
    struct poly_relational base;
    struct poly_wall *idle; /* connections for SQL that wait for use; under the base's lock */
    unsigned idle_count;
    struct poly_guard *guard; /* on the writer */
};

static inline struct poly_embedded_relational *
poly_embedded_relational(struct poly_relational *relational)
{
    return (struct poly_embedded_relational *)relational;
}

/* --- embedded_guard.c --- */

/*
 * The authorizer of the writer. It is set once, because setting one makes
 * SQLite prepare every statement anew; it refuses something only while a level
 * is entered.
 */
struct poly_guard {
    enum { GUARD_OFF, GUARD_SQL, GUARD_MIGRATION } level;
    bool admin; /* may touch tables that are no domain's */
    struct poly_relational *relational;
    const struct poly_schema *schema;
    char refused[256]; /* why the last statement was refused; empty */
};

void poly_guard_install(struct poly_guard *guard, struct poly_db *writer);
/* Refuses, before it is prepared, a statement whose text says what an authorizer does not see. */
enum poly_status poly_guard_text(const char *sql, bool admin, struct poly_error *err);
/* Tables that no SQL reads: hashes of keys, the instance's secrets, raw pages, pragmas. */
bool poly_guard_secret(const char *table);
/* May SQL call it? */
bool poly_guard_function(const char *name);

/* --- embedded_wall.c --- */

/* A connection of its own for one caller's SQL. */
struct poly_wall {
    struct poly_wall *next;
    struct poly_db *db;
    enum poly_wall_kind { POLY_WALL_TENANT, POLY_WALL_OPEN, POLY_WALL_ADMIN } kind;
    struct poly_relational *relational;
    const struct poly_schema *schema;
    unsigned views;          /* poly_view_version() that its views were made for */
    char prefix[5 + 32 + 2]; /* of the inner views: poly_<128 random bits>_; empty: no wall */
    struct poly_text tenant; /* what poly_tenant() answers */
    bool closed;             /* the authorizer refuses; open while views are made */
    char **names;            /* of everything in main, sorted, in lower case */
    size_t name_count;
    int version;      /* SQLite's, of the schema */
    int64_t deadline; /* monotonic, microseconds */
    char refused[256];
};

/* With a read transaction open. Give it back whatever happens. */
enum poly_status poly_wall_take(struct poly_relational *relational, enum poly_wall_kind kind,
                                struct poly_text tenant, struct poly_wall **wall,
                                struct poly_error *err);
void poly_wall_give(struct poly_relational *relational, struct poly_wall *wall);
void poly_wall_free(struct poly_wall *wall);
int poly_wall_authorize(void *wall, int action, const char *a, const char *b, const char *database,
                        const char *accessor);
/* Takes the random names out of a message. */
void poly_wall_clean(const struct poly_wall *wall, struct poly_error *err);

#endif
