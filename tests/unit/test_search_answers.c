/* The search drivers: rank, tenants, filters, pages. */
#include "search_place.h"

/* --- rank --- */

/* BM25 by the book: N = 2, each word in one document, average length 2.5. */
static void scores_by_the_formula(void **state)
{
    struct place *p = *state;
    struct ask a = {.query = "apple", .domains = {"orders"}};
    struct poly_hits hits;
    double idf = log(1 + (2 - 1 + 0.5) / (1 + 0.5));
    double tf = 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 2.5));

    const struct poly_record records[] = {
        event(1, "order", "1", 1, "{\"note\":\"apple apple tree\"}"),
        event(2, "order", "2", 1, "{\"note\":\"pear tree\"}"),
    };

    assert_ok(apply_to(p, 1, records, 2, 2));
    assert_ok(ask(p, &a, &hits));
    assert_true(fabs(hits.hits[0].score - idf * tf) < 1e-12);
    /* The same when the rarity is counted beforehand. */
    a.query = "apple -nothing";
    assert_ok(ask(p, &a, &hits));
    assert_true(fabs(hits.hits[0].score - idf * tf) < 1e-12);
    a.query = "apple OR pear";
    assert_ok(ask(p, &a, &hits));
    assert_int_equal(hits.count, 2);
    assert_true(fabs(hits.hits[0].score - idf * tf) < 1e-12);
}

static double score_of(struct place *p, const char *query)
{
    struct ask a = {.query = query, .domains = {"orders"}};
    struct poly_hits hits;

    assert_ok(ask(p, &a, &hits));
    assert_true(hits.count > 0);
    return hits.hits[0].score;
}

/* A rare word tells more than a common one, where the driver counts that. */
static void rare_words(void **state)
{
    struct place *p = *state;
    const struct poly_record records[] = {
        event(1, "order", "1", 1, "{\"note\":\"apple tree\"}"),
        event(2, "order", "2", 1, "{\"note\":\"pear tree\"}"),
    };

    assert_ok(apply_to(p, 1, records, 2, 2));
    if (differs("rank"))
        assert_true(score_of(p, "apple") == score_of(p, "tree"));
    else
        assert_true(score_of(p, "apple") > score_of(p, "tree"));
}

/* Words are found wherever they stand, phrases as far as the driver says. */
static void long_documents(void **state)
{
    enum { BEFORE = 17000 };
    struct place *p = *state;
    struct ask a = {.query = "beginning", .domains = {"orders"}};
    static char json[BEFORE * 8 + 200];
    size_t used = (size_t)snprintf(json, sizeof(json), "{\"note\":\"the beginning of");

    for (int i = 0; i < BEFORE; i++)
        used += (size_t)snprintf(json + used, sizeof(json) - used, " w%d", i % 1000);
    snprintf(json + used, sizeof(json) - used, " and the very end\"}");
    struct poly_record r = event(1, "order", "1", 1, json);

    assert_ok(apply_to(p, 1, &r, 1, 1));
    finds(p, a, "orders/order-1@1 (1)");
    a.query = "\"beginning of\" end";
    finds(p, a, "orders/order-1@1 (1)");
    a.query = "\"very end\"";
    finds(p, a, differs("long-documents") ? "(0)" : "orders/order-1@1 (1)");
}

/* A driver whose index can lie in the log's database says so, and no other does. */
static void placement(void **state)
{
    (void)state;
    assert_int_equal(declared(driver->capabilities, "co-located"), driver->can_colocate);
    assert_int_equal(driver->can_colocate, !differs("co-located"));
}

static void weight_of_a_field(void **state)
{
    struct place *p = *state;

    put(p, 1, "", "packages", "a", "{\"name\":\"other\",\"summary\":\"vim\"}");
    put(p, 2, "", "packages", "b", "{\"name\":\"vim\",\"summary\":\"other\"}");
    finds(p, PACKAGES("vim"), "packages/b packages/a (2)");
}

