/* The fixture of the reviewers' tests: a table and a stream, searched in place or by a follower. */
#ifndef POLY_TESTS_CONFORMANCE_DOCS_H
#define POLY_TESTS_CONFORMANCE_DOCS_H

#include "fixture.h"
#include "vfs_fault.h"

static const char tables[] = "CREATE TABLE docs(id TEXT PRIMARY KEY, title TEXT NOT NULL, body);\n";

#define DOMAINS                                                                                    \
    "domains:\n"                                                                                   \
    "  docs: {table: docs, tenant: none, search: {fields: [title]}}\n"                             \
    "  orders: {stream: order}\n"
static const char colocated[] = DOMAINS;
static const char following[] =
    "stores: {search: {driver: embedded, placement: follower}}\n" DOMAINS;

static inline void open_with(struct fixture *f, const char *config)
{
    fixture_make(f);
    fixture_migration(f, "0001_docs.sql", tables);
    fixture_open(f, config);
    fixture_migrate(f);
}

static inline int setup(void **state)
{
    static struct fixture f;

    open_with(&f, colocated);
    *state = &f;
    return 0;
}

static inline int setup_following(void **state)
{
    static struct fixture f;

    open_with(&f, following);
    *state = &f;
    return 0;
}

static inline int teardown(void **state)
{
    fault_disarm();
    fixture_remove(*state);
    return 0;
}

#endif
