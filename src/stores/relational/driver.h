/*
 * The relational store on the log's own SQLite file: what its files share.
 *
 *   store.c           the public functions: who may, which table, is it valid
 *   convert.c         values in and out of columns
 *   embedded.c        reads and writes of one record
 *   list.c            filters, order, pages
 *   sql.c             SQL for sessions: reads through the wall, writes under guard
 *   sql_wall.c        connections on which SQL sees one tenant's rows only
 *   sql_guard.c       what SQL may do on the writer
 *   sql_function.c    functions on the wall's connections
 *   migrate.c         files of SQL, applied once
 *   schema.c          the tables as the database has them
 *   trigger.c         the triggers that write the log
 *   large.c           images that are kept once
 *   embedded_open.c   start, stop, reload
 */
#ifndef POLY_STORES_RELATIONAL_DRIVER_H
#define POLY_STORES_RELATIONAL_DRIVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/instance.h"
#include "core/operation.h"
#include "core/session.h"
#include "polystore/relational.h"
#include "stores/relational/schema.h"

struct poly_wall;

struct poly_relational {
    struct poly_instance *instance;
    const struct poly_config *config;
    _Atomic(struct poly_schema *) schema;
    struct poly_schema *schemas; /* all that there were; freed at close */
    struct poly_table *tables;   /* the same */
    uint64_t read;               /* how often the schema was read; the writer's */
    pthread_mutex_t lock;        /* of the two lists above, of publishing, and of idle */
    struct poly_wall *idle;      /* connections for SQL that wait for use */
    unsigned idle_count;
    struct poly_guard *guard; /* on the writer */
};

/* Reads the schema, makes the triggers. Close also after a failure. NULL is accepted. */
enum poly_status poly_relational_open(struct poly_instance *instance,
                                      struct poly_relational **relational, struct poly_error *err);
void poly_relational_close(struct poly_relational *relational);

/* The domain's table now. NULL: the domain is a stream's. */
const struct poly_table *poly_relational_table(struct poly_relational *relational,
                                               const struct poly_domain *domain);

/*
 * By name, for this session: the rows of which tenant (empty: no tenants).
 * POLY_NOT_FOUND, POLY_INVALID (a stream), POLY_DENIED; a table that does not
 * fit answers with what is wrong with it.
 */
enum poly_status poly_relational_find(struct poly_session *session, const char *name,
                                      const struct poly_table **table, struct poly_text *tenant,
                                      struct poly_error *err);

/*
 * On the writer, in its transaction: reads the schema anew and puts every
 * table's triggers right. *schema is for poly_relational_swap() after the
 * commit, or poly_relational_drop() when it failed. start: a repair is worth a
 * word in the status, and a table that is not there may be a mistake in the
 * configuration. After a migration it was dropped: its records are deleted.
 */
enum poly_status poly_relational_sync(struct poly_relational *relational, struct poly_db *db,
                                      bool start, struct poly_schema **schema,
                                      struct poly_error *err);
void poly_relational_swap(struct poly_relational *relational, struct poly_schema *schema);
void poly_relational_drop(struct poly_relational *relational, struct poly_schema *schema);

/* The status of a failure that was written into err by somebody who gave none. */
static inline enum poly_status poly_failed(const struct poly_error *err)
{
    return err == NULL ? POLY_INTERNAL : err->status;
}

/* --- convert.c --- */

/* value as column keeps it: INT, FLOAT, TEXT, BYTES or NULL, copied into the arena. POLY_INVALID
 * names domain and column. */
enum poly_status poly_column_store(const struct poly_table *table, const struct poly_column *column,
                                   const struct poly_value *value, struct poly_arena *arena,
                                   struct poly_value *stored, struct poly_error *err);
/* The statement's column as a value of that type. arena NULL: a view until the next step, where
 * that is possible without memory. POLY_NO_MEMORY, POLY_LIMIT. */
enum poly_status poly_column_restore(enum poly_type type, sqlite3_stmt *statement, int index,
                                     struct poly_arena *arena, struct poly_value *value,
                                     struct poly_error *err);

struct poly_record_key {
    struct poly_text text;   /* as the log has it */
    struct poly_value value; /* as the column has it */
};
/* POLY_INVALID: it is no key of this table. */
enum poly_status poly_record_key(const struct poly_table *table, struct poly_text text,
                                 struct poly_arena *arena, struct poly_record_key *key,
                                 struct poly_error *err);
/* POLY_DENIED: a tenant's name that this table's column cannot hold. */
enum poly_status poly_record_tenant(const struct poly_table *table, struct poly_text tenant,
                                    struct poly_error *err);
/* NULL when it is UTF-8 without NUL; else what is wrong. */
const char *poly_text_problem(struct poly_text text);

/* --- embedded.c --- */

enum poly_record_verb { POLY_VERB_PUT, POLY_VERB_PATCH, POLY_VERB_DELETE, POLY_VERB_CHECK };

struct poly_record_operation {
    struct poly_operation base;
    enum poly_record_verb verb;
    const struct poly_table *table;
    struct poly_text tenant; /* empty: none */
    struct poly_record_key key;
    bool key_made; /* by SQLite, at the insert */
    int64_t if_version;
    struct poly_value *values; /* column_count, as stored; NULL for DELETE and CHECK */
    bool *given;
    bool all; /* every column is given */
};

extern const struct poly_operation_type poly_record_types[4]; /* by verb */

/* POLY_NOT_FOUND. */
enum poly_status poly_record_get(struct poly_db *db, const struct poly_table *table,
                                 struct poly_text tenant, const struct poly_record_key *key,
                                 struct poly_arena *arena, struct poly_document *document,
                                 struct poly_error *err);

/* --- sql_guard.c --- */

/*
 * The authorizer of the writer. It is set once, because setting one makes
 * SQLite prepare every statement anew; it refuses something only while a level
 * is entered.
 */
struct poly_guard {
    enum { GUARD_OFF, GUARD_SQL, GUARD_MIGRATION } level;
    bool admin; /* may touch tables that are no domain's */
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

/* --- sql_wall.c --- */

/* A connection of its own for one caller's SQL. */
struct poly_wall {
    struct poly_wall *next;
    struct poly_db *db;
    enum poly_wall_kind { POLY_WALL_TENANT, POLY_WALL_OPEN, POLY_WALL_ADMIN } kind;
    const struct poly_schema *schema;
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

/* Controls: tests switch a mechanism off to see that they would notice. */
extern _Atomic bool poly_control_wall;    /* false: a tenant's SQL runs on the bare tables */
extern _Atomic bool poly_control_version; /* false: if_version is not looked at */

#endif
