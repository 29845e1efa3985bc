/*
 * What a collection of vectors must hold, kept beside it in plain arrays and searched by looking at
 * everything: tests change both and compare.
 *
 * Keys are numbered; a record's owner is key % owners, and its columns follow from its version:
 *   "kind"  text  k0 … k9, a tenth each          "rank"  int  0 … 999
 *   "note"  JSON  {"deep": {"n": 0 … 49}}, or NULL for every seventh version
 */
#ifndef TEST_VECTOR_MODEL_H
#define TEST_VECTOR_MODEL_H

#include "stores/vector/engine/collection.h"

enum { MODEL_TEXT = 24 }; /* bytes of a key or an owner, at most */

struct model_shape {
    enum poly_element element;
    enum poly_metric metric;
    uint32_t dimensions, m, ef_construction, graph_from; /* 0: of the engine, or 16 and 64 */
    uint32_t keys, owners;
    uint32_t clusters; /* vectors lie around so many points; 0: anywhere */
    bool whole;        /* coordinates are small whole numbers: many are equally far */
};

struct model_record {
    uint64_t version; /* 0: not there */
    uint64_t seed;    /* of its vector */
};

struct model {
    struct model_shape shape;
    struct poly_collection *collection; /* NULL: changes are those of the model alone */
    struct model_record *records, *published;
    uint64_t version, published_version, position;
    uint64_t random;
    void *packed;
    float *vector;
};

/* As poly_collection_open() opens it; folder NULL: in memory. Aborts when it cannot. The model is
 * empty, or as it is when it was there before. */
void model_open(struct model *model, const struct model_shape *shape, const char *folder);
/* Those that a model's collection is opened with. */
struct poly_collection_options model_options(const struct model *model, const char *folder);
/* Opens the collection of a model that was closed; the model stays. */
enum poly_status model_reopen(struct model *model, const char *folder, uint64_t *position,
                              bool *damaged, struct poly_error *err);
void model_close(struct model *model); /* the collection and the model */
/* Another of the same content, without a collection. */
void model_copy(struct model *model, const struct model *from);
/* One position: so many changes, the same ones whenever it is applied to what was before it.
 * Published, unless one fails. */
enum poly_status model_step(struct model *model, unsigned changes, struct poly_error *err);

uint64_t model_random(struct model *model);
/* The vector of a seed, as it was given to the collection. */
void model_vector(const struct model *model, uint64_t seed, float *vector);

/* Changes of both; the model changes when the collection did. */
enum poly_status model_put(struct model *model, uint32_t key, struct poly_error *err);
/* … with the vector of that seed. */
enum poly_status model_put_seed(struct model *model, uint32_t key, uint64_t seed,
                                struct poly_error *err);
enum poly_status model_remove(struct model *model, uint32_t key, struct poly_error *err);
void model_publish(struct model *model);
void model_revert(struct model *model);

/* What a condition says of a record's columns. */
struct model_condition {
    bool kind, rank, deep; /* which of them */
    char kind_is[8];
    int64_t rank_below, deep_is;
    /* filled by model_where() */
    struct poly_value values[3];
    struct poly_filter filters[3];
    struct poly_where parts[3], both;
    const struct poly_where *list[3];
};
const struct poly_where *model_where(struct model_condition *condition);
bool model_fits(const struct model *model, const struct model_record *record,
                const struct model_condition *condition);
/* Key as text, into the buffer. */
struct poly_text model_key(uint32_t key, char text[MODEL_TEXT]);
struct poly_text model_owner(const struct model *model, uint32_t key, char text[MODEL_TEXT]);
uint32_t model_key_number(struct poly_text key);
uint32_t model_count(const struct model *model); /* published records */

/*
 * One exact search, compared with what is published: keys, versions, order, distances, count. find
 * as the collection gets it, but for .where (of condition; NULL: none). false: they differ, and
 * why says how.
 */
bool model_search(struct model *model, struct poly_find *find, struct model_condition *condition,
                  char *why, size_t size);
/* Many different ones. */
bool model_agrees(struct model *model, unsigned searches, char *why, size_t size);
struct model_recall {
    unsigned queries;
    uint32_t k, ef;
    enum poly_index_way way;
    struct model_condition *condition; /* NULL: none */
};
/* Share of the k nearest that searches find that are not exact. */
double model_recall(struct model *model, const struct model_recall *how);

#endif
