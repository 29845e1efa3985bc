/*
 * The vector driver on PostgreSQL with pgvector: what becomes an entry, exactly once, and what is
 * found, against every distance computed here. S0-10, S3-14, S3-38..40, D2. Run by
 * tests/servers/with, on a server that has the extension.
 */
#include "vector_driver.h"

/* --- entries --- */

/* S3-19 */
static void puts_changes_deletes(void **state)
{
    struct place *p = *state;
    struct poly_vector_request r = request("notes", axes[0], 10);
    uint64_t n = 0;

    finds(p, &r, "");
    put(p, 1, "", "notes", "a", json_of(p, axes[0], ""));
    put(p, 2, "", "notes", "b", json_of(p, axes[1], ""));
    put(p, 3, "", "notes", "c", json_of(p, axes[3], ""));
    finds(p, &r, "a c b");
    put(p, 4, "", "notes", "a", json_of(p, axes[2], ""));
    finds(p, &r, "c a b");
    put(p, 5, "", "notes", "c", NULL);
    finds(p, &r, "a b");
    put(p, 6, "", "notes", "b", "{\"embedding\":null}");
    finds(p, &r, "a");
    put(p, 7, "", "notes", "d", "{\"state\":\"no vector\"}");
    finds(p, &r, "a");
    assert_ok(driver->count(p->store, NULL, 1, &n, &err));
    assert_int_equal(n, 1);
    assert_ok(driver->applied(p->store, NULL, 1, &n, &err));
    assert_int_equal(n, 7);
}

static void redelivery_has_no_effect(void **state)
{
    struct place *p = *state;
    struct poly_vector_request r = request("notes", axes[0], 10);
    const struct poly_record records[] = {
        record(1, "", "notes", "a", json_of(p, axes[0], "")),
        record(2, "", "notes", "a", json_of(p, axes[1], "")),
        record(3, "", "notes", "b", json_of(p, axes[0], "")),
        record(4, "", "notes", "b", NULL),
    };

    assert_ok(apply(p, records, 4, 4));
    assert_ok(apply(p, records, 4, 4));
    finds(p, &r, "a");
    /* Without the position, the entries' own hold. */
    on_server(p->server, "UPDATE poly_vector.generation SET applied = 0");
    assert_ok(apply(p, records, 3, 3));
    finds(p, &r, "a");
    assert_int_equal(number(p, "SELECT position FROM poly_vector.entries_1 WHERE key = 'a'"), 2);
}

/* A record that says what is no vector stops the batch there, and what came before is in. */
static void poison_stops(void **state)
{
    struct place *p = *state;
    struct poly_vector_request r = request("notes", axes[0], 10);
    static const char *const bad[] = {"{\"embedding\":[1,2,3]}",
                                      "{\"embedding\":\"text\"}",
                                      "{\"embedding\":[0,0,0,0,0,0,0,0,0,0,0,0]}",
                                      "{\"embedding\":[1e39,0,0,0,0,0,0,0,0,0,0,0]}",
                                      "{\"embedding\":{\"$bytes\":\"00\"}}",
                                      "{\"embedding\":"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        const struct poly_record records[] = {
            record(10 * i + 1, "", "notes", "good", json_of(p, axes[0], "")),
            record(10 * i + 2, "", "notes", "bad", bad[i]),
        };

        assert_int_equal(apply(p, records, 2, 10 * i + 2), POLY_INVALID);
        assert_int_equal(p->failed, 10 * i + 2);
        assert_false(p->temporary);
        assert_non_null(strstr(err.message, "vector: record "));
        assert_ok(apply(p, records, 1, 10 * i + 1));
        finds(p, &r, "good");
    }
}

static void only_who_leads_writes(void **state)
{
    struct place *p = *state;
    struct poly_vector_request r = request("notes", axes[0], 10);
    const struct poly_record one = record(1, "", "notes", "a", json_of(p, axes[0], ""));
    struct poly_batch batch = {.records = &one, .count = 1, .last = 1};
    struct poly_store *second;
    bool leads = true;

    assert_ok(open_as(&second, 1));
    assert_ok(driver->lead(second, false, &leads, &err));
    assert_false(leads);
    assert_int_equal(driver->apply(second, NULL, 1, &batch, &err), POLY_UNAVAILABLE);
    assert_true(batch.temporary);
    finds(p, &r, "");
    driver->close(second);
    assert_int_equal(open_as(&second, 2), POLY_CONFLICT);
    assert_non_null(strstr(err.message, "another instance"));
}

