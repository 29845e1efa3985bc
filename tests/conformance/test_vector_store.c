/*
 * How the vector store keeps in step with the log, in each placement: what is seen when, whose it
 * is, and what is left after a restart, a loss, a rebuild (S0-05, S0-49, S3-05, S3-15, S3-83,
 * S3-88).
 */
#include "test.h"

#include "core/inside.h"

#include "vector_place.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "stores/vector/embedded.h"

static const float east[] = {1, 0, 0, 0};

static struct poly_txn *begin(struct poly_session *s, bool interactive)
{
    struct poly_txn_options options = {.interactive = interactive};
    struct poly_txn *txn = NULL;

    assert_ok(poly_txn_begin(s, &options, &txn, &err));
    return txn;
}

/* --- what is seen, and when --- */

/* S3-05: every search after the acknowledgement, of whoever asks where it is co-located. */
static void sees_what_is_acknowledged(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);
    bool at_once = fixture_supports(&p->fixture, "co-located") && !p->follower &&
                   (!fixture_on_server() || p->server != NULL);

    query.limit = 1;
    for (int i = 0; i < 50; i++) {
        char key[16], expected[32];

        snprintf(key, sizeof(key), "k%02d", 50 - i);
        snprintf(expected, sizeof(expected), "items/%s", key);
        put_item(p->nobody, key, "", "", 0, "[1, 0, 0, 0]");
        gives(p->nobody, query, expected);
        assert_false(poly_session_freshness(p->nobody).stale);
        if (at_once)
            gives(p->admin, query, expected);
    }
    assert_ok(remove_row(p->nobody, "items", "k01", POLY_ANY, &err));
    gives(p->nobody, query, "items/k02");
    put_item(p->nobody, "k02", "", "", 0, "[0, 1, 0, 0]");
    gives(p->nobody, query, "items/k03");
    assert_ok(put_row(p->nobody, "items", "k03", ROW({"title", poly_str("no vector now")}),
                      POLY_ANY, NULL, &err));
    gives(p->nobody, query, "items/k04");
}

/* Nothing before the commit, nothing of what was rolled back, nothing of a conflict. */
static void sees_nothing_else(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);
    struct poly_txn *txn = begin(p->nobody, true);

    assert_ok(
        poly_put(txn, "items", "a", ROW({"embedding", poly_json("[1,0,0,0]")}), POLY_ANY, &err));
    gives(p->admin, query, "");
    poly_txn_abort(txn);
    gives(p->admin, query, "");
    txn = begin(p->nobody, false);
    assert_ok(
        poly_put(txn, "items", "b", ROW({"embedding", poly_json("[1,0,0,0]")}), POLY_ANY, &err));
    assert_ok(poly_put(txn, "items", "c", ROW({"embedding", poly_json("[1,0,0,0]")}), 77, &err));
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_CONFLICT);
    gives(p->nobody, query, "");
    put_item(p->nobody, "d", "", "", 0, "[1,0,0,0]");
    gives(p->nobody, query, "items/d");
    assert_int_equal(status_of(p, "vector").documents, 1);
}

/* The whole group of transactions fails at its commit: what was applied is taken back. */
static void takes_back_what_is_rolled_back(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);
    struct poly_txn *txn;

    if (p->follower || fixture_on_server())
        return;
    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    /* An interactive transaction applies before its commit; a foreign key that is looked at then
     * makes that fail. */
    txn = begin(p->admin, true);
    assert_ok(
        poly_put(txn, "items", "b", ROW({"embedding", poly_json("[1,0,0,0]")}), POLY_ANY, &err));
    assert_ok(
        poly_txn_sql(txn, "INSERT INTO child(item) VALUES ('nobody')", NULL, 0, NULL, NULL, &err));
    assert_true(poly_txn_commit(txn, NULL, &err) != POLY_OK);
    gives(p->admin, query, "items/a");
    put_item(p->nobody, "c", "", "", 0, "[1,0,0,0]");
    gives(p->admin, query, "items/a items/c");
    assert_int_equal(status_of(p, "vector").documents, 2);
}

