/* A record's fields are found in its JSON without a tree; the vector is one of them, read where it
 * stands. */
#include "stores/vector/record.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "core/config.h"
#include "core/model.h"
#include "core/vector.h"
#include "followers/document.h"
#include "followers/extract.h"

static void add_number(uint32_t number, poly_shape_fn *add, void *arg)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", number);
    add(arg, text);
}

/* What a change of its model has made of it builds nothing anew. */
static void add_vector(const struct poly_domain_vector *vector, poly_shape_fn *add, void *arg)
{
    const struct poly_domain_vector *first =
        vector->family == NULL ? NULL : atomic_load(&vector->family->first);

    first = first == NULL ? vector : first;
    add(arg, vector->name);
    add(arg, vector->field);
    add_number(first->dimensions, add, arg);
    add(arg, vector->metric);
    add(arg, vector->element);
    add_number(vector->m, add, arg);
    add_number(vector->ef_construction, add, arg);
    add(arg, first->model);
    for (size_t i = 0; i < vector->filter_count; i++)
        add(arg, vector->filters[i]);
    add(arg, "");
    if (vector->filters_in != NULL)
        add(arg, vector->filters_in);
}

bool poly_vector_shape(const struct poly_config *config, poly_shape_fn *add, void *arg)
{
    /* A collection is taken up by the generations that there are. */
    bool any = poly_config_domains(config) > config->domain_count;

    for (size_t i = 0; i < config->domain_count; i++) {
        const struct poly_domain *domain = &config->domains[i];

        if (domain->vector_count == 0)
            continue;
        any = true;
        add(arg, domain->name);
        add(arg, domain->table);
        add(arg, domain->stream);
        add(arg, domain->tenant);
        for (size_t j = 0; j < domain->vector_count; j++) {
            add_vector(&domain->vectors[j], add, arg);
            if (poly_config_in_table(config, domain, &domain->vectors[j]))
                add(arg, "in its table");
        }
        add(arg, "");
    }
    return any;
}

bool poly_vector_wants(const struct poly_config *config, struct poly_text name)
{
    for (size_t i = 0; i < poly_config_domains(config); i++) {
        const struct poly_domain *domain = &config->domains[i];

        for (size_t j = 0; j < domain->vector_count; j++)
            if (!poly_config_in_table(config, domain, &domain->vectors[j]) &&
                poly_document_of(domain, name))
                return true;
    }
    return false;
}

enum poly_status poly_vector_take(const struct poly_domain_vector *shape, const char *const *names,
                                  struct poly_batch *batch, const struct poly_record *record,
                                  struct poly_arena *arena, struct poly_vector_entry *entry,
                                  struct poly_error *err)
{
    struct poly_extract_names wanted = {
        .in = shape->filters_in, .filters = names, .filter_count = shape->filter_count};
    size_t field = shape->filter_count;
    enum poly_status status;

    *entry = (struct poly_vector_entry){.numbers = NULL};
    entry->values = poly_arena_array(arena, field + 1, sizeof(*entry->values));
    if (entry->values == NULL)
        return poly_no_memory(err);
    if (!poly_document_has_json(record))
        return POLY_OK;
    status = poly_extract(record->data.text, &wanted, arena, NULL, entry->values, err);
    if (status == POLY_OK) /* not as a filter: thousands of numbers would become a tree */
        status =
            poly_extract_one(record->data.text, names[field], arena, &entry->values[field], err);
    if (status == POLY_OK)
        status = poly_vector_read(shape, &entry->values[field], arena, &entry->numbers, err);
    return status == POLY_OK || status == POLY_NO_MEMORY
               ? status
               : poly_document_poison("vector", batch, record, status, err);
}
