/* The search drivers: what becomes a document, and exactly once. */
#include "search_place.h"

/* --- documents --- */

/* S3-19 */
static void puts_changes_deletes(void **state)
{
    struct place *p = *state;

    assert_int_equal(applied(p, 1), 0);
    finds(p, PACKAGES("shell"), "(0)");
    put(p, 1, "", "packages", "bash", "{\"name\":\"bash\",\"summary\":\"a shell\"}");
    put(p, 2, "", "packages", "zsh", "{\"name\":\"zsh\",\"summary\":\"shell with more\"}");
    finds(p, PACKAGES("shell"), "packages/bash packages/zsh (2)");
    finds(p, PACKAGES("shells"), "packages/bash packages/zsh (2)");
    finds(p, PACKAGES("shell -more"), "packages/bash (1)");
    put(p, 3, "", "packages", "bash", "{\"name\":\"bash\",\"summary\":\"an interpreter\"}");
    finds(p, PACKAGES("shell"), "packages/zsh (1)");
    finds(p, PACKAGES("interpret"), "packages/bash (1)");
    put(p, 4, "", "packages", "zsh", NULL);
    finds(p, PACKAGES("shell"), "(0)");
    put(p, 5, "", "packages", "zsh", "{\"name\":\"zsh\",\"summary\":\"again\"}");
    finds(p, PACKAGES("again"), "packages/zsh (1)");
    assert_int_equal(applied(p, 1), 5);
    assert_int_equal(count(p, 1), 2);
}

/* {"title": "w0 w1 … LAST", "status": STATUS}; until the next one. */
static const char *long_text(const char *last, const char *status)
{
    enum { LONG = 4000 };
    static char text[LONG * 6 + 100];
    size_t used = (size_t)snprintf(text, sizeof(text), "{\"title\":\"");

    for (int i = 0; i < LONG; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "w%d ", i);
    snprintf(text + used, sizeof(text) - used, "%s\",\"status\":\"%s\"}", last, status);
    return text;
}

/* What the index of words holds: its segments, or its pages. */
static int64_t written(struct place *p)
{
    return number(p,
                  "SELECT sum(id % 1000003) + 1000003 * sum(length(block))"
                  " FROM poly_search_1_text_2_data",
                  "SELECT pg_relation_size('poly_search.documents_1_words')");
}

/* A change of what is not searched costs no work on the index of words. */
static void the_same_text_is_indexed_once(void **state)
{
    struct place *p = *state;
    int64_t before;

    put(p, 1, "t1", "incidents", "a", long_text("first", "open"));
    before = written(p);
    for (uint64_t i = 2; i < 10; i++)
        put(p, i, "t1", "incidents", "a", long_text("first", i % 2 == 0 ? "done" : "open"));
    assert_int_equal(written(p), before);
    finds(p, INCIDENTS("t1", "first"), "incidents/a (1)");
    assert_int_equal(applied(p, 1), 9);
    /* The control: another text is work. */
    put(p, 10, "t1", "incidents", "a", long_text("second", "open"));
    put(p, 11, "t1", "incidents", "a", long_text("third", "open"));
    assert_int_not_equal(written(p), before);
    finds(p, INCIDENTS("t1", "first"), "(0)");
    finds(p, INCIDENTS("t1", "third"), "incidents/a (1)");
    /* Away and back within a batch is the same text as well. */
    const struct poly_record both[] = {
        record(12, "t1", "incidents", "a", NULL),
        record(13, "t1", "incidents", "a", long_text("third", "done"))};

    before = written(p);
    assert_ok(apply_to(p, 1, both, 2, 13));
    assert_int_equal(written(p), before);
    finds(p, INCIDENTS("t1", "third"), "incidents/a (1)");
    assert_int_equal(count(p, 1), 1);
}

static void survives_reopening(void **state)
{
    struct place *p = *state;

    put(p, 7, "", "packages", "bash", "{\"name\":\"bash\",\"summary\":\"a shell\"}");
    close_place(p);
    open_place(p);
    prepare(p, 1);
    assert_int_equal(applied(p, 1), 7);
    finds(p, PACKAGES("shell"), "packages/bash (1)");
}