/* A control: without the wait for the transaction's end, the test above would notice. */
static void would_notice_what_is_rolled_back(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);
    struct poly_txn *txn;

    if (p->follower || fixture_on_server())
        return;
    poly_control_settle = false;
    txn = begin(p->admin, true);
    assert_ok(
        poly_put(txn, "items", "b", ROW({"embedding", poly_json("[1,0,0,0]")}), POLY_ANY, &err));
    assert_ok(
        poly_txn_sql(txn, "INSERT INTO child(item) VALUES ('nobody')", NULL, 0, NULL, NULL, &err));
    assert_true(poly_txn_commit(txn, NULL, &err) != POLY_OK);
    poly_control_settle = true;
    gives(p->admin, query, "items/b");
}

static void tokens_are_waited_for(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);
    struct poly_commit done;
    struct poly_txn *txn;

    for (int i = 0; i < 20; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        txn = begin(p->nobody, false);
        assert_ok(poly_put(txn, "items", key, ROW({"embedding", poly_json("[1,0,0,0]")}), POLY_ANY,
                           &err));
        assert_ok(poly_txn_commit(txn, &done, &err));
        assert_ok(poly_session_after(p->admin, done.token.text, POLY_WAIT, &err));
        query.limit = 100;
        struct poly_matches matches;

        assert_ok(poly_vector_search(p->admin, &query, &matches, &err));
        assert_int_equal(matches.count, i + 1);
        poly_session_reset(p->admin);
    }
}

/* --- tenants (S3-83) --- */

static void tenants_do_not_meet(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(cases, east), like = {.domains = cases, .like = "z"};
    struct poly_session *writer = fixture_session(&p->fixture, "acme", POLY_RIGHT_WRITE);
    struct poly_matches matches;
    const struct poly_vector_stats *stats;
    size_t count;

    put_case(p->acme, "a", "[1, 0, 0, 0]");
    for (int i = 0; i < 30; i++) {
        char key[16];

        snprintf(key, sizeof(key), "z%d", i);
        put_case(p->zeta, key, "[1, 0, 0, 0]");
    }
    put_case(p->zeta, "z", "[1, 0, 0, 0]");
    assert_ok(poly_vector_search(p->acme, &query, &matches, &err));
    assert_string_equal(names_of(&matches), "cases/a");
    assert_true(matches.candidates <= 1);
    assert_true(matches.visited <= 1);
    refuses(p->acme, like, POLY_NOT_FOUND, "'z'");
    like.like = "nothing";
    refuses(p->acme, like, POLY_NOT_FOUND, "'nothing'");
    refuses(p->nobody, query, POLY_DENIED, "domain 'cases'");
    refuses(p->admin, query, POLY_DENIED, "domain 'cases'");
    refuses(writer, query, POLY_DENIED, "vector search needs the right 'read'");
    query.limit = 1000;
    assert_ok(poly_vector_search(p->zeta, &query, &matches, &err));
    assert_int_equal(matches.count, 31);
    /* The same key is another record. */
    put_case(p->zeta, "a", "[0, 1, 0, 0]");
    gives(p->acme, query, "cases/a");
    assert_ok(remove_row(p->zeta, "cases", "a", POLY_ANY, &err));
    gives(p->acme, query, "cases/a");
    assert_fails(poly_vector_stats(p->acme, &stats, &count, &err), POLY_DENIED);
    assert_message("statistics of all tenants' vectors");
    poly_session_close(writer);
}

static void counts_itself(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);
    const struct poly_vector_stats *stats;
    size_t count;

    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    put_item(p->nobody, "b", "", "", 0, "[1,1,0,0]");
    put_item(p->nobody, "b", "", "", 0, "[1,2,0,0]");
    put_case(p->acme, "x", "[1,0,0,0]");
    gives(p->nobody, query, "items/a items/b");
    gives(p->acme, query_of(cases, east), "cases/x");
    poly_session_reset(p->admin);
    assert_ok(poly_vector_stats(p->admin, &stats, &count, &err));
    assert_int_equal(count, 8);
    assert_string_equal(stats[0].domain.data, "items");
    assert_string_equal(stats[0].name.data, "");
    assert_string_equal(stats[0].model.data, "small-1");
    assert_int_equal(stats[0].dimensions, 4);
    assert_int_equal(stats[0].metric, POLY_COSINE);
    assert_string_equal(stats[0].element, "f32");
    assert_int_equal(stats[0].m, 16);
    assert_int_equal(stats[0].ef, 64);
    assert_int_equal(stats[0].vectors, 2);
    assert_int_equal(stats[0].linked, 0); /* so few are scanned, and none waits for a graph */
    assert_int_equal(stats[0].unlinked, 0);
    assert_int_equal(stats[0].searches, 1);
    if (!differs(p, "visited")) {
        assert_true(stats[0].visited >= 2);
        assert_true(stats[0].memory_bytes > 0);
    }
    assert_true(isnan(stats[0].recall));
    assert_int_equal(stats[1].vectors, 1);
    assert_string_equal(stats[3].name.data, "dot");
    assert_int_equal(stats[3].metric, POLY_INNER);
    /* Without a tenant and without ADMIN: the domains that have none. */
    assert_ok(poly_vector_stats(p->nobody, &stats, &count, &err));
    assert_int_equal(count, 6);
}

