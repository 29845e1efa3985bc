/*
 * Collections: domains for records with a vector that are made by the API, in each placement of the
 * vector store (S0-05, S3-38 to S3-41). Nothing is declared: the first one opens the store.
 */
#include "collection_place.h"

static const float east[] = {1, 0, 0}, north[] = {0, 1, 0};
static const char *const notes[] = {"notes", NULL};
static const char *const fields[] = {"team", "day"};
static const struct poly_vector_collection plain = {
    .name = "notes", .dimensions = 3, .filters = fields, .filter_count = 2};

#define DECLARED                                                                                   \
    "domains:\n"                                                                                   \
    "  items: {table: items, tenant: none, vector: {field: embedding, dimensions: 4}}\n"           \
    "  happenings: {stream: happening, tenant: session}\n"

static void note(struct poly_session *s, const char *domain, const char *key, const char *metadata,
                 const char *vector)
{
    assert_ok(put_row(s, domain, key,
                      ROW({"metadata", metadata == NULL ? poly_null() : poly_json(metadata)},
                          {"embedding", vector == NULL ? poly_null() : poly_json(vector)}),
                      POLY_ANY, NULL, &err));
}

static void put_four(struct poly_session *s)
{
    note(s, "notes", "a", "{\"team\": \"core\", \"day\": 3}", "[1, 0, 0]");
    note(s, "notes", "b", "{\"team\": \"edge\", \"day\": 4}", "[3, 1, 0]");
    note(s, "notes", "c", "{\"team\": \"core\", \"day\": 9, \"more\": [1, 2]}", "[1, 1, 0]");
    note(s, "notes", "d", NULL, "[0, 1, 0]");
}

/* What a search sees of it: with the token of the last write that the session made. */
static struct poly_vector_query ask(const float *vector)
{
    return (struct poly_vector_query){.domains = notes, .vector = vector, .dimensions = 3};
}

static void condition(struct place *p, const char *json, const char *expected)
{
    struct poly_vector_query query = ask(east);

    assert_ok(poly_where_parse(p->nobody, poly_text(json), &query.where, &err));
    gives(p->nobody, query, expected);
}

/* S3-38: made, written, read and searched like a declared domain. */
static void is_a_domain(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = ask(east);
    struct poly_document document;
    struct poly_matches matches;

    refuses(p->nobody, query, POLY_NOT_FOUND, "'notes'");
    make(p, plain);
    asked(p, p->nobody, query, "");
    put_four(p->nobody);
    asked(p, p->nobody, query, "notes/a notes/b notes/c notes/d");
    assert_ok(poly_get(p->nobody, "notes", "c", &document, &err));
    assert_string_equal(field(&document.row, "embedding")->text.data, "[1,1,0]");
    assert_int_equal(field(&document.row, "metadata")->type, POLY_JSON);
    query.rows = true;
    query.limit = 1;
    assert_ok(poly_vector_search(p->nobody, &query, &matches, &err));
    assert_string_equal(field(&matches.matches[0].row, "id")->text.data, "a");
    assert_ok(poly_get(p->nobody, "notes", "a", &document, &err));
    assert_int_equal(matches.matches[0].version, document.version);
    assert_ok(remove_row(p->nobody, "notes", "a", (int64_t)document.version, &err));
    query = (struct poly_vector_query){.domains = notes, .like = "b"};
    asked(p, p->nobody, query, "notes/c notes/d");
    query.like = "a";
    refuses(p->nobody, query, POLY_NOT_FOUND, "'a'");
    assert_fails(put_row(p->nobody, "notes", "x", ROW({"embedding", poly_json("[1, 2]")}), POLY_ANY,
                         NULL, &err),
                 POLY_INVALID);
    assert_fails(put_row(p->nobody, "notes", "x", ROW({"embedding", poly_json("[0, 0, 0]")}),
                         POLY_ANY, NULL, &err),
                 POLY_INVALID);
}

/* S3-41: conditions on fields of the metadata, before the nearest are chosen. */
static void filters_by_metadata(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = ask(east);

    make(p, plain);
    put_four(p->nobody);
    wait_for_index(p);
    condition(p, "{\"team\": \"core\"}", "notes/a notes/c");
    condition(p, "{\"day\": {\">\": 3}}", "notes/b notes/c");
    condition(p, "{\"team\": \"core\", \"day\": {\">\": 3}}", "notes/c");
    condition(p, "{\"team\": {\"null\": true}}", "notes/d");
    condition(p, "{\"not\": {\"team\": \"core\"}}", "notes/b");
    query.group = "team";
    gives(p->nobody, query, "notes/a notes/b notes/d");
    assert_ok(poly_where_parse(p->nobody, poly_text("{\"more\": 1}"), &query.where, &err));
    refuses(p->nobody, query, POLY_INVALID, "'more'");
    note(p->nobody, "notes", "a", "\"no object\"", "[1, 0, 0]");
    wait_for_index(p);
    condition(p, "{\"team\": \"core\"}", "notes/c");
    condition(p, "{\"team\": {\"null\": true}}", "notes/a notes/d");
}

