/*
 * Domains that are made while running. What reads the domains holds no lock: the array has room for
 * all that one process may ever make (pages that nobody writes cost nothing), an entry never
 * changes once it is counted, and what was dropped stays as it is, dropped. So a pointer to a
 * domain is good for ever, and its place in the array its number.
 */
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "core/config_options.h"

enum poly_status poly_config_room(struct poly_config *config, struct poly_error *err)
{
    struct poly_config_reader *reader = (struct poly_config_reader *)config;
    size_t count = config->domain_count;

    reader->room = calloc(count + POLY_MAX_COLLECTIONS_MADE, sizeof(*reader->room));
    if (reader->room == NULL)
        return poly_no_memory(err);
    if (count > 0)
        memcpy(reader->room, config->domains, count * sizeof(*reader->room));
    config->domains = reader->room;
    return POLY_OK;
}

static void made_free(struct poly_made *made)
{
    if (made != NULL)
        poly_config_free(made->config);
    free(made);
}

void poly_config_free(struct poly_config *config)
{
    struct poly_config_reader *reader = (struct poly_config_reader *)config;

    if (config == NULL)
        return;
    for (size_t i = config->domain_count; i < poly_config_domains(config); i++)
        made_free(config->domains[i].made);
    free(reader->room);
    poly_arena_free(reader->arena);
}

/* The last one of a name is the one that may be live. */
const struct poly_domain *poly_config_domain(const struct poly_config *config, const char *name)
{
    for (size_t i = 0; i < config->domain_count; i++) {
        if (strcmp(config->domains[i].name, name) == 0)
            return &config->domains[i];
    }
    for (size_t i = poly_config_domains(config); i > config->domain_count; i--) {
        const struct poly_domain *domain = &config->domains[i - 1];

        if (strcmp(domain->name, name) == 0 && poly_domain_is_live(domain))
            return domain;
    }
    return NULL;
}

static const struct poly_domain *find_made(const struct poly_config *config, const char *name,
                                           uint64_t since, const char *definition)
{
    for (size_t i = config->domain_count; i < poly_config_domains(config); i++) {
        const struct poly_domain *domain = &config->domains[i];

        if (strcmp(domain->name, name) == 0 && domain->made->since == since &&
            strcmp(domain->made->definition, definition) == 0)
            return domain;
    }
    return NULL;
}

/* What had the name before has nothing from there on. */
static void end_others(struct poly_config *config, const char *name, uint64_t since)
{
    for (size_t i = config->domain_count; i < poly_config_domains(config); i++) {
        struct poly_made *made = config->domains[i].made;

        if (strcmp(config->domains[i].name, name) == 0 && atomic_load(&made->until) > since)
            atomic_store(&made->until, since);
    }
}

/* Where making it had failed, another may have come at the same position, and failed as well. */
static void last_again(struct poly_config *config, const struct poly_domain *domain)
{
    struct poly_made *made = domain->made;

    if (atomic_load(&made->until) > made->since)
        return;
    end_others(config, domain->name, made->since);
    atomic_store(&made->until, UINT64_MAX);
}

static enum poly_status make(const char *name, uint64_t since, const char *definition,
                             struct poly_made **made, struct poly_error *err)
{
    size_t size = strlen(definition) + 1;
    struct poly_made *self = calloc(1, sizeof(*self) + size);
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    self->definition = memcpy(self + 1, definition, size);
    self->since = since;
    atomic_init(&self->until, UINT64_MAX);
    status = poly_config_define(definition, &self->config, err);
    if (status == POLY_OK &&
        (self->config->domain_count != 1 || strcmp(self->config->domains[0].name, name) != 0))
        status = poly_fail(err, POLY_CORRUPT, "the definition is another domain's");
    if (status != POLY_OK) {
        made_free(self);
        return poly_fail_in(err, status == POLY_NO_MEMORY ? status : POLY_CORRUPT,
                            "collection '%.128s'", name);
    }
    *made = self;
    return POLY_OK;
}

enum poly_status poly_config_make(struct poly_config *config, const char *name, uint64_t since,
                                  const char *definition, const struct poly_domain **domain,
                                  struct poly_error *err)
{
    struct poly_config_reader *reader = (struct poly_config_reader *)config;
    size_t count = poly_config_domains(config);
    struct poly_made *made = NULL;
    enum poly_status status;

    *domain = find_made(config, name, since, definition);
    if (*domain != NULL) {
        last_again(config, *domain);
        return POLY_OK;
    }
    if (count == config->domain_count + POLY_MAX_COLLECTIONS_MADE)
        return poly_fail(err, POLY_LIMIT,
                         "%d collections were made since the start: a restart gives room for more",
                         POLY_MAX_COLLECTIONS_MADE);
    status = make(name, since, definition, &made, err);
    if (status != POLY_OK)
        return status;
    end_others(config, name, since);
    reader->room[count] = made->config->domains[0];
    reader->room[count].made = made;
    atomic_store(config->domains_all, count + 1);
    *domain = &config->domains[count];
    return POLY_OK;
}

static bool is_source(const struct poly_domain *domain, struct poly_text name)
{
    const char *source = domain->stream == NULL ? domain->name : domain->stream;

    return strlen(source) == name.size && memcmp(source, name.data, name.size) == 0;
}

enum poly_record_owner poly_config_owner(const struct poly_config *config, struct poly_text name,
                                         uint64_t position, bool *sure)
{
    enum poly_record_owner owner = POLY_RECORD_NOBODY;
    bool last = false;

    for (size_t i = 0; i < poly_config_domains(config) && owner != POLY_RECORD_NOW; i++) {
        const struct poly_domain *domain = &config->domains[i];
        const struct poly_made *made = domain->made;

        if (!is_source(domain, name))
            continue;
        owner = POLY_RECORD_PAST;
        if (!poly_domain_has(domain, position))
            continue;
        last = made != NULL && atomic_load(&made->until) == UINT64_MAX;
        if (made == NULL || atomic_load(&made->state) != POLY_MADE_DROPPED)
            owner = POLY_RECORD_NOW;
    }
    *sure = owner != POLY_RECORD_NOBODY && !last;
    return owner;
}