/* One search in many is looked at again, on the worker's thread. */
static void samples_its_answers(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);
    const struct poly_vector_stats *stats;
    size_t count;

    if (differs(p, "sampled"))
        return;
    put_item(p->nobody, "a", "", "open", 0, "[1,0,0,0]");
    put_item(p->nobody, "b", "", "done", 0, "[1,1,0,0]");
    poly_control_sample = 2;
    query.where =
        &(const struct poly_where){.kind = POLY_WHERE_COMPARE,
                                   .compare = &(const struct poly_filter){
                                       .column = "state",
                                       .compare = POLY_EQ,
                                       .values = (const struct poly_value[]){poly_str("open")},
                                       .value_count = 1}};
    for (int i = 0; i < 1000; i++) {
        gives(p->nobody, query, "items/a");
        assert_ok(poly_vector_stats(p->admin, &stats, &count, &err));
        if (stats[0].samples >= 3)
            break;
        poly_session_reset(p->admin);
        usleep(1000);
    }
    poly_control_sample = POLY_SAMPLE_EVERY;
    assert_true(stats[0].samples >= 3);
    assert_true(stats[0].recall == 1);
}

/* --- streams --- */

static void follows_streams(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(logs, east);
    struct poly_event events[] = {
        {.type = "Line", .data = poly_json("{\"level\": \"info\", \"embedding\": [1, 0, 0, 0]}")},
        {.type = "Line", .data = poly_json("{\"level\": \"info\"}")},
        {.type = "Line", .data = poly_json("{\"level\": \"bad\", \"embedding\": [1, 1, 0, 0]}")}};
    struct poly_event wrong = {.type = "Line", .data = poly_json("{\"embedding\": [1, 0]}")};
    struct poly_matches matches;
    struct poly_txn *txn = begin(p->acme, false);

    assert_ok(poly_append(txn, "log-1", POLY_ANY, events, 3, &err));
    assert_ok(poly_txn_commit(txn, NULL, &err));
    query.rows = true;
    assert_ok(poly_vector_search(p->acme, &query, &matches, &err));
    assert_string_equal(names_of(&matches), "logs/log-1@1 logs/log-1@3");
    assert_int_equal(matches.matches[0].version, 1);
    assert_string_equal(field(&matches.matches[1].row, "level")->text.data, "bad");
    gives(p->zeta, query, "");
    query = (struct poly_vector_query){.domains = logs, .like = "log-1@1"};
    gives(p->acme, query, "logs/log-1@3");
    txn = begin(p->acme, false);
    assert_fails(poly_append(txn, "log-1", POLY_ANY, &wrong, 1, &err), POLY_INVALID);
    assert_message("domain 'logs': vector 'embedding': 2 dimensions were given");
    poly_txn_abort(txn);
}

/* --- poison --- */

/* What another program puts there cannot be refused: the store stops at it, and says so; the others
 * go on; an operator leaves the record out. */
