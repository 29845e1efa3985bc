/*
 * PostgreSQL, as every driver on it speaks with it: connections with our
 * session settings, statements that are prepared once for each connection,
 * parameters and columns in binary, pipelines, transactions, errors in our
 * words. Many callers share connections by base/postgres_pool.h.
 *
 * Every call that waits does so until the deadline of its connection. When that
 * passes, the server is asked to cancel; a server that does not answer even
 * that loses the connection.
 */
#ifndef POLY_BASE_POSTGRES_H
#define POLY_BASE_POSTGRES_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

/* --- where: read once, connected to many times; shared by threads --- */

struct poly_pg_target;

struct poly_pg_options {
    const char *url;           /* postgresql://user@host:port/database, or key=value pairs */
    const char *password_env;  /* name of the environment variable that has the password */
    const char *password_file; /* … or the file, whose first line it is: read at each connect */
    const char *application_name; /* "polystore" */
    const char *search_path;      /* as in SET search_path; the server's own */
    int connect_ms;               /* for each address; 2000 */
    int statement_ms;             /* the server's own net under our deadlines; 0: none */
};

/* Everything is copied. A wrong url is refused without a word of it, for it may hold a password. */
enum poly_status poly_pg_target_new(const struct poly_pg_options *options,
                                    struct poly_pg_target **target, struct poly_error *err);
void poly_pg_target_free(struct poly_pg_target *target); /* NULL is accepted */

/* --- one connection: one thread at a time --- */

struct poly_pg;

/* Tries each address of each host, until one fits target_session_attrs. Refuses servers older than
 * 15. deadline: monotonic, microseconds, over all addresses; -1: connect_ms of each alone. A name
 * is looked up by the system's resolver, whose time is its own. */
enum poly_status poly_pg_open(const struct poly_pg_target *target, int64_t deadline,
                              struct poly_pg **pg, struct poly_error *err);
void poly_pg_close(struct poly_pg *pg); /* NULL is accepted */
PGconn *poly_pg_handle(struct poly_pg *pg);
const char *poly_pg_where(const struct poly_pg *pg); /* "HOST:PORT" */

/* For all calls from here on; monotonic, microseconds; -1: none. */
void poly_pg_deadline(struct poly_pg *pg, int64_t deadline);
/* Instead: each call has so many microseconds, and each row of a stream. */
void poly_pg_patient(struct poly_pg *pg, int64_t each);

/* A number that a driver keeps with a connection, for what it has set there; 0 at first, and after
 * poly_pg_reset(). */
int poly_pg_note(const struct poly_pg *pg);
void poly_pg_set_note(struct poly_pg *pg, int note);

/* The connection is gone: close it, and open another one. */
bool poly_pg_lost(const struct poly_pg *pg);
/* After a failure: what was sent may have been committed, or not; nobody has answered. Until the
 * next statement. */
bool poly_pg_unknown(const struct poly_pg *pg);
/* SQLSTATE of the last failure, five characters; "" when the server has not said one. */
const char *poly_pg_state(const struct poly_pg *pg);
/* The detail that it said; "" when none. */
const char *poly_pg_detail(const struct poly_pg *pg);
/* Column, constraint and table that it named; "" when none. */
const char *poly_pg_column(const struct poly_pg *pg);
const char *poly_pg_constraint(const struct poly_pg *pg);
const char *poly_pg_table(const struct poly_pg *pg);
/* The same statement, or the transaction it was in, is worth another try unchanged. */
bool poly_pg_temporary(const struct poly_pg *pg);
/* The statement does not fit the tables, or not any more. */
bool poly_pg_unfit(const struct poly_pg *pg);
/* Is this server a standby? Told by the server, costs nothing. */
bool poly_pg_standby(const struct poly_pg *pg);

/* --- parameters: $1, $2 … in the order they are added --- */

enum { POLY_PG_PARAMS = 32 };

struct poly_pg_param {
    struct poly_value value;
    const void *list; /* an array of count elements … */
    int count;        /* … or -1: no array; -2: value.text is sent as it stands */
    int element; /* enum poly_type of int64_t, struct poly_text; POLY_NULL: struct poly_value */
};

/* Points at what is added; it must live until the statement is run or queued. What does not fit
 * fails then, by name. */
struct poly_pg_params {
    int count, max;
    struct poly_pg_param *all, few[POLY_PG_PARAMS];
};

void poly_pg_params(struct poly_pg_params *params); /* empty, for POLY_PG_PARAMS */
/* For more, in memory of the caller's. */
void poly_pg_params_in(struct poly_pg_params *params, struct poly_pg_param *memory, int max);
/* Encoded as the type that the statement wants at that place; what has no binary form of ours
 * goes as text, and the server reads it: "2026-01-31" for a date. */
