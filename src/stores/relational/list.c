/*
 * A page of records: one SELECT whose text is made of column names that the
 * schema knows and of parameters; nothing that a caller says becomes SQL. The
 * drivers write it, each in its own dialect.
 *
 * Pages go on by key ("after this value and key"), not by offset: a page costs
 * the same however far it is, and rows that come and go in between are neither
 * shown twice nor missed. The cursor carries the last row's order value and
 * key, and a digest of the query's shape, so that it is not taken for a page of
 * another query.
 */
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_walk.h"
#include "stores/relational/list.h"

enum {
    LIMIT_DEFAULT = 100,
    CURSOR_MAX = POLY_LIST_DIGEST + 1 + 4 + POLY_LIST_VALUE_MAX + POLY_MAX_KEY
};

/* --- filters --- */

int poly_list_bind(struct poly_listing *l, const struct poly_value *value)
{
    if (l->parameter_count == l->parameter_room) {
        l->sql.failed = true;
        return 0;
    }
    l->parameters[l->parameter_count++] = *value;
    return l->parameter_count;
}

enum poly_status poly_list_wrong(const struct poly_listing *l, const char *column, const char *why,
                                 struct poly_error *err)
{
    return poly_fail(err, POLY_INVALID, "domain '%s': filter on '%.64s' %s", l->query->domain,
                     column, why);
}

enum poly_status poly_list_stored(struct poly_listing *l, const struct poly_filter *filter,
                                  const struct poly_value *value, struct poly_value *out,
                                  struct poly_error *err)
{
    struct poly_column any = {.name = filter->column, .type = POLY_NULL};
    const struct poly_column *column =
        &l->table->columns[poly_table_find(l->table, filter->column)];

    if (value->type == POLY_NULL)
        return poly_list_wrong(l, filter->column, "compares with null; use IS_NULL or NOT_NULL",
                               err);
    if (filter->path != NULL)
        column = &any;
    return poly_column_store(l->table, column, value, l->arena, out, err);
}

/* A path where there is none needed, a name that no column has: not for any driver. */
static enum poly_status check_filter(struct poly_listing *l, const struct poly_filter *filter,
                                     struct poly_error *err)
{
    size_t column;
    enum poly_type type;

    if (filter->column == NULL)
        return poly_list_wrong(l, "", "names no column", err);
    column = poly_table_find(l->table, filter->column);
    if (column == l->table->column_count) {
        char known[300];

        poly_table_columns(l->table, known, sizeof(known));
        return poly_fail(err, POLY_INVALID, "domain '%s' has no column '%.64s'; it has %s",
                         l->query->domain, filter->column, known);
    }
    type = l->table->columns[column].type;
    if (filter->path != NULL && type != POLY_JSON && type != POLY_TEXT && type != POLY_NULL)
        return poly_list_wrong(l, filter->column, "has a path, but the column holds no JSON", err);
    if (filter->path != NULL && !poly_json_path_valid(filter->path))
        return poly_list_wrong(l, filter->column, "has a path that is not like $.name[0].\"a b\"",
                               err);
    if (filter->compare <= POLY_GE && (filter->value_count != 1 || filter->values == NULL))
        return poly_list_wrong(l, filter->column, "needs one value", err);
    if (filter->compare == POLY_IN && filter->value_count > POLY_MAX_IN)
        return poly_fail(err, POLY_LIMIT,
                         "domain '%s': filter on '%s' has %zu values, the limit is "
                         "%d",
                         l->query->domain, filter->column, filter->value_count, POLY_MAX_IN);
    if (filter->compare == POLY_PREFIX &&
        (filter->value_count != 1 || filter->values == NULL || filter->values->type != POLY_TEXT))
        return poly_list_wrong(l, filter->column, "by prefix needs one text", err);
    if (filter->compare == POLY_PREFIX && poly_text_problem(filter->values->text) != NULL)
        return poly_list_wrong(l, filter->column, poly_text_problem(filter->values->text), err);
    if (filter->compare > POLY_NOT_NULL)
        return poly_list_wrong(l, filter->column, "has a comparison that does not exist", err);
    return POLY_OK;
}

enum poly_status poly_list_filters(struct poly_listing *l,
                                   enum poly_status (*add)(struct poly_listing *l,
                                                           const struct poly_filter *filter,
                                                           struct poly_error *err),
                                   struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < l->query->filter_count && status == POLY_OK; i++) {
        status = check_filter(l, &l->query->filters[i], err);
        if (status == POLY_OK)
            status = add(l, &l->query->filters[i], err);
    }
    return status;
}

enum poly_status poly_list_built(const struct poly_listing *l, struct poly_error *err)
{
    if (l->sql.failed && !l->sql.over)
        return poly_no_memory(err);
    if (l->sql.failed || l->sql.over)
        return poly_fail(err, POLY_LIMIT, "domain '%s': the filters have too many values",
                         l->query->domain);
    return POLY_OK;
}

/* --- the cursor --- */

static void digest_text(crypto_generichash_state *state, const char *text)
{
    if (text == NULL)
        text = "\xff";
    crypto_generichash_update(state, (const unsigned char *)text, strlen(text) + 1);
}