/* S0-10 */
static void walls_tenants(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection walled = plain;
    struct poly_vector_query query = ask(north);
    struct poly_document document;

    walled.tenants = true;
    make(p, walled);
    note(p->acme, "notes", "a", NULL, "[1, 0, 0]");
    note(p->zeta, "notes", "a", NULL, "[0, 1, 0]");
    note(p->zeta, "notes", "z", NULL, "[0, 1, 1]");
    asked(p, p->acme, query, "notes/a");
    gives(p->zeta, query, "notes/a notes/z");
    refuses(p->nobody, query, POLY_DENIED, "tenants");
    assert_fails(poly_get(p->acme, "notes", "z", &document, &err), POLY_NOT_FOUND);
    assert_ok(poly_get(p->acme, "notes", "a", &document, &err));
    assert_string_equal(field(&document.row, "embedding")->text.data, "[1,0,0]");
}

static void same(struct place *p, struct poly_vector_collection collection)
{
    bool made = true;

    assert_ok(poly_vector_create(p->admin, &collection, &made, &err));
    assert_false(made);
}

static void refused(struct place *p, struct poly_vector_collection collection,
                    enum poly_status status, const char *message)
{
    bool made = true;

    assert_fails(poly_vector_create(p->admin, &collection, &made, &err), status);
    assert_message(message);
    assert_true(made); /* untouched */
}

static void is_made_once(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection other = plain, full = plain;

    make(p, plain);
    note(p->nobody, "notes", "a", NULL, "[1, 0, 0]");
    same(p, plain);
    full.metric = "cosine";
    full.element = "f32";
    full.m = 16;
    full.ef_construction = full.ef = 64;
    same(p, full);
    other.dimensions = 4;
    refused(p, other, POLY_CONFLICT, "another definition");
    other = plain;
    other.filter_count = 1;
    refused(p, other, POLY_CONFLICT, "another definition");
    other = plain;
    other.tenants = true;
    refused(p, other, POLY_CONFLICT, "another definition");
    asked(p, p->nobody, ask(east), "notes/a");
}

/* Is the server's pgvector older than 0.7, which brought halves and distances of bits? */
static bool is_narrow(const struct place *p)
{
    PGconn *server;
    PGresult *result;
    bool narrow;

    if (p->server == NULL)
        return false;
    server = PQconnectdb(getenv("POLY_TEST_POSTGRESQL_ADMIN_URL"));
    result = PQexec(server, "SELECT split_part(extversion, '.', 2)::int < 7 FROM pg_extension"
                            " WHERE extname = 'vector'");
    assert_int_equal(PQntuples(result), 1);
    narrow = *PQgetvalue(result, 0, 0) == 't';
    PQclear(result);
    PQfinish(server);
    return narrow;
}

/* What its server lacks is refused before anything is made, and the store goes on. */
static void has_elements_of_its_server(void **state)
{
    static const struct poly_vector_collection halves = {
        .name = "halves", .dimensions = 3, .element = "f16"};
    static const struct poly_vector_collection bits = {
        .name = "bits", .dimensions = 3, .element = "binary", .metric = "hamming"};
    struct place *p = *state;
    const struct poly_vector_collection *list;
    size_t count;

    if (is_narrow(p)) {
        assert_fails(poly_vector_create(p->admin, &halves, NULL, &err), POLY_UNSUPPORTED);
        assert_message("pgvector 0.7");
        assert_fails(poly_vector_create(p->admin, &bits, NULL, &err), POLY_UNSUPPORTED);
    } else {
        make(p, halves);
        make(p, bits);
    }
    make(p, plain);
    put_four(p->nobody);
    asked(p, p->nobody, ask(east), "notes/a notes/b notes/c notes/d");
    assert_ok(poly_vector_collections(p->admin, &list, &count, &err));
    assert_int_equal(count, is_narrow(p) ? 1 : 3);
}

