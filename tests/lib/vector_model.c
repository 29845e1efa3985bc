/* Everything here is slow and obvious, so that it is right. */
#include "vector_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const columns[] = {"kind", "rank", "note"};

static void give_up(const char *what, const struct poly_error *err)
{
    fprintf(stderr, "vector model: %s: %s\n", what, err->message);
    abort();
}

static void *room(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);

    if (memory == NULL)
        abort();
    return memory;
}

/* splitmix64: a stream of its own for every seed */
static uint64_t mix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint64_t model_random(struct model *model)
{
    return mix(&model->random);
}

static float normal(uint64_t *state)
{
    double a = ((double)(mix(state) >> 11) + 1) / 9007199254740993.0;
    double b = (double)(mix(state) >> 11) / 9007199254740992.0;

    return (float)(sqrt(-2 * log(a)) * cos(6.283185307179586 * b));
}

void model_vector(const struct model *model, uint64_t seed, float *vector)
{
    const struct model_shape *shape = &model->shape;
    uint64_t state = seed * 2654435761 + 12345, middle = 0;
    bool around = shape->clusters > 0;

    if (around)
        middle = 77777 + mix(&state) % shape->clusters;
    for (uint32_t i = 0; i < shape->dimensions; i++) {
        if (shape->element == POLY_BINARY)
            vector[i] = (float)(mix(&state) & 1);
        else if (shape->whole || shape->element == POLY_INT8)
            vector[i] = (float)((int64_t)(mix(&state) % 9) - 4);
        else
            vector[i] = around ? normal(&middle) + 0.5F * normal(&state) : normal(&state);
    }
    if (shape->metric == POLY_COSINE)
        vector[0] += 0.25F; /* none is zero */
}

/* --- open, close --- */

struct poly_collection_options model_options(const struct model *model, const char *folder)
{
    const struct model_shape *shape = &model->shape;

    return (struct poly_collection_options){
        .index = {.element = shape->element,
                  .metric = shape->metric,
                  .dimensions = shape->dimensions,
                  .m = shape->m == 0 ? 16 : shape->m,
                  .ef_construction = shape->ef_construction == 0 ? 64 : shape->ef_construction,
                  .graph_from = shape->graph_from},
        .columns = columns,
        .column_count = 3,
        .folder = folder};
}

enum poly_status model_reopen(struct model *model, const char *folder, uint64_t *position,
                              bool *damaged, struct poly_error *err)
{
    const struct poly_collection_options options = model_options(model, folder);

    return poly_collection_open(&options, &model->collection, position, damaged, err);
}

static void make_room(struct model *model)
{
    const struct model_shape *shape = &model->shape;

    model->records = room(shape->keys, sizeof(*model->records));
    model->published = room(shape->keys, sizeof(*model->published));
    model->packed = room(poly_element_size(shape->element, shape->dimensions), 1);
    model->vector = room(shape->dimensions, sizeof(float));
}

void model_copy(struct model *model, const struct model *from)
{
    size_t size = from->shape.keys * sizeof(*from->records);

    *model = *from;
    model->collection = NULL;
    make_room(model);
    memcpy(model->records, from->records, size);
    memcpy(model->published, from->published, size);
}

void model_open(struct model *model, const struct model_shape *shape, const char *folder)
{
    struct poly_error err = {.message = "is damaged"};
    uint64_t position;
    bool damaged;

    memset(model, 0, sizeof(*model));
    model->shape = *shape;
    model->random = 4711;
    make_room(model);
    if (model_reopen(model, folder, &position, &damaged, &err) != POLY_OK || damaged ||
        position != 0)
        give_up("open", &err);
}

void model_close(struct model *model)
{
    poly_collection_close(model->collection);
    free(model->records);
    free(model->published);
    free(model->packed);
    free(model->vector);
}

/* --- records --- */

struct poly_text model_key(uint32_t key, char text[MODEL_TEXT])
{
    snprintf(text, MODEL_TEXT, "key-%06u", key);
    return poly_text(text);
}

struct poly_text model_owner(const struct model *model, uint32_t key, char text[MODEL_TEXT])
{
    snprintf(text, MODEL_TEXT, "owner-%u", key % model->shape.owners);
    return model->shape.owners > 1 ? poly_text(text) : poly_text("");
}

uint32_t model_key_number(struct poly_text key)
{
    return (uint32_t)strtoul(key.data + 4, NULL, 10);
}

static void kind_of(uint64_t version, char text[8])
{
    snprintf(text, 8, "k%u", (unsigned)(version * 7 % 10));
}

static int64_t rank_of(uint64_t version)
{
    return (int64_t)(version * 617 % 1000);
}

static int64_t deep_of(uint64_t version)
{
    return version % 7 == 0 ? -1 : (int64_t)(version * 31 % 50);
}

