/*
 * Collections with more than one vector, and with text: all that a declared domain has, in each
 * placement of both stores (S3-38, S4-06).
 */
#include "collection_place.h"

#include <sqlite3.h>

#include "core/config.h"
#include "stores/relational/collection.h"

static const float east[] = {1, 0, 0}, plane[] = {0, 1};
static const char *const notes[] = {"notes", NULL};
static const char *const fields[] = {"team", "day"};
static const struct poly_collection_text texts[] = {{"title", 4}, {"body", 0}};
static const struct poly_collection_vector both[] = {
    {.name = "near", .dimensions = 3},
    {.name = "far", .dimensions = 2, .metric = "l2", .element = "f16", .m = 8, .model = "m-2"}};
static const struct poly_vector_collection searched = {.name = "notes",
                                                       .dimensions = 3,
                                                       .filters = fields,
                                                       .filter_count = 2,
                                                       .texts = texts,
                                                       .text_count = 2};
static const struct poly_vector_collection several = {
    .name = "notes", .vectors = both, .vector_count = 2, .filters = fields, .filter_count = 2};

/* --- writing and asking --- */

static void note(struct poly_session *s, const char *key, const char *metadata, const char *vector)
{
    assert_ok(put_row(s, "notes", key,
                      ROW({"metadata", metadata == NULL ? poly_null() : poly_json(metadata)},
                          {"embedding", vector == NULL ? poly_null() : poly_json(vector)}),
                      POLY_ANY, NULL, &err));
}

static void note_in(struct poly_session *s, const char *domain, const char *key)
{
    assert_ok(
        put_row(s, domain, key, ROW({"embedding", poly_json("[1, 0, 0]")}), POLY_ANY, NULL, &err));
}

static void note_two(struct poly_session *s, const char *key, const char *near, const char *far)
{
    assert_ok(put_row(s, "notes", key,
                      ROW({"metadata", poly_json("{\"team\": \"core\", \"day\": 3}")},
                          {"near", near == NULL ? poly_null() : poly_json(near)},
                          {"far", far == NULL ? poly_null() : poly_json(far)}),
                      POLY_ANY, NULL, &err));
}

static void put_four(struct poly_session *s)
{
    note(s, "a",
         "{\"team\": \"core\", \"day\": 3, \"title\": \"Bread\", \"body\": \"green flour\"}",
         "[1, 0, 0]");
    note(s, "b", "{\"team\": \"edge\", \"day\": 4, \"title\": \"Green tea\"}", "[3, 1, 0]");
    note(s, "c", "{\"team\": \"core\", \"day\": 9, \"body\": [\"tea\", \"and bread\"]}",
         "[1, 1, 0]");
    note(s, "d", NULL, "[0, 1, 0]");
}

static void wait_for_both(struct place *p)
{
    wait_for_store(p, "vector");
    wait_for_store(p, "search");
}

static void finds_with(struct poly_session *s, struct poly_search_query query, const char *expected)
{
    struct poly_hits hits;
    char text[500] = "";

    assert_ok(poly_search(s, &query, &hits, &err));
    for (size_t i = 0; i < hits.count; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s/%s", i == 0 ? "" : " ",
                 hits.hits[i].domain.data, hits.hits[i].key.data);
    assert_string_equal(text, expected);
    poly_session_reset(s);
}

static void finds(struct poly_session *s, const char *words, const char *expected)
{
    finds_with(s, (struct poly_search_query){.query = words, .domains = notes}, expected);
}

static void finds_none(struct poly_session *s, const char *words, enum poly_status status,
                       const char *message)
{
    struct poly_search_query query = {.query = words, .domains = notes};
    struct poly_hits hits;

    assert_fails(poly_search(s, &query, &hits, &err), status);
    assert_message(message);
}

/* --- text --- */

