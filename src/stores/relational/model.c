/*
 * A change of model. What is collected lies beside the records, in poly_model_vector, each vector
 * with the version of the record that it was made of. Writers go on with the model that serves.
 *
 * The swap is one transaction: it exchanges the column's vectors for those beside it, and says in
 * poly_model from which position on the log's vectors are of the new model. While it runs nobody
 * else writes to the table, so that nothing of the old model comes after that position. What
 * follows the log reads both in order, and so do all daemons; none can mix them.
 */
#include "stores/relational/model.h"

#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "core/config.h"
#include "core/instance.h"
#include "core/model.h"

static const char next_get[] = "SELECT model, dimensions, back FROM poly_model_next"
                               " WHERE domain = ?1 AND field = ?2";
static const char next_put[] =
    "INSERT INTO poly_model_next(domain, field, model, dimensions, back, time)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (domain, field)"
    " DO UPDATE SET model = ?3, dimensions = ?4, back = ?5, time = ?6";
/* And keeps it as it is until the end of the transaction. */
static const char next_touch[] = "UPDATE poly_model_next SET time = ?3"
                                 " WHERE domain = ?1 AND field = ?2";
static const char next_drop[] = "DELETE FROM poly_model_next WHERE domain = ?1 AND field = ?2";
static const char count_kept[] = "SELECT count(*) FROM poly_model_vector"
                                 " WHERE domain = ?1 AND field = ?2 AND old = 0";
static const char drop_all[] = "DELETE FROM poly_model_vector WHERE domain = ?1 AND field = ?2";

/* --- which vector --- */

static const struct poly_domain_vector *named(const struct poly_domain *domain, const char *name)
{
    if (name == NULL)
        return domain->vector_count == 1 ? &domain->vectors[0] : NULL;
    for (size_t i = 0; i < domain->vector_count; i++)
        if (strcmp(domain->vectors[i].name, name) == 0)
            return &domain->vectors[i];
    return NULL;
}

enum poly_status poly_model_find_table(struct poly_model_change *c)
{
    const char *domain = c->domain->name, *field = c->declared->field;

    c->table = poly_relational_table(poly_instance_relational(c->instance), c->domain);
    if (c->table == NULL)
        return poly_fail(c->err, POLY_INVALID,
                         "domain '%s' is a stream: what was appended never changes, and its "
                         "vectors neither",
                         domain);
    if (c->table->status != POLY_OK)
        return poly_fail(c->err, c->table->status, "domain '%s': %s", domain, c->table->problem);
    c->column = poly_table_find(c->table, field);
    if (c->column == c->table->column_count)
        return poly_fail(c->err, POLY_INVALID, "domain '%s' has no column '%s'", domain, field);
    return POLY_OK;
}

enum poly_status poly_model_find(struct poly_model_change *c, struct poly_session *session,
                                 const char *domain, const char *name, struct poly_error *err)
{
    enum poly_status status =
        poly_session_require(session, POLY_RIGHT_ADMIN, "a change of model", err);

    *c = (struct poly_model_change){.session = session,
                                    .instance = poly_session_instance(session),
                                    .arena = poly_session_arena(session),
                                    .err = err};
    if (status != POLY_OK)
        return status;
    if (domain == NULL)
        return poly_fail(err, POLY_INVALID, "no domain was named");
    c->domain = poly_instance_domain(c->instance, domain, err);
    if (c->domain == NULL)
        return err->status;
    c->declared = named(c->domain, name);
    if (c->declared == NULL)
        return poly_fail(err, POLY_INVALID,
                         c->domain->vector_count == 0 ? "domain '%s': has no vectors"
                         : name == NULL ? "domain '%s': has several vectors; name one of them"
                                        : "domain '%s': has no vector '%.60s'",
                         domain, name);
    c->now = poly_vector_now(c->declared);
    return poly_model_find_table(c);
}

/* --- SQL --- */

