/*
 * The definition of a collection is the text of a configuration with that one domain: what may be
 * said of a declared domain is checked and filled in by the same code, and nothing of it is listed
 * twice. What was said, read as a configuration and printed again from that, is the same text for
 * whatever means the same.
 */
#include "stores/relational/collection.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/status.h"
#include "core/config.h"
#include "core/model.h"

enum { DEFINITION_MAX = 64 * 1024 };

/* Other columns of the table, and names that an engine keeps for itself. */
static const char *const taken[] = {"id",   "metadata", "tenant",   "ctid",  "xmin", "xmax",
                                    "cmin", "cmax",     "tableoid", "rowid", "oid",  "_rowid_"};

/* --- as a text --- */

static void put_text(struct poly_buffer *out, const char *name, const char *text)
{
    if (text == NULL)
        return;
    poly_buffer_printf(out, ",\"%s\":", name);
    poly_json_string(out, text, strlen(text));
}

static void put_number(struct poly_buffer *out, const char *name, uint32_t number)
{
    if (number != 0)
        poly_buffer_printf(out, ",\"%s\":%u", name, number);
}

static void put_filters(struct poly_buffer *out, const struct poly_vector_collection *o)
{
    for (size_t i = 0; i < o->filter_count; i++) {
        poly_buffer_text(out, i == 0 ? ",\"filters\":[" : ",");
        poly_json_string(out, o->filters[i], strlen(o->filters[i]));
    }
    poly_buffer_text(out, o->filter_count > 0 ? "]" : "");
}

static void put_vector(struct poly_buffer *out, const struct poly_vector_collection *o,
                       const struct poly_collection_vector *vector, const char *field)
{
    poly_buffer_text(out, "{\"field\":");
    poly_json_string(out, field, strlen(field));
    poly_buffer_text(out, ",\"filters_in\":\"metadata\"");
    put_number(out, "dimensions", vector->dimensions);
    put_text(out, "metric", vector->metric);
    put_text(out, "element", vector->element);
    put_number(out, "m", vector->m);
    put_number(out, "ef_construction", vector->ef_construction);
    put_number(out, "ef", vector->ef);
    put_text(out, "model", vector->model);
    put_filters(out, o);
    poly_buffer_char(out, '}');
}

static struct poly_collection_vector only_vector(const struct poly_vector_collection *o)
{
    return (struct poly_collection_vector){.dimensions = o->dimensions,
                                           .metric = o->metric,
                                           .element = o->element,
                                           .m = o->m,
                                           .ef_construction = o->ef_construction,
                                           .ef = o->ef,
                                           .model = o->model};
}

static void put_vectors(struct poly_buffer *out, const struct poly_vector_collection *o)
{
    if (o->vectors == NULL) {
        struct poly_collection_vector only = only_vector(o);

        poly_buffer_text(out, ",\"vector\":");
        put_vector(out, o, &only, "embedding");
        return;
    }
    poly_buffer_text(out, ",\"vectors\":{");
    for (size_t i = 0; i < o->vector_count; i++) {
        const char *name = o->vectors[i].name;

        poly_buffer_text(out, i == 0 ? "" : ",");
        poly_json_string(out, name, strlen(name));
        poly_buffer_char(out, ':');
        put_vector(out, o, &o->vectors[i], name);
    }
    poly_buffer_char(out, '}');
}

static void put_search(struct poly_buffer *out, const struct poly_vector_collection *o)
{
    if (o->text_count == 0)
        return;
    poly_buffer_text(out, ",\"search\":{\"in\":\"metadata\",\"fields\":{");
    for (size_t i = 0; i < o->text_count; i++) {
        poly_buffer_text(out, i == 0 ? "" : ",");
        poly_json_string(out, o->texts[i].field, strlen(o->texts[i].field));
        poly_buffer_printf(out, ":%.9g", o->texts[i].weight == 0 ? 1 : o->texts[i].weight);
    }
    poly_buffer_char(out, '}');
    put_filters(out, o);
    put_text(out, "tokenizer", o->tokenizer);
    put_text(out, "language", o->language);
    poly_buffer_char(out, '}');
}

