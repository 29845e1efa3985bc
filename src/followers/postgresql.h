/*
 * What every store that follows the log into a PostgreSQL database has in common, whoever owns the
 * log: a schema of its own with its generations and their positions, connections, and which of
 * several daemons applies. A store's driver embeds struct poly_follower, and says in struct
 * poly_follower_kind what is its own.
 */
#ifndef POLY_FOLLOWERS_POSTGRESQL_H
#define POLY_FOLLOWERS_POSTGRESQL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/postgres_pool.h"
#include "core/driver.h"

struct poly_follower;

/* Reads of one form (domains, filters …) have one text, prepared once a connection. */
enum { POLY_FOLLOWER_FORMS = 64 };
struct poly_follower_forms {
    size_t count;
    const char *texts[POLY_FOLLOWER_FORMS];
};

/* Where entries come from: a domain in one generation, as it was when that was made. What a driver
 * knows of it begins with this. */
struct poly_follower_source {
    int64_t number;     /* in the generation */
    const char *name;   /* of the domain */
    const char *source; /* record.domain: its name, or the category of its streams */
    bool stream, tenants;
    uint64_t since, until; /* its records lie beyond since, up to until; 0, UINT64_MAX: all */
};

/* What a driver knows of one generation begins with this. */
struct poly_follower_generation {
    struct poly_follower_generation *next;
    uint64_t number;
    bool dropped; /* kept until close: connections hold statements by their text's address */
    struct poly_arena *arena;          /* has the generation itself, too */
    struct poly_follower_forms *forms; /* under the store's lock */
    struct poly_follower_source **sources;
    size_t source_count;
    const char *count, *positions; /* SQL */
};

/* Templates: '@' stands for the generation's number, '#' for the schema. */
struct poly_follower_kind {
    const struct poly_driver *driver;
    const char *schema;  /* "poly_search" */
    int format;          /* of its tables: another one is refused */
    int lock;            /* advisory: upgrades of the schema; lock + 1: who applies */
    const char *session; /* SET …, on each connection of the pool; NULL: nothing */
    const char *tables;  /* CREATE … IF NOT EXISTS; #.domain(generation, number, since …) among
                          * them */
    const char *const
        *parts;            /* "documents": #.documents_@ is made with each generation; NULL ends */
    const char *make;      /* template: a generation's tables and indexes */
    size_t size;           /* of the driver's own struct of a generation */
    size_t source_size;    /* of a source */
    const char *sources;   /* $1's: number, name, source, stream, tenants; then the driver's own,
                            * which is to set since */
    const char *count;     /* template: how many entries */
    const char *positions; /* template: beyond $1, at most $2, in order */

    /* Is something of the domain held in the store's own tables? */
    bool (*holds)(const struct poly_follower *self, const struct poly_domain *domain);
    /* In the transaction that is open: writes down in #.domain what of the domain a generation
     * holds, under numbers from *next on, which moves; and makes what that needs. */
    enum poly_status (*take_up)(struct poly_follower *self, struct poly_pg *pg, uint64_t number,
                                const struct poly_domain *domain, int64_t *next,
                                struct poly_error *err);
    /* … and all of that goes, of one source. */
    enum poly_status (*take_out)(struct poly_follower *self, struct poly_pg *pg, uint64_t number,
                                 const struct poly_follower_source *source, struct poly_error *err);
    /* … and reads the driver's own of one row; memory is the generation's arena. */
    enum poly_status (*load_source)(struct poly_follower *self,
                                    struct poly_follower_generation *generation,
                                    struct poly_follower_source *source, const PGresult *rows,
                                    int row, struct poly_error *err);
    /* What else there is to know, when all sources are read. */
    enum poly_status (*load)(struct poly_follower *self, struct poly_pg *pg,
                             struct poly_follower_generation *generation, struct poly_error *err);
    /* The effect of a batch on a generation, with poly_follower_begin() and _finish(). */
    enum poly_status (*apply)(struct poly_follower *self,
                              const struct poly_follower_generation *generation, struct poly_pg *pg,
                              struct poly_batch *batch, struct poly_error *err);
};

