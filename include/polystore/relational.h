/*
 * Records: rows of the application's own tables, found by domain and key.
 *
 * A domain names a table in polystore.yaml. Its key is the table's primary key
 * (one column; a tenant column beside it does not count), given as text. The
 * version of a record is the position of its last change in the log.
 */
#ifndef POLYSTORE_RELATIONAL_H
#define POLYSTORE_RELATIONAL_H

#include "polystore/txn.h"

#ifdef __cplusplus
extern "C" {
#endif

struct poly_document {
    struct poly_text key;
    uint64_t version;
    struct poly_row row; /* all columns but the tenant's, in the table's order */
};

/* POLY_NOT_FOUND: no such record, or another tenant's. */
POLY_API enum poly_status poly_get(struct poly_session *session, const char *domain,
                                   const char *key, struct poly_document *document,
                                   struct poly_error *err) POLY_MUST_USE;
/* The same inside an interactive transaction: sees its own writes. */
POLY_API enum poly_status poly_txn_get(struct poly_txn *txn, const char *domain, const char *key,
                                       struct poly_document *document,
                                       struct poly_error *err) POLY_MUST_USE;

/* For if_version: POLY_ANY (events.h), 0 = must not exist, any other = exactly that version. */

/* Replaces the whole record or makes it: columns that are not given become their default, but for a
 * vector that an embedder makes, which stays.
 * key NULL: it stands in the row, or (for a UUID or integer key) is made. */
POLY_API enum poly_status poly_put(struct poly_txn *txn, const char *domain, const char *key,
                                   const struct poly_row *row, int64_t if_version,
                                   struct poly_error *err) POLY_MUST_USE;
/* Changes the given columns only. A missing record: POLY_NOT_FOUND at commit. */
POLY_API enum poly_status poly_patch(struct poly_txn *txn, const char *domain, const char *key,
                                     const struct poly_row *row, int64_t if_version,
                                     struct poly_error *err) POLY_MUST_USE;
/* A missing record: POLY_NOT_FOUND at commit. */
POLY_API enum poly_status poly_delete(struct poly_txn *txn, const char *domain, const char *key,
                                      int64_t if_version, struct poly_error *err) POLY_MUST_USE;
/* A precondition without a change: the record has this version (0: is absent). */
POLY_API enum poly_status poly_check(struct poly_txn *txn, const char *domain, const char *key,
                                     int64_t if_version, struct poly_error *err) POLY_MUST_USE;

enum poly_compare {
    POLY_EQ,
    POLY_NE,
    POLY_LT,
    POLY_LE,
    POLY_GT,
    POLY_GE,
    POLY_IN,     /* values[0..value_count) */
    POLY_PREFIX, /* text; byte for byte */
    POLY_IS_NULL,
    POLY_NOT_NULL
};

struct poly_filter {
    const char *column;
    const char *path; /* JSON path inside the column ("$.a.b"); NULL: the column itself */
    enum poly_compare compare;
    const struct poly_value *values;
    size_t value_count; /* 1; IN: up to 1,000; IS_NULL and NOT_NULL: 0 */
};

/* A condition on a record, for search and vectors: a comparison of one of the fields that the
 * domain lists as filters there, or several conditions together. */
enum poly_where_kind { POLY_WHERE_COMPARE, POLY_WHERE_AND, POLY_WHERE_OR, POLY_WHERE_NOT };

struct poly_where {
    enum poly_where_kind kind;
    const struct poly_filter *compare;     /* COMPARE */
    const struct poly_where *const *parts; /* AND, OR: any number; NOT: one */
    size_t part_count;
};

/*
 * From JSON, into the session's arena. {"status": "open"} compares; {"severity": {">=": 3}} names
 * the operator: = <> < <= > >= in prefix null ({"null": true} or false); several names in one
 * object must all hold; {"and": [...]}, {"or": [...]}, {"not": {...}}; "meta.$.a.b" is a path
 * inside a column that holds JSON. POLY_INVALID names what is wrong; docs/vectors.md has the
 * grammar.
 */
POLY_API enum poly_status poly_where_parse(struct poly_session *session, struct poly_text json,
                                           const struct poly_where **where,
                                           struct poly_error *err) POLY_MUST_USE;

struct poly_list_query {
    const char *domain;
    const struct poly_filter *filters; /* all must hold */
    size_t filter_count;
    const char *order; /* column; NULL: the key */
    bool descending;
    uint32_t limit;     /* 0: 100 */
    const char *cursor; /* from the page before; NULL: the first page */
};

struct poly_page {
    const struct poly_document *documents;
    size_t count;
    const char *cursor; /* for the next page; NULL: this was the last */
};

POLY_API enum poly_status poly_list(struct poly_session *session,
                                    const struct poly_list_query *query, struct poly_page *page,
                                    struct poly_error *err) POLY_MUST_USE;

/*
 * Parameterised SQL (?1, ?2 …), outside of transactions: reads only, on a snapshot. A tenant's
 * session sees its own rows of the domains' tables and nothing else. visit is called for each row,
 * in constant memory: the row lives until visit returns; false stops early.
 */
typedef bool poly_row_fn(void *arg, const struct poly_row *row);
POLY_API enum poly_status poly_sql_read(struct poly_session *session, const char *sql,
                                        const struct poly_value *values, size_t value_count,
                                        poly_row_fn *visit, void *arg,
                                        struct poly_error *err) POLY_MUST_USE;
/* SQL that may write, in a transaction; a tenant's session: POLY_DENIED. In a batch it returns no
 * rows (visit NULL). No BEGIN, COMMIT, ATTACH, PRAGMA, and nothing on Polystore's own tables. */
POLY_API enum poly_status poly_txn_sql(struct poly_txn *txn, const char *sql,
                                       const struct poly_value *values, size_t value_count,
                                       poly_row_fn *visit, void *arg,
                                       struct poly_error *err) POLY_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