static void digest_value(crypto_generichash_state *state, const struct poly_value *value)
{
    unsigned char tag = (unsigned char)value->type;

    crypto_generichash_update(state, &tag, 1);
    if (value->type == POLY_TEXT || value->type == POLY_BYTES || value->type == POLY_JSON)
        crypto_generichash_update(state, (const unsigned char *)value->text.data, value->text.size);
    else if (value->type == POLY_UUID)
        crypto_generichash_update(state, value->uuid, sizeof(value->uuid));
    else if (value->type == POLY_BOOL)
        crypto_generichash_update(state, (const unsigned char *)(value->boolean ? "t" : "f"), 1);
    else if (value->type != POLY_NULL)
        crypto_generichash_update(state, (const unsigned char *)&value->integer,
                                  sizeof(value->integer));
}

/* What makes it another query, the limit apart. */
static void digest(struct poly_listing *l)
{
    const struct poly_list_query *query = l->query;
    crypto_generichash_state state;
    unsigned char hash[crypto_generichash_BYTES_MIN];

    crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    digest_text(&state, query->domain);
    digest_text(&state, query->order);
    digest_text(&state, query->descending ? "down" : "up");
    crypto_generichash_update(&state, (const unsigned char *)l->tenant.data, l->tenant.size);
    for (size_t i = 0; i < query->filter_count; i++) {
        const struct poly_filter *filter = &query->filters[i];
        unsigned char compare = (unsigned char)filter->compare;

        digest_text(&state, filter->column);
        digest_text(&state, filter->path);
        crypto_generichash_update(&state, &compare, 1);
        for (size_t v = 0; v < filter->value_count; v++)
            digest_value(&state, &filter->values[v]);
    }
    crypto_generichash_final(&state, hash, sizeof(hash));
    memcpy(l->digest, hash, POLY_LIST_DIGEST);
}

static enum poly_status bad_cursor(const struct poly_listing *l, struct poly_error *err)
{
    return poly_fail(err, POLY_INVALID,
                     "domain '%s': the cursor is not one of this query; take it from the page "
                     "before, with the same filters and order",
                     l->query->domain);
}

/* digest, type, and for a text its size (4 bytes), the value, the key */
static enum poly_status read_cursor(struct poly_listing *l, struct poly_error *err)
{
    unsigned char *bytes = poly_arena_alloc(l->arena, CURSOR_MAX + 1);
    size_t size, used = POLY_LIST_DIGEST + 1;
    uint32_t text;

    if (bytes == NULL)
        return poly_no_memory(err);
    if (sodium_base642bin(bytes, CURSOR_MAX, l->query->cursor, strlen(l->query->cursor), NULL,
                          &size, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        size < used || memcmp(bytes, l->digest, POLY_LIST_DIGEST) != 0)
        return bad_cursor(l, err);
    l->after.order = poly_null();
    l->after.order.type = (enum poly_type)bytes[POLY_LIST_DIGEST];
    if (l->after.order.type == POLY_INT || l->after.order.type == POLY_FLOAT) {
        if (size - used < sizeof(int64_t))
            return bad_cursor(l, err);
        memcpy(&l->after.order.integer, bytes + used, sizeof(int64_t));
        used += sizeof(int64_t);
    } else if (l->after.order.type == POLY_TEXT || l->after.order.type == POLY_BYTES) {
        if (size - used < sizeof(text))
            return bad_cursor(l, err);
        memcpy(&text, bytes + used, sizeof(text));
        used += sizeof(text);
        if (size - used < text)
            return bad_cursor(l, err);
        l->after.order.text = (struct poly_text){(const char *)bytes + used, text};
        used += text;
    } else if (l->after.order.type != POLY_NULL) {
        return bad_cursor(l, err);
    }
    l->after.key = (struct poly_text){(const char *)bytes + used, size - used};
    l->has_after = true;
    return POLY_OK;
}

enum poly_status poly_list_remember(struct poly_listing *l, struct poly_value order,
                                    struct poly_error *err)
{
    if (order.type == POLY_TEXT || order.type == POLY_BYTES) {
        if (order.text.size > POLY_LIST_VALUE_MAX)
            return poly_fail(err, POLY_LIMIT,
                             "domain '%s': values of column '%s' are too long to page by (%d bytes "
                             "at most); order by another column",
                             l->query->domain, l->table->columns[l->order].name,
                             POLY_LIST_VALUE_MAX);
        order.text.data = poly_arena_copy(l->arena, order.text.data, order.text.size);
        if (order.text.data == NULL)
            return poly_no_memory(err);
    }
    l->after.order = order;
    return POLY_OK;
}

enum poly_status poly_list_more(struct poly_listing *l, const char **cursor, struct poly_error *err)
{
    const struct poly_document *last = &l->documents[l->count - 1];
    unsigned char bytes[CURSOR_MAX];
    const struct poly_value *order = &l->after.order;
    size_t used = POLY_LIST_DIGEST + 1, size;
    char *text;