static void stops_at_what_is_no_vector(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, east);
    struct poly_search_query words = {.query = "rubbish"};
    struct poly_projection_status now;
    struct poly_matches matches;
    struct poly_hits hits;

    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    fixture_foreign_dialects(
        &p->fixture, "INSERT INTO items(id, title, embedding) VALUES('bad', 'rubbish', x'0102')",
        is_typed(p)
            ? "INSERT INTO items(id, title, embedding) VALUES('bad', 'rubbish', '[0,0,0,0]')"
            : "INSERT INTO items(id, title, embedding) VALUES('bad', 'rubbish', '\\x0102')");
    put_item(p->nobody, "b", "", "", 0, "[1,1,0,0]");
    if (is_typed(p) && !p->follower) { /* the table is what it is: nothing stops */
        gives(p->nobody, query, "items/a items/b");
        assert_int_equal(status_of(p, "vector").state, POLY_STATE_OK);
        return;
    }
    assert_fails(poly_vector_search(p->nobody, &query, &matches, &err), POLY_UNAVAILABLE);
    assert_message("stopped at record");
    assert_message("key 'bad'");
    assert_message(is_typed(p) ? "all its numbers are zero" : "2 bytes were given");
    now = status_of(p, "vector");
    assert_int_equal(now.state, POLY_STATE_STOPPED);
    assert_ok(poly_search(p->nobody, &words, &hits, &err));
    assert_int_equal(hits.count, 1);
    assert_ok(poly_projection_retry(p->admin, "vector", &err));
    assert_fails(poly_vector_search(p->nobody, &query, &matches, &err), POLY_UNAVAILABLE);
    assert_ok(poly_projection_skip(p->admin, "vector", "no vector", &err));
    gives(p->nobody, query, "items/a items/b");
    now = status_of(p, "vector");
    assert_int_equal(now.state, POLY_STATE_OK);
    assert_int_equal(now.skipped, 1);
    assert_int_equal(now.documents, 2);
}

/* --- restarts --- */

static void fill(struct place *p, int count)
{
    struct poly_txn *txn = begin(p->nobody, false);

    for (int i = 0; i < count; i++) {
        char key[16], vector[64];

        snprintf(key, sizeof(key), "k%04d", i);
        snprintf(vector, sizeof(vector), "[%d, %d, 1, 0]", i % 17 + 1, i / 17);
        assert_ok(poly_put(
            txn, "items", key,
            ROW({"embedding", poly_json(vector)}, {"state", poly_str(i % 2 == 0 ? "even" : "odd")}),
            POLY_ANY, &err));
    }
    assert_ok(poly_txn_commit(txn, NULL, &err));
}

/* S3-15 */
static void survives_a_restart(void **state)
{
    struct place *p = *state;
    char *before;

    fill(p, 300);
    before = everything(p);
    for (int i = 0; i < 3; i++) {
        reopen(p);
        same_as_before(p, before);
        assert_int_equal(status_of(p, "vector").generation, 1);
    }
    free(before);
    assert_ok(remove_row(p->nobody, "items", "k0000", POLY_ANY, &err));
    put_item(p->nobody, "k0001", "", "", 0, "[0,0,0,1]");
    assert_ok(poly_session_after(p->admin, NULL, POLY_WAIT, &err));
    before = everything(p);
    reopen(p);
    same_as_before(p, before);
    free(before);
}

/* The log is the journal: without any of the files, or with an old one, nothing is missing. */
static void needs_none_of_its_files(void **state)
{
    static const char *const losses[] = {
        "rm -r $D", /* the generation */
        "rm -r $D/items",
        "rm $D/items/head",
        "rm $D/items/originals*",
        "rm $D/items/index.*",
        "rm $D/items/catalog.*",
        "rm -f $D/positions",
        "touch $D/dropped",
        "echo 0123456789abcdef > $D/../instance",
        "for f in $D/items/*; do : > $f; done",
        "for f in $D/items/*; do truncate -s 40 $f; truncate -s 9000 $f; done",
    };
    struct place *p = *state;
    char *before;

    if (p->server != NULL) /* it has no files of ours */
        return;
    fill(p, 200);
    before = everything(p);
    for (size_t i = 0; i < sizeof(losses) / sizeof(*losses); i++) {
        char path[500];

        close_place(p);
        find_folder(p, path);
        shell(losses[i], path);
        open_with(p, vector_domains);
        wait_for_index(p);
        same_as_before(p, before);
        assert_int_equal(status_of(p, "vector").documents, 200);
    }
    free(before);
}

/* What is built again says why, and how far it is. */
static void says_why_it_is_built_again(void **state)
{
    struct place *p = *state;
    struct poly_projection_status now;
    char path[500];

    if (p->server != NULL)
        return;
    fill(p, 50);
    free(everything(p));
    close_place(p);
    find_folder(p, path);
    shell("rm -r $D/items", path);
    open_with(p, vector_domains);
    now = status_of(p, "vector");
    assert_non_null(strstr(now.error.data, "items' is missing"));
    assert_true(now.error_time > 0);
    wait_for_index(p);
    assert_int_equal(status_of(p, "vector").generation, 2);
    /* The folder of the one before goes. */
    for (int i = 0; i < 500 && access(path, F_OK) == 0; i++)
        usleep(10000);
    assert_int_equal(access(path, F_OK), -1);
}

