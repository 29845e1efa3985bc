/*
 * What is known of the vectors that an embedder makes, in the database of the log.
 *
 *   poly_embedding        a row for each record that has such a vector, or should have one:
 *                         what it was made of, or that it waits, or why it cannot be made
 *   poly_embedding_state  a row for each vector of the configuration: how far the log has been
 *                         looked at, and what holds it up
 *
 * A row is written before the log's position moves on, and a vector together with its row, so that
 * whatever ends a process at whatever moment leaves no record that nobody knows of.
 */
#ifndef POLY_STORES_VECTOR_EMBEDDING_QUEUE_H
#define POLY_STORES_VECTOR_EMBEDDING_QUEUE_H

#include "base/arena.h"
#include "base/sql.h"
#include "core/domain.h"

enum { POLY_EMBEDDING_HASH = 16, POLY_EMBEDDING_ERROR = 400 };

/* Of one vector there may be two queues: the other one is of the vectors that are to take the place
 * of the present ones, under a name of its own. See core/filling.h.
 */
enum poly_embedding_kind {
    POLY_EMBEDDING_MADE,
    POLY_EMBEDDING_WAITS,
    POLY_EMBEDDING_REFUSED /* by the embedder, or by the table; nobody tries again by himself */
};

/* Which vector of which domain. */
struct poly_embedding_name {
    struct poly_text domain, name;
};

struct poly_embedding_row {
    struct poly_text tenant, key; /* NUL behind them */
    enum poly_embedding_kind kind;
    uint64_t position;                 /* the record's version that this is about */
    uint8_t hash[POLY_EMBEDDING_HASH]; /* of its text and vector: see embedding_text.h */
    uint8_t text[POLY_EMBEDDING_HASH]; /* of its text alone; zeros: not known */
    int64_t attempts;                  /* that ended badly; those with fewer come first */
    int64_t since;                     /* wall clock: it waits, or was refused */
    struct poly_text error;            /* why it was */
};

struct poly_embedding_list {
    enum poly_embedding_kind kind;
    size_t max;
    struct poly_text after_tenant, after_key; /* of a page: beyond this record; none: the first */
    struct poly_embedding_row *rows;
    size_t count;
};

struct poly_embedding_state {
    uint8_t shape[POLY_EMBEDDING_HASH]; /* of what the vectors are made, and by which model */
    uint64_t position;                  /* every record up to here has been looked at */
    struct poly_text error;             /* what holds it up now; empty: nothing */
    int64_t time;                       /* of the error; 0: none */
    struct poly_text model;             /* that has made the vectors */
    uint32_t dimensions;
};

struct poly_embedding_counts {
    uint64_t waiting, refused;
    int64_t oldest; /* since when; 0: none waits */
};

/* --- reading: texts into the arena --- */

enum poly_status poly_embedding_state_get(struct poly_db *db,
                                          const struct poly_embedding_name *name,
                                          struct poly_arena *arena,
                                          struct poly_embedding_state *state, bool *known,
                                          struct poly_error *err);
/* row: its tenant and key are given. */
enum poly_status poly_embedding_get(struct poly_db *db, const struct poly_embedding_name *name,
                                    struct poly_embedding_row *row, bool *known,
                                    struct poly_error *err);
/* list->rows of one kind, at most list->max: those with the fewest attempts first, then the oldest.
 */
enum poly_status poly_embedding_read(struct poly_db *db, const struct poly_embedding_name *name,
                                     struct poly_arena *arena, struct poly_embedding_list *list,
                                     struct poly_error *err);
/* The same by tenant and key, which no attempt changes. */
enum poly_status poly_embedding_page(struct poly_db *db, const struct poly_embedding_name *name,
                                     struct poly_arena *arena, struct poly_embedding_list *list,
                                     struct poly_error *err);
enum poly_status poly_embedding_count(struct poly_db *db, const struct poly_embedding_name *name,
                                      struct poly_embedding_counts *counts, struct poly_error *err);

/* --- in a transaction --- */

/* Until its end it is of this shape; POLY_CONFLICT: of another one, for its model was changed. */
enum poly_status poly_embedding_hold(struct poly_db *db, const struct poly_embedding_name *name,
                                     const uint8_t *shape, struct poly_error *err);
/* From the beginning, under this shape: what was known is forgotten. */
enum poly_status poly_embedding_begin(struct poly_db *db, const struct poly_embedding_name *name,
                                      const uint8_t *shape,
                                      const struct poly_domain_vector *vector,
                                      struct poly_error *err);
enum poly_status poly_embedding_move(struct poly_db *db, const struct poly_embedding_name *name,
                                     uint64_t position, struct poly_error *err);
enum poly_status poly_embedding_trouble(struct poly_db *db, const struct poly_embedding_name *name,
                                        const char *error, int64_t time, struct poly_error *err);
/* Instead of what is there about the record, unless that is of a later version. */
enum poly_status poly_embedding_put(struct poly_db *db, const struct poly_embedding_name *name,
                                    const struct poly_embedding_row *row, struct poly_error *err);
enum poly_status poly_embedding_drop(struct poly_db *db, const struct poly_embedding_name *name,
                                     const struct poly_embedding_row *row, struct poly_error *err);
/* One attempt more. */
enum poly_status poly_embedding_tried(struct poly_db *db, const struct poly_embedding_name *name,
                                      const struct poly_embedding_row *row, struct poly_error *err);
/* What was refused waits again. */
enum poly_status poly_embedding_again(struct poly_db *db, const struct poly_embedding_name *name,
                                      int64_t *count, struct poly_error *err);

#endif