static void refuses_wrong_definitions(void **state)
{
    struct place *p = *state;
    static const char *const bad_filter[] = {"two words"};
    static const struct {
        struct poly_vector_collection collection;
        const char *message;
    } wrong[] = {
        {{.name = "Notes", .dimensions = 3}, "collection 'Notes': no name"},
        {{.name = "9", .dimensions = 3}, "no name"},
        {{.name = "a\"b", .dimensions = 3}, "no name"},
        {{.name = "poly_notes", .dimensions = 3}, "reserved"},
        {{.name = "", .dimensions = 3}, "1 to 48 bytes"},
        {{.name = NULL, .dimensions = 3}, "1 to 48 bytes"},
        {{.name = "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghi", .dimensions = 3},
         "1 to 48 bytes"},
        {{.name = "notes"}, "needs 'dimensions'"},
        {{.name = "notes", .dimensions = 16001}, "collection 'notes': vector.dimensions: 16001"},
        {{.name = "notes", .dimensions = 3, .metric = "far"}, "vector.metric: "},
        {{.name = "notes", .dimensions = 3, .metric = "hamming"}, "'binary'"},
        {{.name = "notes", .dimensions = 3, .element = "f8"}, "vector.element: "},
        {{.name = "notes", .dimensions = 3, .m = 1}, "vector.m: 1 is too little"},
        {{.name = "notes", .dimensions = 3, .ef = 100000}, "vector.ef: 100000 is too much"},
        {{.name = "notes", .dimensions = 3, .filters = bad_filter, .filter_count = 1},
         "vector.filters"},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        refused(p, wrong[i].collection, POLY_INVALID, wrong[i].message);
    assert_fails(poly_vector_create(p->nobody, &plain, NULL, &err), POLY_DENIED);
    assert_fails(poly_vector_drop(p->nobody, "notes", &err), POLY_DENIED);
    assert_fails(poly_vector_drop(p->admin, "notes", &err), POLY_NOT_FOUND);
}

/* What the configuration has, a table, a stream: the name is taken. */
static void takes_no_name_that_is_used(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection collection = {.dimensions = 3};
    struct poly_event event = {.type = "Happened", .data = poly_json("{}")};
    struct poly_txn *txn;

    open_again(p, DECLARED);
    fixture_migrate(&p->fixture);
    collection.name = "items";
    refused(p, collection, POLY_CONFLICT, "domain of the configuration");
    assert_fails(poly_vector_drop(p->admin, "items", &err), POLY_CONFLICT);
    collection.name = "happening";
    refused(p, collection, POLY_CONFLICT, "stream of the domain 'happenings'");
    collection.name = "cases"; /* a table that no domain has */
    refused(p, collection, POLY_CONFLICT, "table 'cases'");
    assert_ok(poly_txn_begin(p->nobody, NULL, &txn, &err));
    assert_ok(poly_append(txn, "note-1", POLY_ANY, &event, 1, &err));
    assert_ok(poly_txn_commit(txn, NULL, &err));
    collection.name = "note";
    refused(p, collection, POLY_CONFLICT, "events of a stream 'note'");
    /* And the other way round. */
    make(p, plain);
    assert_ok(poly_txn_begin(p->nobody, NULL, &txn, &err));
    assert_fails(poly_append(txn, "notes-1", POLY_ANY, &event, 1, &err), POLY_INVALID);
    poly_txn_abort(txn);
}

/* A new one is taken up by the index that there is: that of others is not built anew. */
static void leaves_others_alone(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = {.domains = items, .vector = east, .dimensions = 4};
    static const float four[] = {1, 0, 0, 0};
    struct poly_projection_status before, after;

    query.vector = four;
    open_again(p, DECLARED);
    fixture_migrate(&p->fixture);
    put_item(p->nobody, "a", "", "", 0, "[1, 0, 0, 0]");
    asked(p, p->nobody, query, "items/a");
    before = status_of(p, "vector");
    make(p, plain);
    put_four(p->nobody);
    asked(p, p->nobody, ask(east), "notes/a notes/b notes/c notes/d");
    gives(p->nobody, query, "items/a");
    open_again(p, DECLARED);
    asked(p, p->nobody, ask(east), "notes/a notes/b notes/c notes/d");
    gives(p->nobody, query, "items/a");
    after = status_of(p, "vector");
    assert_int_equal(after.generation, before.generation);
    assert_int_equal(after.building, 0);
}

/* S2-29: it is there after a start, as it was. */
static void survives_a_start(void **state)
{
    struct place *p = *state;
    const struct poly_vector_collection *list;
    size_t count;

    make(p, plain);
    put_four(p->nobody);
    open_again(p, "");
    asked(p, p->nobody, ask(east), "notes/a notes/b notes/c notes/d");
    condition(p, "{\"team\": \"core\"}", "notes/a notes/c");
    same(p, plain);
    assert_ok(poly_vector_collections(p->nobody, &list, &count, &err));
    assert_int_equal(count, 1);
    assert_string_equal(list[0].name, "notes");
    assert_string_equal(list[0].metric, "cosine");
    assert_int_equal(list[0].dimensions, 3);
    assert_int_equal(list[0].filter_count, 2);
    assert_string_equal(list[0].filters[1], "day");
    note(p->nobody, "notes", "e", NULL, "[1, 0, 0]");
    asked(p, p->nobody, ask(east), "notes/a notes/e notes/b notes/c notes/d");
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    asked(p, p->nobody, ask(east), "notes/a notes/e notes/b notes/c notes/d");
}

/* The name is free again, and what the log has of the one before is not the new one's. */
static void is_dropped(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection other = plain;
    struct poly_vector_query query = ask(east);
    static const float two[] = {1, 1};
    struct poly_document document;
    const struct poly_vector_collection *list;
    size_t count;

    make(p, plain);
    put_four(p->nobody);
    asked(p, p->nobody, query, "notes/a notes/b notes/c notes/d");
    assert_ok(poly_vector_drop(p->admin, "notes", &err));
    refuses(p->nobody, query, POLY_NOT_FOUND, "'notes'");
    assert_fails(poly_get(p->nobody, "notes", "a", &document, &err), POLY_NOT_FOUND);
    assert_fails(
        put_row(p->nobody, "notes", "a", ROW({"metadata", poly_json("{}")}), POLY_ANY, NULL, &err),
        POLY_NOT_FOUND);
    assert_ok(poly_vector_collections(p->nobody, &list, &count, &err));
    assert_int_equal(count, 0);
    assert_fails(poly_vector_drop(p->admin, "notes", &err), POLY_NOT_FOUND);
    other.dimensions = 2;
    make(p, other);
    query.vector = two;
    query.dimensions = 2;
    asked(p, p->nobody, query, "");
    note(p->nobody, "notes", "n", NULL, "[1, 2]");
    asked(p, p->nobody, query, "notes/n");
    open_again(p, "");
    asked(p, p->nobody, query, "notes/n");
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    asked(p, p->nobody, query, "notes/n");
    assert_int_equal(status_of(p, "vector").documents, 1);
}

static bool add_type(void *arg, const struct poly_record *record)
{
    char *types = arg;

    snprintf(types + strlen(types), 64 - strlen(types), "%.*s ", (int)record->type.size,
             record->type.data);
    return true;
}

/* The log has its records, and a subscription gets them; a transaction has them all or none. */
static void writes_the_log(void **state)
{
    struct place *p = *state;
    struct poly_log_query query = {.domains = notes};
    char types[64] = "";
    struct poly_txn *txn;
    struct poly_row row = *ROW({"embedding", poly_json("[1, 0, 0]")});

    make(p, plain);
    assert_ok(poly_txn_begin(p->nobody, NULL, &txn, &err));
    assert_ok(poly_put(txn, "notes", "a", &row, POLY_ANY, &err));
    assert_ok(poly_put(txn, "notes", "b", &row, POLY_ANY, &err));
    assert_ok(poly_delete(txn, "notes", "none", 7, &err));
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_NOT_FOUND);
    asked(p, p->nobody, ask(east), "");
    note(p->nobody, "notes", "a", NULL, "[1, 0, 0]");
    assert_ok(poly_vector_drop(p->admin, "notes", &err));
    (void)fixture_head(&p->fixture);
    assert_ok(poly_log_read(p->nobody, &query, add_type, types, NULL, &err));
    assert_string_equal(types, "$put $delete ");
}