enum poly_follower_sql {
    POLY_FOLLOWER_TABLES,
    POLY_FOLLOWER_CLAIM,
    POLY_FOLLOWER_WHOSE,
    POLY_FOLLOWER_ADD,
    POLY_FOLLOWER_REMOVE,
    POLY_FOLLOWER_REMOVE_DOMAINS,
    POLY_FOLLOWER_APPLIED,
    POLY_FOLLOWER_HOLD,
    POLY_FOLLOWER_HOLD_POSITION,
    POLY_FOLLOWER_SET_APPLIED,
    POLY_FOLLOWER_TRY,
    POLY_FOLLOWER_TAKE,
    POLY_FOLLOWER_STILL,
    POLY_FOLLOWER_WANT,
    POLY_FOLLOWER_END_LOST,
    POLY_FOLLOWER_NEXT_NUMBER,
    POLY_FOLLOWER_MARK,
    POLY_FOLLOWER_SQL_COUNT
};

struct poly_follower {
    struct poly_store store; /* first: a poly_store is one of these */
    const struct poly_follower_kind *kind;
    const struct poly_config *config;
    struct poly_pg_target *target;
    struct poly_pg_pool *pool;
    uint8_t instance[16];
    bool time_as_number;      /* times of a table: how its owner's rows have them */
    struct poly_arena *texts; /* of sql */
    const char *sql[POLY_FOLLOWER_SQL_COUNT];

    pthread_mutex_t applying; /* who has arena */
    struct poly_arena *arena; /* of a batch */
    pthread_mutex_t lock;     /* guards generations, and what a driver keeps with them */
    struct poly_follower_generation *generations;

    /* postgresql_lead.c; of the projector's thread */
    struct poly_pg *leader; /* the connection that has the advisory lock */
    uint32_t connections;   /* that we may open at most */
    char name[33];          /* ours, among the daemons' */
    int64_t looked;         /* monotonic */
    _Atomic int64_t fence;  /* 0: somebody else applies */
};

static inline struct poly_follower *poly_follower_of(struct poly_store *store)
{
    return (struct poly_follower *)store;
}

/* --- postgresql.c: opening; and the calls of struct poly_driver, for the driver's table --- */

/* self: zeroed, in the driver's own struct. Makes or upgrades the schema, and looks whose it is.
 * When it fails, close it all the same. */
enum poly_status poly_follower_open(struct poly_follower *self,
                                    const struct poly_follower_kind *kind,
                                    const struct poly_store_open *how, struct poly_error *err);
/* All but self's own memory. */
void poly_follower_close(struct poly_follower *self);

enum poly_status poly_follower_prepare(struct poly_store *store, struct poly_db *db,
                                       uint64_t generation, struct poly_error *err);
enum poly_status poly_follower_drop(struct poly_store *store, struct poly_db *db,
                                    uint64_t generation, struct poly_error *err);
enum poly_status poly_follower_applied(struct poly_store *store, struct poly_db *db,
                                       uint64_t generation, uint64_t *position,
                                       struct poly_error *err);
enum poly_status poly_follower_apply(struct poly_store *store, struct poly_db *db,
                                     uint64_t generation, struct poly_batch *batch,
                                     struct poly_error *err);
enum poly_status poly_follower_count(struct poly_store *store, struct poly_db *db,
                                     uint64_t generation, uint64_t *count, struct poly_error *err);
enum poly_status poly_follower_positions(struct poly_store *store, uint64_t generation,
                                         uint64_t after, uint64_t *list, size_t max, size_t *count,
                                         struct poly_error *err);
void poly_follower_pool(struct poly_store *store, struct poly_pool_status *status);

/* A connection, and a generation on it, for a read that has until deadline (monotonic). Give the
 * connection back to self->pool when that went well. POLY_NOT_FOUND: there is no such generation.
 */
enum poly_status poly_follower_read(struct poly_follower *self, uint64_t number, int64_t deadline,
                                    struct poly_pg **pg,
                                    const struct poly_follower_generation **generation,
                                    struct poly_error *err);
/* The first column of a statement's first row; 0: no row. */
enum poly_status poly_follower_number(struct poly_pg *pg, const char *sql, uint64_t *number,
                                      struct poly_error *err);

/* --- postgresql_generation.c --- */

/* template with what its signs stand for, in the arena. NULL: no memory. */
const char *poly_follower_text(const struct poly_follower *self, struct poly_arena *arena,
                               uint64_t number, const char *template);
/* Texts of self->sql; then the tables. */
enum poly_status poly_follower_schema(struct poly_follower *self, struct poly_pg *pg,
                                      struct poly_error *err);
