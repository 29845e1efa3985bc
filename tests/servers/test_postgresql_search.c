/*
 * Search on PostgreSQL: the same documents as the embedded engine finds, and one
 * index for many daemons. S3-19, S2-10. Run by tests/servers/with.
 */
#include "../unit/search_place.h"

#include "polystore.h"
#include "stores/search/postgresql.h"

static const char *url;

/* --- both engines, side by side --- */

enum { ROUNDS = 40, DOCUMENTS = 30, QUERIES = 60 };

static const char *const words[] = {"router",  "Routers", "routing", "Été",     "core-switch",
                                    "it's",    "a\\b",    "42",      "v1.2",    "naïve",
                                    "running", "run",     "ran",     "o'clock", "日本語",
                                    "x_y",     "the",     "THE",     "don't",   "fibre"};

static const char *word(unsigned *seed)
{
    return words[(size_t)rand_r(seed) % (sizeof(words) / sizeof(*words))];
}

static void random_text(unsigned *seed, char *text, size_t size)
{
    size_t used = 0;

    for (int i = 1 + rand_r(seed) % 6; i > 0; i--) {
        for (const char *c = word(seed); *c != '\0' && used + 3 < size; c++) {
            if (*c == '\\')
                text[used++] = '\\';
            text[used++] = *c;
        }
        text[used++] = ' ';
    }
    text[used] = '\0';
}

static void random_json(unsigned *seed, const struct poly_domain *domain, char *json, size_t size)
{
    size_t used = (size_t)snprintf(json, size, "{");

    for (size_t i = 0; i < domain->search.field_count; i++) {
        char text[200];

        random_text(seed, text, sizeof(text));
        if (rand_r(seed) % 5 > 0)
            used += (size_t)snprintf(json + used, size - used, "%s\"%s\":\"%s\"",
                                     used == 1 ? "" : ",", domain->search.fields[i].name, text);
    }
    snprintf(json + used, size - used, "}");
}

/* A word, a phrase or a beginning; of some field or none. */
static void random_term(unsigned *seed, const struct poly_domain *domain, char *term, size_t size)
{
    const char *field =
        domain->search.fields[(size_t)rand_r(seed) % domain->search.field_count].name;
    const char *colon = rand_r(seed) % 3 == 0 ? ":" : "";
    const char *sign = rand_r(seed) % 6 == 0 ? "-" : "";
    const char *first = word(seed);

    field = *colon == '\0' ? "" : field;
    switch (rand_r(seed) % 3) {
    case 0:
        snprintf(term, size, "%s%s%s\"%s\"", sign, field, colon, first);
        break;
    case 1:
        snprintf(term, size, "%s%s%s\"%s %s\"", sign, field, colon, first, word(seed));
        break;
    default:
        snprintf(term, size, "%s%s%s\"%s\"*", sign, field, colon, first);
    }
}

static void random_query(unsigned *seed, const struct poly_domain *domain, char *query, size_t size)
{
    char a[100], b[100], c[100];

    random_term(seed, domain, a, sizeof(a));
    random_term(seed, domain, b, sizeof(b));
    random_term(seed, domain, c, sizeof(c));
    switch (rand_r(seed) % 4) {
    case 0:
        snprintf(query, size, "%s", a);
        break;
    case 1:
        snprintf(query, size, "%s %s", a, b);
        break;
    case 2:
        snprintf(query, size, "%s OR %s", a, b);
        break;
    default:
        snprintf(query, size, "%s (%s OR %s)", a, b, c);
    }
}

struct found {
    enum poly_status status;
    char message[600];
    uint64_t total;
    size_t count;         /* of lines */
    char lines[100][700]; /* key and highlights */
};