/* S4-06: several collections, one ranked answer. */
static void several_domains(void **state)
{
    struct place *p = *state;
    struct ask a = {
        .query = "router", .tenant = "t", .domains = {"incidents", "orders", "packages"}};
    struct poly_record r = event(3, "order", "1", 1, "{\"note\":\"router\"}");

    put(p, 1, "", "packages", "p", "{\"name\":\"x\",\"summary\":\"a router\"}");
    put(p, 2, "t", "incidents", "i", "{\"title\":\"router router down\"}");
    assert_ok(apply_to(p, 1, &r, 1, 3));
    finds(p, a, "incidents/i orders/order-1@1 packages/p (3)");
    a.query = "title:router OR note:router";
    finds(p, a, "incidents/i orders/order-1@1 (2)");
    a.query = "router -title:down";
    finds(p, a, "orders/order-1@1 packages/p (2)");
    a.tenant = "unknown";
    finds(p, a, "orders/order-1@1 packages/p (2)");
}

static void pages_in_a_stable_order(void **state)
{
    struct place *p = *state;
    struct poly_record records[50];
    char keys[50][16];
    char seen[50] = {0};

    for (size_t i = 0; i < 50; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%02zu", (i * 37) % 50);
        records[i] = record(i + 1, "", "packages", keys[i],
                            i % 5 == 0 ? "{\"summary\":\"same same\"}" : "{\"summary\":\"same\"}");
    }
    assert_ok(apply_to(p, 1, records, 50, 50));
    for (uint32_t offset = 0; offset < 60; offset += 7) {
        struct ask a = PACKAGES("same");
        struct poly_hits hits;

        a.limit = 7;
        a.offset = offset;
        assert_ok(ask(p, &a, &hits));
        assert_int_equal(hits.total, 50);
        assert_int_equal(hits.count, offset > 50 ? 0 : offset + 7 > 50 ? 50 - offset : 7);
        for (size_t i = 0; i < hits.count; i++) {
            seen[strtol(hits.hits[i].key.data + 1, NULL, 10)]++;
            if (i > 0)
                assert_true(hits.hits[i - 1].score > hits.hits[i].score ||
                            strcmp(hits.hits[i - 1].key.data, hits.hits[i].key.data) < 0);
        }
    }
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(seen[i], 1);
}

/* --- tenants --- */

/* S4-36: the same keys in two tenants; what one does is invisible to the other. */
static void tenants_do_not_meet(void **state)
{
    struct place *p = *state;
    static struct poly_record records[600];
    static char keys[600][16];
    struct ask a = INCIDENTS("a", "fibre cut");
    struct poly_hits hits;
    double scores[2];

    put(p, 1, "a", "incidents", "1", "{\"title\":\"fibre cut\",\"body\":\"in the north\"}");
    put(p, 2, "a", "incidents", "2", "{\"title\":\"cut\",\"body\":\"fibre of another kind\"}");
    put(p, 3, "a", "incidents", "3", "{\"title\":\"power\"}");
    put(p, 4, "b", "incidents", "1", "{\"title\":\"fibre cut\",\"body\":\"secret\"}");
    assert_ok(ask(p, &a, &hits));
    assert_int_equal(hits.count, 2);
    scores[0] = hits.hits[0].score;
    scores[1] = hits.hits[1].score;
    for (size_t i = 0; i < 600; i++) {
        snprintf(keys[i], sizeof(keys[i]), "%zu", i);
        records[i] = record(i + 10, i % 3 == 0 ? "c" : "b", "incidents", keys[i],
                            "{\"title\":\"fibre fibre cut cut\",\"body\":\"long long text\"}");
    }
    assert_ok(apply_to(p, 1, records, 600, 700));
    assert_ok(ask(p, &a, &hits));
    assert_int_equal(hits.count, 2);
    assert_int_equal(hits.total, 2);
    assert_true(hits.hits[0].score == scores[0] && hits.hits[1].score == scores[1]);
    assert_string_equal(hits.hits[0].key.data, "1");
    finds(p, INCIDENTS("a", "secret"), "(0)");
    finds(p, INCIDENTS("d", "fibre"), "(0)");
    /* The control: they do stand in one table, and only the range keeps them apart. */
    assert_int_equal(number(p,
                            "SELECT count(*) FROM poly_search_1_text_2"
                            " WHERE poly_search_1_text_2 MATCH 'fibre'",
                            "SELECT count(*) FROM poly_search.documents_1"
                            " WHERE words @@ 'fibre'::tsquery"),
                     602);
    put(p, 800, "b", "incidents", "2", NULL);
    put(p, 801, "a", "incidents", "1", NULL);
    finds(p, INCIDENTS("a", "fibre"), "incidents/2 (1)");
}

