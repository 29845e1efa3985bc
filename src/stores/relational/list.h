/* A list under way: what list.c has checked, and the drivers make a SELECT of. */
#ifndef POLY_STORES_RELATIONAL_LIST_H
#define POLY_STORES_RELATIONAL_LIST_H

#include "base/limits.h"
#include "stores/relational/driver.h"

enum {
    POLY_LIST_DIGEST = 8,
    POLY_LIST_VALUE_MAX = 1024 /* bytes of an order value that a cursor carries */
};

struct poly_list_cursor {
    struct poly_value order; /* as the driver keeps it: INT, FLOAT, TEXT, BYTES or NULL */
    struct poly_text key;
};

struct poly_listing {
    const struct poly_list_query *query;
    const struct poly_table *table;
    struct poly_text tenant;
    struct poly_arena *arena;
    size_t order; /* column */
    uint32_t limit;
    int64_t deadline; /* monotonic, microseconds */
    unsigned char digest[POLY_LIST_DIGEST];
    struct poly_list_cursor after; /* in: from the cursor; out: of the last row */
    bool has_after;
    struct poly_buffer sql;
    struct poly_value *parameters; /* ?1, ?2 … */
    int parameter_count, parameter_room;
    /* The rows so far. */
    struct poly_document *documents;
    size_t count, room;
};

/* The number of a new parameter with that value. */
int poly_list_bind(struct poly_listing *l, const struct poly_value *value);
enum poly_status poly_list_wrong(const struct poly_listing *l, const char *column, const char *why,
                                 struct poly_error *err);
enum poly_status poly_list_too_large(const struct poly_listing *l, struct poly_error *err);
/* A value as it stands in the filter's column; inside JSON by its own type. */
enum poly_status poly_list_stored(struct poly_listing *l, const struct poly_filter *filter,
                                  const struct poly_value *value, struct poly_value *out,
                                  struct poly_error *err);
/* What a driver's dialect says of one filter whose column, path and values are checked. */
enum poly_status poly_list_filters(struct poly_listing *l,
                                   enum poly_status (*add)(struct poly_listing *l,
                                                           const struct poly_filter *filter,
                                                           struct poly_error *err),
                                   struct poly_error *err);
/* Was the text built? */
enum poly_status poly_list_built(const struct poly_listing *l, struct poly_error *err);
/* Room for one more document; NULL: too large. */
struct poly_document *poly_list_next(struct poly_listing *l);
/* The order value of the last row of the page, copied. */
enum poly_status poly_list_remember(struct poly_listing *l, struct poly_value order,
                                    struct poly_error *err);
/* The cursor behind the last document. */
enum poly_status poly_list_more(struct poly_listing *l, const char **cursor,
                                struct poly_error *err);

#endif