enum poly_status poly_model_open(const struct poly_model_change *c, struct poly_db *db,
                                 const char *sql, struct poly_stmt *stmt)
{
    enum poly_status status = poly_stmt_open(stmt, db, sql, c->err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(stmt, 1, poly_text(c->domain->name));
    poly_stmt_text(stmt, 2, poly_text(c->table->columns[c->column].name));
    return POLY_OK;
}

enum poly_status poly_model_run(const struct poly_model_change *c, struct poly_db *db,
                                const char *sql, uint64_t *changes)
{
    struct poly_stmt stmt;
    int64_t changed = 0;
    enum poly_status status = poly_model_open(c, db, sql, &stmt);

    if (status == POLY_OK)
        status = poly_stmt_changes(&stmt, &changed, c->err);
    if (changes != NULL)
        *changes = (uint64_t)changed;
    return status;
}

enum poly_status poly_model_read(const struct poly_model_change *c, struct poly_db *db,
                                 const char *sql, uint64_t *one, uint64_t *two)
{
    struct poly_stmt stmt;
    bool row = false;
    enum poly_status status = poly_model_open(c, db, sql, &stmt);

    if (status == POLY_OK)
        status = poly_stmt_row(&stmt, &row, c->err);
    if (status != POLY_OK || !row)
        return status;
    *one = (uint64_t)poly_stmt_get_int(&stmt, 0);
    if (two != NULL)
        *two = (uint64_t)poly_stmt_get_int(&stmt, 1);
    poly_stmt_close(&stmt);
    return POLY_OK;
}

enum poly_status poly_model_lacking(const struct poly_model_change *c, struct poly_db *db,
                                    const struct poly_model_sql *sql, uint64_t *lacking,
                                    uint64_t *refused)
{
    char queue[POLY_FILLING_NAME];
    struct poly_stmt stmt;
    bool row = false;
    enum poly_status status = poly_model_open(c, db, sql->lacking, &stmt);

    if (status != POLY_OK)
        return status;
    poly_filling_name(c->declared, queue);
    poly_stmt_text(&stmt, 3, poly_text(queue));
    status = poly_stmt_row(&stmt, &row, c->err);
    if (status != POLY_OK || !row)
        return status;
    *lacking = (uint64_t)poly_stmt_get_int(&stmt, 0);
    *refused = (uint64_t)poly_stmt_get_int(&stmt, 1);
    poly_stmt_close(&stmt);
    return POLY_OK;
}

enum poly_status poly_model_next(struct poly_model_change *c, struct poly_db *db)
{
    struct poly_stmt stmt;
    struct poly_text model;
    enum poly_status status = poly_model_open(c, db, next_get, &stmt);

    c->any = c->embedded = false;
    if (status == POLY_OK)
        status = poly_stmt_row(&stmt, &c->any, c->err);
    if (status != POLY_OK || !c->any)
        return status;
    model = poly_stmt_get_text(&stmt, 0);
    c->model = poly_arena_copy(c->arena, model.data, model.size);
    c->dimensions = (uint32_t)poly_stmt_get_int(&stmt, 1);
    c->back = poly_stmt_get_int(&stmt, 2) != 0;
    poly_stmt_close(&stmt);
    if (c->model == NULL)
        return poly_no_memory(c->err);
    return poly_filling_get(db, c->domain->name, c->declared->name, c->arena, &c->filling,
                            &c->embedded, c->err);
}

enum poly_status poly_model_put_next(const struct poly_model_change *c, struct poly_db *db,
                                     const char *model, uint32_t dimensions, bool back)
{
    struct poly_stmt stmt;
    enum poly_status status = poly_model_open(c, db, next_put, &stmt);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 3, poly_text(model));
    poly_stmt_int(&stmt, 4, dimensions);
    poly_stmt_int(&stmt, 5, back);
    poly_stmt_int(&stmt, 6, poly_clock_wall());
    return poly_stmt_done(&stmt, c->err);
}

