/*
 * Memory that runs out: each scenario is run again and again, with one
 * allocation failing, or all from one on, wherever the code makes them. It must
 * say so, lose nothing, and work when there is memory again. What leaks on the
 * way is found where this runs under AddressSanitizer.
 */
#include "test.h"

#include <sqlite3.h>
#include <unistd.h>

#include "lab.h"
#include "memory.h"

static struct poly_error err;

enum { PATIENT_MS = 60000, BRIEF_MS = 300 };

static const char config[] =
    "domains:\n"
    "  note: {table: notes, tenant: none, search: {fields: [title, body], filters: [n]}}\n"
    "  mine: {table: mine, tenant: owner}\n"
    "  step: {stream: step, search: {fields: [text]}}\n";
static const char config_follower[] =
    "stores: {search: {driver: embedded, placement: follower}}\n"
    "domains:\n"
    "  note: {table: notes, tenant: none, search: {fields: [title, body], filters: [n]}}\n"
    "  mine: {table: mine, tenant: owner}\n"
    "  step: {stream: step, search: {fields: [text]}}\n";

struct place {
    char data[LAB_PATH];
    const char *config;
    struct poly_instance *instance;
    struct poly_session *session;
    struct poly_session *acme;
    uint32_t deadline_ms; /* of the sessions */
    bool hit; /* an allocation failed before the scenario disarmed it itself */
};

typedef enum poly_status scenario_fn(struct place *p);

static struct poly_session *session_of(struct place *p, const char *tenant)
{
    struct poly_session_options options = {
        .tenant = tenant, .rights = POLY_RIGHTS_ALL, .deadline_ms = p->deadline_ms};
    struct poly_session *session = NULL;

    assert_ok(poly_session_open(p->instance, &options, &session, &err));
    return session;
}

static void open_place(struct place *p)
{
    p->instance = lab_open(p->data, p->config);
    p->session = session_of(p, NULL);
    p->acme = session_of(p, "acme");
}

static void close_place(struct place *p)
{
    poly_session_close(p->session);
    poly_session_close(p->acme);
    poly_close(p->instance);
}

/* --- what is done --- */

static enum poly_status opening(struct place *p)
{
    struct poly_instance *instance = NULL;
    enum poly_status status;

    close_place(p);
    p->instance = NULL;
    p->session = p->acme = NULL;
    status = lab_try_open(p->data, p->config, &instance, &err);
    poly_close(instance);
    p->hit = memory_failed();
    memory_fail_at(0, false);
    open_place(p);
    return status;
}

static enum poly_status opening_fresh(struct place *p)
{
    struct poly_instance *instance = NULL;
    char fresh[LAB_PATH];
    enum poly_status status;

    lab_folder_make(fresh);
    status = lab_try_open(fresh, p->config, &instance, &err);
    poly_close(instance);
    lab_folder_remove(fresh);
    return status;
}

static enum poly_status sessions(struct place *p)
{
    struct poly_session_options options = {.tenant = "acme", .principal = "somebody"};
    struct poly_session *session = NULL;
    enum poly_status status = poly_session_open(p->instance, &options, &session, &err);

    poly_session_close(session);
    return status;
}

static struct poly_field fields[] = {{"title", {.type = POLY_TEXT, .text = {"all new", 7}}},
                                     {"body", {.type = POLY_TEXT, .text = {"words", 5}}},
                                     {"n", {.type = POLY_INT, .integer = 5}}};
static const struct poly_row row = {fields, 3};

static enum poly_status finish(struct poly_txn *txn, enum poly_status status)
{
    struct poly_commit commit;

    if (status == POLY_OK)
        return poly_txn_commit(txn, &commit, &err);
    poly_txn_abort(txn);
    return status;
}

static enum poly_status putting(struct place *p)
{
    struct poly_txn *txn;
    enum poly_status status = poly_txn_begin(p->session, NULL, &txn, &err);

    if (status != POLY_OK)
        return status;
    return finish(txn, poly_put(txn, "note", "new", &row, POLY_ANY, &err));
}

