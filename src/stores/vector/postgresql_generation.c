/*
 * A generation is a table for each vector of a domain, poly_vector.entries_NUMBER_COLLECTION, and
 * above them poly_vector.entries_NUMBER, from which they inherit what they have in common and by
 * which they are counted.
 *
 * Their indexes are made when a generation has been filled: pgvector builds one from a table
 * many times faster than by one insert after the other. Until then searches are exact.
 */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "core/config.h"
#include "core/model.h"
#include "stores/vector/postgresql.h"
#include "stores/vector/record.h"

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS poly_vector.domain(generation bigint, number int,"
    " domain text NOT NULL, vector text NOT NULL, source text NOT NULL, stream bool NOT NULL,"
    " tenants bool NOT NULL, field text NOT NULL, dimensions int NOT NULL, metric text NOT NULL,"
    " element text NOT NULL, m int NOT NULL, ef_construction int NOT NULL, filters text[] NOT NULL,"
    " PRIMARY KEY (generation, number));"
    /* change: of its model, so many. since: of a domain that was made while running, when. */
    "ALTER TABLE poly_vector.domain ADD COLUMN IF NOT EXISTS change int NOT NULL DEFAULT 0,"
    " ADD COLUMN IF NOT EXISTS since bigint NOT NULL DEFAULT 0,"
    " ADD COLUMN IF NOT EXISTS filters_in text;";
static const char *const parts[] = {"entries", NULL};

/* embedding NULL: deleted, or a record without a vector; the row stays, so that a late change finds
 * it and stops. */
static const char make[] =
    "CREATE TABLE poly_vector.entries_@(tenant text COLLATE \"C\" NOT NULL,"
    " key text COLLATE \"C\" NOT NULL, position bigint NOT NULL, version bigint NOT NULL,"
    " filled bool NOT NULL, filters jsonb);";
static const char make_collection[] =
    "CREATE TABLE poly_vector.entries_%llu_%lld(embedding %s, PRIMARY KEY (tenant, key))"
    " INHERITS (poly_vector.entries_%llu);"
    /* vectors are read whole, and do not compress */
    "ALTER TABLE poly_vector.entries_%llu_%lld ALTER COLUMN embedding SET STORAGE EXTERNAL;";
static const char add_domain[] = "INSERT INTO poly_vector.domain VALUES"
                                 " ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
                                 " $15, $16, $17)";
/* With another model it is another table, under a number that no other has. */
static const char change_domain[] =
    "UPDATE poly_vector.domain AS d SET dimensions = $3, change = $4, number = (SELECT"
    " max(number) + 1 FROM poly_vector.domain AS o WHERE o.generation = d.generation)"
    " WHERE generation = $1 AND number = $2 RETURNING number::bigint";
static const char drop_collection[] = "DROP TABLE poly_vector.entries_%llu_%lld";
static const char remove_collection[] =
    "DROP TABLE IF EXISTS poly_vector.entries_%llu_%lld;"
    "DELETE FROM poly_vector.domain WHERE generation = %llu AND number = %lld";
static const char domains[] =
    "SELECT number, domain, source, stream, tenants, vector, field, dimensions, metric, element,"
    " m, ef_construction, array_to_json(filters)::text, change, since, filters_in"
    " FROM poly_vector.domain WHERE generation = $1 ORDER BY number";
static const char count[] = "SELECT count(*) FROM poly_vector.entries_@ WHERE filled";
static const char positions[] = "SELECT DISTINCT position FROM poly_vector.entries_@"
                                " WHERE position > $1 ORDER BY position LIMIT $2";
static const char version[] = "SELECT extversion FROM pg_extension WHERE extname = 'vector'";

/* --- the extension --- */

enum poly_status poly_pgv_accepts(struct poly_store *store, const struct poly_domain *domain,
                                  struct poly_error *err)
{
    const struct poly_pgv *self = (const struct poly_pgv *)store;

    for (size_t i = 0; i < domain->vector_count; i++) {
        const char *element = domain->vectors[i].element;

        if (self->narrow && (strcmp(element, "f16") == 0 || strcmp(element, "binary") == 0))
            return poly_fail(err, POLY_UNSUPPORTED,
                             "vector: the elements 'f16' and 'binary' need pgvector 0.7 or later; "
                             "this is %s",
                             self->version);
    }
    return POLY_OK;
}

static enum poly_status check_version(struct poly_pgv *self, const char *text,
                                      struct poly_error *err)
{
    const struct poly_config *config = self->base.config;
    unsigned major = 0, minor = 0;
    enum poly_status status = POLY_OK;

    if (sscanf(text, "%u.%u", &major, &minor) != 2 || (major == 0 && minor < 5))
        return poly_fail(err, POLY_UNSUPPORTED,
                         "vector: pgvector %.20s is too old; 0.5 or later is needed", text);
    snprintf(self->version, sizeof(self->version), "%.20s", text);
    self->narrow = major == 0 && minor < 7;
    self->iterative = major > 0 || minor >= 8;
    for (size_t i = 0; i < config->domain_count && status == POLY_OK; i++)
        status = poly_pgv_accepts(&self->base.store, &config->domains[i], err);
    return status;
}

enum poly_status poly_pgv_extension(struct poly_pgv *self, struct poly_error *err)
{
    struct poly_error why;
    struct poly_pg *pg;
    PGresult *rows;
    enum poly_status status = poly_pg_open(self->base.target, -1, &pg, err);

    if (status != POLY_OK)
        return status;
    status = poly_pg_exec(pg, "CREATE EXTENSION IF NOT EXISTS vector", &why);
    if (status != POLY_OK && status != POLY_UNAVAILABLE)
        status = poly_fail(err, POLY_UNSUPPORTED,
                           "vector: the database has no pgvector: %.200s; install it, and let a "
                           "superuser run CREATE EXTENSION vector",
                           why.message);
    else if (status != POLY_OK)
        *err = why;
    if (status == POLY_OK)
        status = poly_pg_run(pg, version, NULL, &rows, err);
    if (status == POLY_OK) {
        status = check_version(self, PQntuples(rows) > 0 ? poly_pg_text(rows, 0, 0).data : "", err);
        PQclear(rows);
    }
    poly_pg_close(pg);
    return status;
}

/* --- what a collection is on the server --- */

static enum poly_element element_of(const char *name)
{
    return strcmp(name, "f16") == 0      ? POLY_F16
           : strcmp(name, "int8") == 0   ? POLY_INT8
           : strcmp(name, "binary") == 0 ? POLY_BINARY
                                         : POLY_F32;
}

static const char *type_of(struct poly_arena *arena, const char *element, uint32_t dimensions)
{
    const char *name = strcmp(element, "f16") == 0      ? "halfvec"
                       : strcmp(element, "binary") == 0 ? "bit"
                                                        : "vector";

    return poly_arena_printf(arena, "%s(%u)", name, dimensions);
}

static void set_operators(struct poly_pgv_collection *c)
{
    static const char *const operators[] = {
        [POLY_COSINE] = "<=>", [POLY_INNER] = "<#>", [POLY_L2] = "<->", [POLY_HAMMING] = "<~>"};
    static const char *const full[] = {[POLY_COSINE] = "vector_cosine_ops",
                                       [POLY_INNER] = "vector_ip_ops",
                                       [POLY_L2] = "vector_l2_ops",
                                       [POLY_HAMMING] = "bit_hamming_ops"};
    static const char *const half[] = {[POLY_COSINE] = "halfvec_cosine_ops",
                                       [POLY_INNER] = "halfvec_ip_ops",
                                       [POLY_L2] = "halfvec_l2_ops",
                                       [POLY_HAMMING] = "bit_hamming_ops"};

    c->operator= operators[c->metric];
    c->opclass = c->element == POLY_F16 ? half[c->metric] : full[c->metric];
    c->send = c->element == POLY_F16      ? "halfvec_send"
              : c->element == POLY_BINARY ? "bit_send"
                                          : "vector_send";
    c->indexable = c->element == POLY_BINARY ||
                   c->shape.dimensions <= (c->element == POLY_F16 ? 4000u : 2000u);
}

/* --- writing down what a generation is --- */

static enum poly_status add_row(struct poly_pg *pg, uint64_t generation, int64_t number,
                                const struct poly_domain *domain,
                                const struct poly_domain_vector *vector, struct poly_error *err)
{
    struct poly_text filters[POLY_MAX_COLUMNS];
    struct poly_pg_params params;

    for (size_t i = 0; i < vector->filter_count; i++)
        filters[i] = poly_text(vector->filters[i]);
    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)generation);
    poly_pg_add_int(&params, number);
    poly_pg_add_text(&params, poly_text(domain->name));
    poly_pg_add_text(&params, poly_text(vector->name));
    poly_pg_add_text(&params, poly_text(domain->stream == NULL ? domain->name : domain->stream));
    poly_pg_add_bool(&params, domain->stream != NULL);
    poly_pg_add_bool(&params, domain->tenant != NULL);
    poly_pg_add_text(&params, poly_text(vector->field));
    poly_pg_add_int(&params, vector->dimensions);
    poly_pg_add_text(&params, poly_text(vector->metric));
    poly_pg_add_text(&params, poly_text(vector->element));
    poly_pg_add_int(&params, vector->m);
    poly_pg_add_int(&params, vector->ef_construction);
    poly_pg_add_texts(&params, filters, (int)vector->filter_count);
    poly_pg_add_int(&params, vector->change);
    poly_pg_add_int(&params, (int64_t)poly_domain_since(domain));
    if (vector->filters_in != NULL)
        poly_pg_add_text(&params, poly_text(vector->filters_in));
    else
        poly_pg_add_null(&params);
    return poly_pg_done(pg, add_domain, &params, NULL, err);
}

