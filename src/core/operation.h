/*
 * One step of a transaction, as the stores hand it to core/txn: staged in a
 * batch, run at once in an interactive one, always on the writer's connection.
 * A store embeds it in a struct of its own that holds the arguments.
 */
#ifndef POLY_CORE_OPERATION_H
#define POLY_CORE_OPERATION_H

#include "base/sql.h"
#include "polystore/log.h"
#include "polystore/txn.h"

struct poly_operation;

/* Where an operation runs. Lives for one transaction. */
struct poly_write {
    struct poly_instance *instance;
    struct poly_db *db;
    struct poly_arena *arena; /* the transaction's: results go here */
    struct poly_text tenant;  /* empty: none */
    unsigned rights;
    struct poly_text meta; /* of the transaction, JSON object or empty: kept with each record */
    uint64_t txn;          /* what its records have in common: see struct poly_record */
    uint64_t position;     /* of its last record; 0: none yet */
    uint64_t head;         /* the owner's: end of the log after the last operation */
    bool marked;           /* poly_write_mark() has been called */
};

struct poly_operation_type {
    const char *name; /* "put", for messages and metrics */
    bool single;      /* one statement at most: fails whole without a savepoint */
    enum poly_status (*run)(struct poly_operation *operation, struct poly_write *write,
                            struct poly_error *err);
    /*
     * On a server, where every answer is a round trip: queue sends what run would do, and take
     * has its answer, after others may have been queued as well. NULL: it cannot be sent ahead.
     */
    enum poly_status (*queue)(struct poly_operation *operation, struct poly_write *write,
                              struct poly_error *err);
    enum poly_status (*take)(struct poly_operation *operation, struct poly_write *write,
                             struct poly_error *err);
};

struct poly_operation {
    struct poly_operation *next;
    const struct poly_operation_type *type;
    struct poly_result result;
};

/* The arena in which an operation for this transaction is to be built. */
struct poly_arena *poly_txn_arena(struct poly_txn *txn);
struct poly_session *poly_txn_session(struct poly_txn *txn);
/* That its vectors are of; NULL: not said. */
const char *poly_txn_model(const struct poly_txn *txn);
bool poly_txn_interactive(const struct poly_txn *txn);
/*
 * Interactive transactions only: runs fn on the writer's connection now. Use
 * it for reads inside the transaction. POLY_TIMEOUT: the transaction is over.
 */
enum poly_status poly_txn_run(struct poly_txn *txn,
                              enum poly_status (*fn)(void *arg, struct poly_write *write,
                                                     struct poly_error *err),
                              void *arg, struct poly_error *err);

/*
 * Adds it: a batch keeps it for commit, an interactive transaction runs it now.
 * digest: bytes that say all that the operation does (for the idempotency key);
 * needed only when poly_txn_wants_digest().
 */
enum poly_status poly_txn_add(struct poly_txn *txn, struct poly_operation *operation,
                              struct poly_error *err);
/* What was added last; NULL: nothing yet. Its result is there once it has run. */
const struct poly_operation *poly_txn_last(const struct poly_txn *txn);
/* Mixes an argument into the digest that tells one request body from another. Cheap when no
 * idempotency key was given. Call it for every argument, in a fixed order, before poly_txn_add. */
void poly_txn_digest(struct poly_txn *txn, const void *bytes, size_t size);
void poly_txn_digest_value(struct poly_txn *txn, const struct poly_value *value);

/* --- while an operation runs --- */

/* Before the first statement that changes a domain's table: tells the triggers whose transaction
 * it is. */
enum poly_status poly_write_mark(struct poly_write *write, struct poly_error *err);

#endif