/* In the transaction that is open. make: no effect when it is there. */
enum poly_status poly_follower_make(struct poly_follower *self, struct poly_pg *pg, uint64_t number,
                                    struct poly_error *err);
enum poly_status poly_follower_remove(struct poly_follower *self, struct poly_pg *pg,
                                      uint64_t number, struct poly_error *err);
/* As it was made; any thread. It lives as long as the store. POLY_NOT_FOUND: there is none. */
enum poly_status poly_follower_find(struct poly_follower *self, struct poly_pg *pg, uint64_t number,
                                    const struct poly_follower_generation **generation,
                                    struct poly_error *err);
/* Forgets what is known of a generation, without giving its texts back: it is read anew. */
void poly_follower_forget(struct poly_follower *self, uint64_t number);
/* The same, read anew. The one before stays until close, as all do that were found. */
enum poly_status poly_follower_again(struct poly_follower *self, struct poly_pg *pg,
                                     const struct poly_follower_generation **generation,
                                     struct poly_error *err);
/* The status of what was done with a generation; POLY_NOT_FOUND when its tables are not there. */
enum poly_status poly_follower_gone(const struct poly_follower *self, const struct poly_pg *pg,
                                    uint64_t number, enum poly_status status,
                                    struct poly_error *err);
/* The same text, which lives as long as the store; NULL: there are too many forms. Any thread. */
const char *poly_follower_form(struct poly_follower *self,
                               const struct poly_follower_generation *generation, const char *sql);
/* A JSON array of texts, into the arena. */
enum poly_status poly_follower_names(struct poly_arena *arena, struct poly_text json,
                                     const char *const **names, size_t *size,
                                     struct poly_error *err);

/* --- postgresql_made.c --- */

/* In the transaction that is open: writes down what a new generation holds, by the configuration of
 * today. */
enum poly_status poly_follower_describe(struct poly_follower *self, struct poly_pg *pg,
                                        uint64_t number, struct poly_error *err);
/* Of who applies: takes up what was made since the generation was read, and out what was dropped;
 * it is then read anew. */
enum poly_status poly_follower_grow(struct poly_follower *self, struct poly_pg *pg,
                                    const struct poly_follower_generation **generation,
                                    struct poly_error *err);
/* Of who reads: where the domain was made since the generation was read, it is read anew. */
enum poly_status poly_follower_look(struct poly_follower *self, struct poly_pg *pg,
                                    const struct poly_domain *domain,
                                    const struct poly_follower_generation **generation,
                                    struct poly_error *err);
/* The first source of a domain; NULL: nothing of it has been applied. */
const struct poly_follower_source *
poly_follower_source(const struct poly_follower_generation *generation,
                     const struct poly_domain *domain);

/* --- postgresql_apply.c --- */

/* What a batch does to an entry in the end. */
struct poly_follower_change {
    const struct poly_follower_source *source;
    const struct poly_record *record;
    struct poly_text tenant, key; /* tenant: empty where the source has none */
    size_t sequence;              /* in the batch */
};

/* The last change of each entry beyond applied, in self->arena; in the order of the keys, so that
 * rows are always locked in the same. POLY_INVALID, and batch->failed: a record that is no JSON. */
enum poly_status poly_follower_changes(struct poly_follower *self,
                                       const struct poly_follower_generation *generation,
                                       struct poly_batch *batch, uint64_t applied,
                                       struct poly_follower_change **changes, size_t *count,
                                       struct poly_error *err);

/*
 * BEGIN, holding the fence and the position, in one round trip. *applied: beyond which the batch is
 * to have its effect; batch->last: nothing is left of it. Fails when another daemon has taken over,
 * or the server has gone back.
 */
enum poly_status poly_follower_begin(struct poly_follower *self, struct poly_pg *pg,
                                     uint64_t number, const struct poly_batch *batch,
                                     uint64_t *applied, struct poly_error *err);
/* After the effect was queued: the position, COMMIT, and all answers, in one round trip. */
enum poly_status poly_follower_finish(struct poly_follower *self, struct poly_pg *pg,
                                      uint64_t number, const struct poly_batch *batch,
                                      struct poly_error *err);

/* --- postgresql_lead.c --- */

/* The contract's lead(). */
enum poly_status poly_follower_lead(struct poly_store *store, bool wanted, bool *leads,
                                    struct poly_error *err);
void poly_follower_resign(struct poly_follower *self);

#endif