/* Nothing is written between. An owner whose log then ends where it did says there what was
 * dropped, so that whoever follows can tell one from the other. */
static void is_made_again(void **state)
{
    struct place *p = *state;
    struct poly_log_query query = {.domains = notes};
    struct poly_vector_collection other = plain;
    char types[64] = "";

    other.dimensions = 2;
    for (int i = 0; i < 2; i++) {
        make(p, plain);
        assert_ok(poly_vector_drop(p->admin, "notes", &err));
        make(p, other);
        assert_ok(poly_vector_drop(p->admin, "notes", &err));
    }
    make(p, plain);
    put_four(p->nobody);
    asked(p, p->nobody, ask(east), "notes/a notes/b notes/c notes/d");
    assert_ok(poly_log_read(p->nobody, &query, add_type, types, NULL, &err));
    assert_string_equal(types, fixture_on_server()
                                   ? "$put $put $put $put "
                                   : "$delete $delete $delete $delete $put $put $put $put ");
}

/* It is of the model that it was made with, not of the one that an earlier one had in the end. */
static void forgets_models_when_dropped(void **state)
{
    struct place *p = *state;
    const struct poly_model_swap how = {.back = false};
    struct poly_vector_collection collection = plain;
    const struct poly_vector_collection *list;
    struct poly_model_swapped swapped;
    size_t count;

    collection.model = "small-1";
    make(p, collection);
    assert_ok(poly_model_begin(p->admin, "notes", NULL, "small-2", 2, &err));
    assert_ok(poly_model_swap(p->admin, "notes", NULL, &how, &swapped, &err));
    assert_ok(poly_vector_drop(p->admin, "notes", &err));
    make(p, collection);
    assert_ok(poly_vector_collections(p->admin, &list, &count, &err));
    assert_int_equal(count, 1);
    assert_string_equal(list[0].model, "small-1");
    note(p->nobody, "notes", "a", NULL, "[1, 0, 0]");
    asked(p, p->nobody, ask(east), "notes/a");
}