enum poly_status poly_model_hold_next(struct poly_model_change *c, struct poly_db *db,
                                      struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status;

    c->err = err;
    status = poly_model_open(c, db, next_touch, &stmt);
    if (status != POLY_OK)
        return status;
    poly_stmt_int(&stmt, 3, poly_clock_wall());
    status = poly_stmt_done(&stmt, c->err);
    return status == POLY_OK ? poly_model_next(c, db) : status;
}

/* --- begin, abandon --- */

struct beginning {
    struct poly_model_change c;
    const struct poly_model_plan *plan;
    const char *embedder; /* NULL: somebody gives the vectors */
};

static bool is_begun(const struct beginning *b)
{
    const struct poly_model_change *c = &b->c;

    return c->any && !c->back && strcmp(c->model, b->plan->model) == 0 &&
           c->dimensions == b->plan->dimensions && c->embedded == (b->embedder != NULL) &&
           (b->embedder == NULL || strcmp(c->filling.embedder, b->embedder) == 0);
}

static enum poly_status begin_anew(const struct beginning *b, struct poly_db *db)
{
    const struct poly_model_change *c = &b->c;
    const struct poly_filling filling = {.embedder = b->embedder,
                                         .model = b->plan->model,
                                         .field = c->table->columns[c->column].name,
                                         .dimensions = (uint32_t)b->plan->dimensions,
                                         .runs = true};
    enum poly_status status = poly_model_run(c, db, drop_all, NULL);

    if (status == POLY_OK)
        status = poly_filling_drop(db, c->domain->name, c->declared, c->err);
    if (status == POLY_OK && b->embedder != NULL)
        status = poly_filling_put(db, c->domain->name, c->declared->name, &filling, c->err);
    return status == POLY_OK ? poly_model_put_next(c, db, b->plan->model, filling.dimensions, false)
                             : status;
}

static enum poly_status begin(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct beginning *b = arg;
    struct poly_model_change *c = &b->c;
    enum poly_status status = poly_model_hold_next(c, db, err);

    if (status != POLY_OK || is_begun(b))
        return status;
    if (c->any && !c->back)
        return poly_fail(
            err, POLY_CONFLICT,
            "domain '%s': vectors of the model '%.100s' with %u dimensions are being "
            "collected%s%.60s%s; swap them in, or abandon them, before '%.100s' with "
            "%zu%s%.60s%s",
            c->domain->name, c->model, c->dimensions, c->embedded ? ", made by the embedder '" : "",
            c->embedded ? c->filling.embedder : "", c->embedded ? "'" : "", b->plan->model,
            b->plan->dimensions, b->embedder == NULL ? "" : ", made by '",
            b->embedder == NULL ? "" : b->embedder, b->embedder == NULL ? "" : "'");
    return begin_anew(b, db);
}

static enum poly_status check_plan(const struct beginning *b)
{
    const struct poly_model_change *c = &b->c;
    const struct poly_model_plan *plan = b->plan;
    const char *model = plan->model, *domain = c->domain->name;

    if (model == NULL || *model == '\0' || strlen(model) > POLY_MAX_NAME)
        return poly_fail(c->err, POLY_INVALID, "the name of a model has 1 to %d bytes",
                         POLY_MAX_NAME);
    if (plan->dimensions == 0 || plan->dimensions > POLY_MAX_DIMENSIONS)
        return poly_fail(c->err, POLY_INVALID, "a vector has 1 to %d dimensions, not %zu",
                         POLY_MAX_DIMENSIONS, plan->dimensions);
    if (c->now->model != NULL && strcmp(c->now->model, model) == 0 &&
        (b->embedder == NULL || plan->dimensions == c->now->dimensions))
        return poly_fail(c->err, POLY_INVALID,
                         "domain '%s': its vectors are of the model '%s' already", domain, model);
    if (plan->dimensions != c->now->dimensions &&
        poly_config_in_table(poly_instance_config(c->instance), c->domain, c->now))
        return poly_fail(c->err, POLY_UNSUPPORTED,
                         "domain '%s': its vectors are searched in its own table, whose column "
                         "holds %u numbers and not %zu; change that by a migration",
                         domain, c->now->dimensions, plan->dimensions);
    return POLY_OK;
}

