/*
 * What poly_vector_search() promises, through the public library only, in each placement of the
 * store (S0-05, S0-41, S3-38 to S3-48).
 */
#include "base/json.h"
#include "vector_place.h"

static const float east[] = {1, 0, 0, 0}, north[] = {0, 1, 0, 0};

/* a lies east, b a little north of it, c between, d north; e has no vector. */
static void put_five(struct poly_session *s)
{
    put_item(s, "a", "green apple", "open", 1, "[1, 0, 0, 0]");
    put_item(s, "b", "red apple", "open", 2, "[3, 1, 0, 0]");
    put_item(s, "c", "blue pear", "done", 3, "[1, 1, 0, 0]");
    put_item(s, "d", "green pear", "done", 4, "[0, 0.5, 0, 0]");
    assert_ok(
        put_row(s, "items", "e", ROW({"title", poly_str("no vector")}), POLY_ANY, NULL, &err));
}

static void near(double is, double should)
{
    if (!(fabs(is - should) < 1e-5))
        fail_msg("%.9g is not %.9g", is, should);
}

/* S0-41, S3-38: nearest first, with distance and similarity as the header says. */
static void finds_the_nearest(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);
    struct poly_matches matches;
    struct poly_document document;

    put_five(p->nobody);
    assert_ok(poly_get(p->nobody, "items", "b", &document, &err));
    assert_ok(poly_vector_search(p->nobody, &query, &matches, &err));
    assert_string_equal(names_of(&matches), "items/a items/b items/c items/d");
    near(matches.matches[0].distance, 0);
    near(matches.matches[1].distance, 1 - 3 / sqrt(10));
    near(matches.matches[2].distance, 1 - sqrt(0.5));
    near(matches.matches[3].distance, 1);
    for (size_t i = 0; i < 4; i++) {
        near(matches.matches[i].similarity, 1 - matches.matches[i].distance);
        assert_true(matches.matches[i].score == matches.matches[i].similarity);
        assert_null(matches.matches[i].vector);
        assert_int_equal(matches.matches[i].row.count, 0);
    }
    assert_int_equal(matches.matches[1].version, document.version);
    assert_int_equal(matches.dimensions, 4);
    assert_int_equal(matches.generation, 1);
    assert_string_equal(matches.plan, "exact");
    if (differs(p, "visited"))
        assert_int_equal(matches.visited, 0);
    else
        assert_true(matches.visited >= 4);
    query.limit = 2;
    gives(p->nobody, query, "items/a items/b");
    query.offset = 1;
    gives(p->nobody, query, "items/b items/c");
    query.offset = 3;
    gives(p->nobody, query, "items/d");
    query.offset = 4;
    gives(p->nobody, query, "");
    query = query_of(items, north);
    query.exact = true;
    gives(p->nobody, query, "items/d items/c items/b items/a");
}

static void gives_vectors_and_rows(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, north);
    struct poly_matches matches;

    put_five(p->nobody);
    query.vectors = query.rows = true;
    query.limit = 2;
    assert_ok(poly_vector_search(p->nobody, &query, &matches, &err));
    assert_string_equal(names_of(&matches), "items/d items/c");
    near((double)matches.matches[0].vector[1], 1); /* cosine: of length 1 */
    near((double)matches.matches[1].vector[0], sqrt(0.5));
    near((double)matches.matches[1].vector[3], 0);
    assert_string_equal(field(&matches.matches[0].row, "title")->text.data, "green pear");
    assert_int_equal(field(&matches.matches[0].row, "embedding")->type, POLY_JSON);
    assert_string_equal(field(&matches.matches[0].row, "embedding")->text.data, "[0,0.5,0,0]");
}

/* Equal distances: by key, whatever came first. */
static void orders_equal_ones_by_key(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);

    for (int i = 9; i >= 0; i--) {
        char key[8];

        snprintf(key, sizeof(key), "k%d", i);
        put_item(p->nobody, key, "", "", 0, i % 2 == 0 ? "[2, 0, 0, 0]" : "[1, 0, 0, 0]");
    }
    query.limit = 4;
    gives(p->nobody, query, "items/k0 items/k1 items/k2 items/k3");
    query.offset = 8;
    gives(p->nobody, query, "items/k8 items/k9");
}