/* Before the first record, after changes, after a start and a rebuild: in step like the vectors. */
static void is_searched(void **state)
{
    struct place *p = *state;

    make(p, searched);
    finds(p->nobody, "bread", "");
    finds_none(p->nobody, "author:bread", POLY_INVALID, "'author'");
    put_four(p->nobody);
    wait_for_both(p);
    finds(p->nobody, "bread", "notes/a notes/c");
    finds(p->nobody, "title:green", "notes/b");
    finds(p->nobody, "green", "notes/b notes/a"); /* a title weighs more */
    finds(p->nobody, "\"and bread\"", "notes/c");
    note(p->nobody, "a", "{\"title\": \"Soup\"}", "[1, 0, 0]");
    assert_ok(remove_row(p->nobody, "notes", "c", POLY_ANY, &err));
    wait_for_both(p);
    finds(p->nobody, "bread", "");
    finds(p->nobody, "soup", "notes/a");
    open_again(p, "");
    finds(p->nobody, "tea", "notes/b");
    note(p->nobody, "e", "{\"title\": \"More tea\"}", NULL);
    wait_for_both(p);
    finds_with(p->nobody, (struct poly_search_query){.query = "tea -green"}, "notes/e");
    assert_ok(poly_rebuild(p->admin, "search", NULL, &err));
    wait_for_both(p);
    finds(p->nobody, "tea -green", "notes/e");
    finds(p->nobody, "soup", "notes/a");
    assert_int_equal(status_of(p, "search").documents, 4);
}

static void filters_words_by_metadata(void **state)
{
    struct place *p = *state;
    struct poly_search_query query = {.query = "tea OR bread", .domains = notes};
    struct poly_hits hits;

    make(p, searched);
    put_four(p->nobody);
    wait_for_both(p);
    assert_ok(poly_where_parse(p->nobody, poly_text("{\"day\": {\">\": 3}}"), &query.where, &err));
    finds_with(p->nobody, query, "notes/b notes/c");
    assert_ok(poly_where_parse(p->nobody, poly_text("{\"team\": \"edge\"}"), &query.where, &err));
    finds_with(p->nobody, query, "notes/b");
    assert_ok(poly_where_parse(p->nobody, poly_text("{\"title\": \"x\"}"), &query.where, &err));
    assert_fails(poly_search(p->nobody, &query, &hits, &err), POLY_INVALID);
    assert_message("'title'");
}

/* Words and vectors in one order, with one condition on both sides. */
static void is_hybrid(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = {
        .domains = notes, .vector = east, .dimensions = 3, .hybrid = {.query = "tea"}};

    make(p, searched);
    put_four(p->nobody);
    wait_for_both(p);
    query.limit = 2;
    gives(p->nobody, query, "notes/b notes/c");
    query.hybrid.fusion = POLY_FUSION_WEIGHTED;
    query.hybrid.weight = 0.99;
    query.limit = 1;
    gives(p->nobody, query, "notes/a");
    query.hybrid.weight = 0.1;
    gives(p->nobody, query, "notes/b");
    assert_ok(poly_where_parse(p->nobody, poly_text("{\"team\": \"core\"}"), &query.where, &err));
    gives(p->nobody, query, "notes/c");
}

/* S0-10 */
static void walls_words(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection walled = searched;
    struct poly_vector_query query = {
        .domains = notes, .vector = east, .dimensions = 3, .hybrid = {.query = "tea"}};

    walled.tenants = true;
    make(p, walled);
    note(p->acme, "a", "{\"title\": \"Black tea\"}", "[1, 0, 0]");
    note(p->zeta, "a", "{\"title\": \"Tea of zeta\"}", "[1, 0, 0]");
    note(p->zeta, "z", "{\"title\": \"Zeta\"}", "[1, 1, 0]");
    wait_for_both(p);
    finds(p->acme, "tea", "notes/a");
    finds(p->acme, "zeta", "");
    finds(p->zeta, "zeta", "notes/z notes/a");
    gives(p->acme, query, "notes/a");
    finds_none(p->nobody, "tea", POLY_DENIED, "tenants");
}