static enum poly_status check_embedder(const struct poly_model_change *c, const char *embedder,
                                       const char *model, size_t dimensions)
{
    struct poly_domain_vector vector = *c->declared;

    if (c->declared->embedder == NULL)
        return poly_fail(c->err, POLY_INVALID,
                         "domain '%s': its vectors are not made by an embedder: polystore.yaml "
                         "names none, and no text; give the vectors of the new model",
                         c->domain->name);
    vector.embedder = embedder;
    vector.model = model;
    vector.dimensions = (uint32_t)dimensions;
    return poly_filling_check(c->instance, &vector, c->err);
}

static enum poly_status run_again(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct poly_model_change *c = arg;
    enum poly_status status = poly_model_hold_next(c, db, err);

    if (status != POLY_OK)
        return status;
    if (!c->any || !c->back || !c->embedded)
        return poly_fail(err, POLY_NOT_FOUND,
                         "domain '%s': there is no model to go back to that an embedder makes",
                         c->domain->name);
    status = check_embedder(c, c->filling.embedder, c->filling.model, c->filling.dimensions);
    if (status != POLY_OK)
        return status;
    c->filling.runs = true;
    return poly_filling_put(db, c->domain->name, c->declared->name, &c->filling, err);
}

enum poly_status poly_model_plan(struct poly_session *session, const char *domain, const char *name,
                                 const struct poly_model_plan *plan, struct poly_error *err)
{
    struct poly_error local;
    struct beginning b = {.plan = plan};
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_model_find(&b.c, session, domain, name, err);
    if (status != POLY_OK)
        return status;
    if (plan->back && (plan->model != NULL || plan->dimensions != 0 || plan->embedder != NULL))
        return poly_fail(err, POLY_INVALID,
                         "domain '%s': what is kept to go back to has its model, dimensions and "
                         "embedder; leave them out",
                         domain);
    b.embedder = plan->embedder != NULL ? plan->embedder : b.c.now->embedder;
    status = plan->back ? POLY_OK : check_plan(&b);
    if (status == POLY_OK && !plan->back && b.embedder != NULL)
        status = check_embedder(&b.c, b.embedder, plan->model, plan->dimensions);
    if (status == POLY_OK)
        status = plan->back ? poly_instance_write(b.c.instance, run_again, &b.c, err)
                            : poly_instance_write(b.c.instance, begin, &b, err);
    if (status == POLY_OK) /* who makes vectors looks what is wanted */
        poly_signal_poke(poly_instance_head(b.c.instance));
    return status;
}

enum poly_status poly_model_begin(struct poly_session *session, const char *domain,
                                  const char *name, const char *model, size_t dimensions,
                                  struct poly_error *err)
{
    const struct poly_model_plan plan = {.model = model, .dimensions = dimensions};

    return poly_model_plan(session, domain, name, &plan, err);
}

static enum poly_status abandon(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct poly_model_change *c = arg;
    enum poly_status status = poly_model_hold_next(c, db, err);

    if (status != POLY_OK)
        return status;
    if (!c->any)
        return poly_fail(err, POLY_NOT_FOUND, "domain '%s': no vectors of another model are kept",
                         c->domain->name);
    status = poly_model_run(c, db, drop_all, NULL);
    if (status == POLY_OK)
        status = poly_filling_drop(db, c->domain->name, c->declared, err);
    return status == POLY_OK ? poly_model_run(c, db, next_drop, NULL) : status;
}

enum poly_status poly_model_abandon(struct poly_session *session, const char *domain,
                                    const char *name, struct poly_error *err)
{
    struct poly_error local;
    struct poly_model_change c;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_model_find(&c, session, domain, name, err);
    return status == POLY_OK ? poly_instance_write(c.instance, abandon, &c, err) : status;
}

/* --- how it is --- */