/* What the store cannot save is seen in the status, is tried again, and keeps nobody from
 * searching. */
static void says_what_it_cannot_save(void **state)
{
    struct place *p = *state;
    struct poly_projection_status now = {.state = POLY_STATE_OK};
    char *before, path[500];

    if (p->server != NULL)
        return;
    fill(p, 20);
    before = everything(p);
    find_folder(p, path);
    shell("mv $D/items $D/away && : > $D/items", path);
    poly_control_hurry = true;
    put_item(p->nobody, "k0001", "", "", 0, "[1,1,1,1]");
    free(before);
    before = everything(p);
    for (int i = 0; i < 1000 && now.state != POLY_STATE_RETRYING; i++, usleep(10000))
        now = status_of(p, "vector");
    assert_int_equal(now.state, POLY_STATE_RETRYING);
    assert_non_null(strstr(now.error.data, "domain 'items'"));
    assert_true(now.error_time > 0);
    same_as_before(p, before);
    shell("rm $D/items && mv $D/away $D/items", path);
    for (int i = 0; i < 2000 && now.state != POLY_STATE_OK; i++, usleep(10000))
        now = status_of(p, "vector");
    poly_control_hurry = false;
    assert_int_equal(now.state, POLY_STATE_OK);
    reopen(p);
    same_as_before(p, before);
    free(before);
}

/* Retention leaves what is not on disk yet. */
static void the_log_is_kept_until_it_is_saved(void **state)
{
    struct place *p = *state;
    uint64_t head;

    if (p->server != NULL)
        return;
    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    gives(p->nobody, query_of(items, east), "items/a");
    head = fixture_head(&p->fixture);
    assert_true(poly_projections_floor(p->fixture.instance) < head);
    poly_control_hurry = true;
    put_item(p->nobody, "b", "", "", 0, "[1,1,0,0]");
    for (int i = 0; i < 2000 && poly_projections_floor(p->fixture.instance) < head; i++)
        usleep(10000);
    poly_control_hurry = false;
    assert_true(poly_projections_floor(p->fixture.instance) >= head);
}

/* What fails while all is closed shall be said: the teardown closes nothing twice. */
static void may_end_closed(void **state)
{
    struct place *p = *state;

    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    close_place(p);
}

/* --- generations --- */

static void rebuilds_and_goes_back(void **state)
{
    struct place *p = *state;
    char *before;

    fill(p, 300);
    before = everything(p);
    for (int i = 1; i <= 3; i++) {
        assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
        same_as_before(p, before);
        assert_int_equal(status_of(p, "vector").generation, i + 1);
        assert_int_equal(status_of(p, "vector").previous, i);
    }
    free(before);
    put_item(p->nobody, "new", "", "", 0, "[1,0,0,0]");
    before = everything(p);
    assert_ok(poly_rebuild_back(p->admin, "vector", &err));
    assert_int_equal(status_of(p, "vector").generation, 3);
    same_as_before(p, before);
    reopen(p);
    assert_int_equal(status_of(p, "vector").generation, 3);
    same_as_before(p, before);
    free(before);
}

/* S0-49: vectors for what is there already. */
static void fills_what_was_there_before(void **state)
{
    struct place *p = *state;
    char *before;

    fill(p, 200);
    before = everything(p);
    close_place(p);
    open_with(p, "domains:\n  items: {table: items, tenant: none, search: {fields: [title], "
                 "filters: [state, rank, at, who]}}\n" VECTOR_OTHERS);
    assert_fails(poly_vector_search(
                     p->nobody,
                     &(struct poly_vector_query){.domains = items, .vector = east, .dimensions = 4},
                     &(struct poly_matches){.count = 0}, &err),
                 POLY_INVALID);
    assert_message("has no vectors");
    close_place(p);
    open_with(p, vector_domains);
    wait_for_index(p);
    same_as_before(p, before);
    free(before);
}