static enum poly_status add_collection(struct poly_follower *self, struct poly_pg *pg,
                                       uint64_t generation, int64_t number,
                                       const struct poly_domain_vector *vector,
                                       struct poly_error *err)
{
    unsigned long long g = generation;
    long long n = number;
    const char *type = type_of(self->arena, vector->element, vector->dimensions);
    const char *sql =
        type == NULL ? NULL : poly_arena_printf(self->arena, make_collection, g, n, type, g, g, n);

    return sql == NULL ? poly_no_memory(err) : poly_pg_exec(pg, sql, err);
}

static bool holds(const struct poly_follower *self, const struct poly_domain *domain)
{
    bool any = false;

    for (size_t i = 0; i < domain->vector_count; i++)
        any = any || !poly_config_in_table(self->config, domain, &domain->vectors[i]);
    return any;
}

static enum poly_status take_up(struct poly_follower *self, struct poly_pg *pg, uint64_t generation,
                                const struct poly_domain *domain, int64_t *next,
                                struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < domain->vector_count && status == POLY_OK; i++) {
        const struct poly_domain_vector *now = poly_vector_now(&domain->vectors[i]);

        if (poly_config_in_table(self->config, domain, now))
            continue;
        status = add_row(pg, generation, *next, domain, now, err);
        if (status == POLY_OK)
            status = add_collection(self, pg, generation, *next, now, err);
        ++*next;
    }
    return status;
}

