/*
 * The relational store and its drivers, one for each database that may own the
 * log. What is the same on all:
 *
 *   store.c             the public functions: who may, which table, is it valid
 *   open.c              start, stop, reload of the schema
 *   table.c             what is known of a table
 *   convert.c           values as columns keep them, keys, tenants
 *   meaning.c           conditions as records have the values
 *   list.c              filters, order, pages: what is asked, and the cursor
 *   sql.c               SQL of sessions: who may, and with what
 *   migrate.c           files of SQL, applied once
 *   collection.c        domains that are made while running
 *   collection_define.c what one is defined by
 *   adopt.c             a database that is there: what of it could be domains (adopt.h)
 *   model.c, model_…    change of model of vectors (model.h)
 *   view.c              materialised views (view.h): what has changed, what is due
 *
 * The driver in the log's own SQLite file (embedded.h):
 *
 *   embedded.c          reads and writes of one record
 *   embedded_open.c     start, stop, reload
 *   embedded_value.c    values out of columns
 *   embedded_list.c     the SELECT of a list
 *   embedded_sql.c      SQL: reads through the wall, writes under guard
 *   embedded_migrate.c  the statements of a file
 *   embedded_wall.c     connections on which SQL sees one tenant's rows only
 *   embedded_guard.c    what SQL may do on the writer
 *   embedded_function.c functions on the wall's connections
 *   embedded_schema.c   the tables as the database has them
 *   embedded_trigger.c  the triggers that write the log
 *   embedded_large.c    images that are kept once
 *   embedded_adopt.c    adoption and release
 *   embedded_view.c     building and refreshing a materialised view
 *
 * The driver on PostgreSQL (postgresql.h): the same, in postgresql_NAME.c, and
 *
 *   postgresql_alone.c    migrations that are no transaction
 *   postgresql_fill.c     the log brought up to rows that are in use
 *   postgresql_refresh.c  tables that others change
 *   postgresql_repair.c   triggers put right
 */
#ifndef POLY_STORES_RELATIONAL_DRIVER_H
#define POLY_STORES_RELATIONAL_DRIVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/capability.h"
#include "core/instance.h"
#include "core/operation.h"
#include "core/session.h"
#include "polystore/relational.h"
#include "stores/relational/table.h"

struct poly_listing;
struct poly_sql_reading;
struct poly_sql_operation;
struct poly_record_key;
struct poly_relational;
struct poly_view_driver;
struct poly_views;

/* What each database that may own the log does in its own way. */
struct poly_relational_driver {
    const char *name;
    const struct poly_capability *capabilities;
    size_t size;                             /* of its struct poly_relational */
    const struct poly_operation_type *types; /* of the operations on a record, by verb */

    /* Reads the schema, puts the triggers right, and publishes it. */
    enum poly_status (*open)(struct poly_relational *relational, struct poly_error *err);
    void (*close)(struct poly_relational *relational); /* also after a failure */

    /* --- for poly_relational_sync() --- */

    /* One domain's table. One that does not fit is no failure: see its status and problem. */
    enum poly_status (*load)(struct poly_db *db, const struct poly_domain *domain,
                             struct poly_table **table, struct poly_error *err);
    /* Makes its triggers where they do not fit, and brings the log up to its rows. start: that is
     * worth a problem; rows that cannot be logged make the domain unusable, not the instance. */
    enum poly_status (*repair)(struct poly_db *db, struct poly_table *table, bool start,
                               struct poly_error *err);
    /* Do all its triggers stand, whatever they do? NULL: nobody asks. */
    enum poly_status (*standing)(struct poly_db *db, const struct poly_table *table, bool *standing,
                                 struct poly_error *err);
    /* The table was dropped: a '$delete' for each record that the log still has. */
    enum poly_status (*gone)(struct poly_db *db, const struct poly_table *table,
                             struct poly_error *err);
    /* Takes our triggers off tables that no domain names any more. */
    enum poly_status (*tidy)(struct poly_relational *relational, struct poly_db *db,
                             struct poly_error *err);
    /* Somebody else may have changed a table: looks, and publishes what it is now; soon, or not at
     * all. NULL: whoever else changes a table is noticed otherwise. */
    void (*refresh)(struct poly_relational *relational);
    /* The table, and the type of one of its columns, as SQL names them; in the arena, NULL: no
     * memory. NULL: the table is as the configuration names it, and columns have no types. */
    const char *(*sql_name)(const struct poly_table *table, struct poly_arena *arena);
    const char *(*sql_type)(const struct poly_table *table, size_t column,
                            struct poly_arena *arena);
    /* A number that changes with the schema; 0: there is none. */
    enum poly_status (*version)(struct poly_db *db, int *version, struct poly_error *err);