/* The name again, for another one: nothing of the one before is found, or counted. */
static void forgets_words_when_dropped(void **state)
{
    struct place *p = *state;
    static const struct poly_collection_text other_text[] = {{"heading", 1}};
    struct poly_vector_collection other = searched;

    make(p, searched);
    put_four(p->nobody);
    wait_for_both(p);
    finds(p->nobody, "tea", "notes/b notes/c");
    assert_ok(poly_vector_drop(p->admin, "notes", &err));
    finds_none(p->nobody, "tea", POLY_NOT_FOUND, "'notes'");
    other.texts = other_text;
    other.text_count = 1;
    other.tokenizer = "trigram";
    make(p, other);
    finds(p->nobody, "bread", "");
    note(p->nobody, "n", "{\"heading\": \"Gingerbread\", \"title\": \"tea\"}", NULL);
    wait_for_both(p);
    finds(p->nobody, "bread", "notes/n");
    assert_int_equal(status_of(p, "search").documents, 1);
    open_again(p, "");
    finds(p->nobody, "bread", "notes/n");
    note(p->nobody, "m", "{\"heading\": \"Breadth\"}", NULL);
    wait_for_both(p);
    finds(p->nobody, "bread", "notes/m notes/n");
    assert_ok(poly_rebuild(p->admin, "search", NULL, &err));
    wait_for_both(p);
    finds(p->nobody, "bread", "notes/m notes/n");
    assert_int_equal(status_of(p, "search").documents, 2);
}

/* Of the embedded index: the tables of those that were dropped go with the next batch. */
static int indexes_in(const struct place *p)
{
    static const char sql[] = "SELECT count(*) FROM sqlite_master WHERE name GLOB"
                              " 'poly_search_*_text_[0-9]' AND type = 'table'";
    sqlite3_stmt *statement;
    char path[300];
    sqlite3 *db;
    int count;

    snprintf(path, sizeof(path), "%s/%s", p->fixture.data,
             strstr(p->search, "colocated") == NULL || fixture_on_server() ? "search.db"
                                                                           : "polystore.db");
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    count = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return count;
}

static void takes_out_what_was_dropped(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection other = searched;

    other.name = "others";
    make(p, searched);
    make(p, other);
    put_four(p->nobody);
    wait_for_both(p);
    assert_int_equal(indexes_in(p), 1); /* of the other one nothing has been met */
    assert_ok(poly_vector_drop(p->admin, "notes", &err));
    assert_ok(put_row(p->nobody, "others", "o", ROW({"metadata", poly_json("{}")}), POLY_ANY, NULL,
                      &err));
    wait_for_both(p);
    assert_int_equal(indexes_in(p), 1);
    /* … or with the first after a start. */
    assert_ok(poly_vector_drop(p->admin, "others", &err));
    open_again(p, "");
    make(p, searched);
    put_four(p->nobody);
    wait_for_both(p);
    assert_int_equal(indexes_in(p), 1);
    finds(p->nobody, "tea", "notes/b notes/c");
}

static long rows_of(const struct place *p, const char *name)
{
    const char *const values[] = {name};
    PGconn *conn =
        PQconnectdb(fixture_on_server() ? p->fixture.url : getenv("POLY_TEST_POSTGRESQL_URL"));
    PGresult *result = PQexecParams(conn, "SELECT count(*) FROM poly_search.domain WHERE name = $1",
                                    1, NULL, values, NULL, NULL, 0);
    long count = -1;

    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        count = strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(conn);
    return count;
}

/* Whoever starts after one was dropped has never heard of it. */
static void leaves_nothing_on_a_server(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection other = searched;

    other.name = "first";
    make(p, other);
    note_in(p->nobody, "first", "a");
    make(p, searched);
    note_in(p->nobody, "first", "b");
    wait_for_both(p);
    assert_int_equal(rows_of(p, "notes"), 1);
    assert_ok(poly_vector_drop(p->admin, "notes", &err));
    open_again(p, "");
    other.name = "second";
    make(p, other);
    note_in(p->nobody, "second", "a");
    wait_for_both(p);
    assert_int_equal(rows_of(p, "notes"), 0);
    assert_int_equal(rows_of(p, "first"), 1);
    assert_int_equal(rows_of(p, "second"), 1);
}

/* One that has no text is none of search's business; one beside it is. */
static void is_not_searched(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection plain = {.name = "notes", .dimensions = 3}, other = searched;

    make(p, plain);
    finds_none(p->nobody, "tea", POLY_INVALID, "it was made without 'text'");
    other.name = "others";
    make(p, other);
    put_four(p->nobody);
    assert_ok(put_row(p->nobody, "others", "o", ROW({"metadata", poly_json("{\"body\": \"tea\"}")}),
                      POLY_ANY, NULL, &err));
    wait_for_both(p);
    finds_with(p->nobody, (struct poly_search_query){.query = "tea"}, "others/o");
}

