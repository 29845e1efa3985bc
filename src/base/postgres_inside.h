/* What the files of base/postgres share among themselves; nobody else includes this. */
#ifndef POLY_BASE_POSTGRES_INSIDE_H
#define POLY_BASE_POSTGRES_INSIDE_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/postgres.h"

/* Object identifiers of built-in types: part of the protocol, they never change. */
enum {
    PG_BOOL = 16,
    PG_BYTEA = 17,
    PG_CHAR = 18,
    PG_NAME = 19,
    PG_INT8 = 20,
    PG_INT2 = 21,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_OID = 26,
    PG_JSON = 114,
    PG_FLOAT4 = 700,
    PG_FLOAT8 = 701,
    PG_UNKNOWN = 705,
    PG_BPCHAR = 1042,
    PG_VARCHAR = 1043,
    PG_DATE = 1082,
    PG_TIMESTAMP = 1114,
    PG_TIMESTAMPTZ = 1184,
    PG_NUMERIC = 1700,
    PG_VOID = 2278,
    PG_UUID = 2950,
    PG_LSN = 3220,
    PG_JSONB = 3802,
    PG_XID8 = 5069,
};

/* Microseconds from 1970, where ours begin, to 2000, where PostgreSQL's do. */
#define PG_EPOCH INT64_C(946684800000000)

struct poly_pg_statement {
    const char *sql;
    uint64_t text; /* hash of it */
    uint64_t used; /* handed out at this tick */
    Oid *types;    /* of its parameters */
    int count;
    char name[20]; /* empty: not prepared, or the unnamed one */
    bool binary;   /* all columns of its result have a binary form that we read */
};

/* One call's parameters as libpq wants them; kept, so that a call allocates nothing. */
struct poly_pg_encoded {
    const char **values;
    int *lengths, *formats;
    char (*small)[16];        /* numbers, one place each */
    struct poly_arena *arena; /* what is larger */
    int room;
};

/* Results that are still to come, and those that came while a statement was prepared. */
struct poly_pg_pipeline {
    bool open, sent;
    int queued, taken;
    int failed_at;
    int commit_at;      /* -1: none */
    const char **texts; /* of what was queued */
    int texts_room;
    PGresult **early;
    int early_first, early_count, early_room;
};

struct poly_pg {
    PGconn *conn;
    char where[160];
    int64_t deadline;
    int64_t each; /* a call's time; 0: the deadline stands */
    char state[6];
    char detail[200];
    char column[64], constraint[64], table[64]; /* that the last failure names */
    bool lost, unknown, temporary;
    bool encrypted;
    bool deciding;                   /* what is being sent may commit */
    bool unsynced;                   /* committed, and no standby has confirmed it */
    bool cancelled;                  /* the deadline has passed, and the server was asked to stop */
    struct poly_pg_statement *cache; /* open addressing; size is a power of two */
    size_t cache_size, cache_used;
    uint64_t tick;
    unsigned numbers;
    struct poly_buffer doomed; /* "DEALLOCATE poly1;…": run when no transaction is open */
    struct poly_pg_encoded encoded;
    struct poly_pg_pipeline pipe;
    PGnotify *notice;
    struct poly_pg_times *times; /* of the pool; NULL: not measured */
    int note;
    /* the pool's */
    struct poly_pg *next;
    int64_t idle_since;
    bool tainted;
};

/* postgres_error.c */
enum poly_status poly_pg_status_of(const char *state);
bool poly_pg_state_temporary(const char *state);
/* The failure that a result, or (NULL) the connection, has to tell; sql may be NULL. */
enum poly_status poly_pg_fail(struct poly_pg *pg, const PGresult *result, const char *sql,
                              struct poly_error *err);
/* The connection is given up: "connection to HOST:PORT lost: why". */
enum poly_status poly_pg_lose(struct poly_pg *pg, enum poly_status status, const char *why,
                              struct poly_error *err);
/* First line of libpq's words, without its prefixes; state gets the SQLSTATE of verbose ones. */
void poly_pg_words(const char *message, char state[6], char *words, size_t size);

/* postgres_wait.c */
/* What is left of a deadline for poll(): -1 for ever, 0 passed. */
int poly_pg_left(int64_t deadline);
/* How long to poll() before libpq is asked in any case: what the TLS library has decrypted already
 * and libpq has not taken yet makes no socket readable. patience: 0 at first. */
int poly_pg_patience(const struct poly_pg *pg, int64_t deadline, int *patience);
/* Until libpq has a whole result, or none is to come. Flushes what is to be sent. */
enum poly_status poly_pg_ready(struct poly_pg *pg, struct poly_error *err);
/* Asks the server to stop, and throws away what it still sends. A connection that does not stop
 * is lost. */
