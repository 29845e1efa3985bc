/* What a filter must be to mean anything, on whichever engine it runs. */
#ifndef POLY_FOLLOWERS_FILTER_H
#define POLY_FOLLOWERS_FILTER_H

#include <stddef.h>

#include "polystore/relational.h"

/* POLY_INVALID: another number of values than the comparison takes, a prefix that is no text, null
 * as a value. POLY_LIMIT: more than POLY_MAX_IN. */
enum poly_status poly_filter_check_values(const struct poly_filter *filter, struct poly_error *err);

/* Which of the names it is; -1: none. */
int poly_filter_place(const char *const *names, size_t count, const char *name);

#endif
