/* What the tests of materialised views share: three views, and looking at them. */
#ifndef POLY_TESTS_CONFORMANCE_VIEWS_H
#define POLY_TESTS_CONFORMANCE_VIEWS_H

#include <unistd.h>

#include "fixture.h"

#define DOMAINS                                                                                    \
    "domains:\n"                                                                                   \
    "  messages: {table: messages, tenant: tenant}\n"                                              \
    "  notes: {table: notes, tenant: none}\n"

static const char config[] = DOMAINS
    "views:\n"
    "  per_day:\n"
    "    query: SELECT tenant, day, count(*) AS n, max(body) AS last FROM messages GROUP BY "
    "tenant, day\n"
    "    key: [tenant, day]\n"
    "    tenant: tenant\n"
    "    staleness: 100ms\n"
    "  lengths: {query: 'SELECT id, length(text) AS size FROM notes', key: [id], staleness: 20ms}\n"
    "  totals: {query: 'SELECT count(*) AS n, 1 AS one FROM messages', key: [one], staleness: "
    "20ms}\n";

static const char tables[] =
    "CREATE TABLE messages(tenant TEXT NOT NULL, id INTEGER NOT NULL, day TEXT, body TEXT,"
    " PRIMARY KEY (tenant, id));\n"
    "CREATE TABLE notes(id TEXT PRIMARY KEY, text TEXT);\n"
    "INSERT INTO messages VALUES ('a', 1, 'mon', 'x'), ('a', 2, 'mon', 'y'), ('b', 1, 'tue', "
    "'z');\n"
    "INSERT INTO notes VALUES ('n', 'four');\n";

static bool tenants_sql; /* tenants have SQL there */

static int setup(void **state)
{
    static struct fixture f;

    fixture_make(&f);
    tenants_sql = fixture_tenants_sql(&f);
    fixture_migration(&f, "0001_tables.sql", tables);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture_remove(*state);
    return 0;
}

/* --- reading --- */

struct text {
    char text[500];
};

static bool add_row(void *arg, const struct poly_row *row)
{
    struct text *out = arg;
    size_t used = strlen(out->text);

    for (size_t i = 0; i < row->count; i++) {
        const struct poly_value *value = &row->fields[i].value;

        used += (size_t)(value->type == POLY_INT
                             ? snprintf(out->text + used, sizeof(out->text) - used, "%lld ",
                                        (long long)value->integer)
                             : snprintf(out->text + used, sizeof(out->text) - used, "%.*s ",
                                        (int)value->text.size, value->text.data));
    }
    snprintf(out->text + used, sizeof(out->text) - used, "| ");
    return true;
}

static const char *query(struct poly_session *session, const char *sql)
{
    static struct text out;
    struct poly_error err;

    out.text[0] = '\0';
    if (poly_sql_read(session, sql, NULL, 0, add_row, &out, &err) != POLY_OK)
        snprintf(out.text, sizeof(out.text), "%d: %.400s", (int)err.status, err.message);
    return out.text;
}

static const char per_day[] = "SELECT tenant, day, n, last FROM per_day ORDER BY tenant, day";

static struct poly_view_status look(struct fixture *f, const char *name)
{
    struct poly_status_report report;
    struct poly_error err;

    assert_ok(poly_status_read(f->admin, &report, &err));
    for (size_t i = 0; i < report.view_count; i++) {
        if (strcmp(report.views[i].name.data, name) == 0)
            return report.views[i];
    }
    fail_msg("no view '%s' in the status", name);
    return (struct poly_view_status){.state = POLY_STATE_FAILED};
}

/* Until the view has what the log has: by itself, nobody asks it to. */
static struct poly_view_status settled(struct fixture *f, const char *name)
{
    struct poly_view_status view;

    do {
        view = look(f, name);
        usleep(2000);
    } while (view.state == POLY_STATE_FILLING || view.behind_us != 0);
    return view;
}

static void put(struct fixture *f, const char *tenant, int id, const char *day, const char *body)
{
    struct poly_session *session = fixture_session(f, tenant, POLY_RIGHTS_ALL);
    struct poly_error err;
    char key[20];

    snprintf(key, sizeof(key), "%d", id);
    assert_ok(put_row(session, "messages", key,
                      ROW({"day", poly_str(day)}, {"body", poly_str(body)}), POLY_ANY, NULL, &err));
    poly_session_close(session);
}

/* What the view has is what its query gives now. */
static void assert_exact(struct fixture *f)
{
    static const char rows[] = "SELECT tenant, day, count(*) AS n, max(body) AS last FROM messages"
                               " GROUP BY tenant, day";
    char sql[600];

    snprintf(sql, sizeof(sql), "SELECT count(*) AS n FROM (%s EXCEPT SELECT * FROM per_day) AS x",
             rows);
    assert_string_equal(query(f->admin, sql), "0 | ");
    snprintf(sql, sizeof(sql), "SELECT count(*) AS n FROM (SELECT * FROM per_day EXCEPT %s) AS x",
             rows);
    assert_string_equal(query(f->admin, sql), "0 | ");
}

#endif
