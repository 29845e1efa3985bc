/*
 * Vectors that are searched in the records' own table, with pgvector: the index that the
 * application's migration made, or ours; conditions on columns of each type; a table that changes
 * underneath; what a release leaves. S3-38..40, S3-63, S3-79..81, D2, D3. The suite that all
 * placements pass is tests/conformance/test_vector.c and test_vector_store.c.
 */
#include "test.h"

#include <math.h>
#include <unistd.h>

#include "fixture.h"
#include "polystore/adopt.h"
#include "polystore/vector.h"

enum { DIMENSIONS = 8, ROWS = 2500, K = 10 };

/* S3-38..40, S3-79..81: as an application writes it, but for the number of dimensions. */
static const char table[] =
    "CREATE EXTENSION IF NOT EXISTS vector;"
    "CREATE TABLE chat_vectors(id uuid PRIMARY KEY DEFAULT gen_random_uuid(),"
    " user_id uuid NOT NULL, chat_id int NOT NULL, content text NOT NULL, embedding vector(8),"
    " metadata jsonb, seen timestamptz, weight double precision, exact numeric, flag boolean,"
    " big bigint, code varchar(20));";
static const char with_hnsw[] =
    "CREATE INDEX idx_chat_vectors_embedding_hnsw ON chat_vectors USING hnsw (embedding"
    " vector_cosine_ops) WITH (m = 16, ef_construction = 64);";

#define DOMAINS(options)                                                                           \
    "stores: {vector: {driver: postgresql, placement: colocated}}\n"                               \
    "domains:\n"                                                                                   \
    "  memories: {table: chat_vectors, tenant: user_id, vector: {field: embedding,"                \
    " dimensions: 8, m: 16, ef_construction: 64" options ", filters: [chat_id, content, metadata," \
    " seen, weight, exact, flag, big, code]}}\n"

static const char hnsw[] = DOMAINS("");
static const char ivfflat[] = DOMAINS(", index: ivfflat, lists: 20, probes: 6");
static const char *const memories[] = {"memories", NULL};
static const char mara[] = "11111111-1111-4111-8111-111111111111";
static const char tomasz[] = "22222222-2222-4222-8222-222222222222";
static struct poly_error err;

/* --- the place --- */

static void begin(struct fixture *f, const char *more, const char *config)
{
    char sql[2000];

    fixture_make(f);
    snprintf(sql, sizeof(sql), "%s%s", table, more);
    fixture_migration(f, "0001_chat.sql", sql);
    fixture_open(f, config);
    fixture_migrate(f);
}

/* Of both, in turns; rows say which they are. */
static void fill(struct fixture *f, int rows)
{
    char sql[900];

    snprintf(sql, sizeof(sql),
             "SELECT setseed(0.25);"
             "INSERT INTO chat_vectors(user_id, chat_id, content, embedding, big)"
             " SELECT CASE WHEN i %% 2 = 0 THEN '%s' ELSE '%s' END::uuid, i %% 100, 'row ' || i,"
             " ARRAY[random() - 0.5, random() - 0.5, random() - 0.5, random() - 0.5,"
             "  random() - 0.5, random() - 0.5, random() - 0.5, random() - 0.5]::vector(8), i"
             " FROM generate_series(1, %d) AS i; ANALYZE chat_vectors",
             mara, tomasz, rows);
    fixture_foreign(f, sql);
}

static struct poly_vector_query query_of(const float *vector)
{
    return (struct poly_vector_query){
        .domains = memories, .vector = vector, .dimensions = DIMENSIONS, .limit = K};
}

static const float *some_vector(uint64_t *seed)
{
    static float vector[DIMENSIONS];

    for (int i = 0; i < DIMENSIONS; i++) {
        *seed = *seed * 6364136223846793005U + 1442695040888963407U;
        vector[i] = (float)((double)(*seed >> 40) / (1 << 24) - 0.5);
    }
    return vector;
}