/* --- filters, tenants, pages --- */

static const struct poly_value open_ = {.type = POLY_TEXT, .text = {"open", 4}};
static const struct poly_value five = {.type = POLY_INT, .integer = 5};
static const struct poly_filter is_open = {"state", NULL, POLY_EQ, &open_, 1};
static const struct poly_filter over_five = {"size", NULL, POLY_GT, &five, 1};
static const struct poly_filter no_size = {"size", NULL, POLY_IS_NULL, NULL, 0};
static const struct poly_filter deep = {"meta", "$.a.b", POLY_EQ, &five, 1};

static void filters_apply_before_the_nearest(void **state)
{
    struct place *p = *state;
    struct poly_vector_request r = request("notes", axes[0], 10);
    const struct poly_where a = {.kind = POLY_WHERE_COMPARE, .compare = &is_open};
    const struct poly_where b = {.kind = POLY_WHERE_COMPARE, .compare = &over_five};
    const struct poly_where c = {.kind = POLY_WHERE_COMPARE, .compare = &no_size};
    const struct poly_where d = {.kind = POLY_WHERE_COMPARE, .compare = &deep};
    const struct poly_where *ab[] = {&a, &b}, *just_a[] = {&a}, *bc[] = {&b, &c};
    const struct poly_where both = {POLY_WHERE_AND, NULL, ab, 2};
    const struct poly_where either = {POLY_WHERE_OR, NULL, ab, 2};
    const struct poly_where not_a = {POLY_WHERE_NOT, NULL, just_a, 1};
    const struct poly_where b_or_c = {POLY_WHERE_OR, NULL, bc, 2};
    const struct poly_where none = {POLY_WHERE_OR, NULL, NULL, 0};

    put(p, 1, "", "notes", "a", json_of(p, axes[0], "\"state\":\"open\",\"size\":9"));
    put(p, 2, "", "notes", "b", json_of(p, axes[3], "\"state\":\"shut\",\"size\":9"));
    put(p, 3, "", "notes", "c", json_of(p, axes[1], "\"state\":\"open\",\"size\":5"));
    put(p, 4, "", "notes", "d", json_of(p, axes[2], "\"meta\":{\"a\":{\"b\":5}}"));
    r.where = &a;
    finds(p, &r, "a c");
    r.where = &b;
    finds(p, &r, "a b");
    r.where = &both;
    finds(p, &r, "a");
    r.where = &either;
    finds(p, &r, "a b c");
    r.where = &not_a; /* null is neither */
    finds(p, &r, "b");
    r.where = &b_or_c;
    finds(p, &r, "a b d");
    r.where = &d;
    finds(p, &r, "d");
    r.where = &none;
    finds(p, &r, "");
}

static void wrong_questions_are_named(void **state)
{
    struct place *p = *state;
    struct poly_vector_request r = request("notes", axes[0], 10);
    struct poly_filter unknown = is_open;
    const struct poly_where w = {.kind = POLY_WHERE_COMPARE, .compare = &unknown};
    struct poly_matches matches;

    unknown.column = "colour";
    r.where = &w;
    assert_int_equal(ask(p, &r, &matches), POLY_INVALID);
    assert_non_null(strstr(err.message, "'colour'"));
    unknown = is_open;
    unknown.value_count = 2;
    assert_int_equal(ask(p, &r, &matches), POLY_INVALID);
    r.where = NULL;
    r.group = "colour";
    assert_int_equal(ask(p, &r, &matches), POLY_INVALID);
    r.group = NULL;
    r.vector = NULL;
    r.like = poly_text("nobody");
    assert_int_equal(ask(p, &r, &matches), POLY_NOT_FOUND);
}