/* What the configuration declares is searched as before, and together with it. */
static void is_searched_beside_others(void **state)
{
    static const char declared_items[] =
        "domains:\n  items: {table: items, tenant: none, search: {fields: [title]}}\n";
    struct place *p = *state;
    struct poly_projection_status before;

    open_again(p, declared_items);
    fixture_migrate(&p->fixture);
    assert_ok(put_row(p->nobody, "items", "i", ROW({"title", poly_str("iced tea")}), POLY_ANY, NULL,
                      &err));
    wait_for_store(p, "search");
    before = status_of(p, "search");
    make(p, searched);
    put_four(p->nobody);
    wait_for_both(p);
    finds(p->nobody, "green", "notes/b notes/a");
    finds_with(p->nobody, (struct poly_search_query){.query = "iced"}, "items/i");
    open_again(p, declared_items);
    wait_for_both(p);
    finds(p->nobody, "green", "notes/b notes/a");
    assert_int_equal(status_of(p, "search").generation, before.generation);
}

/* What a collection does, a declared domain may: fields of a column with JSON. */
static void searches_in_a_column(void **state)
{
    static const char declared_items[] =
        "domains:\n  items: {table: items, tenant: none,"
        " search: {in: meta, fields: {title: 2, body: 1}, filters: [day]}}\n";
    struct place *p = *state;
    struct poly_search_query query = {.query = "tea"};

    open_again(p, declared_items);
    fixture_migrate(&p->fixture);
    assert_ok(put_row(
        p->nobody, "items", "i",
        ROW({"title", poly_str("bread")}, {"meta", poly_json("{\"title\": \"tea\", \"day\": 3}")}),
        POLY_ANY, NULL, &err));
    assert_ok(put_row(p->nobody, "items", "j",
                      ROW({"title", poly_str("tea")}, {"meta", poly_json("{\"body\": \"tea\"}")}),
                      POLY_ANY, NULL, &err));
    wait_for_store(p, "search");
    finds_with(p->nobody, query, "items/i items/j");
    query.query = "bread";
    finds_with(p->nobody, query, "");
    open_again(p, declared_items);
    query.query = "tea";
    assert_ok(poly_where_parse(p->nobody, poly_text("{\"day\": 3}"), &query.where, &err));
    finds_with(p->nobody, query, "items/i");
}

/* --- several vectors --- */

static void by_name(struct place *p, const char *name, const float *vector, size_t dimensions,
                    const char *expected)
{
    gives(p->nobody,
          (struct poly_vector_query){
              .domains = notes, .name = name, .vector = vector, .dimensions = dimensions},
          expected);
}

static void has_several_vectors(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = {.domains = notes, .vector = east, .dimensions = 3};
    struct poly_document document;

    make(p, several);
    note_two(p->nobody, "a", "[1, 0, 0]", "[9, 9]");
    note_two(p->nobody, "b", "[0, 1, 0]", "[0, 1]");
    note_two(p->nobody, "c", NULL, "[5, 5]");
    wait_for_index(p);
    by_name(p, "near", east, 3, "notes/a notes/b");
    by_name(p, "far", plane, 2, "notes/b notes/c notes/a");
    refuses(p->nobody, query, POLY_INVALID, "several vectors");
    query.name = "far";
    refuses(p->nobody, query, POLY_INVALID, "3 dimensions");
    query = (struct poly_vector_query){.domains = notes, .name = "far", .like = "a", .limit = 1};
    query.model = "m-2";
    gives(p->nobody, query, "notes/c");
    query.model = "m-1";
    refuses(p->nobody, query, POLY_INVALID, "m-1");
    assert_ok(poly_get(p->nobody, "notes", "a", &document, &err));
    assert_string_equal(field(&document.row, "far")->text.data, "[9,9]");
    open_again(p, "");
    by_name(p, "far", plane, 2, "notes/b notes/c notes/a");
    note_two(p->nobody, "b", "[1, 0, 0]", NULL);
    wait_for_index(p);
    by_name(p, "far", plane, 2, "notes/c notes/a");
    by_name(p, "near", east, 3, "notes/a notes/b");
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    wait_for_index(p);
    by_name(p, "far", plane, 2, "notes/c notes/a");
    by_name(p, "near", east, 3, "notes/a notes/b");
}

