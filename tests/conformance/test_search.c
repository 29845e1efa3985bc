/*
 * What poly_search() promises, through the public library only, for every
 * placement of the search store: in the log's own file, in a file that follows,
 * and, when tests/servers/with runs this, on a server that follows. The owner is
 * embedded; with POLY_TEST_OWNER=postgresql it is a server, too.
 */
#include "test.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "fixture.h"

static const char migration[] =
    "CREATE TABLE noc_incidents(id TEXT NOT NULL, tenant_id TEXT NOT NULL, title TEXT,"
    " description TEXT, status TEXT, severity INTEGER, PRIMARY KEY(tenant_id, id));"
    "CREATE TABLE documentation(id TEXT PRIMARY KEY, title TEXT, body TEXT);"
    "CREATE TABLE plain(id TEXT PRIMARY KEY, title TEXT);";

/* S4-36: incidents belong to tenants; S4-45: so do logs; documentation to all. */
static const char domains[] =
    "domains:\n"
    "  incidents: {table: noc_incidents, tenant: tenant_id, search: {fields: {title: 3.0, "
    "description: 1.0}, filters: [status, severity]}}\n"
    "  documentation: {table: documentation, tenant: none, search: {fields: [title, body]}}\n"
    "  logs: {stream: log, tenant: session, search: {fields: [message, service], filters: "
    "[level]}}\n"
    "  plain: {table: plain, tenant: none}\n";

struct place {
    bool follower;
    bool server; /* the index is on one */
    struct fixture fixture;
    struct poly_instance *instance;
    struct poly_session *acme, *zeta, *nobody, *admin;
};

static struct poly_error err;

/* --- a Polystore in a folder of its own --- */

