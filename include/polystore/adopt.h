/*
 * Adopting a database that an application has already, and letting go of it again. No instance
 * is needed: the first is for before there is one, the last for when there is to be none any more.
 * What is put into the database beside the application's tables and rows, release takes out.
 */
#ifndef POLYSTORE_ADOPT_H
#define POLYSTORE_ADOPT_H

#include "polystore/instance.h"
#include "polystore/value.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- looking: nothing is changed --- */

struct poly_adopt_options {
    const char *place;         /* postgresql://user@host/database, or the path of a polystore.db */
    const char *password_env;  /* environment variable with the password; NULL: none … */
    const char *password_file; /* … or a file, whose first line it is */
    /* Patterns as of a shell, "app_*", NULL-terminated; NULL: all. A table's with a point in it
     * names the schema, too. */
    const char *const *schemas, *const *only, *const *exclude;
};

struct poly_adopt_table {
    struct poly_text name;           /* "users", or with its schema: "app.users" */
    struct poly_text domain;         /* what it would be called; empty: it cannot be a domain */
    struct poly_text reason;         /* why it cannot; or empty */
    struct poly_text key;            /* column; or empty */
    const struct poly_text *tenants; /* columns that may say whose a row is */
    size_t tenant_count;
    bool tenant_needed;            /* it can be a domain with one of them only */
    const struct poly_text *texts; /* columns that could be searched */
    size_t text_count;
    int64_t rows; /* about; -1: not known */
};

struct poly_adoption {
    const struct poly_adopt_table *tables;
    size_t count, domains;   /* of these, can be domains as they stand in config */
    struct poly_text config; /* a polystore.yaml */
    struct poly_text note;   /* what else would be in the way; or empty */
};

/* POLY_INVALID: no such place. Free with poly_adoption_free(). */
POLY_API enum poly_status poly_adopt_read(const struct poly_adopt_options *options,
                                          struct poly_adoption **adoption,
                                          struct poly_error *err) POLY_MUST_USE;
POLY_API void poly_adoption_free(struct poly_adoption *adoption); /* NULL is accepted */

/* --- putting in and taking out --- */

/* Of this table so many rows are done, of about so many (0: not known). false: stop; what is done
 * is kept, and the next call goes on. */
typedef bool poly_adopt_fn(void *arg, const char *table, uint64_t done, uint64_t total);

struct poly_adopt_run {
    uint32_t wait_ms;        /* for tables that are locked by others; the rest goes on meanwhile */
    bool connected;          /* release: also while others of ours are connected */
    poly_adopt_fn *progress; /* may be NULL */
    void *arg;
};

struct poly_adopt_item {
    struct poly_text table;
    struct poly_text domain;  /* release: empty */
    enum poly_status status;  /* POLY_OK: done. POLY_TIMEOUT: locked for all of wait_ms */
    struct poly_text problem; /* who has the lock, what does not fit; or empty */
    int64_t rows, written;    /* looked at, added to the log; -1: not known */
};

struct poly_adopt_report {
    const struct poly_adopt_item *items;
    size_t count, problems;        /* of these, are not done: run it again */
    const struct poly_text *notes; /* what is left to say */
    size_t note_count;
};

/*
 * Makes the domains of a configuration followed: triggers, and the log brought up to the rows,
 * while others use the tables. On PostgreSQL no lock on a table is held or waited for over a
 * second. On SQLite it is what poly_open() does. Whatever ended it, it can be run again.
 */
POLY_API enum poly_status poly_adopt_apply(const struct poly_options *options,
                                           const struct poly_adopt_run *run,
                                           struct poly_adopt_report **report,
                                           struct poly_error *err) POLY_MUST_USE;
/*
 * The opposite: takes everything of ours out of the database of the configuration, and our files
 * out of the data folder; with it go log, events, subscriptions and keys. Tables and rows stay.
 * POLY_UNAVAILABLE: a daemon or program has it open.
 */
POLY_API enum poly_status poly_release(const struct poly_options *options,
                                       const struct poly_adopt_run *run,
                                       struct poly_adopt_report **report,
                                       struct poly_error *err) POLY_MUST_USE;
POLY_API void poly_adopt_report_free(struct poly_adopt_report *report); /* NULL is accepted */

#ifdef __cplusplus
}
#endif
#endif