static enum poly_status take_out(struct poly_follower *self, struct poly_pg *pg,
                                 uint64_t generation, const struct poly_follower_source *source,
                                 struct poly_error *err)
{
    unsigned long long g = generation;
    long long n = source->number;
    const char *sql = poly_arena_printf(self->arena, remove_collection, g, n, g, n);

    return sql == NULL ? poly_no_memory(err) : poly_pg_exec(pg, sql, err);
}

/* --- loading --- */

/* What the configuration of today says of it; it may have gone from there. */
static const struct poly_domain_vector *today(const struct poly_config *config, const char *domain,
                                              uint64_t since, const char *name)
{
    const struct poly_domain *d = NULL;

    for (size_t i = 0; i < poly_config_domains(config) && d == NULL; i++)
        if (poly_domain_since(&config->domains[i]) == since &&
            strcmp(config->domains[i].name, domain) == 0)
            d = &config->domains[i];
    for (size_t i = 0; d != NULL && i < d->vector_count; i++)
        if (strcmp(d->vectors[i].name, name) == 0)
            return poly_vector_now(&d->vectors[i]);
    return NULL;
}

static enum poly_status change_one(struct poly_follower *self, struct poly_pg *pg,
                                   uint64_t generation, const struct poly_pgv_collection *c,
                                   const struct poly_domain_vector *now, struct poly_error *err)
{
    struct poly_arena_mark mark = poly_arena_mark(self->arena);
    struct poly_pg_params params;
    PGresult *rows;
    const char *drop;
    int64_t number;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)generation);
    poly_pg_add_int(&params, c->base.number);
    poly_pg_add_int(&params, now->dimensions);
    poly_pg_add_int(&params, now->change);
    status = poly_pg_run(pg, change_domain, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    number = poly_pg_int(rows, 0, 0);
    PQclear(rows);
    status = add_collection(self, pg, generation, number, now, err);
    drop = poly_arena_printf(self->arena, drop_collection, (unsigned long long)generation,
                             (long long)c->base.number);
    if (status == POLY_OK)
        status = drop == NULL ? poly_no_memory(err) : poly_pg_exec(pg, drop, err);
    poly_arena_rewind(self->arena, mark);
    return status;
}