/* S3-41 */
static void tenants_see_their_own(void **state)
{
    struct place *p = *state;
    struct poly_vector_request r = request("mine", axes[0], 10);

    put(p, 1, "acme", "mine", "x", json_of(p, axes[0], ""));
    put(p, 2, "other", "mine", "x", json_of(p, axes[3], ""));
    put(p, 3, "other", "mine", "y", json_of(p, axes[0], ""));
    r.scope.tenant = poly_text("acme");
    finds(p, &r, "x");
    r.scope.tenant = poly_text("other");
    finds(p, &r, "y x");
    r.scope.tenant = poly_text("nobody");
    finds(p, &r, "");
    r.scope.all_tenants = true;
    finds(p, &r, "x y x");
    r = request("mine", NULL, 10);
    r.like = poly_text("y");
    r.scope.tenant = poly_text("acme");
    assert_int_equal(ask(p, &r, &(struct poly_matches){0}), POLY_NOT_FOUND);
}

static void pages_thresholds_groups(void **state)
{
    struct place *p = *state;
    struct poly_vector_request r = request("notes", axes[0], 2);
    struct poly_matches matches;

    put(p, 1, "", "notes", "a", json_of(p, axes[0], "\"state\":\"open\""));
    put(p, 2, "", "notes", "b", json_of(p, axes[0], "\"state\":\"open\""));
    put(p, 3, "", "notes", "c", json_of(p, axes[3], "\"state\":\"shut\""));
    put(p, 4, "", "notes", "d", json_of(p, axes[1], "\"state\":\"shut\""));
    finds(p, &r, "a b");
    r.offset = 1;
    finds(p, &r, "b c");
    r.limit = 10;
    r.offset = 0;
    r.farthest = 0.01; /* S3-47: 1 - 0.995 */
    finds(p, &r, "a b c");
    r.farthest = 0;
    finds(p, &r, "a b");
    r.farthest = (double)INFINITY;
    r.group = "state";
    r.group_limit = 1;
    finds(p, &r, "a c");
    r.group_limit = 2;
    finds(p, &r, "a b c d");
    r.group = NULL;
    r.vector = NULL;
    r.like = poly_text("c");
    finds(p, &r, "a b d");
    r.vectors = true;
    assert_ok(ask(p, &r, &matches));
    assert_int_equal(matches.count, 3);
    assert_float_equal(matches.matches[2].vector[1], 1, 1e-6);
    assert_float_equal(matches.matches[2].vector[0], 0, 1e-6);
    assert_int_equal(matches.matches[2].version, 4);
}

/* --- what is found, against every distance --- */

static float distance(const struct shape *shape, const float *query, const float *vector)
{
    float packed_query[DIMENSIONS], unpacked[DIMENSIONS], original[DIMENSIONS];
    const struct poly_index_options *o = &shape->options;

    assert_ok(poly_vector_pack(o->element, o->metric, query, DIMENSIONS, packed_query, &err));
    poly_vector_unpack(o->element, o->metric, packed_query, DIMENSIONS, unpacked);
    assert_ok(poly_vector_pack(o->element, o->metric, vector, DIMENSIONS, original, &err));
    return poly_vector_distance(o->element, o->metric, unpacked, original, DIMENSIONS);
}

static int by_size(const void *left, const void *right)
{
    const float *a = left, *b = right;

    return (*a > *b) - (*a < *b);
}

/* The k least distances of those whose number is a multiple of step; how many there were. */
static size_t nearest(const struct shape *shape, const float *vectors, size_t count, size_t step,
                      const float *query, float *distances)
{
    size_t found = 0;

    for (size_t i = 0; i < count; i += step)
        distances[found++] = distance(shape, query, &vectors[i * DIMENSIONS]);
    qsort(distances, found, sizeof(*distances), by_size);
    return found;
}

/* State says by which steps a number can be divided. */
static void fill(struct place *p, const struct shape *shape, float *vectors, size_t count)
{
    struct poly_record *records = calloc(count, sizeof(*records));
    uint64_t seed = 7;

    for (size_t i = 0; i < count; i++) {
        const char *state = i % 100 == 0 ? "\"size\":100" : i % 10 == 0 ? "\"size\":10" : "";

        data_vector(&shape->options, &seed, -1, &vectors[i * DIMENSIONS]);
        records[i] = record(i + 1, "", shape->domain, poly_arena_printf(p->arena, "%05zu", i),
                            json_of(p, &vectors[i * DIMENSIONS], state));
    }
    for (size_t i = 0; i < count; i += BATCH)
        assert_ok(apply(p, records + i, count - i < BATCH ? count - i : BATCH,
                        i + BATCH < count ? i + BATCH : count));
    free(records);
}