/* A change of vectors is none of the search's, and the other way round. */
static void is_built_anew_alone(void **state)
{
    struct place *p = *state;
    uint64_t vector, search;

    fill(p, 20);
    free(everything(p));
    vector = status_of(p, "vector").generation;
    search = status_of(p, "search").generation;
    close_place(p);
    open_with(p, "domains:\n  items: {table: items, tenant: none, search: {fields: [title], "
                 "filters: [state, rank, at, who]}, vector: {field: embedding, dimensions: 4, "
                 "metric: l2, filters: [state, rank, meta, title]}}\n" VECTOR_OTHERS);
    wait_for_index(p);
    assert_int_equal(status_of(p, "vector").generation, vector + 1);
    assert_int_equal(status_of(p, "search").generation, search);
    assert_int_equal(status_of(p, "vector").documents, 20);
}

/* --- many at a time --- */

struct crowd {
    struct place *place;
    atomic_bool stop;
    atomic_int wrong, answers;
};

/* Both of a pair lie at one place at all times, in each of a batch's answers the same. */
static void *ask_on(void *arg)
{
    struct crowd *crowd = arg;
    struct poly_vector_query queries[2] = {query_of(items, east), query_of(items, east)};
    struct poly_session *s = NULL;
    struct poly_matches matches[2];
    struct poly_error why;

    if (poly_session_open(crowd->place->fixture.instance, NULL, &s, NULL) != POLY_OK) {
        atomic_fetch_add(&crowd->wrong, 1);
        return NULL;
    }
    queries[0].limit = queries[1].limit = 2;
    while (!atomic_load(&crowd->stop)) {
        bool answered = poly_vector_search_all(s, queries, 2, matches, &why) == POLY_OK;
        bool good = answered && matches[0].count == matches[1].count && matches[0].count % 2 == 0;

        if (good && matches[0].count == 2)
            good = matches[0].matches[0].version + 1 == matches[0].matches[1].version &&
                   matches[0].matches[0].version == matches[1].matches[0].version;
        if (!good && atomic_fetch_add(&crowd->wrong, 1) == 0)
            fprintf(stderr, "the first wrong answer: %s\n",
                    answered ? "half of a pair" : why.message);
        atomic_fetch_add(&crowd->answers, 1);
        poly_session_reset(s);
    }
    poly_session_close(s);
    return NULL;
}

static void one_state_for_each_answer(void **state)
{
    struct place *p = *state;
    struct crowd crowd = {.place = p};
    pthread_t threads[3];

    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_on, &crowd), 0);
    for (int i = 0; i < 150 || atomic_load(&crowd.answers) < 100; i++) {
        struct poly_txn *txn = begin(p->nobody, false);

        if (i % 5 == 4) {
            assert_ok(poly_delete(txn, "items", "one", POLY_ANY, &err));
            assert_ok(poly_delete(txn, "items", "two", POLY_ANY, &err));
        } else {
            assert_ok(poly_put(txn, "items", "one",
                               ROW({"embedding", poly_json("[1,0,0,0]")}, {"rank", poly_int(i)}),
                               POLY_ANY, &err));
            assert_ok(poly_put(txn, "items", "two",
                               ROW({"embedding", poly_json("[2,0,0,0]")}, {"rank", poly_int(i)}),
                               POLY_ANY, &err));
        }
        assert_ok(poly_txn_commit(txn, NULL, &err));
        poly_session_reset(p->nobody);
        if (i == 50)
            assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    }
    atomic_store(&crowd.stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(crowd.wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(sees_what_is_acknowledged),
        EACH(sees_nothing_else),
        EACH(takes_back_what_is_rolled_back),
        EACH(would_notice_what_is_rolled_back),
        EACH(tokens_are_waited_for),
        EACH(tenants_do_not_meet),
        EACH(counts_itself),
        EACH(samples_its_answers),
        EACH(follows_streams),
        EACH(stops_at_what_is_no_vector),
        EACH(survives_a_restart),
        EACH(needs_none_of_its_files),
        EACH(says_why_it_is_built_again),
        EACH(says_what_it_cannot_save),
        EACH(the_log_is_kept_until_it_is_saved),
        EACH(may_end_closed),
        EACH(rebuilds_and_goes_back),
        EACH(fills_what_was_there_before),
        EACH(is_built_anew_alone),
        EACH(one_state_for_each_answer),
    };

    return run_each("vector_store", tests, sizeof(tests) / sizeof(*tests));
}