static const char *plan_of(struct poly_session *s)
{
    uint64_t seed = 1;
    struct poly_vector_query query = query_of(some_vector(&seed));
    struct poly_matches matches;

    assert_ok(poly_vector_search(s, &query, &matches, &err));
    return matches.plan;
}

static void wait_for_graph(struct fixture *f, struct poly_session *s)
{
    struct poly_status_report report;

    for (int i = 0; i < 400; i++) {
        bool graph = strcmp(plan_of(s), "filtered graph") == 0;

        poly_session_reset(s);
        if (graph)
            return;
        usleep(50000);
    }
    assert_ok(poly_status_read(f->admin, &report, &err));
    fail_msg("no index is used: %s", report.projections[0].error.data);
}

/* Of the nearest that an exact search finds, the part that a search finds; so many come back
 * whenever so many match. */
static double recall(struct poly_session *s, const struct poly_where *where)
{
    uint64_t seed = 9;
    size_t good = 0;

    for (int q = 0; q < 40; q++) {
        struct poly_vector_query query = query_of(some_vector(&seed));
        struct poly_matches right, found;

        query.where = where;
        query.exact = true;
        assert_ok(poly_vector_search(s, &query, &right, &err));
        assert_int_equal(right.count, K);
        query.exact = false;
        assert_ok(poly_vector_search(s, &query, &found, &err));
        assert_int_equal(found.count, K);
        for (size_t i = 0; i < K; i++) {
            good += found.matches[i].distance <= right.matches[K - 1].distance + 1e-9;
            assert_true(i == 0 || found.matches[i - 1].distance <= found.matches[i].distance);
            assert_true(found.matches[i].version > 0);
        }
        poly_session_reset(s);
    }
    return (double)good / (40 * K);
}

/* D2: what the server says it would do with the statement that it had from us last. */
static void reads_the_index(struct fixture *f, const char *index)
{
    char sql[1500];

    fixture_foreign(f,
                    "CREATE TABLE plan(line text);"
                    "CREATE FUNCTION take_plan() RETURNS void LANGUAGE plpgsql AS $$"
                    "DECLARE asked text; line text; BEGIN"
                    " SELECT query INTO STRICT asked FROM pg_stat_activity"
                    "  WHERE datname = current_database() AND query LIKE 'SELECT key,%<=>%'"
                    "  ORDER BY query_start DESC LIMIT 1;"
                    " asked := regexp_replace(asked, '\\$1(?!\\d)', '''[1,2,3,4,5,6,7,8]''', 'g');"
                    " asked := replace(replace(asked, '$3', quote_literal("
                    "  '11111111-1111-4111-8111-111111111111')), '$2', '''memories''');"
                    " asked := replace(replace(asked, '$4', '''memories'''), '$5', '''''');"
                    " asked := replace(asked, '$6', '0');"
                    " asked := regexp_replace(regexp_replace(asked, 'LIMIT \\$\\d+', 'LIMIT 10'),"
                    "  'OFFSET \\$\\d+', 'OFFSET 0');"
                    " asked := regexp_replace(asked, 'FIRST \\(\\$\\d+', 'FIRST (10');"
                    " FOR line IN EXECUTE 'EXPLAIN ' || asked LOOP INSERT INTO plan VALUES (line);"
                    " END LOOP; END$$; SELECT take_plan()");
    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM plan WHERE line LIKE '%%Index Scan using %s on %%'", index);
    assert_int_equal(fixture_number(f, sql), 1);
    assert_int_equal(fixture_number(f, "SELECT count(*) FROM plan WHERE line LIKE"
                                       " '%Order By: (embedding <=> %'"),
                     1);
    fixture_foreign(f, "DROP FUNCTION take_plan(); DROP TABLE plan");
}

static const struct poly_value seven = {.type = POLY_INT, .integer = 7};
static const struct poly_filter in_chat = {"chat_id", NULL, POLY_EQ, &seven, 1};
static const struct poly_where rare = {.kind = POLY_WHERE_COMPARE, .compare = &in_chat};