static void values_of(uint64_t version, struct poly_value values[3], char kind[8], char note[40])
{
    kind_of(version, kind);
    values[0] = poly_str(kind);
    values[1] = poly_int(rank_of(version));
    snprintf(note, 40, "{\"deep\": {\"n\": %d}}", (int)deep_of(version));
    values[2] = deep_of(version) < 0 ? poly_null() : poly_json(note);
}

enum poly_status model_put_seed(struct model *model, uint32_t key, uint64_t seed,
                                struct poly_error *err)
{
    char key_text[MODEL_TEXT], owner_text[MODEL_TEXT], kind[8], note[40];
    struct poly_value values[3];
    struct poly_catalog_entry entry = {.owner = model_owner(model, key, owner_text),
                                       .key = model_key(key, key_text),
                                       .version = model->version + 1,
                                       .position = model->position + 1,
                                       .values = values};
    enum poly_status status;

    values_of(entry.version, values, kind, note);
    model_vector(model, seed, model->vector);
    status = model->collection == NULL
                 ? POLY_OK
                 : poly_collection_put(model->collection, &entry, model->vector, err);
    if (status == POLY_OK)
        model->records[key] = (struct model_record){.version = ++model->version, .seed = seed};
    return status;
}

enum poly_status model_put(struct model *model, uint32_t key, struct poly_error *err)
{
    return model_put_seed(model, key, model_random(model), err);
}

enum poly_status model_remove(struct model *model, uint32_t key, struct poly_error *err)
{
    char key_text[MODEL_TEXT], owner_text[MODEL_TEXT];
    enum poly_status status = POLY_OK;

    if (model->collection != NULL)
        status = poly_collection_remove(model->collection, model_owner(model, key, owner_text),
                                        model_key(key, key_text), err);
    if (status == POLY_OK)
        model->records[key].version = 0;
    return status;
}

void model_publish(struct model *model)
{
    model->position++;
    model->published_version = model->version;
    if (model->collection != NULL)
        poly_collection_publish(model->collection, model->position);
    memcpy(model->published, model->records, model->shape.keys * sizeof(*model->records));
}

void model_revert(struct model *model)
{
    model->version = model->published_version;
    if (model->collection != NULL)
        poly_collection_revert(model->collection);
    memcpy(model->records, model->published, model->shape.keys * sizeof(*model->records));
}

enum poly_status model_step(struct model *model, unsigned changes, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    model->random = model->position * 1000003 + 17;
    for (unsigned i = 0; i < changes && status == POLY_OK; i++) {
        uint64_t r = model_random(model);
        uint32_t key = (uint32_t)(r / 8 % model->shape.keys);

        status = r % 8 < 7 ? model_put(model, key, err) : model_remove(model, key, err);
    }
    if (status == POLY_OK)
        model_publish(model);
    return status;
}

uint32_t model_count(const struct model *model)
{
    uint32_t count = 0;

    for (uint32_t key = 0; key < model->shape.keys; key++)
        count += model->published[key].version != 0;
    return count;
}

/* --- conditions --- */

const struct poly_where *model_where(struct model_condition *c)
{
    size_t count = 0;

    if (c->kind) {
        c->values[count] = poly_str(c->kind_is);
        c->filters[count++] = (struct poly_filter){.column = "kind", .compare = POLY_EQ};
    }
    if (c->rank) {
        c->values[count] = poly_int(c->rank_below);
        c->filters[count++] = (struct poly_filter){.column = "rank", .compare = POLY_LT};
    }
    if (c->deep) {
        c->values[count] = poly_int(c->deep_is);
        c->filters[count++] =
            (struct poly_filter){.column = "note", .path = "$.deep.n", .compare = POLY_EQ};
    }
    for (size_t i = 0; i < count; i++) {
        c->filters[i].values = &c->values[i];
        c->filters[i].value_count = 1;
        c->parts[i] = (struct poly_where){.kind = POLY_WHERE_COMPARE, .compare = &c->filters[i]};
        c->list[i] = &c->parts[i];
    }
    c->both = (struct poly_where){.kind = POLY_WHERE_AND, .parts = c->list, .part_count = count};
    return count == 0 ? NULL : count == 1 ? &c->parts[0] : &c->both;
}

bool model_fits(const struct model *model, const struct model_record *record,
                const struct model_condition *c)
{
    char kind[8];

    (void)model;
    if (record->version == 0)
        return false;
    if (c == NULL)
        return true;
    kind_of(record->version, kind);
    return (!c->kind || strcmp(kind, c->kind_is) == 0) &&
           (!c->rank || rank_of(record->version) < c->rank_below) &&
           (!c->deep || deep_of(record->version) == c->deep_is);
}

