/*
 * One store that is kept in step with the log: which generation serves, how
 * far it is, and whether it may answer.
 */
#ifndef POLY_CORE_PROJECTION_H
#define POLY_CORE_PROJECTION_H

#include "core/driver.h"
#include "core/session.h"

struct poly_projection;

/* A read of a projected store: the fence has been passed, and the generation
 * stays until the end of the read. */
struct poly_projected {
    struct poly_store *store;
    struct poly_db *db; /* co-located: reader with an open snapshot; following: NULL */
    uint64_t generation;
};

/*
 * Waits, fails or goes on stale as the session's token asks; POLY_UNAVAILABLE
 * when the projection is filling, or has stopped before the token. Sets the
 * session's freshness. End it whatever is answered in between.
 */
enum poly_status poly_projection_read(struct poly_session *session, const char *store,
                                      struct poly_projected *projected, struct poly_error *err);
/* Waits until the store serves, no longer than the session's deadline. */
void poly_projection_await(struct poly_session *session, const char *store);
/* For a store: what its opening() says has changed. Any thread, until close() has returned. */
void poly_projection_stir(struct poly_projection *projection);
/* For what the store reads elsewhere than in what was projected: nothing is waited for, nothing is
 * held, and there is no end. generation: the one that serves; 0: none does yet. */
enum poly_status poly_projection_direct(struct poly_session *session, const char *store,
                                        struct poly_projected *projected, struct poly_error *err);
void poly_projection_read_end(struct poly_session *session, struct poly_projected *projected);

#endif