    /* --- reading --- */

    /* POLY_NOT_FOUND. */
    enum poly_status (*get)(struct poly_db *db, const struct poly_table *table,
                            struct poly_text tenant, const struct poly_record_key *key,
                            struct poly_arena *arena, struct poly_document *document,
                            struct poly_error *err);
    enum poly_status (*list)(struct poly_listing *list, struct poly_db *db, struct poly_page *page,
                             struct poly_error *err);

    /* --- SQL --- */

    enum poly_status (*sql_read)(struct poly_sql_reading *reading, struct poly_error *err);
    /* Refuses a text before it runs in a transaction. */
    enum poly_status (*sql_check)(const char *sql, bool admin, struct poly_error *err);
    enum poly_status (*sql_run)(struct poly_sql_operation *operation, struct poly_write *write,
                                struct poly_error *err);

    /* --- migrations, in the transaction of each file --- */

    const char *create_migration; /* our table of what was applied */
    const char *has_migration;    /* 1, where that is there */
    /* Whose change it is, for the records that the triggers write. Others wait for their turn. */
    enum poly_status (*migrate_begin)(struct poly_db *db, struct poly_text meta,
                                      struct poly_error *err);
    enum poly_status (*migrate_run)(struct poly_relational *relational, struct poly_db *db,
                                    const char *text, struct poly_error *err);
    enum poly_status (*migrate_end)(struct poly_db *db, struct poly_error *err);
    /* A file that is no transaction: of all who run such files, one at a time, until the connection
     * is given back. Waits for that. NULL, both: every file is a transaction. */
    enum poly_status (*migrate_turn)(struct poly_db *db, struct poly_error *err);
    /* Its statements, outside of a transaction. POLY_DENIED: one that could not run again after
     * a failure, or that the log would have to hear of; none was run. */
    enum poly_status (*migrate_alone)(struct poly_db *db, const char *text, struct poly_error *err);

    /* --- collections: domains that are made while running (collection.c) --- */

    const char *create_collections; /* our table of them */
    const char *has_collections;    /* 1, where that is there */
    const char *log_end; /* no record beyond it was written before, none up to it later */
    /* ?1: one that goes. A record of that, where the log has none since it was made: the next of
     * its name is then made at another end. NULL: it always is. */
    const char *log_dropped;
    /* Of the table of one: names and types; and the type of its vectors. */
    const char *collection_columns, *collection_tenant, *collection_vector;

    const struct poly_view_driver *view;
};

extern const struct poly_relational_driver poly_relational_embedded, poly_relational_postgresql;