/* A file that is no database any more is put aside, and the index begins anew. */
static void damaged_file_is_put_aside(void **state)
{
    struct place *p = *state;
    char path[128], other[160];
    FILE *file;

    put(p, 1, "", "packages", "a", "{\"name\":\"word\"}");
    close_place(p);
    if (p->follower) {
        snprintf(path, sizeof(path), "%s/search.db", p->folder);
        file = fopen(path, "r+");
        assert_non_null(file);
        for (int i = 0; i < 200; i++)
            fputs("not a database ", file);
        fclose(file);
    }
    open_place(p);
    prepare(p, 1);
    assert_int_equal(applied(p, 1), p->follower ? 0 : 1);
    if (p->follower) {
        snprintf(other, sizeof(other), "%s.damaged", path);
        assert_int_equal(access(other, F_OK), 0);
        put(p, 1, "", "packages", "a", "{\"name\":\"word\"}");
    }
    finds(p, PACKAGES("word"), "packages/a (1)");
}

static void one_batch_many_changes(void **state)
{
    struct place *p = *state;
    const struct poly_record records[] = {
        record(1, "", "packages", "a", "{\"name\":\"first\"}"),
        record(2, "", "packages", "b", "{\"name\":\"first\"}"),
        record(3, "", "packages", "a", "{\"name\":\"second\"}"),
        record(4, "", "packages", "b", NULL),
        record(5, "", "packages", "c", NULL),
        record(6, "", "silent", "x", "{\"name\":\"first\"}"),
        record(7, "", "packages", "d", "{\"name\":\"second\"}"),
        record(8, "", "packages", "d", NULL),
        record(9, "", "packages", "d", "{\"name\":\"third\"}"),
    };

    assert_ok(apply_to(p, 1, records, 9, 20));
    assert_int_equal(applied(p, 1), 20);
    finds(p, PACKAGES("first"), "(0)");
    finds(p, PACKAGES("second OR third"), "packages/a packages/d (2)");
    assert_int_equal(count(p, 1), 2);
    assert_ok(apply_to(p, 1, NULL, 0, 30));
    assert_int_equal(applied(p, 1), 30);
}

static void wants_what_is_searchable(void **state)
{
    struct place *p = *state;

    assert_true(driver->wants(p->store, poly_text("packages")));
    assert_true(driver->wants(p->store, poly_text("order")));
    assert_false(driver->wants(p->store, poly_text("orders")));
    assert_false(driver->wants(p->store, poly_text("silent")));
    assert_false(driver->wants(p->store, poly_text("pack")));
}

/* --- exactly once --- */

static void forget_position(struct place *p)
{
    meddle(p, "UPDATE poly_search_1_state SET applied=0",
           "UPDATE poly_search.generation SET applied=0");
}

static void redelivery_has_no_effect(void **state)
{
    struct place *p = *state;
    const struct poly_record records[] = {
        record(1, "", "packages", "a", "{\"name\":\"one\"}"),
        record(2, "", "packages", "a", "{\"name\":\"two\"}"),
        record(3, "", "packages", "b", "{\"name\":\"two\"}"),
        record(4, "", "packages", "b", NULL),
    };

    assert_ok(apply_to(p, 1, records, 4, 4));
    assert_ok(apply_to(p, 1, records, 4, 4));
    assert_ok(apply_to(p, 1, records, 2, 2));
    assert_int_equal(applied(p, 1), 4);
    assert_int_equal(count(p, 1), 1);
    finds(p, PACKAGES("one OR two"), "packages/a (1)");
    /* Without the position, the documents' versions hold. */
    forget_position(p);
    assert_ok(apply_to(p, 1, records, 3, 3));
    assert_int_equal(count(p, 1), 1);
    finds(p, PACKAGES("two"), "packages/a (1)");
    finds(p, PACKAGES("one"), "(0)");
}

static void late_change_stays_out(void **state)
{
    struct place *p = *state;
    const struct poly_record late = record(11, "", "packages", "a", "{\"name\":\"ghost\"}");
    const struct poly_record disorder[] = {
        record(22, "", "packages", "b", NULL),
        record(21, "", "packages", "b", "{\"name\":\"ghost\"}"),
    };

    put(p, 10, "", "packages", "a", "{\"name\":\"alive\"}");
    put(p, 12, "", "packages", "a", NULL);
    forget_position(p);
    assert_ok(apply_to(p, 1, &late, 1, 12));
    finds(p, PACKAGES("ghost"), "(0)");
    assert_ok(apply_to(p, 1, disorder, 2, 22));
    finds(p, PACKAGES("ghost"), "(0)");
    assert_int_equal(count(p, 1), 0);
    /* The control: with both guards taken away it does come back. */
    forget_position(p);
    meddle(p, "UPDATE poly_search_1_document SET position=0",
           "UPDATE poly_search.documents_1 SET position=0");
    assert_ok(apply_to(p, 1, &late, 1, 12));
    finds(p, PACKAGES("ghost"), "packages/a (1)");
}

