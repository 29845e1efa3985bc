/* The search engine on PostgreSQL, on the inside: schema poly_search, a table for each generation.
 */
#ifndef POLY_STORES_SEARCH_POSTGRESQL_H
#define POLY_STORES_SEARCH_POSTGRESQL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/limits.h"
#include "base/postgres_pool.h"
#include "stores/search/driver.h"
#include "stores/search/extract.h"
#include "stores/search/postgresql_words.h"

/*
 * Advisory locks of ours, as owners/postgresql numbers them.
 *   …64  upgrades of the schema
 *   …65  who applies
 */
enum { POLY_LOCK_SEARCH_UPGRADE = 1886350464, POLY_LOCK_SEARCH_OWNER };

/* One domain in one generation, as it was when the generation was made. */
struct poly_ts_index {
    int64_t number;
    const char *name, *source;
    bool stream, tenants;
    enum poly_words_kind kind;
    struct poly_extract_names names;
    const char *letters;                 /* of each field: its weight, A to D */
    bool shared[POLY_MAX_SEARCH_FIELDS]; /* another field has the same letter */
    double weights[4];                   /* of the letters, by the configuration of today */
};

/* Searches of one form (domains, filters, marks) have one text, prepared once a connection. */
enum { POLY_TS_FORMS = 64 };
struct poly_ts_forms {
    size_t count;
    const char *texts[POLY_TS_FORMS];
};

struct poly_ts_generation {
    struct poly_ts_generation *next;
    uint64_t number;
    bool dropped; /* kept until close: connections hold statements by their text's address */
    struct poly_arena *arena;
    struct poly_ts_index *indexes;
    size_t index_count;
    const char *put, *count, *positions; /* SQL */
    struct poly_ts_forms *forms; /* under the store's lock */
};

struct poly_ts {
    struct poly_store store; /* first: a poly_store is one of these */
    const struct poly_config *config;
    struct poly_pg_target *target;
    struct poly_pg_pool *pool;
    struct poly_words *words;
    bool time_as_number; /* times of a table: how its owner's rows have them */
    uint8_t instance[16];

    pthread_mutex_t applying; /* who has arena, and what the applied position is remembered for */
    struct poly_arena *arena;
    pthread_mutex_t lock; /* guards generations */
    struct poly_ts_generation *generations;

    /* postgresql_lead.c; of the projector's thread */
    struct poly_pg *leader; /* the connection that has the advisory lock */
    uint32_t connections;   /* that we may open at most */
    char name[33];          /* ours, among the daemons' */
    int64_t looked;         /* monotonic */
    _Atomic int64_t fence;  /* 0: somebody else applies */
};

static inline struct poly_ts *poly_ts_of(struct poly_store *store)
{
    return (struct poly_ts *)store;
}

/* --- postgresql_generation.c --- */

/* Makes or upgrades the schema, and looks whose it is. */
enum poly_status poly_ts_schema(struct poly_ts *self, struct poly_pg *pg, struct poly_error *err);
/* In the transaction that is open. Makes a generation from the configuration; no effect when there.
 */
enum poly_status poly_ts_make(struct poly_ts *self, struct poly_pg *pg, uint64_t number,
                              struct poly_error *err);
enum poly_status poly_ts_drop(struct poly_ts *self, struct poly_pg *pg, uint64_t number,
                              struct poly_error *err);
/* As it was made; any thread. It lives as long as the store. POLY_NOT_FOUND: there is none. */
enum poly_status poly_ts_find_generation(struct poly_ts *self, struct poly_pg *pg, uint64_t number,
                                         const struct poly_ts_generation **generation,
                                         struct poly_error *err);
/* The status of what was done with a generation; POLY_NOT_FOUND when its tables are not there. */
enum poly_status poly_ts_gone(const struct poly_pg *pg, uint64_t number, enum poly_status status,
                              struct poly_error *err);
/* The same text, which lives as long as the store; NULL: there are too many forms. Any thread. */
const char *poly_ts_form(struct poly_ts *self, const struct poly_ts_generation *generation,
                         const char *sql);
const struct poly_ts_index *poly_ts_index(const struct poly_ts_generation *generation,
                                          const char *domain);
void poly_ts_generations_free(struct poly_ts *self);

/* --- postgresql_lead.c --- */

/* The contract's lead(). */
enum poly_status poly_ts_lead(struct poly_store *store, bool wanted, bool *leads,
                              struct poly_error *err);
void poly_ts_resign(struct poly_ts *self);

/* --- postgresql_apply.c --- */

enum poly_status poly_ts_apply(struct poly_ts *self, const struct poly_ts_generation *generation,
                               struct poly_pg *pg, struct poly_batch *batch,
                               struct poly_error *err);

/* --- postgresql_find.c --- */

enum poly_status poly_ts_find(struct poly_ts *self, const struct poly_ts_generation *generation,
                              struct poly_pg *pg, const struct poly_search_request *request,
                              struct poly_arena *arena, struct poly_hits *hits,
                              struct poly_error *err);

/* --- postgresql_filter.c --- */

/* A document's values to filter by, as one JSON array: each as it stands, then each text that is a
 * JSON object or array of its own, or null. */
void poly_ts_print_filters(struct poly_buffer *out, const struct poly_value *values, size_t count);
bool poly_ts_filter_fits(const struct poly_ts_index *index, const struct poly_filter *filters,
                         size_t count);
enum poly_status poly_ts_filter_check(const struct poly_filter *filters, size_t count,
                                      struct poly_error *err);
struct poly_ts_filtering {
    const struct poly_ts_index *index;
    const struct poly_filter *filters;
    size_t count;
    bool time_as_number; /* how the index's documents have times */
    struct poly_arena *arena;
    struct poly_pg_params *params;
};

/* Adds " AND …" over d.filters, and its parameters. */
enum poly_status poly_ts_filter_print(const struct poly_ts_filtering *filtering,
                                      struct poly_buffer *out, struct poly_error *err);

/* --- postgresql_mark.c --- */

struct poly_ts_marking {
    struct poly_words *words;
    const struct poly_ts_index *index;
    const struct poly_search_request *request;
    const struct poly_lexemes *terms; /* of each term of the query, in the index's kind */
    const int *columns;               /* where each may match */
    struct poly_arena *arena;
};

/* Marks what matches in a document's fields (data NULL: none), and fills snippet and highlights. */
enum poly_status poly_ts_mark(const struct poly_ts_marking *how, const struct poly_text *fields,
                              struct poly_hit *hit, struct poly_error *err);

#endif
