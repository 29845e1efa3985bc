/*
 * What all daemons have used together, as sums that only grow: whoever adds to one reads it in the
 * same statement, and knows what the others have added since it did so before.
 */
#include "owners/postgresql/inside.h"

static const char add[] = "INSERT INTO poly.usage AS u(name, total) VALUES (?1, ?2)"
                          " ON CONFLICT (name) DO UPDATE SET total = u.total + excluded.total"
                          " RETURNING total";

struct use {
    struct poly_usage *usages;
    size_t count;
};

static enum poly_status add_one(struct poly_db *db, struct poly_usage *usage,
                                struct poly_error *err)
{
    struct poly_stmt stmt;
    bool found = false;
    enum poly_status status = poly_stmt_open(&stmt, db, add, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 1, poly_text(usage->name));
    poly_stmt_int(&stmt, 2, (int64_t)usage->used);
    status = poly_stmt_row(&stmt, &found, err);
    if (status == POLY_OK && found) {
        usage->total = (uint64_t)poly_stmt_get_int(&stmt, 0);
        poly_stmt_close(&stmt);
    }
    return status;
}

/* In the order of their names, so that two daemons cannot wait for each other. */
static enum poly_status add_all(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct use *use = arg;
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < use->count && status == POLY_OK; i++)
        status = add_one(db, &use->usages[i], err);
    return status;
}

enum poly_status poly_postgresql_use(struct poly_owner *owner, struct poly_usage *usages,
                                     size_t count, struct poly_error *err)
{
    struct use use = {usages, count};

    return poly_owner_run(owner->instance, add_all, &use, count <= 1, err);
}
