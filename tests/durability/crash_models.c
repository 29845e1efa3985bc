/*
 * A change of model, from its beginning to its end: filled in two batches, swapped, back, swapped
 * again, abandoned. After a crash it stands before or after the step that it died in, whole; every
 * vector is of the model that the collection says, and the index is as one built from the log.
 * S0-49.
 */
#include <stdlib.h>
#include <string.h>

#include "crash_more.h"
#include "stores/vector/embedded.h"

enum { RECORDS = 8, STAGES = 7, OLD = 2, NEW = 3 };

#define DOMAINS                                                                                    \
    "domains:\n"                                                                                   \
    "  item: {table: items, tenant: none, vector: {field: at, dimensions: 2, model: old}}\n"       \
    "  step: {stream: step, vector: {field: at, dimensions: 2}}\n"

static const char together[] = DOMAINS;
static const char following[] = "stores: {vector: {placement: follower}}\n" DOMAINS;
static const char table[] = "CREATE TABLE items(id TEXT PRIMARY KEY, at BLOB);\n";
static const char *const item[] = {"item", NULL};

/* Of the record in that model; they point elsewhere. */
static void vector_of(unsigned record, size_t dimensions, float *vector)
{
    vector[0] = dimensions == OLD ? 1 : -1;
    vector[1] = (float)(record + 1);
    vector[2] = 1;
}

static void key_of(unsigned record, char key[8])
{
    snprintf(key, 8, "k%u", record);
}

static enum poly_status seed(struct crash_run *run)
{
    struct poly_migrations migrations;
    struct poly_txn *txn = NULL;
    enum poly_status status;

    lab_file_write(run->data, "0001_items.sql", table);
    status = poly_migrate_up(run->session, run->data, &migrations, &run->err);
    if (status == POLY_OK)
        status = poly_txn_begin(run->session, NULL, &txn, &run->err);
    for (unsigned i = 0; i < RECORDS && status == POLY_OK; i++) {
        float vector[NEW];
        char key[8];

        vector_of(i, OLD, vector);
        key_of(i, key);

        struct poly_field field = {"at", poly_bytes(vector, OLD * sizeof(*vector))};
        struct poly_row row = {&field, 1};

        status = poly_put(txn, "item", key, &row, POLY_ANY, &run->err);
    }
    return status == POLY_OK ? poly_txn_commit(txn, NULL, &run->err) : status;
}

/* --- the steps --- */

static enum poly_status fill(struct crash_run *run, unsigned first)
{
    struct poly_model_vector list[RECORDS / 2];
    struct poly_model_batch batch = {.vectors = list, .count = RECORDS / 2};
    float vectors[RECORDS / 2][NEW];
    char keys[RECORDS / 2][8];
    struct poly_model_added added;

    for (unsigned i = 0; i < RECORDS / 2; i++) {
        vector_of(first + i, NEW, vectors[i]);
        key_of(first + i, keys[i]);
        list[i] =
            (struct poly_model_vector){.key = keys[i], .vector = vectors[i], .dimensions = NEW};
    }
    return poly_model_add(run->session, "item", NULL, &batch, &added, &run->err);
}

static enum poly_status swap(struct crash_run *run, bool back)
{
    const struct poly_model_swap how = {.back = back};
    struct poly_model_swapped swapped;

    return poly_model_swap(run->session, "item", NULL, &how, &swapped, &run->err);
}

static enum poly_status do_stage(struct crash_run *run, unsigned stage)
{
    switch (stage) {
    case 1:
        return poly_model_begin(run->session, "item", NULL, "new", NEW, &run->err);
    case 2:
    case 3:
        return fill(run, (stage - 2) * (RECORDS / 2));
    case STAGES:
        return poly_model_abandon(run->session, "item", NULL, &run->err);
    default:
        return swap(run, stage > 4);
    }
}

static enum poly_status work(struct crash_run *run)
{
    enum poly_status status = POLY_OK;

    poly_control_hurry = true;
    for (unsigned stage = 1; stage <= STAGES && status == POLY_OK; stage++) {
        atomic_store(&run->page->begun[0], stage);
        status = do_stage(run, stage);
        if (status == POLY_OK)
            atomic_store(&run->page->acked[0], stage);
    }
    return status;
}

/* --- what must be there --- */

static bool is_after(const struct poly_model_status *model, uint64_t stage)
{
    bool fresh = stage == 4 || stage >= 6;
    bool kept = stage > 0 && stage < STAGES;
    uint64_t filled = stage < 2 ? 0 : stage == 2 ? RECORDS / 2 : RECORDS;

    return model->dimensions == (fresh ? NEW : OLD) &&
           strcmp(model->model.data, fresh ? "new" : "old") == 0 &&
           model->next_dimensions == (!kept   ? 0
                                      : fresh ? OLD
                                              : NEW) &&
           (!kept || (model->filled == filled && model->back == (stage >= 4)));
}

static bool answers_in(struct crash_run *run, size_t dimensions)
{
    float wanted[NEW];
    struct poly_vector_query query = {.domains = item,
                                      .vector = wanted,
                                      .dimensions = dimensions,
                                      .limit = 100,
                                      .exact = true,
                                      .vectors = true};
    struct poly_matches matches;

    vector_of(0, dimensions, wanted);
    if (poly_vector_search(run->session, &query, &matches, &run->err) != POLY_OK)
        return crash_wrong(run, "search: %s", run->err.message);
    if (matches.count != RECORDS)
        return crash_wrong(run, "%zu records are found", matches.count);
    for (size_t i = 0; i < matches.count; i++) {
        vector_of((unsigned)strtoul(matches.matches[i].key.data + 1, NULL, 10), dimensions, wanted);
        if (!lab_is_like(matches.matches[i].vector, wanted, dimensions))
            return crash_wrong(run, "the vector of '%.8s' is of another model",
                               matches.matches[i].key.data);
    }
    return true;
}

static bool check(struct crash_run *run, uint64_t done)
{
    uint64_t acked = atomic_load(&run->page->acked[0]), begun = atomic_load(&run->page->begun[0]);
    const struct poly_model_status *list;
    bool found = false;
    size_t count;

    (void)done;
    if (poly_model_status(run->session, "item", &list, &count, &run->err) != POLY_OK || count != 1)
        return crash_wrong(run, "status: %s", run->err.message);
    for (uint64_t stage = acked; stage <= begun; stage++)
        found = found || is_after(&list[0], stage);
    if (!found)
        return crash_wrong(run,
                           "model '%s' of %zu, next of %zu with %llu: not as after %llu or %llu",
                           list[0].model.data, list[0].dimensions, list[0].next_dimensions,
                           (unsigned long long)list[0].filled, (unsigned long long)acked,
                           (unsigned long long)begun);
    if (!answers_in(run, list[0].dimensions))
        return false;
    if (poly_rebuild(run->session, "vector", NULL, &run->err) != POLY_OK)
        return crash_wrong(run, "rebuild: %s", run->err.message);
    return answers_in(run, list[0].dimensions);
}

const struct crash_workload crash_models = {
    .name = "change of model", .config = together, .seed = seed, .work = work, .check = check};
const struct crash_workload crash_models_followed = {.name = "change of model that is followed",
                                                     .config = following,
                                                     .seed = seed,
                                                     .work = work,
                                                     .check = check};
