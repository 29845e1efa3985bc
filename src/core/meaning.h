/*
 * What a condition means in a domain: for the stores that compare records' values and do not know
 * the tables. Whoever knows them answers (stores/relational/meaning.c).
 */
#ifndef POLY_CORE_MEANING_H
#define POLY_CORE_MEANING_H

#include "core/domain.h"
#include "core/session.h"
#include "polystore/relational.h"

/* The condition with times and UUIDs as records have them, whatever a caller writes, where the
 * columns of the domains hold such; in the session's arena. Columns on which the domains do not
 * agree, fields of JSON and streams compare as it stands. where NULL: none. */
enum poly_status poly_meaning_of(struct poly_session *session,
                                 const struct poly_domain *const *domains, size_t count,
                                 const struct poly_where *where, const struct poly_where **meant,
                                 struct poly_error *err);

#endif