static enum poly_status putting_large(struct place *p)
{
    static char body[20000];
    struct poly_field large[] = {{"title", poly_str("all large")}, {"body", poly_str("")},
                                 {"n", poly_int(1)}};
    struct poly_row image = {large, 3};
    struct poly_txn *txn;
    enum poly_status status = poly_txn_begin(p->session, NULL, &txn, &err);

    if (status != POLY_OK)
        return status;
    memset(body, 'z', sizeof(body) - 1);
    large[1].value = poly_str(body);
    status = poly_put(txn, "note", "k1", &image, POLY_ANY, &err);
    if (status == POLY_OK)
        status = poly_put(txn, "note", "k1", &row, POLY_ANY, &err);
    return finish(txn, status);
}

static enum poly_status patching(struct place *p)
{
    struct poly_txn *txn;
    enum poly_status status = poly_txn_begin(p->session, NULL, &txn, &err);

    if (status != POLY_OK)
        return status;
    status = poly_patch(txn, "note", "k1", &row, POLY_ANY, &err);
    if (status == POLY_OK)
        status = poly_check(txn, "note", "k2", POLY_ANY, &err);
    if (status == POLY_OK)
        status = poly_delete(txn, "note", "k2", POLY_ANY, &err);
    return finish(txn, status);
}

static enum poly_status appending(struct place *p)
{
    return lab_append(p->session, "step-1", POLY_ANY, 1, NULL, &err);
}

static enum poly_status add_some(struct poly_txn *txn)
{
    struct poly_event events[] = {
        {.type = "A", .data = poly_json("{\"text\": \"all\"}"), .meta = "{\"x\": 1}"},
        {.type = "B", .data = poly_bytes("\0\1", 2)},
        {.type = "C", .data = poly_str("text")}};
    enum poly_status status = poly_append(txn, "step-2", POLY_ANY, events, 3, &err);

    return status == POLY_OK ? poly_append(txn, "other-2", POLY_ANY, events, 2, &err) : status;
}

static enum poly_status batching(struct place *p)
{
    struct poly_txn_options options = {.correlation = "c", .causation = "d"};
    struct poly_txn *txn;
    enum poly_status status = poly_txn_begin(p->session, &options, &txn, &err);

    return status == POLY_OK ? finish(txn, add_some(txn)) : status;
}

static enum poly_status keying(struct place *p)
{
    struct poly_txn_options options = {.idempotency_key = "key"};
    enum poly_status status = POLY_OK;

    for (int i = 0; i < 2 && status == POLY_OK; i++) {
        struct poly_txn *txn;

        status = poly_txn_begin(p->session, &options, &txn, &err);
        if (status == POLY_OK)
            status = finish(txn, add_some(txn));
    }
    return status;
}

static enum poly_status interacting(struct place *p)
{
    struct poly_txn_options options = {.interactive = true};
    struct poly_document document;
    struct poly_txn *txn;
    enum poly_status status = poly_txn_begin(p->session, &options, &txn, &err);

    if (status != POLY_OK)
        return status;
    status = poly_put(txn, "note", "k1", &row, POLY_ANY, &err);
    if (status == POLY_OK)
        status = poly_txn_get(txn, "note", "k1", &document, &err);
    if (status == POLY_OK)
        status = add_some(txn);
    return finish(txn, status);
}

static enum poly_status writing_sql(struct place *p)
{
    struct poly_value value = poly_int(7);
    struct poly_txn *txn;
    enum poly_status status = poly_txn_begin(p->session, NULL, &txn, &err);

    if (status != POLY_OK)
        return status;
    return finish(txn, poly_txn_sql(txn, "UPDATE notes SET n = ?1 WHERE n < 3", &value, 1, NULL,
                                    NULL, &err));
}

static enum poly_status writing_for_a_tenant(struct place *p)
{
    struct poly_field value[] = {{"value", poly_str("x")}};
    struct poly_row mine = {value, 1};
    struct poly_txn *txn;
    enum poly_status status = poly_txn_begin(p->acme, NULL, &txn, &err);

    if (status != POLY_OK)
        return status;
    return finish(txn, poly_put(txn, "mine", "m1", &mine, POLY_ANY, &err));
}

