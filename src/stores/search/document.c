/* Which records search is about. */
#include "stores/search/document.h"

#include <string.h>

bool poly_document_wants(const struct poly_config *config, struct poly_text domain)
{
    for (size_t i = 0; i < config->domain_count; i++) {
        const struct poly_domain *d = &config->domains[i];
        const char *source = d->stream == NULL ? d->name : d->stream;

        if (d->search.field_count > 0 && strlen(source) == domain.size &&
            memcmp(source, domain.data, domain.size) == 0)
            return true;
    }
    return false;
}
