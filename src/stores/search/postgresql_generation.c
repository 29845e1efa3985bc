/*
 * A generation is one table, poly_search.documents_NUMBER, beside what it says
 * of itself.
 *
 * A document's tsvector has, beside its words, one that stands for its domain
 * and tenant, and every query asks for it: a tenant's documents are found by
 * the index, not filtered out of everybody's.
 *
 * In the templates '@' is the generation.
 */
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "core/config.h"
#include "stores/search/postgresql.h"

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS poly_search.domain(generation bigint, number int,"
    " name text NOT NULL, source text NOT NULL, stream bool NOT NULL, tenants bool NOT NULL,"
    " tokenizer text NOT NULL, language text NOT NULL, fields text[] NOT NULL,"
    " letters text NOT NULL, filters text[] NOT NULL, PRIMARY KEY (generation, number));"
    /* since: of a domain that was made while running, when. held_in: fields and filters are of that
     * column. */
    "ALTER TABLE poly_search.domain ADD COLUMN IF NOT EXISTS since bigint NOT NULL DEFAULT 0,"
    " ADD COLUMN IF NOT EXISTS held_in text;";
static const char *const parts[] = {"documents", "stats", NULL};

/* deleted: the row stays, so that a late change finds it and stops. */
static const char make[] =
    "CREATE TABLE poly_search.documents_@(domain int NOT NULL, tenant text COLLATE \"C\" NOT NULL,"
    " key text COLLATE \"C\" NOT NULL, position bigint NOT NULL, version bigint NOT NULL,"
    " deleted bool NOT NULL, length int NOT NULL, words tsvector, filters jsonb, fields text[],"
    " PRIMARY KEY (domain, tenant, key));"
    "CREATE INDEX documents_@_words ON poly_search.documents_@ USING gin (words);"
    "ALTER TABLE poly_search.documents_@ ALTER COLUMN words SET STATISTICS 1000;"
    "CREATE TABLE poly_search.stats_@(domain int, tenant text COLLATE \"C\","
    " documents bigint NOT NULL, words bigint NOT NULL, PRIMARY KEY (domain, tenant));";
static const char add_domain[] = "INSERT INTO poly_search.domain VALUES ($1, $2, $3, $4, $5, $6, "
                                 "$7, $8, $9, $10, $11, $12, $13)";
static const char remove_domain[] =
    "DELETE FROM poly_search.documents_%llu WHERE domain = %lld;"
    "DELETE FROM poly_search.stats_%llu WHERE domain = %lld;"
    "DELETE FROM poly_search.domain WHERE generation = %llu AND number = %lld";
static const char domains[] =
    "SELECT number, name, source, stream, tenants, tokenizer, language, letters,"
    " array_to_json(fields)::text, array_to_json(filters)::text, since, held_in"
    " FROM poly_search.domain"
    " WHERE generation = $1 ORDER BY number";

/*
 * $1 … are lists, one entry a document: domain, tenant, key, position, version, deleted, length,
 * words, filters, fields. A document that has seen a position takes no earlier change. What was
 * there before is read from the statement's own snapshot.
 */
static const char put[] =
    "WITH new AS MATERIALIZED (SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[],"
    " $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[])"
    " AS n(domain, tenant, key, position, version, deleted, length, words, filters, fields)),"
    " old AS (SELECT d.domain, d.tenant, d.length FROM new"
    " JOIN poly_search.documents_@ AS d ON d.domain = new.domain"
    " AND d.tenant = new.tenant COLLATE \"C\" AND d.key = new.key COLLATE \"C\""
    " WHERE NOT d.deleted AND d.position < new.position),"
    " done AS (INSERT INTO poly_search.documents_@ AS d(domain, tenant, key, position, version,"
    " deleted, length, words, filters, fields)"
    " SELECT domain, tenant, key, position, version, deleted = 1, length,"
    " nullif(words, '')::tsvector, nullif(filters, '')::jsonb, nullif(fields, '')::text[] FROM new"
    " ON CONFLICT (domain, tenant, key) DO UPDATE SET position = excluded.position,"
    " version = excluded.version, deleted = excluded.deleted, length = excluded.length,"
    /* what is the same stays where it is: no new place in the index, nor in the table of long ones
     */
    " words = CASE WHEN d.words = excluded.words THEN d.words ELSE excluded.words END,"
    " fields = CASE WHEN d.fields = excluded.fields THEN d.fields ELSE excluded.fields END,"
    " filters = excluded.filters"
    " WHERE d.position < excluded.position RETURNING domain, tenant, deleted, length)"
    " INSERT INTO poly_search.stats_@ AS s SELECT domain, tenant, sum(n), sum(length) FROM ("
    " SELECT domain, tenant, 1 AS n, length FROM done WHERE NOT deleted"
    " UNION ALL SELECT domain, tenant, -1, -length FROM old) AS change"
    " GROUP BY domain, tenant"
    " ON CONFLICT (domain, tenant) DO UPDATE SET documents = s.documents + excluded.documents,"
    " words = s.words + excluded.words";
static const char positions[] = "SELECT DISTINCT position FROM poly_search.documents_@"
                                " WHERE position > $1 ORDER BY position LIMIT $2";
static const char count[] = "SELECT coalesce(sum(documents), 0)::bigint FROM poly_search.stats_@";

/* --- writing down what a generation is --- */

/*
 * A letter for each field. Up to four fields have one of their own; of more, those that weigh most,
 * and the rest share D. Fields of one weight may share, too.
 */
static void give_letters(const struct poly_domain_search *search, char *letters)
{
    for (size_t i = 0; i < search->field_count; i++) {
        size_t heavier = 0;

        for (size_t j = 0; j < search->field_count; j++)
            heavier += search->fields[j].weight > search->fields[i].weight ||
                       (j < i && search->fields[j].weight == search->fields[i].weight);
        letters[i] = (char)('A' + (heavier < 3 ? heavier : 3));
    }
    letters[search->field_count] = '\0';
}

static enum poly_status add_index(struct poly_pg *pg, uint64_t generation, int64_t number,
                                  const struct poly_domain *domain, struct poly_error *err)
{
    const struct poly_domain_search *search = &domain->search;
    struct poly_text fields[POLY_MAX_SEARCH_FIELDS], filters[POLY_MAX_COLUMNS];
    char letters[POLY_MAX_SEARCH_FIELDS + 1];
    struct poly_pg_params params;

    for (size_t i = 0; i < search->field_count; i++)
        fields[i] = poly_text(search->fields[i].name);
    for (size_t i = 0; i < search->filter_count; i++)
        filters[i] = poly_text(search->filters[i]);
    give_letters(search, letters);
    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)generation);
    poly_pg_add_int(&params, number);
    poly_pg_add_text(&params, poly_text(domain->name));
    poly_pg_add_text(&params, poly_text(domain->stream == NULL ? domain->name : domain->stream));
    poly_pg_add_bool(&params, domain->stream != NULL);
    poly_pg_add_bool(&params, domain->tenant != NULL);
    poly_pg_add_text(&params, poly_text(search->tokenizer));
    poly_pg_add_text(&params, poly_text(search->language));
    poly_pg_add_texts(&params, fields, (int)search->field_count);
    poly_pg_add_text(&params, poly_text(letters));
    poly_pg_add_texts(&params, filters, (int)search->filter_count);
    poly_pg_add_int(&params, (int64_t)poly_domain_since(domain));
    if (search->in != NULL)
        poly_pg_add_text(&params, poly_text(search->in));
    else
        poly_pg_add_null(&params);
    return poly_pg_done(pg, add_domain, &params, NULL, err);
}