static size_t puts_of(struct place *p, const char *domain)
{
    const char *const one[] = {domain, NULL};
    struct poly_log_query query = {.domains = one};
    char types[64] = "";
    size_t count = 0;

    assert_ok(poly_log_read(p->nobody, &query, add_type, types, NULL, &err));
    for (const char *at = types; (at = strstr(at, "$put")) != NULL; at++)
        count++;
    return count;
}

/* What others write is in the log whoever comes and goes, also when nothing is read anew after. */
static void leaves_triggers_alone(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection first = plain, second = plain;

    first.name = "first";
    second.name = "second";
    open_again(p, DECLARED);
    fixture_migrate(&p->fixture);
    make(p, first);
    make(p, second);
    put_item(p->nobody, "a", "", "", 0, "[1, 0, 0, 0]");
    note(p->nobody, "first", "a", NULL, "[1, 0, 0]");
    assert_ok(poly_vector_drop(p->admin, "second", &err));
    put_item(p->nobody, "b", "", "", 0, "[1, 0, 0, 0]");
    note(p->nobody, "first", "b", NULL, "[1, 0, 0]");
    make(p, plain);
    put_item(p->nobody, "c", "", "", 0, "[1, 0, 0, 0]");
    note(p->nobody, "first", "c", NULL, "[1, 0, 0]");
    note(p->nobody, "notes", "c", NULL, "[1, 0, 0]");
    (void)fixture_head(&p->fixture);
    assert_int_equal(puts_of(p, "items"), 3);
    assert_int_equal(puts_of(p, "first"), 3);
    assert_int_equal(puts_of(p, "notes"), 1);
}

/* S0-49: under the model's name only; what cannot be is said. */
static void keeps_its_model(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection collection = plain;
    struct poly_vector_query query = ask(east);

    collection.model = "small-1";
    make(p, collection);
    note(p->nobody, "notes", "a", NULL, "[1, 0, 0]");
    query.model = "small-1";
    asked(p, p->nobody, query, "notes/a");
    query.model = "small-2";
    refuses(p->nobody, query, POLY_INVALID, "small-2");
    assert_fails(poly_model_begin(p->admin, "notes", NULL, "small-1", 4, &err), POLY_INVALID);
    assert_message("already");
}

/* Many, and no more. */
static void has_a_limit(void **state)
{
    struct place *p = *state;
    struct poly_vector_collection one = {.dimensions = 2};
    char name[16];

    if (getenv("POLY_TEST_LONG") == NULL)
        skip();
    for (int i = 0; i < 256; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        one.name = name;
        make(p, one);
    }
    one.name = "over";
    refused(p, one, POLY_LIMIT, "256");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(is_a_domain),
        BOTH(filters_by_metadata),
        BOTH(walls_tenants),
        BOTH(is_made_once),
        BOTH(has_elements_of_its_server),
        BOTH(refuses_wrong_definitions),
        BOTH(takes_no_name_that_is_used),
        BOTH(leaves_others_alone),
        BOTH(survives_a_start),
        BOTH(is_dropped),
        BOTH(is_made_again),
        BOTH(forgets_models_when_dropped),
        BOTH(writes_the_log),
        BOTH(leaves_triggers_alone),
        BOTH(keeps_its_model),
        BOTH(has_a_limit),
    };

    return run_each("collection", tests, sizeof(tests) / sizeof(*tests));
}