static void poison_leaves_nothing(void **state)
{
    struct place *p = *state;
    const struct poly_record records[] = {
        record(2, "", "packages", "b", "{\"name\":\"good\"}"),
        record(3, "", "packages", "c", "{\"name\":\"bad\""),
        record(4, "", "packages", "d", "{\"name\":\"good\"}"),
    };

    put(p, 1, "", "packages", "a", "{\"name\":\"good\"}");
    assert_fails(apply_to(p, 1, records, 3, 4), POLY_INVALID);
    assert_int_equal(p->failed, 3);
    assert_false(p->temporary);
    assert_message("search: record 3 of 'packages', key 'c'");
    assert_int_equal(applied(p, 1), 1);
    finds(p, PACKAGES("good"), "packages/a (1)");
    /* A domain that nobody searches may hold what it likes. */
    put(p, 5, "", "silent", "x", "{\"name\"");
    assert_int_equal(applied(p, 1), 5);
}

static const char refuse_commits[] =
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
    " $$BEGIN RAISE 'refused' USING ERRCODE = '53100'; END$$;"
    "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON poly_search.documents_1"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()";

static int refuse(void *arg)
{
    (void)arg;
    return 1;
}

/* Dead between the effects and the commit: neither they nor the position are there. */
static void effects_and_position_together(void **state)
{
    struct place *p = *state;
    const struct poly_record r = record(2, "", "packages", "b", "{\"name\":\"good\"}");
    struct poly_batch batch = {.records = &r, .count = 1, .last = 2};

    put(p, 1, "", "packages", "a", "{\"name\":\"good\"}");
    if (p->server != NULL) {
        on_server(p, refuse_commits);
        assert_int_not_equal(apply_to(p, 1, &r, 1, 2), POLY_OK);
        on_server(p, "DROP TRIGGER refuse ON poly_search.documents_1; DROP FUNCTION refuse");
    } else if (p->follower) {
        sqlite3_commit_hook(poly_db_handle(inside(p)), refuse, NULL);
        assert_int_not_equal(apply_to(p, 1, &r, 1, 2), POLY_OK);
        sqlite3_commit_hook(poly_db_handle(inside(p)), NULL, NULL);
    } else {
        assert_ok(driver->apply(p->store, begin(p), 1, &batch, &err));
        end(p, "ROLLBACK");
    }
    assert_int_equal(applied(p, 1), 1);
    assert_int_equal(count(p, 1), 1);
    finds(p, PACKAGES("good"), "packages/a (1)");
    assert_ok(apply_to(p, 1, &r, 1, 2));
    finds(p, PACKAGES("good"), "packages/a packages/b (2)");
}

static void generations_side_by_side(void **state)
{
    struct place *p = *state;
    const struct poly_record old = record(1, "", "packages", "a", "{\"name\":\"word\"}");
    const struct poly_record new = record(2, "", "packages", "b", "{\"name\":\"word\"}");
    struct ask second = PACKAGES("word");
    struct poly_hits hits;

    second.generation = 2;
    assert_ok(apply_to(p, 1, &old, 1, 1));
    prepare(p, 2);
    prepare(p, 2);
    assert_int_equal(applied(p, 2), 0);
    assert_ok(apply_to(p, 2, &new, 1, 9));
    finds(p, PACKAGES("word"), "packages/a (1)");
    finds(p, second, "packages/b (1)");
    assert_int_equal(applied(p, 1), 1);
    assert_int_equal(applied(p, 2), 9);
    for (int i = 0; i < 2; i++) {
        struct poly_db *db = begin(p);

        assert_ok(driver->drop(p->store, db, 1, &err));
        end(p, "COMMIT");
    }
    assert_int_equal(number(p,
                            "SELECT count(*) FROM sqlite_master"
                            " WHERE name GLOB 'poly_search_1_*'",
                            "SELECT count(*) FROM pg_class WHERE relname ~ '_1($|_)' AND"
                            " relnamespace = 'poly_search'::regnamespace"),
                     0);
    finds(p, second, "packages/b (1)");
    assert_fails(ask(p, &PACKAGES("word"), &hits),
                 p->server != NULL ? POLY_UNAVAILABLE : POLY_NOT_FOUND);
    prepare(p, 1);
    assert_int_equal(applied(p, 1), 0);
    finds(p, PACKAGES("word"), "(0)");
}

/* --- what is indexed --- */