static bool holds(const struct poly_follower *self, const struct poly_domain *domain)
{
    (void)self;
    return domain->search.field_count > 0;
}

static enum poly_status take_up(struct poly_follower *self, struct poly_pg *pg, uint64_t number,
                                const struct poly_domain *domain, int64_t *next,
                                struct poly_error *err)
{
    (void)self;
    return add_index(pg, number, (*next)++, domain, err);
}

static enum poly_status take_out(struct poly_follower *self, struct poly_pg *pg, uint64_t number,
                                 const struct poly_follower_source *source, struct poly_error *err)
{
    unsigned long long g = number;
    long long n = source->number;
    const char *sql = poly_arena_printf(self->arena, remove_domain, g, n, g, n, g, n);

    return sql == NULL ? poly_no_memory(err) : poly_pg_exec(pg, sql, err);
}

/* --- loading --- */

/* What the configuration of today says of it; NULL: it has gone from there. */
static const struct poly_domain *today(const struct poly_config *config,
                                       const struct poly_follower_source *source)
{
    for (size_t i = 0; i < poly_config_domains(config); i++)
        if (poly_domain_since(&config->domains[i]) == source->since &&
            strcmp(config->domains[i].name, source->name) == 0)
            return &config->domains[i];
    return NULL;
}

static double weight_of(const struct poly_domain *domain, const char *field)
{
    for (size_t i = 0; domain != NULL && i < domain->search.field_count; i++)
        if (strcmp(domain->search.fields[i].name, field) == 0)
            return domain->search.fields[i].weight;
    return 1;
}

/* Fields that share a letter count as their mean. */
static void load_weights(const struct poly_domain *domain, struct poly_ts_index *index)
{
    size_t fields[4] = {0};

    for (size_t i = 0; i < index->names.field_count; i++) {
        int letter = index->letters[i] - 'A';

        index->weights[letter] += weight_of(domain, index->names.fields[i]);
        fields[letter]++;
    }
    for (size_t i = 0; i < index->names.field_count; i++)
        index->shared[i] = fields[index->letters[i] - 'A'] > 1;
    for (int letter = 0; letter < 4; letter++)
        if (fields[letter] > 1)
            index->weights[letter] /= (double)fields[letter];
}