enum poly_status poly_pgv_follow_models(struct poly_follower *self,
                                        const struct poly_follower_generation *generation,
                                        struct poly_pg *pg, bool *changed, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    *changed = false;
    for (size_t i = 0; i < generation->source_count && status == POLY_OK; i++) {
        struct poly_pgv_collection *c = (struct poly_pgv_collection *)generation->sources[i];
        const struct poly_domain_vector *now =
            today(self->config, c->base.name, c->base.since, c->shape.name);

        if (now == NULL)
            continue;
        if (now->change < c->shape.change)
            return poly_fail(err, POLY_UNAVAILABLE,
                             "domain '%s': another daemon knows of a change of its model",
                             c->base.name);
        c->since = now->since;
        if (now->change == c->shape.change)
            continue;
        *changed = true;
        status = change_one(self, pg, generation->number, c, now, err);
    }
    return status;
}

/* What changes nothing of what is kept. */
static void take_today(struct poly_domain_vector *shape, const struct poly_domain_vector *now)
{
    if (now == NULL)
        return;
    shape->model = now->model;
    shape->index = now->index;
    shape->lists = now->lists;
    shape->probes = now->probes;
}

static const char *copy(struct poly_arena *arena, const PGresult *rows, int row, int column)
{
    struct poly_text text = poly_pg_text(rows, row, column);

    return poly_arena_copy(arena, text.data, text.size);
}

static enum poly_status load_names(struct poly_arena *arena, struct poly_text json,
                                   struct poly_pgv_collection *c, struct poly_error *err)
{
    const char *const *filters;
    const char **names;
    enum poly_status status =
        poly_follower_names(arena, json, &filters, &c->shape.filter_count, err);

    if (status != POLY_OK)
        return status;
    names = poly_arena_array(arena, c->shape.filter_count + 1, sizeof(*names));
    if (names == NULL)
        return poly_no_memory(err);
    memcpy(names, filters, c->shape.filter_count * sizeof(*names));
    names[c->shape.filter_count] = c->shape.field;
    c->names = names;
    c->shape.filters = names;
    return c->shape.filter_count < POLY_MAX_COLUMNS && c->shape.dimensions > 0
               ? POLY_OK
               : poly_fail(err, POLY_CORRUPT, "vector: poly_vector.domain has been changed");
}

static enum poly_status load_sql(struct poly_arena *arena, uint64_t generation,
                                 struct poly_pgv_collection *c, struct poly_error *err)
{
    const char *name = poly_arena_printf(arena, "entries_%llu_%lld", (unsigned long long)generation,
                                         (long long)c->base.number);
    const char *relation = poly_arena_printf(arena, "poly_vector.%s", name == NULL ? "" : name);
    struct poly_pgv_place place = {
        .relation = relation,
        .column = "embedding",
        .oid = poly_arena_printf(arena, "to_regclass('%s')", relation == NULL ? "" : relation),
        .attribute = "(SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = i.indrelid"
                     " AND a.attname = 'embedding')",
        .schema = "poly_vector",
        .prefix = name};

    if (name == NULL || relation == NULL || place.oid == NULL)
        return poly_no_memory(err);
    c->key = "d.key";
    c->embedding = "d.embedding";
    c->from = poly_arena_printf(arena, "%s AS d", relation);
    c->put = poly_arena_printf(
        arena,
        "INSERT INTO %s AS d(tenant, key, position, version, filled,"
        " filters, embedding) VALUES ($1, $2, $3, $4, $6::%s IS NOT NULL, $5, $6)"
        " ON CONFLICT (tenant, key) DO UPDATE SET position = excluded.position,"
        " version = excluded.version, filled = excluded.filled, filters = excluded.filters,"
        " embedding = excluded.embedding WHERE d.position < excluded.position",
        relation, c->type);
    c->like = poly_arena_printf(arena,
                                "SELECT %s(embedding) FROM %s"
                                " WHERE tenant = $1 AND key = $2 AND embedding IS NOT NULL",
                                c->send, relation);
    c->measure =
        poly_arena_printf(arena,
                          "SELECT (SELECT count(*) FROM %s WHERE embedding IS NOT NULL),"
                          " pg_total_relation_size(oid), pg_stat_get_dead_tuples(oid) FROM pg_class"
                          " WHERE oid = '%s'::regclass",
                          relation, relation);
    return c->from == NULL || c->put == NULL || c->like == NULL || c->measure == NULL
               ? poly_no_memory(err)
               : poly_pgv_index_sql(arena, c, &place, err);
}

