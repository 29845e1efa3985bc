/* The inside of a session, for stores. */
#ifndef POLY_CORE_SESSION_H
#define POLY_CORE_SESSION_H

#include "base/sql.h"
#include "polystore/session.h"
#include "polystore/value.h"

struct poly_arena *poly_session_arena(struct poly_session *session);
struct poly_instance *poly_session_instance(struct poly_session *session);
struct poly_text poly_session_tenant(const struct poly_session *session); /* empty: none */
uint32_t poly_session_deadline_ms(const struct poly_session *session);

/* POLY_DENIED with "what needs the right ..." unless the session has it. ADMIN has all. */
enum poly_status poly_session_require(struct poly_session *session, unsigned right,
                                      const char *what, struct poly_error *err);

/*
 * The tenant wall: which tenant's rows may be touched. *tenant is what the
 * rows of this domain must carry; empty for a domain without tenants.
 * POLY_DENIED: the domain has tenants and the session has none.
 */
struct poly_domain;
enum poly_status poly_session_wall(struct poly_session *session, const struct poly_domain *domain,
                                   struct poly_text *tenant, struct poly_error *err);

/*
 * A read on the log's own file: checks READ, takes a reader, opens a snapshot
 * that covers the session's token. End it whatever happens. Nested calls share.
 */
enum poly_status poly_session_read(struct poly_session *session, struct poly_db **db,
                                   struct poly_error *err);
/* The same for the log and what stands beside it: never from a replica. */
enum poly_status poly_session_read_log(struct poly_session *session, struct poly_db **db,
                                       struct poly_error *err);
void poly_session_read_end(struct poly_session *session);
/* The position that its token asks for; 0: none. */
uint64_t poly_session_wanted(const struct poly_session *session);
/*
 * The same for a read that is one statement: that statement is its own snapshot,
 * and nothing has to be opened and closed around it.
 */
enum poly_status poly_session_read_one(struct poly_session *session, struct poly_db **db,
                                       struct poly_error *err);

#endif
