/* The driver on PostgreSQL: domains' tables in the database that has the log. What its files share.
 */
#ifndef POLY_STORES_RELATIONAL_POSTGRESQL_H
#define POLY_STORES_RELATIONAL_POSTGRESQL_H

#include "owners/postgresql/postgresql.h"
#include "polystore/log.h"
#include "stores/relational/driver.h"
#include "stores/relational/list.h"
#include "stores/relational/sql.h"

/* What PostgreSQL knows of a column, beside struct poly_column. */
struct poly_postgresql_column {
    const char *type; /* as SQL names it, for casts */
    bool as_text;     /* read by its text: numbers of any length, dates, arrays … */
    bool wide;        /* read as double precision */
    bool always;      /* GENERATED ALWAYS AS IDENTITY: is set at the insert only */
    bool exact;       /* its text is that of the value (see the image) */
};

struct poly_postgresql_table {
    struct poly_table base;
    const char *name;        /* "schema"."table" */
    const char *tenant_sql;  /* type of the tenant's column; NULL: none */
    const char *tenant_name; /* as the table spells it */
    bool key_first;          /* the primary key is (key, tenant) */
    bool partitioned,
        rewritten; /* rewritten: triggers of others may change rows after a statement */
    struct poly_postgresql_column *columns; /* as base.columns */

    /* One record. $1 the key, $2 the tenant (as text), $3 the key as text; get and below $4 the
     * tenant as its column has it, where there is one. */
    const char *get;    /* version, then all columns */
    const char *expect; /* version; the expected one behind the last parameter */
    const char *lock, *share;
    const char *put_all, *put_some, *patch; /* see postgresql.c */
    const char *remove;
    /* postgresql_trigger.c */
    const char *bodies[4]; /* of the functions */
    const char *lock_rows; /* a page of rows … */
    const char *log_rows;  /* … and their '$put', where the log has another state */
    const char *find_gone; /* records of a page of the log whose rows are gone … */
    const char *log_gone;  /* … and their '$delete' */
};

static inline const struct poly_postgresql_table *
poly_postgresql_table(const struct poly_table *table)
{
    return (const struct poly_postgresql_table *)table;
}

/* --- postgresql_schema.c --- */

enum poly_status poly_postgresql_load(struct poly_db *db, const struct poly_domain *domain,
                                      struct poly_table **table, struct poly_error *err);
/* POLY_CONFLICT: the table is not any more what it was when it was loaded. */
enum poly_status poly_postgresql_unchanged(struct poly_pg *pg,
                                           const struct poly_postgresql_table *table,
                                           struct poly_error *err);
/* t."column", in the form in which it is read. */
void poly_postgresql_column(struct poly_buffer *b, const struct poly_postgresql_table *table,
                            const char *row, size_t column);
/* true, as a condition; an error as soon as the table has more or fewer columns than it had. It is
 * read with the statement, and costs nothing when that runs. */
void poly_postgresql_same_shape(struct poly_buffer *b, const struct poly_postgresql_table *table);
/* The column of a result that was read so. Texts are copied into the arena. */
enum poly_status poly_postgresql_value(const PGresult *rows, int row, int column,
                                       struct poly_arena *arena, struct poly_value *value,
                                       struct poly_error *err);
/* The buffer's text, kept in the table's arena; the buffer is empty after it. */
const char *poly_postgresql_keep(struct poly_postgresql_table *table, struct poly_buffer *text,
                                 bool *failed);

/* --- postgresql_trigger.c --- */

enum {
    POLY_TRIGGER_EVENTS = 4, /* insert, update, delete, truncate */
    POLY_TRIGGER_BYTES = 64  /* a name of PostgreSQL's, with its NUL */
};

/* <prefix><domain>_<event>; a long domain by its beginning and a number of the whole. */
void poly_postgresql_trigger(char name[POLY_TRIGGER_BYTES], const char *prefix, const char *domain,
                             int event);
void poly_postgresql_triggers(struct poly_postgresql_table *table, struct poly_buffer *scratch,
                              bool *failed);
enum poly_status poly_postgresql_gone(struct poly_db *db, const struct poly_table *table,
                                      struct poly_error *err);
/* Names of the table and its partitions. */
enum poly_status poly_postgresql_relations(struct poly_pg *pg,
                                           const struct poly_postgresql_table *table,
                                           PGresult **rows, struct poly_error *err);
/* Makes the functions, and the triggers of one of the relations, in the open transaction. */
enum poly_status poly_postgresql_functions(struct poly_pg *pg,
                                           const struct poly_postgresql_table *table,
                                           struct poly_error *err);
enum poly_status poly_postgresql_attach(struct poly_pg *pg,
                                        const struct poly_postgresql_table *table,
                                        const char *relation, struct poly_error *err);
/* Drops the triggers, and the policy that names the tenant's column: a migration is about to
 * change the table's shape. */
enum poly_status poly_postgresql_detach(struct poly_pg *pg,
                                        const struct poly_postgresql_table *table,
                                        struct poly_error *err);

/* --- postgresql_fill.c --- */

/* Work on a table that is in use: what may end it before its end, and who is told. */
struct poly_postgresql_effort {
    int64_t until;          /* monotonic; nothing is tried again after it */
    poly_progress_fn *tell; /* rows looked at, of about how many; false: stop. May be NULL */
    void *arg;
    int64_t rows, written; /* looked at; added to the log */
    char holder[256];      /* who had what we could not have; empty */
};