/* Records of a domain with tenants that name none are nobody's. */
static void no_tenant_no_answer(void **state)
{
    struct place *p = *state;
    struct poly_hits hits;

    put(p, 1, "", "incidents", "1", "{\"title\":\"orphan\"}");
    finds(p, INCIDENTS("a", "orphan"), "(0)");
    assert_fails(ask(p, &INCIDENTS("", "orphan"), &hits), POLY_UNAVAILABLE);
}

/* --- filters --- */

static void with(struct place *p, const char *column, const char *path, enum poly_compare compare,
                 struct poly_value value, const char *expected)
{
    bool none = compare == POLY_IS_NULL || compare == POLY_NOT_NULL;
    struct poly_filter filter = {column, path, compare, &value, none ? 0 : 1};
    struct ask a = PACKAGES("tool");

    a.filters = &filter;
    a.filter_count = 1;
    finds(p, a, expected);
}

static void filters_hold(void **state)
{
    struct place *p = *state;
    struct poly_value in[] = {poly_str("net"), poly_str("doc")};
    struct poly_filter both[] = {{"section", NULL, POLY_IN, in, 2},
                                 {"size", NULL, POLY_GE, &in[0], 1}};
    struct poly_value seven = poly_int(7);
    struct ask a = PACKAGES("tool");

    put(p, 1, "", "packages", "a", "{\"name\":\"tool\",\"section\":\"net\",\"size\":5}");
    put(p, 2, "", "packages", "b",
        "{\"name\":\"tool\",\"section\":\"doc\",\"size\":7,\"tags\":{\"x\":[1,2]}}");
    put(p, 3, "", "packages", "c", "{\"name\":\"tool\",\"section\":null,\"size\":9.5}");
    put(p, 4, "", "packages", "d", "{\"name\":\"tool\",\"section\":\"network\",\"size\":true}");
    with(p, "section", NULL, POLY_EQ, poly_str("net"), "packages/a (1)");
    with(p, "section", NULL, POLY_NE, poly_str("net"), "packages/b packages/d (2)");
    with(p, "section", NULL, POLY_PREFIX, poly_str("net"), "packages/a packages/d (2)");
    with(p, "section", NULL, POLY_PREFIX, poly_str("%"), "(0)");
    with(p, "section", NULL, POLY_IS_NULL, poly_null(), "packages/c (1)");
    with(p, "section", NULL, POLY_NOT_NULL, poly_null(), "packages/a packages/b packages/d (3)");
    with(p, "size", NULL, POLY_LT, poly_int(7), "packages/a packages/d (2)");
    with(p, "size", NULL, POLY_GT, poly_float(6.5), "packages/b packages/c (2)");
    with(p, "size", NULL, POLY_EQ, poly_bool(true), "packages/d (1)");
    with(p, "tags", "$.x[1]", POLY_EQ, poly_int(2), "packages/b (1)");
    with(p, "section", "$.x", POLY_EQ, poly_int(2), "(0)");
    both[1].values = &seven;
    a.filters = both;
    a.filter_count = 2;
    finds(p, a, "packages/b (1)");
    put(p, 5, "", "packages", "b", "{\"name\":\"tool\",\"section\":\"old\",\"size\":7}");
    finds(p, a, "(0)");
    put(p, 6, "", "packages", "a", NULL);
    with(p, "section", NULL, POLY_EQ, poly_str("net"), "(0)");
}

/* From the end of a list: the one way to write a place that not every engine has. */
static void places_from_the_end(void **state)
{
    struct place *p = *state;
    struct poly_value two = poly_int(2);
    struct poly_filter filter = {"tags", "$.x[#-1]", POLY_EQ, &two, 1};
    struct ask a = PACKAGES("tool");
    struct poly_hits hits;

    a.filters = &filter;
    a.filter_count = 1;
    put(p, 1, "", "packages", "b", "{\"name\":\"tool\",\"tags\":{\"x\":[1,2]}}");
    if (differs("paths-of-filters"))
        assert_fails(ask(p, &a, &hits), POLY_INVALID);
    else
        finds(p, a, "packages/b (1)");
}