static enum poly_status getting(struct place *p)
{
    struct poly_document document;
    enum poly_status status = poly_get(p->session, "note", "k1", &document, &err);

    if (status == POLY_OK)
        assert_int_equal(document.row.count, 4);
    return status;
}

static enum poly_status listing(struct place *p)
{
    struct poly_value values[] = {poly_int(0)};
    struct poly_filter filters[] = {
        {.column = "n", .compare = POLY_GE, .values = values, .value_count = 1}};
    struct poly_list_query query = {
        .domain = "note", .filters = filters, .filter_count = 1, .order = "n", .limit = 2};
    struct poly_page page;
    enum poly_status status = poly_list(p->session, &query, &page, &err);

    if (status != POLY_OK)
        return status;
    assert_int_equal(page.count, 2);
    query.cursor = page.cursor;
    return poly_list(p->session, &query, &page, &err);
}

static bool see_row(void *arg, const struct poly_row *seen)
{
    (void)seen;
    ++*(int *)arg;
    return true;
}

static enum poly_status reading_sql(struct place *p)
{
    int rows = 0;
    enum poly_status status =
        poly_sql_read(p->session, "SELECT id, title, n FROM notes ORDER BY title DESC", NULL, 0,
                      see_row, &rows, &err);

    if (status == POLY_OK)
        assert_int_equal(rows, 3);
    return status;
}

static enum poly_status reading_sql_of_a_tenant(struct place *p)
{
    int rows = 0;
    enum poly_status status = poly_sql_read(p->acme, "SELECT * FROM mine", NULL, 0, see_row, &rows,
                                            &err);

    if (status == POLY_OK)
        assert_int_equal(rows, 1);
    return status;
}

static enum poly_status searching(struct place *p)
{
    struct poly_search_query query = {
        .query = "all (one OR two) -three w*", .count = true, .highlight = true};
    struct poly_hits hits;
    enum poly_status status = poly_search(p->session, &query, &hits, &err);

    if (status == POLY_OK)
        assert_int_equal(hits.total, 2);
    return status;
}

static enum poly_status reading_a_stream(struct place *p)
{
    struct poly_stream_query query = {
        .stream = "step-1", .path = "$.n", .equal = poly_int(2)};
    struct poly_records records;

    return poly_stream_read(p->session, &query, &records, &err);
}

static bool see_record(void *arg, const struct poly_record *record)
{
    (void)record;
    ++*(int *)arg;
    return true;
}

static enum poly_status reading_the_log(struct place *p)
{
    static const char *const domains[] = {"step", "note", NULL};
    struct poly_log_query query = {.domains = domains};
    int count = 0;

    return poly_log_read(p->session, &query, see_record, &count, NULL, &err);
}

static enum poly_status subscribing(struct place *p)
{
    struct poly_subscription_options options = {.name = "reader"};
    struct poly_subscription *subscription;
    const struct poly_record *records;
    size_t count;
    enum poly_status status = poly_subscribe(p->session, &options, &subscription, &err);

    if (status != POLY_OK)
        return status;
    status = poly_subscription_next(subscription, 100, &records, &count, &err);
    if (status == POLY_OK)
        status = poly_subscription_ack(subscription, records[0].position, &err);
    poly_subscription_close(subscription);
    return status;
}

static enum poly_status reporting(struct place *p)
{
    struct poly_status_report report;

    return poly_status_read(p->session, &report, &err);
}

static enum poly_status verifying(struct place *p)
{
    struct poly_verification verification = {.bad_position = 0};
    enum poly_status status = poly_log_verify(p->session, NULL, NULL, &verification, &err);

    if (status == POLY_OK)
        assert_int_equal(verification.bad_position, 0);
    return status;
}

static enum poly_status carrying_a_token(struct place *p)
{
    struct poly_commit commit;
    enum poly_status status = lab_append(p->session, "step-1", POLY_ANY, 3, &commit, &err);

    if (status == POLY_OK)
        status = poly_session_after(p->session, commit.token.text, POLY_WAIT, &err);
    return status == POLY_OK ? searching(p) : status;
}

