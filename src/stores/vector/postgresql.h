/* The vector engine on PostgreSQL with pgvector, on the inside: schema poly_vector, a table for
 * each vector of a domain in each generation; or the records' own tables. */
#ifndef POLY_STORES_VECTOR_POSTGRESQL_H
#define POLY_STORES_VECTOR_POSTGRESQL_H

#include "followers/postgresql.h"
#include "followers/postgresql_filter.h"
#include "stores/vector/driver.h"
#include "stores/vector/engine/kernel.h"

/* A column that a search of the records' own table may filter by. */
struct poly_pgv_column {
    const char *sql;  /* d."state" */
    const char *type; /* as the catalog names it: "int4"; "": nothing is compared as it stands */
};

/* The records' own table, where that is searched. */
struct poly_pgv_table {
    const char *problem; /* why it cannot be; NULL: it can. status says what that is */
    enum poly_status status;
    const char *key, *key_type;            /* SQL: d."id", its type */
    const char *tenant, *tenant_type;      /* NULL: none */
    const struct poly_pgv_column *columns; /* as the shape's filters */
    const char *const *operands; /* the same as jsonb, as an entry of ours would have them */
};

enum { POLY_PGV_FORMS = 128 }; /* of searches, numbered by what they have */

/* One vector of one domain in one generation, as it was when the generation was made; or in the
 * records' own table, as that is. */
struct poly_pgv_collection {
    struct poly_follower_source base; /* first */
    struct poly_domain_vector shape;  /* filters: the first of names; ef is today's */
    uint64_t since;           /* position of the first record of its model; of who applies */
    const char *const *names; /* what is taken of a record: the filters, then the vector */
    enum poly_element element;
    enum poly_metric metric;
    const char *type;     /* "vector(100)" */
    const char *operator; /* "<=>" */
    const char *opclass;  /* "vector_cosine_ops" */
    const char *send;     /* "vector_send": the function that gives the type's bytes */
    bool indexable;       /* pgvector can index so many dimensions of that type */
    const struct poly_pgv_table *table;       /* the records' own; NULL: one of ours */
    const char *from;                         /* SQL: … AS d */
    const char *key, *embedding;              /* SQL: d.key, d.embedding */
    const char *indexes;                      /* SQL: FROM … WHERE: what pgvector has for it */
    const char *put, *like, *count, *measure; /* SQL */
    const char *is_indexed, *is_worth, *add_index, *drop_index, *old_indexes; /* SQL */
    _Atomic bool *indexed;      /* as it was looked at last */
    const char *_Atomic *forms; /* SQL: of searches without conditions; postgresql_find.c */
    _Atomic uint64_t *searches;
};

/* Where a collection is, for SQL that is made of it. */
struct poly_pgv_place {
    const char *relation;  /* as FROM wants it */
    const char *column;    /* of the vectors, quoted */
    const char *oid;       /* of the relation: an expression */
    const char *attribute; /* the column's number: an expression; i is its pg_index */
    const char *schema;    /* of the index, quoted */
    const char *prefix;    /* of our indexes' names; a regular expression, too */
};

struct poly_pgv {
    struct poly_follower base; /* first: a poly_store is one of these */

    bool in_tables; /* records' own tables are searched, where they are tables */
    struct poly_follower_generation *tables; /* those, as they are; under base.lock */
    char version[24];                        /* of pgvector: "0.8.0" */
    bool narrow;            /* below 0.7: there are no halfvec, and no distance of bits */
    bool iterative;         /* 0.8: a filtered search goes on in its index */
    _Atomic int64_t filled; /* when the last full batch was applied; monotonic */

    /* postgresql_index.c */
    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake;
    bool stop;
    struct poly_pg *working; /* what the thread runs a statement on */
    char trouble[256];       /* why there is no index; empty: all is well */
    int64_t since;           /* wall clock */
};

/* --- postgresql_generation.c --- */

extern const struct poly_follower_kind poly_pgv_kind;