static enum poly_status print(const struct poly_vector_collection *o, struct poly_arena *arena,
                              const char **text, struct poly_error *err)
{
    struct poly_buffer out;

    poly_buffer_init(&out, DEFINITION_MAX);
    poly_buffer_text(&out, "{\"domains\":{");
    poly_json_string(&out, o->name, strlen(o->name));
    poly_buffer_text(&out, ":{\"table\":");
    poly_json_string(&out, o->name, strlen(o->name));
    put_text(&out, "tenant", o->tenants ? "tenant" : "none");
    put_vectors(&out, o);
    put_search(&out, o);
    poly_buffer_text(&out, "}}}");
    *text = poly_buffer_ok(&out) ? poly_arena_copy(arena, out.data, out.size) : NULL;
    poly_buffer_release(&out);
    if (*text != NULL)
        return POLY_OK;
    return out.over
               ? poly_fail(err, POLY_INVALID, "the definition has over %d bytes", DEFINITION_MAX)
               : poly_no_memory(err);
}

/* --- and back --- */

/* As it is defined, or as it is by now. */
static struct poly_collection_vector shape_of(const struct poly_domain_vector *vector, bool now)
{
    const struct poly_domain_vector *shape = now ? poly_vector_now(vector) : vector;

    return (struct poly_collection_vector){.name = vector->name,
                                           .dimensions = shape->dimensions,
                                           .metric = shape->metric,
                                           .element = shape->element,
                                           .m = shape->m,
                                           .ef_construction = shape->ef_construction,
                                           .ef = shape->ef,
                                           .model = shape->model};
}

static enum poly_status fill_vectors(struct poly_vector_collection *o,
                                     const struct poly_domain *domain, bool now,
                                     struct poly_arena *arena, struct poly_error *err)
{
    struct poly_collection_vector one = shape_of(&domain->vectors[0], now), *list;

    if (*one.name == '\0') {
        o->dimensions = one.dimensions;
        o->metric = one.metric;
        o->element = one.element;
        o->m = one.m;
        o->ef_construction = one.ef_construction;
        o->ef = one.ef;
        o->model = one.model;
        return POLY_OK;
    }
    list = poly_arena_array(arena, domain->vector_count, sizeof(*list));
    if (list == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < domain->vector_count; i++)
        list[i] = shape_of(&domain->vectors[i], now);
    o->vectors = list;
    o->vector_count = domain->vector_count;
    return POLY_OK;
}

static enum poly_status fill_search(struct poly_vector_collection *o,
                                    const struct poly_domain_search *search,
                                    struct poly_arena *arena, struct poly_error *err)
{
    struct poly_collection_text *texts;

    if (search->field_count == 0)
        return POLY_OK;
    texts = poly_arena_array(arena, search->field_count, sizeof(*texts));
    if (texts == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < search->field_count; i++)
        texts[i] = (struct poly_collection_text){search->fields[i].name, search->fields[i].weight};
    o->texts = texts;
    o->text_count = search->field_count;
    o->tokenizer = search->tokenizer;
    o->language = search->language;
    return POLY_OK;
}

static enum poly_status fill(struct poly_vector_collection *o, const struct poly_domain *domain,
                             bool now, struct poly_arena *arena, struct poly_error *err)
{
    struct poly_vector_collection all = {.name = domain->name,
                                         .filters = domain->vectors[0].filters,
                                         .filter_count = domain->vectors[0].filter_count,
                                         .tenants = domain->tenant != NULL};
    enum poly_status status = fill_vectors(&all, domain, now, arena, err);

    if (status == POLY_OK)
        status = fill_search(&all, &domain->search, arena, err);
    if (status == POLY_OK)
        *o = all;
    return status;
}

enum poly_status poly_collection_describe(const struct poly_domain *domain,
                                          struct poly_arena *arena,
                                          struct poly_vector_collection *options,
                                          struct poly_error *err)
{
    return fill(options, domain, true, arena, err);
}

enum poly_status poly_collection_redefine(const struct poly_domain *domain,
                                          struct poly_arena *arena, const char **definition,
                                          struct poly_error *err)
{
    struct poly_vector_collection all;
    enum poly_status status = fill(&all, domain, true, arena, err);