/* S3-40 */
static void leaves_out_what_is_not_alike(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);

    put_five(p->nobody);
    query.has_threshold = true;
    query.threshold = 0.8;
    gives(p->nobody, query, "items/a items/b");
    query.threshold = 0;
    gives(p->nobody, query, "items/a items/b items/c items/d");
    query.threshold = 1.5;
    gives(p->nobody, query, "");
    query.threshold = -INFINITY;
    gives(p->nobody, query, "items/a items/b items/c items/d");
}

static void finds_what_is_like_a_record(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = {.domains = items, .like = "c"};

    put_five(p->nobody);
    gives(p->nobody, query, "items/b items/a items/d");
    query.like = "e";
    refuses(p->nobody, query, POLY_NOT_FOUND, "'e'");
    query.like = "nobody";
    refuses(p->nobody, query, POLY_NOT_FOUND, "'nobody'");
    assert_ok(remove_row(p->nobody, "items", "c", POLY_ANY, &err));
    query.like = "c";
    refuses(p->nobody, query, POLY_NOT_FOUND, "'c'");
}

/* S3-39: each metric, each element, each kind of column. */
static void measures_as_declared(void **state)
{
    struct place *p = *state;
    const float two[] = {2, 1}, three[] = {1, 2, 2}, bits[] = {1, 1, 1, 1, 0, 0, 0, 0};
    struct poly_vector_query query = {.domains = shapes, .name = "near", .vectors = true};
    struct poly_matches matches;

    assert_ok(
        put_row(p->nobody, "shapes", "x",
                ROW({"near", poly_json("[0, 0, 0]")}, {"dot", poly_json("[1, 2]")},
                    {"bits", poly_json("[1,1,1,1,1,1,1,1]")}, {"small", poly_json("[127, -127]")}),
                POLY_ANY, NULL, &err));
    assert_ok(put_row(p->nobody, "shapes", "y",
                      ROW({"near", poly_json("[1, 2, 1]")}, {"dot", poly_json("[-3, 0.5]")},
                          {"bits", poly_str("[1,1,1,1,0,0,0,1]")}, {"small", poly_null()}),
                      POLY_ANY, NULL, &err));
    query.vector = three;
    query.dimensions = 3;
    assert_ok(poly_vector_search(p->nobody, &query, &matches, &err));
    assert_string_equal(names_of(&matches), "shapes/y shapes/x");
    near(matches.matches[0].distance, 1);
    near(matches.matches[0].similarity, 0.5);
    near(matches.matches[1].distance, 3);
    near(matches.matches[1].similarity, 0.25);
    query.has_threshold = true;
    query.threshold = 0.3;
    gives(p->nobody, query, "shapes/y");

    query = (struct poly_vector_query){
        .domains = shapes, .name = "dot", .vector = two, .dimensions = 2, .vectors = true};
    assert_ok(poly_vector_search(p->nobody, &query, &matches, &err));
    assert_string_equal(names_of(&matches), "shapes/x shapes/y");
    near(matches.matches[0].distance, -4);
    near(matches.matches[0].similarity, 4);
    near(matches.matches[1].similarity, -5.5);
    near((double)matches.matches[1].vector[1], 0.5);
    query.has_threshold = true;
    query.threshold = 0;
    gives(p->nobody, query, "shapes/x");

    query = (struct poly_vector_query){
        .domains = shapes, .name = "bits", .vector = bits, .dimensions = 8};
    assert_ok(poly_vector_search(p->nobody, &query, &matches, &err));
    assert_string_equal(names_of(&matches), "shapes/y shapes/x");
    near(matches.matches[0].distance, 1);
    near(matches.matches[0].similarity, 1 - 1.0 / 8);
    near(matches.matches[1].distance, 4);

    query = (struct poly_vector_query){
        .domains = shapes, .name = "small", .vector = two, .dimensions = 2};
    gives(p->nobody, query, "shapes/x");
}

/* --- filters: before the nearest are chosen (S3-41 to S3-43) --- */

