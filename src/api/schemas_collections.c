/* The JSON objects of collections: what is asked for, and what there is. */
#include "api/schemas_inside.h"
#include "base/limits.h"

/* What the request may leave out, the answer has. */
#define COLLECTION_SHAPE(flag)                                                                     \
    MEMBER("dimensions", API_INTEGER, "how many numbers a vector has", REQUIRED, .min = 1,         \
           .max = POLY_MAX_DIMENSIONS, .example = "384"),                                          \
        MEMBER("metric", API_TEXT, "cosine, inner, l2 or hamming: see docs/vectors.md", flag,      \
               .min = 1, .max = POLY_MAX_NAME, .example = "\"cosine\""),                           \
        MEMBER("element", API_TEXT, "f32, f16, int8 or binary", flag, .min = 1,                    \
               .max = POLY_MAX_NAME),                                                              \
        MEMBER("m", API_INTEGER, "links of a vector", flag, .min = 1, .max = INT32_MAX),           \
        MEMBER("ef_construction", API_INTEGER, "candidates while linking", flag, .min = 1,         \
               .max = INT32_MAX),                                                                  \
        MEMBER("ef", API_INTEGER, "candidates while searching", flag, .min = 1, .max = INT32_MAX), \
        MEMBER("model", API_TEXT, "that makes the vectors", .min = 1, .max = POLY_MAX_NAME),       \
        MEMBER("filters", API_TEXTS, "fields of the metadata that a search may filter by", flag,   \
               .max = POLY_MAX_FILTERS, .example = "[\"team\"]"),                                  \
        MEMBER("tenants", API_BOOLEAN,                                                             \
               "each record belongs to the tenant who wrote it; else all is everybody's", flag)

const struct api_schema api_schema_collection_request = {
    .name = "CollectionRequest",
    .meaning = "a collection to be made",
    .fields = FIELDS(MEMBER("name", API_TEXT, "small letters, digits and '_'", REQUIRED, .min = 1,
                            .max = POLY_MAX_NAME, .example = "\"notes\""),
                     COLLECTION_SHAPE(.flags = 0)),
};

const struct api_schema api_schema_collection = {
    .name = "Collection",
    .meaning = "a domain that was made, for records with a vector",
    .fields = FIELDS(STRING("name", "of the domain"), COLLECTION_SHAPE(REQUIRED)),
};

const struct api_schema api_schema_made_collection = {
    .name = "MadeCollection",
    .meaning = "a collection that is there now",
    .fields = FIELDS(FLAG("made", "it was not there before"), STRING("name", "of the domain"),
                     COLLECTION_SHAPE(REQUIRED)),
};

const struct api_schema api_schema_collections = {
    .name = "Collections",
    .meaning = "the collections that were made",
    .fields = FIELDS(ITEMS("collections", collection, "in the order in which they were made")),
};