static enum poly_status keeping_keys(struct place *p)
{
    struct poly_key_options options = {.label = "l", .rights = POLY_RIGHT_READ};
    const struct poly_key *keys;
    struct poly_key key;
    char secret[80];
    size_t count;
    enum poly_status status = poly_key_create(p->session, &options, secret, &err);

    if (status == POLY_OK)
        status = poly_key_check(p->session, secret, &key, &err);
    if (status == POLY_OK)
        status = poly_key_list(p->session, &keys, &count, &err);
    return status == POLY_OK ? poly_key_revoke(p->session, keys[0].id.data, &err) : status;
}

static enum poly_status migrating(struct place *p)
{
    struct poly_migrations migrations;
    enum poly_status status = poly_migrate_up(p->session, p->data, &migrations, &err);

    return status == POLY_OK ? poly_migrate_status(p->session, p->data, &migrations, &err)
                             : status;
}

static enum poly_status rebuilding(struct place *p)
{
    struct poly_rebuild_options options = {.start_only = true};

    return poly_rebuild(p->session, "search", &options, &err);
}

static enum poly_status settings(struct place *p)
{
    struct poly_options options = {.config_text = p->config};
    struct poly_settings *loaded = NULL;
    enum poly_status status = poly_settings_load(&options, &loaded, &err);

    poly_settings_free(loaded);
    return status;
}

static const struct {
    const char *name;
    scenario_fn *run;
} scenarios[] = {
    {"open", opening},
    {"open a fresh folder", opening_fresh},
    {"session", sessions},
    {"put", putting},
    {"put a large value", putting_large},
    {"patch, check, delete", patching},
    {"append", appending},
    {"batch", batching},
    {"idempotency key", keying},
    {"interactive", interacting},
    {"SQL that writes", writing_sql},
    {"a tenant's write", writing_for_a_tenant},
    {"get", getting},
    {"list", listing},
    {"SQL that reads", reading_sql},
    {"a tenant's SQL", reading_sql_of_a_tenant},
    {"search", searching},
    {"read a stream", reading_a_stream},
    {"read the log", reading_the_log},
    {"subscribe, acknowledge", subscribing},
    {"status", reporting},
    {"verify", verifying},
    {"token", carrying_a_token},
    {"API keys", keeping_keys},
    {"migrate", migrating},
    {"rebuild", rebuilding},
    {"configuration", settings},
};

/* --- the folder that each run begins with --- */

static char template[LAB_PATH];

static void make_template(const char *with)
{
    struct place p = {.config = with, .deadline_ms = PATIENT_MS};
    struct poly_migrations migrations;
    static const char *const keys[] = {"k1", "k2", "k3"}, *const titles[] = {"one", "two", "three"};
    char why[300];

    lab_folder_make(p.data);
    lab_file_write(p.data, "0001_tables.sql",
                   "CREATE TABLE notes(id TEXT PRIMARY KEY, title TEXT, body TEXT, n INTEGER);"
                   "CREATE TABLE mine(id TEXT NOT NULL, owner TEXT NOT NULL, value TEXT,"
                   " PRIMARY KEY (owner, id));");
    open_place(&p);
    assert_ok(poly_migrate_up(p.session, p.data, &migrations, &err));
    for (int i = 0; i < 3; i++) {
        struct poly_field note[] = {{"title", poly_str(titles[i])},
                                    {"body", poly_str("all of the words")},
                                    {"n", poly_int(i)}};
        struct poly_row image = {note, 3};
        struct poly_txn *txn;

        assert_ok(poly_txn_begin(p.session, NULL, &txn, &err));
        assert_ok(poly_put(txn, "note", keys[i], &image, POLY_ANY, &err));
        assert_ok(poly_txn_commit(txn, NULL, &err));
        assert_ok(lab_append(p.session, "step-1", POLY_ANY, i, NULL, &err));
    }
    assert_ok(writing_for_a_tenant(&p));
    if (!lab_settled(p.session, why, sizeof(why)))
        fail_msg("%s", why);
    close_place(&p);
    lab_file_write(p.data, "0002_more.sql", "ALTER TABLE notes ADD COLUMN more TEXT;");
    lab_folder_make(template);
    lab_folder_copy(p.data, template);
    lab_folder_remove(p.data);
}