/* Is pgvector there, in a version that has what the configuration asks for? */
enum poly_status poly_pgv_extension(struct poly_pgv *self, struct poly_error *err);
/* The driver's accepts(). */
enum poly_status poly_pgv_accepts(struct poly_store *store, const struct poly_domain *domain,
                                  struct poly_error *err);
const struct poly_pgv_collection *
poly_pgv_collection(const struct poly_follower_generation *generation,
                    const struct poly_domain *domain, const struct poly_domain_vector *vector);

/* In the transaction of who applies: a table for each vector whose model was changed, in place of
 * the one that it had. *changed: commit, and read the generation anew. */
enum poly_status poly_pgv_follow_models(struct poly_follower *self,
                                        const struct poly_follower_generation *generation,
                                        struct poly_pg *pg, bool *changed, struct poly_error *err);
/* The same of a domain that may have been made since the generation was read, which is then read
 * anew. *collection NULL: nothing of it has been applied. */
enum poly_status poly_pgv_look(struct poly_pgv *self, struct poly_pg *pg,
                               const struct poly_vector_scope *scope,
                               const struct poly_follower_generation **generation,
                               const struct poly_pgv_collection **collection,
                               struct poly_error *err);

/* Type, operators and functions of a collection whose shape is known. */
enum poly_status poly_pgv_describe(struct poly_arena *arena, struct poly_pgv_collection *collection,
                                   struct poly_error *err);

/* --- postgresql_table.c --- */

/* The records' own tables that are searched. look: whether they have changed. The one that is
 * given lives as long as the store. */
enum poly_status poly_pgv_tables(struct poly_pgv *self, struct poly_pg *pg, bool look,
                                 const struct poly_follower_generation **tables,
                                 struct poly_error *err);
void poly_pgv_tables_free(struct poly_pgv *self);

/* --- postgresql_where.c --- */

/* Is the condition one on the collection's filters? */
enum poly_status poly_pgv_where_check(const struct poly_pgv_collection *collection,
                                      const struct poly_where *where, struct poly_error *err);
/* The condition, checked, as SQL; filtering: how that is done in our own tables. */
enum poly_status poly_pgv_where_print(const struct poly_pgv_collection *collection,
                                      const struct poly_where *where,
                                      const struct poly_follower_filtering *filtering,
                                      struct poly_buffer *out, struct poly_error *err);

/* --- postgresql_value.c --- */

/* A vector in the form in which it is sent, in the arena. Errors are poly_vector_pack()'s. */
enum poly_status poly_pgv_encode(const struct poly_pgv_collection *collection, const float *numbers,
                                 struct poly_arena *arena, struct poly_text *bytes,
                                 struct poly_error *err);
/* … and back, from what the server gives; NULL: no memory, or the server gives something else. */
const float *poly_pgv_decode(const struct poly_pgv_collection *collection, struct poly_text bytes,
                             struct poly_arena *arena);

/* --- postgresql_apply.c --- */

/* The kind's apply(). */
enum poly_status poly_pgv_apply(struct poly_follower *self,
                                const struct poly_follower_generation *generation,
                                struct poly_pg *pg, struct poly_batch *batch,
                                struct poly_error *err);

/* --- postgresql_find.c --- */

enum poly_status poly_pgv_find(struct poly_pgv *self,
                               const struct poly_follower_generation *generation,
                               struct poly_pg *pg, const struct poly_vector_request *request,
                               struct poly_arena *arena, struct poly_matches *matches,
                               struct poly_error *err);

/* --- postgresql_index.c --- */

/* The collection's SQL for its index. Any valid index of its column and operator serves; ours is
 * made where there is none. */
enum poly_status poly_pgv_index_sql(struct poly_arena *arena,
                                    struct poly_pgv_collection *collection,
                                    const struct poly_pgv_place *place, struct poly_error *err);

/* Does a collection of so many vectors get an index? */
bool poly_pgv_is_worth(const struct poly_pgv_collection *collection, uint64_t vectors);

/* A thread that makes what indexes are missing, one statement at a time, while all goes on. */
enum poly_status poly_pgv_keep(struct poly_pgv *self, struct poly_error *err);
void poly_pgv_keep_stop(struct poly_pgv *self);

#endif
