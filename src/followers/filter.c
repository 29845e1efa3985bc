/* Checks that come before an engine sees a filter: all refuse the same, in the same words. */
#include "followers/filter.h"

#include <string.h>

#include "base/limits.h"
#include "base/status.h"

enum poly_status poly_filter_check_values(const struct poly_filter *filter, struct poly_error *err)
{
    bool none = filter->compare == POLY_IS_NULL || filter->compare == POLY_NOT_NULL;

    if (filter->compare == POLY_IN ? filter->value_count == 0
                                   : filter->value_count != (none ? 0u : 1u))
        return poly_fail(err, POLY_INVALID, "filter on '%s': %zu values; it takes %s",
                         filter->column, filter->value_count,
                         none                         ? "none"
                         : filter->compare == POLY_IN ? "one or more"
                                                      : "one");
    if (filter->value_count > POLY_MAX_IN)
        return poly_fail(err, POLY_LIMIT, "filter on '%s': more than %d values", filter->column,
                         POLY_MAX_IN);
    if (filter->compare == POLY_PREFIX && filter->values[0].type != POLY_TEXT)
        return poly_fail(err, POLY_INVALID, "filter on '%s': a prefix is text", filter->column);
    for (size_t i = 0; i < filter->value_count; i++)
        if (filter->values[i].type == POLY_NULL)
            return poly_fail(err, POLY_INVALID,
                             "filter on '%s': null equals nothing; ask for 'is null'",
                             filter->column);
    return POLY_OK;
}

int poly_filter_place(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -1;
}