/* --- the answer that is expected --- */

struct expected {
    float distance;
    uint32_t key;
    uint64_t version;
};

struct answer {
    struct expected *list; /* to free() */
    uint32_t count;
};

static int compare_expected(const void *a, const void *b)
{
    const struct expected *x = a, *y = b;

    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return (x->key > y->key) - (x->key < y->key);
}

static bool of_owner(const struct model *model, uint32_t key, const struct poly_text *owner)
{
    char text[MODEL_TEXT];
    struct poly_text its = model_owner(model, key, text);

    return owner == NULL ||
           (its.size == owner->size && memcmp(its.data, owner->data, its.size) == 0);
}

static void pack(struct model *model, const float *vector)
{
    struct poly_error err;

    if (poly_vector_pack(model->shape.element, model->shape.metric, vector, model->shape.dimensions,
                         model->packed, &err) != POLY_OK)
        give_up("pack", &err);
}

/* At most so many of each value of "kind", in order. */
static uint32_t keep_groups(struct expected *list, uint32_t count, uint32_t limit)
{
    uint32_t kept = 0, of_kind[10] = {0};
    char kind[8];

    for (uint32_t i = 0; i < count; i++) {
        kind_of(list[i].version, kind);
        if (of_kind[kind[1] - '0']++ < limit)
            list[kept++] = list[i];
    }
    return kept;
}

/* All that match, in order. */
static struct answer expect(struct model *model, const struct poly_find *find,
                            const struct model_condition *condition)
{
    const struct model_shape *shape = &model->shape;
    struct expected *list = room(shape->keys, sizeof(*list));
    float *query = room(shape->dimensions, sizeof(*query));
    uint32_t like = find->vector == NULL ? model_key_number(find->like) : UINT32_MAX, n = 0;

    if (find->vector == NULL)
        model_vector(model, model->published[like].seed, model->vector);
    pack(model, find->vector == NULL ? model->vector : find->vector);
    poly_vector_unpack(shape->element, shape->metric, model->packed, shape->dimensions, query);
    for (uint32_t key = 0; key < shape->keys; key++) {
        const struct model_record *record = &model->published[key];

        if (key == like || !of_owner(model, key, find->owner) ||
            !model_fits(model, record, condition))
            continue;
        model_vector(model, record->seed, model->vector);
        pack(model, model->vector);
        list[n] = (struct expected){.key = key, .version = record->version};
        list[n].distance = poly_vector_distance(shape->element, shape->metric, query, model->packed,
                                                shape->dimensions);
        n += list[n].distance <= find->farthest;
    }
    qsort(list, n, sizeof(*list), compare_expected);
    free(query);
    if (find->group != NULL)
        n = keep_groups(list, n, find->group_limit);
    return (struct answer){list, n};
}

/* Sums in another order: two that are as good as equal may change places. */
static bool near_enough(const struct model *model, float a, float b)
{
    float least = fabsf(a) > 1 ? fabsf(a) * 2e-6F : 2e-6F;

    return a == b || (!model->shape.whole && fabsf(a - b) <= least);
}

static bool same_vector(struct model *model, uint32_t key, const float *vector)
{
    const struct model_shape *shape = &model->shape;
    float *its = room(shape->dimensions, sizeof(*its));
    bool same;

    model_vector(model, model->published[key].seed, model->vector);
    pack(model, model->vector);
    poly_vector_unpack(shape->element, shape->metric, model->packed, shape->dimensions, its);
    same = vector != NULL && memcmp(its, vector, shape->dimensions * sizeof(*its)) == 0;
    free(its);
    return same;
}

static bool same_answer(struct model *model, const struct poly_find *find,
                        const struct poly_finding *finding, const struct answer *answer, char *why,
                        size_t size)
{
    uint32_t wanted = answer->count < find->offset ? 0 : answer->count - find->offset;

    wanted = wanted > find->limit ? find->limit : wanted;
    if (finding->count != wanted) {
        snprintf(why, size, "%zu found, not %u of %u", finding->count, wanted, answer->count);
        return false;
    }
    for (uint32_t i = 0; i < wanted; i++) {
        const struct poly_found *found = &finding->found[i];
        const struct expected *one = &answer->list[find->offset + i];
        uint32_t key = model_key_number(found->key);

        if (near_enough(model, found->distance, one->distance) && key < model->shape.keys &&
            found->version == model->published[key].version &&
            of_owner(model, key, &found->owner) &&
            (key == one->key || (found->distance != one->distance || !model->shape.whole)) &&
            (!find->vectors || same_vector(model, key, found->vector)))
            continue;
        snprintf(why, size,
                 "place %u of %u: key %u version %llu at %g, not key %u version %llu at %g", i,
                 wanted, key, (unsigned long long)found->version, (double)found->distance, one->key,
                 (unsigned long long)one->version, (double)one->distance);
        return false;
    }
    return true;
}