    return status == POLY_OK ? print(&all, arena, definition, err) : status;
}

/* --- what is wrong with it --- */

/* What the configuration says of itself ("configuration:1: domains.NAME.vector.m: …") is said of
 * the collection. */
static enum poly_status wrong(const char *name, enum poly_status status, struct poly_error *err)
{
    char why[sizeof(err->message)];
    const char *at = strstr(err->message, "domains.");
    size_t size = strlen(name);

    if (status != POLY_INVALID || at == NULL)
        return status;
    at += strlen("domains.");
    if (strncmp(at, name, size) == 0)
        at += size;
    at += strspn(at, ".: ");
    snprintf(why, sizeof(why), "%s", at);
    return poly_fail(err, POLY_INVALID, "collection '%.64s': %s", name, why);
}

static bool has_one(const struct poly_vector_collection *o)
{
    return o->dimensions != 0 || o->metric != NULL || o->element != NULL || o->m != 0 ||
           o->ef_construction != 0 || o->ef != 0 || o->model != NULL;
}

static bool is_taken(const char *name)
{
    bool found = strncasecmp(name, "poly_", 5) == 0;

    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        found = found || strcmp(taken[i], name) == 0;
    return found;
}

static enum poly_status check_vectors(const struct poly_vector_collection *o,
                                      struct poly_error *err)
{
    if (o->vectors == NULL)
        return POLY_OK;
    if (has_one(o))
        return poly_fail(err, POLY_INVALID,
                         "collection '%.64s': has one vector and several; give each of them a name",
                         o->name);
    if (o->vector_count == 0)
        return poly_fail(err, POLY_INVALID, "collection '%.64s': has no vector", o->name);
    for (size_t i = 0; i < o->vector_count; i++) {
        const char *name = o->vectors[i].name;

        if (name == NULL || *name == '\0')
            return poly_fail(err, POLY_INVALID, "collection '%.64s': a vector has no name",
                             o->name);
        if (is_taken(name))
            return poly_fail(err, POLY_INVALID,
                             "collection '%.64s': vectors.%.64s: that is the name of another "
                             "column; take another one",
                             o->name, name);
        for (size_t j = 0; j < i; j++)
            if (strcmp(o->vectors[j].name, name) == 0)
                return poly_fail(err, POLY_INVALID,
                                 "collection '%.64s': vectors.%.64s: is there twice", o->name,
                                 name);
    }
    return POLY_OK;
}

static enum poly_status check_texts(const struct poly_vector_collection *o, struct poly_error *err)
{
    if (o->text_count == 0 && (o->tokenizer != NULL || o->language != NULL))
        return poly_fail(err, POLY_INVALID,
                         "collection '%.64s': tokenizer and language are of text: name its fields",
                         o->name);
    for (size_t i = 0; i < o->text_count; i++)
        if (o->texts[i].field == NULL)
            return poly_fail(err, POLY_INVALID, "collection '%.64s': a text has no field", o->name);
    return POLY_OK;
}

enum poly_status poly_collection_define(const struct poly_vector_collection *given,
                                        struct poly_arena *arena, const char **definition,
                                        struct poly_config **config, struct poly_error *err)
{
    struct poly_config *read = NULL;
    struct poly_vector_collection all;
    const char *text;
    enum poly_status status;

    if (given->name == NULL || *given->name == '\0' ||
        strlen(given->name) > POLY_MAX_COLLECTION_NAME)
        return poly_fail(err, POLY_INVALID, "a collection's name has 1 to %d bytes",
                         POLY_MAX_COLLECTION_NAME);
    status = check_vectors(given, err);
    if (status == POLY_OK)
        status = check_texts(given, err);
    if (status == POLY_OK)
        status = print(given, arena, &text, err);
    if (status == POLY_OK)
        status = wrong(given->name, poly_config_define(text, &read, err), err);
    if (status != POLY_OK)
        return status;
    status = fill(&all, &read->domains[0], false, arena, err);
    if (status == POLY_OK)
        status = print(&all, arena, definition, err);
    if (status == POLY_OK)
        *config = read;
    else
        poly_config_free(read);
    return status;
}