void poly_pg_add(struct poly_pg_params *params, const struct poly_value *value);
void poly_pg_add_null(struct poly_pg_params *params);
void poly_pg_add_bool(struct poly_pg_params *params, bool value);
void poly_pg_add_int(struct poly_pg_params *params, int64_t value);
void poly_pg_add_float(struct poly_pg_params *params, double value);
void poly_pg_add_text(struct poly_pg_params *params, struct poly_text text);
void poly_pg_add_bytes(struct poly_pg_params *params, const void *data, size_t size);
void poly_pg_add_json(struct poly_pg_params *params, struct poly_text json);
void poly_pg_add_time(struct poly_pg_params *params, int64_t microseconds);
/* The server's own binary form of whatever type it wants there: for types of extensions. */
void poly_pg_add_binary(struct poly_pg_params *params, const void *data, size_t size);
/* Arrays, for unnest($1::bigint[], $2::text[]). */
void poly_pg_add_ints(struct poly_pg_params *params, const int64_t *values, int count);
void poly_pg_add_texts(struct poly_pg_params *params, const struct poly_text *texts, int count);
void poly_pg_add_array(struct poly_pg_params *params, const struct poly_value *values, int count);

/* --- statements --- */

/*
 * Runs a statement that is prepared at its first use on this connection and
 * cached under the POINTER sql: the text must stay as it is as long as the
 * connection lives. params NULL: none. The result is the caller's: PQclear().
 * A cached statement that the server has forgotten (DISCARD) or that no longer
 * fits its tables is prepared again, by itself when no transaction is open.
 */
enum poly_status poly_pg_run(struct poly_pg *pg, const char *sql,
                             const struct poly_pg_params *params, PGresult **result,
                             struct poly_error *err);
/* The same for a text that is used once (a user's): nothing is cached. */
enum poly_status poly_pg_run_once(struct poly_pg *pg, const char *sql,
                                  const struct poly_pg_params *params, PGresult **result,
                                  struct poly_error *err);
/* Without a result; changed (may be NULL) is how many rows were. */
enum poly_status poly_pg_done(struct poly_pg *pg, const char *sql,
                              const struct poly_pg_params *params, int64_t *changed,
                              struct poly_error *err);
/* One or several statements without parameters or results, in one message. */
enum poly_status poly_pg_exec(struct poly_pg *pg, const char *sql, struct poly_error *err);

/*
 * Pipelines: queue statements, then take their results in order; one round trip
 * for all. Outside of a transaction they are one: all or nothing. When one
 * fails, poly_pg_next (or _queue) says so, the ones behind it are not run, the pipeline
 * is over, and poly_pg_failed_at() is its index. Nothing else may be called
 * on the connection until the last result is taken, or poly_pg_drop was called.
 */
enum poly_status poly_pg_queue(struct poly_pg *pg, const char *sql,
                               const struct poly_pg_params *params, struct poly_error *err);
enum poly_status poly_pg_send(struct poly_pg *pg,
                              struct poly_error *err); /* on their way; optional */
enum poly_status poly_pg_next(struct poly_pg *pg, PGresult **result, struct poly_error *err);
int poly_pg_queued(const struct poly_pg *pg); /* results that are still to be taken */
int poly_pg_failed_at(const struct poly_pg *pg);
void poly_pg_drop(struct poly_pg *pg); /* runs what was queued, and throws the results away */
/* What was queued must not be committed without what could not be queued: outside of a transaction
 * only the end of the connection sees to that. */
void poly_pg_forsake(struct poly_pg *pg);

/* --- transactions --- */

enum poly_pg_isolation {
    POLY_PG_COMMITTED,
    POLY_PG_SNAPSHOT, /* REPEATABLE READ */
    POLY_PG_SERIALIZABLE,
};
/* The text, for poly_pg_queue: BEGIN need not cost a round trip of its own. */
const char *poly_pg_begin_text(enum poly_pg_isolation isolation, bool read_only);
enum poly_status poly_pg_begin(struct poly_pg *pg, enum poly_pg_isolation isolation, bool read_only,
                               struct poly_error *err);
/* POLY_UNAVAILABLE, and poly_pg_unknown(): it may have happened. POLY_CONFLICT: an earlier failure
 * had ended the transaction, and nothing was committed. */
enum poly_status poly_pg_commit(struct poly_pg *pg, struct poly_error *err);
/* COMMIT as the last of a pipeline: poly_pg_next checks its result as poly_pg_commit does. */
enum poly_status poly_pg_queue_commit(struct poly_pg *pg, struct poly_error *err);
/* If there is one. A connection that cannot do even that is lost. */
void poly_pg_roll_back(struct poly_pg *pg);
bool poly_pg_in_transaction(const struct poly_pg *pg); /* open, or failed and not rolled back */

/*
 * A transaction that is over within a second, committed or not, whatever it waits for: nobody who
 * wants a lock that it has, or waits for, is held up longer. After a failure poly_pg_delayed()
 * says whether that was the reason: pause, and try again.
 */
typedef enum poly_status poly_pg_work(struct poly_pg *pg, void *arg, struct poly_error *err);
enum poly_status poly_pg_brief(struct poly_pg *pg, poly_pg_work *work, void *arg,
                               struct poly_error *err);