static void several_are_listed_and_dropped(void **state)
{
    struct place *p = *state;
    const struct poly_vector_collection *list;
    struct poly_vector_collection other = several;
    bool made = true;
    size_t count;

    make(p, several);
    assert_ok(poly_vector_create(p->admin, &several, &made, &err));
    assert_false(made);
    assert_ok(poly_vector_collections(p->nobody, &list, &count, &err));
    assert_int_equal(count, 1);
    assert_int_equal(list[0].vector_count, 2);
    assert_string_equal(list[0].vectors[0].metric, "cosine");
    assert_string_equal(list[0].vectors[1].name, "far");
    assert_string_equal(list[0].vectors[1].element, "f16");
    assert_string_equal(list[0].vectors[1].model, "m-2");
    assert_int_equal(list[0].vectors[1].m, 8);
    assert_int_equal(list[0].text_count, 0);
    note_two(p->nobody, "a", "[1, 0, 0]", "[9, 9]");
    wait_for_index(p);
    assert_ok(poly_vector_drop(p->admin, "notes", &err));
    other.vectors = &both[1];
    other.vector_count = 1;
    make(p, other);
    wait_for_index(p);
    by_name(p, NULL, plane, 2, "");
    assert_ok(
        put_row(p->nobody, "notes", "n", ROW({"far", poly_json("[1, 1]")}), POLY_ANY, NULL, &err));
    wait_for_index(p);
    by_name(p, "far", plane, 2, "notes/n");
    assert_int_equal(status_of(p, "vector").documents, 1);
}

/* --- change of model --- */

static void give(struct place *p, const char *name, const char *key, const float *vector,
                 size_t dimensions)
{
    const struct poly_model_vector one = {.key = key, .vector = vector, .dimensions = dimensions};
    const struct poly_model_batch batch = {.vectors = &one, .count = 1};
    struct poly_model_added added;

    assert_ok(poly_model_add(p->admin, "notes", name, &batch, &added, &err));
    assert_int_equal(added.taken, 1);
}

static void swap(struct place *p, const char *name, bool back, size_t dimensions)
{
    const struct poly_model_swap how = {.back = back};
    struct poly_model_swapped swapped;

    assert_ok(poly_model_swap(p->admin, "notes", name, &how, &swapped, &err));
    assert_int_equal(swapped.dimensions, dimensions);
    poly_session_reset(p->admin);
    wait_for_index(p);
}

static void listed(struct place *p, uint32_t dimensions, const char *model)
{
    const struct poly_vector_collection *list;
    size_t count;

    assert_ok(poly_vector_collections(p->nobody, &list, &count, &err));
    assert_int_equal(list[0].dimensions, dimensions);
    assert_string_equal(list[0].model, model);
}

/* S0-49: as of a declared domain; there after a start and a rebuild, too. */
static void changes_its_model(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection of_a_model = searched, now;
    const struct poly_model_status *status;
    struct poly_vector_query query = {.domains = notes, .vector = east, .dimensions = 3};
    struct poly_vector_query other = {.domains = notes, .vector = plane, .dimensions = 2};
    bool made = true;
    size_t count;

    of_a_model.model = "small-1";
    make(p, of_a_model);
    note(p->nobody, "a", "{\"team\": \"core\"}", "[1, 0, 0]");
    note(p->nobody, "b", "{\"team\": \"edge\"}", "[0, 1, 0]");
    note(p->nobody, "c", "{\"title\": \"tea\"}", NULL);
    assert_ok(poly_model_begin(p->admin, "notes", NULL, "large-2", 2, &err));
    give(p, NULL, "a", plane, 2);
    open_again(p, "");
    give(p, NULL, "b", (const float[]){1, 1}, 2);
    assert_ok(poly_model_status(p->admin, "notes", &status, &count, &err));
    assert_int_equal(count, 1);
    assert_int_equal(status[0].filled, 2);
    asked(p, p->nobody, query, "notes/a notes/b");
    swap(p, NULL, false, 2);
    refuses(p->nobody, query, POLY_INVALID, "it has 2");
    gives(p->nobody, other, "notes/a notes/b");
    listed(p, 2, "large-2");
    /* Wanted as it was, and as it is. */
    now = of_a_model;
    assert_ok(poly_vector_create(p->admin, &now, &made, &err));
    assert_false(made);
    now.dimensions = 2;
    now.model = "large-2";
    made = true;
    assert_ok(poly_vector_create(p->admin, &now, &made, &err));
    assert_false(made);
    open_again(p, "");
    asked(p, p->nobody, other, "notes/a notes/b");
    listed(p, 2, "large-2");
    note(p->nobody, "d", "{\"team\": \"core\"}", "[2, 1]");
    asked(p, p->nobody, other, "notes/a notes/b notes/d");
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    asked(p, p->nobody, other, "notes/a notes/b notes/d");
    assert_ok(remove_row(p->nobody, "notes", "d", POLY_ANY, &err));
    swap(p, NULL, true, 3);
    gives(p->nobody, query, "notes/a notes/b");
    assert_ok(poly_model_abandon(p->admin, "notes", NULL, &err));
    open_again(p, "");
    asked(p, p->nobody, query, "notes/a notes/b");
    listed(p, 3, "small-1");
}