    memcpy(bytes, l->digest, POLY_LIST_DIGEST);
    bytes[POLY_LIST_DIGEST] = (unsigned char)order->type;
    if (order->type == POLY_INT || order->type == POLY_FLOAT) {
        memcpy(bytes + used, &order->integer, sizeof(int64_t));
        used += sizeof(int64_t);
    } else if (order->type == POLY_TEXT || order->type == POLY_BYTES) {
        uint32_t length = (uint32_t)order->text.size;

        memcpy(bytes + used, &length, sizeof(length));
        memcpy(bytes + used + sizeof(length), order->text.data, length);
        used += sizeof(length) + length;
    }
    if (last->key.size > POLY_MAX_KEY)
        return poly_fail(err, POLY_LIMIT, "domain '%s': the key of a record is over %d bytes",
                         l->query->domain, POLY_MAX_KEY);
    memcpy(bytes + used, last->key.data, last->key.size);
    used += last->key.size;
    size = sodium_base64_ENCODED_LEN(used, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    text = poly_arena_alloc(l->arena, size);
    if (text == NULL)
        return poly_no_memory(err);
    *cursor = sodium_bin2base64(text, size, bytes, used, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return POLY_OK;
}

/* --- the rows --- */

enum poly_status poly_list_too_large(const struct poly_listing *l, struct poly_error *err)
{
    return poly_fail(err, POLY_LIMIT,
                     "domain '%s': the page is over the session's memory; ask for fewer records",
                     l->query->domain);
}

struct poly_document *poly_list_next(struct poly_listing *l)
{
    if (l->count == l->room) {
        size_t next = l->room == 0 ? 16 : l->room * 2;
        struct poly_document *more = poly_arena_array(l->arena, next, sizeof(*more));

        if (more == NULL)
            return NULL;
        if (l->count > 0)
            memcpy(more, l->documents, l->count * sizeof(*more));
        l->documents = more;
        l->room = next;
    }
    return &l->documents[l->count++];
}

/* --- public --- */

static enum poly_status check(struct poly_listing *l, struct poly_error *err)
{
    const struct poly_list_query *query = l->query;

    if (query->filter_count > POLY_MAX_FILTERS)
        return poly_fail(err, POLY_LIMIT, "domain '%s': %zu filters, the limit is %d",
                         query->domain, query->filter_count, POLY_MAX_FILTERS);
    if (query->limit > POLY_MAX_PAGE)
        return poly_fail(err, POLY_LIMIT, "domain '%s': a page of %u records, the limit is %d",
                         query->domain, query->limit, POLY_MAX_PAGE);
    l->limit = query->limit == 0 ? LIMIT_DEFAULT : query->limit;
    l->order = query->order == NULL ? l->table->key : poly_table_find(l->table, query->order);
    if (l->order == l->table->column_count) {
        char known[300];

        poly_table_columns(l->table, known, sizeof(known));
        return poly_fail(err, POLY_INVALID,
                         "domain '%s' has no column '%.64s' to order by; it has %s", query->domain,
                         query->order, known);
    }
    digest(l);
    l->parameter_room = 8; /* the tenant (twice), and what a cursor needs */
    for (size_t i = 0; i < query->filter_count; i++)
        l->parameter_room +=
            3 +
            (int)(query->filters[i].value_count > POLY_MAX_IN ? 0 : query->filters[i].value_count);
    l->parameters = poly_arena_array(l->arena, (size_t)l->parameter_room, sizeof(*l->parameters));
    if (l->parameters == NULL)
        return poly_no_memory(err);
    return query->cursor == NULL ? POLY_OK : read_cursor(l, err);
}

static enum poly_status list_once(struct poly_session *session, struct poly_listing *l,
                                  struct poly_page *page, struct poly_error *err)
{
    const struct poly_relational_driver *driver =
        poly_instance_relational(poly_session_instance(session))->driver;
    struct poly_db *db;
    enum poly_status status =
        poly_relational_find(session, l->query->domain, &l->table, &l->tenant, err);

    if (status == POLY_OK)
        status = check(l, err);
    if (status != POLY_OK)
        return status;
    poly_buffer_init(&l->sql, POLY_MAX_SQL);
    status = poly_session_read(session, &db, err);
    if (status == POLY_OK) {
        status = driver->list(l, db, page, err);
        poly_session_read_end(session);
    }
    poly_buffer_release(&l->sql);
    return status;
}

enum poly_status poly_list(struct poly_session *session, const struct poly_list_query *query,
                           struct poly_page *page, struct poly_error *err)
{
    const struct poly_listing begun = {
        .query = query,
        .arena = poly_session_arena(session),
        .deadline =
            poly_clock_monotonic() + (int64_t)poly_session_deadline_ms(session) * 1000};
    struct poly_listing l = begun;
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_session_require(session, POLY_RIGHT_READ, "listing", err);
    if (status != POLY_OK)
        return status;
    for (int i = 0; i < POLY_RELATIONAL_TRIES; i++) {
        l = begun;
        status = list_once(session, &l, page, err);
        if (!poly_relational_moved(session, l.table, status))
            break;
    }
    return status;
}