#define COMPARE(name, how, ...)                                                                    \
    (&(const struct poly_where){                                                                   \
        .kind = POLY_WHERE_COMPARE,                                                                \
        .compare = &(const struct poly_filter){                                                    \
            .column = name,                                                                        \
            .compare = how,                                                                        \
            .values = (const struct poly_value[]){__VA_ARGS__},                                    \
            .value_count =                                                                         \
                sizeof((const struct poly_value[]){__VA_ARGS__}) / sizeof(struct poly_value)}})
#define TOGETHER(how, ...)                                                                         \
    (&(const struct poly_where){.kind = how,                                                       \
                                .parts = (const struct poly_where *const[]){__VA_ARGS__},          \
                                .part_count =                                                      \
                                    sizeof((const struct poly_where *const[]){__VA_ARGS__}) /      \
                                    sizeof(struct poly_where *)})

static void filtered(struct place *p, const struct poly_where *where, const char *expected)
{
    struct poly_vector_query query = query_of(items, east);

    query.where = where;
    gives(p->nobody, query, expected);
}

static void filters_first(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);
    struct poly_filter path = {.column = "meta",
                               .path = "$.owner.name",
                               .compare = POLY_EQ,
                               .values = (const struct poly_value[]){poly_str("kim")},
                               .value_count = 1};
    struct poly_where at_path = {.kind = POLY_WHERE_COMPARE, .compare = &path};

    put_five(p->nobody);
    assert_ok(put_row(p->nobody, "items", "f",
                      ROW({"title", poly_str("plum")},
                          {"meta", poly_json("{\"owner\": {\"name\": \"kim\"}}")},
                          {"embedding", poly_json("[0, 0, 1, 0]")}),
                      POLY_ANY, NULL, &err));
    filtered(p, COMPARE("state", POLY_EQ, poly_str("done")), "items/c items/d");
    filtered(p, COMPARE("state", POLY_NE, poly_str("done")), "items/a items/b");
    filtered(p, COMPARE("rank", POLY_GE, poly_int(2)), "items/b items/c items/d");
    filtered(p, COMPARE("rank", POLY_LT, poly_float(2.5)), "items/a items/b");
    filtered(p, COMPARE("rank", POLY_IN, poly_int(4), poly_int(1), poly_int(9)), "items/a items/d");
    filtered(p, COMPARE("title", POLY_PREFIX, poly_str("green ")), "items/a items/d");
    filtered(p, &at_path, "items/f");
    filtered(p,
             TOGETHER(POLY_WHERE_AND, COMPARE("state", POLY_EQ, poly_str("done")),
                      COMPARE("title", POLY_PREFIX, poly_str("green"))),
             "items/d");
    filtered(p,
             TOGETHER(POLY_WHERE_OR, COMPARE("rank", POLY_EQ, poly_int(1)),
                      COMPARE("title", POLY_EQ, poly_str("plum"))),
             "items/a items/f");
    filtered(p,
             TOGETHER(POLY_WHERE_NOT, TOGETHER(POLY_WHERE_OR, COMPARE("rank", POLY_LE, poly_int(2)),
                                               COMPARE("title", POLY_EQ, poly_str("plum")))),
             "items/c items/d");
    /* what is null is neither so nor not so; what is of another kind is neither less nor greater */
    filtered(p, TOGETHER(POLY_WHERE_NOT, COMPARE("state", POLY_EQ, poly_str("done"))),
             "items/a items/b");
    filtered(p, TOGETHER(POLY_WHERE_NOT, COMPARE("rank", POLY_GT, poly_int(1))), "items/a");
    filtered(p, TOGETHER(POLY_WHERE_NOT, COMPARE("rank", POLY_LT, poly_str("x"))),
             "items/a items/b items/c items/d");
    filtered(p, TOGETHER(POLY_WHERE_NOT, COMPARE("state", POLY_PREFIX, poly_str("do"))),
             "items/a items/b");
    query.where = COMPARE("state", POLY_EQ, poly_str("done"));
    query.limit = 1;
    gives(p->nobody, query, "items/c");
    query.where = COMPARE("embedding", POLY_EQ, poly_str("x"));
    refuses(p->nobody, query, POLY_INVALID, "'embedding' is none of its vector's filters");
}