static void changes_one_of_several_models(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection again = several;

    make(p, several);
    note_two(p->nobody, "a", "[1, 0, 0]", "[9, 9]");
    note_two(p->nobody, "b", "[0, 1, 0]", "[0, 1]");
    assert_fails(poly_model_begin(p->admin, "notes", NULL, "m-3", 3, &err), POLY_INVALID);
    assert_ok(poly_model_begin(p->admin, "notes", "far", "m-3", 3, &err));
    give(p, "far", "a", east, 3);
    give(p, "far", "b", (const float[]){4, 0, 0}, 3);
    swap(p, "far", false, 3);
    by_name(p, "near", east, 3, "notes/a notes/b");
    by_name(p, "far", (const float[]){5, 0, 0}, 3, "notes/b notes/a");
    open_again(p, "");
    wait_for_index(p);
    by_name(p, "far", (const float[]){5, 0, 0}, 3, "notes/b notes/a");
    /* The next of its name begins with nothing of that. */
    assert_ok(poly_vector_drop(p->admin, "notes", &err));
    make(p, again);
    note_two(p->nobody, "n", "[1, 0, 0]", "[0, 1]");
    wait_for_index(p);
    by_name(p, "far", plane, 2, "notes/n");
    assert_ok(poly_model_begin(p->admin, "notes", "far", "m-3", 1, &err));
    give(p, "far", "n", (const float[]){7}, 1);
    swap(p, "far", false, 1);
    by_name(p, "far", (const float[]){7}, 1, "notes/n");
    open_again(p, "");
    wait_for_index(p);
    by_name(p, "far", (const float[]){7}, 1, "notes/n");
    by_name(p, "near", east, 3, "notes/n");
}

/* --- what is refused --- */

static void refused(struct place *p, struct poly_vector_collection collection, const char *message)
{
    bool made = true;

    collection.name = "notes";
    assert_fails(poly_vector_create(p->admin, &collection, &made, &err), POLY_INVALID);
    assert_message(message);
    assert_true(made);
}

