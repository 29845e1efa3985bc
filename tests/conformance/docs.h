/* The fixture of the reviewers' tests: a table and a stream, searched in place or by a follower. */
#ifndef POLY_TESTS_CONFORMANCE_DOCS_H
#define POLY_TESTS_CONFORMANCE_DOCS_H

#include "fixture.h"

#include <time.h>

#include "lab.h"
#include "vfs_fault.h"

static struct poly_error err;

static const char tables[] =
    "CREATE TABLE docs(id TEXT PRIMARY KEY, title TEXT NOT NULL, body TEXT);\n";

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

/* --- what all of them do --- */

static inline void nap(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static inline enum poly_status put_doc(struct fixture *f, const char *key, const char *title)
{
    return put_row(f->admin, "docs", key, ROW({"title", poly_str(title)}), POLY_ANY, NULL, &err);
}

static inline void assert_settled(struct fixture *f)
{
    char why[512] = "";

    fixture_head(f);
    for (int i = 0; i < 6; i++) { /* a minute: large values, and a sanitizer */
        if (lab_settled(f->admin, why, sizeof(why)))
            return;
    }
    fail_msg("%s", why);
}

static inline void assert_intact(struct fixture *f)
{
    char why[512];
    uint64_t bad = lab_verify(f->admin, why, sizeof(why));

    if (bad != 0)
        fail_msg("record %llu: %s", (unsigned long long)bad, why);
}

static inline struct poly_projection_status projection(struct fixture *f)
{
    struct poly_status_report report;

    poly_session_reset(f->admin);
    assert_ok(poly_status_read(f->admin, &report, &err));
    assert_int_equal(report.projection_count, 1);
    return report.projections[0];
}

/* Until the state of the only projection is this; the report as it was then. */
static inline struct poly_projection_status await_state(struct fixture *f, enum poly_state state)
{
    struct poly_projection_status now = {.state = POLY_STATE_OK};

    for (int i = 0; i < 3000; i++) {
        now = projection(f);
        if (now.state == state)
            return now;
        nap(2);
    }
    fail_msg("state %s, not %s: %s", poly_state_name(now.state), poly_state_name(state),
             now.error.data);
    return now;
}

/* Another program adds many documents; until the log has them. */
static inline void put_many(struct fixture *f, int count)
{
    char sql[256];

    snprintf(sql, sizeof(sql),
             "INSERT INTO docs(id, title) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1"
             " FROM n WHERE i < %d) SELECT 'many-' || i, 'word ' || i FROM n",
             count);
    fixture_foreign(f, sql);
    fixture_head(f);
}

/* A record that no index can take; its position. */
static inline uint64_t poison(struct fixture *f)
{
    fixture_foreign_dialects(f,
                             "INSERT INTO poly_log(domain, key, type, time, data)"
                             " VALUES ('docs', 'poison', '$put', 1, '{bad')",
                             "INSERT INTO poly_log(domain, key, type, time, data)"
                             " VALUES ('docs', 'poison', '$put', 1, '{\"title\": 1e999}')");
    return (uint64_t)fixture_number(f, "SELECT max(position) FROM poly_log");
}

static inline void *rebuild(void *arg)
{
    struct fixture *f = arg;
    struct poly_error why;

    return (void *)(intptr_t)poly_rebuild(f->admin, "search", NULL, &why);
}

#endif
