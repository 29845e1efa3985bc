/*
 * How much memory SQLite may take on one thread, and until when, for the
 * length of one statement that somebody else has written. A statement of a few
 * hundred bytes can ask for gigabytes (common table expressions that double,
 * functions side by side), already while it is prepared; SQLite's own limit is
 * the whole process's, and would fail whoever asks next. And its progress
 * handler runs at jumps only: thousands of large texts made side by side are
 * one step.
 */
#ifndef POLY_BASE_BUDGET_H
#define POLY_BASE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Once, before anything in the process uses SQLite; false: it is in use already, and there will be
 * no budgets. A program does this, not the library: SQLite is its host's. */
bool poly_budget_install(void);

/* From here on this thread gets so many bytes more from SQLite's allocator than it gives back, and
 * nothing large beyond the deadline (monotonic, microseconds). */
void poly_budget_begin(size_t bytes, int64_t deadline);
/* No budget any more. POLY_LIMIT, POLY_TIMEOUT: why SQLite was out of memory; POLY_OK: it was not,
 * or not by the budget. */
enum poly_status poly_budget_end(void);

#endif