/* A change of a filtered column is a change, though the vector is the same. */
static void follows_changes_of_filters(void **state)
{
    struct place *p = *state;
    struct poly_txn *txn;

    put_five(p->nobody);
    assert_ok(poly_txn_begin(p->nobody, NULL, &txn, &err));
    assert_ok(poly_patch(txn, "items", "a", ROW({"state", poly_str("done")}), POLY_ANY, &err));
    assert_ok(poly_txn_commit(txn, NULL, &err));
    filtered(p, COMPARE("state", POLY_EQ, poly_str("done")), "items/a items/c items/d");
    filtered(p, COMPARE("state", POLY_EQ, poly_str("open")), "items/b");
}

#define KIM "0a1b2c3d-1111-4111-8111-aabbccddeeff"
#define LEE "0a1b2c3d-2222-4222-8222-aabbccddeeff"

static void put_visit(struct poly_session *s, const char *key, const char *vector, const char *at,
                      const char *who)
{
    assert_ok(put_row(s, "items", key,
                      ROW({"title", poly_str("a visit")}, {"at", poly_str(at)},
                          {"who", poly_str(who)}, {"embedding", poly_json(vector)}),
                      POLY_ANY, NULL, &err));
}

/* The same of either search, and of both as one. */
static void visits(struct place *p, const struct poly_where *where, const char *expected)
{
    struct poly_vector_query query = query_of(items, east);
    struct poly_search_query words = {.query = "visit", .domains = items, .where = where};
    struct poly_hits hits;
    char keys[64] = "";

    filtered(p, where, expected);
    query.where = where;
    query.hybrid.query = "visit";
    gives(p->nobody, query, expected);
    assert_ok(poly_search(p->nobody, &words, &hits, &err));
    for (size_t i = 0; i < hits.count; i++) /* alike, so by key */
        snprintf(keys + strlen(keys), sizeof(keys) - strlen(keys), "%sitems/%s", i == 0 ? "" : " ",
                 hits.hits[i].key.data);
    assert_string_equal(keys, expected);
    poly_session_reset(p->nobody);
}

/* A time is the same in every offset, a UUID in every case: whatever is compared, and how. a is
 * at 03:20, b a quarter of a second later, c an hour. */
static void compares_times_and_uuids(void **state)
{
    struct place *p = *state;
    const char *const three = "items/a items/b items/c";
    int64_t at = 0;

    put_visit(p->nobody, "a", "[1, 0, 0, 0]", "2026-11-21T03:20:00Z", KIM);
    put_visit(p->nobody, "b", "[3, 1, 0, 0]", "2026-11-21T03:20:00.25Z", LEE);
    put_visit(p->nobody, "c", "[1, 1, 0, 0]", "2026-11-21T05:20:00+01:00", KIM);
    assert_ok(poly_json_parse_time("2026-11-21T03:20:00Z", &at, &err));
    visits(p, COMPARE("at", POLY_EQ, poly_str("2026-11-21T04:20:00+01:00")), "items/a");
    visits(p, COMPARE("at", POLY_EQ, poly_str("2026-11-21T03:20:00.000Z")), "items/a");
    visits(p, COMPARE("at", POLY_EQ, poly_int(at)), "items/a");
    visits(p, COMPARE("at", POLY_EQ, poly_time(at + 250000)), "items/b");
    visits(p, COMPARE("at", POLY_NE, poly_str("2026-11-20T22:20:00.250-05:00")), "items/a items/c");
    visits(p, COMPARE("at", POLY_GT, poly_str("2026-11-20T22:20:00-05:00")), "items/b items/c");
    visits(p, COMPARE("at", POLY_GE, poly_str("2026-11-21T03:20:00.250000Z")), "items/b items/c");
    visits(p, COMPARE("at", POLY_LT, poly_str("2026-11-21T09:05:00.25+05:45")), "items/a");
    visits(p, COMPARE("at", POLY_LE, poly_str("2026-11-21T04:20:00.25+01:00")), "items/a items/b");
    visits(p,
           COMPARE("at", POLY_IN, poly_str("2026-11-21T04:20:00+01:00"), poly_int(at + 250000),
                   poly_str("2026-11-21T04:20:00+02:00")),
           "items/a items/b");
    visits(
        p,
        TOGETHER(POLY_WHERE_NOT, COMPARE("at", POLY_LT, poly_str("2026-11-21T00:20:00.25-03:00"))),
        "items/b items/c");
    visits(p, COMPARE("at", POLY_EQ, poly_str("soon")), "");
    visits(p, COMPARE("at", POLY_NE, poly_str("soon")), three);
    visits(p, COMPARE("who", POLY_EQ, poly_str("0A1B2C3D-1111-4111-8111-AABBCCDDEEFF")),
           "items/a items/c");
    visits(p, COMPARE("who", POLY_NE, poly_str("0A1B2C3D-1111-4111-8111-aabbccddeeff")), "items/b");
    visits(p,
           COMPARE("who", POLY_IN, poly_str("0A1B2C3D-2222-4222-8222-AABBCCDDEEFF"),
                   poly_str("ffffffff-ffff-4fff-8fff-ffffffffffff")),
           "items/b");
    visits(p, COMPARE("who", POLY_IN, poly_str(KIM), poly_str(LEE)), three);
    visits(p, COMPARE("who", POLY_GT, poly_str("0A1B2C3D-1111-4111-8111-AABBCCDDEEFF")), "items/b");
    visits(p, COMPARE("who", POLY_LE, poly_str("0A1B2C3D-1111-4111-8111-AABBCCDDEEFF")),
           "items/a items/c");
}

