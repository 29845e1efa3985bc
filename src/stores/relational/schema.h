/*
 * What the database says about the domains' tables: columns and types, key,
 * tenant, and every SQL text that the store needs for them, built once.
 *
 * A table is immutable and lives until the instance closes, because prepared
 * statements are cached under the address of their text. A schema is a list of
 * tables, one for each domain, and is replaced whole after a migration.
 */
#ifndef POLY_STORES_RELATIONAL_SCHEMA_H
#define POLY_STORES_RELATIONAL_SCHEMA_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/limits.h"
#include "base/sqlite.h"
#include "core/domain.h"
#include "polystore/value.h"

struct poly_column {
    const char *name;
    enum poly_type type;     /* POLY_NULL: whatever a value is (a type we do not know) */
    const char *default_sql; /* expression; NULL: none */
    bool not_null, generated;
    bool binary; /* compared byte for byte */
};

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

/* Bytes for "poly_<domain>_insert". */
#define POLY_TRIGGER_NAME (POLY_MAX_NAME + 32)

struct poly_table {
    const struct poly_domain *domain;
    struct poly_arena *arena; /* owns everything here */
    struct poly_table *next;  /* of all that the instance has ever known */
    const char *signature;    /* equal: the same table, nothing to replace */
    enum poly_status status;  /* POLY_OK: usable; else what operations answer */
    const char *problem;      /* for the status; NULL: none. May stand beside POLY_OK */
    bool exists;
    bool published; /* in the instance's list, which frees it */

    struct poly_column *columns; /* all but the tenant's, in the table's order */
    size_t column_count;
    size_t key;                 /* index into columns */
    bool key_made;              /* INTEGER PRIMARY KEY: SQLite gives a number */
    enum poly_type tenant_type; /* POLY_NULL: the domain has no tenants */
    bool tenant_in_key;         /* the primary key has the tenant's column */
    struct poly_table_sql sql;
};

struct poly_schema {
    struct poly_schema *next;
    uint64_t number;     /* grows with every reading, on the writer */
    _Atomic int version; /* SQLite's, when it was read: whoever changes the schema changes that */
    size_t count;
    struct poly_table *tables[]; /* as config->domains; NULL: a stream's */
};

/*
 * Reads one domain's table from the database. A table that does not fit is no
 * failure: see ->status and ->problem. Free with poly_table_free().
 */
enum poly_status poly_table_load(struct poly_db *db, const struct poly_domain *domain,
                                 struct poly_table **table, struct poly_error *err);
void poly_table_free(struct poly_table *table); /* NULL is accepted */

/* SQLite's version of the schema, as this connection's snapshot has it. */
enum poly_status poly_schema_version(struct poly_db *db, int *version, struct poly_error *err);

/* Index of the column, or column_count. */
size_t poly_table_find(const struct poly_table *table, const char *name);
/* "id, title, body": for messages. Cut when long. */
void poly_table_columns(const struct poly_table *table, char *text, size_t size);
/* Number of the parameter of a column's value in put_all (step 1), put_some and patch (step 2,
 * the number before it says whether it is given). */
static inline int poly_table_parameter(size_t column, int step)
{
    return 3 + (int)column * step + step;
}

/* The declared type of a column as SQLite gives it. NULL: POLY_NULL. */
enum poly_type poly_type_declared(const char *declared);
const char *poly_type_name(enum poly_type type); /* "an integer", … for messages */

/* "name" with quotes doubled; 'text' likewise. */
void poly_sql_name(struct poly_buffer *out, const char *name);
void poly_sql_text(struct poly_buffer *out, const char *text);

/* --- trigger.c --- */

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

#endif