static enum poly_status fill_next(struct poly_model_change *c, struct poly_db *db,
                                  struct poly_model_status *one, bool counts)
{
    const struct poly_model_sql *sql;
    uint64_t wrong = 0;
    enum poly_status status = poly_model_next(c, db);

    if (status != POLY_OK || !c->any)
        return status;
    one->next = poly_text(c->model);
    one->next_dimensions = c->dimensions;
    one->back = c->back;
    if (c->embedded)
        one->next_embedder = poly_text(c->filling.embedder);
    one->fills = c->embedded && c->filling.runs;
    one->counted = counts;
    if (!counts)
        return POLY_OK;
    status = poly_model_read(c, db, count_kept, &one->filled, NULL);
    if (status == POLY_OK)
        status = poly_model_sql(poly_instance_relational(c->instance), c->table, c->column, &sql,
                                c->err);
    if (status == POLY_OK && c->embedded)
        return poly_model_lacking(c, db, sql, &one->missing, &one->refused);
    if (status == POLY_OK)
        status = poly_model_read(c, db, sql->wrong, &wrong, &one->stale);
    one->missing = wrong - one->stale;
    return status;
}

struct looking {
    struct poly_session *session;
    struct poly_db *db;
    bool counts; /* takes a look at every row */
    struct poly_error *err;
};

static enum poly_status fill_one(const struct looking *l, const struct poly_domain *domain,
                                 const struct poly_domain_vector *vector,
                                 struct poly_model_status *one)
{
    const struct poly_domain_vector *now = poly_vector_now(vector);
    const char *name = domain->vector_count == 1 ? NULL : vector->name;
    struct poly_model_change c;

    *one = (struct poly_model_status){
        .domain = poly_text(domain->name),
        .name = poly_text(vector->name),
        .model = poly_text(now->model == NULL ? "" : now->model),
        .dimensions = now->dimensions,
        .changes = now->change,
        .embedder = poly_text(now->embedder == NULL ? "" : now->embedder),
        .named = poly_text(vector->model == NULL ? "" : vector->model),
        .named_dimensions = vector->dimensions,
        .next = {"", 0},
        .next_embedder = {"", 0},
    };
    /* Of a stream, or a table that does not fit, nothing is collected. */
    return domain->table == NULL ||
                   poly_model_find(&c, l->session, domain->name, name, l->err) != POLY_OK
               ? POLY_OK
               : fill_next(&c, l->db, one, l->counts);
}

enum poly_status poly_model_status(struct poly_session *session, const char *domain,
                                   const struct poly_model_status **list, size_t *count,
                                   struct poly_error *err)
{
    const struct poly_config *config = poly_instance_config(poly_session_instance(session));
    struct poly_model_status *all;
    struct poly_error local;
    struct looking l = {.session = session, .counts = domain != NULL};
    size_t room = 0, filled = 0, all_domains;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_session_require(session, POLY_RIGHT_ADMIN, "models of vectors", err);
    if (status == POLY_OK && domain != NULL &&
        poly_instance_domain(poly_session_instance(session), domain, err) == NULL)
        status = err->status;
    if (status != POLY_OK)
        return status;
    all_domains = poly_config_domains(config);
    for (size_t i = 0; i < all_domains; i++)
        room += config->domains[i].vector_count;
    all = poly_arena_array(poly_session_arena(session), room + 1, sizeof(*all));
    if (all == NULL)
        return poly_no_memory(err);
    l.err = err;
    status = poly_session_read_log(session, &l.db, err);
    if (status != POLY_OK)
        return status;
    for (size_t i = 0; i < all_domains && status == POLY_OK; i++) {
        const struct poly_domain *d = &config->domains[i];

        for (size_t v = 0; v < d->vector_count && status == POLY_OK; v++)
            if (poly_domain_is_live(d) && (domain == NULL || strcmp(domain, d->name) == 0))
                status = fill_one(&l, d, &d->vectors[v], &all[filled++]);
    }
    poly_session_read_end(session);
    *list = all;
    *count = filled;
    return status;
}