/* S3-46 */
static void groups(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);
    static const char *const both[] = {"items", "cases", NULL};

    put_five(p->nobody);
    query.group = "state";
    gives(p->nobody, query, "items/a items/c");
    query.group_limit = 2;
    query.limit = 3;
    gives(p->nobody, query, "items/a items/b items/c");
    query.group = "embedding";
    refuses(p->nobody, query, POLY_INVALID, "'embedding' is none of its vector's filters");
    query.group = "state";
    query.domains = both;
    refuses(p->acme, query, POLY_INVALID, "grouped within one domain");
}

/* --- several domains, several queries --- */

static void merges_domains(void **state)
{
    struct place *p = *state;
    static const char *const both[] = {"items", "cases", "items", NULL};
    static const char *const uneven[] = {"items", "shapes", NULL};
    struct poly_vector_query query = query_of(both, east);
    struct poly_matches matches;

    put_five(p->nobody);
    put_case(p->acme, "a", "[1, 0, 0, 0]");
    put_case(p->acme, "x", "[2, 1, 0, 0]");
    put_case(p->zeta, "z", "[1, 0, 0, 0]");
    wait_for_index(p);
    gives(p->acme, query, "cases/a items/a items/b cases/x items/c items/d");
    query.limit = 2;
    query.offset = 1;
    gives(p->acme, query, "items/a items/b");
    query = (struct poly_vector_query){.domains = both, .like = "d", .limit = 3};
    assert_ok(poly_vector_search(p->acme, &query, &matches, &err));
    assert_string_equal(names_of(&matches), "items/c cases/x items/b");
    query = query_of(uneven, east);
    query.name = "near";
    refuses(p->nobody, query, POLY_INVALID, "has no vector 'near'");
}

/* One of 2,500 dimensions: 1 at a place, else 0. */
static void put_far(struct place *p, const char *key, int place)
{
    char json[2 * 2500 + 2];

    for (int i = 0; i < 2500; i++)
        memcpy(json + 1 + 2 * i, i == place ? "1," : "0,", 2);
    json[0] = '[';
    memcpy(json + 2 * 2500, "]", 2);
    assert_ok(
        put_row(p->nobody, "shapes", key, ROW({"far", poly_json(json)}), POLY_ANY, NULL, &err));
}

