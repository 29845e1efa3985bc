/* On PostgreSQL there are no records yet: a domain with a table is refused at start. */
#include "core/config.h"
#include "stores/relational/driver.h"

static enum poly_status postgresql_open(struct poly_relational *relational, struct poly_error *err)
{
    for (size_t i = 0; i < relational->config->domain_count; i++) {
        if (relational->config->domains[i].table != NULL)
            return poly_fail(err, POLY_UNSUPPORTED,
                             "domain '%s': on PostgreSQL there are streams only, no tables",
                             relational->config->domains[i].name);
    }
    return POLY_OK;
}

static void postgresql_close(struct poly_relational *relational)
{
    (void)relational;
}

const struct poly_relational_driver poly_relational_postgresql = {
    .name = "postgresql",
    .size = sizeof(struct poly_relational),
    .open = postgresql_open,
    .close = postgresql_close,
};
