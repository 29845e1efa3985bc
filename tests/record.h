/* A record of the log, as a driver alone is given it. */
#ifndef POLY_TESTS_RECORD_H
#define POLY_TESTS_RECORD_H

#include "polystore/log.h"

/* json NULL: the key was removed. */
static inline struct poly_record record(uint64_t position, const char *tenant, const char *domain,
                                        const char *key, const char *json)
{
    struct poly_record r = {.position = position,
                            .version = position,
                            .tenant = poly_text(tenant),
                            .domain = poly_text(domain),
                            .key = poly_text(key),
                            .type = poly_text(json == NULL ? "$delete" : "$put")};

    if (json != NULL)
        r.data = poly_json(json);
    return r;
}

#endif