static void takes_large_dimensions(void **state)
{
    struct place *p = *state;
    float vector[2500] = {[2499] = 1};
    struct poly_vector_query query = {
        .domains = shapes, .name = "far", .vector = vector, .dimensions = 2500, .limit = 2};

    (void)differs(p, "large-dimensions");
    put_far(p, "first", 0);
    put_far(p, "last", 2499);
    put_far(p, "middle", 1000);
    gives(p->nobody, query, "shapes/last shapes/first");
}

/* S3-45 */
static void answers_many_at_once(void **state)
{
    struct place *p = *state;
    const float wrong[] = {0, 0, 0, 0};
    struct poly_vector_query queries[257] = {
        query_of(items, east), query_of(items, north), {.domains = items, .like = "c"}};
    struct poly_matches matches[3] = {{.count = 77}};

    put_five(p->nobody);
    queries[0].limit = queries[1].limit = 1;
    assert_ok(poly_vector_search_all(p->nobody, queries, 3, matches, &err));
    assert_string_equal(names_of(&matches[0]), "items/a");
    assert_string_equal(names_of(&matches[1]), "items/d");
    assert_string_equal(names_of(&matches[2]), "items/b items/a items/d");
    assert_ok(poly_vector_search_all(p->nobody, NULL, 0, NULL, &err));
    matches[0].count = 77;
    queries[1].vector = wrong;
    assert_fails(poly_vector_search_all(p->nobody, queries, 3, matches, &err), POLY_INVALID);
    assert_message("query 2 of 3: domain 'items'");
    queries[1].vector = north;
    queries[2].like = "nobody";
    assert_fails(poly_vector_search_all(p->nobody, queries, 3, matches, &err), POLY_NOT_FOUND);
    assert_message("query 3 of 3: domain 'items'");
    assert_int_equal(matches[0].count, 77);
    assert_fails(poly_vector_search_all(p->nobody, queries, 257, matches, &err), POLY_LIMIT);
}

/* --- with words (S3-47, S3-48) --- */

static void joins_words(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);
    struct poly_matches matches;

    put_five(p->nobody);
    assert_ok(put_row(p->nobody, "items", "w", ROW({"title", poly_str("green green")}), POLY_ANY,
                      NULL, &err));
    query.hybrid.query = "green";
    query.limit = 6;
    assert_ok(poly_vector_search(p->nobody, &query, &matches, &err));
    /* a: first and found; d: last and found; w: by its words only. */
    assert_int_equal(matches.count, 5);
    assert_string_equal(matches.matches[0].key.data, "a");
    for (size_t i = 1; i < matches.count; i++) {
        assert_true(matches.matches[i - 1].score >= matches.matches[i].score);
        assert_true((strcmp(matches.matches[i].key.data, "w") == 0) ==
                    isnan(matches.matches[i].distance));
    }
    near(matches.matches[0].similarity, 1);
    query.hybrid.weight = 1;
    query.limit = 4;
    gives(p->nobody, query, "items/a items/b items/c items/d");
    query.hybrid.fusion = POLY_FUSION_WEIGHTED;
    query.hybrid.weight = 0.9;
    assert_ok(poly_vector_search(p->nobody, &query, &matches, &err));
    assert_string_equal(matches.matches[0].key.data, "a");
    near(matches.matches[0].score, 0.9); /* of the words it has the fewest */
    query.hybrid = (struct poly_hybrid){.query = "green"};
    query.where = COMPARE("state", POLY_EQ, poly_str("done"));
    gives(p->nobody, query, "items/d items/c");
    query.has_threshold = true;
    query.threshold = 0.5;
    query.where = NULL;
    gives(p->nobody, query, "items/a items/b items/c");
    query.has_threshold = false;
    query.where = TOGETHER(POLY_WHERE_NOT, COMPARE("state", POLY_EQ, poly_str("done")));
    gives(p->nobody, query, "items/a items/b"); /* w has no state: neither so nor not so */
    query.where = TOGETHER(POLY_WHERE_OR, COMPARE("rank", POLY_EQ, poly_int(1)),
                           COMPARE("state", POLY_IS_NULL));
    gives(p->nobody, query, "items/a items/w");
    query.where = NULL;
    query.hybrid.weight = 1.5;
    refuses(p->nobody, query, POLY_INVALID, "weight 1.5");
    query.hybrid = (struct poly_hybrid){.query = "("};
    refuses(p->nobody, query, POLY_INVALID, "hybrid");
    query = (struct poly_vector_query){.domains = shapes,
                                       .name = "near",
                                       .vector = east,
                                       .dimensions = 3,
                                       .hybrid = {.query = "green"}};
    refuses(p->nobody, query, POLY_INVALID, "not searchable");
}

