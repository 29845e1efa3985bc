/* The JSON objects of collections: what is asked for, and what there is. */
#include "api/schemas_inside.h"
#include "base/limits.h"

/* What the request may leave out, the answer has. */
#define VECTOR_SHAPE(flag)                                                                         \
    MEMBER("metric", API_TEXT, "cosine, inner, l2 or hamming: see docs/vectors.md", flag,          \
           .min = 1, .max = POLY_MAX_NAME, .example = "\"cosine\""),                               \
        MEMBER("element", API_TEXT, "f32, f16, int8 or binary", flag, .min = 1,                    \
               .max = POLY_MAX_NAME),                                                              \
        MEMBER("m", API_INTEGER, "links of a vector", flag, .min = 2, .max = 100),                 \
        MEMBER("ef_construction", API_INTEGER, "candidates while linking", flag, .min = 4,         \
               .max = 1000),                                                                       \
        MEMBER("ef", API_INTEGER, "candidates while searching", flag, .min = 1, .max = 10000),     \
        MEMBER("model", API_TEXT, "that makes the vectors", .min = 1, .max = POLY_MAX_NAME)
#define DIMENSIONS(flag)                                                                           \
    MEMBER("dimensions", API_INTEGER, "how many numbers a vector has", flag, .min = 1,             \
           .max = POLY_MAX_DIMENSIONS, .example = "384")

/* Of a collection with one vector the members of a vector are its own. */
#define COLLECTION_SHAPE(flag)                                                                     \
    DIMENSIONS(.flags = 0), VECTOR_SHAPE(.flags = 0),                                              \
        MEMBER("vectors", API_LIST, "instead of that: several, each with a name", .flags = 0,      \
               .schema = &api_schema_collection_vector, .min = 1, .max = POLY_MAX_VECTORS),        \
        MEMBER("filters", API_TEXTS, "fields of the metadata that a search may filter by", flag,   \
               .max = POLY_MAX_FILTERS, .example = "[\"team\"]"),                                  \
        MEMBER("tenants", API_BOOLEAN,                                                             \
               "each record belongs to the tenant who wrote it; else all is everybody's", flag),   \
        MEMBER("text", API_TEXTS, "fields of the metadata that are searched for words",            \
               .flags = 0, .max = POLY_MAX_SEARCH_FIELDS, .example = "[\"title\", \"body\"]"),     \
        MEMBER("weights", API_MAP, "how much a word in one of them counts, where that is not 1",   \
               .flags = 0, .example = "{\"title\": 4}"),                                           \
        MEMBER("tokenizer", API_TEXT, "words or trigram; words by default", .flags = 0, .min = 1,  \
               .max = POLY_MAX_NAME),                                                              \
        MEMBER("language", API_TEXT, "whose word endings do not matter: english or none",          \
               .flags = 0, .min = 1, .max = POLY_MAX_NAME)

const struct api_schema api_schema_collection_vector = {
    .name = "CollectionVector",
    .meaning = "one of several vectors of a record",
    .fields = FIELDS(MEMBER("name", API_TEXT, "of the vector, and of its column", REQUIRED,
                            .min = 1, .max = POLY_MAX_NAME, .example = "\"title\""),
                     DIMENSIONS(REQUIRED), VECTOR_SHAPE(.flags = 0)),
};

const struct api_schema api_schema_collection_request = {
    .name = "CollectionRequest",
    .meaning = "a collection to be made",
    .fields = FIELDS(MEMBER("name", API_TEXT, "small letters, digits and '_'", REQUIRED, .min = 1,
                            .max = POLY_MAX_NAME, .example = "\"notes\""),
                     COLLECTION_SHAPE(.flags = 0)),
};

const struct api_schema api_schema_collection = {
    .name = "Collection",
    .meaning = "a domain that was made, for records with vectors",
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
