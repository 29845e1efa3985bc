/*
 * Domains that are made while running, in a generation that is there: each is taken up when the
 * first of its records is met, and taken out when it is known to be dropped. Which there are, the
 * database says, each time and on the snapshot that is used; in memory are only the texts of
 * statements. So what a transaction has added that was rolled back is simply not there, and a
 * reader with an older snapshot does not see it either.
 *
 * In the generation its name is "notes+123", with the position since when it is: a name may be used
 * again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "core/config.h"
#include "followers/document.h"
#include "stores/search/embedded.h"

enum { MADE = '+', NAME = POLY_MAX_NAME + 24 };

static void made_name(const struct poly_domain *domain, char name[NAME])
{
    snprintf(name, NAME, "%.*s%c%" PRIu64, POLY_MAX_NAME, domain->name, MADE, domain->made->since);
}

bool poly_generation_is_made(const char *name, const struct poly_config *config,
                             const struct poly_domain **domain)
{
    const char *mark = strchr(name, MADE);
    char own[NAME];

    *domain = NULL;
    for (size_t i = config->domain_count; mark != NULL && i < poly_config_domains(config); i++) {
        made_name(&config->domains[i], own);
        if (strcmp(own, name) == 0)
            *domain = &config->domains[i];
    }
    return mark != NULL;
}

/* The number that it has in the database; 0: none. */
static enum poly_status number_of(const struct poly_search_generation *g, struct poly_db *db,
                                  const struct poly_domain *domain, int64_t *number,
                                  struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, g->find_domain, err);
    char name[NAME];
    bool row = false;
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(err);
    made_name(domain, name);
    poly_bind_text(statement, 1, poly_text(name));
    status = poly_db_row(db, statement, &row, err);
    *number = row ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

/* The texts for that number: those that there are, or new ones. */
static enum poly_status texts_of(struct poly_embedded *self, struct poly_search_generation *g,
                                 const struct poly_domain *domain, int64_t number,
                                 const struct poly_search_index **index, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    *index = NULL;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < g->index_count && *index == NULL; i++)
        if (g->indexes[i]->made == domain && g->indexes[i]->number == number)
            *index = g->indexes[i];
    if (*index == NULL)
        status = poly_generation_add(g, domain, number, index, err);
    pthread_mutex_unlock(&self->lock);
    return status;
}

enum poly_status poly_generation_made(struct poly_embedded *self,
                                      const struct poly_search_generation *generation,
                                      struct poly_db *db, const struct poly_domain *domain,
                                      const struct poly_search_index **index,
                                      struct poly_error *err)
{
    int64_t number = 0;
    enum poly_status status = number_of(generation, db, domain, &number, err);

    return status == POLY_OK ? texts_of(self, (struct poly_search_generation *)generation, domain,
                                        number, index, err)
                             : status;
}

/* --- of who applies --- */

static bool is_dropped(const struct poly_domain *domain)
{
    return atomic_load(&domain->made->state) == POLY_MADE_DROPPED;
}

/* One that is not known was dropped before the start: all that were ever added here are in the
 * configuration of who added them. */
static enum poly_status take_out(const struct poly_search_generation *g, struct poly_db *db,
                                 struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < g->index_count && status == POLY_OK; i++) {
        struct poly_search_index *index = g->indexes[i];

        if (!index->is_made || index->number == 0 || index->taken_out ||
            (index->made != NULL && !is_dropped(index->made)))
            continue;
        status = poly_generation_take_out(g, db, index, err);
        /* Rolled back, it stays until the next start. */
        index->taken_out = status == POLY_OK;
    }
    return status;
}

static const struct poly_domain *made_of(const struct poly_config *config,
                                         const struct poly_record *record)
{
    for (size_t i = config->domain_count; i < poly_config_domains(config); i++) {
        const struct poly_domain *domain = &config->domains[i];

        if (domain->search.field_count > 0 && !is_dropped(domain) &&
            poly_document_of(domain, record->domain) && poly_domain_has(domain, record->position))
            return domain;
    }
    return NULL;
}

static enum poly_status meet(struct poly_embedded *self, struct poly_search_generation *g,
                             struct poly_db *db, const struct poly_domain *domain,
                             const struct poly_search_index **index, struct poly_error *err)
{
    char name[NAME];
    int64_t number = 0;
    enum poly_status status = number_of(g, db, domain, &number, err);

    if (status == POLY_OK && number == 0) {
        made_name(domain, name);
        status = poly_generation_take_up(g, db, domain, name, &number, err);
    }
    return status == POLY_OK ? texts_of(self, g, domain, number, index, err) : status;
}

enum poly_status poly_generation_meet(struct poly_embedded *self,
                                      const struct poly_search_generation *generation,
                                      struct poly_db *db, const struct poly_batch *batch,
                                      struct poly_search_met *met, struct poly_error *err)
{
    struct poly_search_generation *g = (struct poly_search_generation *)generation;
    const struct poly_domain *last = NULL;
    enum poly_status status = take_out(g, db, err);

    met->list = poly_arena_array(self->arena, POLY_MAX_COLLECTIONS, sizeof(*met->list));
    met->count = 0;
    if (met->list == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < batch->count && status == POLY_OK; i++) {
        const struct poly_record *record = &batch->records[i];
        bool again = last != NULL && poly_document_of(last, record->domain);
        size_t m = 0;

        if (!again)
            last = made_of(self->config, record);
        while (m < met->count && met->list[m]->made != last)
            m++;
        if (!again && last != NULL && m == met->count && m < POLY_MAX_COLLECTIONS)
            status = meet(self, g, db, last, &met->list[met->count++], err);
    }
    return status;
}
