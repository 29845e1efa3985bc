/*
 * A Polystore without anything declared, in which collections are made, in each placement that the
 * owner has.
 */
#ifndef POLY_TESTS_CONFORMANCE_COLLECTION_PLACE_H
#define POLY_TESTS_CONFORMANCE_COLLECTION_PLACE_H

#include "vector_place.h"

/* Texts on a server, where there is one. */
static inline void on_server(struct place *p)
{
    const char *url = getenv("POLY_TEST_POSTGRESQL_URL");
    PGconn *conn;

    if (fixture_on_server()) {
        snprintf(p->search, sizeof(p->search), ", search: {driver: postgresql}");
        return;
    }
    snprintf(p->search, sizeof(p->search), ", search: {driver: postgresql, url: '%s'}", url);
    conn = PQconnectdb(url);
    PQclear(PQexec(conn, "SET client_min_messages = warning;"
                         " DROP SCHEMA IF EXISTS poly_search CASCADE"));
    PQfinish(conn);
}

static inline int setup_bare(void **state, bool follower)
{
    struct place *p = calloc(1, sizeof(*p));

    p->follower = follower;
    snprintf(p->search, sizeof(p->search), ", search: {placement: %s}",
             follower ? "follower" : "colocated");
    if (getenv("POLY_TEST_PGVECTOR") != NULL) {
        p->follower = true;
        p->server = getenv("POLY_TEST_POSTGRESQL_URL");
        clear_server();
    }
    fixture_make(&p->fixture);
    fixture_dialects(&p->fixture, "0001_init", vector_tables, vector_tables_postgresql);
    open_with(p, "");
    *state = p;
    return 0;
}

static inline int setup_near(void **state)
{
    return setup_bare(state, false);
}

static inline int setup_far(void **state)
{
    return setup_bare(state, true);
}

static inline int setup_served(void **state)
{
    struct place *p;
    int code = setup_bare(state, true);

    p = *state;
    close_place(p);
    on_server(p);
    open_with(p, "");
    return code;
}

#define SERVED(test)                                                                               \
    {                                                                                              \
#test " (served)", test, setup_served, teardown_place, NULL                                \
    }
#define BOTH(test)                                                                                 \
    {#test, test, setup_near, teardown_place, NULL},                                               \
    {                                                                                              \
#test " (follower)", test, setup_far, teardown_place, NULL                                 \
    }

static inline void open_again(struct place *p, const char *domains)
{
    close_place(p);
    open_with(p, domains);
}

static inline void make(struct place *p, struct poly_vector_collection collection)
{
    bool made = false;

    assert_ok(poly_vector_create(p->admin, &collection, &made, &err));
    assert_true(made);
    poly_session_reset(p->admin);
}

/* When all that was written is in the index. */
static inline void asked(struct place *p, struct poly_session *s, struct poly_vector_query query,
                         const char *expected)
{
    wait_for_index(p);
    gives(s, query, expected);
}

#endif
