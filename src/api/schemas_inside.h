/* How the tables of schemas and operations write fields: each with type, bounds and meaning. */
#ifndef POLY_API_SCHEMAS_INSIDE_H
#define POLY_API_SCHEMAS_INSIDE_H

#include "api/schemas.h"

#define FIELDS(...)                                                                                \
    (const struct api_field[])                                                                     \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            .name = NULL                                                                           \
        }                                                                                          \
    }
#define REQUIRED .flags = API_REQUIRED
#define POSITION .min = 0, .max = INT64_MAX

#define MEMBER(n, k, m, ...)                                                                       \
    {                                                                                              \
        .name = n, .kind = k, .meaning = m, __VA_ARGS__                                            \
    }
#define COUNT(n, m) MEMBER(n, API_INTEGER, m, REQUIRED, POSITION)
#define FLAG(n, m) MEMBER(n, API_BOOLEAN, m, REQUIRED)
#define STRING(n, m) MEMBER(n, API_TEXT, m, REQUIRED)
#define ITEMS(n, s, m) MEMBER(n, API_LIST, m, REQUIRED, .schema = &api_schema_##s)

#endif
