/*
 * Domains that are made while running, in a generation that is there: who applies takes up those
 * that it has not, and takes out what is known to be dropped, before the batch that may need it and
 * in a transaction of its own, for others read what a generation is when that has ended.
 */
#include <string.h>

#include "core/config.h"
#include "followers/postgresql.h"

static bool is_dropped(const struct poly_domain *domain)
{
    return domain->made != NULL && atomic_load(&domain->made->state) == POLY_MADE_DROPPED;
}

static bool is_of(const struct poly_follower_source *source, const struct poly_domain *domain)
{
    return source->since == poly_domain_since(domain) && strcmp(source->name, domain->name) == 0;
}

const struct poly_follower_source *
poly_follower_source(const struct poly_follower_generation *generation,
                     const struct poly_domain *domain)
{
    for (size_t i = 0; i < generation->source_count; i++)
        if (is_of(generation->sources[i], domain))
            return generation->sources[i];
    return NULL;
}

/* What is not known may be new. But they are made one at a time: who has heard of a later one has
 * heard of all that stood then. */
static bool is_gone(const struct poly_config *config, const struct poly_follower_source *source)
{
    bool later = false;

    for (size_t i = config->domain_count; i < poly_config_domains(config); i++) {
        if (is_of(source, &config->domains[i]))
            return is_dropped(&config->domains[i]);
        later = later || config->domains[i].made->since > source->since;
    }
    return source->since > 0 && later;
}

static bool is_missing(const struct poly_follower *self,
                       const struct poly_follower_generation *generation,
                       const struct poly_domain *domain)
{
    return !is_dropped(domain) && self->kind->holds(self, domain) &&
           poly_follower_source(generation, domain) == NULL;
}

static bool lacks(struct poly_follower *self, const struct poly_follower_generation *generation)
{
    const struct poly_config *config = self->config;
    bool any = false;

    for (size_t i = config->domain_count; i < poly_config_domains(config) && !any; i++)
        any = is_missing(self, generation, &config->domains[i]);
    for (size_t i = 0; i < generation->source_count && !any; i++)
        any = is_gone(config, generation->sources[i]);
    return any;
}

static enum poly_status number_of(struct poly_pg *pg, const char *sql, uint64_t generation,
                                  uint64_t *number, struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)generation);
    status = poly_pg_run(pg, sql, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    *number = (uint64_t)poly_pg_int(rows, 0, 0);
    PQclear(rows);
    return POLY_OK;
}

static enum poly_status change(struct poly_follower *self, struct poly_pg *pg,
                               const struct poly_follower_generation *generation,
                               struct poly_error *err)
{
    const struct poly_config *config = self->config;
    uint64_t next = 1;
    enum poly_status status =
        number_of(pg, self->sql[POLY_FOLLOWER_NEXT_NUMBER], generation->number, &next, err);
    int64_t number = (int64_t)next;

    for (size_t i = 0; i < generation->source_count && status == POLY_OK; i++)
        if (is_gone(config, generation->sources[i]))
            status =
                self->kind->take_out(self, pg, generation->number, generation->sources[i], err);
    for (size_t i = config->domain_count; i < poly_config_domains(config) && status == POLY_OK; i++)
        if (is_missing(self, generation, &config->domains[i]))
            status = self->kind->take_up(self, pg, generation->number, &config->domains[i], &number,
                                         err);
    return status;
}

enum poly_status poly_follower_describe(struct poly_follower *self, struct poly_pg *pg,
                                        uint64_t number, struct poly_error *err)
{
    const struct poly_config *config = self->config;
    struct poly_arena_mark mark = poly_arena_mark(self->arena);
    int64_t next = 1;
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < poly_config_domains(config) && status == POLY_OK; i++)
        if (!is_dropped(&config->domains[i]) && self->kind->holds(self, &config->domains[i]))
            status = self->kind->take_up(self, pg, number, &config->domains[i], &next, err);
    poly_arena_rewind(self->arena, mark);
    return status;
}

enum poly_status poly_follower_grow(struct poly_follower *self, struct poly_pg *pg,
                                    const struct poly_follower_generation **generation,
                                    struct poly_error *err)
{
    const struct poly_batch none = {.after = 0};
    uint64_t applied;
    enum poly_status status;

    if (!lacks(self, *generation))
        return POLY_OK;
    status = poly_follower_begin(self, pg, (*generation)->number, &none, &applied, err);
    if (status == POLY_OK)
        status = change(self, pg, *generation, err);
    if (status == POLY_OK)
        status = poly_pg_commit(pg, err);
    poly_pg_roll_back(pg);
    return status == POLY_OK ? poly_follower_again(self, pg, generation, err) : status;
}

enum poly_status poly_follower_look(struct poly_follower *self, struct poly_pg *pg,
                                    const struct poly_domain *domain,
                                    const struct poly_follower_generation **generation,
                                    struct poly_error *err)
{
    uint64_t held = 0, there = 0;
    enum poly_status status;

    if (domain->made == NULL || poly_follower_source(*generation, domain) != NULL)
        return POLY_OK;
    status = number_of(pg, self->sql[POLY_FOLLOWER_MARK], (*generation)->number, &there, err);
    for (size_t i = 0; i < (*generation)->source_count; i++)
        held += (uint64_t)(*generation)->sources[i]->number + (*generation)->sources[i]->since;
    return status == POLY_OK && held != there ? poly_follower_again(self, pg, generation, err)
                                              : status;
}
