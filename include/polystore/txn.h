/*
 * Transactions over all stores.
 *
 * A batch transaction collects operations and sends them at commit: it is the
 * fast path, shares its sync with whoever commits at the same time, and takes
 * effect whole or not at all. An interactive one runs each operation at once,
 * sees its own writes, and holds the single writer until it ends or its
 * deadline passes; then it is rolled back and every later call on it says so.
 * Isolation is serializable.
 */
#ifndef POLYSTORE_TXN_H
#define POLYSTORE_TXN_H

#include "polystore/session.h"
#include "polystore/value.h"

#ifdef __cplusplus
extern "C" {
#endif

struct poly_txn;

struct poly_txn_options {
    bool interactive;
    uint32_t deadline_ms;        /* interactive: how long it may hold the writer; 0: 5 s */
    const char *idempotency_key; /* NULL: none. The first result is replayed for 24 h */
    const char *correlation;     /* kept with each record; NULL: none */
    const char *causation;
    /* That makes the vectors which it writes; NULL: not said. POLY_INVALID of whoever puts one into
     * a domain that names another. */
    const char *model;
};

/* What one operation of the transaction did, in the order they were added. */
struct poly_result {
    struct poly_text key; /* record key, or stream */
    uint64_t version;     /* of the record or stream afterwards; 0: a delete, or SQL */
    int64_t count;        /* events appended, records changed, rows of SQL */
};

struct poly_commit {
    struct poly_token token;
    uint64_t position; /* of the last record; 0: nothing was written */
    bool replayed;     /* the idempotency key was known: this is the first result */
    const struct poly_result *results;
    size_t count;
};

/* options NULL: a batch without any. Interactive: waits for the writer, POLY_TIMEOUT. */
POLY_API enum poly_status poly_txn_begin(struct poly_session *session,
                                         const struct poly_txn_options *options,
                                         struct poly_txn **txn,
                                         struct poly_error *err) POLY_MUST_USE;

/*
 * Ends the transaction either way: txn is gone afterwards. POLY_OK: on disk.
 * POLY_CONFLICT: an expected version or precondition did not hold (the message
 * names the operation by its number), nothing has happened. commit may be NULL.
 */
POLY_API enum poly_status poly_txn_commit(struct poly_txn *txn, struct poly_commit *commit,
                                          struct poly_error *err) POLY_MUST_USE;

/*
 * The same, if nobody else, in this program or another, is writing at this moment: it waits for no
 * other writer, only for the disk. *tried false, with POLY_OK: somebody is, nothing was done, and
 * txn is still there. For callers who serve many.
 */
POLY_API enum poly_status poly_txn_try_commit(struct poly_txn *txn, bool *tried,
                                              struct poly_commit *commit,
                                              struct poly_error *err) POLY_MUST_USE;

/* Ends it without any effect. NULL is accepted. */
POLY_API void poly_txn_abort(struct poly_txn *txn);

/*
 * Commits a batch without waiting. done runs on the writer's thread, must not
 * block, and must not use the session; commit and err live until it returns.
 * The session stays untouched by others until done has run. On a status other
 * than POLY_OK done is not called. The transaction is gone in any case.
 */
typedef void poly_commit_fn(void *arg, enum poly_status status, const struct poly_commit *commit,
                            const struct poly_error *err);
POLY_API enum poly_status poly_txn_submit(struct poly_txn *txn, poly_commit_fn *done, void *arg,
                                          struct poly_error *err) POLY_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
