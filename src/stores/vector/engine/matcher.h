/*
 * One comparison, made ready to be asked for many values. It means what the same filter means of a
 * list of records and of a full-text search: numbers compare with numbers, text with text byte by
 * byte, bytes with bytes; values of two kinds are unequal, and neither is less; null compares with
 * nothing. A time is a number of microseconds, and a text that says a time, or a UUID, is one where
 * the value is.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_MATCHER_H
#define POLY_STORES_VECTOR_ENGINE_MATCHER_H

#include "polystore/relational.h"
#include "stores/vector/engine/dictionary.h"

enum poly_truth { POLY_FALSE, POLY_TRUE, POLY_UNKNOWN };

struct poly_matcher;

/* filter's texts live as long as the matcher. POLY_INVALID, POLY_LIMIT: a comparison that cannot
 * be. */
enum poly_status poly_matcher_new(const struct poly_filter *filter, struct poly_matcher **matcher,
                                  struct poly_error *err);
void poly_matcher_free(struct poly_matcher *matcher); /* NULL is accepted */

/* One thread at a time. Without memory for what stands at a path the answer means
 * nothing, and poly_matcher_failed() says so from then on. */
enum poly_truth poly_matcher_decide(struct poly_matcher *matcher, const struct poly_cell *cell);
bool poly_matcher_failed(const struct poly_matcher *matcher);

/* "=" or "in" without a path: what fits can be named. */
bool poly_matcher_is_equal(const struct poly_matcher *matcher);
/* Of such a one: calls back with each value that fits, most of which may be nowhere, so that a
 * column with many values need not be asked value by value. */
typedef void poly_value_fn(void *arg, const struct poly_value *value);
void poly_matcher_equals(const struct poly_matcher *matcher, poly_value_fn *each, void *arg);

/* The same checks without making anything. */
enum poly_status poly_filter_sound(const struct poly_filter *filter, struct poly_error *err);

#endif
