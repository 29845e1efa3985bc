/*
 * Materialised views: tables whose rows are those of a query, kept up to date.
 *
 *   view_keep.c         when: what has changed, what is due, what failed; its thread
 *   view.c              what both drivers need; who may read which; the status
 *   embedded_view.c     how, in SQLite: the difference, in one transaction of the writer
 *   postgresql_view.c   how, on PostgreSQL: REFRESH MATERIALIZED VIEW CONCURRENTLY
 *
 * Each has a row in poly_view: which definition stands, and up to which position
 * of the log it has everything. The row and the view change in one transaction.
 */
#ifndef POLY_STORES_RELATIONAL_VIEW_H
#define POLY_STORES_RELATIONAL_VIEW_H

#include "base/limits.h"
#include "stores/relational/driver.h"

enum { POLY_VIEW_DEFINITION = 32 };

/* One view, as the drivers work on it: on one thread at a time. */
struct poly_view_job {
    struct poly_relational *relational;
    const struct poly_view_config *config;
    const char *query;                        /* for this driver */
    uint8_t definition[POLY_VIEW_DEFINITION]; /* of what is declared */
    bool reads[POLY_MAX_DOMAINS];             /* as config->domains */
    bool fits;       /* what is declared stands in the database; else it is to be built */
    bool foreign;    /* it does not, because another daemon has declared it otherwise */
    bool force;      /* refresh although nothing has changed */
    bool busy;       /* out: another daemon is at it */
    int64_t started; /* monotonic */
};

/* For poly_relational_driver. */
struct poly_view_driver {
    /* Can it run? Fills definition, reads and fits. Nothing is written. */
    enum poly_status (*check)(struct poly_view_job *job, struct poly_error *err);
    /* Builds it where it does not fit, else refreshes it; fills what check fills. All or nothing.
     * When it is built, the old one serves until the new one is there. */
    enum poly_status (*run)(struct poly_view_job *job, struct poly_error *err);
    /* In a transaction: what stands under that name, and is ours. */
    enum poly_status (*drop)(struct poly_db *db, const char *name, struct poly_error *err);
};

extern const struct poly_view_driver poly_view_embedded, poly_view_postgresql;

/* The row of a view in poly_view. */
struct poly_view_row {
    bool there;
    bool same; /* it has the definition of the job */
    bool none; /* it stands no more: a migration has taken it down, to be built again */
    uint64_t position, refreshes;
    int64_t time, duration;
};
enum poly_status poly_view_load(struct poly_db *db, const struct poly_view_job *job,
                                struct poly_view_row *row, struct poly_error *err);
/* In the transaction of a refresh that covers everything up to position. */
enum poly_status poly_view_note(struct poly_db *db, const struct poly_view_job *job,
                                uint64_t position, struct poly_error *err);
/* The first change of one of the domains beyond after and up to upto. */
struct poly_view_change {
    uint64_t after, upto;
    uint64_t position; /* out; 0: there is none */
    int64_t time;      /* out: its own */
};
enum poly_status poly_view_changed(struct poly_db *db, const struct poly_config *config,
                                   const bool *reads, struct poly_view_change *change,
                                   struct poly_error *err);
/* Fills the definition: of what is declared, and of more that the driver makes it from. */
void poly_view_define(struct poly_view_job *job, const char *more);
/* Notes that it reads the domain of that number. A domain that cannot be used is refused: its
 * changes are not in the log. */
enum poly_status poly_view_reads(struct poly_view_job *job, size_t domain, struct poly_error *err);
/* POLY_INVALID: it reads a table that is no domain's, or a collection. */
enum poly_status poly_view_none(const char *table, bool collection, struct poly_error *err);
/* Are the declared key and tenant among the query's columns, and no two named alike? */
enum poly_status poly_view_columns(const struct poly_view_job *job, const char *const *names,
                                   size_t count, struct poly_error *err);
bool poly_view_in_key(const struct poly_view_config *config, const char *column);
/* What runs for long on db may be interrupted from here on, by a close; NULL: no more. */
void poly_view_running(struct poly_view_job *job, struct poly_db *db);
/* The instance is being closed: stop. */
bool poly_view_closing(const struct poly_view_job *job);

/* --- for the walls around SQL --- */

/* Who reads: a tenant, somebody without the right ADMIN, an administrator. The view that he may
 * read under that name; NULL: none. */
enum poly_view_reader { POLY_VIEW_TENANT, POLY_VIEW_OPEN, POLY_VIEW_ADMIN };
const struct poly_view_config *poly_view_find(struct poly_relational *relational, const char *name,
                                              enum poly_view_reader reader);
/* Is it the name of one, whether it stands or not? Nobody else writes there. */
bool poly_view_named(const struct poly_relational *relational, const char *name);
/* Changes when another answer of poly_view_find() is possible. */
unsigned poly_view_version(struct poly_relational *relational);

/* --- life --- */

/* Drops what is declared no more. */
enum poly_status poly_views_tidy(struct poly_relational *relational, struct poly_error *err);
/* Looks at what is declared, and starts the thread. When the tables have been read. */
enum poly_status poly_views_open(struct poly_relational *relational, struct poly_error *err);
/* Stops it. NULL is accepted. */
void poly_views_stop(struct poly_relational *relational);
void poly_views_free(struct poly_relational *relational);
/* The schema has changed: every view is looked at anew and refreshed, at the latest by the
 * deadline (monotonic) when this returns. */
void poly_views_migrated(struct poly_relational *relational, int64_t deadline);

/* For the status; on a connection with a snapshot. NULL: the server does not answer. */
struct poly_view_status;
enum poly_status poly_views_report(struct poly_relational *relational, struct poly_db *db,
                                   struct poly_arena *arena, const struct poly_view_status **list,
                                   size_t *count, struct poly_error *err);

#endif