/* Not every domain has the vectors of every shape: those of another element would be refused. */
static void exact_as_every_distance(void **state)
{
    enum { COUNT = 300, K = 10 };
    static float vectors[COUNT * DIMENSIONS];
    struct place *p = *state;

    for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++) {
        const struct shape *shape = &shapes[s];
        uint64_t seed = 99;

        driver->drop(p->store, NULL, 1, &err);
        assert_ok(driver->prepare(p->store, NULL, 1, &err));
        if (strcmp(shape->domain, "many") == 0) { /* whole numbers fit all of its vectors */
            struct shape whole = *shape;

            whole.options.element = POLY_INT8;
            fill(p, &whole, vectors, COUNT);
        } else {
            fill(p, shape, vectors, COUNT);
        }
        for (int q = 0; q < 20; q++) {
            float query[DIMENSIONS], distances[COUNT];
            struct poly_vector_request r = request(shape->domain, query, K);
            struct poly_matches matches;

            r.scope.vector = &r.scope.domain->vectors[shape->vector];
            r.exact = true;
            data_vector(&shape->options, &seed, -1, query);
            assert_ok(ask(p, &r, &matches));
            assert_int_equal(nearest(shape, vectors, COUNT, 1, query, distances), COUNT);
            assert_int_equal(matches.count, K);
            assert_string_equal(matches.plan, "exact");
            for (size_t i = 0; i < K; i++)
                assert_true(fabs(matches.matches[i].distance - (double)distances[i]) <
                            1e-3 * (1 + fabs((double)distances[i])));
        }
    }
}

static bool wait_for_index(struct place *p, const char *name)
{
    char why[256], sql[200];
    int64_t since;

    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM pg_index JOIN pg_class ON oid = indexrelid"
             " WHERE relname = '%s' AND indisvalid",
             name);
    for (int i = 0; i < 300; i++) {
        if (number(p, sql) == 1)
            return true;
        usleep(100000);
    }
    driver->trouble(p->store, why, &since);
    fail_msg("no index: %s", why);
    return false;
}

static const char *plan_of(struct place *p, const struct poly_vector_request *r)
{
    struct poly_matches matches;

    assert_ok(ask(p, r, &matches));
    return matches.plan;
}

/* A connection tells the statistics with the statement that comes a second later. */
static void index_was_used(struct place *p, const char *index, struct poly_vector_request r,
                           int64_t least)
{
    char sql[200];

    snprintf(sql, sizeof(sql),
             "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = '%s'", index);
    r.exact = true;
    for (int i = 0; i < 100; i++) {
        (void)plan_of(p, &r);
        if (number(p, sql) >= least)
            return;
        usleep(100000);
    }
    fail_msg("the index was not used");
}

