/* A batch over any stores: each item of the body is staged by its own function. */
#include "api/handlers.h"

#include "base/status.h"

typedef enum poly_status stage_item_fn(struct api_context *context, struct poly_txn *txn,
                                       const json_t *item, struct poly_error *err);

static enum poly_status stage_put(struct api_context *context, struct poly_txn *txn,
                                  const json_t *item, struct poly_error *err)
{
    struct poly_row row;
    enum poly_status status =
        poly_json_to_row(json_object_get(item, "row"), context->arena, &row, err);

    if (status != POLY_OK)
        return status;
    return poly_put(txn, api_member(item, "domain"), api_member(item, "key"), &row,
                    api_expected(json_object_get(item, "if_version")), err);
}

static enum poly_status stage_patch(struct api_context *context, struct poly_txn *txn,
                                    const json_t *item, struct poly_error *err)
{
    struct poly_row row;
    enum poly_status status =
        poly_json_to_row(json_object_get(item, "row"), context->arena, &row, err);

    if (status != POLY_OK)
        return status;
    return poly_patch(txn, api_member(item, "domain"), api_member(item, "key"), &row,
                      api_expected(json_object_get(item, "if_version")), err);
}

static enum poly_status stage_delete(struct api_context *context, struct poly_txn *txn,
                                     const json_t *item, struct poly_error *err)
{
    (void)context;
    return poly_delete(txn, api_member(item, "domain"), api_member(item, "key"),
                       api_expected(json_object_get(item, "if_version")), err);
}

static enum poly_status stage_check(struct api_context *context, struct poly_txn *txn,
                                    const json_t *item, struct poly_error *err)
{
    (void)context;
    return poly_check(txn, api_member(item, "domain"), api_member(item, "key"),
                      api_expected(json_object_get(item, "if_version")), err);
}

static enum poly_status stage_events(struct api_context *context, struct poly_txn *txn,
                                     const json_t *item, struct poly_error *err)
{
    return api_append_events(context, txn, api_member(item, "stream"), item, err);
}

static enum poly_status stage_sql(struct api_context *context, struct poly_txn *txn,
                                  const json_t *item, struct poly_error *err)
{
    const struct poly_value *values;
    size_t count;
    enum poly_status status =
        api_values(context, json_object_get(item, "values"), &values, &count, err);

    if (status != POLY_OK)
        return status;
    return poly_txn_sql(txn, api_member(item, "sql"), values, count, NULL, NULL, err);
}

static const struct {
    const char *op;
    stage_item_fn *stage;
} stages[] = {
    {"put", stage_put},     {"patch", stage_patch},   {"delete", stage_delete},
    {"check", stage_check}, {"append", stage_events}, {"sql", stage_sql},
};

static enum poly_status stage_item(struct api_context *context, struct poly_txn *txn,
                                   const json_t *item, struct poly_error *err)
{
    const char *op = api_member(item, "op");

    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
        if (strcmp(stages[i].op, op) == 0)
            return stages[i].stage(context, txn, item, err);
    return poly_fail(err, POLY_INTERNAL, "'%s' is in the table, but nothing stages it", op);
}

enum poly_status api_stage_transaction(struct api_context *context, struct poly_txn *txn,
                                       struct poly_error *err)
{
    const json_t *list = json_object_get(context->body, "operations");

    for (size_t i = 0; i < json_array_size(list); i++) {
        enum poly_status status = stage_item(context, txn, json_array_get(list, i), err);

        if (status != POLY_OK)
            return poly_fail_in(err, status, "operations[%zu]", i);
    }
    return POLY_OK;
}