static void events_are_documents(void **state)
{
    struct place *p = *state;
    const struct poly_record records[] = {
        event(1, "order", "42", 1, "{\"note\":\"red shoes\"}"),
        event(2, "order", "42", 2, "{\"note\":\"blue shoes\"}"),
        event(3, "order", "", 1, "{\"note\":\"no shoes\"}"),
        event(4, "order", "43", 1, "\"shoes\""),
        event(5, "orders", "44", 1, "{\"note\":\"shoes\"}"),
        /* A change of a record is no event, even under the same name. */
        record(6, "", "order", "45", "{\"note\":\"shoes\"}"),
    };
    struct poly_record bytes = event(7, "order", "46", 1, NULL);
    struct ask a = {.query = "shoes", .domains = {"orders"}};
    struct poly_hits hits;

    bytes.data = poly_bytes("\0shoes", 6);
    assert_ok(apply_to(p, 1, records, 6, 6));
    assert_ok(apply_to(p, 1, &bytes, 1, 7));
    finds(p, a, "orders/order-42@1 orders/order-42@2 orders/order@1 (3)");
    a.query = "blue";
    assert_ok(ask(p, &a, &hits));
    assert_int_equal(hits.hits[0].version, 2);
}

static void texts_of_a_field(void **state)
{
    struct place *p = *state;
    struct ask a = {.query = "", .domains = {"orders"}, .highlight = true};
    struct poly_hits hits;
    struct poly_record r = event(
        1, "order", "1", 1,
        "{ \"note\" : \"tab\\there \\u00e9t\\u00e9 \\ud83d\\ude00 \\\"quoted\\\"\" , \"x\" : "
        "{\"note\":\"no\"},"
        "\"lines\":[{\"item\":\"lamp\",\"count\":12,\"gone\":null,\"ok\":true},[\"deep\",1.5],"
        "{\"$bytes\":\"c0ffee\"},\"end\"]}");

    assert_ok(apply_to(p, 1, &r, 1, 1));
    a.query = "lamp";
    assert_ok(ask(p, &a, &hits));
    assert_int_equal(hits.count, 1);
    assert_int_equal(hits.hits[0].highlights.count, 1);
    assert_string_equal(hits.hits[0].highlights.fields[0].name, "lines");
    assert_string_equal(hits.hits[0].highlights.fields[0].value.text.data,
                        "[lamp], 12, deep, 1.5, end");
    a.query = "été";
    assert_ok(ask(p, &a, &hits));
    assert_int_equal(hits.count, 1);
    assert_string_equal(hits.hits[0].highlights.fields[0].value.text.data,
                        "tab\there [été] \xf0\x9f\x98\x80 \"quoted\"");
    a.highlight = false;
    a.query = "ETE here 12";
    finds(p, a, "orders/order-1@1 (1)");
    a.query = "item OR c0ffee OR no OR true OR null";
    finds(p, a, "(0)");
}

static void marks_and_snippets(void **state)
{
    struct place *p = *state;
    struct ask a = PACKAGES("python name:edit*");
    struct poly_hits hits;

    a.highlight = true;
    put(p, 1, "", "packages", "e",
        "{\"name\":\"editor\",\"summary\":\"a b c d e f g h i j k l m n o p q r s t u v w x y z"
        " writes Python and pythons, all of it\"}");
    assert_ok(ask(p, &a, &hits));
    assert_int_equal(hits.count, 1);
    assert_int_equal(hits.hits[0].highlights.count, 2);
    assert_string_equal(hits.hits[0].highlights.fields[0].name, "name");
    assert_string_equal(hits.hits[0].highlights.fields[0].value.text.data, "[editor]");
    assert_non_null(strstr(hits.hits[0].snippet.data, "[Python] and [pythons]"));
    assert_int_equal(strncmp(hits.hits[0].snippet.data, "…", strlen("…")), 0);
    a.highlight = false;
    assert_ok(ask(p, &a, &hits));
    assert_null(hits.hits[0].snippet.data);
    assert_int_equal(hits.hits[0].highlights.count, 0);
}

/* Where the window on a long text begins. */
static void a_snippet_begins(void **state)
{
    struct place *p = *state;
    struct ask a = PACKAGES("python");
    struct poly_hits hits;

    a.highlight = true;
    put(p, 1, "", "packages", "e",
        "{\"name\":\"x\",\"summary\":\"a b c d e f g h i j k l m n o p q r s t u v w x y z. Here"
        " stands python a b c d e f g h i j k l m n o p q r s t u v w x y z\"}");
    assert_ok(ask(p, &a, &hits));
    assert_non_null(strstr(hits.hits[0].snippet.data, "Here stands [python] a b c"));
    assert_int_equal(strncmp(hits.hits[0].snippet.data, "…Here", strlen("…Here")) != 0,
                     differs("snippet"));
}