static void refuses_wrong_shapes(void **state)
{
    struct place *p = *state;
    static const struct poly_collection_vector names[][2] = {
        {{.name = "a", .dimensions = 2}, {.name = "a", .dimensions = 2}},
        {{.name = "a", .dimensions = 2}, {.name = "metadata", .dimensions = 2}},
        {{.name = "a", .dimensions = 2}, {.name = "ctid", .dimensions = 2}},
        {{.name = "a", .dimensions = 2}, {.name = "poly_b", .dimensions = 2}},
        {{.name = "a", .dimensions = 2}, {.name = "B", .dimensions = 2}},
        {{.name = "a", .dimensions = 2}, {.name = NULL, .dimensions = 2}},
        {{.name = "a", .dimensions = 2}, {.name = "b"}},
        {{.name = "a", .dimensions = 2}, {.name = "b", .dimensions = 2, .m = 101}},
    };
    static const char *const messages[] = {
        "vectors.a: is there twice",
        "vectors.metadata: that is the name of another column",
        "vectors.ctid: that is the name",
        "vectors.poly_b: that is the name",
        "vectors.B",
        "a vector has no name",
        "vectors.b: vector needs 'dimen",
        "vectors.b.m: 101 is too much",
    };
    static const struct poly_collection_text odd[] = {{"two words", 1}}, heavy[] = {{"a", 5000}},
                                             nameless[] = {{NULL, 1}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        refused(p, (struct poly_vector_collection){.vectors = names[i], .vector_count = 2},
                messages[i]);
    refused(p, (struct poly_vector_collection){.vectors = both, .vector_count = 2, .dimensions = 3},
            "one vector and several");
    refused(p, (struct poly_vector_collection){.vectors = both}, "has no vector");
    refused(p, (struct poly_vector_collection){.dimensions = 3, .texts = odd, .text_count = 1},
            "'two words'");
    refused(p, (struct poly_vector_collection){.dimensions = 3, .texts = heavy, .text_count = 1},
            "is no weight of 'a'");
    refused(p, (struct poly_vector_collection){.dimensions = 3, .texts = nameless, .text_count = 1},
            "a text has no field");
    refused(p, (struct poly_vector_collection){.dimensions = 3, .language = "none"},
            "name its fields");
    refused(p,
            (struct poly_vector_collection){
                .dimensions = 3, .texts = texts, .text_count = 2, .tokenizer = "letters"},
            "search.tokenizer");
}

/* A view reads what is declared; it says so. */
static void is_read_by_no_view(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection plain = {.name = "notes", .dimensions = 3};
    struct poly_status_report report;
    bool said = false;

    make(p, plain);
    open_again(p, "views: {ids: {query: 'SELECT id FROM notes', key: [id]}}\n");
    for (int i = 0; i < 1000 && !said; i++) {
        assert_ok(poly_status_read(p->admin, &report, &err));
        assert_int_equal(report.view_count, 1);
        said = report.views[0].error.size > 0;
        if (said)
            assert_non_null(strstr(report.views[0].error.data, "which is a collection"));
        poly_session_reset(p->admin);
        usleep(10000);
    }
    assert_true(said);
}

/* Rows that an earlier version has written are found by their text. */
static void is_defined_as_ever(void **state)
{
    static const char as_ever[] =
        "{\"domains\":{\"notes\":{\"table\":\"notes\",\"tenant\":\"tenant\",\"vector\":{\"field\":"
        "\"embedding\",\"filters_in\":\"metadata\",\"dimensions\":3,\"metric\":\"cosine\","
        "\"element\":\"f32\",\"m\":16,\"ef_construction\":64,\"ef\":64,\"model\":\"m 1\","
        "\"filters\":[\"team\",\"day\"]}}}}";
    const struct poly_vector_collection plain = {.name = "notes",
                                                 .dimensions = 3,
                                                 .model = "m 1",
                                                 .filters = fields,
                                                 .filter_count = 2,
                                                 .tenants = true};
    struct poly_arena *arena = poly_arena_new(1 << 20);
    struct poly_config *config;
    const char *definition;

    (void)state;
    assert_ok(poly_collection_define(&plain, arena, &definition, &config, &err));
    assert_string_equal(definition, as_ever);
    poly_config_free(config);
    poly_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(is_searched),
        BOTH(filters_words_by_metadata),
        BOTH(is_hybrid),
        BOTH(walls_words),
        BOTH(forgets_words_when_dropped),
        BOTH(takes_out_what_was_dropped),
        BOTH(is_not_searched),
        BOTH(is_searched_beside_others),
        BOTH(searches_in_a_column),
        BOTH(has_several_vectors),
        BOTH(several_are_listed_and_dropped),
        BOTH(changes_its_model),
        BOTH(changes_one_of_several_models),
        BOTH(refuses_wrong_shapes),
        BOTH(is_read_by_no_view),
        cmocka_unit_test(is_defined_as_ever),
    };
    const struct CMUnitTest served[] = {
        SERVED(is_searched),
        SERVED(filters_words_by_metadata),
        SERVED(is_hybrid),
        SERVED(walls_words),
        SERVED(forgets_words_when_dropped),
        SERVED(leaves_nothing_on_a_server),
        SERVED(is_not_searched),
        SERVED(is_searched_beside_others),
        SERVED(searches_in_a_column),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    if (getenv("POLY_TEST_POSTGRESQL_URL") != NULL)
        failed += cmocka_run_group_tests(served, NULL, NULL);
    return failed;
}