static void on_server(struct place *p, const char *sql)
{
    PGconn *conn =
        PQconnectdb(fixture_on_server() ? p->fixture.url : getenv("POLY_TEST_POSTGRESQL_URL"));
    PGresult *result = PQexec(conn, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

static void open_place(struct place *p)
{
    char config[4096];

    if (p->server && fixture_on_server())
        snprintf(config, sizeof(config), "stores: {search: {driver: postgresql}}\n%s", domains);
    else if (p->server)
        snprintf(config, sizeof(config), "stores: {search: {driver: postgresql, url: '%s'}}\n%s",
                 getenv("POLY_TEST_POSTGRESQL_URL"), domains);
    else
        snprintf(config, sizeof(config), "stores: {search: {placement: %s}}\n%s",
                 p->follower ? "follower" : "colocated", domains);
    fixture_open(&p->fixture, config);
    p->instance = p->fixture.instance;
    p->admin = p->fixture.admin;
    p->acme = fixture_session(&p->fixture, "acme", 0);
    p->zeta = fixture_session(&p->fixture, "zeta", 0);
    p->nobody = fixture_session(&p->fixture, NULL, 0);
}

static void close_place(struct place *p)
{
    fixture_end(&p->acme);
    fixture_end(&p->zeta);
    fixture_end(&p->nobody);
    fixture_close(&p->fixture);
}

static int setup(void **state, bool follower, bool server)
{
    struct place *p = calloc(1, sizeof(*p));

    p->follower = follower;
    p->server = server;
    fixture_make(&p->fixture);
    if (server)
        on_server(p,
                  "SET client_min_messages = warning; DROP SCHEMA IF EXISTS poly_search CASCADE");
    fixture_migration(&p->fixture, "0001_init.sql", migration);
    open_place(p);
    fixture_migrate(&p->fixture);
    *state = p;
    return 0;
}

static int setup_colocated(void **state)
{
    return setup(state, false, false);
}

static int setup_follower(void **state)
{
    return setup(state, true, false);
}

static int setup_server(void **state)
{
    return setup(state, true, true);
}

static int teardown(void **state)
{
    struct place *p = *state;

    close_place(p);
    fixture_remove(&p->fixture);
    free(p);
    return 0;
}

/* --- writing and asking --- */

static struct poly_txn *begin(struct poly_session *s)
{
    struct poly_txn *txn = NULL;

    assert_ok(poly_txn_begin(s, NULL, &txn, &err));
    return txn;
}

static struct poly_token commit(struct poly_txn *txn)
{
    struct poly_commit done = {0};

    assert_ok(poly_txn_commit(txn, &done, &err));
    return done.token;
}

static void add_put(struct poly_txn *txn, const char *domain, const char *key, const char *title,
                    const char *column, const char *text)
{
    struct poly_field fields[] = {{"title", poly_str(title)}, {column, poly_str(text)}};
    struct poly_row row = {fields, 2};

    assert_ok(poly_put(txn, domain, key, &row, POLY_ANY, &err));
}

static struct poly_token put_incident(struct poly_session *s, const char *key, const char *title,
                                      const char *description)
{
    struct poly_txn *txn = begin(s);

    add_put(txn, "incidents", key, title, "description", description);
    return commit(txn);
}

static struct poly_token put_page(struct poly_session *s, const char *key, const char *title,
                                  const char *body)
{
    struct poly_txn *txn = begin(s);

    add_put(txn, "documentation", key, title, "body", body);
    return commit(txn);
}

static struct poly_token log_line(struct poly_session *s, const char *stream, const char *json)
{
    struct poly_event event = {.type = "Line", .data = poly_json(json)};
    struct poly_txn *txn = begin(s);

    assert_ok(poly_append(txn, stream, POLY_ANY, &event, 1, &err));
    return commit(txn);
}

/* "domain/key domain/key"; the order of equal ranks is by domain and key. */
static void finds_query(struct poly_session *s, struct poly_search_query query,
                        const char *expected)
{
    struct poly_hits hits;
    char text[4096] = "";
    size_t size = 0;

    query.count = true;
    query.limit = 100;
    assert_ok(poly_search(s, &query, &hits, &err));
    for (size_t i = 0; i < hits.count; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%s/%s", i == 0 ? "" : " ",
                                 hits.hits[i].domain.data, hits.hits[i].key.data);
    assert_string_equal(text, expected);
    assert_int_equal(hits.total, hits.count);
    poly_session_reset(s);
}

static void finds(struct poly_session *s, const char *query, const char *const *names,
                  const char *expected)
{
    finds_query(s, (struct poly_search_query){.query = query, .domains = names}, expected);
}

static void refuses(struct poly_session *s, struct poly_search_query query, enum poly_status status,
                    const char *message)
{
    struct poly_hits hits = {.count = 77};

    assert_fails(poly_search(s, &query, &hits, &err), status);
    assert_message(message);
    assert_int_equal(hits.count, 77);
}

static const char *const incidents[] = {"incidents", NULL};
static const char *const documentation[] = {"documentation", NULL};

/* An index that is being made for the first time does not answer; a token waits for the rest. */
static void wait_for_index(struct place *p)
{
    struct poly_search_query query = {.query = "x"};
    struct poly_hits hits;

    for (int i = 0; i < 1000; i++) {
        if (poly_search(p->nobody, &query, &hits, &err) != POLY_UNAVAILABLE)
            return;
        usleep(10000);
    }
    fail_msg("the index is not filled: %s", err.message);
}

/* --- tests --- */

/* S4-06: one search over incidents, logs and documentation, ranked; S3-19. */
static void three_collections_one_answer(void **state)
{
    struct place *p = *state;
    struct poly_search_query query = {.query = "router", .count = true};
    struct poly_hits hits;
    struct poly_token token;

    put_incident(p->acme, "7", "router router router", "");
    log_line(p->acme, "log-edge", "{\"message\":\"the router restarted after some time\"}");
    log_line(p->acme, "log-edge", "{\"message\":\"all quiet\"}");
    token = put_page(p->acme, "manual", "How to mend a router", "turn it off and on");
    assert_ok(poly_session_after(p->acme, token.text, POLY_WAIT, &err));
    assert_ok(poly_search(p->acme, &query, &hits, &err));
    assert_int_equal(hits.count, 3);
    assert_int_equal(hits.total, 3);
    assert_string_equal(hits.hits[0].domain.data, "incidents");
    for (size_t i = 1; i < hits.count; i++)
        assert_true(hits.hits[i - 1].score >= hits.hits[i].score);
    finds(p->acme, "restarted", NULL, "logs/log-edge@1");
    finds(p->acme, "restarted OR mend", NULL, "documentation/manual logs/log-edge@1");
    finds(p->acme, "router", incidents, "incidents/7");
    finds(p->acme, "title:router", NULL, "incidents/7 documentation/manual");
}

/* S4-36 */
static void tenants_do_not_meet(void **state)
{
    struct place *p = *state;
    struct poly_search_query query = {.query = "fibre"};
    struct poly_hits hits;
    double score;

    put_incident(p->acme, "1", "fibre cut", "north");
    put_incident(p->acme, "2", "power lost", "south");
    assert_ok(poly_search(p->acme, &query, &hits, &err));
    assert_int_equal(hits.count, 1);
    score = hits.hits[0].score;
    for (int i = 0; i < 100; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%d", i);
        put_incident(p->zeta, key, "fibre fibre fibre", "zeta only");
    }
    assert_ok(poly_search(p->acme, &query, &hits, &err));
    assert_int_equal(hits.count, 1);
    assert_true(hits.hits[0].score == score);
    finds(p->acme, "zeta", NULL, "");
    query.count = true;
    assert_ok(poly_search(p->zeta, &query, &hits, &err));
    assert_int_equal(hits.total, 100);
}

/* No tenant, no answer. */
static void the_wall(void **state)
{
    struct place *p = *state;
    struct poly_session *writer = fixture_session(&p->fixture, "acme", POLY_RIGHT_WRITE);

    put_incident(p->acme, "1", "router", "");
    put_page(p->nobody, "page", "router", "");
    finds(p->nobody, "router", NULL, "documentation/page");
    refuses(p->nobody, (struct poly_search_query){.query = "router", .domains = incidents},
            POLY_DENIED, "domain 'incidents'");
    refuses(p->admin, (struct poly_search_query){.query = "router", .domains = incidents},
            POLY_DENIED, "domain 'incidents'");
    refuses(writer, (struct poly_search_query){.query = "router"}, POLY_DENIED,
            "search needs the right 'read'");
    poly_session_close(writer);
}

/* A session sees its own writes, wherever the index is. */
static void reads_its_own_writes(void **state)
{
    struct place *p = *state;

    for (int i = 0; i < 100; i++) {
        char word[16], key[16], expected[48];

        snprintf(word, sizeof(word), "word%dx", i);
        snprintf(key, sizeof(key), "k%d", i);
        snprintf(expected, sizeof(expected), "documentation/%s", key);
        put_page(p->nobody, key, word, "");
        finds(p->nobody, word, documentation, expected);
        assert_false(poly_session_freshness(p->nobody).stale);
    }
}

static void follows_every_change(void **state)
{
    struct place *p = *state;
    struct poly_field field = {"title", poly_str("second")};
    struct poly_row row = {&field, 1};
    struct poly_txn *txn;

    put_page(p->nobody, "a", "first", "body text");
    txn = begin(p->nobody);
    assert_ok(poly_patch(txn, "documentation", "a", &row, POLY_ANY, &err));
    commit(txn);
    finds(p->nobody, "first", NULL, "");
    finds(p->nobody, "second text", NULL, "documentation/a");
    txn = begin(p->admin);
    assert_ok(poly_txn_sql(txn, "UPDATE documentation SET title='third' WHERE id='a'", NULL, 0,
                           NULL, NULL, &err));
    commit(txn);
    finds(p->admin, "third", documentation, "documentation/a");
    txn = begin(p->nobody);
    assert_ok(poly_delete(txn, "documentation", "a", POLY_ANY, &err));
    commit(txn);
    finds(p->nobody, "third OR text", NULL, "");
    put_page(p->nobody, "a", "again", "");
    finds(p->nobody, "again", NULL, "documentation/a");
}

/* What did not happen is not found. */
static void aborted_is_not_found(void **state)
{
    struct place *p = *state;
    struct poly_txn *txn = begin(p->nobody);

    add_put(txn, "documentation", "a", "ghost", "body", "");
    poly_txn_abort(txn);
    txn = begin(p->nobody);
    add_put(txn, "documentation", "a", "ghost", "body", "");
    assert_ok(poly_check(txn, "documentation", "missing", 12345, &err));
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_CONFLICT);
    put_page(p->nobody, "b", "real", "");
    finds(p->nobody, "ghost OR real", NULL, "documentation/b");
}

static void filters_pages_and_marks(void **state)
{
    struct place *p = *state;
    struct poly_value open = poly_str("open"), two = poly_int(2);
    struct poly_filter filters[] = {{"status", NULL, POLY_EQ, &open, 1},
                                    {"severity", NULL, POLY_GE, &two, 1}};
    struct poly_search_query query = {.query = "link",
                                      .domains = incidents,
                                      .filters = filters,
                                      .filter_count = 2,
                                      .limit = 2,
                                      .offset = 1,
                                      .count = true,
                                      .highlight = true,
                                      .mark_open = "{",
                                      .mark_close = "}"};
    struct poly_hits hits;
    struct poly_txn *txn = begin(p->acme);

    for (int i = 0; i < 8; i++) {
        char key[16];
        struct poly_field fields[] = {{"title", poly_str("links down")},
                                      {"status", poly_str(i % 2 == 0 ? "open" : "closed")},
                                      {"severity", poly_int(i)}};
        struct poly_row row = {fields, 3};

        snprintf(key, sizeof(key), "i%d", i);
        assert_ok(poly_put(txn, "incidents", key, &row, POLY_ANY, &err));
    }
    commit(txn);
    assert_ok(poly_search(p->acme, &query, &hits, &err));
    assert_int_equal(hits.total, 3);
    assert_int_equal(hits.count, 2);
    assert_string_equal(hits.hits[0].key.data, "i4");
    assert_string_equal(hits.hits[1].key.data, "i6");
    assert_string_equal(hits.hits[0].snippet.data, "{links} down");
    assert_int_equal(hits.hits[0].highlights.count, 1);
    assert_string_equal(hits.hits[0].highlights.fields[0].name, "title");
    assert_string_equal(hits.hits[0].highlights.fields[0].value.text.data, "{links} down");
}

static const struct poly_where *where_of(struct place *p, const char *json)
{
    const struct poly_where *where;

    assert_ok(poly_where_parse(p->acme, poly_text(json), &where, &err));
    return where;
}

static void finds_where(struct place *p, const char *json, const char *expected)
{
    finds_query(p->acme, (struct poly_search_query){.query = "link", .where = where_of(p, json)},
                expected);
}

/* Conditions with 'or' and 'not': what is null is neither so nor not so; what is of another kind is
 * neither less nor greater. */
static void conditions_hold(void **state)
{
    static const char all[] = "incidents/i0 incidents/i1 incidents/i2 incidents/i3";
    struct place *p = *state;
    struct poly_value open = poly_str("open");
    struct poly_filter filter = {"status", NULL, POLY_EQ, &open, 1};
    struct poly_search_query query = {
        .query = "link", .filters = &filter, .filter_count = 1, .domains = incidents};
    struct poly_where wrong = {.kind = POLY_WHERE_NOT};
    struct poly_txn *txn = begin(p->acme);

    for (int i = 0; i < 4; i++) {
        char key[16];
        struct poly_field fields[] = {{"title", poly_str("links down")},
                                      {"severity", poly_int(i)},
                                      {"status", poly_str(i % 2 == 0 ? "open" : "closed")}};
        struct poly_row row = {fields, i == 3 ? 2 : 3}; /* the last has no status */

        snprintf(key, sizeof(key), "i%d", i);
        assert_ok(poly_put(txn, "incidents", key, &row, POLY_ANY, &err));
    }
    commit(txn);
    finds_where(p, "{\"status\":\"open\"}", "incidents/i0 incidents/i2");
    finds_where(p, "{\"not\":{\"status\":\"open\"}}", "incidents/i1");
    finds_where(p, "{\"or\":[{\"status\":{\"null\":true}},{\"severity\":{\"<\":1}}]}",
                "incidents/i0 incidents/i3");
    finds_where(p, "{\"not\":{\"status\":{\">\":\"open\"}}}",
                "incidents/i0 incidents/i1 incidents/i2");
    finds_where(p, "{\"not\":{\"status\":{\"prefix\":\"op\"}}}", "incidents/i1");
    finds_where(p, "{\"not\":{\"severity\":{\"<\":\"x\"}}}", all);
    finds_where(p, "{\"not\":{\"severity\":{\"in\":[0,1,3]},\"status\":{\"null\":false}}}",
                "incidents/i2 incidents/i3");
    finds_where(p, "{\"or\":[]}", "");
    finds_where(p, "{\"not\":{\"or\":[]}}", all);
    query.where = where_of(p, "{\"severity\":{\">=\":1}}");
    finds_query(p->acme, query, "incidents/i2");
    query.where = where_of(p, "{\"nothing\":1}");
    refuses(p->acme, query, POLY_INVALID, "filter on 'nothing'");
    query.where = &wrong;
    refuses(p->acme, query, POLY_INVALID, "'not' of 0");
}

static void bad_requests(void **state)
{
    struct place *p = *state;
    const char *const unknown[] = {"nothing", NULL}, *const plain[] = {"plain", NULL};
    const char *const none[] = {NULL};

    refuses(p->nobody, (struct poly_search_query){.query = "a \"b"}, POLY_INVALID,
            "query: unclosed quote at 2");
    assert_int_equal(err.position, 2);
    refuses(p->nobody, (struct poly_search_query){.query = "a wrong:b"}, POLY_INVALID,
            "query: no field 'wrong'");
    assert_int_equal(err.position, 2);
    refuses(p->nobody, (struct poly_search_query){.query = NULL}, POLY_INVALID, "query: missing");
    refuses(p->nobody, (struct poly_search_query){.query = "a", .limit = 1001}, POLY_LIMIT,
            "limit 1001");
    refuses(p->nobody, (struct poly_search_query){.query = "a", .offset = 10001}, POLY_LIMIT,
            "offset 10001");
    refuses(p->nobody, (struct poly_search_query){.query = "a", .domains = unknown}, POLY_NOT_FOUND,
            "nothing");
    refuses(p->nobody, (struct poly_search_query){.query = "a", .domains = plain}, POLY_INVALID,
            "domain 'plain': not searchable");
    refuses(p->nobody, (struct poly_search_query){.query = "a", .domains = none}, POLY_INVALID,
            "list of domains is empty");
}

/* S2-10: the log is enough to make the index again, beside the one that answers. */
static void rebuild_beside(void **state)
{
    struct place *p = *state;
    struct poly_search_query query = {.query = "page"};
    struct poly_hits hits;
    uint64_t first;

    for (int i = 0; i < 50; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%02d", i);
        put_page(p->nobody, key, "a page", "text");
    }
    assert_ok(poly_search(p->nobody, &query, &hits, &err));
    first = hits.generation;
    assert_ok(poly_rebuild(p->admin, "search", NULL, &err));
    assert_ok(poly_search(p->nobody, &query, &hits, &err));
    assert_true(hits.generation > first);
    assert_int_equal(hits.count, 10);
    put_page(p->nobody, "new", "a newer page", "");
    finds(p->nobody, "newer", NULL, "documentation/new");
    assert_ok(poly_rebuild_back(p->admin, "search", &err));
    finds(p->nobody, "newer", NULL, "documentation/new");
    assert_ok(poly_search(p->nobody, &query, &hits, &err));
    assert_int_equal(hits.generation, first);
}

static void survives_reopening(void **state)
{
    struct place *p = *state;
    struct poly_token token;

    put_page(p->nobody, "a", "lasting", "");
    token = put_incident(p->acme, "1", "lasting", "");
    close_place(p);
    open_place(p);
    wait_for_index(p);
    assert_ok(poly_session_after(p->acme, token.text, POLY_WAIT, &err));
    finds(p->acme, "lasting", NULL, "incidents/1 documentation/a");
    put_page(p->nobody, "b", "lasting too", "");
    finds(p->nobody, "lasting", NULL, "documentation/a documentation/b");
}

static void lose_index(struct place *p, bool damaged)
{
    char path[160];
    FILE *file;

    if (p->server) {
        on_server(p, damaged
                         ? "DO $$BEGIN EXECUTE 'DROP TABLE poly_search.documents_' ||"
                           " (SELECT max(number) FROM poly_search.generation); END$$"
                         : "SET client_min_messages = warning; DROP SCHEMA poly_search CASCADE");
        return;
    }
    snprintf(path, sizeof(path), "%s/search.db", p->fixture.data);
    assert_int_equal(remove(path), 0);
    file = damaged ? fopen(path, "w") : NULL;
    for (int i = 0; file != NULL && i < 500; i++)
        fputs("no database ", file);
    if (file != NULL)
        fclose(file);
}

/* The index is lost, or is no database any more: it comes again from the log. */
static void lost_index_comes_again(void **state)
{
    struct place *p = *state;
    struct poly_token token;

    if (!p->follower)
        return;
    put_page(p->nobody, "a", "lasting", "");
    token = put_page(p->nobody, "b", "gone", "");
    for (int damaged = 0; damaged < 2; damaged++) {
        close_place(p);
        lose_index(p, damaged);
        open_place(p);
        wait_for_index(p);
        assert_ok(poly_session_after(p->nobody, token.text, POLY_WAIT, &err));
        finds(p->nobody, "lasting OR gone", NULL, "documentation/a documentation/b");
    }
}

/* S4-46: whoever writes, it is found. */
static void another_program_writes(void **state)
{
    struct place *p = *state;
    struct poly_search_query query = {.query = "foreign"};
    struct poly_hits hits = {0};

    fixture_foreign(&p->fixture, "INSERT INTO documentation(id, title) VALUES('f', 'foreign')");
    for (int i = 0; i < 1000 && hits.count == 0; i++) {
        assert_ok(poly_search(p->nobody, &query, &hits, &err));
        usleep(10000);
    }
    assert_int_equal(hits.count, 1);
    assert_string_equal(hits.hits[0].key.data, "f");
}

static struct poly_projection_status status_of(struct place *p)
{
    struct poly_status_report report;

    assert_ok(poly_status_read(p->admin, &report, &err));
    assert_int_equal(report.projection_count, 1);
    return report.projections[0];
}

/* Text that is no UTF-8 makes a record that is no JSON. Search stops there and says so; the rest
 * goes on; an operator leaves the record out. */
static void poison_stops_search_alone(void **state)
{
    struct place *p = *state;
    struct poly_search_query query = {.query = "page"};
    struct poly_hits hits;
    struct poly_projection_status status;

    put_page(p->nobody, "a", "page", "");
    if (fixture_differs(&p->fixture, "data-that-is-no-json")) {
        char why[300];

        assert_false(fixture_foreign_try(
            &p->fixture, "INSERT INTO documentation(id, title) VALUES('bad', E'p\\xff')", why,
            sizeof(why)));
        assert_non_null(strstr(why, "invalid byte sequence"));
        return;
    }
    fixture_foreign(&p->fixture,
                    "INSERT INTO documentation(id, title) VALUES('bad', CAST(x'70ff' AS TEXT))");
    put_page(p->nobody, "b", "page", "");
    assert_fails(poly_search(p->nobody, &query, &hits, &err), POLY_UNAVAILABLE);
    assert_message("stopped at record");
    assert_message("key 'bad'");
    status = status_of(p);
    assert_int_equal(status.state, POLY_STATE_STOPPED);
    assert_ok(poly_projection_retry(p->admin, "search", &err));
    assert_fails(poly_search(p->nobody, &query, &hits, &err), POLY_UNAVAILABLE);
    assert_ok(poly_projection_skip(p->admin, "search", "not UTF-8", &err));
    finds(p->nobody, "page", NULL, "documentation/a documentation/b");
    status = status_of(p);
    assert_int_equal(status.state, POLY_STATE_OK);
    assert_int_equal(status.skipped, 1);
    assert_int_equal(status.documents, 2);
}

/* --- many batches --- */

enum { MANY = 13000 };

static uint64_t count_pages(struct place *p, const char *query)
{
    struct poly_search_query ask = {
        .query = query, .count = true, .domains = documentation, .limit = 1};
    struct poly_hits hits;

    for (int i = 0; i < 3000; i++) {
        enum poly_status status = poly_search(p->nobody, &ask, &hits, &err);

        if (status == POLY_OK)
            return hits.total;
        assert_true(status == POLY_UNAVAILABLE || status == POLY_TIMEOUT);
        if (strstr(err.message, "stopped at record") != NULL)
            return 0;
        usleep(10000);
    }
    fail_msg("%s", err.message);
    return 0;
}

/* Far behind, a follower reads one batch while it applies another, and changes of one document are
 * in batches that are apart. S2-10: making the index again, all of it is far behind. */
static void many_batches(void **state)
{
    struct place *p = *state;
    uint64_t skipped = 0;

    fixture_foreign_dialects(
        &p->fixture,
        "INSERT INTO documentation(id, title) WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL"
        " SELECT n + 1 FROM s WHERE n < 13000) SELECT 'k' || n, 'many w' || n FROM s;"
        "INSERT INTO documentation(id, title) VALUES('bad', CAST(x'70ff' AS TEXT));"
        "UPDATE documentation SET title = 'changed w' || id WHERE id LIKE 'k12%';"
        "DELETE FROM documentation WHERE id LIKE 'k129%';"
        "UPDATE documentation SET title = title || ' again' WHERE id LIKE 'k3%'",
        "INSERT INTO documentation(id, title) SELECT 'k' || n, 'many w' || n"
        " FROM generate_series(1, 13000) AS n;"
        "UPDATE documentation SET title = 'changed w' || id WHERE id LIKE 'k12%';"
        "DELETE FROM documentation WHERE id LIKE 'k129%';"
        "UPDATE documentation SET title = title || ' again' WHERE id LIKE 'k3%'");
    /* Changes of new documents, between others that are new. */
    fixture_foreign(&p->fixture, "INSERT INTO documentation(id, title) VALUES('m1', 'first'),"
                                 "('m2', 'first'), ('m3', 'first'), ('m4', 'first')");
    for (int i = 0; i < 10; i++)
        fixture_foreign(&p->fixture, "UPDATE documentation SET title = 'second' WHERE id LIKE 'm%';"
                                     "DELETE FROM documentation WHERE id IN ('m1', 'm2');"
                                     "INSERT INTO documentation(id, title) VALUES('m1', 'third')");
    put_page(p->nobody, "last", "end", "");
    if (!fixture_differs(&p->fixture, "data-that-is-no-json")) {
        assert_int_equal(count_pages(p, "end"), 0);
        assert_int_equal(status_of(p).state, POLY_STATE_STOPPED);
        assert_int_equal(count_pages(p, "again"), 0);
        assert_ok(poly_projection_skip(p->admin, "search", "not UTF-8", &err));
        skipped = 1;
    }
    for (int round = 0; round < 2; round++) {
        assert_int_equal(count_pages(p, "end"), 1);
        assert_int_equal(count_pages(p, "again"), 1 + 10 + 100 + 1000);
        assert_int_equal(count_pages(p, "changed"), 1 + 10 + 100 + 1000 - 111);
        assert_int_equal(count_pages(p, "many"), MANY - (1 + 10 + 100 + 1000));
        assert_int_equal(count_pages(p, "first"), 0);
        assert_int_equal(count_pages(p, "second"), 2);
        assert_int_equal(count_pages(p, "third"), 1);
        assert_int_equal(status_of(p).documents, MANY - 111 + 1 + 3);
        assert_int_equal(status_of(p).skipped, skipped);
        if (round == 0)
            assert_ok(poly_rebuild(p->admin, "search", NULL, &err));
    }
}

/* --- many threads --- */

struct crowd {
    struct place *place;
    atomic_bool stop;
    atomic_int wrong;
};

/* All pages bear the same word count at all times: an answer out of two generations or out of half
 * a transaction would show. */
static void *ask_on(void *arg)
{
    struct crowd *crowd = arg;
    struct poly_search_query query = {.query = "pair", .count = true, .domains = documentation};
    struct poly_session *s = NULL;
    struct poly_hits hits;
    struct poly_error why;

    if (poly_session_open(crowd->place->instance, NULL, &s, NULL) != POLY_OK) {
        atomic_fetch_add(&crowd->wrong, 1);
        return NULL;
    }
    while (!atomic_load(&crowd->stop)) {
        bool answered = poly_search(s, &query, &hits, &why) == POLY_OK;

        if ((!answered || hits.total % 2 != 0) && atomic_fetch_add(&crowd->wrong, 1) == 0)
            fprintf(stderr, "the first wrong answer: %s\n",
                    answered ? "half of a transaction" : why.message);
        poly_session_reset(s);
    }
    poly_session_close(s);
    return NULL;
}

static void whole_answers_under_load(void **state)
{
    struct crowd crowd = {.place = *state};
    pthread_t threads[3];

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_on, &crowd), 0);
    for (int i = 0; i < 100; i++) {
        char key[2][16];
        struct poly_txn *txn = begin(crowd.place->nobody);

        snprintf(key[0], sizeof(key[0]), "a%d", i);
        snprintf(key[1], sizeof(key[1]), "b%d", i);
        add_put(txn, "documentation", key[0], "pair", "body", "one");
        add_put(txn, "documentation", key[1], "pair", "body", "two");
        commit(txn);
        if (i == 50)
            assert_ok(poly_rebuild(crowd.place->admin, "search", NULL, &err));
    }
    atomic_store(&crowd.stop, true);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
}