bool poly_pg_delayed(const struct poly_pg *pg, enum poly_status status);
void poly_pg_pause(void); /* others go on meanwhile */
/* Who has had a lock of the relation for longest that a change of it waits for: "backend 17 (psql
 * of app, idle in transaction, for 12 s)"; empty: nobody. readers: that waits for readers, too. */
enum poly_status poly_pg_holder(struct poly_pg *pg, const char *relation, bool readers, char *who,
                                size_t size);

/* Ends what a stranger's statements may have left in the session: settings, temporary tables,
 * locks, listening. Prepared statements stay. No transaction may be open. */
enum poly_status poly_pg_reset(struct poly_pg *pg, struct poly_error *err);

/* --- columns: rows and columns from 0; views live as long as the result --- */

static inline bool poly_pg_null(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) != 0;
}
/* smallint, integer, bigint, oid, xid8, boolean; times and dates as the server counts them. 0 when
 * NULL. */
int64_t poly_pg_int(const PGresult *result, int row, int column);
double poly_pg_float(const PGresult *result, int row, int column); /* real, double precision */
bool poly_pg_bool(const PGresult *result, int row, int column);
/* text, varchar, name, json, jsonb, enumerations; ends in NUL. "" when NULL. */
struct poly_text poly_pg_text(const PGresult *result, int row, int column);
/* bytea, of a result in binary. */
struct poly_text poly_pg_bytes(const PGresult *result, int row, int column);
/* timestamptz, timestamp: microseconds since 1970, UTC. */
int64_t poly_pg_time(const PGresult *result, int row, int column);
/*
 * Any type of SQL: numbers, boolean, bytea, json, times and uuid as their own type, all else
 * (numeric, date, arrays …) as PostgreSQL's text; so are infinite times. NaN is NULL. A view, or in
 * the arena.
 */
enum poly_status poly_pg_value(const PGresult *result, int row, int column,
                               struct poly_arena *arena, struct poly_value *value,
                               struct poly_error *err);
/* Rows that the statement inserted, changed or deleted. */
int64_t poly_pg_changed(PGresult *result);

/* --- large reads in constant memory --- */

struct poly_pg_stream;

/*
 * Rows one by one as they arrive, of a statement that is cached as by poly_pg_run. The connection
 * is the stream's until it is closed. One statement is one snapshot: no transaction is needed.
 */
enum poly_status poly_pg_stream_open(struct poly_pg *pg, const char *sql,
                                     const struct poly_pg_params *params,
                                     struct poly_pg_stream **stream, struct poly_error *err);
/* A result with one row (0), the stream's until the next call. NULL: the end. */
enum poly_status poly_pg_stream_next(struct poly_pg_stream *stream, const PGresult **row,
                                     struct poly_error *err);
/* NULL is accepted. Before its end the statement is cancelled, and a transaction that it ran in can
 * only be rolled back. */
void poly_pg_stream_close(struct poly_pg_stream *stream);

/* --- notifications --- */

enum poly_pg_event {
    POLY_PG_DEADLINE, /* it passed */
    POLY_PG_NOTIFIED,
    POLY_PG_WOKEN, /* the wake-up descriptor is readable */
};

struct poly_pg_notice {
    const char *channel, *payload; /* until the next call */
    int backend;                   /* process id of the sender */
};

/* "LISTEN channel", quoted. Outside of a transaction. */
enum poly_status poly_pg_listen(struct poly_pg *pg, const char *channel, struct poly_error *err);
/* Waits; wake_fd -1: none. The deadline is this wait's alone. A lost connection is an error. */
enum poly_status poly_pg_wait(struct poly_pg *pg, int wake_fd, int64_t deadline,
                              enum poly_pg_event *event, struct poly_pg_notice *notice,
                              struct poly_error *err);

/* --- the server --- */

/* Position in the write-ahead log: of a primary what is written, of a standby what is replayed. */
enum poly_status poly_pg_position(struct poly_pg *pg, bool *standby, uint64_t *lsn,
                                  struct poly_error *err);

/*
 * Says to all that use the server, for as long as this connection lasts, how many connections its
 * process may open there: a lock that nobody waits for, with that number.
 */
enum poly_status poly_pg_promise(struct poly_pg *pg, uint32_t connections, struct poly_error *err);

struct poly_pg_capacity {
    int64_t max_connections, reserved; /* reserved for superusers */
    int64_t in_use;
    int64_t promised; /* by all pools of all processes, in whichever database */
    int64_t work_mem, shared_buffers, effective_cache; /* bytes */
    double hash_multiplier;
};

enum poly_status poly_pg_capacity(struct poly_pg *pg, struct poly_pg_capacity *capacity,
                                  struct poly_error *err);
/*
 * What is wrong when so many connections are opened at most (as promised), against memory bytes
 * of the server (0: its effective_cache_size says what it thinks it has). Sentences, joined by ";
 * "; empty: nothing. Returns how many.
 */
int poly_pg_capacity_warnings(const struct poly_pg_capacity *capacity, int64_t connections,
                              int64_t memory, char *text, size_t size);

#endif