/* A driver embeds it in its own struct, first. */
struct poly_relational {
    const struct poly_relational_driver *driver;
    struct poly_instance *instance;
    const struct poly_config *config;
    _Atomic(struct poly_schema *) schema;
    struct poly_schema *schemas; /* all that there were; freed at close */
    struct poly_table *tables;   /* the same */
    _Atomic uint64_t read;       /* how often the schema was read */
    pthread_mutex_t lock;        /* of the two lists above, and of publishing */
    struct poly_views *views;    /* NULL: none has ever been declared */
    struct poly_model_sql *changes; /* of model; under lock, freed at close */
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

enum poly_sync {
    /* A repair is worth a word in the status, and a table that is not there may be a mistake in the
     * configuration. */
    POLY_SYNC_START,
    /* A table that is not there any more was dropped: its records are deleted. */
    POLY_SYNC_MIGRATION,
    /* As at the start, while others use the schema that there is. What another instance may have
     * meant so is left alone: triggers that stand on a table that has not changed, and those of
     * domains that are not ours. */
    POLY_SYNC_AGAIN
};

/* After a failure: is the domain's table another one by now? Then what failed is worth another
 * try, of POLY_RELATIONAL_TRIES in all. table NULL: no. */
enum { POLY_RELATIONAL_TRIES = 10 };
bool poly_relational_moved(struct poly_session *session, const struct poly_table *table,
                           enum poly_status status);

/* Of the domains by their numbers, those whose tables may be others than they were; those that
 * nobody knows yet are always read. */
struct poly_sync_only {
    const bool *changed;
    size_t count;
    int before; /* the schema's version before what was done to it in the transaction */
};

/*
 * On the writer, in its transaction: reads the schema anew (only NULL: all of it) and puts every
 * table's triggers right. *schema is for poly_relational_swap() after the
 * commit, or poly_relational_drop() when it failed.
 */
enum poly_status poly_relational_sync(struct poly_relational *relational, struct poly_db *db,
                                      enum poly_sync sync, const struct poly_sync_only *only,
                                      struct poly_schema **schema, struct poly_error *err);
void poly_relational_swap(struct poly_relational *relational, struct poly_schema *schema);
/* The same for one that nobody has waited for. false: another was published since it was begun,
 * and it was dropped. */
bool poly_relational_offer(struct poly_relational *relational, struct poly_schema *schema);
void poly_relational_drop(struct poly_relational *relational, struct poly_schema *schema);

/* --- collection.c --- */

/* Those that the database has now; what the configuration has not yet of them is made there.
 * standing: of each, from the first one that was made. */
enum poly_status poly_collections_read(struct poly_relational *relational, struct poly_db *db,
                                       bool standing[POLY_MAX_COLLECTIONS_MADE],
                                       struct poly_error *err);
/* Were all of them live here? Else looks; POLY_UNAVAILABLE: they are not even then. */
enum poly_status poly_collections_known(struct poly_relational *relational, struct poly_db *db,
                                        bool *known, struct poly_error *err);
/* A text that is another one whenever they are others. */
enum { POLY_COLLECTIONS_MARK = 48 };
enum poly_status poly_collections_mark(const struct poly_relational *relational, struct poly_db *db,
                                       char mark[POLY_COLLECTIONS_MARK], struct poly_error *err);

/* migrate.c: the line, from 1, of a place in the text of a file. */
int poly_migrate_line(const char *text, const char *at);

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
/* A vector for that column, of another shape than the domain's is now: checked already. */
enum poly_status poly_column_store_numbers(const struct poly_table *table,
                                           const struct poly_column *column, const float *numbers,
                                           size_t count, struct poly_arena *arena,
                                           struct poly_value *stored, struct poly_error *err);
/* A column that holds one of the domain's vectors is read as JSON, an array of numbers; what is no
 * vector there, and any other column, is left as it is. */
enum poly_status poly_column_show(const struct poly_table *table, size_t column,
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

/* --- the operations on a record --- */

enum poly_record_verb { POLY_VERB_PUT, POLY_VERB_PATCH, POLY_VERB_DELETE, POLY_VERB_CHECK };

struct poly_record_operation {
    struct poly_operation base;
    enum poly_record_verb verb;
    const struct poly_table *table;
    struct poly_text tenant; /* empty: none */
    struct poly_record_key key;
    bool key_made; /* by the database, at the insert */
    int64_t if_version;
    struct poly_value *values; /* column_count, as stored; NULL for DELETE and CHECK */
    bool *given;
    bool all; /* every column is given */
    bool vectors;    /* one of them is a vector … */
    uint64_t models; /* … of what poly_models_of() said then */
};

/* Where the table was changed since the operation was staged, it is one on the new table, as it
 * would be staged now. */
enum poly_status poly_record_table(struct poly_record_operation *operation,
                                   struct poly_write *write, struct poly_error *err);
/* Does it have the version that the operation expects? */
enum poly_status poly_record_expect(const struct poly_record_operation *operation, bool exists,
                                    uint64_t version, struct poly_error *err);
/* Are its vectors still of the models that it took them for? Another daemon's change of one is
 * found by the database. */
enum poly_status poly_record_models(const struct poly_record_operation *operation,
                                    struct poly_instance *instance, struct poly_error *err);
enum poly_status poly_record_other_model(const struct poly_record_operation *operation,
                                         struct poly_error *err);
/* POLY_NOT_FOUND, in words. */
enum poly_status poly_record_none(const struct poly_table *table, const struct poly_record_key *key,
                                  struct poly_error *err);

/* Controls: tests switch a mechanism off to see that they would notice. */
extern _Atomic bool poly_control_wall;    /* false: a tenant's SQL runs on the bare tables */
extern _Atomic bool poly_control_version; /* false: if_version is not looked at */

#endif