static int by_line(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void search_with(struct place *p, const struct poly_driver *engine, const char *query,
                        const char *domain, struct found *found)
{
    struct ask a = {.query = query, .domains = {domain}, .limit = 100, .highlight = true};
    struct poly_hits hits = {.count = 0};

    driver = engine;
    memset(found, 0, sizeof(*found));
    found->status = ask(p, &a, &hits);
    if (found->status != POLY_OK) {
        snprintf(found->message, sizeof(found->message), "%s", err.message);
        return;
    }
    found->total = hits.total;
    found->count = hits.count;
    for (size_t i = 0; i < hits.count; i++) {
        const struct poly_hit *hit = &hits.hits[i];
        size_t used = (size_t)snprintf(found->lines[i], 700, "%s", hit->key.data);

        for (size_t f = 0; f < hit->highlights.count && used < 600; f++)
            used += (size_t)snprintf(found->lines[i] + used, 700 - used, " %s=%s",
                                     hit->highlights.fields[f].name,
                                     hit->highlights.fields[f].value.text.data);
    }
    qsort(found->lines, found->count, sizeof(found->lines[0]), by_line);
}

static uint64_t found_at_all;

static void compare(struct place *embedded, struct place *server, const char *query,
                    const char *domain)
{
    static struct found one, two;

    search_with(embedded, &poly_search_embedded.base, query, domain, &one);
    search_with(server, &poly_search_postgresql.base, query, domain, &two);
    found_at_all += one.total;
    if (one.status != two.status || strcmp(one.message, two.message) != 0 || one.total != two.total)
        fail_msg("%s in %s: %d %s %llu, on the server %d %s %llu", query, domain, one.status,
                 one.message, (unsigned long long)one.total, two.status, two.message,
                 (unsigned long long)two.total);
    for (size_t i = 0; i < one.count; i++)
        if (strcmp(one.lines[i], two.lines[i]) != 0)
            fail_msg("%s in %s: '%s', on the server '%s'", query, domain, one.lines[i],
                     two.lines[i]);
}

static void write_round(struct place *embedded, struct place *server, unsigned *seed, int round)
{
    static const char *const names[] = {"packages", "codes", "wide"};
    static char keys[DOCUMENTS][16], json[DOCUMENTS][2000];
    struct poly_record records[DOCUMENTS];
    uint64_t first = (uint64_t)round * DOCUMENTS + 1;

    for (size_t i = 0; i < DOCUMENTS; i++) {
        const char *name = names[rand_r(seed) % 3];

        snprintf(keys[i], sizeof(keys[i]), "k%d", rand_r(seed) % 40);
        random_json(seed, domain_named(name), json[i], sizeof(json[i]));
        records[i] = record(first + i, "", name, keys[i], rand_r(seed) % 8 == 0 ? NULL : json[i]);
    }
    driver = &poly_search_embedded.base;
    assert_ok(apply_to(embedded, 1, records, DOCUMENTS, first + DOCUMENTS - 1));
    driver = &poly_search_postgresql.base;
    assert_ok(apply_to(server, 1, records, DOCUMENTS, first + DOCUMENTS - 1));
}

static void finds_what_the_embedded_finds(void **state)
{
    static const char *const names[] = {"packages", "codes", "wide"};
    void *embedded = NULL, *server = NULL;
    unsigned seed = 7;
    char query[400];

    (void)state;
    driver = &poly_search_embedded.base;
    assert_int_equal(setup(&embedded, true, NULL), 0);
    assert_int_equal(setup(&server, true, url), 0);
    for (int round = 0; round < ROUNDS; round++) {
        write_round(embedded, server, &seed, round);
        for (int i = 0; i < QUERIES; i++) {
            const char *name = names[rand_r(&seed) % 3];

            random_query(&seed, domain_named(name), query, sizeof(query));
            compare(embedded, server, query, name);
        }
    }
    assert_true(found_at_all > ROUNDS * QUERIES); /* the queries are not all for nothing */
    driver = &poly_search_postgresql.base;
    teardown(&server);
    driver = &poly_search_embedded.base;
    teardown(&embedded);
}

/* --- the fence --- */

/* Another daemon's store on the same schema. */
static struct poly_store *open_second(struct place *p, bool *leads)
{
    static const uint8_t id[16] = {1};
    struct poly_store_config config_of = {.name = "search",
                                          .server = {.url = url, .pool_connect_ms = 10000}};
    struct poly_store_open how = {
        .config = &config, .store = &config_of, .data = p->folder, .id = id};
    struct poly_store *store;

    assert_ok(poly_search_postgresql.base.open(&how, &store, &err));
    assert_ok(poly_search_postgresql.base.lead(store, false, leads, &err));
    return store;
}

/* A daemon that was stopped for long, and wakes up: it has been followed, and writes nothing. */
static void who_was_followed_writes_nothing(void **state)
{
    struct place *p = *state;
    const struct poly_record late = record(2, "", "packages", "b", "{\"name\":\"late\"}");
    struct poly_ts *first = (struct poly_ts *)p->store;
    struct poly_store *second;
    bool leads = true;
    int64_t fence = atomic_load(&first->base.fence);

    put(p, 1, "", "packages", "a", "{\"name\":\"early\"}");
    second = open_second(p, &leads);
    assert_false(leads);
    on_server(p, "UPDATE poly_search.store SET seen = now() - interval '1 min'");
    for (int i = 0; i < 100 && !leads; i++) {
        assert_ok(driver->lead(second, false, &leads, &err));
        usleep(100000);
    }
    assert_true(leads);
    assert_int_not_equal(apply_to(p, 1, &late, 1, 2), POLY_OK);
    assert_true(p->temporary);
    assert_int_equal(applied(p, 1), 1);
    finds(p, PACKAGES("late"), "(0)");
    /* and it knows soon */
    leads = true;
    for (int i = 0; i < 100 && leads; i++) {
        (void)!driver->lead(p->store, false, &leads, &err);
        usleep(100000);
    }
    assert_false(leads);
    /* The control: it is the fence that kept it from writing. */
    atomic_store(&first->base.fence, fence);
    on_server(p, "UPDATE poly_search.store SET fence = fence - 1");
    assert_ok(apply_to(p, 1, &late, 1, 2));
    atomic_store(&first->base.fence, 0);
    driver->close(second);
}

/* What a server had acknowledged is gone (a standby was promoted too early): never a hole. */
static void a_server_that_went_back(void **state)
{
    struct place *p = *state;
    const struct poly_record next = record(9, "", "packages", "b", "{\"name\":\"next\"}");
    struct poly_batch batch = {.records = &next, .count = 1, .after = 8, .last = 9};

    put(p, 8, "", "packages", "a", "{\"name\":\"early\"}");
    on_server(p, "UPDATE poly_search.generation SET applied = 5");
    assert_fails(driver->apply(p->store, NULL, 1, &batch, &err), POLY_UNAVAILABLE);
    assert_message("the server has gone back from 8 to 5");
    assert_true(batch.temporary);
    assert_int_equal(applied(p, 1), 5);
}

static void another_instance_is_refused(void **state)
{
    static const uint8_t id[16] = {2};
    struct place *p = *state;
    struct poly_store_config config_of = {.name = "search",
                                          .server = {.url = url, .pool_connect_ms = 10000}};
    struct poly_store_open how = {
        .config = &config, .store = &config_of, .data = p->folder, .id = id};
    struct poly_store *store;

    assert_fails(poly_search_postgresql.base.open(&how, &store, &err), POLY_CONFLICT);
    assert_message("schema poly_search of this database is another instance's");
}

/* --- daemons on one log --- */

struct daemons {
    char folder[64];
    struct poly_instance *instance[2];
    struct poly_session *session[2];
};

static void open_daemon(struct daemons *d, int i)
{
    struct poly_session_options all = {
        .rights = POLY_RIGHTS_ALL, .tenant = "t", .principal = "test", .deadline_ms = 60000};
    char text[3000], path[100];
    struct poly_options options = {.data = path, .config_text = text};

    snprintf(path, sizeof(path), "%s/%d", d->folder, i);
    snprintf(text, sizeof(text),
             "stores: {relational: {driver: postgresql, url: '%s'}, search: {driver: postgresql}}\n"
             "domains:\n  lines: {stream: line, tenant: session, search: {fields: [text]}}\n",
             url);
    assert_ok(poly_open(&options, &d->instance[i], &err));
    assert_ok(poly_session_open(d->instance[i], &all, &d->session[i], &err));
}

static void close_daemon(struct daemons *d, int i)
{
    poly_session_close(d->session[i]);
    poly_close(d->instance[i]);
    d->instance[i] = NULL;
}

static void sql(const char *text)
{
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, text);

    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

static int setup_daemons(void **state)
{
    struct daemons *d = calloc(1, sizeof(*d));

    snprintf(d->folder, sizeof(d->folder), "/tmp/poly-search-XXXXXX");
    if (mkdtemp(d->folder) == NULL)
        return -1;
    sql("SET client_min_messages = warning; DROP SCHEMA IF EXISTS poly_search CASCADE;"
        " DROP SCHEMA IF EXISTS poly CASCADE");
    open_daemon(d, 0);
    open_daemon(d, 1);
    *state = d;
    return 0;
}

static int teardown_daemons(void **state)
{
    struct daemons *d = *state;

    for (int i = 0; i < 2; i++)
        if (d->instance[i] != NULL)
            close_daemon(d, i);
    nftw(d->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(d);
    return 0;
}

static struct poly_token say(struct daemons *d, int i, const char *json)
{
    struct poly_event event = {.type = "Said", .data = poly_json(json)};
    struct poly_commit commit = {0};
    struct poly_txn *txn = NULL;

    assert_ok(poly_txn_begin(d->session[i], NULL, &txn, &err));
    assert_ok(poly_append(txn, "line-1", POLY_ANY, &event, 1, &err));
    assert_ok(poly_txn_commit(txn, &commit, &err));
    return commit.token;
}

/* With the token: at least that write, wherever it is asked. While the index is being filled there
 * is no answer. */
static uint64_t hits_of(struct daemons *d, int i, const char *token, const char *query)
{
    struct poly_search_query q = {.query = query, .count = true};
    struct poly_hits hits = {.count = 0};
    enum poly_status status = POLY_UNAVAILABLE;

    assert_ok(poly_session_after(d->session[i], token, POLY_WAIT, &err));
    for (int tries = 0; tries < 600 && status == POLY_UNAVAILABLE; tries++) {
        status = poly_search(d->session[i], &q, &hits, &err);
        if (status == POLY_UNAVAILABLE)
            usleep(50000);
    }
    assert_ok(status);
    return hits.total;
}

static void any_daemon_answers(void **state)
{
    struct daemons *d = *state;

    for (int i = 0; i < 20; i++) {
        char json[64], query[32];
        struct poly_token token;

        snprintf(json, sizeof(json), "{\"text\":\"common word%d\"}", i);
        snprintf(query, sizeof(query), "word%d", i);
        token = say(d, i % 2, json);
        assert_int_equal(hits_of(d, 0, token.text, query), 1);
        assert_int_equal(hits_of(d, 1, token.text, query), 1);
        assert_int_equal(hits_of(d, 1, token.text, "common"), i + 1);
    }
}

static void any_daemon_takes_commands(void **state)
{
    struct daemons *d = *state;
    struct poly_token token = say(d, 0, "{\"text\":\"lasting\"}");

    assert_int_equal(hits_of(d, 1, token.text, "lasting"), 1);
    for (int i = 0; i < 4; i++) {
        assert_ok(poly_rebuild(d->session[i % 2], "search", NULL, &err));
        token = say(d, i % 2, "{\"text\":\"lasting\"}");
        assert_int_equal(hits_of(d, 0, token.text, "lasting"), i + 2);
        assert_int_equal(hits_of(d, 1, token.text, "lasting"), i + 2);
    }
}

static void another_daemon_takes_over(void **state)
{
    struct daemons *d = *state;
    struct poly_token token = say(d, 0, "{\"text\":\"lasting\"}");

    assert_int_equal(hits_of(d, 1, token.text, "lasting"), 1);
    close_daemon(d, 0);
    token = say(d, 1, "{\"text\":\"lasting\"}");
    assert_int_equal(hits_of(d, 1, token.text, "lasting"), 2);
    open_daemon(d, 0);
    close_daemon(d, 1);
    token = say(d, 0, "{\"text\":\"lasting\"}");
    assert_int_equal(hits_of(d, 0, token.text, "lasting"), 3);
}

/* Every connection is cut, and the index put back or thrown away: it comes to what the log says. */
static void comes_to_the_log_again(void **state)
{
    static const char *const harm[] = {
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database() AND application_name = 'polystore'",
        "DO $$DECLARE n text; BEGIN FOR n IN SELECT number FROM poly_search.generation LOOP"
        " EXECUTE 'TRUNCATE poly_search.documents_' || n || ', poly_search.stats_' || n;"
        " END LOOP; UPDATE poly_search.generation SET applied = 0; END$$",
        "DO $$DECLARE n text; BEGIN FOR n IN SELECT number FROM poly_search.generation LOOP"
        " EXECUTE 'DROP TABLE poly_search.documents_' || n; END LOOP; END$$"};
    struct daemons *d = *state;
    struct poly_token token = say(d, 0, "{\"text\":\"lasting\"}");

    assert_int_equal(hits_of(d, 1, token.text, "lasting"), 1);
    for (int i = 0; i < 3; i++) {
        sql(harm[i]);
        usleep(700000); /* the owner's connections heal by themselves */
        token = say(d, 1, "{\"text\":\"lasting\"}");
        for (int t = 0; t < 200 && hits_of(d, 0, token.text, "lasting") != (uint64_t)i + 2; t++)
            usleep(50000);
        assert_int_equal(hits_of(d, 0, token.text, "lasting"), i + 2);
        assert_int_equal(hits_of(d, 1, token.text, "lasting"), i + 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_the_embedded_finds),
        cmocka_unit_test_setup_teardown(who_was_followed_writes_nothing, setup_server, teardown),
        cmocka_unit_test_setup_teardown(a_server_that_went_back, setup_server, teardown),
        cmocka_unit_test_setup_teardown(another_instance_is_refused, setup_server, teardown),
        cmocka_unit_test_setup_teardown(any_daemon_answers, setup_daemons, teardown_daemons),
        cmocka_unit_test_setup_teardown(any_daemon_takes_commands, setup_daemons, teardown_daemons),
        cmocka_unit_test_setup_teardown(another_daemon_takes_over, setup_daemons, teardown_daemons),
        cmocka_unit_test_setup_teardown(comes_to_the_log_again, setup_daemons, teardown_daemons),
    };

    url = getenv("POLY_TEST_POSTGRESQL_URL");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