/* --- indexes --- */

/* D3: the application's serves, and there is no other; nothing is copied. */
static void the_applications_index(void **state)
{
    struct fixture f;
    struct poly_session *s;

    (void)state;
    begin(&f, with_hnsw, hnsw);
    fill(&f, ROWS);
    s = fixture_session(&f, tomasz, POLY_RIGHT_READ);
    wait_for_graph(&f, s);
    reads_the_index(&f, "idx_chat_vectors_embedding_hnsw");
    assert_true(recall(s, NULL) >= 0.95);
    assert_true(recall(s, &rare) >= 0.95); /* one in a hundred */
    assert_int_equal(
        fixture_number(&f, "SELECT count(*) FROM pg_class WHERE relname ~ '^poly_vector_'"), 0);
    assert_int_equal(fixture_number(&f, "SELECT count(*) FROM poly_vector.domain"), 0);
    assert_int_equal(
        fixture_number(&f, "SELECT count(*) FROM pg_class WHERE relname ~ '^entries_\\d+_'"), 0);
    poly_session_close(s);
    fixture_remove(&f);
}

static void release(struct fixture *f, const char *config)
{
    struct poly_adopt_report *report = NULL;
    struct poly_adopt_run run = {.wait_ms = 10000};
    char text[8192];
    struct poly_options options = {.data = f->data, .config_text = text};

    fixture_close(f);
    snprintf(text, sizeof(text), "stores: {relational: {driver: postgresql, url: '%s'}, %s", f->url,
             config + strlen("stores: {"));
    assert_ok(poly_release(&options, &run, &report, &err));
    for (size_t i = 0; i < report->count; i++)
        assert_ok(report->items[i].status);
    poly_adopt_report_free(report);
}

/* Ours, where it has made none; another one when the configuration says so; and a release takes it
 * away. */
static void an_index_of_ours(void **state)
{
    static const char ours[] = "SELECT count(*) FROM pg_class x JOIN pg_am m ON m.oid = x.relam"
                               " WHERE x.relname ~ '^poly_vector_' AND m.amname = '%s'";
    struct fixture f;
    struct poly_session *s;
    char sql[200];

    (void)state;
    begin(&f, "", hnsw);
    fill(&f, ROWS);
    s = fixture_session(&f, tomasz, POLY_RIGHT_READ);
    wait_for_graph(&f, s);
    assert_true(recall(s, NULL) >= 0.95);
    snprintf(sql, sizeof(sql), ours, "hnsw");
    assert_int_equal(fixture_number(&f, sql), 1);
    assert_int_equal(fixture_number(&f,
                                    "SELECT count(*) FROM pg_class WHERE relname ~ '^poly_vector_'"
                                    " AND 'm=16' = ANY (reloptions)"
                                    " AND 'ef_construction=64' = ANY (reloptions)"),
                     1);
    poly_session_close(s);
    fixture_close(&f);
    fixture_open(&f, ivfflat);
    s = fixture_session(&f, tomasz, POLY_RIGHT_READ);
    wait_for_graph(&f, s);
    for (int i = 0; i < 200 && fixture_number(&f, sql) != 0; i++)
        usleep(50000);
    assert_int_equal(fixture_number(&f, sql), 0);
    snprintf(sql, sizeof(sql), ours, "ivfflat");
    assert_int_equal(fixture_number(&f, sql), 1);
    assert_true(recall(s, NULL) >= 0.8);
    assert_true(recall(s, &rare) >= 0.8);
    poly_session_close(s);
    release(&f, ivfflat);
    assert_int_equal(
        fixture_number(&f, "SELECT count(*) FROM pg_class WHERE relname ~ '^poly_vector'"), 0);
    assert_int_equal(
        fixture_number(&f, "SELECT count(*) FROM pg_namespace WHERE nspname ~ '^poly'"), 0);
    assert_int_equal(fixture_number(&f, "SELECT count(*) FROM chat_vectors"), ROWS);
    fixture_remove(&f);
}