/* D2, S3-40, S3-81: the statement's order is the index's. The server counts its scans. */
static void index_is_made_and_used(void **state)
{
    enum { COUNT = 3000, K = 10, QUERIES = 50 };
    static float vectors[COUNT * DIMENSIONS];
    static const size_t steps[] = {1, 10, 100};
    static const struct poly_value ten = {.type = POLY_INT, .integer = 10};
    static const struct poly_value hundred = {.type = POLY_INT, .integer = 100};
    const struct poly_filter at_least[] = {{"size", NULL, POLY_GE, &ten, 1},
                                           {"size", NULL, POLY_GE, &hundred, 1}};
    struct place *p = *state;
    struct poly_vector_request r = request("notes", axes[0], K);
    struct poly_projected projected = {.store = p->store, .generation = 1};
    struct poly_vector_stats stats = {.vectors = 0};
    uint64_t seed = 5;
    int64_t before;

    fill(p, &shapes[0], vectors, COUNT);
    assert_string_equal(plan_of(p, &r), "exact");
    assert_ok(poly_vector_postgresql.stats(&projected, &r.scope, &stats, &err));
    assert_int_equal(stats.linked + stats.unlinked, COUNT);
    assert_true(wait_for_index(p, "entries_1_1_hnsw"));
    for (int i = 0; i < 100 && strcmp(plan_of(p, &r), "graph") != 0; i++)
        usleep(100000);
    assert_string_equal(plan_of(p, &r), "graph");
    on_server(p->server, "ANALYZE poly_vector.entries_1_1");
    before = number(p, "SELECT idx_scan FROM pg_stat_user_indexes"
                       " WHERE indexrelname = 'entries_1_1_hnsw'");
    for (size_t s = 0; s < 3; s++) {
        const struct poly_where where = {.kind = POLY_WHERE_COMPARE,
                                         .compare = s == 0 ? NULL : &at_least[s - 1]};
        size_t good = 0;

        for (int q = 0; q < QUERIES; q++) {
            float query[DIMENSIONS], distances[COUNT];
            struct poly_matches matches;

            data_vector(&shapes[0].options, &seed, -1, query);
            r.vector = query;
            r.where = s == 0 ? NULL : &where;
            assert_ok(ask(p, &r, &matches));
            /* S3-42..44: as many as were asked for, whenever so many match */
            assert_int_equal(matches.count, K);
            nearest(&shapes[0], vectors, COUNT, steps[s], query, distances);
            for (size_t i = 0; i < matches.count; i++)
                good += matches.matches[i].distance <= (double)distances[K - 1] + 1e-6;
        }
        assert_true(good >= QUERIES * K * 95 / 100);
    }
    r.vector = axes[0];
    r.where = NULL;
    index_was_used(p, "entries_1_1_hnsw", r, before + QUERIES);
}

/* IVFFlat: what is near a centre. A condition that most lists have nothing of looks into more of
 * them, and finds in order what they give in none. */
static void lists_are_made_and_used(void **state)
{
    enum { COUNT = 2000, K = 10, QUERIES = 40 };
    static float vectors[COUNT * DIMENSIONS];
    static const size_t steps[] = {1, 100};
    const struct shape shape = {
        "listed",
        0,
        {.element = minor < 7 ? POLY_F32 : POLY_F16, .metric = POLY_L2, .dimensions = DIMENSIONS}};
    static const struct poly_value hundred = {.type = POLY_INT, .integer = 100};
    const struct poly_filter filter = {"size", NULL, POLY_EQ, &hundred, 1};
    const struct poly_where where = {.kind = POLY_WHERE_COMPARE, .compare = &filter};
    struct place *p = *state;
    struct poly_vector_request r = request("listed", axes[0], K);
    uint64_t seed = 5;

    fill(p, &shape, vectors, COUNT);
    assert_true(wait_for_index(p, "entries_1_11_ivfflat_20"));
    for (int i = 0; i < 100 && strcmp(plan_of(p, &r), "graph") != 0; i++)
        usleep(100000);
    assert_string_equal(plan_of(p, &r), "graph");
    on_server(p->server, "ANALYZE poly_vector.entries_1_11");
    for (size_t s = 0; s < 2; s++) {
        size_t good = 0;

        for (int q = 0; q < QUERIES; q++) {
            float query[DIMENSIONS], distances[COUNT];
            struct poly_matches matches;

            data_vector(&shape.options, &seed, -1, query);
            r.vector = query;
            r.where = s == 0 ? NULL : &where;
            assert_ok(ask(p, &r, &matches));
            assert_int_equal(matches.count, K);
            nearest(&shape, vectors, COUNT, steps[s], query, distances);
            for (size_t i = 0; i < K; i++) {
                good += matches.matches[i].distance <= (double)distances[K - 1] + 1e-3;
                assert_true(i == 0 ||
                            matches.matches[i - 1].distance <= matches.matches[i].distance);
            }
        }
        assert_true(good >= QUERIES * K * 80 / 100);
    }
    r.vector = axes[0];
    r.where = NULL;
    index_was_used(p, "entries_1_11_ivfflat_20", r, QUERIES);
}

/* --- around it --- */

