/*
 * A record keeps a time as a number and a UUID as text in small letters, and a condition is given
 * as its caller has it: with another offset, in capitals. What it means depends on the column, so
 * it is put into the record's form here, once for every store that compares records without knowing
 * the table.
 */
#include <string.h>

#include "base/json.h"
#include "core/meaning.h"
#include "stores/relational/driver.h"

enum { TEXT_MAX = 64 }; /* longer ones are neither a time nor a UUID */

struct meaning {
    struct poly_relational *relational;
    const struct poly_domain *const *domains;
    size_t count;
    struct poly_arena *arena;
    struct poly_error *err;
};

/* Of that name in all domains that have one; POLY_NULL: they do not agree. */
static enum poly_type type_of(const struct meaning *m, const char *name)
{
    enum poly_type type = POLY_NULL;

    for (size_t i = 0; i < m->count; i++) {
        const struct poly_table *table = poly_relational_table(m->relational, m->domains[i]);
        size_t column = table == NULL ? 0 : poly_table_find(table, name);

        if (table == NULL)
            return POLY_NULL;
        if (column == table->column_count)
            continue;
        if (type != POLY_NULL && type != table->columns[column].type)
            return POLY_NULL;
        type = table->columns[column].type;
    }
    return type;
}

/* out: as it stands, or as the record has it. false: no memory. */
static bool convert(enum poly_type type, const struct poly_value *value, struct poly_arena *arena,
                    struct poly_value *out)
{
    struct poly_value uuid;
    char text[TEXT_MAX + 1];
    int64_t time;

    if (type == POLY_TIME && value->type == POLY_TIME)
        *out = poly_int(value->integer);
    if (value->type != POLY_TEXT || value->text.size > TEXT_MAX ||
        memchr(value->text.data, '\0', value->text.size) != NULL)
        return true;
    memcpy(text, value->text.data, value->text.size);
    text[value->text.size] = '\0';
    if (type == POLY_TIME && poly_json_parse_time(text, &time, NULL) == POLY_OK)
        *out = poly_int(time);
    if (type != POLY_UUID || poly_uuid_parse(text, &uuid, NULL) != POLY_OK)
        return true;
    poly_uuid_format(uuid.uuid, text);
    out->text.size = strlen(text);
    out->text.data = poly_arena_copy(arena, text, out->text.size);
    return out->text.data != NULL;
}

static enum poly_status compare(const struct meaning *m, const struct poly_where *where,
                                const struct poly_where **meant)
{
    const struct poly_filter *filter = where->compare;
    bool itself = filter->column == NULL || filter->values == NULL || filter->path != NULL;
    enum poly_type type = itself ? POLY_NULL : type_of(m, filter->column);
    struct poly_value *values;
    struct poly_filter *other;
    struct poly_where *copy;

    if ((type != POLY_TIME && type != POLY_UUID) || filter->compare == POLY_PREFIX ||
        filter->value_count == 0 || filter->value_count > POLY_MAX_IN)
        return POLY_OK;
    values = poly_arena_array(m->arena, filter->value_count, sizeof(*values));
    other = poly_arena_array(m->arena, 1, sizeof(*other));
    copy = poly_arena_array(m->arena, 1, sizeof(*copy));
    if (values == NULL || other == NULL || copy == NULL)
        return poly_no_memory(m->err);
    for (size_t i = 0; i < filter->value_count; i++) {
        values[i] = filter->values[i];
        if (!convert(type, &filter->values[i], m->arena, &values[i]))
            return poly_no_memory(m->err);
    }
    *other = *filter;
    other->values = values;
    *copy = *where;
    copy->compare = other;
    *meant = copy;
    return POLY_OK;
}

/* What is wrong with the condition is left for those who look. */
static enum poly_status all(const struct meaning *m, const struct poly_where *where, unsigned depth,
                            const struct poly_where **meant)
{
    const struct poly_where **parts;
    struct poly_where *copy;
    enum poly_status status = POLY_OK;

    *meant = where;
    if (where->kind == POLY_WHERE_COMPARE && where->compare != NULL)
        return compare(m, where, meant);
    if (where->kind > POLY_WHERE_NOT || depth > POLY_MAX_QUERY_DEPTH + 1)
        return POLY_OK;
    parts = poly_arena_array(m->arena, where->part_count + 1, sizeof(struct poly_where *));
    copy = poly_arena_array(m->arena, 1, sizeof(*copy));
    if (parts == NULL || copy == NULL)
        return poly_no_memory(m->err);
    for (size_t i = 0; i < where->part_count && status == POLY_OK; i++)
        status = all(m, where->parts[i], depth + 1, &parts[i]);
    *copy = *where;
    copy->parts = parts;
    *meant = copy;
    return status;
}

enum poly_status poly_meaning_of(struct poly_session *session,
                                 const struct poly_domain *const *domains, size_t count,
                                 const struct poly_where *where, const struct poly_where **meant,
                                 struct poly_error *err)
{
    const struct meaning m = {poly_instance_relational(poly_session_instance(session)), domains,
                              count, poly_session_arena(session), err};

    *meant = where;
    return where == NULL || m.relational == NULL ? POLY_OK : all(&m, where, 0, meant);
}
