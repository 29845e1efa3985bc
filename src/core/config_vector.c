/* What of a domain's vectors an option alone cannot say: that they have a field and a size, and
 * that metric, element, field and name go together. */
#include <string.h>
#include <strings.h>

#include "base/status.h"
#include "core/config.h"
#include "core/config_options.h"
#include "core/model.h"

static enum poly_status check_metric(struct poly_config_reader *reader, int line)
{
    struct poly_domain_vector *vector = &reader->vector;
    bool binary = strcmp(vector->element, "binary") == 0;

    if (vector->metric == NULL)
        vector->metric = binary ? "hamming" : "cosine";
    if (binary == (strcmp(vector->metric, "hamming") == 0))
        return POLY_OK;
    return poly_config_fail(reader, line,
                            binary ? "vector: the element 'binary' goes with the metric 'hamming', "
                                     "not '%s'"
                                   : "vector: the metric '%s' is of the element 'binary'",
                            vector->metric);
}

/* The text is the record's: an event cannot be changed any more, and so brings its vector. */
static enum poly_status check_text(struct poly_config_reader *reader, int line)
{
    const struct poly_domain_vector *vector = &reader->vector;

    if (vector->embedder == NULL && vector->text_count == 0)
        return POLY_OK;
    if (vector->embedder == NULL)
        return poly_config_fail(reader, line, "vector: 'text' needs 'embedder': what makes it");
    if (vector->text_count == 0)
        return poly_config_fail(reader, line,
                                "vector: 'embedder' needs 'text': the columns with the text");
    if (vector->model == NULL)
        return poly_config_fail(reader, line,
                                "vector: 'embedder' needs 'model', as its server calls it");
    if (reader->domain.table == NULL)
        return poly_config_fail(reader, line,
                                "vector: 'embedder' is of tables: an event cannot be changed, its "
                                "vector comes with it");
    for (size_t i = 0; i < vector->text_count; i++)
        if (strcasecmp(vector->texts[i], vector->field) == 0)
            return poly_config_fail(reader, line, "vector: '%.60s' cannot be made of itself",
                                    vector->field);
    return POLY_OK;
}

enum poly_status poly_config_check_embedder(struct poly_config_reader *reader, int line)
{
    if (reader->embedder.url == NULL)
        return poly_config_fail(reader, line, "needs 'url': where its server is");
    return POLY_OK;
}

enum poly_status poly_config_check_embedded(struct poly_config_reader *reader)
{
    const struct poly_config *config = &reader->config;

    for (size_t i = 0; i < config->domain_count; i++)
        for (size_t v = 0; v < config->domains[i].vector_count; v++) {
            const char *name = config->domains[i].vectors[v].embedder;

            if (name != NULL && poly_config_embedder(config, name) == NULL)
                return poly_fail(reader->err, POLY_INVALID,
                                 "%.200s: domains.%.128s: there is no embedder '%.128s'; give it a "
                                 "url under 'embedders'",
                                 reader->file, config->domains[i].name, name);
        }
    return POLY_OK;
}

enum poly_status poly_config_add_vector(struct poly_config_reader *reader, const char *name,
                                        int line)
{
    struct poly_domain_vector *vector = &reader->vector;
    size_t count = reader->domain.vector_count;
    enum poly_status status;

    if (vector->field == NULL)
        return poly_config_fail(reader, line, "vector needs 'field': the column that holds it");
    if (vector->dimensions == 0)
        return poly_config_fail(reader, line, "vector needs 'dimensions': how many numbers it has");
    if (vector->model != NULL && strlen(vector->model) > POLY_MAX_NAME)
        return poly_config_fail(reader, line, "vector: the name of its model has over %d bytes",
                                POLY_MAX_NAME);
    status = check_metric(reader, line);
    if (status == POLY_OK)
        status = check_text(reader, line);
    for (size_t i = 0; i < count && status == POLY_OK; i++)
        if (strcasecmp(reader->vectors[i].field, vector->field) == 0 &&
            reader->vectors[i].dimensions != vector->dimensions)
            status = poly_config_fail(
                reader, line, "vector: the field '%.60s' has %u dimensions in '%s'", vector->field,
                reader->vectors[i].dimensions, reader->vectors[i].name);
        else if (strcasecmp(reader->vectors[i].field, vector->field) == 0 &&
                 (vector->embedder != NULL || reader->vectors[i].embedder != NULL))
            status = poly_config_fail(
                reader, line, "vector: the field '%.60s' is that of '%s', too; an embedder's is "
                              "one vector's alone",
                vector->field, reader->vectors[i].name);
    if (status != POLY_OK)
        return status;
    vector->family = poly_arena_alloc(reader->arena, sizeof(*vector->family));
    if (vector->family == NULL)
        return poly_no_memory(reader->err);
    vector->name = name;
    reader->vectors[count] = *vector;
    reader->domain.vector_count = count + 1;
    return POLY_OK;
}