static bool sound(const struct poly_ts_index *index)
{
    if (index->names.field_count > POLY_MAX_SEARCH_FIELDS ||
        index->names.filter_count > POLY_MAX_COLUMNS ||
        strlen(index->letters) != index->names.field_count)
        return false;
    for (const char *c = index->letters; *c != '\0'; c++)
        if (*c < 'A' || *c > 'D')
            return false;
    return true;
}

static enum poly_words_kind kind_of(const char *tokenizer, const char *language)
{
    return strcmp(tokenizer, "trigram") == 0  ? POLY_WORDS_TRIGRAM
           : strcmp(language, "english") == 0 ? POLY_WORDS_ENGLISH
                                              : POLY_WORDS_PLAIN;
}

static enum poly_status load_source(struct poly_follower *self,
                                    struct poly_follower_generation *generation,
                                    struct poly_follower_source *source, const PGresult *rows,
                                    int row, struct poly_error *err)
{
    struct poly_ts_index *index = (struct poly_ts_index *)source;
    struct poly_arena *arena = generation->arena;
    struct poly_text letters = poly_pg_text(rows, row, 7);
    enum poly_status status;

    index->letters = poly_arena_copy(arena, letters.data, letters.size);
    index->kind = kind_of(poly_pg_text(rows, row, 5).data, poly_pg_text(rows, row, 6).data);
    if (index->letters == NULL)
        return poly_no_memory(err);
    status = poly_follower_names(arena, poly_pg_text(rows, row, 8), &index->names.fields,
                                 &index->names.field_count, err);
    if (status == POLY_OK)
        status = poly_follower_names(arena, poly_pg_text(rows, row, 9), &index->names.filters,
                                     &index->names.filter_count, err);
    if (status == POLY_OK && !sound(index))
        return poly_fail(err, POLY_CORRUPT, "search: poly_search.domain has been changed");
    source->since = (uint64_t)poly_pg_int(rows, row, 10);
    if (status == POLY_OK && !poly_pg_null(rows, row, 11)) {
        struct poly_text in = poly_pg_text(rows, row, 11);

        index->names.in = poly_arena_copy(arena, in.data, in.size);
        status = index->names.in == NULL ? poly_no_memory(err) : POLY_OK;
    }
    if (status == POLY_OK)
        load_weights(today(self->config, source), index);
    return status;
}

static enum poly_status load(struct poly_follower *self, struct poly_pg *pg,
                             struct poly_follower_generation *generation, struct poly_error *err)
{
    struct poly_ts_generation *g = (struct poly_ts_generation *)generation;

    (void)pg;
    g->put = poly_follower_text(self, g->base.arena, g->base.number, put);
    return g->put == NULL ? poly_no_memory(err) : POLY_OK;
}

/* --- asking --- */

/* Nothing has been applied of it: it has no number, and no document. */
static const struct poly_ts_index *empty_index(const struct poly_domain *domain,
                                               struct poly_arena *arena)
{
    const struct poly_domain_search *search = &domain->search;
    struct poly_ts_index *index = poly_arena_alloc(arena, sizeof(*index));
    char *letters = poly_arena_alloc(arena, search->field_count + 1);
    const char **fields = poly_arena_array(arena, search->field_count, sizeof(*fields));

    if (index == NULL || letters == NULL || fields == NULL)
        return NULL;
    give_letters(search, letters);
    for (size_t i = 0; i < search->field_count; i++)
        fields[i] = search->fields[i].name;
    index->base.name = index->base.source = domain->name;
    index->base.tenants = domain->tenant != NULL;
    index->kind = kind_of(search->tokenizer, search->language);
    index->letters = letters;
    index->names = (struct poly_extract_names){.fields = fields,
                                               .field_count = search->field_count,
                                               .filters = search->filters,
                                               .filter_count = search->filter_count};
    load_weights(domain, index);
    return index;
}

enum poly_status poly_ts_index(const struct poly_ts_generation *generation,
                               const struct poly_domain *domain, struct poly_arena *arena,
                               const struct poly_ts_index **index, struct poly_error *err)
{
    *index = (const struct poly_ts_index *)poly_follower_source(&generation->base, domain);
    if (*index == NULL && domain->made != NULL)
        *index = empty_index(domain, arena);
    else if (*index == NULL)
        return poly_fail(err, POLY_UNAVAILABLE,
                         "domain '%s': the search index was built without it; run 'polystore "
                         "rebuild search'",
                         domain->name);
    return *index == NULL ? poly_no_memory(err) : POLY_OK;
}

/* How many documents have a word decides how they are best found: each search is planned for its
 * own. */
const struct poly_follower_kind poly_ts_kind = {
    .driver = &poly_search_postgresql.base,
    .schema = "poly_search",
    .format = 1,
    .lock = 1886350464,
    .session = "SET plan_cache_mode = force_custom_plan",
    .tables = tables,
    .parts = parts,
    .make = make,
    .size = sizeof(struct poly_ts_generation),
    .source_size = sizeof(struct poly_ts_index),
    .sources = domains,
    .count = count,
    .positions = positions,
    .holds = holds,
    .take_up = take_up,
    .take_out = take_out,
    .load_source = load_source,
    .load = load,
    .apply = poly_ts_apply,
};