/* A generation of its own, beside the first; dropping it leaves nothing behind. */
static void generations(void **state)
{
    struct place *p = *state;
    uint64_t position = 0;

    put(p, 1, "", "notes", "a", json_of(p, axes[0], ""));
    assert_ok(driver->prepare(p->store, NULL, 2, &err));
    assert_ok(driver->applied(p->store, NULL, 2, &position, &err));
    assert_int_equal(position, 0);
    assert_ok(driver->drop(p->store, NULL, 2, &err));
    assert_int_equal(driver->applied(p->store, NULL, 2, &position, &err), POLY_NOT_FOUND);
    assert_int_equal(number(p, "SELECT count(*) FROM pg_tables WHERE schemaname = 'poly_vector'"
                               " AND tablename LIKE 'entries\\_2%'"),
                     0);
    assert_int_equal(number(p, "SELECT count(*) FROM poly_vector.domain WHERE generation = 2"), 0);
    assert_ok(driver->applied(p->store, NULL, 1, &position, &err));
    assert_int_equal(position, 1);
}

/* What the server says of a collection. */
static void numbers(void **state)
{
    struct place *p = *state;
    struct poly_projected projected = {.store = p->store, .generation = 1};
    struct poly_vector_request r = request("notes", axes[0], 10);
    struct poly_vector_stats stats = {.vectors = 0};

    put(p, 1, "", "notes", "a", json_of(p, axes[0], ""));
    put(p, 2, "", "notes", "b", json_of(p, axes[1], ""));
    assert_ok(poly_vector_postgresql.stats(&projected, &r.scope, &stats, &err));
    assert_int_equal(stats.vectors, 2);
    assert_int_equal(stats.linked, 0); /* so few get no index */
    assert_int_equal(stats.unlinked, 0);
    assert_int_equal(stats.saved_position, 2);
    assert_true(stats.file_bytes > 0);
}

/* Without the extension: what is to be done, in words. */
static void says_what_is_missing(void **state)
{
    struct poly_store *store = NULL;

    (void)state;
    extension("DROP EXTENSION IF EXISTS vector CASCADE");
    assert_int_equal(open_as(&store, 1), POLY_UNSUPPORTED);
    assert_non_null(strstr(err.message, "CREATE EXTENSION vector"));
}

/* pgvector's version is that of its own tables of functions: what came later is refused by name
 * before anything is made. */
static void refuses_elements_that_it_lacks(void **state)
{
    static const char *const elements[] = {"f16", "binary"};
    static struct poly_domain_vector vectors[] = {VECTOR("", "f16", "cosine")};
    static const struct poly_domain domain = {
        .name = "wide", .table = "wide", .vectors = vectors, .vector_count = 1};
    const struct poly_config before = config;
    struct poly_store *store = NULL;

    (void)state;
    extension("CREATE EXTENSION IF NOT EXISTS vector");
    config.domains = &domain;
    config.domain_count = 1;
    for (size_t i = 0; i < 2; i++) {
        vectors[0].element = elements[i];
        vectors[0].metric = i == 0 ? "cosine" : "hamming";
        if (minor >= 7) {
            assert_ok(open_as(&store, 1));
            driver->close(store);
            continue;
        }
        assert_int_equal(open_as(&store, 1), POLY_UNSUPPORTED);
        assert_non_null(strstr(err.message, "'f16' and 'binary' need pgvector 0.7 or later"));
    }
    config = before;
}

/* A search among few that fit goes on in the index where pgvector can, and where it cannot that is
 * not asked for: an older one refuses the name of the setting. */
static void asks_for_what_there_is(void **state)
{
    struct place *p = *state;

    assert_int_equal(((struct poly_pgv *)p->store)->iterative, minor >= 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_is_missing),
        cmocka_unit_test(refuses_elements_that_it_lacks),
        TEST(asks_for_what_there_is),
        TEST(puts_changes_deletes),
        TEST(redelivery_has_no_effect),
        TEST(poison_stops),
        TEST(only_who_leads_writes),
        TEST(filters_apply_before_the_nearest),
        TEST(wrong_questions_are_named),
        TEST(tenants_see_their_own),
        TEST(pages_thresholds_groups),
        TEST(exact_as_every_distance),
        TEST(index_is_made_and_used),
        TEST(lists_are_made_and_used),
        TEST(generations),
        TEST(numbers),
    };

    return cmocka_run_group_tests(tests, look, NULL);
}