void poly_pg_stop(struct poly_pg *pg);
/* The first result that failed, or the last one; NULL never. */
enum poly_status poly_pg_answer(struct poly_pg *pg, PGresult **result, struct poly_error *err);
/* Whether a commit has all that it was to wait for. */
enum poly_status poly_pg_confirmed(struct poly_pg *pg, struct poly_error *err);
/* Whether the result is a good one; a bad one is told, and cleared. */
enum poly_status poly_pg_check(struct poly_pg *pg, PGresult *result, const char *sql,
                               struct poly_error *err);

/* postgres_value.c */
bool poly_pg_readable(Oid type); /* in binary */
bool poly_pg_all_readable(const PGresult *described);

/* postgres_time.c: calls and time of each text; thread-safe */
struct poly_pg_times;
struct poly_pg_times *poly_pg_times_new(void);
void poly_pg_times_free(struct poly_pg_times *times);
uint64_t poly_pg_text_hash(const char *sql);                                    /* never 0 */
void poly_pg_times_add(struct poly_pg_times *times, uint64_t text, int64_t us); /* 0: no effect */
/* How many texts take longer on average. */
int poly_pg_times_over(struct poly_pg_times *times, int64_t mean_us);

/* postgres_statement.c */
/* The answer to it, which is timed. */
enum poly_status poly_pg_timed_answer(struct poly_pg *pg, uint64_t text, PGresult **result,
                                      struct poly_error *err);
/* The hash of a text that was prepared here; 0: it is not known any more. */
uint64_t poly_pg_cached_text(const struct poly_pg *pg, const char *sql);
/* Forgets the last failure; what follows may commit when no transaction is open. */
enum poly_status poly_pg_begin_call(struct poly_pg *pg, struct poly_error *err);
/* The cached statement, prepared now if it was not: in the open pipeline, if there is one. */
enum poly_status poly_pg_prepare(struct poly_pg *pg, const char *sql,
                                 struct poly_pg_statement **statement, struct poly_error *err);
enum poly_status poly_pg_send_statement(struct poly_pg *pg,
                                        const struct poly_pg_statement *statement,
                                        const struct poly_pg_params *params,
                                        struct poly_error *err);
void poly_pg_forget_all(struct poly_pg *pg);
/* What the failure of a cached statement means for the cache. True: it was the cache's fault. */
bool poly_pg_stale(struct poly_pg *pg, const char *sql, const char *state);

/* postgres_pipeline.c */
/* Takes what is under way into pipe.early, then the results of PREPARE and DESCRIBE behind it. */
enum poly_status poly_pg_pipeline_prepare(struct poly_pg *pg, const char *name, const char *sql,
                                          PGresult **described, struct poly_error *err);

/* POLY_CONFLICT, and cleared, when a COMMIT was answered with ROLLBACK. */
enum poly_status poly_pg_check_commit(PGresult *result, struct poly_error *err);

/* postgres_encode.c */
enum poly_status poly_pg_encode(struct poly_pg_encoded *to, const struct poly_pg_params *params,
                                const Oid *types, int count, struct poly_error *err);
void poly_pg_encoded_release(struct poly_pg_encoded *encoded);

/* postgres_target.c */
struct poly_pg_address {
    const char *host, *hostaddr, *port; /* NULL: libpq's own */
    char where[160];
};
/* For PQconnectStartParams, in the arena. */
struct poly_pg_conninfo {
    const char **keywords, **values;
    int count;
    char *password; /* among the values, when it is from a file or the environment: wipe it */
};
enum poly_status poly_pg_target_conninfo(const struct poly_pg_target *target,
                                         const struct poly_pg_address *address, const char *attrs,
                                         struct poly_arena *arena, struct poly_pg_conninfo *info,
                                         struct poly_error *err);
enum poly_status poly_pg_target_addresses(const struct poly_pg_target *target,
                                          struct poly_arena *arena,
                                          struct poly_pg_address **addresses, int *count,
                                          struct poly_error *err);
const char *poly_pg_target_attrs(const struct poly_pg_target *target); /* NULL: any */
int poly_pg_target_connect_ms(const struct poly_pg_target *target);
/* Where the last connection was made: begun with, where the order does not matter. */
unsigned poly_pg_target_first(const struct poly_pg_target *target);
void poly_pg_target_found(const struct poly_pg_target *target, unsigned index);

static inline uint64_t poly_pg_get64(const char *from)
{
    uint64_t value;

    memcpy(&value, from, sizeof(value));
    return __builtin_bswap64(value);
}

static inline uint32_t poly_pg_get32(const char *from)
{
    uint32_t value;

    memcpy(&value, from, sizeof(value));
    return __builtin_bswap32(value);
}

static inline uint16_t poly_pg_get16(const char *from)
{
    uint16_t value;

    memcpy(&value, from, sizeof(value));
    return __builtin_bswap16(value);
}

#endif