/* --- against a model --- */

enum { TENANTS = 3, KEYS = 12, WORDS = 6, STEPS = 400 };

static void check_counts(struct place *p)
{
    assert_int_equal(number(p,
                            "SELECT count(*) FROM poly_search_1_stats s WHERE s.documents <>"
                            " (SELECT count(*) FROM poly_search_1_document d WHERE"
                            " d.domain=s.domain AND d.tenant=s.tenant AND deleted=0)",
                            "SELECT count(*) FROM poly_search.stats_1 s WHERE s.documents <>"
                            " (SELECT count(*) FROM poly_search.documents_1 d WHERE"
                            " d.domain=s.domain AND d.tenant=s.tenant AND NOT deleted)"),
                     0);
    /* One word a document: so many words as documents. */
    assert_int_equal(number(p,
                            "SELECT count(*) FROM poly_search_1_stats"
                            " WHERE words <> documents",
                            "SELECT count(*) FROM poly_search.stats_1 WHERE words <> documents"),
                     0);
    assert_int_equal(number(p, "SELECT count(*) FROM poly_search_1_text_2",
                            "SELECT count(words) FROM poly_search.documents_1"),
                     count(p, 1));
    if (p->server != NULL)
        return;
    assert_ok(poly_db_exec(inside(p),
                           "INSERT INTO poly_search_1_text_2(poly_search_1_text_2)"
                           " VALUES('integrity-check')",
                           &err));
}

/* Random changes in random batches: always the same as a plain table. */
static void agrees_with_a_model(void **state)
{
    struct place *p = *state;
    int model[TENANTS][KEYS] = {{0}}; /* word + 1; 0: deleted */
    unsigned seed = 42;
    uint64_t position = 0;

    for (int step = 0; step < STEPS; step++) {
        struct poly_record batch[8];
        char texts[8][64], keys[8][8], tenants[8][4];
        size_t size = 1 + (size_t)rand_r(&seed) % 8;

        for (size_t i = 0; i < size; i++) {
            int tenant = rand_r(&seed) % TENANTS, key = rand_r(&seed) % KEYS;
            int word = rand_r(&seed) % (WORDS + 1);

            snprintf(tenants[i], sizeof(tenants[i]), "t%d", tenant % 10);
            snprintf(keys[i], sizeof(keys[i]), "k%d", key % 100);
            snprintf(texts[i], sizeof(texts[i]), "{\"title\":\"word%d\"}", word);
            batch[i] =
                record(++position, tenants[i], "incidents", keys[i], word == 0 ? NULL : texts[i]);
            model[tenant][key] = word;
        }
        assert_ok(apply_to(p, 1, batch, size, position));
    }
    for (int tenant = 0; tenant < TENANTS; tenant++) {
        for (int word = 1; word <= WORDS; word++) {
            char query[16], name[8];
            size_t expected = 0;
            struct poly_hits hits;

            snprintf(query, sizeof(query), "word%d", word);
            snprintf(name, sizeof(name), "t%d", tenant);
            for (int key = 0; key < KEYS; key++)
                expected += model[tenant][key] == word;
            struct ask a = INCIDENTS(name, query);
            a.limit = 100;
            assert_ok(ask(p, &a, &hits));
            assert_int_equal(hits.count, expected);
            assert_int_equal(hits.total, expected);
        }
    }
    check_counts(p);
}

#define ALL(each)                                                                                  \
    each(puts_changes_deletes), each(the_same_text_is_indexed_once), each(survives_reopening),     \
        each(one_batch_many_changes), each(wants_what_is_searchable),                              \
        each(redelivery_has_no_effect), each(late_change_stays_out), each(poison_leaves_nothing),  \
        each(effects_and_position_together), each(generations_side_by_side),                       \
        each(events_are_documents), each(texts_of_a_field), each(marks_and_snippets),              \
        each(a_snippet_begins), each(agrees_with_a_model)

int main(void)
{
    const struct CMUnitTest embedded[] = {BOTH(damaged_file_is_put_aside), ALL(BOTH)};
    const struct CMUnitTest server[] = {ALL(SERVER)};

    if (getenv("POLY_TEST_POSTGRESQL_URL") != NULL)
        return cmocka_run_group_tests(server, NULL, NULL);
    return cmocka_run_group_tests(embedded, NULL, NULL);
}
