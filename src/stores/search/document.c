/* Which records search is about. */
#include "stores/search/document.h"

#include "core/config.h"
#include "followers/document.h"

bool poly_document_shape(const struct poly_config *config, poly_shape_fn *add, void *arg)
{
    bool any = false;

    /* A collection is taken up by the generations that there are. */
    for (size_t i = 0; i < poly_config_domains(config); i++) {
        const struct poly_domain *domain = &config->domains[i];

        if (domain->search.field_count == 0)
            continue;
        any = any || poly_domain_is_live(domain);
        if (domain->made != NULL)
            continue;
        add(arg, domain->name);
        add(arg, domain->table);
        add(arg, domain->stream);
        add(arg, domain->tenant);
        add(arg, domain->search.tokenizer);
        add(arg, domain->search.language);
        for (size_t f = 0; f < domain->search.field_count; f++)
            add(arg, domain->search.fields[f].name);
        add(arg, "");
        for (size_t f = 0; f < domain->search.filter_count; f++)
            add(arg, domain->search.filters[f]);
        add(arg, "");
        if (domain->search.in != NULL) {
            add(arg, "in");
            add(arg, domain->search.in);
        }
    }
    return any;
}

bool poly_document_wants(const struct poly_config *config, struct poly_text domain)
{
    for (size_t i = 0; i < poly_config_domains(config); i++)
        if (config->domains[i].search.field_count > 0 &&
            poly_document_of(&config->domains[i], domain))
            return true;
    return false;
}