/* --- conditions --- */

static void gives(struct poly_session *s, const char *where, const char *expected)
{
    static const float east[DIMENSIONS] = {1};
    struct poly_vector_query query = query_of(east);
    struct poly_matches matches;
    char text[200] = "";
    size_t used = 0;

    assert_ok(poly_where_parse(s, poly_text(where), &query.where, &err));
    query.rows = true;
    assert_ok(poly_vector_search(s, &query, &matches, &err));
    for (size_t i = 0; i < matches.count; i++) {
        struct poly_text content = field(&matches.matches[i].row, "content")->text;

        used += (size_t)snprintf(text + used, sizeof(text) - used, "%.*s", (int)content.size,
                                 content.data);
    }
    if (strcmp(text, expected) != 0)
        fail_msg("%s: '%s' is not '%s'", where, text, expected);
    poly_session_reset(s);
}

/* S3-43: whether a column is compared as it stands or as JSON, with values of its kind and of
 * others; null is neither. */
static void conditions(void **state)
{
    struct fixture f;
    struct poly_session *s;
    char sql[1200];

    (void)state;
    begin(&f, "", hnsw);
    snprintf(
        sql, sizeof(sql),
        "INSERT INTO chat_vectors(user_id, chat_id, content, embedding, metadata, seen, weight,"
        " exact, flag, big, code) VALUES"
        " ('%s', 1, 'a', '[1,0,0,0,0,0,0,0]', '{\"k\": {\"n\": 1}}', '2026-01-01Z', 0.5, 1.5,"
        "  true, 9007199254740993, 'x'),"
        " ('%s', 2, 'b', '[1,1,0,0,0,0,0,0]', '{\"k\": \"t\"}', '2026-02-01Z', 'Infinity', 2,"
        "  false, -1, 'y'),"
        " ('%s', 3, 'c', '[1,2,0,0,0,0,0,0]', NULL, NULL, 'NaN', NULL, NULL, NULL, NULL),"
        " ('%s', 1, 'z', '[1,0,0,0,0,0,0,0]', NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        mara, mara, mara, tomasz);
    fixture_foreign(&f, sql);
    s = fixture_session(&f, mara, POLY_RIGHT_READ);
    gives(s, "{}", "abc");
    gives(s, "{\"chat_id\": 1}", "a");
    gives(s, "{\"chat_id\": {\">\": 1, \"<=\": 3}}", "bc");
    gives(s, "{\"chat_id\": {\"<\": 2.5}}", "ab");
    gives(s, "{\"chat_id\": {\"in\": [1, 3]}}", "ac");
    gives(s, "{\"chat_id\": {\"in\": [1, 3.0, \"2\"]}}", "ac");
    gives(s, "{\"chat_id\": \"1\"}", "");
    gives(s, "{\"not\": {\"chat_id\": \"1\"}}", "abc");
    gives(s, "{\"big\": 9007199254740993}", "a");
    gives(s, "{\"big\": 9007199254740992}", "");
    gives(s, "{\"not\": {\"big\": 5}}", "ab");
    gives(s, "{\"big\": {\"null\": true}}", "c");
    gives(s, "{\"content\": {\">=\": \"b\"}}", "bc");
    gives(s, "{\"content\": {\"prefix\": \"a\"}}", "a");
    gives(s, "{\"code\": {\"<>\": \"x\"}}", "b");
    gives(s, "{\"code\": {\"in\": [\"x\", \"y\"]}}", "ab");
    gives(s, "{\"code\": {\"<\": 5}}", "");
    gives(s, "{\"seen\": \"2026-01-01T01:00:00+01:00\"}", "a");
    gives(s, "{\"seen\": {\">\": \"2026-01-15T00:00:00Z\"}}", "b");
    gives(s, "{\"seen\": 1767225600000000}", "a");
    gives(s, "{\"seen\": {\"null\": true}}", "c");
    gives(s, "{\"seen\": \"soon\"}", "");
    gives(s, "{\"weight\": {\">\": 0.25}}", "ab");
    gives(s, "{\"weight\": {\"$float\": \"Infinity\"}}", "b");
    gives(s, "{\"weight\": {\"null\": true}}", "c");
    gives(s, "{\"exact\": \"1.5\"}", "a");
    gives(s, "{\"flag\": true}", "a");
    gives(s, "{\"flag\": 0}", "b");
    gives(s, "{\"metadata.$.k.n\": 1}", "a");
    gives(s, "{\"metadata.$.k\": \"t\"}", "b");
    gives(s, "{\"or\": [{\"chat_id\": 3}, {\"metadata.$.k.n\": {\">=\": 1}}]}", "ac");
    poly_session_close(s);
    fixture_remove(&f);
}

/* Filters that are fields of a column with JSON. */
static void conditions_within(void **state)
{
    static const char within[] =
        "stores: {vector: {driver: postgresql, placement: colocated}}\n"
        "domains:\n"
        "  memories: {table: chat_vectors, tenant: user_id, vector: {field: embedding,"
        " dimensions: 8, filters_in: metadata, filters: [k, flag]}}\n";
    struct fixture f;
    struct poly_session *s;
    char sql[600];

    (void)state;
    begin(&f, "", within);
    snprintf(sql, sizeof(sql),
             "INSERT INTO chat_vectors(user_id, chat_id, content, embedding, metadata) VALUES"
             " ('%s', 1, 'a', '[1,0,0,0,0,0,0,0]', '{\"k\": {\"n\": 1}, \"flag\": true}'),"
             " ('%s', 2, 'b', '[1,1,0,0,0,0,0,0]', '{\"k\": \"t\"}'),"
             " ('%s', 3, 'c', '[1,2,0,0,0,0,0,0]', NULL)",
             mara, mara, mara);
    fixture_foreign(&f, sql);
    s = fixture_session(&f, mara, POLY_RIGHT_READ);
    gives(s, "{\"k\": \"t\"}", "b");
    gives(s, "{\"k.$.n\": {\"<\": 2}}", "a");
    gives(s, "{\"flag\": true}", "a");
    gives(s, "{\"k\": {\"null\": true}}", "c");
    poly_session_close(s);
    fixture_remove(&f);
}

/* --- tenants, and a table that changes --- */

static void other_tenants(void **state)
{
    static const float east[DIMENSIONS] = {1};
    struct poly_vector_query query = query_of(east);
    struct poly_matches matches;
    struct poly_session *s;
    struct fixture f;
    char key[40];

    (void)state;
    begin(&f, with_hnsw, hnsw);
    fill(&f, 300);
    s = fixture_session(&f, mara, POLY_RIGHT_READ);
    query.limit = 1000;
    assert_ok(poly_vector_search(s, &query, &matches, &err));
    assert_int_equal(matches.count, 150);
    snprintf(key, sizeof(key), "%s", matches.matches[0].key.data);
    poly_session_close(s);
    s = fixture_session(&f, tomasz, POLY_RIGHT_READ);
    query = (struct poly_vector_query){.domains = memories, .like = key};
    assert_int_equal(poly_vector_search(s, &query, &matches, &err), POLY_NOT_FOUND);
    query.like = "no uuid";
    assert_int_equal(poly_vector_search(s, &query, &matches, &err), POLY_NOT_FOUND);
    poly_session_close(s);
    s = fixture_session(&f, "acme", POLY_RIGHT_READ);
    query = query_of(east);
    assert_int_equal(poly_vector_search(s, &query, &matches, &err), POLY_DENIED);
    poly_session_close(s);
    fixture_remove(&f);
}

/* The wall that an application has put there itself is passed by nobody. */
static void a_policy_of_the_applications(void **state)
{
    static const float east[DIMENSIONS] = {1};
    struct poly_vector_query query = query_of(east);
    struct poly_matches matches;
    struct poly_session *s;
    struct fixture f;

    (void)state;
    begin(&f, with_hnsw, hnsw);
    fill(&f, 300);
    fixture_foreign(&f,
                    "ALTER TABLE chat_vectors ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
                    "CREATE POLICY few ON chat_vectors USING (chat_id < 10)");
    s = fixture_session(&f, mara, POLY_RIGHT_READ);
    query.limit = 1000;
    assert_ok(poly_vector_search(s, &query, &matches, &err));
    assert_int_equal(matches.count, 15);
    poly_session_close(s);
    fixture_remove(&f);
}

static void refused(struct poly_session *s, const char *message)
{
    static const float east[DIMENSIONS] = {1};
    struct poly_vector_query queries[] = {query_of(east), query_of(east)};
    struct poly_matches matches[2];

    assert_int_equal(poly_vector_search(s, queries, matches, &err), POLY_UNSUPPORTED);
    assert_message(message);
    assert_int_equal(poly_vector_search_all(s, queries, 2, matches, &err), POLY_UNSUPPORTED);
    poly_session_reset(s);
}

static void found(struct poly_session *s, size_t count)
{
    static const float east[DIMENSIONS] = {1};
    struct poly_vector_query queries[] = {query_of(east), query_of(east)};
    struct poly_matches matches[2];

    assert_ok(poly_vector_search_all(s, queries, 2, matches, &err));
    assert_int_equal(matches[0].count, count);
    assert_ok(poly_vector_search(s, queries, matches, &err));
    assert_int_equal(matches[0].count, count);
    poly_session_reset(s);
}

static void a_table_that_changes(void **state)
{
    struct poly_session *s;
    struct fixture f;

    (void)state;
    begin(&f, with_hnsw, hnsw);
    fill(&f, 20);
    s = fixture_session(&f, mara, POLY_RIGHT_READ);
    found(s, 10);
    assert_int_equal(poly_model_begin(f.admin, "memories", NULL, "other", 9, &err),
                     POLY_UNSUPPORTED);
    assert_message("whose column holds 8 numbers and not 9; change that by a migration");
    fixture_foreign(&f, "ALTER TABLE chat_vectors RENAME COLUMN embedding TO other");
    refused(s, "has no column for its vectors");
    fixture_foreign(&f, "ALTER TABLE chat_vectors ADD COLUMN embedding vector(9)");
    refused(s,
            "column 'embedding' of table 'chat_vectors' is vector(9); where vectors are co-located "
            "it has to be vector(8)");
    fixture_foreign(&f, "ALTER TABLE chat_vectors DROP COLUMN embedding;"
                        "ALTER TABLE chat_vectors RENAME COLUMN other TO embedding");
    found(s, 10);
    fixture_foreign(&f, "ALTER TABLE chat_vectors DROP COLUMN content, ADD COLUMN content int");
    found(s, 10);
    poly_session_close(s);
    fixture_remove(&f);
}

/* Where the vectors can be neither there nor follow: said at the start. */
static void what_cannot_be(void **state)
{
    struct poly_instance *instance = NULL;
    struct fixture f;

    (void)state;
    fixture_make(&f);
    assert_int_equal(fixture_try_open(&f,
                                      "stores: {vector: {driver: postgresql, placement: colocated,"
                                      " url: 'postgresql:///elsewhere'}}\n",
                                      &instance, &err),
                     POLY_INVALID);
    assert_message("stores.vector.placement is 'colocated'");
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_applications_index),
        cmocka_unit_test(an_index_of_ours),
        cmocka_unit_test(conditions),
        cmocka_unit_test(other_tenants),
        cmocka_unit_test(conditions_within),
        cmocka_unit_test(a_policy_of_the_applications),
        cmocka_unit_test(a_table_that_changes),
        cmocka_unit_test(what_cannot_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