enum poly_status poly_pgv_describe(struct poly_arena *arena, struct poly_pgv_collection *c,
                                   struct poly_error *err)
{
    c->indexed = poly_arena_alloc(arena, sizeof(*c->indexed));
    c->searches = poly_arena_alloc(arena, sizeof(*c->searches));
    c->forms = poly_arena_array(arena, POLY_PGV_FORMS, sizeof(*c->forms));
    c->element = element_of(c->shape.element);
    c->metric = poly_vector_metric(&c->shape);
    c->type = type_of(arena, c->shape.element, c->shape.dimensions);
    if (c->type == NULL || c->indexed == NULL || c->searches == NULL || c->forms == NULL)
        return poly_no_memory(err);
    set_operators(c);
    return POLY_OK;
}

static enum poly_status load_source(struct poly_follower *self,
                                    struct poly_follower_generation *generation,
                                    struct poly_follower_source *source, const PGresult *rows,
                                    int row, struct poly_error *err)
{
    struct poly_pgv_collection *c = (struct poly_pgv_collection *)source;
    struct poly_arena *arena = generation->arena;
    enum poly_status status;

    c->shape.name = copy(arena, rows, row, 5);
    c->shape.field = copy(arena, rows, row, 6);
    c->shape.dimensions = (uint32_t)poly_pg_int(rows, row, 7);
    c->shape.metric = copy(arena, rows, row, 8);
    c->shape.element = copy(arena, rows, row, 9);
    c->shape.m = (uint32_t)poly_pg_int(rows, row, 10);
    c->shape.ef_construction = (uint32_t)poly_pg_int(rows, row, 11);
    c->shape.change = (uint32_t)poly_pg_int(rows, row, 13);
    if (c->shape.name == NULL || c->shape.field == NULL || c->shape.metric == NULL ||
        c->shape.element == NULL)
        return poly_no_memory(err);
    c->base.since = (uint64_t)poly_pg_int(rows, row, 14);
    if (!PQgetisnull(rows, row, 15)) {
        c->shape.filters_in = copy(arena, rows, row, 15);
        if (c->shape.filters_in == NULL)
            return poly_no_memory(err);
    }
    take_today(&c->shape, today(self->config, c->base.name, c->base.since, c->shape.name));
    status = poly_pgv_describe(arena, c, err);
    if (status == POLY_OK)
        status = load_names(arena, poly_pg_text(rows, row, 12), c, err);
    return status == POLY_OK ? load_sql(arena, generation->number, c, err) : status;
}

static enum poly_status load(struct poly_follower *self, struct poly_pg *pg,
                             struct poly_follower_generation *generation, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    (void)self;
    for (size_t i = 0; i < generation->source_count && status == POLY_OK; i++) {
        const struct poly_pgv_collection *c =
            (const struct poly_pgv_collection *)generation->sources[i];
        uint64_t valid = 0;

        status = poly_follower_number(pg, c->is_indexed, &valid, err);
        atomic_store(c->indexed, valid != 0);
    }
    return status;
}

const struct poly_pgv_collection *
poly_pgv_collection(const struct poly_follower_generation *generation,
                    const struct poly_domain *domain, const struct poly_domain_vector *vector)
{
    for (size_t i = 0; i < generation->source_count; i++) {
        const struct poly_pgv_collection *c =
            (const struct poly_pgv_collection *)generation->sources[i];

        if (c->base.since == poly_domain_since(domain) && strcmp(c->base.name, domain->name) == 0 &&
            strcmp(c->shape.name, vector->name) == 0)
            return c;
    }
    return NULL;
}

enum poly_status poly_pgv_look(struct poly_pgv *self, struct poly_pg *pg,
                               const struct poly_vector_scope *scope,
                               const struct poly_follower_generation **generation,
                               const struct poly_pgv_collection **collection,
                               struct poly_error *err)
{
    enum poly_status status = poly_follower_look(&self->base, pg, scope->domain, generation, err);

    if (status == POLY_OK)
        *collection = poly_pgv_collection(*generation, scope->domain, scope->vector);
    return status;
}

/* How many records fit a filter decides how they are best found: each search is planned for its
 * own, but for those that have none (postgresql_find.c). */
const struct poly_follower_kind poly_pgv_kind = {
    .driver = &poly_vector_postgresql.base,
    .schema = "poly_vector",
    .format = 1,
    .lock = 1886350467,
    .session = "SET plan_cache_mode = force_custom_plan",
    .tables = tables,
    .parts = parts,
    .make = make,
    .size = sizeof(struct poly_follower_generation),
    .source_size = sizeof(struct poly_pgv_collection),
    .sources = domains,
    .count = count,
    .positions = positions,
    .holds = holds,
    .take_up = take_up,
    .take_out = take_out,
    .load_source = load_source,
    .load = load,
    .apply = poly_pgv_apply,
};
