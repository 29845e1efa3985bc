/*
 * Walks over a condition. SQL's logic of three values is the conditions' own: what compares with
 * null is neither true nor false, and so is its opposite.
 */
#include "base/limits.h"
#include "followers/where.h"

struct walk {
    poly_compare_fn *see;
    void *arg;
    unsigned comparisons; /* so far */
    struct poly_error *err;
};

static enum poly_status each(struct walk *w, const struct poly_where *where, unsigned depth)
{
    enum poly_status status = POLY_OK;

    /* One more than what is read: what is read may stand beside other filters. */
    if (depth > POLY_MAX_QUERY_DEPTH + 1)
        return poly_fail(w->err, POLY_LIMIT, "condition: more than %d levels",
                         POLY_MAX_QUERY_DEPTH);
    if (where->kind == POLY_WHERE_COMPARE) {
        if (++w->comparisons > POLY_MAX_FILTERS)
            return poly_fail(w->err, POLY_LIMIT, "condition: more than %d comparisons",
                             POLY_MAX_FILTERS);
        return w->see(w->arg, where->compare);
    }
    if (where->kind > POLY_WHERE_NOT || (where->kind == POLY_WHERE_NOT && where->part_count != 1))
        return poly_fail(w->err, POLY_INVALID, "condition: no kind of condition, or 'not' of %zu",
                         where->part_count);
    for (size_t i = 0; i < where->part_count && status == POLY_OK; i++)
        status = each(w, where->parts[i], depth + 1);
    return status;
}

enum poly_status poly_where_each(const struct poly_where *where, poly_compare_fn *see, void *arg,
                                 struct poly_error *err)
{
    struct walk walk = {see, arg, 0, err};

    return where == NULL ? POLY_OK : each(&walk, where, 0);
}

enum poly_status poly_where_beside(const struct poly_where *where,
                                   const struct poly_filter *filters, size_t count,
                                   struct poly_arena *arena, const struct poly_where **all,
                                   struct poly_error *err)
{
    struct poly_where *list;
    const struct poly_where **parts;

    *all = where;
    if (count == 0)
        return POLY_OK;
    if (count > POLY_MAX_FILTERS)
        return poly_fail(err, POLY_LIMIT, "more than %d filters", POLY_MAX_FILTERS);
    list = poly_arena_array(arena, count + 1, sizeof(*list));
    parts = poly_arena_array(arena, count + 1, sizeof(struct poly_where *));
    if (list == NULL || parts == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        list[i] = (struct poly_where){.kind = POLY_WHERE_COMPARE, .compare = &filters[i]};
        parts[i] = &list[i];
    }
    parts[count] = where;
    list[count] = (struct poly_where){
        .kind = POLY_WHERE_AND, .parts = parts, .part_count = count + (where != NULL)};
    *all = &list[count];
    return POLY_OK;
}

enum poly_status poly_where_sql(const struct poly_where *where, poly_compare_fn *print, void *arg,
                                struct poly_buffer *out)
{
    const char *between = where->kind == POLY_WHERE_OR ? " OR " : " AND ";
    enum poly_status status = POLY_OK;

    poly_buffer_text(out, where->kind == POLY_WHERE_NOT ? "(NOT " : "(");
    if (where->kind == POLY_WHERE_COMPARE)
        status = print(arg, where->compare);
    else if (where->part_count == 0) /* all of none hold, one of none does not */
        poly_buffer_text(out, where->kind == POLY_WHERE_OR ? "1=0" : "1=1");
    for (size_t i = 0; where->kind != POLY_WHERE_COMPARE && i < where->part_count; i++) {
        poly_buffer_text(out, i == 0 ? "" : between);
        status = poly_where_sql(where->parts[i], print, arg, out);
        if (status != POLY_OK)
            break;
    }
    poly_buffer_char(out, ')');
    return status;
}

/* Can it be true, or (opposite) false? What compares with an unknown field is neither. */
static bool can(const struct poly_where *where, bool opposite,
                bool (*has)(const void *arg, const char *column), const void *arg)
{
    bool all = (where->kind == POLY_WHERE_AND) != opposite;

    if (where->kind == POLY_WHERE_COMPARE)
        return has(arg, where->compare->column);
    if (where->kind == POLY_WHERE_NOT)
        return can(where->parts[0], !opposite, has, arg);
    for (size_t i = 0; i < where->part_count; i++)
        if (can(where->parts[i], opposite, has, arg) != all)
            return !all;
    return all;
}

bool poly_where_can_hold(const struct poly_where *where,
                         bool (*has)(const void *arg, const char *column), const void *arg)
{
    return where == NULL || can(where, false, has, arg);
}