bool model_search(struct model *model, struct poly_find *find, struct model_condition *condition,
                  char *why, size_t size)
{
    struct poly_arena *arena = poly_arena_new(64 << 20);
    struct poly_finding finding;
    struct poly_error err;
    struct answer answer;
    bool same = false;

    find->exact = true;
    find->where = condition == NULL ? NULL : model_where(condition);
    answer = expect(model, find, condition);
    if (poly_collection_find(model->collection, find, arena, &finding, &err) != POLY_OK)
        snprintf(why, size, "search: %s", err.message);
    else
        same = same_answer(model, find, &finding, &answer, why, size);
    free(answer.list);
    poly_arena_free(arena);
    return same;
}

/* --- many --- */

static void random_condition(struct model *model, struct model_condition *condition)
{
    uint64_t r = model_random(model);

    memset(condition, 0, sizeof(*condition));
    condition->kind = r % 3 == 0;
    condition->rank = r / 3 % 3 == 0;
    condition->deep = r / 9 % 6 == 0;
    snprintf(condition->kind_is, sizeof(condition->kind_is), "k%u", (unsigned)(r / 54 % 11));
    condition->rank_below = (int64_t)(r / 1000 % 1000);
    condition->deep_is = (int64_t)(r / 1000000 % 51);
}

static bool random_search(struct model *model, char *why, size_t size)
{
    struct poly_find find = {.limit = 1 + (uint32_t)(model_random(model) % 20),
                             .farthest = INFINITY};
    struct model_condition condition;
    char key_text[MODEL_TEXT], owner_text[MODEL_TEXT];
    struct poly_text owner;
    float *vector = room(model->shape.dimensions, sizeof(*vector));
    uint64_t r = model_random(model);
    uint32_t key = (uint32_t)(model_random(model) % model->shape.keys);
    bool same;

    random_condition(model, &condition);
    owner = model_owner(model, key, owner_text);
    model_vector(model, model_random(model), vector);
    find.vector = vector;
    find.owner = r % 2 == 0 || model->shape.owners == 1 ? NULL : &owner;
    find.offset = r / 2 % 4 == 0 ? (uint32_t)(r / 8 % 30) : 0;
    find.vectors = r / 256 % 2 == 0;
    if (r / 512 % 5 == 0 && model->published[key].version != 0) {
        find.vector = NULL;
        find.like = model_key(key, key_text);
        find.owner = &owner;
    }
    if (r / 4096 % 4 == 0) {
        find.group = "kind";
        find.group_limit = 1 + (uint32_t)(r / 65536 % 3);
    }
    if (r / 1000000 % 5 == 0)
        find.farthest = model->shape.metric == POLY_COSINE ? 0.7F : 5.0F;
    same = model_search(model, &find, &condition, why, size);
    free(vector);
    return same;
}

bool model_agrees(struct model *model, unsigned searches, char *why, size_t size)
{
    for (unsigned i = 0; i < searches; i++) {
        if (!random_search(model, why, size))
            return false;
    }
    return true;
}

static uint32_t hits(struct model *model, const struct model_recall *how, const float *query,
                     struct poly_arena *arena, uint32_t *possible)
{
    struct poly_find find = {.vector = query,
                             .limit = how->k,
                             .ef = how->ef,
                             .way = how->way,
                             .farthest = INFINITY,
                             .where = how->condition == NULL ? NULL : model_where(how->condition)};
    struct poly_finding exact, finding;
    struct poly_error err;
    uint32_t count = 0;

    if (poly_collection_find(model->collection, &find, arena, &finding, &err) != POLY_OK)
        give_up("search", &err);
    find.exact = true;
    if (poly_collection_find(model->collection, &find, arena, &exact, &err) != POLY_OK)
        give_up("search", &err);
    /* as near as the farthest of the exact ones is as good */
    for (size_t i = 0; i < finding.count && exact.count > 0; i++)
        count += finding.found[i].distance <= exact.found[exact.count - 1].distance;
    *possible += (uint32_t)exact.count;
    return count > exact.count ? (uint32_t)exact.count : count;
}

double model_recall(struct model *model, const struct model_recall *how)
{
    struct poly_arena *arena = poly_arena_new(64 << 20);
    float *query = room(model->shape.dimensions, sizeof(*query));
    uint32_t found = 0, possible = 0;

    for (unsigned i = 0; i < how->queries; i++) {
        model_vector(model, 1000000007 + i, query);
        found += hits(model, how, query, arena, &possible);
        poly_arena_reset(arena);
    }
    free(query);
    poly_arena_free(arena);
    return possible == 0 ? 1 : (double)found / possible;
}