#define SERVER(test)                                                                               \
    {                                                                                              \
        "postgresql." #test, test, setup_server, teardown, NULL                                    \
    }
#define FOLLOWER(test)                                                                             \
    {                                                                                              \
        "follower." #test, test, setup_follower, teardown, NULL                                    \
    }
#define BOTH(test)                                                                                 \
    {"colocated." #test, test, setup_colocated, teardown, NULL},                                   \
    {                                                                                              \
        "follower." #test, test, setup_follower, teardown, NULL                                    \
    }

#define ALL(each)                                                                                  \
    each(three_collections_one_answer), each(tenants_do_not_meet), each(the_wall),                 \
        each(reads_its_own_writes), each(follows_every_change), each(aborted_is_not_found),        \
        each(filters_pages_and_marks), each(conditions_hold), each(bad_requests),                  \
        each(rebuild_beside), each(survives_reopening), each(lost_index_comes_again),              \
        each(another_program_writes), each(poison_stops_search_alone), each(many_batches),         \
        each(whole_answers_under_load)

int main(void)
{
    const struct CMUnitTest embedded[] = {ALL(BOTH)}, server[] = {ALL(SERVER)};
    const struct CMUnitTest owned[] = {ALL(FOLLOWER), ALL(SERVER)};

    if (fixture_on_server())
        return cmocka_run_group_tests(owned, NULL, NULL);
    if (getenv("POLY_TEST_POSTGRESQL_URL") != NULL)
        return cmocka_run_group_tests(server, NULL, NULL);
    return cmocka_run_group_tests(embedded, NULL, NULL);
}
