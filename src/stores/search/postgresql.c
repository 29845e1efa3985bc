/*
 * The search driver on PostgreSQL: one of the stores that follow the log into
 * a database there (stores/postgresql), and what it alone has.
 */
#include "stores/search/postgresql.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "stores/search/document.h"

static struct poly_ts *of(struct poly_store *store)
{
    return (struct poly_ts *)store;
}

static const struct poly_ts_generation *known(const struct poly_follower_generation *generation)
{
    return (const struct poly_ts_generation *)generation;
}

static void close_store(struct poly_store *store)
{
    struct poly_ts *self = of(store);

    if (self == NULL)
        return;
    poly_follower_close(&self->base);
    poly_words_close(self->words);
    free(self);
}

static enum poly_status open_store(const struct poly_store_open *how, struct poly_store **store,
                                   struct poly_error *err)
{
    struct poly_ts *self = calloc(1, sizeof(*self));
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    status = poly_words_open(&self->words, err);
    if (status == POLY_OK)
        status = poly_follower_open(&self->base, &poly_ts_kind, how, err);
    if (status == POLY_OK)
        *store = &self->base.store;
    else
        close_store(&self->base.store);
    return status;
}

static bool wants(struct poly_store *store, struct poly_text domain)
{
    return poly_document_wants(of(store)->base.config, domain);
}

static enum poly_status search(const struct poly_projected *projected,
                               const struct poly_search_request *request, struct poly_arena *arena,
                               struct poly_hits *hits, struct poly_error *err)
{
    struct poly_ts *self = of(projected->store);
    const struct poly_follower_generation *g;
    struct poly_pg *pg;
    enum poly_status status =
        poly_follower_read(&self->base, projected->generation, request->deadline, &pg, &g, err);

    if (status == POLY_OK) {
        for (size_t i = 0; i < request->scope_count && status == POLY_OK; i++)
            status = poly_follower_look(&self->base, pg, request->scopes[i].domain, &g, err);
        if (status == POLY_OK)
            status = poly_ts_find(self, known(g), pg, request, arena, hits, err);
        poly_pg_pool_give(self->base.pool, pg);
    }
    if (status == POLY_TIMEOUT && poly_clock_monotonic() >= request->deadline)
        return poly_fail(err, POLY_TIMEOUT, "search: the deadline passed");
    if (status == POLY_NOT_FOUND) /* dropped by whoever applies */
        return poly_fail(err, POLY_UNAVAILABLE, "search: the index is being changed; try again");
    return status;
}

static const struct poly_capability capabilities[] = {
    {"co-located", false, "it follows the log, wherever that is"},
    {"rank", true, "`ts_rank` against the document's length"},
    {"long-documents", true, "phrases in about the first 16,300 words"},
    {"snippet", true, "the 24 words with the most different terms"},
    {"paths-of-filters", true, "names, quoted names and places from the beginning"},
    {NULL, false, NULL},
};

const struct poly_search_driver poly_search_postgresql = {
    .base = {.store = "search",
             .name = "postgresql",
             .capabilities = capabilities,
             .open = open_store,
             .close = close_store,
             .lead = poly_follower_lead,
             .shape = poly_document_shape,
             .wants = wants,
             .prepare = poly_follower_prepare,
             .drop = poly_follower_drop,
             .applied = poly_follower_applied,
             .apply = poly_follower_apply,
             .count = poly_follower_count,
             .positions = poly_follower_positions,
             .pool = poly_follower_pool},
    .search = search,
};