/* --- what is refused (S3-44) --- */

static void refuses_wrong_queries(void **state)
{
    struct place *p = *state;
    const float zero[] = {0, 0, 0, 0}, odd[] = {1, NAN, 0, 0}, big[] = {1, INFINITY, 0, 0};
    static const char *const none[] = {NULL}, *const unknown[] = {"nothing", NULL};
    struct poly_vector_query good = query_of(items, east), q = good;

    q.vector = NULL;
    refuses(p->nobody, q, POLY_INVALID, "give either a vector, or a text, or the key");
    q = good;
    q.like = "a";
    refuses(p->nobody, q, POLY_INVALID, "give either a vector, or a text, or the key");
    q = good;
    q.dimensions = 3;
    refuses(p->nobody, q, POLY_INVALID, "3 dimensions were given, it has 4");
    q.dimensions = 4;
    q.vector = zero;
    refuses(p->nobody, q, POLY_INVALID, "all its numbers are zero");
    q.vector = odd;
    refuses(p->nobody, q, POLY_INVALID, "number 2 is not finite");
    q.vector = big;
    refuses(p->nobody, q, POLY_INVALID, "number 2 is not finite");
    q = good;
    q.domains = none;
    refuses(p->nobody, q, POLY_INVALID, "name a domain");
    q.domains = NULL;
    refuses(p->nobody, q, POLY_INVALID, "name a domain");
    q.domains = unknown;
    refuses(p->nobody, q, POLY_NOT_FOUND, "nothing");
    q = good;
    q.name = "other";
    refuses(p->nobody, q, POLY_INVALID, "has no vector 'other'; its only one has no name");
    q.domains = shapes;
    refuses(p->nobody, q, POLY_INVALID, "it has near, dot, bits, small");
    q.name = NULL;
    refuses(p->nobody, q, POLY_INVALID, "has several vectors; name one of them: near, dot");
    q = good;
    q.limit = 1001;
    refuses(p->nobody, q, POLY_LIMIT, "limit 1001");
    q = good;
    q.offset = 10001;
    refuses(p->nobody, q, POLY_LIMIT, "offset 10001");
    q = good;
    q.ef = 10001;
    refuses(p->nobody, q, POLY_LIMIT, "ef 10001");
    q = good;
    q.has_threshold = true;
    q.threshold = NAN;
    refuses(p->nobody, q, POLY_INVALID, "threshold");
    q = good;
    q.model = "large-2";
    refuses(p->nobody, q, POLY_INVALID, "of the model 'small-1', the query's is of 'large-2'");
    q.model = "small-1";
    gives(p->nobody, q, "");
}

static void put_wrong(struct place *p, struct poly_value value, const char *message)
{
    struct poly_txn *txn;

    assert_ok(poly_txn_begin(p->nobody, NULL, &txn, &err));
    assert_fails(poly_put(txn, "items", "x", ROW({"embedding", value}), POLY_ANY, &err),
                 POLY_INVALID);
    assert_message(message);
    assert_message("domain 'items'");
    poly_txn_abort(txn);
}

