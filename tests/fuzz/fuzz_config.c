/* polystore.yaml: refused with a line, or understood within all bounds. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "core/config.h"
#include "fuzz.h"

static void check(const struct poly_config *config)
{
    poly_assert(config->domain_count <= POLY_MAX_DOMAINS);
    for (size_t i = 0; i < config->domain_count; i++) {
        const struct poly_domain *domain = &config->domains[i];

        poly_assert((domain->table == NULL) != (domain->stream == NULL));
        poly_assert(strlen(domain->name) <= POLY_MAX_NAME);
        poly_assert(poly_config_domain(config, domain->name) == domain);
        poly_assert(domain->search.field_count <= POLY_MAX_SEARCH_FIELDS);
        for (size_t j = 0; j < domain->search.field_count; j++)
            poly_assert(domain->search.fields[j].weight > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct poly_config *config = NULL;
    struct poly_error err;
    enum poly_status status;

    poly_assert(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    status = poly_config_load(NULL, text, &config, &err);
    poly_assert(status == POLY_OK || status == POLY_INVALID);
    poly_assert(status == POLY_OK || err.message[0] != '\0');
    if (status == POLY_OK)
        check(config);
    poly_config_free(config);
    free(text);
    return 0;
}