/* --- one run --- */

struct walk {
    const char *name;
    scenario_fn *run;
    const char *config;
    bool persistent;
    unsigned long runs;
    bool wrong;
};

static void wrong(struct walk *walk, unsigned long nth, const char *what)
{
    print_error("%s, allocation %lu%s: %s\n", walk->name, nth,
                walk->persistent ? " and all after it" : "", what);
    walk->wrong = true;
}

static void still_usable(struct walk *walk, struct place *p, unsigned long nth)
{
    char why[400];
    uint64_t version = lab_stream_version(p->session, "step-1");

    if (lab_append(p->session, "step-1", (int64_t)version, 9, NULL, &err) != POLY_OK)
        wrong(walk, nth, err.message);
    if (lab_verify(p->session, why, sizeof(why)) != 0 ||
        !lab_settled(p->session, why, sizeof(why)))
        wrong(walk, nth, why);
}

/* A read with a token, for a follower that has no memory. */
static bool waits_in_vain(const struct walk *walk)
{
    return walk->run == carrying_a_token && walk->persistent;
}

/*
 * A rebuild is a command to the projection, whose group was rolled back: "try again".
 */
static bool honest(const struct walk *walk, enum poly_status status)
{
    return status == POLY_NO_MEMORY ||
           (status == POLY_UNAVAILABLE && walk->run == rebuilding) ||
           (status == POLY_TIMEOUT && waits_in_vain(walk));
}

/* Did an allocation fail? */
static bool run_once(struct walk *walk, unsigned long nth)
{
    struct place p = {.config = walk->config, .deadline_ms = PATIENT_MS};
    enum poly_status status;
    bool failed;

    if (waits_in_vain(walk))
        p.deadline_ms = BRIEF_MS;
    lab_folder_make(p.data);
    lab_folder_copy(template, p.data);
    open_place(&p);
    err.message[0] = '\0';
    alarm(120);
    memory_fail_at(nth, walk->persistent);
    status = walk->run(&p);
    failed = p.hit || memory_failed();
    memory_fail_at(0, false);
    alarm(0);
    if (status != POLY_OK && (!failed || !honest(walk, status)))
        wrong(walk, nth, err.message);
    still_usable(walk, &p, nth);
    close_place(&p);
    lab_folder_remove(p.data);
    walk->runs++;
    return failed && !walk->wrong;
}

static unsigned long stride(const struct walk *walk, unsigned long nth)
{
    if (lab_long())
        return 1;
    return 1 + nth / (walk->config == config ? 4 : 2);
}

static void walk_all(const char *with)
{
    unsigned long runs = 0, bad = 0;
    const char *only = getenv("POLY_TEST_WORKLOAD"); /* while looking into one */

    make_template(with);
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        for (int persistent = 0; persistent < 2; persistent++) {
            struct walk walk = {.name = scenarios[i].name,
                                .run = scenarios[i].run,
                                .config = with,
                                .persistent = persistent == 1};
            unsigned long nth = 1;

            if (only != NULL && strcmp(only, walk.name) != 0)
                continue;
            /* Threads of our own allocate too: the end is where two runs are not hit. */
            while (run_once(&walk, nth) || (!walk.wrong && run_once(&walk, nth)))
                nth += stride(&walk, nth);
            runs += walk.runs;
            bad += walk.wrong;
        }
    }
    print_message("%zu scenarios, %lu runs\n", sizeof(scenarios) / sizeof(scenarios[0]), runs);
    lab_folder_remove(template);
    assert_int_equal(bad, 0);
}

static void memory_runs_out(void **state)
{
    (void)state;
    walk_all(config);
}

static void memory_runs_out_with_a_follower(void **state)
{
    (void)state;
    walk_all(config_follower);
}

/* SQLite's own account: all that was taken has been given back. */
static void nothing_is_left_in_sqlite(void **state)
{
    (void)state;
    assert_int_equal(sqlite3_memory_used(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(memory_runs_out_with_a_follower),
        cmocka_unit_test(nothing_is_left_in_sqlite),
    };

    memory_include_sqlite();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