/* In the caller's thread, before anything is committed. */
static void refuses_wrong_vectors(void **state)
{
    struct place *p = *state;
    const float odd[] = {1, NAN, 0, 0};

    put_wrong(p, poly_json("[1, 2, 3]"), "3 dimensions were given, it has 4");
    put_wrong(p, poly_json("[1, 2, 3, 4, 5]"), "4 or more dimensions were given");
    put_wrong(p, poly_json("[0, 0, 0, 0]"), "all its numbers are zero");
    put_wrong(p, poly_json("[1, 2, 3, null]"), "number 4 is none");
    put_wrong(p, poly_json("{\"a\": 1}"), "wants an array of 4 numbers");
    put_wrong(p, poly_bytes("1234", 4), "4 bytes were given; 4 dimensions are 16");
    put_wrong(p, poly_bytes(odd, sizeof(odd)), "number 2 is not finite");
    put_wrong(p, poly_str("near"), "wants an array of 4 numbers");
    put_wrong(p, poly_int(4), "wants an array of 4 numbers");
    put_wrong(p, poly_bool(true), "wants an array of 4 numbers");
    assert_fails(put_row(p->nobody, "shapes", "x", ROW({"small", poly_json("[128, 0]")}), POLY_ANY,
                         NULL, &err),
                 POLY_INVALID);
    assert_message("no whole number of -127 to 127");
    assert_fails(put_row(p->nobody, "shapes", "x", ROW({"bits", poly_json("[1,1,1,1,1,1,1,2]")}),
                         POLY_ANY, NULL, &err),
                 POLY_INVALID);
    assert_message("neither 0 nor 1");
    gives(p->nobody, query_of(items, east), "");
    assert_int_equal(status_of(p, "vector").state, POLY_STATE_OK);
}

/* A record shows its vectors as arrays, whatever its columns hold. */
static void shows_vectors_as_arrays(void **state)
{
    struct place *p = *state;
    const float bytes[] = {0.25F, -1, 0, 2};
    struct poly_list_query list = {.domain = "shapes"};
    struct poly_document document;
    struct poly_page page;

    assert_ok(put_row(p->nobody, "items", "a", ROW({"embedding", poly_bytes(bytes, 16)}), POLY_ANY,
                      NULL, &err));
    assert_ok(poly_get(p->nobody, "items", "a", &document, &err));
    assert_int_equal(field(&document.row, "embedding")->type, POLY_JSON);
    assert_string_equal(field(&document.row, "embedding")->text.data, "[0.25,-1,0,2]");
    assert_ok(put_row(p->nobody, "shapes", "x",
                      ROW({"dot", poly_json("[0.5, -2]")}, {"bits", poly_str("[1,0,0,0,0,0,0,1]")},
                          {"near", poly_json("[1,2,3]")}),
                      POLY_ANY, NULL, &err));
    assert_ok(poly_list(p->nobody, &list, &page, &err));
    assert_int_equal(page.count, 1);
    assert_string_equal(field(&page.documents[0].row, "dot")->text.data, "[0.5,-2]");
    assert_string_equal(field(&page.documents[0].row, "near")->text.data, "[1,2,3]");
    assert_int_equal(field(&page.documents[0].row, "bits")->type, POLY_JSON);
    if (is_typed(p)) { /* nothing else can stand there */
        assert_false(fixture_foreign_try(&p->fixture, "UPDATE items SET embedding = '\\x0102'",
                                         err.message, sizeof(err.message)));
        return;
    }
    /* What is no vector there is shown as what it is. */
    fixture_foreign_dialects(&p->fixture, "UPDATE items SET embedding = x'0102' WHERE id = 'a'",
                             "UPDATE items SET embedding = '\\x0102' WHERE id = 'a'");
    assert_ok(poly_get(p->nobody, "items", "a", &document, &err));
    assert_int_equal(field(&document.row, "embedding")->type, POLY_BYTES);
    assert_int_equal(field(&document.row, "embedding")->text.size, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(finds_the_nearest),
        EACH(gives_vectors_and_rows),
        EACH(orders_equal_ones_by_key),
        EACH(leaves_out_what_is_not_alike),
        EACH(finds_what_is_like_a_record),
        EACH(measures_as_declared),
        EACH(filters_first),
        EACH(follows_changes_of_filters),
        EACH(compares_times_and_uuids),
        EACH(groups),
        EACH(merges_domains),
        EACH(takes_large_dimensions),
        EACH(answers_many_at_once),
        EACH(joins_words),
        EACH(refuses_wrong_queries),
        EACH(refuses_wrong_vectors),
        EACH(shows_vectors_as_arrays),
    };

    return run_each("vector", tests, sizeof(tests) / sizeof(*tests));
}