/* A brief transaction that is tried again. exclusive: it wants the relation for itself.
 * POLY_TIMEOUT after effort->until: err and effort->holder name who was in the way. */
enum poly_status poly_postgresql_insist(struct poly_pg *pg, poly_pg_work *work, void *arg,
                                        const char *relation, bool exclusive,
                                        struct poly_postgresql_effort *effort,
                                        struct poly_error *err);
/* Notes, in the open transaction, that the log is to be brought up to the rows; known: it has
 * records of them, some of which may be gone. */
enum poly_status poly_postgresql_fill_note(struct poly_pg *pg,
                                           const struct poly_postgresql_table *table, bool known,
                                           struct poly_error *err);
enum poly_status poly_postgresql_fill_noted(struct poly_pg *pg,
                                            const struct poly_postgresql_table *table, bool *noted,
                                            struct poly_error *err);
/* Does what was noted, page by page. Whoever was ended in the middle, or does it at the same time
 * in another process, is no matter. In an open transaction: in that, with its locks. */
enum poly_status poly_postgresql_fill(struct poly_pg *pg, const struct poly_postgresql_table *table,
                                      struct poly_postgresql_effort *effort,
                                      struct poly_error *err);

/* --- postgresql_repair.c --- */

/* Triggers, the rows that were there before, and a tenant's wall: what is missing of them. */
enum poly_status poly_postgresql_follow(struct poly_pg *pg, struct poly_table *table,
                                        struct poly_postgresql_effort *effort,
                                        struct poly_error *err);
enum poly_status poly_postgresql_repair(struct poly_db *db, struct poly_table *table, bool start,
                                        struct poly_error *err);
enum poly_status poly_postgresql_tidy(struct poly_relational *relational, struct poly_db *db,
                                      struct poly_error *err);

/* --- postgresql_view.c --- */

/* Takes down, in a migration's transaction, what would keep its text from changing the tables that
 * it names: the materialised views that read them. They are built again after it. */
enum poly_status poly_postgresql_view_detach(struct poly_pg *pg, const char *text,
                                             struct poly_error *err);
/* Has the text of a migration ALTER or DROP, and that name? It may have quotes, and a schema in
 * front. */
bool poly_postgresql_mentions(const char *text, const char *name);

/* --- postgresql_wall.c --- */

struct poly_refresher;

struct poly_postgresql_relational {
    struct poly_relational base;
    char no_wall[256]; /* why tenants have no SQL; empty: they have */
    struct poly_refresher *refresher;
};

/* Outside of a transaction. Failing is no failure: see no_wall. */
enum poly_status poly_postgresql_wall_open(struct poly_postgresql_relational *relational,
                                           struct poly_pg *pg, struct poly_error *err);
/* Grants and policies, where they are missing. effort NULL: in the open transaction, where failing
 * is no failure, because it is noticed before a tenant's SQL runs. */
enum poly_status poly_postgresql_wall_table(struct poly_pg *pg,
                                            const struct poly_postgresql_table *table,
                                            struct poly_postgresql_effort *effort,
                                            struct poly_error *err);
/* In a transaction, which is this tenant's from here on. */
enum poly_status poly_postgresql_wall_enter(struct poly_relational *relational, struct poly_pg *pg,
                                            struct poly_text tenant, struct poly_arena *arena,
                                            struct poly_error *err);
/* Control. false: a tenant's SQL runs as our own role. */
extern _Atomic bool poly_control_role;

/* --- postgresql_refresh.c --- */

enum poly_status poly_postgresql_refresh_start(struct poly_relational *relational,
                                               struct poly_error *err);
/* Also when it was never started. */
void poly_postgresql_refresh_stop(struct poly_relational *relational);
/* Returns when the tables were looked at after the call, or a while later. Not while a statement of
 * the caller's holds a table. */
void poly_postgresql_refresh(struct poly_relational *relational);
enum poly_status poly_postgresql_standing(struct poly_db *db, const struct poly_table *table,
                                          bool *standing, struct poly_error *err);
/* Microseconds from one look to the next when nothing happens. */
extern _Atomic int64_t poly_control_refresh;
/* Control. false: whoever is told of a migration does not listen. */
extern _Atomic bool poly_control_told;

/* --- postgresql_alone.c --- */

enum poly_status poly_postgresql_migrate_turn(struct poly_db *db, struct poly_error *err);
enum poly_status poly_postgresql_migrate_alone(struct poly_db *db, const char *text,
                                               struct poly_error *err);
/* Control. false: who waits for the turn does so in a statement, with its snapshot. */
extern _Atomic bool poly_control_turn;

/* --- postgresql_list.c, postgresql_sql.c, postgresql_migrate.c --- */

enum poly_status poly_postgresql_list(struct poly_listing *list, struct poly_db *db,
                                      struct poly_page *page, struct poly_error *err);
enum poly_status poly_postgresql_sql_read(struct poly_sql_reading *reading, struct poly_error *err);
enum poly_status poly_postgresql_sql_check(const char *sql, bool admin, struct poly_error *err);
enum poly_status poly_postgresql_sql_run(struct poly_sql_operation *operation,
                                         struct poly_write *write, struct poly_error *err);
enum poly_status poly_postgresql_migrate_begin(struct poly_db *db, struct poly_text meta,
                                               struct poly_error *err);
enum poly_status poly_postgresql_migrate_run(struct poly_relational *relational, struct poly_db *db,
                                             const char *text, struct poly_error *err);
enum poly_status poly_postgresql_migrate_end(struct poly_db *db, struct poly_error *err);

#endif