static void filters_are_checked(void **state)
{
    struct place *p = *state;
    struct poly_value values[] = {poly_int(1), poly_null()};
    struct poly_filter filter = {"maintainer", NULL, POLY_EQ, values, 1};
    struct ask a = PACKAGES("tool");

    a.filters = &filter;
    a.filter_count = 1;
    refuses(p, a, POLY_INVALID, -1,
            "filter on 'maintainer': no domain asked lists it under search: filters");
    filter.column = "size";
    filter.value_count = 2;
    refuses(p, a, POLY_INVALID, -1, "filter on 'size': 2 values; it takes one");
    filter.compare = POLY_PREFIX;
    filter.value_count = 1;
    refuses(p, a, POLY_INVALID, -1, "filter on 'size': a prefix is text");
    filter.compare = POLY_EQ;
    filter.values = &values[1];
    refuses(p, a, POLY_INVALID, -1, "filter on 'size': null equals nothing; ask for 'is null'");
    filter.values = values;
    filter.path = "x'";
    refuses(p, a, POLY_INVALID, -1, "filter on 'size': 'x'' is no JSON path, '$.a.b' is");
}

/* A time in an event is text; 2026-11-21T00:00:00Z. */
static void times_of_events(void **state)
{
    struct place *p = *state;
    struct poly_record r =
        event(1, "order", "1", 1, "{\"note\":\"lamp\",\"at\":\"2026-11-21T00:00:00.000000Z\"}");
    struct poly_value when = poly_time(1795219200000000);
    struct poly_filter filter = {"at", NULL, POLY_EQ, &when, 1};
    struct ask a = {.query = "lamp", .domains = {"orders"}, .filters = &filter, .filter_count = 1};

    assert_ok(apply_to(p, 1, &r, 1, 1));
    finds(p, a, "orders/order-1@1 (1)");
    filter.compare = POLY_GT;
    finds(p, a, "(0)");
}

/* --- queries that an index cannot answer --- */

static void says_what_no_index_has(void **state)
{
    struct place *p = *state;
    struct ask codes = {.query = "ab", .domains = {"codes"}};

    put(p, 1, "", "codes", "c", "{\"text\":\"int main(void)\"}");
    put(p, 2, "", "packages", "p", "{\"name\":\"ab main\"}");
    refuses(p, PACKAGES("tool title:x"), POLY_INVALID, 5,
            "query: no field 'title' in 'packages' at 5; put the text in quotes to search for a "
            "colon");
    refuses(p, PACKAGES("tool 🎉"), POLY_INVALID, 5,
            "query: '🎉' at 5 has no letter or digit to search for");
    refuses(p, codes, POLY_INVALID, 0,
            "query: 'ab' at 0 is too short for a trigram index; write three characters or more");
    codes.query = "\"n(v\"";
    finds(p, codes, "codes/c (1)");
    /* Another domain can have it: then the first just does not match. */
    codes.query = "ab OR main";
    codes.domains[1] = "packages";
    finds(p, codes, "packages/p codes/c (2)");
}

static void unknown_domains_and_deadlines(void **state)
{
    struct place *p = *state;
    static struct poly_record records[3000];
    static char keys[3000][16];
    struct ask a = PACKAGES("tool gadget");
    struct poly_hits hits;

    for (size_t i = 0; i < 3000; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
        records[i] = record(i + 1, "", "packages", keys[i], "{\"name\":\"tool\"}");
    }
    assert_ok(apply_to(p, 1, records, 3000, 3000));
    a.deadline = poly_clock_monotonic() - 1;
    assert_fails(ask(p, &a, &hits), POLY_TIMEOUT);
    assert_string_equal(err.message, "search: the deadline passed");
    /* And the connection is none the worse for it. */
    finds(p, PACKAGES("gadget"), "(0)");
    a = (struct ask){.query = "x", .domains = {"silent"}};
    refuses(p, a, POLY_UNAVAILABLE, -1,
            "domain 'silent': the search index was built without it; run 'polystore rebuild "
            "search'");
}

#define ALL(each)                                                                                  \
    each(rare_words), each(long_documents), each(placement), each(places_from_the_end),            \
        each(weight_of_a_field), each(several_domains), each(pages_in_a_stable_order),             \
        each(tenants_do_not_meet), each(no_tenant_no_answer), each(filters_hold),                  \
        each(filters_are_checked), each(times_of_events), each(says_what_no_index_has),            \
        each(unknown_domains_and_deadlines)

int main(void)
{
    const struct CMUnitTest embedded[] = {BOTH(scores_by_the_formula), ALL(BOTH)};
    const struct CMUnitTest server[] = {ALL(SERVER)};

    if (getenv("POLY_TEST_POSTGRESQL_URL") == NULL)
        return cmocka_run_group_tests(embedded, NULL, NULL);
    return cmocka_run_group_tests(server, NULL, NULL);
}
